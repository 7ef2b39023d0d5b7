//! What to do about a Challenge.

pub mod interruption;
pub mod reason;
#[cfg(test)]
mod tests;

use interruption::{INTERRUPTED, is_interrupted};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt};

use super::{
    Decision, Note, Trouble, TroubleClass, backoff,
    issuer_of::SeenIssuerOf,
    later,
    progress::Progress,
    schedule::{Queued, is_wait},
    tls_alpn01::type_told,
    turns::{self, Taken},
};
use crate::api::{
    Challenge, ChallengeStatus,
    names::{event, finalizer, state},
};

/// After this many failed tries in a row, what could not be cleaned up is named in an event and left.
const CLEAN_UP_TRIES: u32 = 8;

/// A self-check that fails right after presenting is the usual case; the status tells of it only after this time.
pub const QUIET_TIME: SignedDuration = SignedDuration::from_secs(5);

/// A change at a DNS provider that is under way wakes the Challenge when it ends. Should it not, this brings another look.
const PENDING_LOOK: SignedDuration = SignedDuration::from_mins(1);

/// Times in the status of objects have no fractions of a second.
const NOTED_WITHIN: SignedDuration = SignedDuration::from_secs(1);

/// Stands in the reason between what became of the challenge and why it cannot be cleaned up.
const CLEAN_UP_ERROR: &str = "; error cleaning up: ";

/// The reason of a Challenge whose answer was taken away before anything was decided.
const WITHDRAWN: &str =
    "Taken back, because certwright was to be uninstalled; a controller that comes presents it again";

/// Ends the reason of a Challenge that waits because its solver says so.
const AS_ASKED: &str = ", as the solver asks";

/// Everything that the decision rests on.
pub struct SeenChallenge<'a> {
    pub challenge: &'a Challenge,
    pub issuer: SeenIssuerOf<'a>,
    /// Whether the Order has other Challenges that are still under way.
    pub has_open_siblings: bool,
    /// Until when another value of the same TXT record is [waited for](super::company).
    pub awaited_until: Option<Timestamp>,
    /// What it waits for if too many others are presented.
    pub queued: Option<&'a Queued>,
    /// Who else answers for the name at present, where only one can.
    pub taken: Option<&'a Taken>,
    /// When this process presented it. What the status notes of that has whole seconds.
    pub presented: Option<Timestamp>,
    /// The last self-check of this process.
    pub check: Option<&'a Check>,
    /// The challenge as the CA last told it to this process.
    pub ca: Option<&'a CaChallenge>,
    /// Whether this process, rather than a former one, told the CA to validate.
    pub was_asked_here: bool,
    /// How far this process is with taking away what was presented.
    pub clean_up: CleanUp,
    /// The change at a DNS provider that is under way.
    pub pending: Option<&'a Pending>,
    pub trouble: Option<&'a Trouble>,
}

/// A change that this process has asked a DNS provider for. The Challenge is looked at again when it is made, or failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    pub since: Timestamp,
    /// Whether it takes the record away.
    pub removes: bool,
    /// What is waited for, in one stable sentence.
    pub reason: String,
}

/// How far the clean-up is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CleanUp {
    #[default]
    Untried,
    /// It was tried without success: what trouble there is comes from it.
    Tried,
    Done,
}

/// The outcome of a self-check.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    pub passed: bool,
    /// What is still missing, in one stable sentence.
    pub summary: String,
    /// When to check again.
    pub next: Timestamp,
    /// Whether the answer has been missing for so long that it is to be presented again.
    pub is_lost: bool,
}

/// The CA's view of a challenge (RFC 8555 section 7.1.6).
#[derive(Clone, Debug, PartialEq)]
pub struct CaChallenge {
    pub status: String,
    /// Whether the CA was told to validate.
    pub accepted: bool,
    /// Why it is invalid, in the CA's words.
    pub problem: Option<String>,
    /// When to ask again, the CA's wish regarded.
    pub next_look: Timestamp,
}

/// Every effect that can follow.
#[derive(Clone, Debug, PartialEq)]
pub enum ChallengeStep {
    AddFinalizer,
    Present,
    /// Ends the present self-check when it is done.
    PresentAgain,
    SelfCheck,
    Accept,
    Read,
    CleanUp,
    RemoveFinalizer,
    WriteStatus(Box<ChallengeStatus>),
    Publish(Note),
}

