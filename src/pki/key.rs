//! Private keys: generate, read, write, sign.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    encoding::{AsBigEndian, AsDer, EcPrivateKeyRfc5915Der, EcPublicKeyUncompressedBin, Pkcs8V1Der, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        self, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA256_ASN1_SIGNING,
        ECDSA_P521_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        Ed25519KeyPair, KeyPair as _, RsaEncoding,
    },
};
use x509_cert::{
    SubjectPublicKeyInfo,
    der::{
        Decode, Reader, SliceReader,
        asn1::{AnyRef, OctetStringRef},
    },
    spki::AlgorithmIdentifierRef,
};

use super::{
    Curve, Error, KeyAlgorithm, SignatureAlgorithm,
    algorithm::{EC_OID, ED25519_OID, RSA_OID, bit_length},
    pem,
};

const PKCS8_LABEL: &str = "PRIVATE KEY";
const RSA_LABEL: &str = "RSA PRIVATE KEY";
const EC_LABEL: &str = "EC PRIVATE KEY";

/// How a private key is written, as in `spec.privateKey.encoding`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// The algorithm's own format: `RSA PRIVATE KEY` (RFC 8017) or `EC PRIVATE KEY` (RFC 5915). Ed25519 has none and is
    /// written as PKCS#8.
    #[default]
    Pkcs1,
    /// `PRIVATE KEY` (RFC 5958).
    Pkcs8,
}

/// The numbers of a public key, big-endian, as a JSON Web Key wants them (RFC 7518 6, RFC 8037 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKeyNumbers {
    Ecdsa { curve: Curve, x: Vec<u8>, y: Vec<u8> },
    Ed25519 { x: Vec<u8> },
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
}

/// A private key with its public half. Cheap to clone; never shown by `Debug`.
#[derive(Clone)]
pub struct PrivateKey(Arc<Pair>);

