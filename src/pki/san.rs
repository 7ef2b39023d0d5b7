//! The subjectAltName extension (RFC 5280 4.2.1.6).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use x509_cert::{
    der::{
        self,
        asn1::{Any, Ia5String, ObjectIdentifier, Utf8StringRef},
    },
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use super::{Error, NameError};

/// The names a certificate is for. Names of kinds that Certificate resources do not have are not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectAltNames {
    pub dns_names: Vec<String>,
    pub email_addresses: Vec<String>,
    pub ip_addresses: Vec<IpAddr>,
    pub other_names: Vec<OtherName>,
    pub uris: Vec<String>,
}

/// A name of a kind known by an object identifier only; such a name is a UTF-8 string here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OtherName {
    /// Dotted decimal, such as `1.3.6.1.4.1.311.20.2.3`.
    pub oid: String,
    pub utf8_value: String,
}

impl SubjectAltNames {
    /// Whether there is no name at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.dns_names.len()
            + self.email_addresses.len()
            + self.ip_addresses.len()
            + self.other_names.len()
            + self.uris.len()
    }

    /// The same names with every list sorted and without repetitions, and DNS names in lower case, for comparing.
    #[must_use]
    pub fn normalized(mut self) -> Self {
        self.dns_names.iter_mut().for_each(|name| name.make_ascii_lowercase());
        sort(&mut self.dns_names);
        sort(&mut self.email_addresses);
        sort(&mut self.ip_addresses);
        sort(&mut self.other_names);
        sort(&mut self.uris);
        self
    }

    pub(super) fn to_extension_value(&self) -> Result<SubjectAltName, Error> {
        let mut names = Vec::new();
        for name in &self.dns_names {
            names.push(GeneralName::DnsName(ia5("DNS name", name)?));
        }
        for address in &self.email_addresses {
            names.push(GeneralName::Rfc822Name(ia5("e-mail address", address)?));
        }
        for address in &self.ip_addresses {
            names.push(GeneralName::from(address.to_canonical()));
        }
        for uri in &self.uris {
            names.push(GeneralName::UniformResourceIdentifier(ia5("URI", uri)?));
        }
        for other in &self.other_names {
            names.push(GeneralName::OtherName(other.encode()?));
        }
        Ok(SubjectAltName(names))
    }

    pub(super) fn from_extension_value(extension: SubjectAltName) -> Self {
        let mut result = Self::default();
        for name in extension.0 {
            match name {
                GeneralName::DnsName(name) => result.dns_names.push(name.to_string()),
                GeneralName::Rfc822Name(address) => result.email_addresses.push(address.to_string()),
                GeneralName::IpAddress(octets) => result.ip_addresses.extend(ip_address(octets.as_bytes())),
                GeneralName::UniformResourceIdentifier(uri) => result.uris.push(uri.to_string()),
                GeneralName::OtherName(other) => result.other_names.extend(OtherName::decode(&other)),
                _ => {}
            }
        }
        result
    }
}

impl OtherName {
    fn encode(&self) -> Result<x509_cert::ext::pkix::name::OtherName, Error> {
        let encode = |source| Error::Encode { what: "other name", source };
        let type_id = ObjectIdentifier::new(&self.oid).map_err(|error| encode(error.into()))?;
        let value = Utf8StringRef::new(&self.utf8_value).and_then(|text| Any::encode_from(&text)).map_err(encode)?;
        Ok(x509_cert::ext::pkix::name::OtherName { type_id, value })
    }

    fn decode(other: &x509_cert::ext::pkix::name::OtherName) -> Option<Self> {
        let utf8_value = other.value.decode_as::<Utf8StringRef<'_>>().ok()?.as_str().to_owned();
        Some(Self { oid: other.type_id.to_string(), utf8_value })
    }
}

/// These types are ASCII only. Punycode and percent-encoding are for whoever wrote the name: silently changing it would
/// make the request differ from what was asked.
pub(super) fn ia5(what: &'static str, text: &str) -> Result<Ia5String, Error> {
    if !text.is_ascii() {
        return Err(NameError::NotAscii { what, name: text.to_owned() }.into());
    }
    Ia5String::new(text).map_err(|source: der::Error| Error::Encode { what, source })
}

fn ip_address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Some(Ipv4Addr::from(octets).into());
    }
    <[u8; 16]>::try_from(octets).ok().map(|octets| Ipv6Addr::from(octets).to_canonical())
}

fn sort<T: Ord>(list: &mut Vec<T>) {
    list.sort_unstable();
    list.dedup();
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn every_kind() -> SubjectAltNames {
        SubjectAltNames {
            dns_names: vec!["example.com".into(), "*.example.com".into()],
            email_addresses: vec!["a@example.com".into()],
            ip_addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            other_names: vec![OtherName { oid: "1.3.6.1.4.1.311.20.2.3".into(), utf8_value: "ü@example.com".into() }],
            uris: vec!["spiffe://example.com/a".into()],
        }
    }

    #[test]
    fn every_kind_survives_encoding() {
        let names = every_kind();
        let again = SubjectAltNames::from_extension_value(names.to_extension_value().unwrap());
        assert_eq!(again, names);
    }

    #[test]
    fn mapped_addresses_are_written_as_ipv4() {
        let names = SubjectAltNames { ip_addresses: vec!["::ffff:192.0.2.1".parse().unwrap()], ..Default::default() };
        let again = SubjectAltNames::from_extension_value(names.to_extension_value().unwrap());
        assert_eq!(again.ip_addresses, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn names_that_are_not_ascii_are_refused() {
        let names = SubjectAltNames { dns_names: vec!["bücher.example".into()], ..Default::default() };
        let message = names.to_extension_value().unwrap_err().to_string();
        assert!(message.contains("bücher.example") && message.contains("ASCII"), "{message}");
    }

    #[test]
    fn normalized_lists_compare_as_sets() {
        let mut shuffled = every_kind();
        shuffled.dns_names = vec!["*.example.com".into(), "example.com".into(), "*.example.com".into()];
        assert_ne!(shuffled, every_kind());
        assert_eq!(shuffled.normalized(), every_kind().normalized());
    }
}