/// See the module's description.
pub fn decide(seen: &SeenChallenge<'_>, now: Timestamp) -> Decision<ChallengeStep> {
    let status = seen.challenge.status.clone().unwrap_or_default();
    let is_final = Progress::of_word(status.state.as_deref()) != Progress::Open;
    if is_final || seen.challenge.meta().deletion_timestamp.is_some() {
        return wind_up(seen, &status, now);
    }
    if let Err(why) = seen.issuer.usable(&seen.challenge.spec.issuer_ref) {
        return with_reason(&status, &why, Decision::rest());
    }
    if let Some(trouble) = seen.trouble {
        if trouble.class == TroubleClass::Final {
            return fail(seen, &status, state::ERRORED, &trouble.message);
        }
        if now < trouble.next_try() {
            return with_reason(&begun(status), &trouble.sentence(), Decision::rest_until(trouble.next_try()));
        }
    }
    if !has_finalizer(seen.challenge) {
        return Decision::act(vec![ChallengeStep::AddFinalizer]);
    }
    if !status.presented {
        if let Some(queued) = seen.queued {
            return wait_for_place(seen, &status, queued, now);
        }
        if let Some(pending) = seen.pending.filter(|pending| !pending.removes) {
            return wait_for_provider(&status, pending, now);
        }
        if let Some(Taken { by, until }) = seen.taken.filter(|taken| now < taken.until) {
            let longest = backoff::in_words(turns::LONGEST);
            let reason =
                format!("Waiting for Challenge {by}, which answers for the same name for {longest} at the longest");
            return with_reason(&status, &reason, Decision::rest_until(*until));
        }
        return present(seen, now);
    }
    prove(seen, &status, now)
}

/// What to do about a Challenge before there is no controller any more: what was presented is taken away, and nothing keeps the
/// Challenge from being deleted. One that is still open stays so that the next controller goes on with it.
pub fn withdraw(seen: &SeenChallenge<'_>, now: Timestamp) -> Decision<ChallengeStep> {
    let status = seen.challenge.status.clone().unwrap_or_default();
    wind_up(seen, &status, now)
}

/// Whether nothing but the [schedule](super::schedule) would keep a Challenge from being presented.
pub fn may_go(challenge: &Challenge, issuer: SeenIssuerOf<'_>, trouble: Option<&Trouble>, now: Timestamp) -> bool {
    let is_held_up = |trouble: &Trouble| trouble.class == TroubleClass::Final || now < trouble.next_try();
    issuer.usable(&challenge.spec.issuer_ref).is_ok() && !trouble.is_some_and(is_held_up)
}

/// Whether either spelling of the finalizer is set.
pub fn has_finalizer(challenge: &Challenge) -> bool {
    challenge.finalizers().iter().any(|set| is_ours(set))
}

/// Whether this finalizer is one that certwright, or cert-manager before it, sets on Challenges.
pub fn is_ours(set: &str) -> bool {
    set == finalizer::CHALLENGE || set == finalizer::CHALLENGE_LEGACY
}

/// Whether the answer to a Challenge has to be in place, now or soon.
pub fn wants_value(challenge: &Challenge) -> bool {
    let state = challenge.status.as_ref().and_then(|status| status.state.as_deref());
    challenge.meta().deletion_timestamp.is_none() && Progress::of_word(state) == Progress::Open
}

/// What a Challenge says as long as nothing is out of the ordinary.
fn usual_reason(type_: &str) -> String {
    format!("Waiting for {type_} challenge propagation")
}

/// Whether a Challenge says nothing that its owner should hear of.
pub(super) fn is_usual(challenge: &Challenge) -> bool {
    let reason = challenge.status.as_ref().and_then(|status| status.reason.as_deref()).unwrap_or_default();
    let usual = usual_reason(type_told(challenge));
    reason.is_empty() || reason == usual || reason.ends_with(AS_ASKED) || is_wait(reason)
}

/// The CA has nothing to look at yet: what it would say of its challenge goes into the write that is made anyway.
fn begun(status: ChallengeStatus) -> ChallengeStatus {
    ChallengeStatus { state: status.state.or_else(|| Some(state::PENDING.to_owned())), ..status }
}

fn present(seen: &SeenChallenge<'_>, now: Timestamp) -> Decision<ChallengeStep> {
    let type_ = type_told(seen.challenge);
    let status = ChallengeStatus {
        processing: true,
        presented: true,
        presented_at: Some(Time(now)),
        state: Some(state::PENDING.to_owned()),
        reason: Some(usual_reason(type_)),
    };
    Decision::act(vec![
        ChallengeStep::Present,
        ChallengeStep::WriteStatus(Box::new(status)),
        ChallengeStep::Publish(Note::normal(
            event::PRESENTED,
            format!("Presented challenge using {type_} challenge mechanism"),
        )),
    ])
}

