//! What to do about a Certificate.

mod farewell;
mod held_key;
mod made_request;
mod plan;
#[cfg(test)]
mod tests;
mod validation;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::{Resource, ResourceExt};

use super::{
    Decision, Note, Trouble, children,
    fallback::{Fallback, SeenSpare},
    fixed_name,
    keystore::{PasswordSecrets, Wish},
    profile,
    renewal_information::{Marks, SeenRenewalInformation},
    revocation::{self, Revoked},
};
use crate::{
    api::{
        Certificate, CertificateRequest, CertificateStatus, Condition, IssuerReference, find_condition,
        names::{KIND_CERTIFICATE, annotation, condition, finalizer},
    },
    pki::KeyAlgorithm,
};
pub use held_key::HeldKey;
pub use made_request::MadeRequest;
use plan::Plan;
pub(in crate::decide) use validation::problem;

/// Everything that the decision rests on.
pub struct SeenCertificate<'a> {
    pub certificate: &'a Certificate,
    /// The target Secret.
    pub secret: Option<&'a Secret>,
    /// The Secrets that this Certificate owns and that are labelled as the key of an issuance under way. There should be
    /// one at most.
    pub next_keys: &'a [Arc<Secret>],
    /// The key of an issuance under way that lies in no Secret.
    pub held_key: Option<&'a HeldKey>,
    /// How often the request of this issuance was made.
    pub made_request: Option<&'a MadeRequest>,
    /// The CertificateRequests that this Certificate owns.
    pub requests: &'a [Arc<CertificateRequest>],
    /// The CertificateRequest with the name of the next one, see [`next_request_name`], whoever owns it.
    pub namesake: Option<&'a CertificateRequest>,
    /// The other Certificates of the namespace that name the same Secret.
    pub rivals: &'a [Arc<Certificate>],
    /// The Secrets with the passwords of the keystores, as far as they exist.
    pub passwords: &'a PasswordSecrets,
    /// The issuers that keep their ACME account key in the target Secret, in words.
    pub account_key_of: Option<String>,
    /// Whether the issuer asks a CA by ACME, which certifies names of hosts only.
    pub issuer_is_acme: bool,
    /// Whether the issuer needs nobody else to sign, so that an issuance is over before anybody could watch it.
    pub issuer_is_prompt: bool,
    /// Whether the issuer signs with nothing but the CertificateRequest, so that nobody looks for the Secret with the key.
    pub issuer_needs_no_key: bool,
    /// The issuers that the Certificate names beside the first.
    pub spares: &'a [SeenSpare],
    /// Whether the issuer of the certificate in the Secret can be asked to revoke it.
    pub issuer_revokes: bool,
    /// What this process has had revoked, until it is noted in the Secret.
    pub revoked: Option<&'a Revoked>,
    /// When this process last put the Secret right, as far as that is not long ago; the latest last.
    pub put_right: &'a [Timestamp],
    pub renewal_information: SeenRenewalInformation<'a>,
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
    /// Whether renewals are spread: each a little before the time that its spec names.
    pub renewal_jitter: bool,
    pub features: Features,
}

/// What may be asked for in a spec, and what goes into requests besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Whether requests say by an extension whether they are for a CA.
    pub basic_constraints: bool,
    pub literal_subject: bool,
    pub name_constraints: bool,
    pub other_names: bool,
}

impl Default for Features {
    fn default() -> Self {
        Self { basic_constraints: false, literal_subject: true, name_constraints: true, other_names: true }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            owner_reference: false,
            least_wait: SignedDuration::from_hours(1),
            most_wait: SignedDuration::from_hours(32),
            renewal_jitter: true,
            features: Features::default(),
        }
    }
}

/// Every effect that can follow.
#[derive(Clone, Debug, PartialEq)]
pub enum CertificateStep {
    /// Writes the target Secret with a new certificate.
    ApplySecret(Box<WantedSecret>),
    /// Writes the target Secret, which somebody has changed or of which the spec now wants something else.
    PutSecretRight(Box<WantedSecret>),
    /// Has a certificate signed by a CA that nobody knows, for the key in this Secret, and writes both into the target
    /// Secret, which then has at least the right form.
    ApplyTemporary {
        key_secret: String,
    },
    CreateNextKey {
        name: String,
        key: NextKey,
    },
    /// Keeps the key of an issuance in memory until it is over, or stored after all.
    HoldKey(NextKey),
    /// Creates the Secret with this name for the key in memory.
    StoreHeldKey {
        name: String,
    },
    DropHeldKey,
    /// Creates the CertificateRequest of this revision for the key in this Secret, or else the one in memory.
    CreateRequest {
        name: String,
        revision: i64,
        key_secret: String,
        /// When the requests of the last day were made.
        recent: Vec<Timestamp>,
        /// The issuer of the spec, or a spare.
        issuer: IssuerReference,
        marks: Marks,
    },
    /// Asks the CA when it wants the certificate of this identifier renewed, and remembers what came of it.
    CheckRenewalInformation {
        certificate_id: String,
    },
    /// Has the certificate in the Secret revoked at its CA.
    Revoke(revocation::Wish),
    AddFinalizer,
    RemoveFinalizer,
    DeleteNextKey(Arc<Secret>),
    DeleteRequest(Arc<CertificateRequest>),
    WriteStatus(Box<CertificateStatus>),
    Publish(Note),
}

