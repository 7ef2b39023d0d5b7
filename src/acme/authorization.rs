//! Authorizations and challenges (RFC 8555 7.1.4, 7.1.5).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{AuthorizationStatus, ChallengeStatus, Identifier, Problem, wire::lenient};

/// The server's view of whether an account may have certificates for an identifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuthorizationBody {
    /// Without the `*.` of a wildcard; see `wildcard`.
    pub identifier: Identifier,
    pub status: AuthorizationStatus,
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    #[serde(default)]
    pub challenges: Vec<ChallengeBody>,
    /// Whether the order asked for the wildcard of this name.
    #[serde(default, deserialize_with = "lenient")]
    pub wildcard: bool,
}

impl AuthorizationBody {
    /// The challenge of a type, such as `dns-01`.
    pub fn challenge(&self, kind: &str) -> Option<&ChallengeBody> {
        self.challenges.iter().find(|challenge| challenge.kind == kind)
    }

    /// Why the authorization failed: the first problem of a challenge.
    pub fn error(&self) -> Option<&Problem> {
        self.challenges.iter().find_map(|challenge| challenge.error.as_ref())
    }
}

/// One way to prove control over an identifier. Fields of types we do not know are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChallengeBody {
    /// `dns-01`, `http-01`, `tls-alpn-01`, or one we do not know.
    #[serde(rename = "type")]
    pub kind: String,
    pub url: String,
    pub status: ChallengeStatus,
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub validated: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The example of RFC 8555 section 7.1.4, with a challenge that failed.
    #[test]
    fn the_rfc_example_is_read() {
        let body: AuthorizationBody = serde_json::from_str(
            r#"{
              "status": "invalid", "expires": "2015-03-01T14:09:07.99Z",
              "identifier": { "type": "dns", "value": "www.example.org" },
              "challenges": [
                { "url": "https://example.com/acme/chall/prV_B7yEyA4", "type": "http-01", "status": "invalid",
                  "token": "DGyRejmCefe7v4NfDGDKfA", "validated": "2014-12-01T12:05:58.16Z",
                  "error": { "type": "urn:ietf:params:acme:error:connection", "detail": "no route" } },
                { "url": "https://example.com/acme/chall/x", "type": "new-01", "status": "dreaming", "hint": 1 }
              ],
              "wildcard": false
            }"#,
        )
        .unwrap();
        assert_eq!(body.status, AuthorizationStatus::Invalid);
        assert_eq!(body.expires.unwrap().to_string(), "2015-03-01T14:09:07.99Z");
        assert_eq!(body.error().unwrap().to_string(), "urn:ietf:params:acme:error:connection: no route");
        let unknown = body.challenge("new-01").unwrap();
        assert_eq!(unknown.status, ChallengeStatus::Unknown("dreaming".into()));
        assert_eq!(unknown.other["hint"], 1);
        assert!(body.challenge("dns-01").is_none());
    }
}
