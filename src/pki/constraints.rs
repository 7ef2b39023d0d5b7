//! The nameConstraints extension (RFC 5280 4.2.1.10): which names a CA may issue for.

use std::net::IpAddr;

use x509_cert::{
    der::asn1::OctetString,
    ext::{
        self,
        pkix::{constraints::name::GeneralSubtree, name::GeneralName},
    },
};

use super::{Error, NameError, names, san::ia5};

/// What a CA certificate is asked to be limited to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameConstraints {
    pub critical: bool,
    pub excluded: NameSubtrees,
    pub permitted: NameSubtrees,
}

/// Sets of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameSubtrees {
    /// A domain stands for itself and everything below it.
    pub dns_domains: Vec<String>,
    /// An address, a host, or a domain.
    pub email_addresses: Vec<String>,
    /// In CIDR notation, such as `10.0.0.0/8`.
    pub ip_ranges: Vec<String>,
    /// A host, or with a leading dot everything below it.
    pub uri_domains: Vec<String>,
}

impl NameConstraints {
    pub(super) fn to_extension_value(&self) -> Result<ext::pkix::NameConstraints, Error> {
        let some = |subtrees: Vec<GeneralSubtree>| (!subtrees.is_empty()).then_some(subtrees);
        Ok(ext::pkix::NameConstraints {
            permitted_subtrees: some(self.permitted.encode()?),
            excluded_subtrees: some(self.excluded.encode()?),
        })
    }
}

impl NameSubtrees {
    fn encode(&self) -> Result<Vec<GeneralSubtree>, Error> {
        let mut names = Vec::new();
        for domain in &self.dns_domains {
            names.push(GeneralName::DnsName(ia5("DNS domain", domain)?));
        }
        for range in &self.ip_ranges {
            let octets = OctetString::new(ip_range(range)?);
            names.push(GeneralName::IpAddress(octets.map_err(|source| Error::Encode { what: "IP range", source })?));
        }
        for address in &self.email_addresses {
            names.push(GeneralName::Rfc822Name(ia5("e-mail address", address)?));
        }
        for domain in &self.uri_domains {
            names.push(GeneralName::UniformResourceIdentifier(ia5("URI domain", domain)?));
        }
        Ok(names.into_iter().map(|base| GeneralSubtree { base, minimum: 0, maximum: None }).collect())
    }
}

/// The network's address, then its mask.
fn ip_range(text: &str) -> Result<Vec<u8>, Error> {
    let bad = || NameError::IpRange(text.to_owned());
    let (address, length) = text.split_once('/').ok_or_else(bad)?;
    let octets = match names::parse_ip_address(address).map_err(|_| bad())? {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let length: usize = length.parse().map_err(|_| bad())?;
    if length > octets.len() * 8 {
        return Err(bad().into());
    }
    let mask: Vec<u8> = (0..octets.len()).map(|index| mask_octet(length.saturating_sub(index * 8))).collect();
    let network = octets.iter().zip(&mask).map(|(octet, mask)| octet & mask);
    Ok(network.chain(mask.iter().copied()).collect())
}

/// An octet whose first `bits` bits are set.
fn mask_octet(bits: usize) -> u8 {
    if bits >= 8 { 0xff } else { !(0xff >> bits) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pki::{CertificateRequestTemplate, Curve, KeyAlgorithm, PrivateKey, openssl};

    #[test]
    fn ranges_are_address_and_mask() {
        assert_eq!(ip_range("10.1.2.3/8").unwrap(), [10, 0, 0, 0, 255, 0, 0, 0]);
        assert_eq!(ip_range("192.0.2.0/31").unwrap(), [192, 0, 2, 0, 255, 255, 255, 254]);
        assert_eq!(ip_range("0.0.0.0/0").unwrap(), [0; 8]);
        let range = ip_range("2001:db8::/33").unwrap();
        assert_eq!((range.len(), &range[16..22]), (32, &[255, 255, 255, 255, 0x80, 0][..]));
        for bad in ["10.0.0.0", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/x", "/8"] {
            assert_eq!(
                ip_range(bad).unwrap_err().to_string(),
                format!("\"{bad}\" is not an IP range such as 10.0.0.0/8")
            );
        }
    }

    #[test]
    fn openssl_reads_the_constraints() {
        let constraints = NameConstraints {
            critical: true,
            permitted: NameSubtrees {
                dns_domains: vec!["example.com".into()],
                ip_ranges: vec!["10.0.0.0/8".into()],
                ..NameSubtrees::default()
            },
            excluded: NameSubtrees {
                email_addresses: vec!["bad.example.com".into()],
                uri_domains: vec![".bad.example.com".into()],
                ..NameSubtrees::default()
            },
        };
        let template =
            CertificateRequestTemplate { name_constraints: Some(constraints), ..CertificateRequestTemplate::default() };
        let key = PrivateKey::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap();
        let pem = template.build_pem(&key).unwrap();
        let Some(text) = openssl::text(&["req", "-noout", "-text"], pem.as_bytes()) else { return };
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        let start = lines.iter().position(|line| *line == "X509v3 Name Constraints: critical").unwrap();
        let expected = [
            "Permitted:",
            "DNS:example.com",
            "IP:10.0.0.0/255.0.0.0",
            "Excluded:",
            "email:bad.example.com",
            "URI:.bad.example.com",
        ];
        assert_eq!(lines[start + 1..start + 7], expected);
    }
}
