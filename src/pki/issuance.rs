//! Signing certificates (RFC 5280): by a CA that we hold the key of, or by the key of the request itself.

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::{SecureRandom as _, SystemRandom},
};
use jiff::Timestamp;
use x509_cert::{
    AlgorithmIdentifier, SubjectPublicKeyInfo,
    certificate::Version,
    der::{
        DateTime, Decode, Encode, Sequence,
        asn1::{AnyRef, ObjectIdentifier, OctetString, Uint},
    },
    ext::{
        Extension,
        pkix::{
            AccessDescription, AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints,
            CrlDistributionPoints, NameConstraints, SubjectKeyIdentifier,
            crl::dp::DistributionPoint,
            name::{DistributionPointName, GeneralName},
        },
    },
    time::{Time, Validity},
};

use super::{
    Error, ParsedCertificate, ParsedRequest, PrivateKey, SignatureAlgorithm, csr::extension, san::ia5, signed,
    usage::Usages,
};

const WHAT: &str = "certificate";

/// The distinguished name without any attribute.
const EMPTY_NAME: [u8; 2] = [0x30, 0];

/// RFC 5280 4.2.2.1.
const OCSP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");
const CA_ISSUERS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.2");

/// What a certificate is to say. Subject, public key, names and name constraints are the request's, byte by byte;
/// nothing else is taken over from it.
#[derive(Clone, Copy, Debug)]
pub struct Issuance<'a> {
    pub request: &'a ParsedRequest,
    /// See [`Usages::from_spec`].
    pub usages: &'a Usages,
    pub is_ca: bool,
    /// Fractions of a second are cut off.
    pub not_before: Timestamp,
    /// Fractions of a second are cut off. [`Timestamp::MAX`] means "never" (RFC 5280 4.1.2.5).
    pub not_after: Timestamp,
    /// URLs of revocation lists.
    pub crl_distribution_points: &'a [String],
    /// URLs of OCSP responders.
    pub ocsp_servers: &'a [String],
    /// URLs of the signer's certificate.
    pub issuing_certificate_urls: &'a [String],
}

