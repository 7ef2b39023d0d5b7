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
    Some(format!("{}.{}", BASE64URL.encode(authority), BASE64URL.encode(&certificate.serial)))
}
