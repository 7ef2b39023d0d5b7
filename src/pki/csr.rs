//! Certificate requests (PKCS#10, RFC 2986): building our own, reading anybody's.

use x509_cert::{
    attr::Attributes,
    der::{
        Decode, Encode,
        asn1::{ObjectIdentifier, OctetString, SetOfVec},
        oid::AssociatedOid,
    },
    ext::{
        self, Extension,
        pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName},
    },
    name::Name,
    request::{CertReq, CertReqInfo, ExtensionReq, Version},
};

use super::{
    Error, KeyAlgorithm, NameConstraints, PrivateKey, SignatureAlgorithm, Subject, SubjectAltNames, pem,
    signed::{self, Signed},
    subject,
    usage::Usages,
};

const WHAT: &str = "certificate request";

/// What to ask for, in the terms of a Certificate's spec.
#[derive(Clone, Debug)]
pub struct CertificateRequestTemplate {
    pub common_name: Option<String>,
    /// Put a basicConstraints extension into the request. Public CAs do not need one.
    pub encode_basic_constraints: bool,
    /// Put keyUsage and extendedKeyUsage extensions into the request.
    pub encode_usages: bool,
    pub is_ca: bool,
    /// A whole distinguished name (RFC 4514) in place of `common_name` and `subject`.
    pub literal_subject: Option<String>,
    /// Which names a CA may issue for.
    pub name_constraints: Option<NameConstraints>,
    pub names: SubjectAltNames,
    /// `None` for what goes with the key; see [`SignatureAlgorithm::for_key`].
    pub signature_algorithm: Option<SignatureAlgorithm>,
    pub subject: Subject,
    /// Under the names that Certificate resources use; empty means digital signature and key encipherment.
    pub usages: Vec<String>,
}

impl Default for CertificateRequestTemplate {
    fn default() -> Self {
        Self {
            common_name: None,
            encode_basic_constraints: false,
            encode_usages: true,
            is_ca: false,
            literal_subject: None,
            name_constraints: None,
            names: SubjectAltNames::default(),
            signature_algorithm: None,
            subject: Subject::default(),
            usages: Vec::new(),
        }
    }
}

impl CertificateRequestTemplate {
    /// The signed request as DER.
    ///
    /// # Errors
    /// When a name or usage cannot be encoded, or the signature algorithm does not go with the key.
    pub fn build(&self, key: &PrivateKey) -> Result<Vec<u8>, Error> {
        let subject = self.distinguished_name()?;
        let extensions = self.extensions(&subject)?;
        let info = CertReqInfo {
            version: Version::V1,
            subject,
            public_key: key.public_key()?,
            attributes: attributes(extensions)?,
        };
        let algorithm = self.signature_algorithm.unwrap_or_else(|| SignatureAlgorithm::for_key(key.algorithm()));
        signed::sign(key, algorithm, &info.to_der().map_err(encode)?)
    }

    /// The signed request as PEM, ending with a line feed.
    ///
    /// # Errors
    /// As [`CertificateRequestTemplate::build`], and [`Error::TooLarge`].
    pub fn build_pem(&self, key: &PrivateKey) -> Result<String, Error> {
        let text = pem::encode(pem::CERTIFICATE_REQUEST, &self.build(key)?);
        // What is longer would be read by nobody, this process included.
        pem::check_size(WHAT, text.len(), pem::limits().certificate)?;
        Ok(text)
    }

    /// Whether a request can be built from this, as far as can be told without a key.
    ///
    /// # Errors
    /// As [`CertificateRequestTemplate::build_pem`].
    pub fn check(&self) -> Result<(), Error> {
        let subject = self.distinguished_name()?;
        let extensions = attributes(self.extensions(&subject)?)?.to_der().map_err(encode)?;
        let subject = subject.to_der().map_err(encode)?;
        // Key and signature come on top.
        let least = (subject.len() + extensions.len()).div_ceil(3).saturating_mul(4);
        pem::check_size(WHAT, least, pem::limits().certificate)
    }

    fn distinguished_name(&self) -> Result<Name, Error> {
        match self.literal_subject.as_deref() {
            Some(literal) if !literal.is_empty() => subject::parse_literal(literal),
            _ => self.subject.to_name(self.common_name.as_deref()),
        }
    }

