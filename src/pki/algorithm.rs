//! Kinds and sizes of keys.

use std::fmt;

use x509_cert::{
    SubjectPublicKeyInfo,
    der::{
        Decode, Reader, SliceReader,
        asn1::{AnyRef, ObjectIdentifier, UintRef},
    },
};

use super::Error;

pub(super) const RSA_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
pub(super) const EC_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(super) const ED25519_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The NIST curves that public CAs and cert-manager know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    pub(super) const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// The size as Certificate resources write it: 256, 384 or 521 bits.
    pub fn bits(self) -> u32 {
        match self {
            Self::P256 => 256,
            Self::P384 => 384,
            Self::P521 => 521,
        }
    }

    /// The length of one coordinate in bytes.
    pub fn coordinate_len(self) -> usize {
        self.bits().div_ceil(8) as usize
    }

    fn oid(self) -> ObjectIdentifier {
        ObjectIdentifier::new_unwrap(match self {
            Self::P256 => "1.2.840.10045.3.1.7",
            Self::P384 => "1.3.132.0.34",
            Self::P521 => "1.3.132.0.35",
        })
    }
}

/// Kind and size of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyAlgorithm {
    Ecdsa(Curve),
    Ed25519,
    /// With the length of the modulus in bits, 2048 to 8192.
    Rsa(u32),
}

impl KeyAlgorithm {
    /// The key that `spec.privateKey.algorithm` and `.size` ask for. Unset or zero means the default: RSA, 2048 bits,
    /// P-256. The size is ignored for Ed25519.
    ///
    /// # Errors
    /// [`Error::KeySpecification`] for an unknown algorithm or a size outside of what the algorithm has.
    pub fn from_spec(algorithm: Option<&str>, size: Option<i32>) -> Result<Self, Error> {
        let size = size.unwrap_or_default();
        match algorithm.unwrap_or_default() {
            "" | "RSA" => match u32::try_from(size) {
                Ok(0) => Ok(Self::Rsa(2048)),
                Ok(bits @ 2048..=8192) => Ok(Self::Rsa(bits)),
                _ => Err(Error::KeySpecification(format!("an RSA key has 2048 to 8192 bits, not {size}"))),
            },
            "ECDSA" => match size {
                0 | 256 => Ok(Self::Ecdsa(Curve::P256)),
                384 => Ok(Self::Ecdsa(Curve::P384)),
                521 => Ok(Self::Ecdsa(Curve::P521)),
                _ => Err(Error::KeySpecification(format!("an ECDSA key has 256, 384 or 521 bits, not {size}"))),
            },
            "Ed25519" => Ok(Self::Ed25519),
            other => Err(Error::KeySpecification(format!(
                "\"{other}\" is not a private key algorithm; use RSA, ECDSA or Ed25519"
            ))),
        }
    }

    /// The name of the algorithm as Certificate resources write it: `RSA`, `ECDSA` or `Ed25519`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ecdsa(_) => "ECDSA",
            Self::Ed25519 => "Ed25519",
            Self::Rsa(_) => "RSA",
        }
    }

    /// The size in bits as Certificate resources write it; Ed25519 has none.
    pub fn size(self) -> Option<u32> {
        match self {
            Self::Ecdsa(curve) => Some(curve.bits()),
            Self::Ed25519 => None,
            Self::Rsa(bits) => Some(bits),
        }
    }

    /// The kind of a public key.
    ///
    /// # Errors
    /// [`Error::UnsupportedKeyAlgorithm`] for a kind we do not handle, [`Error::Der`] for a damaged key.
    pub fn from_spki(public_key: &SubjectPublicKeyInfo) -> Result<Self, Error> {
        let algorithm = &public_key.algorithm;
        let unsupported = |algorithm: String| Error::UnsupportedKeyAlgorithm { what: "public key", algorithm };
        match algorithm.oid {
            RSA_OID => Ok(Self::Rsa(modulus_bits(public_key.subject_public_key.raw_bytes())?)),
            ED25519_OID => Ok(Self::Ed25519),
            EC_OID => {
                let parameters = algorithm.parameters.as_ref();
                let curve = parameters.and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
                let known = Curve::ALL.into_iter().find(|known| Some(known.oid()) == curve);
                known.map(Self::Ecdsa).ok_or_else(|| {
                    unsupported(curve.map_or_else(|| "ECDSA without a named curve".to_owned(), |oid| oid.to_string()))
                })
            }
            other => Err(unsupported(other.to_string())),
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.size() {
            Some(bits) => write!(f, "{} {bits}", self.name()),
            None => f.write_str(self.name()),
        }
    }
}

/// The length of the modulus in `RSAPublicKey` (RFC 8017 A.1.1).
fn modulus_bits(rsa_public_key: &[u8]) -> Result<u32, Error> {
    let modulus = AnyRef::from_der(rsa_public_key).and_then(|any| {
        any.sequence(|reader: &mut SliceReader<'_>| {
            let modulus = UintRef::decode(reader)?.as_bytes();
            reader.read_slice(reader.remaining_len())?;
            Ok::<_, x509_cert::der::Error>(modulus)
        })
    });
    Ok(bit_length(modulus.map_err(|source| Error::Der { what: "RSA public key", source })?))
}

/// The length in bits of a big-endian number without leading zero bytes.
pub(super) fn bit_length(number: &[u8]) -> u32 {
    let top = number.first().map_or(0, |byte| byte.leading_zeros());
    u32::try_from(number.len() * 8).unwrap_or(u32::MAX).saturating_sub(top)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn specifications_have_defaults_and_limits() {
        let spec = KeyAlgorithm::from_spec;
        assert_eq!(spec(None, None).unwrap(), KeyAlgorithm::Rsa(2048));
        assert_eq!(spec(Some("RSA"), Some(0)).unwrap(), KeyAlgorithm::Rsa(2048));
        assert_eq!(spec(Some("RSA"), Some(8192)).unwrap(), KeyAlgorithm::Rsa(8192));
        assert_eq!(spec(Some("ECDSA"), None).unwrap(), KeyAlgorithm::Ecdsa(Curve::P256));
        assert_eq!(spec(Some("ECDSA"), Some(521)).unwrap(), KeyAlgorithm::Ecdsa(Curve::P521));
        assert_eq!(spec(Some("Ed25519"), Some(7)).unwrap(), KeyAlgorithm::Ed25519);
        for (algorithm, size, message) in [
            ("RSA", 1024, "an RSA key has 2048 to 8192 bits, not 1024"),
            ("RSA", -1, "an RSA key has 2048 to 8192 bits, not -1"),
            ("ECDSA", 512, "an ECDSA key has 256, 384 or 521 bits, not 512"),
            ("DSA", 0, "\"DSA\" is not a private key algorithm; use RSA, ECDSA or Ed25519"),
        ] {
            assert_eq!(spec(Some(algorithm), Some(size)).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn lengths_are_counted_in_bits() {
        assert_eq!(bit_length(&[]), 0);
        assert_eq!(bit_length(&[1]), 1);
        assert_eq!(bit_length(&[0x80, 0]), 16);
    }
}