enum Pair {
    Ecdsa(Curve, EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl PrivateKey {
    /// Makes a new key. This blocks: elliptic curves take well under a millisecond, RSA 2048 about a tenth of a second,
    /// RSA 4096 one to three seconds. RSA keys are made with 2048, 3072, 4096 or 8192 bits; other sizes can be read but
    /// not made.
    ///
    /// # Errors
    /// [`Error::KeySpecification`] for an RSA size that cannot be made.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, Error> {
        let failed = |_| Error::Crypto("generate a private key");
        let pair = match algorithm {
            KeyAlgorithm::Ecdsa(curve) => Pair::Ecdsa(curve, EcdsaKeyPair::generate(signing(curve)).map_err(failed)?),
            KeyAlgorithm::Ed25519 => Pair::Ed25519(Ed25519KeyPair::generate().map_err(failed)?),
            KeyAlgorithm::Rsa(bits) => Pair::Rsa(RsaKeyPair::generate(rsa_key_size(bits)?).map_err(failed)?),
        };
        Ok(Self(Arc::new(pair)))
    }

    /// Reads the first private key of a PEM text, in PKCS#1, SEC1 or PKCS#8 form.
    ///
    /// # Errors
    /// Says what is wrong with the text, or which kind of key it holds that is not supported.
    pub fn from_pem(input: &[u8]) -> Result<Self, Error> {
        let what = "private key";
        let blocks = pem::decode(what, input, pem::limits().private_key)?;
        let Some(block) = blocks.iter().find(|block| block.label.ends_with(PKCS8_LABEL)) else {
            let found = blocks.into_iter().map(|block| block.label).collect();
            return Err(Error::NoPemBlock { what, wanted: PKCS8_LABEL, found });
        };
        match block.label.as_str() {
            RSA_LABEL => Self::from_pkcs1(&block.der),
            EC_LABEL => Self::from_sec1(&block.der),
            PKCS8_LABEL => Self::from_pkcs8(&block.der),
            "ENCRYPTED PRIVATE KEY" => Err(Error::EncryptedKey),
            other => Err(Error::UnsupportedKeyAlgorithm { what, algorithm: other.to_owned() }),
        }
    }

    /// Reads a private key in PKCS#8 DER form (RFC 5958).
    ///
    /// # Errors
    /// As [`PrivateKey::from_pem`].
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, Error> {
        let (algorithm, inner) = pkcs8_parts(der).map_err(|source| Error::Der { what: "private key", source })?;
        match algorithm.oid {
            RSA_OID => Self::from_pkcs1(inner),
            EC_OID => Self::from_sec1(der),
            ED25519_OID => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|error| rejected(&error))?;
                Ok(Self(Arc::new(Pair::Ed25519(pair))))
            }
            other => Err(Error::UnsupportedKeyAlgorithm { what: "private key", algorithm: other.to_string() }),
        }
    }

    fn from_pkcs1(der: &[u8]) -> Result<Self, Error> {
        let pair = RsaKeyPair::from_der(der).map_err(|error| rejected(&error))?;
        Ok(Self(Arc::new(Pair::Rsa(pair))))
    }

    /// Reads SEC1 or PKCS#8; the library tells the two apart. A SEC1 key may leave its curve out, so each is tried.
    fn from_sec1(der: &[u8]) -> Result<Self, Error> {
        let mut reason = None;
        for curve in Curve::ALL {
            match EcdsaKeyPair::from_private_key_der(signing(curve), der) {
                Ok(pair) => return Ok(Self(Arc::new(Pair::Ecdsa(curve, pair)))),
                Err(error) => reason = reason.or(Some(error)),
            }
        }
        Err(Error::KeyRejected {
            reason: format!(
                "it is no ECDSA key on P-256, P-384 or P-521 ({})",
                reason.map_or_else(String::new, |error| error.to_string())
            ),
        })
    }

    /// The key as PEM, ending with a line feed.
    ///
    /// # Errors
    /// [`Error::Crypto`] should the library fail to write its own key.
    pub fn to_pem(&self, encoding: Encoding) -> Result<String, Error> {
        let (label, der) = self.to_der(encoding)?;
        Ok(pem::encode(label, &der))
    }

    /// The key as DER with the label that its PEM form has.
    ///
    /// # Errors
    /// As [`PrivateKey::to_pem`].
    pub fn to_der(&self, encoding: Encoding) -> Result<(&'static str, Vec<u8>), Error> {
        match (&*self.0, encoding) {
            (Pair::Rsa(pair), Encoding::Pkcs1) => Ok((RSA_LABEL, pkcs1(pair)?)),
            (Pair::Ecdsa(_, pair), Encoding::Pkcs1) => {
                let der: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().map_err(|_| WRITE)?;
                Ok((EC_LABEL, der.as_ref().to_vec()))
            }
            (Pair::Ed25519(_), _) | (_, Encoding::Pkcs8) => Ok((PKCS8_LABEL, self.to_pkcs8()?)),
        }
    }

    fn to_pkcs8(&self) -> Result<Vec<u8>, Error> {
        match &*self.0 {
            Pair::Ecdsa(_, pair) => Ok(pair.to_pkcs8v1().map_err(|_| WRITE)?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Ok(pair.to_pkcs8v1().map_err(|_| WRITE)?.as_ref().to_vec()),
            Pair::Rsa(pair) => rsa_pkcs8(pair),
        }
    }

    /// The RSA key in PKCS#1 DER form (RFC 8017 A.1.2), `None` for other kinds.
    pub fn pkcs1_der(&self) -> Option<Vec<u8>> {
        match &*self.0 {
            Pair::Rsa(pair) => pkcs1(pair).ok(),
            _ => None,
        }
    }

    /// The public half as SubjectPublicKeyInfo DER (RFC 5280 4.1.2.7).
    ///
    /// # Errors
    /// [`Error::Crypto`] should the library fail to write its own key.
    pub fn public_key_der(&self) -> Result<Vec<u8>, Error> {
        let der: Result<PublicKeyX509Der<'_>, _> = match &*self.0 {
            Pair::Ecdsa(_, pair) => pair.public_key().as_der(),
            Pair::Ed25519(pair) => pair.public_key().as_der(),
            Pair::Rsa(pair) => pair.public_key().as_der(),
        };
        Ok(der.map_err(|_| Error::Crypto("write a public key"))?.as_ref().to_vec())
    }

    pub(super) fn public_key(&self) -> Result<SubjectPublicKeyInfo, Error> {
        let der = self.public_key_der()?;
        SubjectPublicKeyInfo::from_der(&der).map_err(|source| Error::Der { what: "public key", source })
    }

    /// The numbers of the public half.
    ///
    /// # Errors
    /// [`Error::Crypto`] should the library fail to write its own key.
    pub fn public_key_numbers(&self) -> Result<PublicKeyNumbers, Error> {
        let failed = || Error::Crypto("write a public key");
        Ok(match &*self.0 {
            Pair::Ecdsa(curve, pair) => {
                let point: EcPublicKeyUncompressedBin<'_> = pair.public_key().as_be_bytes().map_err(|_| failed())?;
                // Uncompressed form (SEC1 2.3.3): the byte 4, then x and y.
                let (x, y) = point.as_ref().get(1..).ok_or_else(failed)?.split_at(curve.coordinate_len());
                PublicKeyNumbers::Ecdsa { curve: *curve, x: x.to_vec(), y: y.to_vec() }
            }
            Pair::Ed25519(pair) => PublicKeyNumbers::Ed25519 { x: pair.public_key().as_ref().to_vec() },
            Pair::Rsa(pair) => PublicKeyNumbers::Rsa {
                modulus: pair.public_key().modulus().big_endian_without_leading_zero().to_vec(),
                exponent: pair.public_key().exponent().big_endian_without_leading_zero().to_vec(),
            },
        })
    }

    /// Kind and size.
    pub fn algorithm(&self) -> KeyAlgorithm {
        match &*self.0 {
            Pair::Ecdsa(curve, _) => KeyAlgorithm::Ecdsa(*curve),
            Pair::Ed25519(_) => KeyAlgorithm::Ed25519,
            Pair::Rsa(pair) => {
                KeyAlgorithm::Rsa(bit_length(pair.public_key().modulus().big_endian_without_leading_zero()))
            }
        }
    }

    /// Signs `message` in the form that X.509 uses: ECDSA signatures are DER sequences of two integers.
    ///
    /// # Errors
    /// [`Error::SignatureAlgorithm`] if the algorithm does not go with this key. ECDSA keys sign with the hash of their
    /// curve, P-521 also with the shorter ones.
    pub fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, Error> {
        match &*self.0 {
            Pair::Ecdsa(curve, pair) => sign_ecdsa(*curve, pair, algorithm, message),
            Pair::Ed25519(pair) if algorithm == SignatureAlgorithm::Ed25519 => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Ed25519(_) => Err(wrong_for(algorithm)),
            Pair::Rsa(pair) => sign_rsa(pair, algorithm, message),
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.algorithm())
    }
}

