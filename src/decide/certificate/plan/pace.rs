//! How soon after one issuance the next one may begin.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::{Plan, request_time};
use crate::{
    api::{
        CertificateRequest, find_condition,
        names::{annotation, condition, reason},
    },
    decide::{
        Wake,
        certificate::Settings,
        failure::{self, Cause, NEXT_ATTEMPT},
        later,
        policy::{self, Violation},
        template,
    },
    pki::ParsedRequest,
};

/// So many certificates are issued within an hour for a spec that does not change. More are a sign that somebody else
/// changes the Secret, or that the issuer gives what is not wanted.
const MOST_PER_HOUR: usize = 5;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A failed renewal is repeated at least so many times before the certificate runs out, if there is time.
const ATTEMPTS_LEFT: i64 = 6;

/// More of them are not remembered.
const MOST_REMEMBERED: usize = 100;

/// Stands in the message of the Issuing condition after why a certificate is being issued, if the former attempt was interrupted.
const ONCE_MORE: &str = "; once more, because the former attempt was interrupted";

/// Why the next issuance does not begin yet.
pub(super) struct Restraint {
    pub(super) until: Timestamp,
    /// None after a failure: the Issuing condition tells of it already.
    text: Option<String>,
    /// Whether a changed spec ends it.
    yields_to_spec: bool,
}

