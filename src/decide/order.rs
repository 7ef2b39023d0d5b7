//! What to do about an Order.

#[cfg(test)]
mod tests;
pub mod wanted_child;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::Time};
use kube::Resource;
use wanted_child::Wishes;

use super::{
    Decision, Note, Trouble, TroubleClass, admittance::has_lost_its_solver, budget::turn::Turn, caa::BeforeOrder,
    chain::ChosenChain, challenge::is_usual, children::is_owned_by, issuer_of::SeenIssuerOf, later, podless::Answerer,
    progress::Progress, solver::NoSolver, tls_alpn01::type_told,
};
use crate::api::{
    Challenge, Order, OrderStatus,
    issuer::AcmeIssuer,
    names::{event, state},
    order::OrderAuthorization,
};

/// Everything that the decision rests on.
pub struct SeenOrder<'a> {
    pub order: &'a Order,
    pub issuer: SeenIssuerOf<'a>,
    /// The issuer's annotation that tells which of its solvers answer by TLS-ALPN-01.
    pub tls_alpn_01: Option<&'a str>,
    /// Who answers the issuer's HTTP-01 challenges.
    pub answerer: Answerer,
    /// The Challenges that this Order owns.
    pub challenges: &'a [Arc<Challenge>],
    /// The order as the CA last told it to this process.
    pub ca: Option<&'a CaOrder>,
    /// Whether the order may be created at the CA now, if it is not yet.
    pub turn: &'a Turn,
    pub trouble: Option<&'a Trouble>,
    /// What the domains' CAA records say to it.
    pub caa: &'a BeforeOrder,
}

/// The CA's view of an order (RFC 8555 section 7.1.3).
#[derive(Clone, Debug, PartialEq)]
pub struct CaOrder {
    pub status: String,
    /// Why it is invalid, in the CA's words.
    pub problem: Option<String>,
    /// Whether it says so in answer to the certificate request.
    pub finalized: bool,
    /// When to ask again, the CA's wish regarded.
    pub next_look: Timestamp,
    /// Until when the CA keeps it open.
    pub expires: Option<Timestamp>,
    /// The certificate, once downloaded.
    pub certificate: Option<ChosenChain>,
}

impl CaOrder {
    /// Whether what went wrong before is over now that the CA has told this. An order that is still to be finalized may have
    /// failed at just that: then only its success ends the row of failures, or the waits would never grow.
    pub fn ends_trouble(&self) -> bool {
        self.finalized || self.status != state::READY
    }
}

/// How long after the end of an order's time the CA may still be working on the certificate.
const LONGEST_WORK: SignedDuration = SignedDuration::from_hours(24);

/// How the reason of an order ends that the CA gave up on because time went by: nothing speaks against another one.
pub const EXPIRED_BEFORE_FINISHED: &str = "; it expired before it was finished";

/// How the reason of an Order ends of which a Challenge can no longer be presented: another one has the present solvers.
pub const OTHER_SOLVERS: &str = "; the issuer has other solvers now";

/// Every effect that can follow.
#[derive(Clone, Debug, PartialEq)]
pub enum OrderStep {
    /// Looks up the CAA records of the names.
    LookUpCaa,
    /// Creates the order at the CA, or finds the one that a former process created, reads its authorizations, and
    /// writes them to the status.
    Place,
    /// Reads the authorizations of an order that is known already and writes them to the status.
    ReadAuthorizations,
    /// Creates this Challenge; its key is filled in from the account.
    CreateChallenge(Box<Challenge>),
    DeleteChallenge(Arc<Challenge>),
    ReadOrder,
    Finalize,
    Download,
    WriteStatus(Box<OrderStatus>),
    Publish(Note),
}

/// See the module's description.
pub fn decide(seen: &SeenOrder<'_>, now: Timestamp) -> Decision<OrderStep> {
    if seen.order.meta().deletion_timestamp.is_some() {
        return Decision::rest();
    }
    let status = seen.order.status.clone().unwrap_or_default();
    match Progress::of(seen.order) {
        Progress::Failed => return Decision::act(delete_where(seen, |challenge| !has_failed(challenge))),
        Progress::Valid if status.certificate.is_some() => return Decision::act(delete_where(seen, |_| true)),
        _ => {}
    }
    let acme = match seen.issuer.usable(&seen.order.spec.issuer_ref) {
        Ok(acme) => acme,
        Err(why) => return with_reason(seen, &status, &why, Decision::rest()),
    };
    if let Some(trouble) = seen.trouble {
        if trouble.class == TroubleClass::Final {
            let is_over = trouble.message.ends_with(EXPIRED_BEFORE_FINISHED);
            return fail(&status, if is_over { state::EXPIRED } else { state::ERRORED }, &trouble.message, now);
        }
        if now < trouble.next_try() {
            return with_reason(seen, &status, &trouble.sentence(), Decision::rest_until(trouble.next_try()));
        }
    }
    if status.url.is_none() {
        return place(seen, &status);
    }
    if Progress::of(seen.order) == Progress::Valid {
        // The certificate is there, whatever has become of the Challenges.
        return obtain(seen, &status, now);
    }
    if status.authorizations.is_empty() || status.authorizations.iter().any(|known| known.identifier.is_none()) {
        return Decision::act(vec![OrderStep::ReadAuthorizations]);
    }
    work_off(seen, acme, &status, now)
}

