//! The Security Token Service: taking on a role, with credentials or with a token of an identity provider.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Request, RequestBuilder};
use serde::Deserialize;

use super::answer::{Answer, Service};
use super::partition::Endpoint;
use super::signature::{self, Scope, escaped};
use super::xml::ServiceError;
use super::{Credentials, CredentialsError, Held, Source};

const STS: Service = Service { name: "AWS STS", limit: Duration::from_secs(15) };

/// As cert-manager calls its sessions, which the trust policy of a role may ask for.
pub const SESSION_NAME: &str = "cert-manager";

/// The largest token that is read from a file, in bytes.
const LARGEST_TOKEN: usize = 64 << 10;

/// How the service is reached.
#[derive(Clone, Debug)]
pub struct Sts {
    pub http: Client,
    pub endpoint: Endpoint,
}

/// A role, and how the session is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    pub arn: String,
    pub session_name: String,
    /// What the role's trust policy may demand of who is from another account.
    pub external_id: Option<String>,
}

/// `AssumeRole` with the credentials of another source.
pub struct AssumedRole {
    pub sts: Sts,
    pub role: Role,
    pub base: Arc<Held>,
}

/// `AssumeRoleWithWebIdentity`, which needs no credentials.
pub struct WebIdentity {
    pub sts: Sts,
    pub role: Role,
    pub token: Box<dyn IdentityToken>,
}

/// A token of an identity provider that AWS trusts, such as the cluster.
#[async_trait]
pub trait IdentityToken: Send + Sync {
    /// One that is still valid.
    ///
    /// # Errors
    ///
    /// There is none to be had.
    async fn token(&self) -> Result<String, CredentialsError>;
}

/// A token in a file, which somebody renews.
pub struct TokenFile(pub PathBuf);

#[async_trait]
impl IdentityToken for TokenFile {
    async fn token(&self) -> Result<String, CredentialsError> {
        read_token(&self.0).await
    }
}

#[async_trait]
impl Source for AssumedRole {
    async fn load(&self) -> Result<Credentials, CredentialsError> {
        let credentials = self.base.get().await?;
        let mut parameters = self.role.parameters("AssumeRole");
        if let Some(id) = &self.role.external_id {
            parameters.push(("ExternalId", id));
        }
        let mut request = self.sts.request(&parameters)?;
        let scope = Scope { region: &self.sts.endpoint.region, service: "sts" };
        signature::sign(&mut request, &credentials, scope, Timestamp::now()).map_err(|_| unusable_credentials())?;
        let answer = self.sts.send(request).await?;
        let assumed = self.role.judge(&answer);
        if ServiceError::read(&answer.body).is_some_and(|error| error.is_about_credentials()) {
            self.base.forget().await;
        }
        assumed
    }
}

#[async_trait]
impl Source for WebIdentity {
    async fn load(&self) -> Result<Credentials, CredentialsError> {
        let token = self.token.token().await?;
        let mut parameters = self.role.parameters("AssumeRoleWithWebIdentity");
        parameters.push(("WebIdentityToken", &token));
        let request = self.sts.request(&parameters)?;
        self.role.judge(&self.sts.send(request).await?)
    }
}

impl Sts {
    fn request(&self, parameters: &[(&str, &str)]) -> Result<Request, CredentialsError> {
        let pairs: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        self.http
            .post(format!("{}/", self.endpoint.url))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded; charset=utf-8")
            .body(pairs.join("&"))
            .build()
            .map_err(|_| CredentialsError::Refused(format!("{:?} is no address of AWS STS", self.endpoint.url)))
    }

    async fn send(&self, request: Request) -> Result<Answer, CredentialsError> {
        STS.ask(RequestBuilder::from_parts(self.http.clone(), request)).await
    }
}

impl Role {
    pub fn new(arn: &str) -> Self {
        Self { arn: arn.to_owned(), session_name: SESSION_NAME.to_owned(), external_id: None }
    }

    fn parameters<'a>(&'a self, action: &'a str) -> Vec<(&'a str, &'a str)> {
        vec![
            ("Action", action),
            ("Version", "2011-06-15"),
            ("RoleArn", &self.arn),
            ("RoleSessionName", &self.session_name),
        ]
    }

    fn judge(&self, answer: &Answer) -> Result<Credentials, CredentialsError> {
        if answer.status.is_success() {
            return read(&answer.body).ok_or(STS.unreadable());
        }
        let Some(error) = ServiceError::read(&answer.body) else { return Err(STS.refusal(answer.status)) };
        let message = format!("AWS STS does not give the role {}: {}", self.arn, error.words());
        Err(if answer.status.as_u16() == 429 || error.is_throttling() {
            CredentialsError::Throttled(message)
        } else if answer.status.is_server_error() || error.is_outage() {
            CredentialsError::Transient(message)
        } else {
            CredentialsError::Refused(message)
        })
    }
}

