//! The outer shape that requests and certificates share: what is signed, how, and the signature.

use x509_cert::{
    AlgorithmIdentifier, SubjectPublicKeyInfo,
    der::{
        Decode, Encode, ErrorKind, Reader, Sequence, SliceReader, TagNumber, Tagged,
        asn1::{AnyRef, BitString},
    },
};

use super::{Error, SignatureAlgorithm, signature};

/// `SEQUENCE { toBeSigned ANY, algorithm AlgorithmIdentifier, signature BIT STRING }` (RFC 5280 4.1.1, RFC 2986 4.2).
///
/// The signed part stays as it came, so that the signature is checked over the bytes that were signed and not over our
/// own encoding of them.
#[derive(Sequence)]
pub(super) struct Signed<'a> {
    content: AnyRef<'a>,
    algorithm: AlgorithmIdentifier,
    signature: BitString,
}

impl<'a> Signed<'a> {
    pub(super) fn from_der(what: &'static str, der: &'a [u8]) -> Result<Self, Error> {
        <Self as Decode>::from_der(der).map_err(|source| Error::Der { what, source })
    }

    /// The members of what is signed, which is a SEQUENCE in requests and certificates alike.
    pub(super) fn fields(&self, what: &'static str) -> Result<Fields<'a>, Error> {
        let fields = self.content.sequence(|reader: &mut SliceReader<'a>| {
            let mut fields = Vec::new();
            while !reader.is_finished() {
                fields.push(AnyRef::decode(reader)?);
            }
            Ok::<_, x509_cert::der::Error>(fields)
        });
        Ok(Fields { what, fields: fields.map_err(|source| Error::Der { what, source })? })
    }

    /// Checks the signature with the public key of whoever should have signed. `what` and `with` name both in messages.
    pub(super) fn verify(&self, signer: &SubjectPublicKeyInfo, what: &str, with: &str) -> Result<(), Error> {
        let message = self.content.to_der().map_err(|source| Error::Encode { what: "signed part", source })?;
        let algorithm = SignatureAlgorithm::from_identifier(&self.algorithm)?;
        if signature::verify(algorithm, signer, &message, self.signature.raw_bytes())? {
            Ok(())
        } else {
            Err(Error::BadSignature { what: what.to_owned(), with: with.to_owned() })
        }
    }
}

/// The members of a SEQUENCE as they came. Decoding and encoding a name again can change its bytes (members of a SET get
/// sorted), and names in certificates are compared byte by byte.
pub(super) struct Fields<'a> {
    what: &'static str,
    fields: Vec<AnyRef<'a>>,
}

impl Fields<'_> {
    /// Whether the first member has the context-specific tag 0, as the version of a certificate has.
    pub(super) fn start_with_tag_0(&self) -> bool {
        let number = self.fields.first().filter(|field| field.tag().is_context_specific());
        number.is_some_and(|field| field.tag().number() == TagNumber(0))
    }

    /// The member at `index`, counting from 0, as DER.
    pub(super) fn der(&self, index: usize) -> Result<Vec<u8>, Error> {
        let missing = || Error::Der { what: self.what, source: ErrorKind::Failed.into() };
        let field = self.fields.get(index).ok_or_else(missing)?;
        field.to_der().map_err(|source| Error::Encode { what: self.what, source })
    }
}

/// Signs the DER `to_be_signed` and returns the DER of the whole.
pub(super) fn sign(
    key: &super::PrivateKey,
    algorithm: SignatureAlgorithm,
    to_be_signed: &[u8],
) -> Result<Vec<u8>, Error> {
    let encode = |source| Error::Encode { what: "signature", source };
    let signature = key.sign(algorithm, to_be_signed)?;
    let signed = Signed {
        content: AnyRef::try_from(to_be_signed).map_err(encode)?,
        algorithm: algorithm.identifier(),
        signature: BitString::from_bytes(&signature).map_err(encode)?,
    };
    signed.to_der().map_err(encode)
}
