//! The key of an issuance that is over at once, while it lies in the memory of this process only.

use jiff::Timestamp;

use crate::pki::PrivateKey;

/// See the module's description. It is lost with the process, which costs one CertificateRequest more to an issuer that
/// asks nobody; an issuance that takes longer has its key in a Secret.
#[derive(Clone, Debug)]
pub struct HeldKey {
    pub key: PrivateKey,
    /// In whole seconds, as the API server notes when a Secret was made.
    pub since: Timestamp,
}

impl HeldKey {
    pub fn new(key: PrivateKey, now: Timestamp) -> Self {
        Self { key, since: Timestamp::from_second(now.as_second()).unwrap_or(now) }
    }
}
