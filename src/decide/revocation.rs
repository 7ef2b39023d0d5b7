//! The wishes of a Certificate's annotations to have the certificate in its Secret revoked.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use crate::{
    api::{Certificate, names::annotation},
    pki::{ParsedCertificate, RevocationReason},
};

/// How often a revocation is tried before a Certificate that is being deleted goes without it.
pub const MOST_TRIES: u32 = 8;

/// A wish, and why the certificate is to be revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The annotation's value: each is fulfilled once.
    pub value: String,
    pub reason: RevocationReason,
}

/// The wish to revoke now, if there is one that can be read.
pub fn on_demand(certificate: &Certificate) -> Option<Wish> {
    wish(certificate.annotations(), annotation::REVOKE)?.ok()
}

/// The wish to revoke when the Certificate is deleted.
pub fn on_delete(certificate: &Certificate) -> Option<Wish> {
    wish(certificate.annotations(), annotation::REVOKE_ON_DELETE)?.ok()
}

/// What cannot be read, in words for people.
pub fn problems(certificate: &Certificate) -> Vec<String> {
    let keys = [annotation::REVOKE, annotation::REVOKE_ON_DELETE];
    keys.into_iter().filter_map(|key| wish(certificate.annotations(), key)?.err()).collect()
}

/// The reason comes first; after a colon may follow anything, so that the same reason can be given again.
fn wish(annotations: &BTreeMap<String, String>, key: &str) -> Option<Result<Wish, String>> {
    let value = annotations.get(key).filter(|value| !value.is_empty())?;
    let name = value.split(':').next().unwrap_or_default();
    let reason = RevocationReason::from_name(name).filter(|_| value.len() <= MOST_CHARACTERS);
    Some(reason.map(|reason| Wish { value: value.clone(), reason }).ok_or_else(|| {
        let value: String = value.chars().take(MOST_CHARACTERS).collect();
        let names: Vec<_> = RevocationReason::ALL.into_iter().map(RevocationReason::name).collect();
        format!("the annotation {key} is ignored, because {value:?} does not begin with one of {}", names.join(", "))
    }))
}

/// The value is copied into the Secret.
const MOST_CHARACTERS: usize = 100;

/// What a Secret says of the last revocation: the wish that it fulfilled, and which certificate it was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    pub value: String,
    /// In hexadecimal.
    pub serial: String,
}

impl Revoked {
    pub fn new(wish: &Wish, leaf: &ParsedCertificate) -> Self {
        Self { value: wish.value.clone(), serial: leaf.serial_hex() }
    }

    pub fn of(secret: &Secret) -> Option<Self> {
        let (value, serial) = secret.annotations().get(annotation::REVOKED)?.rsplit_once(' ')?;
        Some(Self { value: value.to_owned(), serial: serial.to_owned() })
    }

    /// As it stands in the annotation.
    pub fn noted(&self) -> String {
        format!("{} {}", self.value, self.serial)
    }

    /// Whether the certificate that it was about is this one.
    pub fn is_about(&self, leaf: &ParsedCertificate) -> bool {
        self.serial == leaf.serial_hex()
    }

    /// Whether its key may not be used again.
    pub fn is_of_key(&self) -> bool {
        self.value.split(':').next() == Some(RevocationReason::KeyCompromise.name())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decide::testing::{DAY, chain, key, object};

    fn certificate(value: &str) -> Certificate {
        object(json!({
            "metadata": {"name": "web", "annotations": {"certwright.dev/revoke": value}},
            "spec": {"secretName": "web-tls", "issuerRef": {"name": "le"}},
        }))
    }

    #[test]
    fn a_wish_begins_with_its_reason() {
        let read = |value| on_demand(&certificate(value)).map(|wish| wish.reason);
        assert_eq!(read("keyCompromise"), Some(RevocationReason::KeyCompromise));
        assert_eq!(read("superseded:again, 2027"), Some(RevocationReason::Superseded));
        assert_eq!(read(""), None);
        for bad in ["yes", "KeyCompromise", "keyCompromise again"] {
            assert_eq!(read(bad), None);
            let told = problems(&certificate(bad)).concat();
            assert!(told.contains("certwright.dev/revoke is ignored") && told.contains("keyCompromise"), "{told}");
        }
        assert!(problems(&certificate(&format!("superseded:{}", "x".repeat(200)))).concat().len() < 400);
        assert_eq!(on_delete(&certificate("superseded")), None);
    }

    #[test]
    fn what_is_noted_is_read_back() {
        let [first, second] = [0, 1].map(|number| {
            let chain = chain(key(number), &["a.example.com"], 0, DAY);
            ParsedCertificate::from_pem_chain(chain.as_bytes()).unwrap().remove(0)
        });
        let wish = on_demand(&certificate("keyCompromise:laptop lost")).unwrap();
        let revoked = Revoked::new(&wish, &first);
        let secret = object(json!({"metadata": {"annotations": {"certwright.dev/revoked": revoked.noted()}}}));
        assert_eq!(Revoked::of(&secret), Some(revoked.clone()));
        assert!(revoked.is_about(&first) && !revoked.is_about(&second) && revoked.is_of_key());
        assert_eq!(Revoked::of(&object(json!({}))), None);
    }
}
