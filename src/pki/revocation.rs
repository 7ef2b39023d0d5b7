//! Why certificates are revoked.

/// Why a certificate is revoked (RFC 5280 section 5.3.1), as far as CAs take it from subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationReason {
    AffiliationChanged,
    CessationOfOperation,
    KeyCompromise,
    Superseded,
    Unspecified,
}

impl RevocationReason {
    pub const ALL: [Self; 5] = [
        Self::AffiliationChanged,
        Self::CessationOfOperation,
        Self::KeyCompromise,
        Self::Superseded,
        Self::Unspecified,
    ];

    /// The reason of this name, such as `keyCompromise`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// As in RFC 5280.
    pub fn name(self) -> &'static str {
        match self {
            Self::AffiliationChanged => "affiliationChanged",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::KeyCompromise => "keyCompromise",
            Self::Superseded => "superseded",
            Self::Unspecified => "unspecified",
        }
    }

    /// The number in RFC 5280.
    pub fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_the_names_and_numbers_of_rfc_5280() {
        let known = [
            ("unspecified", 0),
            ("keyCompromise", 1),
            ("affiliationChanged", 3),
            ("superseded", 4),
            ("cessationOfOperation", 5),
        ];
        for (name, code) in known {
            assert_eq!(RevocationReason::from_name(name).map(RevocationReason::code), Some(code), "{name}");
        }
        assert_eq!(RevocationReason::from_name("certificateHold"), None);
        assert_eq!(RevocationReason::from_name("KeyCompromise"), None);
    }
}
