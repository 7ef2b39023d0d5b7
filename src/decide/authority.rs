//! The key pairs that issuers without ACME sign with, as found in their Secrets.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

use super::secret::{CA_CERT, TLS_CERT, TLS_KEY, entry};
use crate::pki::{ParsedCertificate, PrivateKey};

/// The certificate and the private key of a CA.
#[derive(Debug)]
pub struct Authority {
    /// The CA's own certificate first, then those above it as far as the Secret holds them.
    pub chain: Vec<ParsedCertificate>,
    pub key: PrivateKey,
}

/// What the Secret of a CA issuer holds.
#[derive(Clone, Debug)]
pub enum SeenAuthority {
    /// There is no such Secret; says which one is meant.
    Missing(String),
    /// There is one, but no certificate can be signed with it; says why.
    Unusable(String),
    Usable(Arc<Authority>),
}

/// The private key that a self-signed certificate is signed with: that of the CertificateRequest itself.
#[derive(Clone, Debug)]
pub enum SeenKey {
    /// The CertificateRequest does not say where its key lies.
    Unnamed,
    /// There is no such Secret; says which one is meant.
    Missing(String),
    /// There is one, but without a usable key; says why.
    Unusable(String),
    Usable(PrivateKey),
}

impl Authority {
    /// Reads the pair from a Secret: `tls.crt` (the CA's certificate first), `tls.key`, and `ca.crt` if it is there.
    /// Dates are not looked at, see [`Authority::problem`].
    ///
    /// # Errors
    /// In words for people: what is missing or wrong, and under which name in the Secret.
    pub fn from_secret(secret: &Secret) -> Result<Self, String> {
        let held = |name: &str| entry(secret, name).ok_or_else(|| format!("it has no {name}"));
        let mut chain =
            ParsedCertificate::from_pem_chain(held(TLS_CERT)?).map_err(|error| in_entry(TLS_CERT, &error))?;
        let key = PrivateKey::from_pem(held(TLS_KEY)?).map_err(|error| in_entry(TLS_KEY, &error))?;
        let Some(own) = chain.first() else { return Err(format!("{TLS_CERT}: holds no certificate")) };
        own.may_issue(false).map_err(|error| in_entry(TLS_CERT, &error))?;
        if !own.matches_key(&key) {
            return Err(format!("the key in {TLS_KEY} is not that of the first certificate in {TLS_CERT}"));
        }
        if let Some(above) = entry(secret, CA_CERT) {
            chain.extend(ParsedCertificate::from_pem_chain(above).map_err(|error| in_entry(CA_CERT, &error))?);
        }
        Ok(Self { chain, key })
    }

    /// The CA's own certificate.
    pub fn certificate(&self) -> Option<&ParsedCertificate> {
        self.chain.first()
    }

    /// When the CA's certificate ends.
    pub fn not_after(&self) -> Timestamp {
        self.certificate().map_or(Timestamp::MIN, |own| own.not_after)
    }

    /// Why the CA cannot sign at this time, if it cannot.
    pub fn problem(&self, now: Timestamp) -> Option<String> {
        let own = self.certificate()?;
        if now >= own.not_after {
            return Some(format!("the CA's certificate expired at {}; put a new one there", own.not_after));
        }
        (now < own.not_before).then(|| format!("the CA's certificate is not in force before {}", own.not_before))
    }
}

fn in_entry(name: &str, error: &dyn std::fmt::Display) -> String {
    format!("{name}: {error}")
}
