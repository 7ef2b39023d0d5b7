//! Whether what is in a Certificate's Secret is what its spec asks for.

use jiff::{Timestamp, fmt::rfc2822};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use super::{
    revocation::Revoked,
    secret::{TLS_CERT, TLS_KEY, entry, noted_issuer},
    template,
};
use crate::{
    api::{
        Certificate, CertificateRequest, CertificateSpec, IssuerReference,
        names::{annotation, reason},
    },
    pki::{self, KeyAlgorithm, ParsedCertificate, ParsedRequest, PrivateKey, SubjectAltNames, usage::Usages},
};

/// The first thing that is not as it should be: the reason for programs and the message for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub reason: &'static str,
    pub message: String,
}

impl Violation {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// What the checks look at.
pub struct Inputs<'a> {
    pub certificate: &'a Certificate,
    pub secret: Option<&'a Secret>,
    /// The CertificateRequest that the Secret came from, if it is still there.
    pub current_request: Option<&'a CertificateRequest>,
    pub renewal_time: Option<Timestamp>,
    /// The issuers that may sign beside the one of the spec.
    pub spares: &'a [IssuerReference],
}

/// Whether this is one of the reasons for which certwright itself, or cert-manager before it, begins an issuance.
pub fn is_reason(reason: &str) -> bool {
    [
        reason::DOES_NOT_EXIST,
        reason::INCORRECT_CERTIFICATE,
        reason::INCORRECT_ISSUER,
        reason::INVALID_CERTIFICATE,
        reason::INVALID_CERTIFICATE_REQUEST,
        reason::INVALID_KEY_PAIR,
        reason::MISSING_DATA,
        reason::RENEWING,
        reason::REQUEST_CHANGED,
        reason::REVOKED,
        reason::SECRET_MISMATCH,
    ]
    .contains(&reason)
}

/// What a sound Secret holds.
pub struct Held {
    pub key: PrivateKey,
    pub leaf: ParsedCertificate,
}

/// Why a new certificate is to be issued now, if it is.
pub fn issuance_reason(inputs: &Inputs<'_>, now: Timestamp) -> Option<Violation> {
    match common_checks(inputs) {
        Err(violation) => Some(violation),
        Ok(_) => inputs.renewal_time.filter(|at| now >= *at).map(|at| {
            Violation::new(reason::RENEWING, format!("Renewing certificate as renewal was scheduled at {at}"))
        }),
    }
}

/// Why the certificate is not ready for use, if it is not.
pub fn unreadiness(inputs: &Inputs<'_>, now: Timestamp) -> Option<Violation> {
    match common_checks(inputs) {
        Err(violation) => Some(violation),
        Ok(held) if now >= held.leaf.not_after => Some(expired(held.leaf.not_after)),
        Ok(_) => None,
    }
}

/// The leaf certificate of a Secret, whatever else may be wrong with it.
pub fn leaf_of(secret: &Secret) -> Option<ParsedCertificate> {
    ParsedCertificate::from_pem_chain(entry(secret, TLS_CERT)?).ok()?.into_iter().next()
}

/// The checks in cert-manager's order; the first violation counts.
fn common_checks(inputs: &Inputs<'_>) -> Result<Held, Violation> {
    let Some(secret) = inputs.secret else {
        return Err(Violation::new(reason::DOES_NOT_EXIST, "Issuing certificate as Secret does not exist"));
    };
    let held = held_pair(secret)?;
    if is_temporary(&held.leaf) {
        let text = "Issuing certificate as Secret contains a temporary certificate only";
        return Err(Violation::new(reason::MISSING_DATA, text));
    }
    let spec = &inputs.certificate.spec;
    is_not_revoked(secret, &held.leaf)?;
    origin_matches(inputs, secret)?;
    key_matches(spec, &held.key)?;
    match inputs.current_request {
        Some(request) => current_request_matches(&spec_of(spec, request, inputs.spares), request, &held)?,
        None => certificate_matches_loosely(spec, &held.leaf)?,
    }
    Ok(held)
}

/// Key and certificate of a Secret that holds a sound pair, whatever it is for.
pub fn sound_pair(secret: &Secret) -> Option<Held> {
    held_pair(secret).ok()
}

/// The serial number in the subject of a certificate that only fills the time until the real one is there.
pub const TEMPORARY_SERIAL_NUMBER: &str = "1234567890";

/// The common name of the CA that signs temporary certificates and of which nobody has the key.
pub const TEMPORARY_CA: &str = "cert-manager.local";

/// Whether this certificate only fills the time until the real one is there.
pub fn is_temporary(leaf: &ParsedCertificate) -> bool {
    leaf.issuer_common_name.as_deref() == Some(TEMPORARY_CA)
        && leaf.subject.serial_number.as_deref() == Some(TEMPORARY_SERIAL_NUMBER)
}

