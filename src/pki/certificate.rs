//! Reading certificates (RFC 5280) and chains.

use std::fmt::Write as _;

use jiff::Timestamp;
use x509_cert::{
    Certificate, SubjectPublicKeyInfo,
    der::Decode,
    ext::pkix::{
        AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName, SubjectKeyIdentifier,
    },
    time::Time,
};

use super::{
    Error, KeyAlgorithm, PrivateKey, Subject, SubjectAltNames, csr, pem, signed::Signed, subject, usage::Usages,
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
    /// `None` for kinds of keys we do not handle.
    pub key_algorithm: Option<KeyAlgorithm>,
    pub names: SubjectAltNames,
    pub not_after: Timestamp,
    pub not_before: Timestamp,
    /// How many CA certificates may follow below this one; `None` for any number (RFC 5280 4.2.1.9).
    pub path_length: Option<u8>,
    /// SubjectPublicKeyInfo.
    pub public_key_der: Vec<u8>,
    /// The content octets of the serial number's DER INTEGER.
    pub serial: Vec<u8>,
    pub subject: Subject,
    pub subject_der: Vec<u8>,
    /// The key identifier of its own key (RFC 5280 4.2.1.2).
    pub subject_key_id: Option<Vec<u8>>,
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
        pem::certificates("certificate chain", input, pem::limits().chain)?
            .iter()
            .map(|der| Self::from_der(der))
            .collect()
    }

    /// Reads one certificate from DER.
    ///
    /// # Errors
    /// When the bytes are too many or no certificate.
    pub fn from_der(input: &[u8]) -> Result<Self, Error> {
        let decode = |source| Error::Der { what: WHAT, source };
        pem::check_size(WHAT, input.len(), pem::limits().certificate)?;
        let certificate = Certificate::from_der(input).map_err(decode)?;
        let tbs = certificate.tbs_certificate();
        let extensions = tbs.extensions().map(Vec::as_slice).unwrap_or_default();
        let fields = Signed::from_der(WHAT, input)?.fields(WHAT)?;
        // TBSCertificate is version (only from v2 on), serial number, signature, issuer, validity, subject, public key.
        let first = usize::from(fields.start_with_tag_0());
        let authority: Option<AuthorityKeyIdentifier> = csr::find(extensions).map_err(decode)?;
        let constraints: Option<BasicConstraints> = csr::find(extensions).map_err(decode)?;
        let names: Option<SubjectAltName> = csr::find(extensions).map_err(decode)?;
        let key_usage: Option<KeyUsage> = csr::find(extensions).map_err(decode)?;
        let extended: Option<ExtendedKeyUsage> = csr::find(extensions).map_err(decode)?;
        let key_id: Option<SubjectKeyIdentifier> = csr::find(extensions).map_err(decode)?;
        Ok(Self {
            authority_key_id: authority.and_then(|id| id.key_identifier).map(|id| id.as_bytes().to_vec()),
            common_name: subject::common_name(tbs.subject()),
            is_ca: constraints.as_ref().is_some_and(|constraints| constraints.ca),
            issuer_common_name: subject::common_name(tbs.issuer()),
            issuer_der: fields.der(first + 2)?,
            issuer_text: tbs.issuer().to_string(),
            key_algorithm: KeyAlgorithm::from_spki(tbs.subject_public_key_info()).ok(),
            names: names.map(SubjectAltNames::from_extension_value).unwrap_or_default(),
            not_after: timestamp(tbs.validity().not_after),
            not_before: timestamp(tbs.validity().not_before),
            path_length: constraints.and_then(|constraints| constraints.path_len_constraint),
            public_key_der: fields.der(first + 5)?,
            serial: tbs.serial_number().as_bytes().to_vec(),
            subject: Subject::from_name(tbs.subject()),
            subject_der: fields.der(first + 4)?,
            subject_key_id: key_id.map(|id| id.0.as_bytes().to_vec()),
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

    /// Checks that this certificate lets its holder sign other certificates, or with `is_ca` other CA certificates. Dates
    /// and names are not looked at.
    ///
    /// # Errors
    /// [`Error::NotAnIssuer`].
    pub fn may_issue(&self, is_ca: bool) -> Result<(), Error> {
        let refused = |problem| Err(Error::NotAnIssuer { subject: self.to_string(), problem });
        if !self.is_ca {
            refused("its basic constraints do not make it a CA")
        } else if !self.usages.allow_signing_certificates() {
            refused("its key usages do not include \"cert sign\"")
        } else if is_ca && self.path_length == Some(0) {
            refused("its path length of 0 allows no CA certificate below it")
        } else {
            Ok(())
        }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
        KeyPair, KeyUsagePurpose, SanType, SerialNumber,
    };

    use super::*;
    use crate::pki::openssl;

    fn ca(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn leaf() -> CertificateParams {
        let mut params = CertificateParams::new(vec!["example.com".to_owned(), "*.example.com".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Example, Inc.");
        params.distinguished_name.push(DnType::CommonName, "example.com");
        params.subject_alt_names.push(SanType::IpAddress("192.0.2.1".parse().unwrap()));
        params.serial_number = Some(SerialNumber::from_slice(&[0x87, 0x65, 0x43, 0x21]));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = rcgen::date_time_ymd(2026, 1, 2);
        params.not_after = rcgen::date_time_ymd(2026, 4, 2);
        params
    }

    /// Leaf, intermediate, root, and the leaf's key.
    fn chain() -> (Vec<ParsedCertificate>, PrivateKey) {
        let root = CertifiedIssuer::self_signed(ca("Root"), KeyPair::generate().unwrap()).unwrap();
        let intermediate = CertifiedIssuer::signed_by(ca("Intermediate"), KeyPair::generate().unwrap(), &root).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = leaf().signed_by(&key, &intermediate).unwrap();
        let pem = [certificate.pem(), intermediate.pem(), root.pem()].concat();
        let chain = ParsedCertificate::from_pem_chain(pem.as_bytes()).unwrap();
        (chain, PrivateKey::from_pem(key.serialize_pem().as_bytes()).unwrap())
    }

    #[test]
    fn certificates_say_what_they_are() {
        let (chain, key) = chain();
        let [leaf, intermediate, root] = &chain[..] else { panic!("{} certificates", chain.len()) };
        assert_eq!(leaf.common_name.as_deref(), Some("example.com"));
        assert_eq!(leaf.subject_text, r"CN=example.com,O=Example\, Inc.");
        assert_eq!(leaf.subject.organizations, ["Example, Inc."]);
        assert_eq!(leaf.issuer_common_name.as_deref(), Some("Intermediate"));
        assert_eq!(leaf.names.dns_names, ["example.com", "*.example.com"]);
        assert_eq!(leaf.names.ip_addresses, ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]);
        assert_eq!(leaf.not_before.to_string(), "2026-01-02T00:00:00Z");
        assert_eq!(leaf.not_after.to_string(), "2026-04-02T00:00:00Z");
        assert_eq!(leaf.serial, [0, 0x87, 0x65, 0x43, 0x21]);
        assert_eq!(leaf.serial_hex(), "0087654321");
        assert_eq!(leaf.usages.names(), ["digital signature", "server auth"]);
        assert_eq!(leaf.authority_key_id.as_ref().unwrap().len(), 20);
        assert!(leaf.matches_key(&key) && !root.matches_key(&key));
        assert!(!leaf.is_ca && intermediate.is_ca && root.is_ca);
        assert!(root.is_self_signed() && !intermediate.is_self_signed());
        assert_eq!(ParsedCertificate::from_pem_chain(leaf.to_pem().as_bytes()).unwrap()[0].der, leaf.der);
    }

    #[test]
    fn certificates_that_never_expire_end_with_time_itself() {
        let mut params = leaf();
        params.not_after = rcgen::date_time_ymd(9999, 12, 31);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let certificate = ParsedCertificate::from_der(certificate.der()).unwrap();
        assert_eq!(certificate.not_after, Timestamp::MAX);
    }

    #[test]
    fn links_are_checked_by_name_and_by_signature() {
        let (good, _) = chain();
        verify_chain_links(&good).unwrap();
        verify_chain_links(&good[..1]).unwrap();
        verify_chain_links(&[]).unwrap();
        let skipped = [good[0].clone(), good[2].clone()];
        assert_eq!(
            verify_chain_links(&skipped).unwrap_err().to_string(),
            r"certificate 1 of the chain (CN=example.com,O=Example\, Inc.) was not issued by the one after it (CN=Root): it names CN=Intermediate as its issuer"
        );
        // Another intermediate of the same name.
        let (other, _) = chain();
        let mixed = [good[0].clone(), other[1].clone(), other[2].clone()];
        let error = verify_chain_links(&mixed).unwrap_err();
        assert!(
            matches!(&error, Error::BrokenChain { position: 1, problem, .. } if problem.contains("does not verify")),
            "{error}"
        );
    }

    #[test]
    fn chains_signed_by_openssl_with_rsa_and_pss_verify() {
        for options in
            [&["-sha384"][..], &["-sha256", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"]]
        {
            let mut arguments = vec![
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-keyout",
                "/dev/null",
                "-subj",
                "/CN=x",
                "-days",
                "3",
            ];
            arguments.extend(options);
            let Some(pem) = openssl::run(&arguments, b"") else { return };
            let certificate = ParsedCertificate::from_pem_chain(&pem).unwrap().remove(0);
            assert!(certificate.is_self_signed(), "{options:?}");
            assert_eq!(certificate.key_algorithm, Some(KeyAlgorithm::Rsa(2048)));
        }
    }

    #[test]
    fn what_is_no_chain_is_refused() {
        let refused = |input: &[u8]| ParsedCertificate::from_pem_chain(input).unwrap_err().to_string();
        assert_eq!(refused(b"hello"), "the certificate chain holds no PEM block \"CERTIFICATE\"");
        assert!(refused(&vec![b'a'; 95_001]).contains("at most 95000 bytes"));
        assert!(refused(pem::encode("CERTIFICATE", &[0x30, 0]).as_bytes()).contains("not valid DER"));
    }
}