/// A Secret, and the keystores that are to be added to it.
#[derive(Clone, PartialEq)]
pub struct WantedSecret {
    pub secret: Secret,
    pub keystores: Vec<Wish>,
}

impl std::fmt::Debug for WantedSecret {
    /// Without the content, which is a private key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WantedSecret({:?}, keystores {:?})", self.secret.metadata.name, self.keystores)
    }
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
        return farewell::decide(seen, now);
    }
    if let Some(step) = farewell::finalizer(seen) {
        return Decision::act(vec![step]);
    }
    let plan = Plan::new(seen, now);
    let sound = validation::problem(&certificate.spec, seen.settings.features);
    let sound =
        sound.and_then(|()| if seen.issuer_is_acme { validation::problem_for_acme(&certificate.spec) } else { Ok(()) });
    if let Err(error) = sound {
        return plan.refuse(&error.to_string());
    }
    if let Err(problem) = profile::problem(certificate.annotations()) {
        return plan.refuse(&problem);
    }
    if let Some(owner) = rightful_owner(seen) {
        return plan.stand_back(&owner);
    }
    if let Some(why) = stranger(seen) {
        return plan.keep_off(&why);
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

/// What is wrong with wishes that a certificate is kept without, too: certwright's own annotations, and a percentage that
/// cert-manager passes over as well.
fn ignored_wishes(certificate: &Certificate) -> Vec<String> {
    let ignored = |name: &str, is_good: fn(&str) -> bool, allowed: &str| {
        let value = certificate.annotations().get(name).filter(|value| !is_good(value))?;
        Some(format!("the annotation {name} is ignored, because {value:?} is not {allowed}"))
    };
    let percentage = certificate.spec.renew_before_percentage.filter(|percentage| !(1..100).contains(percentage));
    [
        percentage.map(|p| format!("spec.renewBeforePercentage is ignored, because {p} is not between 1 and 99")),
        ignored(annotation::SECRET_POLICY, |value| ["Delete", "Orphan"].contains(&value), "Delete or Orphan"),
        ignored(
            annotation::RENEW_AT,
            |value| value.parse::<Timestamp>().is_ok(),
            "a time such as 2027-01-31T12:00:00Z",
        ),
        ignored(annotation::MAX_ISSUANCES_PER_DAY, |value| value.parse::<usize>().is_ok(), "a whole number"),
    ]
    .into_iter()
    .flatten()
    .chain(revocation::problems(certificate))
    .chain(Fallback::of(certificate).problems)
    .collect()
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

/// Why the Secret is somebody else's and must not be written, if it is.
fn stranger(seen: &SeenCertificate<'_>) -> Option<String> {
    let secret = seen.secret?;
    if let Some(issuer) = &seen.account_key_of {
        return Some(format!("holds the ACME account key of {issuer}"));
    }
    if children::is_next_key_secret(secret) {
        return Some("holds the private key of an issuance under way".to_owned());
    }
    let owner = secret.owner_references().iter().find(|owner| owner.controller == Some(true));
    if let Some(owner) = owner.filter(|owner| owner.kind != KIND_CERTIFICATE) {
        return Some(format!("belongs to {} {:?}", owner.kind, owner.name));
    }
    let type_ = secret.type_.as_deref().filter(|type_| SPECIAL_TYPES.contains(type_))?;
    Some(format!("is of the type {type_}, which other software reads"))
}

/// Types of Secrets in which a certificate has no business.
const SPECIAL_TYPES: [&str; 7] = [
    "bootstrap.kubernetes.io/token",
    "helm.sh/release.v1",
    "kubernetes.io/basic-auth",
    "kubernetes.io/dockercfg",
    "kubernetes.io/dockerconfigjson",
    "kubernetes.io/service-account-token",
    "kubernetes.io/ssh-auth",
];

fn is_issuing(status: &CertificateStatus) -> bool {
    find_condition(&status.conditions, condition::ISSUING).is_some_and(Condition::is_true)
}

fn revision_of(request: &CertificateRequest) -> Option<i64> {
    request.annotations().get(annotation::CERTIFICATE_REVISION)?.parse().ok()
}