    fn extensions(&self, subject: &Name) -> Result<Vec<Extension>, Error> {
        let mut extensions = Vec::new();
        if !self.names.is_empty() {
            // RFC 5280 4.2.1.6: critical exactly when the names are all there is.
            extensions.push(extension(subject.is_empty(), &self.names.to_extension_value()?)?);
        }
        let usages = Usages::from_spec(&self.usages, self.is_ca)?;
        if self.encode_usages {
            if let Some(key_usage) = usages.key_usage() {
                extensions.push(extension(true, &key_usage)?);
            }
            if let Some(extended) = usages.extended_key_usage() {
                extensions.push(extension(false, &extended)?);
            }
        }
        if self.encode_basic_constraints {
            let constraints = BasicConstraints { ca: self.is_ca, path_len_constraint: None };
            extensions.push(extension(true, &constraints)?);
        }
        if let Some(constraints) = &self.name_constraints {
            extensions.push(extension(constraints.critical, &constraints.to_extension_value()?)?);
        }
        Ok(extensions)
    }
}

/// What a certificate request asks for. Its signature has been checked.
#[derive(Clone, Debug)]
pub struct ParsedRequest {
    pub common_name: Option<String>,
    /// The CA bit of the basicConstraints extension, `None` without one.
    pub is_ca: Option<bool>,
    pub key_algorithm: KeyAlgorithm,
    pub names: SubjectAltNames,
    /// SubjectPublicKeyInfo.
    pub public_key_der: Vec<u8>,
    pub subject: Subject,
    /// The distinguished name as DER.
    pub subject_der: Vec<u8>,
    /// The distinguished name as text (RFC 4514).
    pub subject_text: String,
    /// `None` when the request has neither a keyUsage nor an extendedKeyUsage extension.
    pub usages: Option<Usages>,
    /// The whole request.
    pub der: Vec<u8>,
    /// As it came: whoever signs a certificate copies it.
    pub(super) name_constraints_extension: Option<Extension>,
    /// As it came: it can hold kinds of names that `names` does not keep.
    pub(super) subject_alt_name_extension: Option<Extension>,
}

impl ParsedRequest {
    /// Reads a request from PEM, or from DER if the bytes are not PEM at all.
    ///
    /// # Errors
    /// When the bytes are no request, are too many, or the request's signature does not verify with its own key.
    pub fn from_pem(input: &[u8]) -> Result<Self, Error> {
        let blocks = pem::decode(WHAT, input, pem::limits().certificate)?;
        let wanted = |label: &str| label == pem::CERTIFICATE_REQUEST || label == pem::NEW_CERTIFICATE_REQUEST;
        if let Some(block) = blocks.iter().find(|block| wanted(&block.label)) {
            return Self::from_der(&block.der);
        }
        if blocks.is_empty() && input.first() == Some(&0x30) {
            return Self::from_der(input);
        }
        let found = blocks.into_iter().map(|block| block.label).collect();
        Err(Error::NoPemBlock { what: WHAT, wanted: pem::CERTIFICATE_REQUEST, found })
    }

    /// Reads a request from DER.
    ///
    /// # Errors
    /// As [`ParsedRequest::from_pem`].
    pub fn from_der(input: &[u8]) -> Result<Self, Error> {
        let decode = |source| Error::Der { what: WHAT, source };
        pem::check_size(WHAT, input.len(), pem::limits().certificate)?;
        let request = CertReq::from_der(input).map_err(decode)?;
        let info = &request.info;
        let signed = Signed::from_der(WHAT, input)?;
        signed.verify(&info.public_key, WHAT, "its own public key")?;
        let fields = signed.fields(WHAT)?;
        let extensions = requested_extensions(&info.attributes).map_err(decode)?;
        let key_usage: Option<KeyUsage> = find(&extensions).map_err(decode)?;
        let extended: Option<ExtendedKeyUsage> = find(&extensions).map_err(decode)?;
        let constraints: Option<BasicConstraints> = find(&extensions).map_err(decode)?;
        let names: Option<SubjectAltName> = find(&extensions).map_err(decode)?;
        let has_usages = key_usage.is_some() || extended.is_some();
        Ok(Self {
            common_name: subject::common_name(&info.subject),
            is_ca: constraints.map(|constraints| constraints.ca),
            key_algorithm: KeyAlgorithm::from_spki(&info.public_key)?,
            names: names.map(SubjectAltNames::from_extension_value).unwrap_or_default(),
            // CertificationRequestInfo is version, subject, public key, attributes (RFC 2986 4.1).
            public_key_der: fields.der(2)?,
            subject: Subject::from_name(&info.subject),
            subject_der: fields.der(1)?,
            subject_text: info.subject.to_string(),
            usages: has_usages.then(|| Usages::from_extensions(key_usage, extended)),
            der: input.to_vec(),
            name_constraints_extension: first(&extensions, ext::pkix::NameConstraints::OID).cloned(),
            subject_alt_name_extension: first(&extensions, SubjectAltName::OID).cloned(),
        })
    }

