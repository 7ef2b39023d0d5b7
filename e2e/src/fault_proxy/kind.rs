//! What a request to Pebble is about, by its path. Pebble's paths are its own on purpose: a client has to read the
//! directory.

use std::fmt;

/// The resources of an ACME server (RFC 8555 section 7.1, RFC 9773).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Directory,
    NewNonce,
    NewAccount,
    Account,
    Orders,
    NewOrder,
    Order,
    Authorization,
    Challenge,
    Finalize,
    Certificate,
    RenewalInfo,
    KeyChange,
    RevokeCertificate,
    Other,
}

/// How the paths begin, and what they are.
const PATHS: [(&str, Kind); 14] = [
    ("/dir", Kind::Directory),
    ("/nonce-plz", Kind::NewNonce),
    ("/sign-me-up", Kind::NewAccount),
    ("/my-account/", Kind::Account),
    ("/list-orderz/", Kind::Orders),
    ("/order-plz", Kind::NewOrder),
    ("/my-order/", Kind::Order),
    ("/authZ/", Kind::Authorization),
    ("/chalZ/", Kind::Challenge),
    ("/finalize-order/", Kind::Finalize),
    ("/certZ/", Kind::Certificate),
    ("/draft-ietf-acme-ari-03/renewalInfo/", Kind::RenewalInfo),
    ("/rollover-account-key", Kind::KeyChange),
    ("/revoke-cert", Kind::RevokeCertificate),
];

impl Kind {
    /// The kind of what is at `path`.
    pub fn of(path: &str) -> Self {
        PATHS.iter().find(|(start, _)| path.starts_with(start)).map_or(Self::Other, |(_, kind)| *kind)
    }
}

impl fmt::Display for Kind {
    /// The name in the directory, where there is one.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Directory => "directory",
            Self::NewNonce => "newNonce",
            Self::NewAccount => "newAccount",
            Self::Account => "account",
            Self::Orders => "orders",
            Self::NewOrder => "newOrder",
            Self::Order => "order",
            Self::Authorization => "authz",
            Self::Challenge => "challenge",
            Self::Finalize => "finalize",
            Self::Certificate => "certificate",
            Self::RenewalInfo => "renewalInfo",
            Self::KeyChange => "keyChange",
            Self::RevokeCertificate => "revokeCert",
            Self::Other => "other",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_kinds() {
        assert_eq!(Kind::of("/order-plz"), Kind::NewOrder);
        assert_eq!(Kind::of("/my-order/a1"), Kind::Order);
        assert_eq!(Kind::of("/certZ/1/alternate/1"), Kind::Certificate);
        assert_eq!(Kind::of("/"), Kind::Other);
    }
}
