//! The binding of an ACME account to one that the CA has already (RFC 8555 section 7.3.4).

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use k8s_openapi::api::core::v1::Secret;

use super::secret;
use crate::api::issuer::{AcmeIssuer, ExternalAccountBinding};

/// Longer keys are nobody's, in bytes.
const LONGEST_KEY: usize = 1024;

/// The key in the Secret that the binding names; `place` is how the Secret is called.
///
/// CAs hand it out in base64url. Padding and the other base64 alphabet are accepted too.
///
/// # Errors
/// In words for people, with what to do.
pub fn mac_key(binding: &ExternalAccountBinding, secret: Option<&Secret>, place: &str) -> Result<Vec<u8>, String> {
    let wrong = |what: &str| format!("The Secret {place} with the external account key {what}");
    let Some(secret) = secret else {
        return Err(wrong("does not exist; create it with the HMAC key that the CA gives you"));
    };
    let entry = binding.key_secret_ref.key.as_deref().unwrap_or_default();
    if entry.is_empty() {
        return Err(
            "spec.acme.externalAccountBinding.keySecretRef.key is empty; name the entry of the Secret".to_owned()
        );
    }
    let Some(value) = secret::entry(secret, entry) else {
        return Err(wrong(&format!("has nothing under {entry:?}; put the HMAC key there that the CA gives you")));
    };
    let text = String::from_utf8_lossy(value);
    let text = text.trim().trim_end_matches('=').replace('+', "-").replace('/', "_");
    match BASE64_URL_SAFE_NO_PAD.decode(text) {
        Ok(key) if !key.is_empty() && key.len() <= LONGEST_KEY => Ok(key),
        _ => Err(wrong(&format!(
            "has under {entry:?} something that is no base64url text; put the HMAC key there as the CA shows it"
        ))),
    }
}

/// What the CA refused the account for may be the binding: what to compare.
pub fn advice(acme: &AcmeIssuer, place: &str) -> String {
    let Some(binding) = &acme.external_account_binding else { return String::new() };
    let unusual = binding.key_algorithm.as_deref().filter(|algorithm| *algorithm != DEFAULT_ALGORITHM);
    let algorithm = unusual.map_or_else(String::new, |algorithm| {
        format!(", and leave keyAlgorithm {algorithm} out, because most CAs take {DEFAULT_ALGORITHM} only")
    });
    format!(
        "; compare spec.acme.externalAccountBinding.keyID and the key in the Secret {place} with what the CA gave \
         you{algorithm}"
    )
}

/// The name of the MAC's algorithm (RFC 7518 section 3.1).
pub fn algorithm(binding: &ExternalAccountBinding) -> &str {
    binding.key_algorithm.as_deref().filter(|name| !name.is_empty()).unwrap_or(DEFAULT_ALGORITHM)
}

const DEFAULT_ALGORITHM: &str = "HS256";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use k8s_openapi::ByteString;
    use serde_json::json;

    use super::*;
    use crate::decide::testing::{acme, object};

    fn binding() -> ExternalAccountBinding {
        object(json!({"keyID": "kid", "keySecretRef": {"name": "eab", "key": "hmac"}}))
    }

    fn secret(text: &str) -> Secret {
        Secret { data: Some([("hmac".to_owned(), ByteString(text.into()))].into()), ..Secret::default() }
    }

    #[test]
    fn every_spelling_of_base64_is_read() {
        for text in ["-_8", " -_8=\n", "+/8=", "-_8="] {
            assert_eq!(mac_key(&binding(), Some(&secret(text)), "a/eab").unwrap(), [0xfb, 0xff], "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_told_with_what_to_do() {
        let long = "A".repeat(2000);
        for (secret, text) in [
            (None, "The Secret a/eab with the external account key does not exist; create it"),
            (Some(Secret::default()), "has nothing under \"hmac\"; put the HMAC key there"),
            (Some(secret("no base64!")), "something that is no base64url text"),
            (Some(secret(" ")), "something that is no base64url text"),
            (Some(secret(&long)), "something that is no base64url text"),
        ] {
            let told = mac_key(&binding(), secret.as_ref(), "a/eab").unwrap_err();
            assert!(told.contains(text) && !told.contains("base64!"), "{told}");
        }
        let unnamed = object(json!({"keyID": "kid", "keySecretRef": {"name": "eab"}}));
        assert!(mac_key(&unnamed, Some(&secret("AA")), "a/eab").unwrap_err().contains("keySecretRef.key is empty"));
    }

    #[test]
    fn an_unusual_algorithm_is_named_when_the_ca_refuses() {
        let mut acme = acme();
        assert_eq!(advice(&acme, "a/eab"), "");
        acme.external_account_binding = Some(binding());
        assert_eq!(algorithm(&binding()), "HS256");
        assert!(!advice(&acme, "a/eab").contains("keyAlgorithm"));
        let unusual = ExternalAccountBinding { key_algorithm: Some("HS512".into()), ..binding() };
        assert_eq!(algorithm(&unusual), "HS512");
        acme.external_account_binding = Some(unusual);
        assert!(advice(&acme, "a/eab").ends_with("leave keyAlgorithm HS512 out, because most CAs take HS256 only"));
    }
}