    /// Checks that the keyUsage, extendedKeyUsage and basicConstraints extensions, as far as the request has them, say
    /// the same as a CertificateRequest's `spec.usages` and `spec.isCA`. With one of the two usage extensions the other
    /// must be right as well.
    ///
    /// # Errors
    /// [`Error::Contradiction`] for the first that differs.
    pub fn check_agrees(&self, usages: &Usages, is_ca: bool) -> Result<(), Error> {
        let differ = |what, asked, wanted| Err(Error::Contradiction { what, asked, wanted });
        let list = |names: Vec<String>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        match (&self.usages, self.is_ca) {
            (Some(asked), _) if !asked.same_key_usage(usages) => {
                differ("key usages", list(asked.key_names()), list(usages.key_names()))
            }
            (Some(asked), _) if asked != usages => {
                differ("extended key usages", list(asked.extended_names()), list(usages.extended_names()))
            }
            (_, Some(asked)) if asked != is_ca => {
                differ("basic constraints", format!("CA:{asked}"), format!("CA:{is_ca}"))
            }
            _ => Ok(()),
        }
    }

    /// Every common name of the subject.
    pub fn common_names(&self) -> Vec<String> {
        Name::from_der(&self.subject_der).map(|name| subject::common_names(&name)).unwrap_or_default()
    }

    /// Whether it asks for names that `names` does not tell of: of other kinds, or such that cannot be read.
    pub fn has_unknown_names(&self) -> bool {
        let subject = Name::from_der(&self.subject_der).map(|name| subject::common_name_count(&name));
        let all = self
            .subject_alt_name_extension
            .as_ref()
            .map(|extension| SubjectAltName::from_der(extension.extn_value.as_bytes()).map(|names| names.0.len()));
        subject.ok() != Some(self.common_names().len()) || all.is_some_and(|all| all.ok() != Some(self.names.len()))
    }

    /// Whether the request is for `key`.
    pub fn matches_key(&self, key: &PrivateKey) -> bool {
        key.public_key_der().is_ok_and(|der| der == self.public_key_der)
    }
}

fn encode(source: x509_cert::der::Error) -> Error {
    Error::Encode { what: WHAT, source }
}

/// The extensionRequest attribute (RFC 2985 5.4.2), or no attribute at all.
fn attributes(extensions: Vec<Extension>) -> Result<Attributes, Error> {
    let mut attributes = SetOfVec::new();
    if !extensions.is_empty() {
        attributes.insert(ExtensionReq(extensions).try_into().map_err(encode)?).map_err(encode)?;
    }
    Ok(attributes)
}

pub(super) fn extension<T: AssociatedOid + Encode>(critical: bool, value: &T) -> Result<Extension, Error> {
    let der = value.to_der().map_err(encode)?;
    Ok(Extension { extn_id: T::OID, critical, extn_value: OctetString::new(der).map_err(encode)? })
}

fn requested_extensions(attributes: &Attributes) -> Result<Vec<Extension>, x509_cert::der::Error> {
    let oid: ObjectIdentifier = ExtensionReq::OID;
    let mut extensions = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.oid == oid) {
        for value in attribute.values.iter() {
            extensions.extend(value.decode_as::<ExtensionReq>()?.0);
        }
    }
    Ok(extensions)
}

/// The first extension of a kind.
pub(super) fn find<'a, T>(extensions: &'a [Extension]) -> Result<Option<T>, x509_cert::der::Error>
where
    T: AssociatedOid + Decode<'a, Error = x509_cert::der::Error>,
{
    first(extensions, T::OID).map(|extension| T::from_der(extension.extn_value.as_bytes())).transpose()
}