/// Both responses look alike within.
#[derive(Deserialize)]
struct Response {
    #[serde(rename = "AssumeRoleResult", alias = "AssumeRoleWithWebIdentityResult")]
    result: Assumed,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Assumed {
    credentials: Given,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: Timestamp,
}

fn read(body: &[u8]) -> Option<Credentials> {
    let response: Response = quick_xml::de::from_str(std::str::from_utf8(body).ok()?).ok()?;
    let given = response.result.credentials;
    Some(Credentials {
        access_key_id: given.access_key_id,
        secret_access_key: given.secret_access_key,
        session_token: Some(given.session_token),
        end: Some(given.expiration),
    })
}

/// The text of a small file without white space around it. The path is the operator's.
pub(super) async fn read_token(path: &PathBuf) -> Result<String, CredentialsError> {
    let failed = |what: &str| CredentialsError::Transient(format!("The token in {} {what}", path.display()));
    let size = tokio::fs::metadata(path).await.map_err(|_| failed("cannot be read"))?.len();
    if size > LARGEST_TOKEN as u64 {
        return Err(failed("is too large"));
    }
    let text = tokio::fs::read_to_string(path).await.map_err(|_| failed("cannot be read"))?;
    match text.trim() {
        "" => Err(failed("is empty")),
        token => Ok(token.to_owned()),
    }
}

pub(super) fn unusable_credentials() -> CredentialsError {
    CredentialsError::Refused(
        "The AWS credentials hold characters that cannot be sent; check for stray ones".to_owned(),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    fn judge(status: u16, body: &str) -> Result<Credentials, CredentialsError> {
        let answer = Answer { status: StatusCode::from_u16(status).unwrap(), body: body.as_bytes().to_vec() };
        Role::new("arn:aws:iam::1:role/dns").judge(&answer)
    }

    #[test]
    fn credentials_of_both_actions() {
        for action in ["AssumeRole", "AssumeRoleWithWebIdentity"] {
            let body = format!(
                "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><AssumedRoleUser>\
                 <Arn>arn</Arn></AssumedRoleUser><Credentials><AccessKeyId>ASIAEXAMPLE</AccessKeyId><SecretAccessKey>s/+\
                 </SecretAccessKey><SessionToken>t==</SessionToken><Expiration>2030-11-09T13:34:41.000Z</Expiration>\
                 </Credentials></{action}Result><ResponseMetadata><RequestId>c6104cbe</RequestId></ResponseMetadata>\
                 </{action}Response>"
            );
            let expected = Credentials {
                session_token: Some("t==".to_owned()),
                end: Some("2030-11-09T13:34:41Z".parse().unwrap()),
                ..Credentials::lasting("ASIAEXAMPLE", "s/+")
            };
            assert_eq!(judge(200, &body).unwrap(), expected);
        }
    }

    #[test]
    fn failures_by_what_helps() {
        let error = |code: &str| {
            format!("<ErrorResponse><Error><Code>{code}</Code><Message>No.</Message></Error></ErrorResponse>")
        };
        let refused = judge(403, &error("AccessDenied")).unwrap_err();
        let message = "AWS STS does not give the role arn:aws:iam::1:role/dns: AccessDenied: No.".to_owned();
        assert_eq!(refused, CredentialsError::Refused(message));
        assert!(matches!(judge(400, &error("Throttling")), Err(CredentialsError::Throttled(_))));
        assert!(matches!(judge(400, &error("IDPCommunicationError")), Err(CredentialsError::Transient(_))));
        assert!(matches!(judge(503, "<html/>"), Err(CredentialsError::Transient(_))));
        assert!(matches!(judge(200, "<html/>"), Err(CredentialsError::Transient(_))));
    }

    #[tokio::test]
    async fn tokens_come_without_white_space() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert!(read_token(&path).await.unwrap_err().to_string().ends_with("cannot be read"));
        std::fs::write(&path, "abc\n").unwrap();
        assert_eq!(read_token(&path).await.unwrap(), "abc");
        std::fs::write(&path, "\n").unwrap();
        assert!(read_token(&path).await.unwrap_err().to_string().ends_with("is empty"));
    }
}
