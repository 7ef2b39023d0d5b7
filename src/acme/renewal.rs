//! Renewal information (RFC 9773).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::pki::ParsedCertificate;

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

/// The identifier of a certificate in renewal information and in [`super::NewOrder::replaces`] (RFC 9773 4.1): `None`
/// if the certificate does not name its issuer's key.
pub fn certificate_id(certificate: &ParsedCertificate) -> Option<String> {
    let authority = certificate.authority_key_id.as_ref()?;
    Some(join(authority, &certificate.serial))
}

fn join(authority_key_id: &[u8], serial: &[u8]) -> String {
    format!("{}.{}", BASE64URL.encode(authority_key_id), BASE64URL.encode(serial))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The example of RFC 9773 section 4.1.
    #[test]
    fn the_identifier_joins_issuer_key_and_serial_number() {
        let authority = [
            0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0, 0xae, 0x2c, 0xde, 0x01,
            0xc8, 0xd4,
        ];
        assert_eq!(join(&authority, &[0x00, 0x87, 0x65, 0x43, 0x21]), "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
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
