//! The credentials of the controller's surroundings, in the order of AWS's own SDKs: keys in the environment, IAM roles for
//! service accounts, EKS Pod Identity or ECS, the EC2 instance. Files with profiles are not read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use reqwest::{Client, redirect};

use super::container::{Container, Token};
use super::instance::{self, Instance};
use super::partition::{Region, RegionError};
use super::sts::{Role, Sts, TokenFile, WebIdentity};
use super::{Credentials, CredentialsError, Source};

/// The environment variables that are about AWS; empty ones count as missing.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// That of this process.
    pub fn own() -> Self {
        let variables =
            std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
        variables.filter(|(name, _)| name.starts_with("AWS_")).collect()
    }

    /// The region that the environment names.
    ///
    /// # Errors
    ///
    /// What cannot be a region.
    pub fn region(&self) -> Result<Region, RegionError> {
        Region::new(&self.get("AWS_REGION").or_else(|| self.get("AWS_DEFAULT_REGION")).unwrap_or_default())
    }

    /// The address of a service, such as `STS` or `ROUTE_53`, if the environment names another than AWS's.
    pub fn endpoint(&self, service: &str) -> Option<String> {
        if self.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return None;
        }
        self.get(&format!("AWS_ENDPOINT_URL_{service}")).or_else(|| self.get("AWS_ENDPOINT_URL"))
    }

    /// The first source that the environment names, else the EC2 instance.
    ///
    /// # Errors
    ///
    /// A source that is half named, or one that must not be asked.
    pub fn source(&self, sts: Sts) -> Result<Box<dyn Source>, CredentialsError> {
        if let Some(keys) = self.keys() {
            return Ok(Box::new(keys));
        }
        if let Some(file) = self.get("AWS_WEB_IDENTITY_TOKEN_FILE") {
            return self.web_identity(sts, file.into());
        }
        let (relative, full) =
            (self.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), self.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"));
        let http = local_client()?;
        if relative.is_some() || full.is_some() {
            let container = Container::new(http, relative.as_deref(), full.as_deref(), self.container_token())?;
            return Ok(Box::new(container));
        }
        if self.get("AWS_EC2_METADATA_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return Err(CredentialsError::Refused(
                "The controller's environment names no source of AWS credentials, and forbids to ask the EC2 instance"
                    .to_owned(),
            ));
        }
        Ok(Box::new(Instance { http, base: self.metadata() }))
    }

    fn keys(&self) -> Option<Credentials> {
        let (id, secret) = (self.get("AWS_ACCESS_KEY_ID")?, self.get("AWS_SECRET_ACCESS_KEY")?);
        Some(Credentials { session_token: self.get("AWS_SESSION_TOKEN"), ..Credentials::lasting(&id, &secret) })
    }

    fn web_identity(&self, sts: Sts, file: PathBuf) -> Result<Box<dyn Source>, CredentialsError> {
        let Some(arn) = self.get("AWS_ROLE_ARN") else {
            return Err(CredentialsError::Refused(
                "The controller's environment has AWS_WEB_IDENTITY_TOKEN_FILE, but not AWS_ROLE_ARN".to_owned(),
            ));
        };
        let mut role = Role::new(&arn);
        if let Some(name) = self.get("AWS_ROLE_SESSION_NAME") {
            role.session_name = name;
        }
        Ok(Box::new(WebIdentity { sts, role, token: Box::new(TokenFile(file)) }))
    }

    fn container_token(&self) -> Token {
        match (self.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"), self.get("AWS_CONTAINER_AUTHORIZATION_TOKEN")) {
            (Some(file), _) => Token::File(file.into()),
            (None, Some(text)) => Token::Text(text),
            (None, None) => Token::None,
        }
    }

    fn metadata(&self) -> String {
        let named = self.get("AWS_EC2_METADATA_SERVICE_ENDPOINT").map(|url| url.trim_end_matches('/').to_owned());
        let mode = self.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE").unwrap_or_default();
        let own = if mode.eq_ignore_ascii_case("ipv6") { instance::IPV6 } else { instance::IPV4 };
        named.unwrap_or_else(|| own.to_owned())
    }

    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// For who is on this node: no proxy must see what it says.
fn local_client() -> Result<Client, CredentialsError> {
    let builder = Client::builder().no_proxy().redirect(redirect::Policy::none());
    builder.build().map_err(|_| CredentialsError::Transient("TLS cannot be set up".to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