impl Issuance<'_> {
    /// The certificate as DER, signed by a CA. Whether the CA's certificate allows that is for the caller to ask
    /// ([`ParsedCertificate::may_issue`]), and so is that the CA lives as long as the certificate.
    ///
    /// # Errors
    /// [`Error::KeyMismatch`] when the key is not the CA's, [`Error::Contradiction`] when the request says something
    /// else, [`Error::Validity`], or when a URL cannot be encoded.
    pub fn sign_with_ca(&self, ca: &ParsedCertificate, ca_key: &PrivateKey) -> Result<Vec<u8>, Error> {
        if !ca.matches_key(ca_key) {
            return Err(Error::KeyMismatch { what: format!("certificate of the CA {ca}") });
        }
        self.sign(&ca.subject_der, ca.subject_key_id.as_deref(), ca_key)
    }

    /// The certificate as DER, signed by the key that the request was made with.
    ///
    /// # Errors
    /// As [`Issuance::sign_with_ca`].
    pub fn self_sign(&self, key: &PrivateKey) -> Result<Vec<u8>, Error> {
        if !self.request.matches_key(key) {
            return Err(Error::KeyMismatch { what: "certificate request".to_owned() });
        }
        self.sign(&self.request.subject_der, None, key)
    }

    fn sign(&self, issuer_der: &[u8], issuer_key_id: Option<&[u8]>, key: &PrivateKey) -> Result<Vec<u8>, Error> {
        self.request.check_agrees(self.usages, self.is_ca)?;
        let content = Content {
            subject: &self.request.subject_der,
            public_key: &self.request.public_key_der,
            extensions: self.extensions(issuer_key_id)?,
        };
        sign(content, issuer_der, key, validity(self.not_before, self.not_after)?)
    }

    fn extensions(&self, issuer_key_id: Option<&[u8]>) -> Result<Vec<Extension>, Error> {
        let mut extensions = Vec::new();
        if let Some(usages) = self.usages.key_usage() {
            extensions.push(extension(true, &usages)?);
        }
        if let Some(usages) = self.usages.extended_key_usage() {
            extensions.push(extension(false, &usages)?);
        }
        extensions.push(extension(true, &BasicConstraints { ca: self.is_ca, path_len_constraint: None })?);
        extensions.push(extension(false, &SubjectKeyIdentifier(self.subject_key_id()?))?);
        if let Some(id) = issuer_key_id {
            let key_identifier = Some(OctetString::new(id).map_err(encode)?);
            extensions.push(extension(false, &AuthorityKeyIdentifier { key_identifier, ..Default::default() })?);
        }
        extensions.extend(self.information_access()?);
        extensions.extend(self.names());
        extensions.extend(self.name_constraints()?);
        extensions.extend(self.revocation_lists()?);
        Ok(extensions)
    }

    /// The first 160 bits of the key's SHA-256 hash (RFC 7093 2, method 1).
    fn subject_key_id(&self) -> Result<OctetString, Error> {
        let key = SubjectPublicKeyInfo::from_der(&self.request.public_key_der)
            .map_err(|source| Error::Der { what: "public key", source })?;
        let hash = digest(&SHA256, key.subject_public_key.raw_bytes());
        OctetString::new(&hash.as_ref()[..20]).map_err(encode)
    }

    fn information_access(&self) -> Result<Option<Extension>, Error> {
        let issuers = (CA_ISSUERS, "issuing certificate URL", self.issuing_certificate_urls);
        let kinds = [(OCSP, "OCSP server", self.ocsp_servers), issuers];
        let mut descriptions = Vec::new();
        for (access_method, what, urls) in kinds {
            for url in urls {
                descriptions.push(AccessDescription { access_method, access_location: uri(what, url)? });
            }
        }
        if descriptions.is_empty() {
            return Ok(None);
        }
        extension(false, &AuthorityInfoAccessSyntax(descriptions)).map(Some)
    }

    /// RFC 5280 4.2.1.6: critical exactly when the names are all there is, whatever the request thinks.
    fn names(&self) -> Option<Extension> {
        let mut names = self.request.subject_alt_name_extension.clone()?;
        names.critical = self.request.subject_der == EMPTY_NAME;
        Some(names)
    }

    fn name_constraints(&self) -> Result<Option<Extension>, Error> {
        let Some(constraints) = &self.request.name_constraints_extension else { return Ok(None) };
        // Nothing has looked into it so far, and nonsense is not to be signed.
        NameConstraints::from_der(constraints.extn_value.as_bytes())
            .map_err(|source| Error::Der { what: "nameConstraints extension of the certificate request", source })?;
        Ok(Some(constraints.clone()))
    }

    fn revocation_lists(&self) -> Result<Option<Extension>, Error> {
        if self.crl_distribution_points.is_empty() {
            return Ok(None);
        }
        let point = |url: &String| {
            let name = DistributionPointName::FullName(vec![uri("CRL distribution point", url)?]);
            Ok(DistributionPoint { distribution_point: Some(name), reasons: None, crl_issuer: None })
        };
        let points: Result<Vec<_>, Error> = self.crl_distribution_points.iter().map(point).collect();
        extension(false, &CrlDistributionPoints(points?)).map(Some)
    }
}

/// The parts of a certificate that differ from kind to kind; names and keys as DER.
pub(super) struct Content<'a> {
    pub(super) subject: &'a [u8],
    pub(super) public_key: &'a [u8],
    pub(super) extensions: Vec<Extension>,
}

/// A certificate that is signed by its own key, as DER.
pub(super) fn sign_own(
    content: Content<'_>,
    key: &PrivateKey,
    not_before: Timestamp,
    not_after: Timestamp,
) -> Result<Vec<u8>, Error> {
    let issuer = content.subject;
    sign(content, issuer, key, validity(not_before, not_after)?)
}

fn sign(content: Content<'_>, issuer_der: &[u8], key: &PrivateKey, validity: Validity) -> Result<Vec<u8>, Error> {
    let algorithm = SignatureAlgorithm::for_key(key.algorithm());
    let content = ToBeSigned {
        version: Version::V3,
        serial_number: serial_number()?,
        signature: algorithm.identifier(),
        issuer: raw(issuer_der)?,
        validity,
        subject: raw(content.subject)?,
        public_key: raw(content.public_key)?,
        extensions: content.extensions,
    };
    signed::sign(key, algorithm, &content.to_der().map_err(encode)?)
}

fn validity(not_before: Timestamp, not_after: Timestamp) -> Result<Validity, Error> {
    let wrong = || Error::Validity { not_before, not_after };
    if not_before >= not_after {
        return Err(wrong());
    }
    Ok(Validity::new(time(not_before).ok_or_else(wrong)?, time(not_after).ok_or_else(wrong)?))
}

