//! Key usages under the names that Certificate resources use, and as the X.509 extensions keyUsage (RFC 5280 4.2.1.3)
//! and extendedKeyUsage (RFC 5280 4.2.1.12).

use x509_cert::{
    der::{asn1::ObjectIdentifier, flagset::FlagSet},
    ext::pkix::{ExtendedKeyUsage, KeyUsage, KeyUsages},
};

use super::Error;

/// What a request gets when it names no usage.
pub const DEFAULT: [&str; 2] = ["digital signature", "key encipherment"];

/// The canonical name comes first where two names mean the same.
const KEY_USAGES: [(&str, KeyUsages); 10] = [
    ("digital signature", KeyUsages::DigitalSignature),
    ("signing", KeyUsages::DigitalSignature),
    ("content commitment", KeyUsages::NonRepudiation),
    ("key encipherment", KeyUsages::KeyEncipherment),
    ("data encipherment", KeyUsages::DataEncipherment),
    ("key agreement", KeyUsages::KeyAgreement),
    ("cert sign", KeyUsages::KeyCertSign),
    ("crl sign", KeyUsages::CRLSign),
    ("encipher only", KeyUsages::EncipherOnly),
    ("decipher only", KeyUsages::DecipherOnly),
];

/// The canonical name comes first where two names mean the same.
const EXTENDED_KEY_USAGES: [(&str, &str); 13] = [
    ("any", "2.5.29.37.0"),
    ("server auth", "1.3.6.1.5.5.7.3.1"),
    ("client auth", "1.3.6.1.5.5.7.3.2"),
    ("code signing", "1.3.6.1.5.5.7.3.3"),
    ("email protection", "1.3.6.1.5.5.7.3.4"),
    ("s/mime", "1.3.6.1.5.5.7.3.4"),
    ("ipsec end system", "1.3.6.1.5.5.7.3.5"),
    ("ipsec tunnel", "1.3.6.1.5.5.7.3.6"),
    ("ipsec user", "1.3.6.1.5.5.7.3.7"),
    ("timestamping", "1.3.6.1.5.5.7.3.8"),
    ("ocsp signing", "1.3.6.1.5.5.7.3.9"),
    ("microsoft sgc", "1.3.6.1.4.1.311.10.3.3"),
    ("netscape sgc", "2.16.840.1.113730.4.1"),
];

/// The usages of a request or certificate. Two values are equal when they mean the same: the order of extended usages
/// counts, the spelling of synonyms does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usages {
    key: FlagSet<KeyUsages>,
    extended: Vec<ObjectIdentifier>,
}

impl Usages {
    /// The usages that `spec.usages` and `spec.isCA` ask for. An empty list means [`DEFAULT`]; a CA also signs
    /// certificates.
    ///
    /// # Errors
    /// [`Error::UnknownUsage`].
    pub fn from_spec<S: AsRef<str>>(usages: &[S], is_ca: bool) -> Result<Self, Error> {
        let mut result = Self::default();
        if is_ca {
            result.key |= KeyUsages::KeyCertSign;
        }
        if usages.is_empty() {
            DEFAULT.iter().try_for_each(|usage| result.add(usage))?;
        }
        usages.iter().try_for_each(|usage| result.add(usage.as_ref()))?;
        Ok(result)
    }

    /// The canonical names: key usages in the order of their bits, then extended usages in the order they came. An
    /// extended usage without a name appears as its dotted object identifier.
    pub fn names(&self) -> Vec<String> {
        [self.key_names(), self.extended_names()].concat()
    }

    /// The key usages among [`Usages::names`].
    pub fn key_names(&self) -> Vec<String> {
        let bits = KEY_USAGES.iter().filter(|(name, bit)| *name != "signing" && self.key.contains(*bit));
        bits.map(|(name, _)| (*name).to_owned()).collect()
    }

