//! Credentials of a container: EKS Pod Identity, ECS, Fargate.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Url};
use serde::Deserialize;

use super::answer::Service;
use super::sts::read_token;
use super::{Credentials, CredentialsError, Source};

const AGENT: Service =
    Service { name: "The agent that gives AWS credentials to containers", limit: Duration::from_secs(5) };

/// Where ECS gives credentials out.
const ECS: &str = "http://169.254.170.2";

/// Where an agent may be asked without TLS, besides loopback addresses: ECS and EKS, whatever the address family.
const AGENTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// An agent on the node.
pub(super) struct Container {
    /// Without a proxy.
    http: Client,
    url: Url,
    token: Token,
}

/// What the agent knows the container by.
pub(super) enum Token {
    File(PathBuf),
    Text(String),
    None,
}

impl Container {
    /// `relative` and `full` are the two ways in which the environment names the agent.
    pub(super) fn new(
        http: Client,
        relative: Option<&str>,
        full: Option<&str>,
        token: Token,
    ) -> Result<Self, CredentialsError> {
        let text = match (relative, full) {
            (Some(path), _) => format!("{ECS}/{}", path.trim_start_matches('/')),
            (None, full) => full.unwrap_or_default().to_owned(),
        };
        match text.parse::<Url>().ok().filter(is_trusted) {
            Some(url) => Ok(Self { http, url, token }),
            None => Err(CredentialsError::Refused(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI names neither an https:// address nor one of this machine or of an agent \
                 of ECS or EKS"
                    .to_owned(),
            )),
        }
    }
}

#[async_trait]
impl Source for Container {
    async fn load(&self) -> Result<Credentials, CredentialsError> {
        let mut request = self.http.get(self.url.clone());
        let token = match &self.token {
            Token::File(path) => Some(read_token(path).await?),
            Token::Text(text) => Some(text.clone()),
            Token::None => None,
        };
        if let Some(token) = token {
            let no_header =
                |_| CredentialsError::Refused("The container's token cannot be sent in a header".to_owned());
            let mut value = HeaderValue::from_str(&token).map_err(no_header)?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let given: Given = AGENT.ask_json(request).await?;
        Ok(given.into())
    }
}

/// What agents and instances answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Given {
    access_key_id: String,
    secret_access_key: String,
    token: String,
    expiration: Timestamp,
}

impl From<Given> for Credentials {
    fn from(given: Given) -> Self {
        Self {
            access_key_id: given.access_key_id,
            secret_access_key: given.secret_access_key,
            session_token: Some(given.token),
            end: Some(given.expiration),
        }
    }
}

/// The token must not go to anybody by plain HTTP but to who is on this machine.
fn is_trusted(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let address: Option<IpAddr> = host.parse().ok();
    match url.scheme() {
        "https" => !host.is_empty(),
        "http" => host == "localhost" || address.is_some_and(|address| address.is_loopback()) || AGENTS.contains(&host),
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_neighbours_are_asked_without_tls() {
        for (url, trusted) in [
            ("http://169.254.170.23/v1/credentials", true),
            ("http://[fd00:ec2::23]/v1/credentials", true),
            ("http://127.0.0.1:5000/", true),
            ("http://localhost/", true),
            ("https://vault.example.com/aws", true),
            ("http://vault.example.com/aws", false),
            ("http://169.254.169.254/", false),
            ("ftp://127.0.0.1/", false),
        ] {
            assert_eq!(is_trusted(&url.parse().unwrap()), trusted, "{url}");
        }
    }

    #[test]
    fn a_relative_address_is_one_at_ecs() {
        let container = Container::new(Client::new(), Some("/v2/credentials/1"), Some("http://evil.test"), Token::None);
        assert_eq!(container.ok().unwrap().url.as_str(), "http://169.254.170.2/v2/credentials/1");
        assert!(Container::new(Client::new(), None, Some("http://evil.test/"), Token::None).is_err());
    }
}
