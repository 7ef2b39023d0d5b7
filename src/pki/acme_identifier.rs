//! The certificate that answers a TLS-ALPN-01 challenge (RFC 8737 section 3): made, and checked as a CA checks it.

use std::net::IpAddr;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use x509_cert::{
    Certificate,
    der::{
        Decode, Encode,
        asn1::{ObjectIdentifier, OctetString},
    },
    ext::{Extension, Extensions, pkix::SubjectAltName},
};

use super::{
    Error, PrivateKey, Subject, SubjectAltNames, csr,
    issuance::{Content, sign_own},
    pem,
};

/// id-pe-acmeIdentifier (RFC 8737 section 6.1).
const ACME_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.31");

const WHAT: &str = "certificate for a TLS-ALPN-01 challenge";

/// Why a certificate does not answer the challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    #[error("it cannot be read")]
    Unreadable,
    #[error("it is not for exactly the name of the challenge")]
    OtherName,
    #[error("it is an ordinary certificate, without the critical extension acmeIdentifier")]
    NoIdentifier,
    #[error("its extension acmeIdentifier belongs to another challenge")]
    OtherKey,
}

/// The self-signed certificate, as DER: for exactly the DNS name or IP address `identifier` (RFC 8738 section 6), with
/// the hash of the key authorization in the critical extension acmeIdentifier.
///
/// # Errors
/// When the name cannot be encoded or the times are not in order.
pub fn certificate(
    identifier: &str,
    key_authorization: &str,
    key: &PrivateKey,
    not_before: Timestamp,
    not_after: Timestamp,
) -> Result<Vec<u8>, Error> {
    let names = csr::extension(false, &names(identifier).to_extension_value()?)?;
    let hash = OctetString::new(hash(key_authorization)).and_then(|hash| hash.to_der()).map_err(encode)?;
    let identifier =
        Extension { extn_id: ACME_IDENTIFIER, critical: true, extn_value: OctetString::new(hash).map_err(encode)? };
    let subject = Subject::default().to_name(Some("ACME challenge"))?.to_der().map_err(encode)?;
    let public_key = key.public_key_der()?;
    let content = Content { subject: &subject, public_key: &public_key, extensions: vec![names, identifier] };
    sign_own(content, key, not_before, not_after)
}

/// Checks what a server presented, as RFC 8737 section 3 tells CAs to.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check(der: &[u8], identifier: &str, key_authorization: &str) -> Result<(), Mismatch> {
    pem::check_size(WHAT, der.len(), pem::limits().certificate).map_err(|_| Mismatch::Unreadable)?;
    let certificate = Certificate::from_der(der).map_err(|_| Mismatch::Unreadable)?;
    let extensions: &[Extension] = certificate.tbs_certificate().extensions().map_or(&[], Extensions::as_slice);
    let mut found = extensions.iter().filter(|extension| extension.extn_id == ACME_IDENTIFIER);
    let (Some(own), None) = (found.next().filter(|own| own.critical), found.next()) else {
        return Err(Mismatch::NoIdentifier);
    };
    let presented: Option<SubjectAltName> = csr::find(extensions).map_err(|_| Mismatch::Unreadable)?;
    if !presented.is_some_and(|presented| is_only(presented, identifier)) {
        return Err(Mismatch::OtherName);
    }
    let held = OctetString::from_der(own.extn_value.as_bytes()).map_err(|_| Mismatch::OtherKey)?;
    if held.as_bytes() == hash(key_authorization) { Ok(()) } else { Err(Mismatch::OtherKey) }
}

/// Whether the identifier is the one and only name.
fn is_only(presented: SubjectAltName, identifier: &str) -> bool {
    let is_one = presented.0.len() == 1;
    let mut presented = SubjectAltNames::from_extension_value(presented);
    presented.dns_names.iter_mut().for_each(|name| name.make_ascii_lowercase());
    is_one && presented == names(identifier)
}

fn names(identifier: &str) -> SubjectAltNames {
    match identifier.parse::<IpAddr>() {
        Ok(address) => SubjectAltNames { ip_addresses: vec![address.to_canonical()], ..SubjectAltNames::default() },
        Err(_) => SubjectAltNames { dns_names: vec![identifier.to_ascii_lowercase()], ..SubjectAltNames::default() },
    }
}

fn hash(key_authorization: &str) -> Vec<u8> {
    digest(&SHA256, key_authorization.as_bytes()).as_ref().to_vec()
}

