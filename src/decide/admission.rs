//! What the optional webhook answers: whether an object makes sense, in the words that clients of cert-manager know.
//!
//! The rules of the definitions (`api::rules`) say most of the same within the API server. What only a program can find out is
//! said here alone: whether a signing request verifies, a schedule can be met, a bundle can be read.

mod approval;
mod certificate;
mod issuer;
mod order;
mod problem;
mod request;
mod solver;

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use approval::{ApprovalAsked, forbidden_approval, signer_names, unknown_signer};
pub use problem::{Problem, sentence};
pub use request::requester_patch;

use crate::api::{Certificate, CertificateRequest, Challenge, Issuer, IssuerReference, Order};

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    pub username: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

/// A write that the API server asks about. Those other than create and update are never asked about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The plural, such as `certificates`.
    pub resource: &'a str,
    /// `status`, or empty.
    pub subresource: &'a str,
    pub object: &'a Value,
    /// What is stored; none if the object is being created.
    pub old: Option<&'a Value>,
    pub user: &'a User,
}

/// What there is to say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// The write is refused if there are any.
    pub problems: Vec<Problem>,
    /// Shown to the user, whether or not the write is refused.
    pub warnings: Vec<String>,
    /// The user must have the right to approve for this issuer.
    pub approval: Option<ApprovalAsked>,
}

impl From<Vec<Problem>> for Findings {
    fn from(problems: Vec<Problem>) -> Self {
        Self { problems, ..Self::default() }
    }
}

/// Looks at a write.
pub fn judge(asked: &Asked<'_>) -> Findings {
    match asked.resource {
        "certificates" => of_kind::<Certificate>(asked, |new, old| {
            if is_unchanged(asked) { Findings::default() } else { certificate::findings(&new.spec, old.is_none()) }
        }),
        "certificaterequests" => {
            of_kind::<CertificateRequest>(asked, |new, old| request::findings(new, old, asked.user))
        }
        // Both have the same spec.
        "issuers" | "clusterissuers" => of_kind::<Issuer>(asked, |new, _| {
            if is_unchanged(asked) { Findings::default() } else { issuer::findings(&new.spec) }
        }),
        "orders" => {
            of_kind::<Order>(asked, |new, old| old.map(|old| order::problems(new, old)).unwrap_or_default().into())
        }
        "challenges" => of_kind::<Challenge>(asked, |new, old| {
            old.map(|old| order::challenge_problems(new, old)).unwrap_or_default().into()
        }),
        _ => Findings::default(),
    }
}

/// What was stored before a rule existed can be worked on, as long as its spec stays as it is.
fn is_unchanged(asked: &Asked<'_>) -> bool {
    asked.old.is_some_and(|old| old["spec"] == asked.object["spec"])
}

fn of_kind<K: DeserializeOwned>(asked: &Asked<'_>, judge: impl Fn(&K, Option<&K>) -> Findings) -> Findings {
    let read = |value: &Value| serde_json::from_value::<K>(value.clone());
    let unreadable = |error: &serde_json::Error| Findings::from(vec![Problem::unreadable(error)]);
    match (read(asked.object), asked.old.map(read)) {
        (Ok(new), Some(Ok(old))) => judge(&new, Some(&old)),
        // Whoever puts right what cannot be read is not held up.
        (Ok(new), None | Some(Err(_))) => judge(&new, None),
        (Err(error), _) => unreadable(&error),
    }
}

/// `spec.issuerRef` of Certificates and CertificateRequests.
fn issuer_reference(reference: &IssuerReference) -> Vec<Problem> {
    let mut problems = Vec::new();
    if reference.name.is_empty() {
        problems.push(Problem::required("spec.issuerRef.name", "must be specified"));
    }
    let kind = reference.kind.as_deref().unwrap_or_default();
    if reference.is_ours() && !["", "Issuer", "ClusterIssuer"].contains(&kind) {
        let hint = if reference.group.as_deref().unwrap_or_default().is_empty() {
            " (did you forget to set spec.issuerRef.group?)"
        } else {
            ""
        };
        let detail = format!("must be one of Issuer or ClusterIssuer{hint}");
        problems.push(Problem::invalid("spec.issuerRef.kind", kind, &detail));
    }
    problems
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