/// Who has failed before goes on telling why.
fn wait_for_place(
    seen: &SeenChallenge<'_>,
    status: &ChallengeStatus,
    queued: &Queued,
    now: Timestamp,
) -> Decision<ChallengeStep> {
    if now < queued.quiet_until() {
        return Decision::rest_until(queued.quiet_until());
    }
    let rest = Decision::rest_until(Queued::look_again(now));
    if seen.trouble.is_some() { rest } else { with_reason(status, &queued.sentence(), rest) }
}

/// Nothing is written in the usual case, in which it takes less time.
fn wait_for_provider(status: &ChallengeStatus, pending: &Pending, now: Timestamp) -> Decision<ChallengeStep> {
    let told = later(pending.since, QUIET_TIME);
    if now < told {
        return Decision::rest_until(told);
    }
    with_reason(&begun(status.clone()), &pending.reason, Decision::rest_until(later(now, PENDING_LOOK)))
}

/// The answer is in place: check it, have the CA look, and follow what it says.
fn prove(seen: &SeenChallenge<'_>, status: &ChallengeStatus, now: Timestamp) -> Decision<ChallengeStep> {
    let Some(ca) = seen.ca else { return Decision::act(vec![ChallengeStep::Read]) };
    match ca.status.as_str() {
        state::VALID => return succeed(seen, status),
        state::INVALID | state::EXPIRED => {
            let why = ca.problem.as_deref().unwrap_or("the CA gave no reason");
            let is_interrupted = is_interrupted(seen.challenge, seen.was_asked_here, why);
            let remark = if is_interrupted { INTERRUPTED } else { "" };
            return fail(seen, status, &ca.status, &format!("Error accepting authorization: {why}{remark}"));
        }
        _ if now >= ca.next_look => return Decision::act(vec![ChallengeStep::Read]),
        _ if ca.accepted => {
            let usual = usual_reason(type_told(seen.challenge));
            return with_reason(status, &usual, Decision::rest_until(ca.next_look));
        }
        _ => {}
    }
    let decision = match wait_instead(seen, status) {
        Some((wait, until)) if now < until => {
            let wait = backoff::in_words(wait);
            let reason = format!("Waiting {wait} before accepting the challenge{AS_ASKED}");
            with_reason(status, &reason, Decision::rest_until(until))
        }
        Some(_) => Decision::act(vec![ChallengeStep::Accept]),
        None => check(seen, status, now),
    };
    decision.or_at(ca.next_look)
}

fn check(seen: &SeenChallenge<'_>, status: &ChallengeStatus, now: Timestamp) -> Decision<ChallengeStep> {
    match seen.check {
        Some(check) if check.passed => Decision::act(vec![ChallengeStep::Accept]),
        Some(check) if check.is_lost => Decision::act(vec![ChallengeStep::PresentAgain]),
        Some(check) if now < check.next => {
            let rest = Decision::rest_until(check.next);
            if presented_at(seen, status).is_some_and(|at| now.duration_since(at) < QUIET_TIME) {
                return rest;
            }
            let type_ = type_told(seen.challenge);
            let reason = format!("Waiting for {type_} challenge propagation: {}", check.summary);
            with_reason(status, &reason, rest)
        }
        _ => match seen.awaited_until.filter(|until| now < *until) {
            Some(until) => Decision::rest_until(until),
            None => Decision::act(vec![ChallengeStep::SelfCheck]),
        },
    }
}

fn succeed(seen: &SeenChallenge<'_>, status: &ChallengeStatus) -> Decision<ChallengeStep> {
    let status = ChallengeStatus {
        processing: false,
        state: Some(state::VALID.to_owned()),
        reason: Some("Successfully authorized domain".to_owned()),
        ..status.clone()
    };
    let (name, type_) = (&seen.challenge.spec.dns_name, type_told(seen.challenge));
    let text = format!("Domain {name:?} verified with {type_:?} validation");
    Decision::act(vec![
        // The Order goes on at once; cleaning up does not hold it.
        ChallengeStep::WriteStatus(Box::new(status)),
        ChallengeStep::Publish(Note::normal(event::DOMAIN_VERIFIED, text)),
    ])
}

fn fail(seen: &SeenChallenge<'_>, status: &ChallengeStatus, state: &str, reason: &str) -> Decision<ChallengeStep> {
    let failed = ChallengeStatus {
        processing: false,
        state: Some(state.to_owned()),
        reason: Some(reason.to_owned()),
        ..status.clone()
    };
    let spec = &seen.challenge.spec;
    let text = format!("Challenge for {:?} failed: {reason}", spec.dns_name);
    Decision::act(vec![
        ChallengeStep::WriteStatus(Box::new(failed)),
        ChallengeStep::Publish(Note::warning(event::FAILED, text)),
    ])
}