impl Plan<'_> {
    /// Why a certificate is to be issued now, if one is.
    pub(super) fn issuance_reason(&self) -> Option<Violation> {
        let violation = policy::issuance_reason(&self.inputs(), self.now);
        violation.map(|violation| self.with_the_cas_reason(violation)).or_else(|| self.renewal_on_demand())
    }

    /// The time that the annotation names, for a certificate that was issued before.
    fn renewal_on_demand(&self) -> Option<Violation> {
        let wish = self.seen.certificate.annotations().get(annotation::RENEW_AT)?;
        if self.seen.secret?.annotations().get(annotation::RENEWED_AT) == Some(wish) {
            return None;
        }
        let at: Timestamp = wish.parse().ok()?;
        let issued = self.request_of(self.status.revision).and_then(request_time);
        let issued = issued.max(self.status.not_before.as_ref().map(|time| time.0))?;
        (issued < at && at <= self.now).then(|| Violation {
            reason: reason::RENEWING,
            message: format!("Renewing certificate as the annotation {} asks for it at {at}", annotation::RENEW_AT),
        })
    }

    /// When the annotation asks for a renewal that is still to come.
    pub(super) fn demanded_renewal(&self) -> Option<Timestamp> {
        let at: Timestamp = self.seen.certificate.annotations().get(annotation::RENEW_AT)?.parse().ok()?;
        (at > self.now).then_some(at)
    }

    /// Why an issuance may not begin yet, if it may not.
    pub(super) fn restraint(&self) -> Option<Restraint> {
        [self.after_failure(), self.after_loop(), self.after_enough()]
            .into_iter()
            .flatten()
            .filter(|restraint| restraint.until > self.now)
            .max_by_key(|restraint| restraint.until)
    }

    /// A failed issuance is repeated after a while; a changed spec is tried at once.
    fn after_failure(&self) -> Option<Restraint> {
        let failed_at = self.status.last_failure_time.as_ref()?.0;
        if self.request_of(Some(self.next_revision())).is_some_and(|failed| self.asks_for_something_else(failed)) {
            return None;
        }
        let until = later(failed_at, self.wait_after_failure(self.failure_cause()));
        Some(Restraint { until, text: None, yields_to_spec: true })
    }

    /// Why the last attempt failed, as the Issuing condition tells.
    fn failure_cause(&self) -> Cause {
        let told = find_condition(&self.status.conditions, condition::ISSUING).filter(|issuing| issuing.is_false());
        let reason = told.and_then(|told| told.reason.as_deref()).unwrap_or_default();
        self.cause(reason, told.and_then(|told| told.message.as_deref()).unwrap_or_default())
    }

    pub(super) fn cause(&self, reason: &str, message: &str) -> Cause {
        match Cause::of(message) {
            Cause::Refusal if reason == reason::FAILED && self.seen.issuer_is_prompt => Cause::Hindrance,
            cause => cause,
        }
    }

    /// Why a certificate is being issued, and whether the former attempt was interrupted: the message is where that is remembered.
    pub(super) fn with_what_came_before(&self, why: &str) -> String {
        let is_once_more = self.status.last_failure_time.is_some() && self.failure_cause() == Cause::Interruption;
        if is_once_more { format!("{why}{ONCE_MORE}") } else { why.to_owned() }
    }

    /// How many attempts have failed in a row with this one. One that was interrupted showed nothing, so the next one counts in
    /// its place, unless that is interrupted as well.
    pub(super) fn failed_attempts(&self, cause: Cause) -> i64 {
        let former = self.status.failed_issuance_attempts.unwrap_or_default();
        let issuing = find_condition(&self.status.conditions, condition::ISSUING).filter(|issuing| issuing.is_true());
        let is_once_more =
            issuing.and_then(|issuing| issuing.message.as_deref()).is_some_and(|text| text.contains(ONCE_MORE));
        let takes_its_place = is_once_more && cause != Cause::Interruption;
        if takes_its_place { former.max(1) } else { former.saturating_add(1) }
    }

    fn after_loop(&self) -> Option<Restraint> {
        let current = self.request_of(self.status.revision)?;
        if self.asks_for_something_else(current) {
            return None;
        }
        let recent = self.issuances_within(HOUR);
        let oldest = recent.len().checked_sub(MOST_PER_HOUR)?;
        let until = later(recent[oldest], HOUR);
        let text = format!(
            "{} certificates were issued within an hour although the spec did not change; look for something else that \
             changes the Secret {:?}",
            recent.len(),
            self.seen.certificate.spec.secret_name
        );
        Some(Restraint { until, text: Some(text), yields_to_spec: true })
    }

    fn after_enough(&self) -> Option<Restraint> {
        let most: usize = self.seen.certificate.annotations().get(annotation::MAX_ISSUANCES_PER_DAY)?.parse().ok()?;
        let recent = self.issuances_within(DAY);
        let until = match recent.len().checked_sub(most) {
            None => return None,
            Some(oldest) => recent.get(oldest).map_or(Timestamp::MAX, |oldest| later(*oldest, DAY)),
        };
        let text = format!("the annotation {} allows {most} within 24 hours", annotation::MAX_ISSUANCES_PER_DAY);
        Some(Restraint { until, text: Some(text), yields_to_spec: false })
    }

    pub(super) fn asks_for_something_else(&self, request: &CertificateRequest) -> bool {
        let spec = self.spec_of(request);
        let Ok(parsed) = ParsedRequest::from_pem(&request.spec.request.0) else { return false };
        template::key_algorithm(&spec).is_ok_and(|wanted| wanted != parsed.key_algorithm)
            || !policy::outdated_fields(&spec, request, &parsed).is_empty()
    }

    /// Growing, but never so long that a certificate which is still in force runs out before a few more attempts.
    pub(super) fn wait_after_failure(&self, cause: Cause) -> SignedDuration {
        let Settings { least_wait, most_wait, renewal_jitter, .. } = *self.seen.settings;
        let attempts = self.status.failed_issuance_attempts.unwrap_or_default();
        let wait = cause.wait(attempts, least_wait, most_wait);
        let seed = format!("{}/{attempts}", self.seen.certificate.uid().unwrap_or_default());
        let wait = if renewal_jitter { failure::spread(wait, &seed) } else { wait };
        let dates = (self.status.last_failure_time.as_ref(), self.status.not_after.as_ref());
        let (Some(failed_at), Some(not_after)) = dates else { return wait };
        let left = not_after.0.duration_since(failed_at.0);
        let pace = SignedDuration::from_secs(left.as_secs() / ATTEMPTS_LEFT);
        if left <= SignedDuration::ZERO { wait } else { wait.min(pace.max(least_wait)) }
    }

    /// When the requests of the last day were made that led to a certificate, the earliest first.
    pub(super) fn recent_issuances(&self) -> Vec<Timestamp> {
        self.issuances_within(DAY)
    }

    fn issuances_within(&self, span: SignedDuration) -> Vec<Timestamp> {
        let since = later(self.now, -span);
        let mut times = self.noted_issuances();
        times.retain(|time| *time > since && *time <= self.now);
        times.split_off(times.len().saturating_sub(MOST_REMEMBERED))
    }

    /// When the request that led to the present certificate was made, and those within the day before it; the earliest
    /// first.
    pub(super) fn noted_issuances(&self) -> Vec<Timestamp> {
        let Some(current) = self.request_of(self.status.revision) else { return Vec::new() };
        let noted = current.annotations().get(annotation::RECENT_ISSUANCES).map(String::as_str).unwrap_or_default();
        let mut times: Vec<Timestamp> = noted.split(',').filter_map(|time| time.trim().parse().ok()).collect();
        times.extend(request_time(current));
        times.sort_unstable();
        times
    }

    /// Says why the issuance does not begin.
    pub(super) fn restrain(&mut self, restraint: Restraint) {
        let Some(text) = restraint.text else { return self.tell_next_attempt(Some(restraint.until)) };
        let text = format!("No certificate is issued now: {text}");
        let message = if restraint.yields_to_spec {
            with_next_attempt(&text, Some(restraint.until))
        } else if restraint.until == Timestamp::MAX {
            text
        } else {
            format!("{text}{NEXT_ATTEMPT}{})", whole_seconds(restraint.until))
        };
        self.set(condition::ISSUING, "False", reason::TOO_MANY_ISSUANCES, &message);
        self.held_up = Some(super::HeldUp { text: message, event: None });
    }

    /// Takes back what [`Plan::restrain`] said.
    pub(super) fn end_restraint(&mut self) {
        let is_told = find_condition(&self.status.conditions, condition::ISSUING)
            .is_some_and(|issuing| issuing.reason.as_deref() == Some(reason::TOO_MANY_ISSUANCES));
        if is_told {
            self.status.conditions.retain(|condition| condition.type_ != condition::ISSUING);
        }
    }

    /// A failed issuance that nobody needs any more is told of until its next attempt would have been due.
    pub(super) fn settle_failure(&mut self) {
        let Some(failed_at) = self.status.last_failure_time.as_ref() else { return };
        let until = later(failed_at.0, self.wait_after_failure(self.failure_cause()));
        if self.now < until {
            self.tell_next_attempt(None);
            self.wake = self.wake.min(Wake::At(until));
            return;
        }
        self.status.conditions.retain(|held| held.type_ != condition::ISSUING || !held.is_false());
        self.status.last_failure_time = None;
        self.status.failed_issuance_attempts = None;
    }

    /// Corrects when the message of a failure says that the next attempt is made.
    fn tell_next_attempt(&mut self, at: Option<Timestamp>) {
        let told = self.status.conditions.iter_mut().find(|held| held.type_ == condition::ISSUING && held.is_false());
        if let Some(message) = told.and_then(|told| told.message.as_mut()) {
            let text = message.split(NEXT_ATTEMPT).next().unwrap_or_default();
            *message = with_next_attempt(text, at);
        }
    }
}

/// The message of a failure, with when the next attempt is made, if one is.
pub(super) fn with_next_attempt(text: &str, at: Option<Timestamp>) -> String {
    let Some(at) = at else { return text.to_owned() };
    format!("{text}{NEXT_ATTEMPT}{}, or when the spec changes)", whole_seconds(at))
}

fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}