/// `TBSCertificate` (RFC 5280 4.1) with names and key as they came, so that none is changed by decoding.
#[derive(Sequence)]
struct ToBeSigned<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: Version,
    serial_number: Uint,
    signature: AlgorithmIdentifier,
    issuer: AnyRef<'a>,
    validity: Validity,
    subject: AnyRef<'a>,
    public_key: AnyRef<'a>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

fn encode(source: x509_cert::der::Error) -> Error {
    Error::Encode { what: WHAT, source }
}

fn raw(der: &[u8]) -> Result<AnyRef<'_>, Error> {
    AnyRef::from_der(der).map_err(encode)
}

/// 128 random bits (RFC 5280 4.1.2.2 allows 159); not zero, which is no serial number.
fn serial_number() -> Result<Uint, Error> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Crypto("make a serial number"))?;
    bytes[15] |= u8::from(bytes == [0; 16]);
    Uint::new(&bytes).map_err(encode)
}

/// UTCTime until 2049, then GeneralizedTime; `None` before 1970. The last timestamp there is stands for "never".
fn time(at: Timestamp) -> Option<Time> {
    if at.as_second() == Timestamp::MAX.as_second() {
        return Some(Time::INFINITY);
    }
    let since_1970 = std::time::Duration::from_secs(u64::try_from(at.as_second()).ok()?);
    DateTime::from_unix_duration(since_1970).ok().map(Time::from)
}

