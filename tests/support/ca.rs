//! A certification authority for tests: signs any P-256 key, at once and without asking.

use std::{sync::OnceLock, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair, PublicKeyData,
    SanType, SerialNumber, SignatureAlgorithm,
};

/// A public key as a certificate request brings it.
struct ForeignKey(Vec<u8>);

impl PublicKeyData for ForeignKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// A chain in PEM, leaf first, for the P-256 key in this SubjectPublicKeyInfo. Times are in seconds since 1970.
pub fn chain(public_key_der: &[u8], names: &[String], not_before: i64, not_after: i64) -> String {
    // An uncompressed point is what a SubjectPublicKeyInfo ends with.
    const POINT: usize = 65;
    let point = public_key_der[public_key_der.len() - POINT..].to_vec();
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.use_authority_key_identifier_extension = true;
    parameters.serial_number = Some(serial(&point, not_before));
    parameters.subject_alt_names =
        names.iter().map(|name| SanType::DnsName(name.as_str().try_into().expect("a DNS name"))).collect();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    parameters.not_before = epoch + Duration::from_secs(not_before.unsigned_abs());
    parameters.not_after = epoch + Duration::from_secs(not_after.unsigned_abs());
    let leaf = parameters.signed_by(&ForeignKey(point), authority()).expect("a certificate");
    format!("{}{}", leaf.pem(), authority().pem())
}

/// Another one for another key or another time.
fn serial(point: &[u8], not_before: i64) -> SerialNumber {
    let bytes = point.iter().rev().zip(not_before.to_le_bytes()).map(|(key, time)| key ^ time);
    SerialNumber::from(bytes.collect::<Vec<u8>>())
}

fn authority() -> &'static CertifiedIssuer<'static, KeyPair> {
    static AUTHORITY: OnceLock<CertifiedIssuer<'static, KeyPair>> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, "Authority of the tests");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(parameters, KeyPair::generate().expect("a key")).expect("a CA")
    })
}