const WRITE: Error = Error::Crypto("write a private key");

fn signing(curve: Curve) -> &'static EcdsaSigningAlgorithm {
    match curve {
        Curve::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
        Curve::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
        Curve::P521 => &ECDSA_P521_SHA512_ASN1_SIGNING,
    }
}

fn rsa_key_size(bits: u32) -> Result<KeySize, Error> {
    match bits {
        2048 => Ok(KeySize::Rsa2048),
        3072 => Ok(KeySize::Rsa3072),
        4096 => Ok(KeySize::Rsa4096),
        8192 => Ok(KeySize::Rsa8192),
        other => Err(Error::KeySpecification(format!(
            "RSA keys are generated with 2048, 3072, 4096 or 8192 bits, not {other}; choose one of these sizes"
        ))),
    }
}

fn rejected(error: &aws_lc_rs::error::KeyRejected) -> Error {
    let reason = match error.to_string().as_str() {
        "TooSmall" => "an RSA key needs at least 2048 bits".to_owned(),
        "TooLarge" => "an RSA key has at most 8192 bits".to_owned(),
        other => format!("the cryptographic library refuses it ({other})"),
    };
    Error::KeyRejected { reason }
}

/// The algorithm and the inner octets of `OneAsymmetricKey` (RFC 5958 2). Attributes and public key are skipped.
fn pkcs8_parts(der: &[u8]) -> Result<(AlgorithmIdentifierRef<'_>, &[u8]), x509_cert::der::Error> {
    AnyRef::from_der(der)?.sequence(|reader: &mut SliceReader<'_>| {
        let _version = u8::decode(reader)?;
        let algorithm = AlgorithmIdentifierRef::decode(reader)?;
        let inner = <&OctetStringRef>::decode(reader)?.as_bytes();
        reader.read_slice(reader.remaining_len())?;
        Ok::<_, x509_cert::der::Error>((algorithm, inner))
    })
}

fn rsa_pkcs8(pair: &RsaKeyPair) -> Result<Vec<u8>, Error> {
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| WRITE)?;
    Ok(der.as_ref().to_vec())
}

fn pkcs1(pair: &RsaKeyPair) -> Result<Vec<u8>, Error> {
    let pkcs8 = rsa_pkcs8(pair)?;
    let (_, inner) = pkcs8_parts(&pkcs8).map_err(|_| WRITE)?;
    Ok(inner.to_vec())
}

