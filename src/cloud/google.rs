//! Google Cloud: who one is, and the requests for access tokens that follow from it.

mod external;
mod metadata;
mod service_account;

use serde_json::Value;

use super::token::{CredentialError, TokenSource};

pub use self::{external::ExternalAccount, metadata::MetadataServer, service_account::ServiceAccount};

/// What is asked for: reading and writing DNS records, and nothing else.
pub const DNS_SCOPE: &str = "https://www.googleapis.com/auth/ndev.clouddns.readwrite";

/// Where service accounts get tokens, as their keys say unless they are of a private Google Cloud.
pub const TOKEN_ENDPOINT: &str = "https://oauth2.googleapis.com/token";

const NAME: &str = "Google's token service";

/// Reads the file that `GOOGLE_APPLICATION_CREDENTIALS` names: the key of a service account, or the description of a
/// workload identity. It must come from the operator, since it may name any file of the controller's.
///
/// # Errors
///
/// Anything else, or one of these with something missing.
pub fn default_credentials(json: &str) -> Result<Box<dyn TokenSource>, CredentialError> {
    let value: Value =
        serde_json::from_str(json).map_err(|_| CredentialError::Form("an application's default credentials"))?;
    match value["type"].as_str().unwrap_or_default() {
        "external_account" => Ok(Box::new(ExternalAccount::from_json(&value)?)),
        "service_account" => Ok(Box::new(ServiceAccount::from_key(json)?)),
        other => Err(CredentialError::Type { found: other.to_owned(), wanted: "service_account or external_account" }),
    }
}

/// The text of a field.
fn text(value: &Value, field: &'static str) -> Result<String, CredentialError> {
    let text = value[field].as_str().filter(|text| !text.is_empty());
    text.map(str::to_owned).ok_or(CredentialError::Missing(field))
}

/// The text of a field that must be an address for secrets.
fn url(value: &Value, field: &'static str) -> Result<String, CredentialError> {
    let url = text(value, field)?;
    if url.starts_with("https://") { Ok(url) } else { Err(CredentialError::Url(field)) }
}
