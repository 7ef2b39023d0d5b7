//! Where Orders and Challenges come from. Whoever could write them with any owner and any spec that he likes would have a
//! ClusterIssuer's account and credentials at his command, which lie in a namespace that he cannot even read.

use kube::{Resource, ResourceExt};

use super::{Terms, names_of, solver::plain};
use crate::{
    api::{
        CertificateRequest, Challenge, Condition, Order, find_condition,
        issuer::AcmeIssuer,
        names::{challenge_type, condition},
        order::OrderAuthorization,
        solver::AcmeSolver,
    },
    decide::{children::is_owned_by, progress::Progress, template},
    pki::ParsedRequest,
};

/// Why the issuer does nothing for this Order, in one sentence; `None` if it may. `request` is the CertificateRequest that the
/// Order says it belongs to, and `approves` whether certwright approves requests itself.
pub fn of_order(
    terms: &Terms<'_>,
    order: &Order,
    request: Option<&CertificateRequest>,
    approves: bool,
) -> Option<String> {
    let namespace = order.namespace().unwrap_or_default();
    let by_terms = terms.refusal_of_namespace(&namespace).or_else(|| terms.refusal_of_names(names_of(order)));
    by_terms.or_else(|| {
        let problem = terms.is_cluster_wide().then(|| foreign_order(order, request, approves)).flatten()?;
        Some(format!("{} is not used for this Order, because {problem}", terms.issuer()))
    })
}

/// The same for a Challenge. `order` and `request` are those that it says it belongs to.
pub fn of_challenge(
    terms: &Terms<'_>,
    challenge: &Challenge,
    (order, request): (Option<&Order>, Option<&CertificateRequest>),
    (acme, approves): (Option<&AcmeIssuer>, bool),
) -> Option<String> {
    if !terms.is_cluster_wide() {
        return None;
    }
    let refused = |problem: &str| Some(format!("{} is not used for this Challenge, because {problem}", terms.issuer()));
    let Some(order) = order.filter(|order| is_owned_by(challenge.meta(), *order)) else {
        return refused("it belongs to no Order");
    };
    if let Some(refusal) = of_order(terms, order, request, approves) {
        return Some(refusal);
    }
    if !challenge.spec.issuer_ref.same_as(&order.spec.issuer_ref) {
        return refused("its Order has another issuer");
    }
    if !is_asked_for(challenge, order) {
        return refused("its Order has no such authorization");
    }
    if acme.is_some_and(|acme| !has_solver(acme, challenge, order)) {
        return refused("its solver is none of the issuer's");
    }
    None
}

/// Whether what a Challenge presented may be taken away with the issuer's credentials: its solver is one of the issuer's, or was
/// when it was presented. Its Order may be gone by then.
pub fn challenge_is_ours_to_end(terms: &Terms<'_>, challenge: &Challenge, acme: Option<&AcmeIssuer>) -> bool {
    let was_presented = challenge.status.as_ref().is_some_and(|status| status.presented);
    !terms.is_cluster_wide() || was_presented || acme.is_none_or(|acme| has_dns_solver(acme, challenge))
}

/// Whether the Challenge is never presented, because the ClusterIssuer has other solvers now than when it was made.
pub fn has_lost_its_solver(challenge: &Challenge, order: &Order, acme: &AcmeIssuer) -> bool {
    let status = challenge.status.as_ref();
    let is_open = Progress::of_word(status.and_then(|status| status.state.as_deref())) == Progress::Open;
    let waits = is_open && !status.is_some_and(|status| status.presented);
    waits && Terms::of(&order.spec.issuer_ref, |_| None).is_cluster_wide() && !has_solver(acme, challenge, order)
}

/// What is wrong with the Order's origin.
fn foreign_order(order: &Order, request: Option<&CertificateRequest>, approves: bool) -> Option<&'static str> {
    let Some(request) = request.filter(|request| is_owned_by(order.meta(), *request)) else {
        return Some("it belongs to no CertificateRequest");
    };
    if order.spec.request != request.spec.request || !order.spec.issuer_ref.same_as(&request.spec.issuer_ref) {
        return Some("its CertificateRequest asks for something else");
    }
    let conditions = request.status.as_ref().map(|status| &status.conditions[..]).unwrap_or_default();
    let has = |type_: &str| find_condition(conditions, type_).is_some_and(Condition::is_true);
    if has(condition::DENIED) || !(approves || has(condition::APPROVED)) {
        return Some("its CertificateRequest is not approved");
    }
    (!names_are_those_of_the_csr(order)).then_some("it has names that are not in its CSR")
}

fn names_are_those_of_the_csr(order: &Order) -> bool {
    let Ok(parsed) = ParsedRequest::from_pem(&order.spec.request.0) else { return false };
    let common_names = parsed.common_names();
    let addresses: Vec<String> = parsed.names.ip_addresses.iter().map(ToString::to_string).collect();
    let mut known = parsed.names.dns_names.iter().chain(&addresses).chain(&common_names);
    names_of(order).all(|name| known.clone().any(|other| other.eq_ignore_ascii_case(name))) && known.next().is_some()
}

/// Whether the Order's authorizations, as the CA told them, have this Challenge among them.
fn is_asked_for(challenge: &Challenge, order: &Order) -> bool {
    let spec = &challenge.spec;
    let is_it = |authorization: &&OrderAuthorization| {
        authorization.url == spec.authorization_url
            && authorization.identifier.as_deref().unwrap_or_default() == spec.dns_name
            && (authorization.wildcard == Some(true)) == spec.wildcard
    };
    let status = order.status.as_ref();
    let found = status.and_then(|status| status.authorizations.iter().find(is_it));
    found.is_some_and(|authorization| {
        authorization.challenges.iter().any(|offered| offered.url == spec.url && offered.token == spec.token)
    })
}

/// Whether the Challenge's solver is one of the issuer's, as the Certificate's annotations may have changed it.
fn has_solver(acme: &AcmeIssuer, challenge: &Challenge, order: &Order) -> bool {
    let held = &plain(&challenge.spec.solver)["http01"];
    let is_it = |solver: &AcmeSolver| {
        if solver.http01 == challenge.spec.solver.http01 {
            return true;
        }
        let mut changed = solver.clone();
        template::override_http01(&mut changed, order.annotations(), order.namespace().as_deref());
        plain(solver)["http01"] == *held || plain(&changed)["http01"] == *held
    };
    has_dns_solver(acme, challenge)
        && (challenge.spec.type_ != challenge_type::HTTP01 || acme.solvers.iter().any(is_it))
}

/// Whether credentials go where the issuer sends them, if the Challenge needs any.
fn has_dns_solver(acme: &AcmeIssuer, challenge: &Challenge) -> bool {
    let held = &challenge.spec.solver.dns01;
    // As certwright writes it, it is the same to the letter: that is found out sooner.
    if held.is_none() || acme.solvers.iter().any(|own| own.dns01 == *held) {
        return true;
    }
    let held = &plain(&challenge.spec.solver)["dns01"];
    acme.solvers.iter().any(|own| plain(own)["dns01"] == *held)
}
