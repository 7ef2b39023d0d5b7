//! Reading certificates (RFC 5280) and chains.

use std::fmt::Write as _;

use jiff::Timestamp;
use x509_cert::{
    Certificate, SubjectPublicKeyInfo,
    der::{Decode, Encode},
    ext::pkix::{AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName},
    time::Time,
};

use super::{
    Error, KeyAlgorithm, PrivateKey, Subject, SubjectAltNames, csr,
    pem::{self, MAX_CERTIFICATE, MAX_CHAIN},
    signed::Signed,
    subject,
    usage::Usages,
};

const WHAT: &str = "certificate";

/// What a certificate says. Signatures are not checked by reading; see [`verify_chain_links`].
#[derive(Clone, Debug)]
pub struct ParsedCertificate {
    /// The key identifier of the issuer's key (RFC 5280 4.2.1.1).
    pub authority_key_id: Option<Vec<u8>>,
    pub common_name: Option<String>,
    /// Whether basicConstraints make it a CA.
    pub is_ca: bool,
    pub issuer_common_name: Option<String>,
    pub issuer_der: Vec<u8>,
    /// The issuer's distinguished name as text (RFC 4514).
    pub issuer_text: String,
    pub key_algorithm: KeyAlgorithm,
    pub names: SubjectAltNames,
    pub not_after: Timestamp,
    pub not_before: Timestamp,
    /// SubjectPublicKeyInfo.
    pub public_key_der: Vec<u8>,
    /// The content octets of the serial number's DER INTEGER.
    pub serial: Vec<u8>,
    pub subject: Subject,
    pub subject_der: Vec<u8>,
    /// The subject's distinguished name as text (RFC 4514).
    pub subject_text: String,
    pub usages: Usages,
    /// The whole certificate.
    pub der: Vec<u8>,
}

impl ParsedCertificate {
    /// Reads every certificate of a PEM text, in order; at least one.
    ///
    /// # Errors
    /// When the text is too long, is no PEM, or holds anything that is not a certificate.
    pub fn from_pem_chain(input: &[u8]) -> Result<Vec<Self>, Error> {
        pem::certificates("certificate chain", input, MAX_CHAIN)?.iter().map(|der| Self::from_der(der)).collect()
    }

    /// Reads one certificate from DER.
    ///
    /// # Errors
    /// When the bytes are too many or no certificate.
    pub fn from_der(input: &[u8]) -> Result<Self, Error> {
        let decode = |source| Error::Der { what: WHAT, source };
        let encode = |source| Error::Encode { what: WHAT, source };
        pem::check_size(WHAT, input, MAX_CERTIFICATE)?;
        let certificate = Certificate::from_der(input).map_err(decode)?;
        let tbs = certificate.tbs_certificate();
        let extensions = tbs.extensions().map(Vec::as_slice).unwrap_or_default();
        let authority: Option<AuthorityKeyIdentifier> = csr::find(extensions).map_err(decode)?;
        let constraints: Option<BasicConstraints> = csr::find(extensions).map_err(decode)?;
        let names: Option<SubjectAltName> = csr::find(extensions).map_err(decode)?;
        let key_usage: Option<KeyUsage> = csr::find(extensions).map_err(decode)?;
        let extended: Option<ExtendedKeyUsage> = csr::find(extensions).map_err(decode)?;
        Ok(Self {
            authority_key_id: authority.and_then(|id| id.key_identifier).map(|id| id.as_bytes().to_vec()),
            common_name: subject::common_name(tbs.subject()),
            is_ca: constraints.is_some_and(|constraints| constraints.ca),
            issuer_common_name: subject::common_name(tbs.issuer()),
            issuer_der: tbs.issuer().to_der().map_err(encode)?,
            issuer_text: tbs.issuer().to_string(),
            key_algorithm: KeyAlgorithm::from_spki(tbs.subject_public_key_info())?,
            names: names.map(SubjectAltNames::from_extension_value).unwrap_or_default(),
            not_after: timestamp(tbs.validity().not_after),
            not_before: timestamp(tbs.validity().not_before),
            public_key_der: tbs.subject_public_key_info().to_der().map_err(encode)?,
            serial: tbs.serial_number().as_bytes().to_vec(),
            subject: Subject::from_name(tbs.subject()),
            subject_der: tbs.subject().to_der().map_err(encode)?,
            subject_text: tbs.subject().to_string(),
            usages: Usages::from_extensions(key_usage, extended),
            der: input.to_vec(),
        })
    }

    /// The certificate as PEM, ending with a line feed.
    pub fn to_pem(&self) -> String {
        pem::encode(pem::CERTIFICATE, &self.der)
    }

    /// The serial number in lower-case hexadecimal, two digits per byte.
    pub fn serial_hex(&self) -> String {
        self.serial.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Whether the certificate is for `key`.
    pub fn matches_key(&self, key: &PrivateKey) -> bool {
        key.public_key_der().is_ok_and(|der| der == self.public_key_der)
    }

    /// Whether subject and issuer are the same and the certificate is signed by its own key.
    pub fn is_self_signed(&self) -> bool {
        self.subject_der == self.issuer_der && self.verify_issued_by(self).is_ok()
    }

    /// Checks that `issuer` is the CA whose name and key made this certificate. Dates are not looked at.
    ///
    /// # Errors
    /// [`Error::BadSignature`] or why the signature cannot be checked; [`Error::BrokenChain`] is for
    /// [`verify_chain_links`] only.
    pub fn verify_issued_by(&self, issuer: &Self) -> Result<(), Error> {
        let bad = || Error::BadSignature { what: self.to_string(), with: format!("the key of {issuer}") };
        if self.issuer_der != issuer.subject_der {
            return Err(bad());
        }
        let key = SubjectPublicKeyInfo::from_der(&issuer.public_key_der)
            .map_err(|source| Error::Der { what: "public key", source })?;
        Signed::from_der(WHAT, &self.der)?.verify(&key, &self.to_string(), &format!("the key of {issuer}"))
    }
}

impl std::fmt::Display for ParsedCertificate {
    /// The subject, or the serial number of a certificate without one.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.subject_text.is_empty() {
            write!(f, "serial number {}", self.serial_hex())
        } else {
            f.write_str(&self.subject_text)
        }
    }
}

/// Checks that each certificate was issued by the one after it. A chain of one is always good.
///
/// # Errors
/// [`Error::BrokenChain`] with the first pair that does not fit.
pub fn verify_chain_links(chain: &[ParsedCertificate]) -> Result<(), Error> {
    for (index, pair) in chain.windows(2).enumerate() {
        let [certificate, issuer] = pair else { continue };
        let broken = |problem: String| Error::BrokenChain {
            position: index + 1,
            subject: certificate.to_string(),
            next: issuer.to_string(),
            problem,
        };
        if certificate.issuer_der != issuer.subject_der {
            return Err(broken(format!("it names {} as its issuer", certificate.issuer_text)));
        }
        certificate.verify_issued_by(issuer).map_err(|error| broken(error.to_string()))?;
    }
    Ok(())
}

/// Certificates can name times after the last one that a timestamp holds (the year 9999); they mean "never".
fn timestamp(time: Time) -> Timestamp {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}
