//! Workload identity federation: the token of another identity provider, such as a cluster's, is exchanged for Google's
//! (RFC 8693), and that for one of a service account if so configured.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{DNS_SCOPE, NAME, text, url};
use crate::cloud::token::{AccessToken, Body, CredentialError, TokenRequest, TokenSource};

/// What is needed to act as a service account; it may not be narrower.
const IMPERSONATION_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// See the module's description.
#[derive(Debug)]
pub struct ExternalAccount {
    audience: String,
    subject_token_type: String,
    token_url: String,
    impersonation_url: Option<String>,
    file: PathBuf,
    /// The field of the file's JSON that holds the token; none if the file is the token.
    field: Option<String>,
}

impl ExternalAccount {
    /// Reads a description as `gcloud iam workload-identity-pools create-cred-config` writes it.
    ///
    /// # Errors
    ///
    /// Something missing, or a source of tokens other than a file.
    pub fn from_json(value: &Value) -> Result<Self, CredentialError> {
        let source = &value["credential_source"];
        let file = source["file"].as_str().filter(|file| !file.is_empty()).ok_or(CredentialError::Source)?;
        let format = &source["format"];
        let field = match format["type"].as_str() {
            None | Some("text") => None,
            Some(_) => Some(text(format, "subject_token_field_name")?),
        };
        let impersonates = !value["service_account_impersonation_url"].is_null();
        Ok(Self {
            audience: text(value, "audience")?,
            subject_token_type: text(value, "subject_token_type")?,
            token_url: url(value, "token_url")?,
            impersonation_url: impersonates.then(|| url(value, "service_account_impersonation_url")).transpose()?,
            file: file.into(),
            field,
        })
    }

    fn subject_token(&self, content: &str) -> Result<String, CredentialError> {
        let Some(field) = &self.field else { return Ok(content.trim().to_owned()) };
        let value: Value = serde_json::from_str(content).map_err(|_| CredentialError::Form("a workload's token"))?;
        let token = value[field.as_str()].as_str().map(str::to_owned);
        token.ok_or(CredentialError::Missing("field that credential_source names"))
    }
}

impl TokenSource for ExternalAccount {
    fn service(&self) -> &'static str {
        NAME
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.file)
    }

    fn request(&self, _: Timestamp, content: &str) -> Result<TokenRequest, CredentialError> {
        let scope = if self.impersonation_url.is_some() { IMPERSONATION_SCOPE } else { DNS_SCOPE };
        let body = Body::Form(vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange".to_owned()),
            ("audience", self.audience.clone()),
            ("scope", scope.to_owned()),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token".to_owned()),
            ("subject_token_type", self.subject_token_type.clone()),
            ("subject_token", self.subject_token(content)?),
        ]);
        Ok(TokenRequest { url: self.token_url.clone(), headers: Vec::new(), body })
    }

    fn exchange(&self, first: &AccessToken) -> Option<TokenRequest> {
        let url = self.impersonation_url.clone()?;
        let headers = vec![("Authorization", format!("Bearer {}", first.secret))];
        Some(TokenRequest { url, headers, body: Body::Json(json!({ "scope": [DNS_SCOPE], "lifetime": "3600s" })) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn description() -> Value {
        json!({
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/cluster",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": "https://sts.googleapis.com/v1/token",
            "credential_source": { "file": "/var/run/token" },
        })
    }

    fn form(account: &ExternalAccount, content: &str) -> Vec<(&'static str, String)> {
        let request = account.request(Timestamp::UNIX_EPOCH, content).unwrap();
        assert_eq!(request.url, "https://sts.googleapis.com/v1/token");
        match request.body {
            Body::Form(form) => form,
            _ => panic!("no form"),
        }
    }

    fn value<'a>(form: &'a [(&'static str, String)], name: &str) -> &'a str {
        &form.iter().find(|(held, _)| *held == name).unwrap().1
    }

    #[test]
    fn the_files_token_is_exchanged() {
        let account = ExternalAccount::from_json(&description()).unwrap();
        assert_eq!(account.file(), Some(Path::new("/var/run/token")));
        let form = form(&account, "a.b.c\n");
        assert_eq!(value(&form, "subject_token"), "a.b.c");
        assert_eq!(value(&form, "scope"), DNS_SCOPE);
        assert_eq!(value(&form, "grant_type"), "urn:ietf:params:oauth:grant-type:token-exchange");
        assert!(value(&form, "audience").starts_with("//iam.googleapis.com/"));
        let first = AccessToken { secret: "t".to_owned(), lifetime: Duration::ZERO };
        assert!(account.exchange(&first).is_none());
    }

    #[test]
    fn a_service_account_is_impersonated_with_the_exchanged_token() {
        let mut description = description();
        let url = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@b:generateAccessToken";
        description["service_account_impersonation_url"] = json!(url);
        let account = ExternalAccount::from_json(&description).unwrap();
        assert_eq!(value(&form(&account, "t"), "scope"), IMPERSONATION_SCOPE);
        let request = account.exchange(&AccessToken { secret: "t".to_owned(), lifetime: Duration::ZERO }).unwrap();
        assert_eq!(request.url, url);
        assert_eq!(request.headers, [("Authorization", "Bearer t".to_owned())]);
        assert!(request.body == Body::Json(json!({ "scope": [DNS_SCOPE], "lifetime": "3600s" })));
    }

    #[test]
    fn the_token_may_be_in_a_field_of_json() {
        let mut description = description();
        description["credential_source"]["format"] = json!({ "type": "json", "subject_token_field_name": "token" });
        let account = ExternalAccount::from_json(&description).unwrap();
        assert_eq!(value(&form(&account, r#"{"token": "x"}"#), "subject_token"), "x");
        assert!(account.request(Timestamp::UNIX_EPOCH, "x").is_err());
    }

    #[test]
    fn other_sources_are_refused() {
        let mut description = description();
        description["credential_source"] = json!({ "executable": { "command": "/bin/sh" } });
        let error = ExternalAccount::from_json(&description).unwrap_err();
        assert_eq!(error.to_string(), "its credential_source is no file; other sources are not supported");
    }
}