fn first(extensions: &[Extension], oid: ObjectIdentifier) -> Option<&Extension> {
    extensions.iter().find(|extension| extension.extn_id == oid)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pki::{Curve, openssl};

    fn template() -> CertificateRequestTemplate {
        CertificateRequestTemplate {
            common_name: Some("example.com".into()),
            names: SubjectAltNames {
                dns_names: vec!["example.com".into(), "*.example.com".into()],
                email_addresses: vec!["a@example.com".into()],
                ip_addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
                uris: vec!["spiffe://example.com/a".into()],
                ..SubjectAltNames::default()
            },
            subject: Subject {
                organizations: vec!["B".into(), "A".into()],
                countries: vec!["DE".into()],
                ..Subject::default()
            },
            usages: vec!["digital signature".into(), "server auth".into(), "client auth".into()],
            ..CertificateRequestTemplate::default()
        }
    }

    fn key(kind: KeyAlgorithm) -> PrivateKey {
        PrivateKey::generate(kind).unwrap()
    }

    fn p256() -> PrivateKey {
        key(KeyAlgorithm::Ecdsa(Curve::P256))
    }

    #[test]
    fn requests_say_what_the_template_says() {
        let key = p256();
        let request = ParsedRequest::from_pem(template().build_pem(&key).unwrap().as_bytes()).unwrap();
        assert_eq!(request.common_name.as_deref(), Some("example.com"));
        assert_eq!(request.names, template().names);
        assert_eq!(request.subject.organizations, ["A", "B"]);
        assert_eq!(request.subject.countries, ["DE"]);
        assert_eq!(request.usages.clone().unwrap().names(), ["digital signature", "server auth", "client auth"]);
        assert_eq!(request.is_ca, None);
        assert_eq!(request.key_algorithm, KeyAlgorithm::Ecdsa(Curve::P256));
        assert!(request.matches_key(&key));
        assert!(!request.matches_key(&p256()));
    }

    #[test]
    fn openssl_verifies_requests_of_every_kind_of_key() {
        for (kind, signed_with) in [
            (KeyAlgorithm::Rsa(2048), "sha256WithRSAEncryption"),
            (KeyAlgorithm::Ecdsa(Curve::P256), "ecdsa-with-SHA256"),
            (KeyAlgorithm::Ecdsa(Curve::P384), "ecdsa-with-SHA384"),
            (KeyAlgorithm::Ecdsa(Curve::P521), "ecdsa-with-SHA512"),
            (KeyAlgorithm::Ed25519, "ED25519"),
        ] {
            let pem = template().build_pem(&key(kind)).unwrap();
            let Some(text) = openssl::text(&["req", "-noout", "-verify", "-text"], pem.as_bytes()) else { return };
            assert!(text.contains(&format!("Signature Algorithm: {signed_with}")), "{text}");
            assert!(
                text.contains("DNS:example.com, DNS:*.example.com, email:a@example.com, IP Address:192.0.2.1"),
                "{text}"
            );
            assert!(text.contains("X509v3 Key Usage: critical\n"), "{text}");
            assert!(text.contains("TLS Web Server Authentication, TLS Web Client Authentication"), "{text}");
            assert!(text.contains("C = DE, O = A + O = B, CN = example.com"), "{text}");
            assert!(!text.contains("Basic Constraints"), "{text}");
        }
    }

    #[test]
    fn names_are_critical_exactly_without_a_subject() {
        let critical = |template: &CertificateRequestTemplate| {
            let subject = template.distinguished_name().unwrap();
            let extensions = template.extensions(&subject).unwrap();
            extensions.iter().find(|extension| extension.extn_id == SubjectAltName::OID).map(|found| found.critical)
        };
        let mut template = template();
        assert_eq!(critical(&template), Some(false));
        (template.common_name, template.subject) = (None, Subject::default());
        assert_eq!(critical(&template), Some(true));
        template.names = SubjectAltNames::default();
        assert_eq!(critical(&template), None);
    }

    #[test]
    fn usages_and_constraints_are_optional() {
        let mut template = template();
        template.encode_usages = false;
        let parsed = ParsedRequest::from_der(&template.build(&p256()).unwrap()).unwrap();
        assert_eq!((parsed.usages, parsed.is_ca), (None, None));
        template.is_ca = true;
        template.encode_usages = true;
        template.encode_basic_constraints = true;
        let parsed = ParsedRequest::from_der(&template.build(&p256()).unwrap()).unwrap();
        assert_eq!(parsed.is_ca, Some(true));
        assert!(parsed.usages.unwrap().names().contains(&"cert sign".to_owned()));
    }

    #[test]
    fn a_literal_subject_takes_the_place_of_the_typed_one() {
        let template = CertificateRequestTemplate {
            literal_subject: Some("CN=literal,OU=x,DC=example,DC=net".into()),
            ..template()
        };
        let parsed = ParsedRequest::from_der(&template.build(&p256()).unwrap()).unwrap();
        assert_eq!(parsed.common_name.as_deref(), Some("literal"));
        assert_eq!(parsed.subject_text, "CN=literal,OU=x,DC=example,DC=net");
        assert!(parsed.subject.organizations.is_empty());
    }

    #[test]
    fn what_would_be_too_long_to_read_is_not_made() {
        let key = key(KeyAlgorithm::Ecdsa(Curve::P256));
        let of = |count: usize| {
            let dns_names = (0..count).map(|number| format!("{number}.example.com")).collect();
            let names = SubjectAltNames { dns_names, ..SubjectAltNames::default() };
            CertificateRequestTemplate { names, ..CertificateRequestTemplate::default() }
        };
        let is_built = |count: &usize| of(*count).build_pem(&key).is_ok();
        let most = (1000..2400).rev().find(is_built).unwrap();
        assert!(ParsedRequest::from_pem(of(most).build_pem(&key).unwrap().as_bytes()).is_ok());
        assert!(of(most).check().is_ok(), "what can be made is not refused before");
        assert!(matches!(of(most + 1).build_pem(&key), Err(Error::TooLarge { limit: 36_500, .. })));
        assert!(matches!(of(most + 100).check(), Err(Error::TooLarge { limit: 36_500, .. })));
    }

    #[test]
    fn an_explicit_signature_algorithm_is_used() {
        let algorithm = Some(SignatureAlgorithm::EcdsaSha256);
        let template = CertificateRequestTemplate { signature_algorithm: algorithm, ..template() };
        let der = template.build(&key(KeyAlgorithm::Ecdsa(Curve::P521))).unwrap();
        assert_eq!(CertReq::from_der(&der).unwrap().algorithm, SignatureAlgorithm::EcdsaSha256.identifier());
        assert!(ParsedRequest::from_der(&der).is_ok());
        assert!(template.build(&key(KeyAlgorithm::Ed25519)).is_err());
    }

    #[test]
    fn requests_made_by_openssl_are_read() {
        let arguments = [
            "req",
            "-new",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "/dev/null",
            "-subj",
            "/O=Ex/CN=a.example",
            "-addext",
            "subjectAltName=DNS:a.example,IP:192.0.2.7",
            "-addext",
            "keyUsage=critical,digitalSignature",
            "-addext",
            "basicConstraints=CA:FALSE",
        ];
        let Some(pem) = openssl::run(&arguments, b"") else { return };
        let request = ParsedRequest::from_pem(&pem).unwrap();
        assert_eq!(request.names.dns_names, ["a.example"]);
        assert_eq!(request.names.ip_addresses, ["192.0.2.7".parse::<std::net::IpAddr>().unwrap()]);
        assert_eq!(request.is_ca, Some(false));
        assert_eq!(request.usages.clone().unwrap().names(), ["digital signature"]);
        assert_eq!(request.subject_text, "CN=a.example,O=Ex");
        // DER is taken too.
        assert_eq!(ParsedRequest::from_pem(&request.der).unwrap().public_key_der, request.public_key_der);
    }

    #[test]
    fn a_request_changed_after_signing_is_refused() {
        let mut der = template().build(&p256()).unwrap();
        let at = der.windows(11).position(|bytes| bytes == b"example.com").unwrap();
        der[at] = b'E';
        let error = ParsedRequest::from_der(&der).unwrap_err();
        assert!(matches!(error, Error::BadSignature { .. }), "{error}");
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let refused = |input: &[u8]| ParsedRequest::from_pem(input).unwrap_err().to_string();
        assert!(refused(b"").contains("CERTIFICATE REQUEST"));
        assert!(refused(pem::encode("CERTIFICATE", b"").as_bytes()).contains("it holds CERTIFICATE"));
        assert!(refused(&vec![0x30; 40_000]).contains("at most 36500 bytes"));
        assert!(refused(&[0x30, 0x03, 0x02, 0x01, 0x00]).contains("not valid DER"));
    }
}