fn wrong_for(algorithm: SignatureAlgorithm) -> Error {
    Error::SignatureAlgorithm {
        algorithm: format!("{algorithm:?}"),
        problem: "cannot be used with this kind or size of private key",
    }
}

fn sign_rsa(pair: &RsaKeyPair, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, Error> {
    let padding: &'static dyn RsaEncoding = match algorithm {
        SignatureAlgorithm::RsaSha256 => &signature::RSA_PKCS1_SHA256,
        SignatureAlgorithm::RsaSha384 => &signature::RSA_PKCS1_SHA384,
        SignatureAlgorithm::RsaSha512 => &signature::RSA_PKCS1_SHA512,
        _ => return Err(wrong_for(algorithm)),
    };
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(padding, &SystemRandom::new(), message, &mut signature).map_err(|_| Error::Crypto("sign"))?;
    Ok(signature)
}

fn sign_ecdsa(
    curve: Curve,
    pair: &EcdsaKeyPair,
    algorithm: SignatureAlgorithm,
    message: &[u8],
) -> Result<Vec<u8>, Error> {
    let failed = || Error::Crypto("sign");
    let wanted: &'static EcdsaSigningAlgorithm = match (curve, algorithm) {
        (Curve::P256, SignatureAlgorithm::EcdsaSha256) => &ECDSA_P256_SHA256_ASN1_SIGNING,
        (Curve::P384, SignatureAlgorithm::EcdsaSha384) => &ECDSA_P384_SHA384_ASN1_SIGNING,
        (Curve::P521, SignatureAlgorithm::EcdsaSha256) => &ECDSA_P521_SHA256_ASN1_SIGNING,
        (Curve::P521, SignatureAlgorithm::EcdsaSha384) => &ECDSA_P521_SHA384_ASN1_SIGNING,
        (Curve::P521, SignatureAlgorithm::EcdsaSha512) => &ECDSA_P521_SHA512_ASN1_SIGNING,
        _ => return Err(wrong_for(algorithm)),
    };
    if algorithm == SignatureAlgorithm::for_key(KeyAlgorithm::Ecdsa(curve)) {
        return Ok(pair.sign(&SystemRandom::new(), message).map_err(|_| failed())?.as_ref().to_vec());
    }
    // A pair signs with the hash it was made for, so another hash needs another pair of the same numbers.
    let pkcs8 = pair.to_pkcs8v1().map_err(|_| failed())?;
    let pair = EcdsaKeyPair::from_private_key_der(wanted, pkcs8.as_ref()).map_err(|_| failed())?;
    Ok(pair.sign(&SystemRandom::new(), message).map_err(|_| failed())?.as_ref().to_vec())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pki::openssl;

    const KINDS: [KeyAlgorithm; 5] = [
        KeyAlgorithm::Ecdsa(Curve::P256),
        KeyAlgorithm::Ecdsa(Curve::P384),
        KeyAlgorithm::Ecdsa(Curve::P521),
        KeyAlgorithm::Ed25519,
        KeyAlgorithm::Rsa(2048),
    ];

    #[test]
    fn sizes_that_cannot_be_made_are_refused() {
        let error = PrivateKey::generate(KeyAlgorithm::Rsa(2560)).unwrap_err();
        assert!(error.to_string().contains("2048, 3072, 4096 or 8192 bits, not 2560"), "{error}");
    }

    #[test]
    fn every_kind_survives_both_encodings_and_openssl_reads_them() {
        for kind in KINDS {
            let key = PrivateKey::generate(kind).unwrap();
            assert_eq!(key.algorithm(), kind);
            assert_eq!(KeyAlgorithm::from_spki(&key.public_key().unwrap()).unwrap(), kind);
            for encoding in [Encoding::Pkcs1, Encoding::Pkcs8] {
                let pem = key.to_pem(encoding).unwrap();
                let again = PrivateKey::from_pem(pem.as_bytes()).unwrap();
                assert_eq!(again.algorithm(), kind);
                assert_eq!(again.public_key_der().unwrap(), key.public_key_der().unwrap());
                let Some(public) = openssl::run(&["pkey", "-pubout", "-outform", "DER"], pem.as_bytes()) else {
                    return;
                };
                assert_eq!(public, key.public_key_der().unwrap(), "{kind} {encoding:?}");
            }
        }
    }

    #[test]
    fn the_label_follows_the_encoding() {
        for (kind, pkcs1_label) in [
            (KeyAlgorithm::Rsa(2048), "-----BEGIN RSA PRIVATE KEY-----\n"),
            (KeyAlgorithm::Ecdsa(Curve::P256), "-----BEGIN EC PRIVATE KEY-----\n"),
            (KeyAlgorithm::Ed25519, "-----BEGIN PRIVATE KEY-----\n"),
        ] {
            let key = PrivateKey::generate(kind).unwrap();
            assert!(key.to_pem(Encoding::Pkcs1).unwrap().starts_with(pkcs1_label));
            assert!(key.to_pem(Encoding::Pkcs8).unwrap().starts_with("-----BEGIN PRIVATE KEY-----\n"));
            assert_eq!(key.pkcs1_der().is_some(), matches!(kind, KeyAlgorithm::Rsa(_)));
        }
    }

    #[test]
    fn keys_made_by_openssl_are_read() {
        for (arguments, kind) in [
            (&["genrsa", "-traditional", "2560"][..], KeyAlgorithm::Rsa(2560)),
            (&["genrsa", "2048"], KeyAlgorithm::Rsa(2048)),
            // Writes an EC PARAMETERS block before the key.
            (&["ecparam", "-name", "secp384r1", "-genkey"], KeyAlgorithm::Ecdsa(Curve::P384)),
            (&["ecparam", "-name", "secp521r1", "-genkey", "-noout"], KeyAlgorithm::Ecdsa(Curve::P521)),
            (&["genpkey", "-algorithm", "ed25519"], KeyAlgorithm::Ed25519),
        ] {
            let Some(pem) = openssl::run(arguments, b"") else { return };
            assert_eq!(PrivateKey::from_pem(&pem).unwrap().algorithm(), kind);
        }
    }

    #[test]
    fn keys_that_cannot_be_used_say_why() {
        let refused = |pem: &[u8]| PrivateKey::from_pem(pem).unwrap_err().to_string();
        assert_eq!(refused(b""), "the private key holds no PEM block \"PRIVATE KEY\"");
        assert_eq!(refused(&[b'x'; 13_001]), "the private key is 13001 bytes long; at most 13000 bytes are read");
        assert!(refused(pem::encode("PRIVATE KEY", b"nonsense").as_bytes()).contains("not valid DER"));
        assert!(refused(pem::encode("RSA PRIVATE KEY", b"nonsense").as_bytes()).contains("not usable"));
        assert!(refused(pem::encode("DSA PRIVATE KEY", b"nonsense").as_bytes()).contains("unsupported"));
        let Some(small) = openssl::run(&["genrsa", "1024"], b"") else { return };
        assert_eq!(refused(&small), "the private key is not usable: an RSA key needs at least 2048 bits");
        let encrypted = openssl::run(&["genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:x"], b"").unwrap();
        assert_eq!(refused(&encrypted), "the private key is encrypted; store it without a passphrase");
        let foreign = openssl::run(&["ecparam", "-name", "secp256k1", "-genkey", "-noout"], b"").unwrap();
        assert!(refused(&foreign).contains("no ECDSA key on P-256, P-384 or P-521"));
        let foreign = openssl::run(&["genpkey", "-algorithm", "x25519"], b"").unwrap();
        assert!(refused(&foreign).contains("unsupported algorithm 1.3.101.110"));
    }

    #[test]
    fn signatures_verify_only_over_what_was_signed() {
        for kind in KINDS {
            let key = PrivateKey::generate(kind).unwrap();
            let algorithm = SignatureAlgorithm::for_key(kind);
            let signature = key.sign(algorithm, b"message").unwrap();
            let public = key.public_key().unwrap();
            let verify = |message| super::super::signature::verify(algorithm, &public, message, &signature).unwrap();
            assert!(verify(b"message"), "{kind}");
            assert!(!verify(b"massage"), "{kind}");
        }
    }

    #[test]
    fn a_signature_algorithm_of_another_key_is_refused() {
        let key = PrivateKey::generate(KeyAlgorithm::Ecdsa(Curve::P521)).unwrap();
        assert!(key.sign(SignatureAlgorithm::EcdsaSha256, b"").is_ok());
        assert!(key.sign(SignatureAlgorithm::RsaSha256, b"").is_err());
        let key = PrivateKey::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap();
        assert!(key.sign(SignatureAlgorithm::EcdsaSha512, b"").is_err());
        let key = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap();
        assert!(key.sign(SignatureAlgorithm::EcdsaSha256, b"").is_err());
    }

    #[test]
    fn debug_shows_the_kind_only() {
        let key = PrivateKey::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey(ECDSA 256)");
    }
}