/// The order is created when the domains, the CA and the account's budget allow it.
fn place(seen: &SeenOrder<'_>, status: &OrderStatus) -> Decision<OrderStep> {
    let note = match seen.caa {
        BeforeOrder::LookUp => return Decision::act(vec![OrderStep::LookUpCaa]),
        BeforeOrder::Wait { until, reason } => {
            return with_reason(seen, status, reason, Decision::rest_until(*until));
        }
        BeforeOrder::Order(note) => note,
    };
    match seen.turn {
        Turn::Go => {
            let told = note.iter().cloned().map(OrderStep::Publish);
            Decision::act(std::iter::once(OrderStep::Place).chain(told).collect())
        }
        Turn::Wait { until, why: None } => Decision::rest_until(*until),
        Turn::Wait { until, why: Some(why) } => with_reason(seen, status, why, Decision::rest_until(*until)),
    }
}

/// Challenges first, then the order itself.
fn work_off(seen: &SeenOrder<'_>, acme: &AcmeIssuer, status: &OrderStatus, now: Timestamp) -> Decision<OrderStep> {
    let open: Vec<_> = wanted_child::open_authorizations(status).collect();
    let is_for = |held: &Challenge, known: &OrderAuthorization| held.spec.authorization_url == known.url;
    let mut steps = delete_where(seen, |held| !open.iter().any(|known| is_for(held, known)));
    for authorization in &open {
        if seen.challenges.iter().any(|held| is_for(held, authorization)) {
            continue;
        }
        match wanted_challenge(seen, acme, authorization) {
            Ok(challenge) => steps.push(OrderStep::CreateChallenge(Box::new(challenge))),
            Err(none) => return refuse(status, &none, now),
        }
    }
    if !steps.is_empty() {
        return Decision::act(steps);
    }
    let held: Vec<_> = seen.challenges.iter().filter(|held| open.iter().any(|known| is_for(held, known))).collect();
    if let Some(failed) = held.iter().find(|challenge| has_failed(challenge)) {
        return follow_failure(status, failed, now);
    }
    if let Some(lost) = held.iter().find(|held| has_lost_its_solver(held, seen.order, acme)) {
        let (type_, domain) = (type_told(lost), domain_of(lost));
        let text = format!("{type_} challenge for {domain:?} cannot be presented{OTHER_SOLVERS}");
        return fail(status, state::ERRORED, &text, now);
    }
    let is_proven =
        |known: &OrderAuthorization| held.iter().any(|held| is_for(held, known) && state_of(held) == Progress::Valid);
    if open.iter().all(|known| is_proven(known)) {
        return obtain(seen, status, now);
    }
    match held.iter().find_map(|challenge| obstacle(challenge)) {
        Some(why) => with_reason(seen, status, &why, Decision::rest()),
        None => without_reason(status, Decision::rest()),
    }
}

/// What keeps an open Challenge from going on. Its usual steps are no obstacles.
fn obstacle(challenge: &Challenge) -> Option<String> {
    let type_ = type_told(challenge);
    let reason = challenge.status.as_ref()?.reason.as_deref()?;
    let is_open = state_of(challenge) == Progress::Open;
    (is_open && !is_usual(challenge)).then(|| format!("{type_} challenge for {:?}: {reason}", domain_of(challenge)))
}

/// The name that a Challenge proves, with `*.` for a wildcard.
fn domain_of(challenge: &Challenge) -> String {
    let name = &challenge.spec.dns_name;
    if challenge.spec.wildcard { format!("*.{name}") } else { name.clone() }
}

