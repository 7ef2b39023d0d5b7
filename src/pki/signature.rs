//! Signature algorithms of requests and certificates, and verifying what others signed.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1,
    ECDSA_P521_SHA512_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    UnparsedPublicKey, VerificationAlgorithm,
};
use x509_cert::{
    AlgorithmIdentifier, SubjectPublicKeyInfo,
    der::{
        Sequence,
        asn1::{Any, ObjectIdentifier},
    },
};

use super::{Curve, Error, KeyAlgorithm};

/// How a request or certificate is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    EcdsaSha256,
    EcdsaSha384,
    EcdsaSha512,
    Ed25519,
    RsaPssSha256,
    RsaPssSha384,
    RsaPssSha512,
    RsaSha256,
    RsaSha384,
    RsaSha512,
}

const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");

/// Algorithm, object identifier (RFC 4055, 5758, 8410), and the name in `spec.signatureAlgorithm`.
const TABLE: [(SignatureAlgorithm, ObjectIdentifier, &str); 7] = [
    (SignatureAlgorithm::RsaSha256, ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11"), "SHA256WithRSA"),
    (SignatureAlgorithm::RsaSha384, ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12"), "SHA384WithRSA"),
    (SignatureAlgorithm::RsaSha512, ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13"), "SHA512WithRSA"),
    (SignatureAlgorithm::EcdsaSha256, ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2"), "ECDSAWithSHA256"),
    (SignatureAlgorithm::EcdsaSha384, ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3"), "ECDSAWithSHA384"),
    (SignatureAlgorithm::EcdsaSha512, ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4"), "ECDSAWithSHA512"),
    (SignatureAlgorithm::Ed25519, ObjectIdentifier::new_unwrap("1.3.101.112"), "PureEd25519"),
];

impl SignatureAlgorithm {
    /// The algorithm for a name as in `spec.signatureAlgorithm` (`SHA256WithRSA`, `ECDSAWithSHA384`, `PureEd25519`).
    ///
    /// # Errors
    /// [`Error::SignatureAlgorithm`] for any other name.
    pub fn from_spec(name: &str) -> Result<Self, Error> {
        TABLE
            .iter()
            .find(|(_, _, known)| *known == name)
            .map(|(algorithm, ..)| *algorithm)
            .ok_or_else(|| Error::SignatureAlgorithm { algorithm: name.to_owned(), problem: "is not known" })
    }

    /// What a key signs with unless told otherwise: RSA by modulus (SHA-256 below 3072 bits, SHA-384 below 4096, else
    /// SHA-512), ECDSA by curve, Ed25519 as it is.
    pub fn for_key(key: KeyAlgorithm) -> Self {
        match key {
            KeyAlgorithm::Rsa(bits) if bits < 3072 => Self::RsaSha256,
            KeyAlgorithm::Rsa(bits) if bits < 4096 => Self::RsaSha384,
            KeyAlgorithm::Rsa(_) => Self::RsaSha512,
            KeyAlgorithm::Ecdsa(Curve::P256) => Self::EcdsaSha256,
            KeyAlgorithm::Ecdsa(Curve::P384) => Self::EcdsaSha384,
            KeyAlgorithm::Ecdsa(Curve::P521) => Self::EcdsaSha512,
            KeyAlgorithm::Ed25519 => Self::Ed25519,
        }
    }

    /// The `AlgorithmIdentifier` that goes into a request or certificate.
    pub fn identifier(self) -> AlgorithmIdentifier {
        let oid = TABLE.iter().find(|(algorithm, ..)| *algorithm == self).map_or(RSA_PSS, |(_, oid, _)| *oid);
        // RFC 4055 wants an explicit NULL with the RSA identifiers, RFC 5758 and 8410 want nothing with the others.
        let parameters = matches!(self, Self::RsaSha256 | Self::RsaSha384 | Self::RsaSha512).then(Any::null);
        AlgorithmIdentifier { oid, parameters }
    }

    pub(super) fn from_identifier(identifier: &AlgorithmIdentifier) -> Result<Self, Error> {
        if identifier.oid == RSA_PSS {
            return Self::from_pss_parameters(identifier.parameters.as_ref());
        }
        TABLE.iter().find(|(_, oid, _)| *oid == identifier.oid).map(|(algorithm, ..)| *algorithm).ok_or_else(|| {
            Error::SignatureAlgorithm { algorithm: identifier.oid.to_string(), problem: "is not supported" }
        })
    }

    fn from_pss_parameters(parameters: Option<&Any>) -> Result<Self, Error> {
        let unsupported =
            || Error::SignatureAlgorithm { algorithm: "RSASSA-PSS".to_owned(), problem: "has unsupported parameters" };
        let parameters: PssParameters = parameters.ok_or_else(unsupported)?.decode_as().map_err(|_| unsupported())?;
        let hash = parameters.hash.ok_or_else(unsupported)?.oid.to_string();
        match (hash.as_str(), parameters.salt_length) {
            ("2.16.840.1.101.3.4.2.1", Some(32)) => Ok(Self::RsaPssSha256),
            ("2.16.840.1.101.3.4.2.2", Some(48)) => Ok(Self::RsaPssSha384),
            ("2.16.840.1.101.3.4.2.3", Some(64)) => Ok(Self::RsaPssSha512),
            _ => Err(unsupported()),
        }
    }
}

/// `RSASSA-PSS-params` (RFC 4055 3.1).
#[derive(Sequence)]
struct PssParameters {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    hash: Option<AlgorithmIdentifier>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    mask_generation: Option<AlgorithmIdentifier>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    salt_length: Option<u8>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    trailer_field: Option<u8>,
}

/// Whether `signature` over `message` was made by the private half of `signer`.
///
/// # Errors
/// [`Error::UnsupportedKeyAlgorithm`] or [`Error::SignatureAlgorithm`] when the combination cannot be checked at all.
pub(super) fn verify(
    algorithm: SignatureAlgorithm,
    signer: &SubjectPublicKeyInfo,
    message: &[u8],
    signature: &[u8],
) -> Result<bool, Error> {
    let verifier = verifier(algorithm, KeyAlgorithm::from_spki(signer)?)?;
    Ok(UnparsedPublicKey::new(verifier, signer.subject_public_key.raw_bytes()).verify(message, signature).is_ok())
}

fn verifier(algorithm: SignatureAlgorithm, key: KeyAlgorithm) -> Result<&'static dyn VerificationAlgorithm, Error> {
    use SignatureAlgorithm as S;
    Ok(match (key, algorithm) {
        (KeyAlgorithm::Rsa(_), S::RsaSha256) => &RSA_PKCS1_2048_8192_SHA256,
        (KeyAlgorithm::Rsa(_), S::RsaSha384) => &RSA_PKCS1_2048_8192_SHA384,
        (KeyAlgorithm::Rsa(_), S::RsaSha512) => &RSA_PKCS1_2048_8192_SHA512,
        (KeyAlgorithm::Rsa(_), S::RsaPssSha256) => &RSA_PSS_2048_8192_SHA256,
        (KeyAlgorithm::Rsa(_), S::RsaPssSha384) => &RSA_PSS_2048_8192_SHA384,
        (KeyAlgorithm::Rsa(_), S::RsaPssSha512) => &RSA_PSS_2048_8192_SHA512,
        (KeyAlgorithm::Ecdsa(Curve::P256), S::EcdsaSha256) => &ECDSA_P256_SHA256_ASN1,
        (KeyAlgorithm::Ecdsa(Curve::P256), S::EcdsaSha384) => &ECDSA_P256_SHA384_ASN1,
        (KeyAlgorithm::Ecdsa(Curve::P256), S::EcdsaSha512) => &ECDSA_P256_SHA512_ASN1,
        (KeyAlgorithm::Ecdsa(Curve::P384), S::EcdsaSha256) => &ECDSA_P384_SHA256_ASN1,
        (KeyAlgorithm::Ecdsa(Curve::P384), S::EcdsaSha384) => &ECDSA_P384_SHA384_ASN1,
        (KeyAlgorithm::Ecdsa(Curve::P384), S::EcdsaSha512) => &ECDSA_P384_SHA512_ASN1,
        (KeyAlgorithm::Ecdsa(Curve::P521), S::EcdsaSha256) => &ECDSA_P521_SHA256_ASN1,
        (KeyAlgorithm::Ecdsa(Curve::P521), S::EcdsaSha384) => &ECDSA_P521_SHA384_ASN1,
        (KeyAlgorithm::Ecdsa(Curve::P521), S::EcdsaSha512) => &ECDSA_P521_SHA512_ASN1,
        (KeyAlgorithm::Ed25519, S::Ed25519) => &ED25519,
        _ => {
            return Err(Error::SignatureAlgorithm {
                algorithm: format!("{algorithm:?}"),
                problem: "does not go with the signer's kind of key",
            });
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_and_identifiers_go_both_ways() {
        for (algorithm, _, name) in TABLE {
            assert_eq!(SignatureAlgorithm::from_spec(name).unwrap(), algorithm);
            assert_eq!(SignatureAlgorithm::from_identifier(&algorithm.identifier()).unwrap(), algorithm);
        }
        let error = SignatureAlgorithm::from_spec("MD5WithRSA").unwrap_err();
        assert_eq!(error.to_string(), "the signature algorithm MD5WithRSA is not known");
    }

    #[test]
    fn the_hash_grows_with_the_key() {
        let rsa = |bits| SignatureAlgorithm::for_key(KeyAlgorithm::Rsa(bits));
        assert_eq!(rsa(2048), SignatureAlgorithm::RsaSha256);
        assert_eq!(rsa(3071), SignatureAlgorithm::RsaSha256);
        assert_eq!(rsa(3072), SignatureAlgorithm::RsaSha384);
        assert_eq!(rsa(4096), SignatureAlgorithm::RsaSha512);
    }

    #[test]
    fn mismatched_key_and_algorithm_cannot_be_checked() {
        assert!(verifier(SignatureAlgorithm::RsaSha256, KeyAlgorithm::Ed25519).is_err());
        assert!(verifier(SignatureAlgorithm::EcdsaSha512, KeyAlgorithm::Ecdsa(Curve::P256)).is_ok());
    }
}
