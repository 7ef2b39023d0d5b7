//! Access tokens (RFC 6749): how one is asked for, and what comes back. Nothing is sent here.

use std::{path::Path, time::Duration};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// For a token that does not say how long it lives (RFC 6749 section 5.1 only recommends it).
const UNSAID_LIFETIME: Duration = Duration::from_mins(10);

/// Some way to prove who one is, and so to get access tokens.
pub trait TokenSource: Send + Sync {
    /// Whom messages name as the giver of tokens.
    fn service(&self) -> &'static str;

    /// Whether the giver belongs to the machine, so that no proxy may be asked to reach it.
    fn is_local(&self) -> bool {
        false
    }

    /// A file whose content goes into the request. It is replaced from time to time, so it is read each time.
    fn file(&self) -> Option<&Path> {
        None
    }

    /// The request for a token at this time. `content` is that of [`TokenSource::file`].
    ///
    /// # Errors
    ///
    /// A file that holds something else, or a key that does not sign.
    fn request(&self, now: Timestamp, content: &str) -> Result<TokenRequest, CredentialError>;

    /// The request for another token, where the first is only good for that.
    fn exchange(&self, first: &AccessToken) -> Option<TokenRequest> {
        let _ = first;
        None
    }
}

/// A request to a token service. It holds credentials, so it cannot be printed.
#[derive(Clone, PartialEq)]
pub struct TokenRequest {
    pub url: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
}

/// What is sent along.
#[derive(Clone, PartialEq)]
pub enum Body {
    /// A GET request.
    None,
    /// POST, `application/x-www-form-urlencoded`.
    Form(Vec<(&'static str, String)>),
    /// POST, `application/json`.
    Json(Value),
}

/// A token as it came. It is a secret, so it cannot be printed.
#[derive(Clone, PartialEq)]
pub struct AccessToken {
    /// For the header `Authorization: Bearer`.
    pub secret: String,
    /// From the moment it came.
    pub lifetime: Duration,
}

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    #[error("it is not the JSON of {0}")]
    Form(&'static str),
    #[error("it is of type {found:?}, where {wanted} is needed")]
    Type { found: String, wanted: &'static str },
    #[error("its {0} is missing or empty")]
    Missing(&'static str),
    #[error("its private_key is no RSA key in PEM form")]
    Key,
    #[error("its {0} is not an https:// URL")]
    Url(&'static str),
    #[error("its credential_source is no file; other sources are not supported")]
    Source,
    #[error("the tenant {0:?} may only have letters, digits, dots and hyphens")]
    Tenant(String),
}

/// The answers of all token services: OAuth's, that of virtual machines, which writes numbers as text, and Google's for
/// service accounts that are impersonated.
#[derive(Deserialize)]
struct Reply {
    #[serde(alias = "accessToken")]
    access_token: String,
    #[serde(default)]
    expires_in: Value,
    #[serde(default, rename = "expireTime")]
    expire_time: Option<Timestamp>,
}

impl AccessToken {
    /// Reads the answer of a token service; none if it holds no token that can be sent on.
    pub fn parse(body: &[u8], now: Timestamp) -> Option<Self> {
        let reply: Reply = serde_json::from_slice(body).ok()?;
        if reply.access_token.is_empty() || !reply.access_token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let seconds = reply.expires_in.as_u64().or_else(|| reply.expires_in.as_str()?.parse().ok());
        let until = reply.expire_time.map(|end| Duration::try_from(end.duration_since(now)).unwrap_or_default());
        let lifetime = seconds.map(Duration::from_secs).or(until).unwrap_or(UNSAID_LIFETIME);
        Some(Self { secret: reply.access_token, lifetime })
    }
}

/// What a token service says about a refusal, without what differs each time (RFC 6749 section 5.2).
pub fn refusal(body: &[u8]) -> Option<String> {
    let reply: Value = serde_json::from_slice(body).ok()?;
    let error = &reply["error"];
    let code = error.as_str().or_else(|| error["status"].as_str()).unwrap_or_default();
    let words = reply["error_description"].as_str().or_else(|| error["message"].as_str()).unwrap_or_default();
    // Microsoft Entra ID ends its sentences with `Trace ID: … Correlation ID: … Timestamp: …`.
    let words = words.split("Trace ID:").next().unwrap_or_default().trim();
    match (code, words) {
        ("", "") => None,
        ("", words) => Some(words.to_owned()),
        (code, "") => Some(code.to_owned()),
        (code, words) => Some(format!("{code}, {words}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn lifetime(body: &str) -> Option<u64> {
        AccessToken::parse(body.as_bytes(), Timestamp::UNIX_EPOCH).map(|token| token.lifetime.as_secs())
    }

    #[test]
    fn all_ways_to_tell_the_lifetime_are_understood() {
        assert_eq!(lifetime(r#"{"access_token": "a", "expires_in": 3599, "token_type": "Bearer"}"#), Some(3599));
        assert_eq!(lifetime(r#"{"access_token": "a", "expires_in": "86399", "resource": "r"}"#), Some(86399));
        assert_eq!(lifetime(r#"{"accessToken": "a", "expireTime": "1970-01-01T00:30:00Z"}"#), Some(1800));
        assert_eq!(lifetime(r#"{"access_token": "a"}"#), Some(UNSAID_LIFETIME.as_secs()));
    }

    #[test]
    fn what_is_no_token_is_none() {
        for body in ["<html>", "{}", r#"{"access_token": ""}"#, r#"{"access_token": "a\nb"}"#, r#"{"access_token": 1}"#]
        {
            assert_eq!(lifetime(body), None, "{body}");
        }
    }

    #[test]
    fn refusals_are_told_without_what_changes() {
        let told = |body: &str| refusal(body.as_bytes());
        let entra = r#"{"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided. Trace ID: 1 Correlation ID: 2 Timestamp: 3", "error_codes": [7000215]}"#;
        assert_eq!(told(entra).unwrap(), "invalid_client, AADSTS7000215: Invalid client secret provided.");
        let google = r#"{"error": "invalid_grant", "error_description": "Invalid JWT Signature."}"#;
        assert_eq!(told(google).unwrap(), "invalid_grant, Invalid JWT Signature.");
        let impersonation =
            r#"{"error": {"code": 403, "message": "Permission denied", "status": "PERMISSION_DENIED"}}"#;
        assert_eq!(told(impersonation).unwrap(), "PERMISSION_DENIED, Permission denied");
        assert_eq!(told("<html>"), None);
        assert_eq!(told("{}"), None);
    }
}
