//! What to do about a Certificate.

mod plan;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::{Resource, ResourceExt};

use super::{Decision, Note, Trouble, fixed_name, template};
use crate::{
    api::{
        Certificate, CertificateRequest, CertificateStatus, Condition, find_condition,
        names::{annotation, condition},
    },
    pki::KeyAlgorithm,
};
use plan::Plan;

/// Everything that the decision rests on.
pub struct SeenCertificate<'a> {
    pub certificate: &'a Certificate,
    /// The target Secret.
    pub secret: Option<&'a Secret>,
    /// The Secrets that this Certificate owns and that are labelled as the key of an issuance under way. There should be
    /// one at most.
    pub next_keys: &'a [Arc<Secret>],
    /// The CertificateRequests that this Certificate owns.
    pub requests: &'a [Arc<CertificateRequest>],
    /// The CertificateRequest with the name of the next one, see [`next_request_name`], whoever owns it.
    pub namesake: Option<&'a CertificateRequest>,
    /// The other Certificates of the namespace that name the same Secret.
    pub rivals: &'a [Arc<Certificate>],
    pub settings: &'a Settings,
    pub trouble: Option<&'a Trouble>,
}

/// What the operator chose for all Certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether the Secret is deleted with its Certificate.
    pub owner_reference: bool,
    /// The wait after the first failed issuance; doubled after each further one.
    pub least_wait: SignedDuration,
    pub most_wait: SignedDuration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            owner_reference: false,
            least_wait: SignedDuration::from_hours(1),
            most_wait: SignedDuration::from_hours(32),
        }
    }
}

/// Every effect that can follow.
#[derive(Clone, Debug, PartialEq)]
pub enum CertificateStep {
    ApplySecret(Box<Secret>),
    CreateNextKey {
        name: String,
        key: NextKey,
    },
    /// Creates the CertificateRequest of this revision for the key in this Secret.
    CreateRequest {
        name: String,
        revision: i64,
        key_secret: String,
    },
    DeleteNextKey(Arc<Secret>),
    DeleteRequest(Arc<CertificateRequest>),
    WriteStatus(Box<CertificateStatus>),
    Publish(Note),
}

/// Where the key of an issuance comes from.
#[derive(Clone, PartialEq)]
pub enum NextKey {
    Generate(KeyAlgorithm),
    /// The key that is in use, as PEM: `spec.privateKey.rotationPolicy` is `Never`.
    Reuse(String),
}

impl std::fmt::Debug for NextKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Generate(algorithm) => f.debug_tuple("Generate").field(algorithm).finish(),
            Self::Reuse(_) => f.write_str("Reuse(…)"),
        }
    }
}

/// See the module's description.
pub fn decide(seen: &SeenCertificate<'_>, now: Timestamp) -> Decision<CertificateStep> {
    let certificate = seen.certificate;
    if certificate.meta().deletion_timestamp.is_some() {
        return Decision::rest();
    }
    let plan = Plan::new(seen, now);
    if let Some(error) = spec_problem(certificate) {
        return plan.refuse(&error);
    }
    if let Some(owner) = rightful_owner(seen) {
        return plan.stand_back(&owner);
    }
    if is_issuing(&plan.status) { plan.pursue() } else { plan.begin_or_rest() }
}

/// The name of the CertificateRequest that the issuance under way, or the next one, is made with.
pub fn next_request_name(certificate: &Certificate) -> String {
    let revision = next_revision(certificate.status.as_ref().and_then(|status| status.revision));
    fixed_name::certificate_request(&certificate.name_any(), revision)
}

fn next_revision(current: Option<i64>) -> i64 {
    current.unwrap_or_default().saturating_add(1)
}

/// What no issuer could make a certificate from.
fn spec_problem(certificate: &Certificate) -> Option<String> {
    let spec = &certificate.spec;
    if spec.secret_name.is_empty() {
        return Some("spec.secretName: is empty; name the Secret that shall hold the certificate".to_owned());
    }
    if spec.issuer_ref.name.is_empty() {
        return Some("spec.issuerRef.name: is empty; name the issuer that shall sign".to_owned());
    }
    if let Err(error) = template::key_algorithm(spec) {
        return Some(error.to_string());
    }
    match template::request_template(spec) {
        Ok(template) => template.check().err().map(|error| format!("spec: {error}")),
        Err(error) => Some(error.to_string()),
    }
}

/// The other Certificate that the Secret belongs to; none if it is ours. It belongs to the one that it was issued for,
/// else to the oldest.
fn rightful_owner(seen: &SeenCertificate<'_>) -> Option<String> {
    if seen.rivals.is_empty() {
        return None;
    }
    let own = seen.certificate.name_any();
    let noted = seen.secret.and_then(|secret| secret.annotations().get(annotation::CERTIFICATE_NAME));
    if let Some(noted) = noted {
        if *noted == own {
            return None;
        }
        if seen.rivals.iter().any(|rival| rival.name_any() == *noted) {
            return Some(noted.clone());
        }
    }
    let age = |certificate: &Certificate| {
        (certificate.creation_timestamp().map(|time| time.0), certificate.metadata.name.clone())
    };
    let oldest = seen.rivals.iter().min_by_key(|rival| age(rival))?;
    (age(oldest) < age(seen.certificate)).then(|| oldest.name_any())
}

fn is_issuing(status: &CertificateStatus) -> bool {
    find_condition(&status.conditions, condition::ISSUING).is_some_and(Condition::is_true)
}

fn revision_of(request: &CertificateRequest) -> Option<i64> {
    request.annotations().get(annotation::CERTIFICATE_REVISION)?.parse().ok()
}
