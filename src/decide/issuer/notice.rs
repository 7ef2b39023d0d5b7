//! What a ready issuer says besides: which of its annotations could not be followed.

use jiff::Timestamp;

use super::{Decision, IssuerStep, SeenIssuer, set_ready};
use crate::{
    api::{find_condition, issuer::AcmeIssuer, names::condition},
    decide::{budget::Allowance, caa, propagation::Verification, tls_alpn01::TlsAlpn, unread::AT_PRESENT},
};

/// Stands between what the issuer says of itself and the notice.
const BEGINNING: &str = "; the annotation ";

/// The message with the notices at its end, if there is something to notice.
pub(super) fn with_notice(text: &str, seen: &SeenIssuer<'_>, acme: &AcmeIssuer) -> String {
    let tls_alpn = TlsAlpn::read(seen.tls_alpn_01, &acme.solvers);
    let verification = Verification::problem(seen.dns01_verification);
    let (caa, new_orders) = (caa::problem(seen.caa), Allowance::problem(seen.new_orders));
    let problems =
        [tls_alpn.problem(), verification.as_deref(), seen.answerer_problem, caa.as_deref(), new_orders.as_deref()];
    problems.into_iter().flatten().fold(text.to_owned(), |text, problem| format!("{text}; {problem}"))
}

/// An annotation changes without a new generation of the issuer, and the CA need not be asked: only the message follows.
pub(super) fn keep_told(seen: &SeenIssuer<'_>, acme: &AcmeIssuer, now: Timestamp) -> Decision<IssuerStep> {
    let mut status = seen.status.cloned().unwrap_or_default();
    let Some(ready) = find_condition(&status.conditions, condition::READY).cloned() else { return Decision::rest() };
    let held = ready.message.unwrap_or_default();
    // What the API server refused for a time ends the message; it is over, or nothing would be decided.
    let told = held.split(AT_PRESENT).next().unwrap_or_default();
    let text = with_notice(told.split(BEGINNING).next().unwrap_or_default(), seen, acme);
    if text == held {
        return Decision::rest();
    }
    set_ready(&mut status, seen, "True", ready.reason.as_deref().unwrap_or_default(), &text, now);
    Decision::act(vec![IssuerStep::WriteStatus(Box::new(status))])
}
