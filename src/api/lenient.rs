//! Decoders for values that the API server accepts but Rust's types do not.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, PAD};
use k8s_openapi::ByteString;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize as _, Deserializer};

/// Like Go, and unlike k8s-openapi, this does not mind set bits after the last byte.
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, PAD.with_decode_allow_trailing_bits(true));

/// Bytes in base64; absent ones are empty.
pub(super) fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteString, D::Error> {
    Ok(optional_bytes(deserializer)?.unwrap_or_default())
}

/// Bytes in base64, or nothing.
pub(super) fn optional_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ByteString>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| BASE64.decode(text).map(ByteString).map_err(D::Error::custom)).transpose()
}

/// What can be computed again is taken as absent if it cannot be read, for example a time beyond the year 9999.
pub(super) fn or_none<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let value = Option::<serde_json::Value>::deserialize(deserializer)?;
    Ok(value.and_then(|value| serde_json::from_value(value).ok()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use crate::api::{CertificateRequestSpec, CertificateStatus};

    #[test]
    fn decodes_what_the_api_server_accepts() {
        let spec: CertificateRequestSpec = serde_json::from_value(json!({ "request": "YR==" })).unwrap();
        assert_eq!(spec.request.0, b"a");
        assert_eq!(json!(spec)["request"], "YQ==");

        for (text, readable) in [
            ("2026-01-02T03:04:05.5+01:00", true),
            ("2026-01-02t03:04:05z", true),
            ("0001-01-01T00:00:00Z", true),
            ("9999-12-31T23:59:59-12:00", false),
        ] {
            let status = json!({ "notAfter": text, "acme": { "ari": { "suggestedWindow": { "start": text } } } });
            let status: CertificateStatus = serde_json::from_value(status).unwrap();
            assert_eq!(status.not_after.is_some(), readable, "{text}");
            assert_eq!(status.acme.unwrap().ari.unwrap().suggested_window, None, "{text}");
        }
    }
}
