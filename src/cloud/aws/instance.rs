//! Credentials of the machine: the instance metadata service of EC2, version 2.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::Client;
use reqwest::header::HeaderValue;
use serde::Deserialize;

use super::answer::Service;
use super::container::Given;
use super::{Credentials, CredentialsError, Source};

/// Not being on EC2 must be found out soon.
const METADATA: Service = Service { name: "The EC2 instance metadata service", limit: Duration::from_secs(3) };

pub(super) const IPV4: &str = "http://169.254.169.254";
pub(super) const IPV6: &str = "http://[fd00:ec2::254]";

const ROLES: &str = "latest/meta-data/iam/security-credentials/";

/// The role of the instance.
pub(super) struct Instance {
    /// Without a proxy.
    pub(super) http: Client,
    /// The address of the service.
    pub(super) base: String,
}

/// Whether there are credentials, which the service says beside them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Outcome {
    code: String,
}

#[async_trait]
impl Source for Instance {
    async fn load(&self) -> Result<Credentials, CredentialsError> {
        let session = self.session().await?;
        let role = self.role(&session).await?;
        let body = self.get(&session, &format!("{ROLES}{role}")).await?;
        let outcome: Outcome = serde_json::from_slice(&body).map_err(|_| METADATA.unreadable())?;
        if outcome.code != "Success" {
            let code: String = outcome.code.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
            return Err(CredentialsError::Transient(format!("{} has no credentials: {code}", METADATA.name)));
        }
        let given: Given = serde_json::from_slice(&body).map_err(|_| METADATA.unreadable())?;
        Ok(given.into())
    }
}

impl Instance {
    /// A session token, which keeps those out who can only make somebody send a GET request.
    async fn session(&self) -> Result<HeaderValue, CredentialsError> {
        let url = format!("{}/latest/api/token", self.base);
        let request = self.http.put(url).header("x-aws-ec2-metadata-token-ttl-seconds", "60");
        let answer = METADATA.ask(request).await.map_err(not_here)?;
        if !answer.status.is_success() {
            return Err(METADATA.refusal(answer.status));
        }
        let mut token = HeaderValue::from_bytes(answer.body.trim_ascii()).map_err(|_| METADATA.unreadable())?;
        token.set_sensitive(true);
        Ok(token)
    }

    async fn role(&self, session: &HeaderValue) -> Result<String, CredentialsError> {
        let body = self.get(session, ROLES).await?;
        let text = String::from_utf8(body).map_err(|_| METADATA.unreadable())?;
        let role = text.lines().next().unwrap_or_default().trim();
        if role.is_empty() {
            return Err(CredentialsError::Refused(
                "The EC2 instance has no role; attach an instance profile".to_owned(),
            ));
        }
        // The characters of role names.
        if !role.chars().all(|c| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c)) {
            return Err(METADATA.unreadable());
        }
        Ok(role.to_owned())
    }

    async fn get(&self, session: &HeaderValue, path: &str) -> Result<Vec<u8>, CredentialsError> {
        let request = self.http.get(format!("{}/{path}", self.base)).header("x-aws-ec2-metadata-token", session);
        let answer = METADATA.ask(request).await?;
        match answer.status.as_u16() {
            200 => Ok(answer.body),
            404 => {
                Err(CredentialsError::Refused("The EC2 instance has no role; attach an instance profile".to_owned()))
            }
            _ => Err(METADATA.refusal(answer.status)),
        }
    }
}

/// The service is the last resort, so that its absence mostly means that nothing else was set up.
fn not_here(error: CredentialsError) -> CredentialsError {
    match error {
        CredentialsError::Transient(message) => CredentialsError::Transient(format!(
            "{message}, and the controller's environment names no other source of AWS credentials; set up IAM roles for \
             service accounts or EKS Pod Identity, let pods reach the metadata service (hop limit 2), or give keys to the \
             solver"
        )),
        other => other,
    }
}
