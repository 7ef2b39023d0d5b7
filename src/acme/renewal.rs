//! Renewal information (RFC 9773).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use crate::pki::certificate_id;

use super::Error;

/// When the CA suggests to renew a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenewalInfo {
    pub suggested_window: SuggestedWindow,
    /// A page about the reason.
    #[serde(rename = "explanationURL", default, skip_serializing_if = "Option::is_none")]
    pub explanation_url: Option<String>,
}

/// From `start` to `end`; the end is not before the start in an honest answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuggestedWindow {
    pub start: Timestamp,
    pub end: Timestamp,
}

/// Whether a CA that refused an order with [`super::NewOrder::replaces`] may take it without: the certificate was replaced
/// already (RFC 9773 section 5), or the CA does not know it any more, or not as one of this account. CAs find different
/// words for that, so every refusal counts that is neither about how much is asked for nor about being out of service; and
/// an error within the CA, which may be all that it has to say of a certificate that it cannot find.
pub fn may_be_about_replacement(refusal: &Error) -> bool {
    match refusal {
        Error::Problem { status: 500, retry_after, .. } => retry_after.is_none(),
        Error::Problem { status: 400..=499, .. } => !refusal.is_transient(),
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::acme::Problem;

    #[test]
    fn a_refusal_that_may_be_about_the_replaced_certificate() {
        let refusal = |status, kind: &str| {
            let problem = Problem { kind: Some(format!("urn:ietf:params:acme:error:{kind}")), ..Problem::default() };
            Error::Problem { problem: Box::new(problem), status, retry_after: None }
        };
        for (status, kind, expected) in [
            (409, "alreadyReplaced", true),
            (404, "malformed", true),
            (403, "unauthorized", true),
            (400, "malformed", true),
            (429, "rateLimited", false),
            (403, "rateLimited", false),
            (500, "serverInternal", true),
            (503, "serverInternal", false),
        ] {
            assert_eq!(may_be_about_replacement(&refusal(status, kind)), expected, "{status} {kind}");
        }
        let setup = Error::Setup("no trust".to_owned());
        assert!(!may_be_about_replacement(&setup));
    }

    /// The example of RFC 9773 section 4.2.
    #[test]
    fn the_answer_is_read() {
        let info: RenewalInfo = serde_json::from_str(
            r#"{ "suggestedWindow": { "start": "2025-01-02T04:00:00Z", "end": "2025-01-03T04:00:00Z" },
                 "explanationURL": "https://acme.example.com/docs/ari" }"#,
        )
        .unwrap();
        assert_eq!(info.suggested_window.start.to_string(), "2025-01-02T04:00:00Z");
        assert_eq!(info.explanation_url.unwrap(), "https://acme.example.com/docs/ari");
    }
}
