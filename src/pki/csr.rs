//! Certificate requests (PKCS#10, RFC 2986): building our own, reading anybody's.

use x509_cert::{
    attr::Attributes,
    der::{
        Decode, Encode,
        asn1::{ObjectIdentifier, OctetString, SetOfVec},
        oid::AssociatedOid,
    },
    ext::{
        Extension,
        pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName},
    },
    name::Name,
    request::{CertReq, CertReqInfo, ExtensionReq, Version},
};

use super::{
    Error, KeyAlgorithm, PrivateKey, SignatureAlgorithm, Subject, SubjectAltNames,
    pem::{self, MAX_CERTIFICATE},
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
    /// As [`CertificateRequestTemplate::build`].
    pub fn build_pem(&self, key: &PrivateKey) -> Result<String, Error> {
        Ok(pem::encode(pem::CERTIFICATE_REQUEST, &self.build(key)?))
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
}

impl ParsedRequest {
    /// Reads a request from PEM, or from DER if the bytes are not PEM at all.
    ///
    /// # Errors
    /// When the bytes are no request, are too many, or the request's signature does not verify with its own key.
    pub fn from_pem(input: &[u8]) -> Result<Self, Error> {
        let blocks = pem::decode(WHAT, input, MAX_CERTIFICATE)?;
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
        pem::check_size(WHAT, input, MAX_CERTIFICATE)?;
        let request = CertReq::from_der(input).map_err(decode)?;
        let info = &request.info;
        Signed::from_der(WHAT, input)?.verify(&info.public_key, WHAT, "its own public key")?;
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
            public_key_der: info.public_key.to_der().map_err(encode)?,
            subject: Subject::from_name(&info.subject),
            subject_der: info.subject.to_der().map_err(encode)?,
            subject_text: info.subject.to_string(),
            usages: has_usages.then(|| Usages::from_extensions(key_usage, extended)),
            der: input.to_vec(),
        })
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

fn extension<T: AssociatedOid + Encode>(critical: bool, value: &T) -> Result<Extension, Error> {
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
    let found = extensions.iter().find(|extension| extension.extn_id == T::OID);
    found.map(|extension| T::from_der(extension.extn_value.as_bytes())).transpose()
}
