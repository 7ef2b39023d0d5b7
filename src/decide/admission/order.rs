//! Orders and Challenges: what may not change once it is written.

use serde_json::Value;

use super::Problem;
use crate::{
    api::{Challenge, ChallengeSpec, IssuerReference, Order, OrderStatus, solver::AcmeSolver},
    decide::admittance::plain,
};

pub fn problems(new: &Order, old: &Order) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !old.spec.request.0.is_empty() && new.spec.request != old.spec.request {
        problems.push(Problem::forbidden("spec.request", "field is immutable once set"));
    }
    let none = OrderStatus::default();
    let (now, before) = (new.status.as_ref().unwrap_or(&none), old.status.as_ref().unwrap_or(&none));
    let mut keep = |field: &str, was_set: bool, is_same: bool| {
        if was_set && !is_same {
            problems.push(Problem::forbidden(format!("status.{field}"), "field is immutable once set"));
        }
    };
    let is_set = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    keep("url", is_set(&before.url), now.url == before.url);
    keep("finalizeURL", is_set(&before.finalize_url), now.finalize_url == before.finalize_url);
    keep("certificate", before.certificate.is_some(), now.certificate == before.certificate);
    // Until all have been read their entries may still be filled in.
    let are_read = before.authorizations.iter().all(|held| held.identifier.is_some());
    let is_kept = if are_read {
        now.authorizations == before.authorizations
    } else {
        now.authorizations.len() == before.authorizations.len()
    };
    keep("authorizations", !before.authorizations.is_empty(), is_kept);
    problems
}

/// Programs in Go write a spec back with other parts that say nothing.
pub fn challenge_problems(new: &Challenge, old: &Challenge) -> Vec<Problem> {
    let is_same = new.spec == old.spec || meaning(new) == meaning(old);
    if is_same {
        return Vec::new();
    }
    vec![Problem::forbidden("spec", "challenge spec is immutable after creation")]
}

fn meaning(challenge: &Challenge) -> (ChallengeSpec, Value) {
    let spec = &challenge.spec;
    let solver = plain(&spec.solver);
    let issuer_ref = IssuerReference {
        name: spec.issuer_ref.name.clone(),
        kind: Some(spec.issuer_ref.kind_or_default().to_owned()),
        group: Some(spec.issuer_ref.group_or_default().to_owned()),
    };
    (ChallengeSpec { solver: AcmeSolver::default(), issuer_ref, ..spec.clone() }, solver)
}