fn held_pair(secret: &Secret) -> Result<Held, Violation> {
    let missing =
        |what| Violation::new(reason::MISSING_DATA, format!("Issuing certificate as Secret does not contain {what}"));
    if secret.data.as_ref().is_none_or(std::collections::BTreeMap::is_empty) {
        return Err(missing("any data"));
    }
    let key = entry(secret, TLS_KEY).ok_or_else(|| missing("a private key"))?;
    let chain = entry(secret, TLS_CERT).ok_or_else(|| missing("a certificate"))?;
    let key = PrivateKey::from_pem(key).map_err(|error| {
        let text = format!("Issuing certificate as Secret contains invalid private key data: {error}");
        Violation::new(reason::INVALID_KEY_PAIR, text)
    })?;
    let chain = ParsedCertificate::from_pem_chain(chain).map_err(|error| {
        let text = format!("Issuing certificate as Secret contains an invalid certificate: {error}");
        Violation::new(reason::INVALID_CERTIFICATE, text)
    })?;
    let leaf = chain.into_iter().next().ok_or_else(|| missing("a certificate"))?;
    if !leaf.matches_key(&key) {
        let text = "Issuing certificate as Secret contains a private key that does not match the certificate";
        return Err(Violation::new(reason::INVALID_KEY_PAIR, text));
    }
    Ok(Held { key, leaf })
}

fn is_not_revoked(secret: &Secret, leaf: &ParsedCertificate) -> Result<(), Violation> {
    match Revoked::of(secret).filter(|revoked| revoked.is_about(leaf)) {
        None => Ok(()),
        Some(revoked) => {
            let text = format!("Issuing certificate as the one in the Secret was revoked: {}", revoked.value);
            Err(Violation::new(reason::REVOKED, text))
        }
    }
}

/// The spec as it was for this request: a request that was made for a spare issuer is as good as one for the first.
pub fn spec_of(spec: &CertificateSpec, request: &CertificateRequest, spares: &[IssuerReference]) -> CertificateSpec {
    let asked = &request.spec.issuer_ref;
    let is_of_spare = spares.iter().any(|spare| spare.same_as(asked));
    let issuer_ref = if is_of_spare { asked.clone() } else { spec.issuer_ref.clone() };
    CertificateSpec { issuer_ref, ..spec.clone() }
}

fn origin_matches(inputs: &Inputs<'_>, secret: &Secret) -> Result<(), Violation> {
    let certificate = inputs.certificate;
    if let Some(former) = noted_issuer(secret) {
        let mut allowed = std::iter::once(&certificate.spec.issuer_ref).chain(inputs.spares);
        if !allowed.any(|allowed| former.same_as(allowed)) {
            let (kind, group) = (former.kind_or_default(), former.group_or_default());
            let text =
                format!("Issuing certificate as Secret was previously issued by \"{kind}.{group}/{}\"", former.name);
            return Err(Violation::new(reason::INCORRECT_ISSUER, text));
        }
    }
    match secret.annotations().get(annotation::CERTIFICATE_NAME) {
        Some(name) if *name != certificate.name_any() => {
            let text = format!(
                "Secret was issued for {name:?}. If this message is not transient, two Certificates may name the same \
                 spec.secretName; give each its own"
            );
            Err(Violation::new(reason::INCORRECT_CERTIFICATE, text))
        }
        _ => Ok(()),
    }
}

fn key_matches(spec: &CertificateSpec, key: &PrivateKey) -> Result<(), Violation> {
    let Ok(wanted) = template::key_algorithm(spec) else { return Ok(()) };
    let held = key.algorithm();
    if held == wanted {
        return Ok(());
    }
    let same_kind = std::mem::discriminant(&held) == std::mem::discriminant(&wanted);
    let field = if same_kind { "spec.privateKey.size" } else { "spec.privateKey.algorithm" };
    let text = format!("Issuing certificate as Existing private key is not up to date for spec: [{field}]");
    Err(Violation::new(reason::SECRET_MISMATCH, text))
}

fn current_request_matches(spec: &CertificateSpec, request: &CertificateRequest, held: &Held) -> Result<(), Violation> {
    let Ok(parsed) = ParsedRequest::from_pem(&request.spec.request.0) else {
        let text = "Issuing certificate as the current CertificateRequest holds an unreadable CSR";
        return Err(Violation::new(reason::INVALID_CERTIFICATE_REQUEST, text));
    };
    if !parsed.matches_key(&held.key) {
        let text = "Secret contains a private key that does not match the current CertificateRequest";
        return Err(Violation::new(reason::SECRET_MISMATCH, text));
    }
    let outdated = outdated_fields(spec, request, &parsed);
    if outdated.is_empty() {
        return Ok(());
    }
    let text = format!("Fields on existing CertificateRequest resource not up to date: [{}]", outdated.join(" "));
    Err(Violation::new(reason::REQUEST_CHANGED, text))
}

