//! Keys and certificates for the tests of keystores.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::pki::{Curve, Encoding, KeyAlgorithm, ParsedCertificate, PrivateKey, openssl};

pub(super) const KINDS: [KeyAlgorithm; 3] =
    [KeyAlgorithm::Rsa(2048), KeyAlgorithm::Ecdsa(Curve::P256), KeyAlgorithm::Ed25519];

/// A key, its chain (leaf, intermediate) and the root.
pub(super) struct Sample {
    pub(super) key: PrivateKey,
    pub(super) chain: Vec<ParsedCertificate>,
    pub(super) root: ParsedCertificate,
}

impl Sample {
    pub(super) fn new(algorithm: KeyAlgorithm) -> Self {
        let key = PrivateKey::generate(algorithm).unwrap();
        let root = CertifiedIssuer::self_signed(authority("Root Ä"), KeyPair::generate().unwrap()).unwrap();
        let intermediate =
            CertifiedIssuer::signed_by(authority("Intermediate"), KeyPair::generate().unwrap(), &root).unwrap();
        let leaf = CertificateParams::new(vec!["example.com".to_owned()]).unwrap();
        let pair = KeyPair::from_pem(&key.to_pem(Encoding::Pkcs8).unwrap()).unwrap();
        let leaf = leaf.signed_by(&pair, &intermediate).unwrap();
        let parse = |der: &[u8]| ParsedCertificate::from_der(der).unwrap();
        Self { key, chain: vec![parse(leaf.der()), parse(intermediate.der())], root: parse(root.der()) }
    }

    /// What a keystore should hold: the key as PKCS#8, and the certificates from leaf to root.
    pub(super) fn content(&self) -> (Vec<u8>, Vec<Vec<u8>>) {
        let certificates = self.chain.iter().chain([&self.root]).map(|one| one.der.clone()).collect();
        (self.key.to_der(Encoding::Pkcs8).unwrap().1, certificates)
    }
}

/// A root of that name.
pub(super) fn root(name: &str) -> ParsedCertificate {
    let certificate = authority(name).self_signed(&KeyPair::generate().unwrap()).unwrap();
    ParsedCertificate::from_der(certificate.der()).unwrap()
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// The private key and the certificates that OpenSSL finds in a PKCS#12 file; `None` if there is no OpenSSL, or it
/// refuses the file.
pub(super) fn read_by_openssl(file: &[u8], password: &str, options: &[&str]) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
    let password = format!("pass:{password}");
    let read = |part: &str| {
        let arguments = [&["pkcs12", "-legacy", "-nodes", "-passin", &password, part][..], options].concat();
        openssl::attempt(&arguments, file)?.0
    };
    let key = PrivateKey::from_pem(&read("-nocerts")?).unwrap();
    let certificates = ParsedCertificate::from_pem_chain(&read("-nokeys")?).unwrap();
    Some((key.to_der(Encoding::Pkcs8).unwrap().1, certificates.into_iter().map(|one| one.der).collect()))
}

/// Whether there is an OpenSSL of at least this version.
pub(super) fn has_openssl(major: u32, minor: u32) -> bool {
    let Some(version) = openssl::text(&["version"], b"") else { return false };
    let mut numbers = version.split([' ', '.']).filter_map(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(major), Some(minor))
}