fn uri(what: &'static str, url: &str) -> Result<GeneralName, Error> {
    Ok(GeneralName::UniformResourceIdentifier(ia5(what, url)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::pki::{
        CertificateRequestTemplate, Curve, KeyAlgorithm, NameConstraints, NameSubtrees, SubjectAltNames, openssl, pem,
    };

    const KINDS: [(KeyAlgorithm, &str); 5] = [
        (KeyAlgorithm::Rsa(2048), "sha256WithRSAEncryption"),
        (KeyAlgorithm::Ecdsa(Curve::P256), "ecdsa-with-SHA256"),
        (KeyAlgorithm::Ecdsa(Curve::P384), "ecdsa-with-SHA384"),
        (KeyAlgorithm::Ecdsa(Curve::P521), "ecdsa-with-SHA512"),
        (KeyAlgorithm::Ed25519, "ED25519"),
    ];

    /// 2026-01-01T00:00:00Z.
    const ISSUED_AT: i64 = 1_767_225_600;

    fn p256() -> PrivateKey {
        PrivateKey::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap()
    }

    fn leaf() -> CertificateRequestTemplate {
        CertificateRequestTemplate {
            common_name: Some("leaf".into()),
            names: SubjectAltNames {
                dns_names: vec!["a.example.com".into(), "*.example.com".into()],
                ip_addresses: vec!["192.0.2.1".parse().unwrap()],
                ..SubjectAltNames::default()
            },
            usages: vec!["digital signature".into(), "client auth".into(), "server auth".into()],
            ..CertificateRequestTemplate::default()
        }
    }

    fn ca() -> CertificateRequestTemplate {
        CertificateRequestTemplate { common_name: Some("root".into()), is_ca: true, ..Default::default() }
    }

    fn request(template: &CertificateRequestTemplate, key: &PrivateKey) -> ParsedRequest {
        ParsedRequest::from_der(&template.build(key).unwrap()).unwrap()
    }

    /// Everything an issuance borrows.
    struct Order {
        request: ParsedRequest,
        usages: Usages,
        is_ca: bool,
    }

    impl Order {
        fn new(template: &CertificateRequestTemplate, key: &PrivateKey) -> Self {
            let usages = Usages::from_spec(&template.usages, template.is_ca).unwrap();
            Self { request: request(template, key), usages, is_ca: template.is_ca }
        }

        fn issuance(&self) -> Issuance<'_> {
            let not_before = Timestamp::from_second(ISSUED_AT).unwrap();
            Issuance {
                request: &self.request,
                usages: &self.usages,
                is_ca: self.is_ca,
                not_before,
                not_after: not_before + SignedDuration::from_hours(24),
                crl_distribution_points: &[],
                ocsp_servers: &[],
                issuing_certificate_urls: &[],
            }
        }
    }

    fn root(key: &PrivateKey) -> ParsedCertificate {
        ParsedCertificate::from_der(&Order::new(&ca(), key).issuance().self_sign(key).unwrap()).unwrap()
    }

    fn text(der: &[u8]) -> Option<String> {
        openssl::text(&["x509", "-noout", "-text"], pem::encode(pem::CERTIFICATE, der).as_bytes())
    }

    /// Whether OpenSSL trusts the certificate when it trusts the root.
    fn openssl_trusts(der: &[u8], root: &ParsedCertificate) -> Option<bool> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("root.pem");
        std::fs::write(&file, root.to_pem()).unwrap();
        let at = (ISSUED_AT + 60).to_string();
        let arguments = ["verify", "-x509_strict", "-attime", &at, "-CAfile", file.to_str().unwrap()];
        let (output, errors) = openssl::attempt(&arguments, pem::encode(pem::CERTIFICATE, der).as_bytes())?;
        if output.is_none() {
            println!("{errors}");
        }
        Some(output.is_some())
    }

    #[test]
    fn openssl_trusts_certificates_of_every_kind_of_key() {
        for (ca_kind, signed_with) in KINDS {
            let ca_key = PrivateKey::generate(ca_kind).unwrap();
            let root = root(&ca_key);
            assert!(root.is_self_signed());
            for (kind, _) in KINDS {
                let key = PrivateKey::generate(kind).unwrap();
                let der = Order::new(&leaf(), &key).issuance().sign_with_ca(&root, &ca_key).unwrap();
                let parsed = ParsedCertificate::from_der(&der).unwrap();
                parsed.verify_issued_by(&root).unwrap();
                assert!(parsed.matches_key(&key));
                let Some(trusted) = openssl_trusts(&der, &root) else { return };
                assert!(trusted, "{ca_kind} signing {kind}");
                let text = text(&der).unwrap();
                assert!(text.contains(&format!("Signature Algorithm: {signed_with}\n")), "{text}");
            }
            assert_eq!(openssl_trusts(&root.der, &root), Some(true), "{ca_kind}");
        }
    }

    #[test]
    fn openssl_reads_what_was_asked_for() {
        let (ca_key, key) = (p256(), p256());
        let (root, order) = (root(&ca_key), Order::new(&leaf(), &key));
        let urls = |path: &str| [format!("http://ca.example.com/{path}/1"), format!("http://ca.example.com/{path}/2")];
        let (crl, ocsp, issuing) = (urls("crl"), urls("ocsp"), urls("ca"));
        let issuance = Issuance {
            crl_distribution_points: &crl,
            ocsp_servers: &ocsp,
            issuing_certificate_urls: &issuing,
            ..order.issuance()
        };
        let der = issuance.sign_with_ca(&root, &ca_key).unwrap();
        let Some(text) = text(&der) else { return };
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        let after = |title: &str| lines[lines.iter().position(|line| *line == title).expect(title) + 1];
        assert_eq!(after("X509v3 Key Usage: critical"), "Digital Signature");
        assert_eq!(after("X509v3 Extended Key Usage:"), "TLS Web Client Authentication, TLS Web Server Authentication");
        assert_eq!(after("X509v3 Basic Constraints: critical"), "CA:FALSE");
        let names = "DNS:a.example.com, DNS:*.example.com, IP Address:192.0.2.1";
        assert_eq!(after("X509v3 Subject Alternative Name:"), names);
        for line in [
            "Version: 3 (0x2)",
            "Issuer: CN = root",
            "Subject: CN = leaf",
            "URI:http://ca.example.com/crl/1",
            "URI:http://ca.example.com/crl/2",
            "OCSP - URI:http://ca.example.com/ocsp/1",
            "OCSP - URI:http://ca.example.com/ocsp/2",
            "CA Issuers - URI:http://ca.example.com/ca/1",
            "CA Issuers - URI:http://ca.example.com/ca/2",
        ] {
            assert!(lines.contains(&line), "{line} in {text}");
        }
        let parsed = ParsedCertificate::from_der(&der).unwrap();
        assert_eq!(parsed.authority_key_id, root.subject_key_id);
        assert_eq!(root.subject_key_id.unwrap().len(), 20);
        assert_eq!(openssl_trusts(&der, &self::root(&ca_key)), Some(true));
        assert_eq!(openssl_trusts(&der, &self::root(&p256())), Some(false));
    }

    #[test]
    fn name_constraints_are_copied_and_bind() {
        let (root_key, key) = (p256(), p256());
        let permitted = NameSubtrees { dns_domains: vec!["example.com".into()], ..NameSubtrees::default() };
        for (critical, title) in [(true, "X509v3 Name Constraints: critical\n"), (false, "X509v3 Name Constraints: \n")]
        {
            let constraints = NameConstraints { critical, permitted: permitted.clone(), ..Default::default() };
            let template = CertificateRequestTemplate { name_constraints: Some(constraints), ..ca() };
            let der = Order::new(&template, &root_key).issuance().self_sign(&root_key).unwrap();
            let Some(text) = text(&der) else { return };
            assert!(text.contains(title) && text.contains("Permitted:\n                  DNS:example.com"), "{text}");
            let root = ParsedCertificate::from_der(&der).unwrap();
            let issue = |name: &str| {
                let names = SubjectAltNames { dns_names: vec![name.into()], ..SubjectAltNames::default() };
                let order = Order::new(&CertificateRequestTemplate { names, ..leaf() }, &key);
                order.issuance().sign_with_ca(&root, &root_key).unwrap()
            };
            assert_eq!(openssl_trusts(&issue("a.example.com"), &root), Some(true));
            assert_eq!(openssl_trusts(&issue("a.example.net"), &root), Some(false));
        }
    }

    #[test]
    fn names_are_critical_exactly_without_a_subject() {
        let (ca_key, key) = (p256(), p256());
        let nameless = CertificateRequestTemplate { common_name: None, ..leaf() };
        let der = Order::new(&nameless, &key).issuance().sign_with_ca(&root(&ca_key), &ca_key).unwrap();
        let Some(text) = text(&der) else { return };
        assert!(text.contains("X509v3 Subject Alternative Name: critical\n"), "{text}");
        assert_eq!(openssl_trusts(&der, &root(&ca_key)), Some(true));
    }

    #[test]
    fn subjects_are_copied_byte_by_byte() {
        // Two attributes in one SET, the larger first: no DER, but seen in the wild, and sorted when encoded again.
        let mut subject = vec![0x30, 26, 0x31, 24, 0x30, 10, 6, 3, 0x55, 4, 10, 0x0c, 3, b'z', b'z', b'z'];
        subject.extend([0x30, 10, 6, 3, 0x55, 4, 3, 0x0c, 3, b'a', b'a', b'a']);
        let key = p256();
        let mut info = vec![2, 1, 0];
        info.extend(&subject);
        info.extend(key.public_key_der().unwrap());
        info.extend([0xa0, 0]);
        let mut content = vec![0x30, u8::try_from(info.len()).unwrap()];
        content.extend(info);
        let der = signed::sign(&key, SignatureAlgorithm::EcdsaSha256, &content).unwrap();
        let request = ParsedRequest::from_der(&der).unwrap();
        assert_eq!(request.subject_der, subject);
        let order = Order { request, usages: Usages::from_spec::<&str>(&[], false).unwrap(), is_ca: false };
        let certificate = ParsedCertificate::from_der(&order.issuance().self_sign(&key).unwrap()).unwrap();
        assert_eq!((&certificate.subject_der, &certificate.issuer_der), (&subject, &subject));
        assert!(certificate.is_self_signed());
    }

    #[test]
    fn times_are_whole_seconds_in_the_form_of_their_century() {
        let key = p256();
        let order = Order::new(&leaf(), &key);
        let sign = |not_before: &str, not_after: Timestamp| {
            let issuance = Issuance { not_before: not_before.parse().unwrap(), not_after, ..order.issuance() };
            issuance.self_sign(&key)
        };
        let holds = |der: &[u8], text: &[u8]| der.windows(text.len()).any(|window| window == text);
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let der = sign("2026-01-02T03:04:05.9Z", at("2049-12-31T23:59:59.9Z")).unwrap();
        assert!(holds(&der, b"\x17\x0d260102030405Z\x17\x0d491231235959Z"));
        let der = sign("2049-12-31T23:59:59Z", at("2050-01-01T00:00:00Z")).unwrap();
        assert!(holds(&der, b"\x17\x0d491231235959Z\x18\x0f20500101000000Z"));
        let der = sign("2026-01-02T03:04:05Z", Timestamp::MAX).unwrap();
        assert!(holds(&der, b"\x18\x0f99991231235959Z"));
        assert_eq!(ParsedCertificate::from_der(&der).unwrap().not_after, Timestamp::MAX);
        for (not_before, not_after) in
            [("1969-12-31T23:59:59Z", "2026-01-01T00:00:00Z"), { ("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z") }]
        {
            let error = sign(not_before, at(not_after)).unwrap_err();
            assert!(error.to_string().contains(not_before), "{error}");
        }
    }

    #[test]
    fn requests_that_contradict_are_refused() {
        let key = p256();
        let refused = |template: &CertificateRequestTemplate, usages: &[&str], is_ca| {
            let order =
                Order { request: request(template, &key), usages: Usages::from_spec(usages, is_ca).unwrap(), is_ca };
            order.issuance().self_sign(&key).map_err(|error| error.to_string()).err()
        };
        let usages = ["digital signature", "client auth", "server auth"];
        let tail = "make them the same, or leave the extension out of the request";
        assert_eq!(refused(&leaf(), &usages, false), None);
        assert_eq!(
            refused(&leaf(), &["client auth", "server auth", "crl sign"], false).unwrap(),
            format!(
                "the certificate request's key usages (digital signature) are not what its spec says (crl sign); {tail}"
            )
        );
        assert_eq!(
            refused(&leaf(), &["digital signature", "server auth", "client auth"], false).unwrap(),
            format!(
                "the certificate request's extended key usages (client auth, server auth) are not what its spec says \
                 (server auth, client auth); {tail}"
            )
        );
        let half = CertificateRequestTemplate { usages: vec!["digital signature".into()], ..leaf() };
        assert_eq!(
            refused(&half, &["digital signature", "server auth"], false).unwrap(),
            format!(
                "the certificate request's extended key usages (none) are not what its spec says (server auth); {tail}"
            )
        );
        let silent = CertificateRequestTemplate { encode_usages: false, ..leaf() };
        assert_eq!(refused(&silent, &["crl sign"], true), None, "a request may say nothing");
        let constrained = CertificateRequestTemplate { encode_basic_constraints: true, ..silent };
        assert_eq!(refused(&constrained, &["crl sign"], false), None);
        assert_eq!(
            refused(&constrained, &["crl sign"], true).unwrap(),
            format!(
                "the certificate request's basic constraints (CA:false) are not what its spec says (CA:true); {tail}"
            )
        );
    }

    #[test]
    fn keys_must_belong() {
        let (key, ca_key) = (p256(), p256());
        let order = Order::new(&leaf(), &key);
        let error = order.issuance().self_sign(&p256()).unwrap_err().to_string();
        assert_eq!(error, "the private key is not the one that belongs to the certificate request");
        let error = order.issuance().sign_with_ca(&root(&ca_key), &key).unwrap_err().to_string();
        assert_eq!(error, "the private key is not the one that belongs to the certificate of the CA CN=root");
    }

    #[test]
    fn serial_numbers_are_positive_and_differ() {
        let key = p256();
        let order = Order::new(&leaf(), &key);
        let mut serials = std::collections::HashSet::new();
        for _ in 0..50 {
            let serial = ParsedCertificate::from_der(&order.issuance().self_sign(&key).unwrap()).unwrap().serial;
            assert!(serial[0] < 0x80 && serial.len() > 8 && serial.len() <= 17, "{serial:?}");
            assert!(serials.insert(serial));
        }
    }

    #[test]
    fn only_cas_may_issue() {
        let key = p256();
        let root = root(&key);
        root.may_issue(true).unwrap();
        let order = Order::new(&leaf(), &key);
        let leaf = ParsedCertificate::from_der(&order.issuance().self_sign(&key).unwrap()).unwrap();
        assert_eq!(
            leaf.may_issue(false).unwrap_err().to_string(),
            "the certificate CN=leaf cannot sign this certificate: its basic constraints do not make it a CA"
        );
        // Without keyUsage everything is allowed; with it, only what it says.
        let crl_only = ParsedCertificate { usages: Usages::from_spec(&["crl sign"], false).unwrap(), ..root.clone() };
        assert!(crl_only.may_issue(false).unwrap_err().to_string().contains("cert sign"));
        ParsedCertificate { usages: Usages::default(), ..root.clone() }.may_issue(true).unwrap();
        let last = ParsedCertificate { path_length: Some(0), ..root };
        last.may_issue(false).unwrap();
        assert!(last.may_issue(true).unwrap_err().to_string().contains("path length of 0"));
    }
}