/// Whether a CertificateRequest asks for what the spec asks for and for this key.
pub fn request_is_current(spec: &CertificateSpec, request: &CertificateRequest, key: &PrivateKey) -> bool {
    ParsedRequest::from_pem(&request.spec.request.0)
        .is_ok_and(|parsed| parsed.matches_key(key) && outdated_fields(spec, request, &parsed).is_empty())
}

/// The fields of the spec that a CertificateRequest does not follow.
pub fn outdated_fields(
    spec: &CertificateSpec,
    request: &CertificateRequest,
    parsed: &ParsedRequest,
) -> Vec<&'static str> {
    let Ok(wanted) = template::request_template(spec) else { return Vec::new() };
    let (names, held) = (wanted.names.clone().normalized(), parsed.names.clone().normalized());
    let mut fields = Vec::new();
    let mut check = |same: bool, field| {
        if !same {
            fields.push(field);
        }
    };
    check(wanted.literal_subject.is_some() || wanted.common_name == parsed.common_name, "spec.commonName");
    check(names.dns_names == held.dns_names, "spec.dnsNames");
    check(names.ip_addresses == held.ip_addresses, "spec.ipAddresses");
    check(names.uris == held.uris, "spec.uris");
    check(names.email_addresses == held.email_addresses, "spec.emailAddresses");
    check(names.other_names.is_empty() || names.other_names == held.other_names, "spec.otherNames");
    match &wanted.literal_subject {
        Some(literal) => check(pki::subject::is_literal(literal, &parsed.subject_der), "spec.literalSubject"),
        None => check(wanted.subject.normalized() == parsed.subject.clone().normalized(), "spec.subject"),
    }
    check(spec.is_ca == request.spec.is_ca, "spec.isCA");
    check(same_usages(spec, request), "spec.usages");
    check(same_duration(spec, request), "spec.duration");
    check(spec.issuer_ref.same_as(&request.spec.issuer_ref), "spec.issuerRef");
    fields
}

fn same_usages(spec: &CertificateSpec, request: &CertificateRequest) -> bool {
    let usages = |list: &[String]| Usages::from_spec(list, spec.is_ca).map(|usages| usages.names());
    match (usages(&spec.usages), usages(&request.spec.usages)) {
        (Ok(wanted), Ok(held)) => wanted == held,
        _ => spec.usages == request.spec.usages,
    }
}

/// Compared only if both are set, as with cert-manager.
fn same_duration(spec: &CertificateSpec, request: &CertificateRequest) -> bool {
    match (&spec.duration, &request.spec.duration) {
        (Some(wanted), Some(held)) => match (wanted.to_duration(), held.to_duration()) {
            (Ok(wanted), Ok(held)) => wanted == held,
            _ => wanted == held,
        },
        _ => true,
    }
}

/// Without a CertificateRequest to compare with: the names only, the common name counted as one of them.
fn certificate_matches_loosely(spec: &CertificateSpec, leaf: &ParsedCertificate) -> Result<(), Violation> {
    let Ok(wanted) = template::request_template(spec) else { return Ok(()) };
    // The common name of a literal subject stands in the subject only.
    let held_common_name = leaf.common_name.as_ref().filter(|_| wanted.literal_subject.is_none());
    let with_common_name = |names: &SubjectAltNames, common_name: Option<&String>| {
        let mut names = names.clone();
        names.dns_names.extend(common_name.cloned());
        names.normalized()
    };
    let (names, held) =
        (with_common_name(&wanted.names, wanted.common_name.as_ref()), with_common_name(&leaf.names, held_common_name));
    let mut fields = Vec::new();
    if names.dns_names != held.dns_names {
        fields.push("spec.dnsNames");
    }
    if names.ip_addresses != held.ip_addresses {
        fields.push("spec.ipAddresses");
    }
    if names.uris != held.uris {
        fields.push("spec.uris");
    }
    if names.email_addresses != held.email_addresses {
        fields.push("spec.emailAddresses");
    }
    if fields.is_empty() {
        return Ok(());
    }
    let text =
        format!("Issuing certificate as Existing issued Secret is not up to date for spec: [{}]", fields.join(" "));
    Err(Violation::new(reason::SECRET_MISMATCH, text))
}

fn expired(not_after: Timestamp) -> Violation {
    let zoned = not_after.to_zoned(jiff::tz::TimeZone::UTC);
    let date = rfc2822::to_string(&zoned).unwrap_or_else(|_| not_after.to_string());
    Violation::new(reason::EXPIRED, format!("Certificate expired on {date}"))
}

/// The key algorithm as the spec's fields name it; used in messages.
pub fn describe(algorithm: KeyAlgorithm) -> String {
    match algorithm.size() {
        Some(size) => format!("{} {size}", algorithm.name()),
        None => algorithm.name().to_owned(),
    }
}