    /// The extended key usages among [`Usages::names`].
    pub fn extended_names(&self) -> Vec<String> {
        let name = |oid: &ObjectIdentifier| {
            let dotted = oid.to_string();
            let known = EXTENDED_KEY_USAGES.iter().find(|(_, known)| *known == dotted);
            known.map_or(dotted, |(name, _)| (*name).to_owned())
        };
        self.extended.iter().map(name).collect()
    }

    /// Whether a certificate with these usages can sign certificates as far as keyUsage goes (RFC 5280 4.2.1.3): an
    /// absent extension forbids nothing.
    pub fn allow_signing_certificates(&self) -> bool {
        self.key.is_empty() || self.key.contains(KeyUsages::KeyCertSign)
    }

    /// Whether there is nothing to put into an extension.
    pub fn is_empty(&self) -> bool {
        self.key.is_empty() && self.extended.is_empty()
    }

    /// The keyUsage extension's value; RFC 5280 wants at least one bit set.
    pub(super) fn key_usage(&self) -> Option<KeyUsage> {
        (!self.key.is_empty()).then_some(KeyUsage(self.key))
    }

    pub(super) fn extended_key_usage(&self) -> Option<ExtendedKeyUsage> {
        (!self.extended.is_empty()).then(|| ExtendedKeyUsage(self.extended.clone()))
    }

    pub(super) fn same_key_usage(&self, other: &Self) -> bool {
        self.key == other.key
    }

    pub(super) fn from_extensions(key: Option<KeyUsage>, extended: Option<ExtendedKeyUsage>) -> Self {
        Self {
            key: key.map(|key| key.0).unwrap_or_default(),
            extended: extended.map(|extended| extended.0).unwrap_or_default(),
        }
    }

    fn add(&mut self, usage: &str) -> Result<(), Error> {
        if let Some((_, bit)) = KEY_USAGES.iter().find(|(name, _)| *name == usage) {
            self.key |= *bit;
            return Ok(());
        }
        let known = EXTENDED_KEY_USAGES.iter().find(|(name, _)| *name == usage);
        let (_, dotted) = known.ok_or_else(|| Error::UnknownUsage(usage.to_owned()))?;
        let oid = ObjectIdentifier::new_unwrap(dotted);
        if !self.extended.contains(&oid) {
            self.extended.push(oid);
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nothing_asked_means_the_default() {
        let usages = Usages::from_spec::<&str>(&[], false).unwrap();
        assert_eq!(usages.names(), DEFAULT);
        let usages = Usages::from_spec::<&str>(&[], true).unwrap();
        assert_eq!(usages.names(), ["digital signature", "key encipherment", "cert sign"]);
    }

    #[test]
    fn all_names_are_understood_and_synonyms_are_equal() {
        let all: Vec<_> =
            KEY_USAGES.iter().map(|(name, _)| *name).chain(EXTENDED_KEY_USAGES.iter().map(|e| e.0)).collect();
        assert_eq!(all.len(), 23);
        assert_eq!(Usages::from_spec(&all, false).unwrap().names().len(), 21);
        assert_eq!(
            Usages::from_spec(&["signing"], false).unwrap(),
            Usages::from_spec(&["digital signature"], false).unwrap()
        );
        assert_eq!(Usages::from_spec(&["s/mime", "email protection"], false).unwrap().names(), ["email protection"]);
    }

    #[test]
    fn extended_usages_keep_their_order() {
        let names = ["client auth", "server auth"];
        assert_eq!(Usages::from_spec(&names, false).unwrap().names(), names);
        assert_ne!(
            Usages::from_spec(&names, false).unwrap(),
            Usages::from_spec(&["server auth", "client auth"], false).unwrap()
        );
    }

    #[test]
    fn unknown_usages_are_refused() {
        let error = Usages::from_spec(&["web auth"], false).unwrap_err();
        assert_eq!(error.to_string(), "unknown key usage \"web auth\"");
    }
}
