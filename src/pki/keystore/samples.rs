//! Keys and certificates for the tests of keystores.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::pki::{Curve, Encoding, KeyAlgorithm, ParsedCertificate, PrivateKey};

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

    /// The key as PKCS#8.
    pub(super) fn key_der(&self) -> Vec<u8> {
        self.key.to_der(Encoding::Pkcs8).unwrap().1
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