fn encode(source: x509_cert::der::Error) -> Error {
    Error::Encode { what: WHAT, source }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::pki::{
        CertificateRequestTemplate, Curve, Issuance, KeyAlgorithm, ParsedCertificate, ParsedRequest, Usages, openssl,
    };

    const KEY: &str = "evaGxfADs6pSRb2LAv9IZ.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI";

    fn begin() -> Timestamp {
        // 2026-01-01T00:00:00Z.
        Timestamp::from_second(1_767_225_600).unwrap()
    }

    fn private_key() -> PrivateKey {
        PrivateKey::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap()
    }

    fn made(identifier: &str) -> Vec<u8> {
        certificate(identifier, KEY, &private_key(), begin(), begin() + SignedDuration::from_hours(24)).unwrap()
    }

    #[test]
    fn it_is_self_signed_and_for_one_name() {
        for (identifier, dns, addresses) in
            [("www.example.com", 1, 0), ("192.0.2.7", 0, 1), ("2001:db8::7", 0, 1), ("_a.example.com", 1, 0)]
        {
            let der = made(identifier);
            let read = ParsedCertificate::from_der(&der).unwrap();
            assert!(read.is_self_signed() && !read.is_ca, "{identifier}");
            assert_eq!((read.names.dns_names.len(), read.names.ip_addresses.len()), (dns, addresses), "{identifier}");
            assert_eq!(read.names, names(identifier));
            assert_eq!((read.not_before, read.not_after), (begin(), begin() + SignedDuration::from_hours(24)));
            assert_eq!(check(&der, identifier, KEY), Ok(()), "{identifier}");
        }
    }

    #[test]
    fn the_extension_holds_the_hash_of_the_key_authorization() {
        // openssl dgst -sha256 of KEY.
        let hash = [
            0x79, 0x9c, 0xe2, 0x94, 0xf5, 0x08, 0x33, 0x47, 0xda, 0xf3, 0xe2, 0xf6, 0xb6, 0x87, 0x4b, 0xc0, 0xed, 0xa9,
            0x8a, 0x8f, 0x88, 0x47, 0xd2, 0x9e, 0x6f, 0xc8, 0x83, 0x17, 0xc5, 0x53, 0x9d, 0xde,
        ];
        // SEQUENCE { OID, BOOLEAN TRUE, OCTET STRING { OCTET STRING } }.
        let mut wanted =
            vec![0x30, 0x31, 0x06, 0x08, 0x2b, 6, 1, 5, 5, 7, 1, 31, 0x01, 0x01, 0xff, 0x04, 0x22, 0x04, 0x20];
        wanted.extend(hash);
        let der = made("www.example.com");
        assert!(der.windows(wanted.len()).any(|part| part == wanted));
    }

    #[test]
    fn openssl_reads_it() {
        let Some(text) = openssl::text(&["x509", "-inform", "DER", "-noout", "-text"], &made("www.example.com")) else {
            return;
        };
        for part in ["1.3.6.1.5.5.7.1.31: critical", "DNS:www.example.com", "prime256v1", "CN = ACME challenge"] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let der = made("www.example.com");
        assert_eq!(check(&der, "WWW.example.com", KEY), Ok(()));
        assert_eq!(check(&der, "example.com", KEY), Err(Mismatch::OtherName));
        assert_eq!(check(&der, "192.0.2.7", KEY), Err(Mismatch::OtherName));
        assert_eq!(check(&made("192.0.2.7"), "192.0.2.8", KEY), Err(Mismatch::OtherName));
        assert_eq!(check(&der, "www.example.com", "another.key"), Err(Mismatch::OtherKey));
        assert_eq!(check(&der[1..], "www.example.com", KEY), Err(Mismatch::Unreadable));
        assert_eq!(check(&vec![0x30; 1 << 20], "www.example.com", KEY), Err(Mismatch::Unreadable));
        assert_eq!(check(&ordinary(), "www.example.com", KEY), Err(Mismatch::NoIdentifier));
    }

    #[test]
    fn an_extension_that_is_not_critical_does_not_count() {
        let mut der = made("www.example.com");
        let at = der.windows(3).rposition(|part| part == [0x01, 0x01, 0xff]).unwrap();
        der[at + 2] = 0;
        // DER has no FALSE where it is the default: refused while reading, or as not critical.
        assert!(check(&der, "www.example.com", KEY).is_err());
    }

    #[test]
    fn two_names_are_one_too_many() {
        let names = |list: &[&str]| {
            let dns_names = list.iter().map(ToString::to_string).collect();
            SubjectAltNames { dns_names, ..SubjectAltNames::default() }.to_extension_value().unwrap()
        };
        assert!(is_only(names(&["a.example"]), "a.example"));
        assert!(!is_only(names(&["a.example", "b.example"]), "a.example"));
        assert!(!is_only(names(&["a.example", "a.example"]), "a.example"));
        assert!(!is_only(names(&[]), "a.example"));
    }

    fn ordinary() -> Vec<u8> {
        let key = private_key();
        let template =
            CertificateRequestTemplate { names: names("www.example.com"), ..CertificateRequestTemplate::default() };
        let request = ParsedRequest::from_der(&template.build(&key).unwrap()).unwrap();
        let usages = Usages::from_spec(&["digital signature", "key encipherment"], false).unwrap();
        let issuance = Issuance {
            request: &request,
            usages: &usages,
            is_ca: false,
            not_before: begin(),
            not_after: begin() + SignedDuration::from_hours(24),
            crl_distribution_points: &[],
            ocsp_servers: &[],
            issuing_certificate_urls: &[],
        };
        issuance.self_sign(&key).unwrap()
    }
}