/// It is decided, or nobody wants it any more: take away what was presented.
fn wind_up(seen: &SeenChallenge<'_>, status: &ChallengeStatus, now: Timestamp) -> Decision<ChallengeStep> {
    if !has_finalizer(seen.challenge) {
        return Decision::rest();
    }
    if seen.pending.is_some_and(|pending| pending.removes) {
        return Decision::rest_until(later(now, PENDING_LOOK));
    }
    let trouble = match (seen.clean_up, seen.trouble) {
        // Nothing was presented with the credentials of an issuer that does not serve it.
        _ if !status.presented && matches!(seen.issuer, SeenIssuerOf::Refused(_)) => {
            return Decision::act(leave(seen, status));
        }
        (CleanUp::Done, _) => return Decision::act(leave(seen, status)),
        (CleanUp::Tried, Some(trouble)) => trouble,
        _ => return Decision::act(vec![ChallengeStep::CleanUp]),
    };
    if trouble.failures >= CLEAN_UP_TRIES || trouble.class == TroubleClass::Final {
        let mut steps = leave(seen, status);
        // What was never presented left nothing behind.
        if status.presented {
            let text = format!("Gave up cleaning up; please remove what is left: {}", trouble.message);
            steps.push(ChallengeStep::Publish(Note::warning(event::CLEAN_UP_ERROR, text)));
        }
        return Decision::act(steps);
    }
    if now < trouble.next_try() {
        return tell_of_clean_up(status, &trouble.message, Decision::rest_until(trouble.next_try()));
    }
    Decision::act(vec![ChallengeStep::CleanUp])
}

/// Said once, and without hiding what became of the challenge.
fn tell_of_clean_up(
    status: &ChallengeStatus,
    trouble: &str,
    mut decision: Decision<ChallengeStep>,
) -> Decision<ChallengeStep> {
    let known = status.reason.as_deref().unwrap_or_default();
    let outcome = known.split(CLEAN_UP_ERROR).next().unwrap_or_default();
    let trouble = format!("{trouble}; tried up to {CLEAN_UP_TRIES} times");
    let reason = format!("{outcome}{CLEAN_UP_ERROR}{trouble}");
    if reason != known {
        let status = ChallengeStatus { reason: Some(reason), ..status.clone() };
        decision.steps.push(ChallengeStep::WriteStatus(Box::new(status)));
        let text = format!("Error cleaning up challenge: {trouble}");
        decision.steps.push(ChallengeStep::Publish(Note::warning(event::CLEAN_UP_ERROR, text)));
    }
    decision
}

/// The status is corrected only where somebody may still look at it: an Order that is complete deletes its Challenges.
fn leave(seen: &SeenChallenge<'_>, status: &ChallengeStatus) -> Vec<ChallengeStep> {
    let progress = Progress::of_word(status.state.as_deref());
    let stays =
        seen.challenge.meta().deletion_timestamp.is_none() && (seen.has_open_siblings || progress != Progress::Valid);
    let mut steps = Vec::new();
    if stays && (status.presented || status.processing) {
        let mut status = ChallengeStatus { presented: false, processing: false, ..status.clone() };
        if progress == Progress::Open {
            status.presented_at = None;
            status.reason = Some(WITHDRAWN.to_owned());
        }
        steps.push(ChallengeStep::WriteStatus(Box::new(status)));
    }
    steps.push(ChallengeStep::RemoveFinalizer);
    steps
}

fn with_reason(
    status: &ChallengeStatus,
    reason: &str,
    mut decision: Decision<ChallengeStep>,
) -> Decision<ChallengeStep> {
    if status.reason.as_deref() != Some(reason) {
        let status = ChallengeStatus { reason: Some(reason.to_owned()), ..status.clone() };
        decision.steps.push(ChallengeStep::WriteStatus(Box::new(status)));
    }
    decision
}

/// How long the solver wants the CA left alone, and until when.
fn wait_instead(seen: &SeenChallenge<'_>, status: &ChallengeStatus) -> Option<(SignedDuration, Timestamp)> {
    let wait = seen.challenge.spec.solver.wait_instead_of_self_check.as_ref()?.to_duration().ok()?;
    Some((wait, later(presented_at(seen, status)?, wait)))
}

/// When the answer was in place. What a former process noted may lack up to a second.
fn presented_at(seen: &SeenChallenge<'_>, status: &ChallengeStatus) -> Option<Timestamp> {
    let noted = || status.presented_at.as_ref().map(|time| later(time.0, NOTED_WITHIN));
    seen.presented.or_else(noted)
}