/// Every name is proven: have the certificate made, and fetch it.
fn obtain(seen: &SeenOrder<'_>, status: &OrderStatus, now: Timestamp) -> Decision<OrderStep> {
    let Some(ca) = seen.ca else { return Decision::act(vec![OrderStep::ReadOrder]) };
    if let Some(certificate) = &ca.certificate {
        let mut status = status.clone();
        status.state = Some(state::VALID.to_owned());
        status.reason = None;
        status.certificate = Some(ByteString(certificate.pem.clone()));
        let note = Note::normal(event::COMPLETE, "Order completed successfully");
        let warning = certificate.warning.as_deref().map(|text| Note::warning(event::PREFERRED_CHAIN_NOT_FOUND, text));
        let notes = std::iter::once(note).chain(warning).map(OrderStep::Publish);
        return Decision::act(std::iter::once(OrderStep::WriteStatus(Box::new(status))).chain(notes).collect());
    }
    let is_over = ca.expires.is_some_and(|expires| expires <= now);
    // A CA may take its time once it has the request, but not for ever.
    let is_forgotten = ca.expires.is_some_and(|expires| later(expires, LONGEST_WORK) <= now);
    match ca.status.as_str() {
        state::PROCESSING if is_forgotten => expire(status, "The CA did not come to an end with the order", now),
        state::VALID => Decision::act(vec![OrderStep::Download]),
        state::PENDING | state::READY if is_over => expire(status, "The time that the CA gave the order is over", now),
        state::READY if !ca.finalized => Decision::act(vec![OrderStep::Finalize]),
        state::INVALID => {
            let why = ca.problem.as_deref().unwrap_or("the CA gave no reason");
            let reason = format!("The CA declared the order invalid: {why}");
            if is_over { expire(status, &reason, now) } else { fail(status, state::INVALID, &reason, now) }
        }
        _ if now >= ca.next_look => Decision::act(vec![OrderStep::ReadOrder]),
        _ => without_reason(status, Decision::rest_until(ca.next_look)),
    }
}

fn wanted_challenge(
    seen: &SeenOrder<'_>,
    acme: &AcmeIssuer,
    authorization: &OrderAuthorization,
) -> Result<Challenge, NoSolver> {
    let SeenOrder { order, tls_alpn_01, answerer, .. } = *seen;
    wanted_child::challenge(&Wishes { order, acme, tls_alpn_01, answerer }, authorization)
}

fn follow_failure(status: &OrderStatus, failed: &Challenge, now: Timestamp) -> Decision<OrderStep> {
    let challenge = failed.status.clone().unwrap_or_default();
    let domain = domain_of(failed);
    let why = challenge.reason.unwrap_or_else(|| "no reason was given".to_owned());
    let reason = format!("{} challenge for {domain:?} failed: {why}", type_told(failed));
    match challenge.state.as_deref().unwrap_or(state::INVALID) {
        state::EXPIRED => expire(status, &reason, now),
        state => fail(status, state, &reason, now),
    }
}

fn expire(status: &OrderStatus, reason: &str, now: Timestamp) -> Decision<OrderStep> {
    fail(status, state::EXPIRED, &format!("{reason}{EXPIRED_BEFORE_FINISHED}"), now)
}

fn refuse(status: &OrderStatus, none: &NoSolver, now: Timestamp) -> Decision<OrderStep> {
    let text = format!("Failed to determine a valid solver configuration for the set of domains on the Order: {none}");
    let mut decision = fail(status, state::ERRORED, &text, now);
    decision.steps.push(OrderStep::Publish(Note::warning(event::SOLVER, text)));
    decision
}

fn fail(status: &OrderStatus, state: &str, reason: &str, now: Timestamp) -> Decision<OrderStep> {
    let mut status = status.clone();
    status.state = Some(state.to_owned());
    status.reason = Some(reason.to_owned());
    status.failure_time = Some(Time(now));
    Decision::act(vec![OrderStep::WriteStatus(Box::new(status))])
}

/// Says in the status why it does not go on, unless that stands there already.
fn with_reason(
    seen: &SeenOrder<'_>,
    status: &OrderStatus,
    reason: &str,
    mut decision: Decision<OrderStep>,
) -> Decision<OrderStep> {
    let known = seen.order.status.as_ref().and_then(|status| status.reason.as_deref());
    if known != Some(reason) {
        let status = OrderStatus { reason: Some(reason.to_owned()), ..status.clone() };
        decision.steps.push(OrderStep::WriteStatus(Box::new(status)));
    }
    decision
}

/// It goes on: what stood in its way is over.
fn without_reason(status: &OrderStatus, mut decision: Decision<OrderStep>) -> Decision<OrderStep> {
    if status.reason.is_some() {
        let status = OrderStatus { reason: None, ..status.clone() };
        decision.steps.push(OrderStep::WriteStatus(Box::new(status)));
    }
    decision
}

fn delete_where(seen: &SeenOrder<'_>, unwanted: impl Fn(&Challenge) -> bool) -> Vec<OrderStep> {
    let gone = |challenge: &Challenge| challenge.meta().deletion_timestamp.is_some();
    let owned = seen.challenges.iter().filter(|challenge| is_owned_by(challenge.meta(), seen.order));
    owned
        .filter(|challenge| unwanted(challenge) && !gone(challenge))
        .map(|challenge| OrderStep::DeleteChallenge(challenge.clone()))
        .collect()
}

fn state_of(challenge: &Challenge) -> Progress {
    Progress::of_word(challenge.status.as_ref().and_then(|status| status.state.as_deref()))
}

fn has_failed(challenge: &Challenge) -> bool {
    state_of(challenge) == Progress::Failed
}
