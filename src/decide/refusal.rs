//! What would have to change before the CA takes what it has refused (RFC 8555 section 6.7).

/// Ends the reason of an Order that the CA refused for what its spec asks: nothing but another spec helps, so nobody
/// should try the same again.
pub const UNTIL_SPEC_CHANGES: &str = "; the CA will refuse it again until the spec changes";

/// Who can cure a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// Whoever owns the account: agree to new terms, unlock it, register it.
    Account,
    /// Whoever writes the spec.
    Spec,
    /// Something outside, such as a DNS record; a new attempt may do.
    World,
}

/// Who can cure a refusal of this ACME error type, the part of the URN behind `error:`.
///
/// A profile may come from the issuer, so `invalidProfile` is not for the spec alone.
/// `caa`, `dns`, `dnssec`, `connection`, `tls`, `incorrectResponse` are cured in DNS or on a server, `orderNotReady` and
/// `alreadyReplaced` by another order, and a type that nobody knows may be cured by anything.
pub fn cure(kind: &str) -> Cure {
    match kind {
        "badCSR"
        | "badPublicKey"
        | "badSignatureAlgorithm"
        | "malformed"
        | "rejectedIdentifier"
        | "unsupportedContact"
        | "unsupportedIdentifier" => Cure::Spec,
        "accountDoesNotExist" | "externalAccountRequired" | "unauthorized" | "userActionRequired" => Cure::Account,
        _ => Cure::World,
    }
}

/// Who can cure a refusal whose parts (RFC 8555 section 6.7.1) are of these types. One part that only a changed spec
/// cures keeps the whole from being taken.
pub fn cure_of_all<'a>(kind: &str, parts: impl Iterator<Item = &'a str>) -> Cure {
    match cure(kind) {
        Cure::World if parts.map(cure).any(|part| part == Cure::Spec) => Cure::Spec,
        own => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_of_the_registry() {
        for (kind, expected) in [
            ("accountDoesNotExist", Cure::Account),
            ("alreadyReplaced", Cure::World),
            ("badCSR", Cure::Spec),
            ("badPublicKey", Cure::Spec),
            ("caa", Cure::World),
            ("compound", Cure::World),
            ("connection", Cure::World),
            ("dns", Cure::World),
            ("dnssec", Cure::World),
            ("externalAccountRequired", Cure::Account),
            ("invalidProfile", Cure::World),
            ("malformed", Cure::Spec),
            ("orderNotReady", Cure::World),
            ("rejectedIdentifier", Cure::Spec),
            ("unauthorized", Cure::Account),
            ("unheardOf", Cure::World),
            ("unsupportedIdentifier", Cure::Spec),
            ("userActionRequired", Cure::Account),
        ] {
            assert_eq!(cure(kind), expected, "{kind}");
        }
    }

    #[test]
    fn one_part_may_keep_the_whole() {
        assert_eq!(cure_of_all("compound", ["caa", "rejectedIdentifier"].into_iter()), Cure::Spec);
        assert_eq!(cure_of_all("compound", ["caa", "dns"].into_iter()), Cure::World);
        assert_eq!(cure_of_all("unauthorized", ["rejectedIdentifier"].into_iter()), Cure::Account);
    }
}
