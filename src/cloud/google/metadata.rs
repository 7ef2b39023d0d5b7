//! The metadata server of virtual machines and of GKE, which knows the service account of the machine or the pod.

use jiff::Timestamp;

use super::DNS_SCOPE;
use crate::cloud::token::{Body, CredentialError, TokenRequest, TokenSource};

/// An address, because names can be spoofed in a container more easily.
const USUAL_HOST: &str = "169.254.169.254";

/// See the module's description.
#[derive(Clone, Debug)]
pub struct MetadataServer {
    host: String,
}

impl MetadataServer {
    /// `host` is what `GCE_METADATA_HOST` says: `HOST` or `HOST:PORT`.
    pub fn new(host: Option<String>) -> Self {
        let host = host.filter(|host| !host.is_empty()).unwrap_or_else(|| USUAL_HOST.to_owned());
        Self { host }
    }
}

impl TokenSource for MetadataServer {
    fn service(&self) -> &'static str {
        "Google's metadata server"
    }

    fn is_local(&self) -> bool {
        true
    }

    fn request(&self, _: Timestamp, _: &str) -> Result<TokenRequest, CredentialError> {
        let url = format!(
            "http://{}/computeMetadata/v1/instance/service-accounts/default/token?scopes={DNS_SCOPE}",
            self.host
        );
        Ok(TokenRequest { url, headers: vec![("Metadata-Flavor", "Google".to_owned())], body: Body::None })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_host_can_be_another() {
        let url = |host: Option<&str>| {
            let server = MetadataServer::new(host.map(str::to_owned));
            server.request(Timestamp::UNIX_EPOCH, "").unwrap().url
        };
        assert!(url(None).starts_with("http://169.254.169.254/computeMetadata/v1/instance/"));
        assert!(url(Some("")).starts_with("http://169.254.169.254/"));
        assert!(url(Some("127.0.0.1:988")).starts_with("http://127.0.0.1:988/computeMetadata/"));
    }
}
