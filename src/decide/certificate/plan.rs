//! The decision about a Certificate while it is being made.

mod answer;
mod next_key;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt};

use super::{CertificateStep, SeenCertificate, Settings, is_issuing, next_revision, revision_of};
use crate::{
    api::{
        CertificateRequest, CertificateStatus, Condition, find_condition,
        names::{condition, event, reason},
        set_condition,
    },
    decide::{
        Decision, Note, Wake, backoff, fixed_name, later,
        policy::{self, Inputs, Violation},
        renewal, secret, template,
    },
    pki::{ParsedCertificate, ParsedRequest, PrivateKey},
};
use answer::{issue_of, obstacle, refusal_of, verified_leaf};

/// Stands in the message of the Issuing condition between why a certificate is being issued and what keeps it from
/// going on.
const HELD_UP: &str = "; held up: ";

/// Nothing tells us when somebody else's object makes room, so we look again after this time.
const STRANGERS_STAY: SignedDuration = SignedDuration::from_mins(1);

/// What is seen, the status to be, the steps so far.
pub(super) struct Plan<'a> {
    seen: &'a SeenCertificate<'a>,
    now: Timestamp,
    pub(super) status: CertificateStatus,
    steps: Vec<CertificateStep>,
    notes: Vec<Note>,
    wake: Wake,
    held_up: Option<HeldUp>,
}

/// What keeps the issuance under way from going on.
struct HeldUp {
    text: String,
    /// The event that tells of it, if it is not told of elsewhere.
    event: Option<&'static str>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(seen: &'a SeenCertificate<'a>, now: Timestamp) -> Self {
        let status = seen.certificate.status.clone().unwrap_or_default();
        let (steps, notes) = (Vec::new(), Vec::new());
        Self { seen, now, status, steps, notes, wake: Wake::OnChange, held_up: None }
    }

    /// Nobody could make a certificate from this spec.
    pub(super) fn refuse(self, error: &str) -> Decision<CertificateStep> {
        let text = format!("Nothing is requested, because the spec is invalid: {error}");
        self.leave_off(reason::INVALID_SPEC, &text)
    }

    /// The Secret belongs to another Certificate.
    pub(super) fn stand_back(self, owner: &str) -> Decision<CertificateStep> {
        let secret = &self.seen.certificate.spec.secret_name;
        let text = format!(
            "The Secret {secret:?} belongs to the Certificate {owner:?}, which names it too; give this one its own \
             spec.secretName"
        );
        self.leave_off(reason::INCORRECT_CERTIFICATE, &text)
    }

    fn leave_off(mut self, reason: &str, text: &str) -> Decision<CertificateStep> {
        self.status.conditions.retain(|condition| condition.type_ != condition::ISSUING);
        self.drop_next_keys();
        let former = self.seen.certificate.status.as_ref();
        let known = former.and_then(|status| find_condition(&status.conditions, condition::READY)?.message.as_deref());
        if known != Some(text) {
            self.notes.push(Note::warning(reason, text));
        }
        self.set(condition::READY, "False", reason, text);
        self.close()
    }

    /// No certificate is being issued: is one to be?
    pub(super) fn begin_or_rest(mut self) -> Decision<CertificateStep> {
        self.look_at_dates();
        match policy::issuance_reason(&self.inputs(), self.now) {
            None => {
                self.drop_next_keys();
                self.forget_old_requests();
            }
            Some(violation) => match self.waiting_until() {
                Some(until) => {
                    self.drop_next_keys();
                    self.wake = self.wake.min(Wake::At(until));
                }
                None => self.begin(violation),
            },
        }
        self.finish()
    }

    /// Key, request, certificate: one after the other.
    pub(super) fn pursue(mut self) -> Decision<CertificateStep> {
        self.look_at_dates();
        if let Some(trouble) = self.seen.trouble
            && self.now < trouble.next_try()
        {
            self.wake = self.wake.min(Wake::At(trouble.next_try()));
            self.hold_up(Some(event::REQUEST_FAILED), trouble.sentence());
            return self.finish();
        }
        match self.usable_next_key() {
            Some(key) => self.pursue_with(&key),
            None => self.finish(),
        }
    }

    /// Dates follow from the Secret, whatever else is going on.
    fn look_at_dates(&mut self) {
        let spec = &self.seen.certificate.spec;
        let leaf = self.seen.secret.and_then(policy::leaf_of);
        let dates = leaf.map(|leaf| (leaf.not_before, leaf.not_after));
        self.status.not_before = dates.map(|(not_before, _)| Time(not_before));
        self.status.not_after = dates.map(|(_, not_after)| Time(not_after));
        self.status.renewal_time =
            dates.and_then(|(not_before, not_after)| renewal::renewal_time(spec, not_before, not_after).at).map(Time);
        for at in [self.status.renewal_time.as_ref(), self.status.not_after.as_ref()].into_iter().flatten() {
            if at.0 > self.now {
                self.wake = self.wake.min(Wake::At(at.0));
            }
        }
    }

    fn inputs(&self) -> Inputs<'a> {
        Inputs {
            certificate: self.seen.certificate,
            secret: self.seen.secret,
            current_request: self.request_of(self.status.revision),
            renewal_time: self.status.renewal_time.as_ref().map(|time| time.0),
        }
    }

    fn request_of(&self, revision: Option<i64>) -> Option<&'a CertificateRequest> {
        let revision = revision?;
        self.seen.requests.iter().find(|request| revision_of(request) == Some(revision)).map(|request| &**request)
    }

    fn next_revision(&self) -> i64 {
        next_revision(self.status.revision)
    }

    fn begin(&mut self, violation: Violation) {
        self.set(condition::ISSUING, "True", violation.reason, &violation.message);
        // Written before the key exists, so that a key is never lost sight of.
        self.status.next_private_key_secret_name = Some(self.fixed_key_name());
        self.notes.push(Note::normal(event::ISSUING, violation.message));
    }

    /// Until when a failed issuance is not repeated. A changed spec is tried at once.
    fn waiting_until(&self) -> Option<Timestamp> {
        let failed_at = self.status.last_failure_time.as_ref()?.0;
        if self.request_of(Some(self.next_revision())).is_some_and(|failed| self.asks_for_something_else(failed)) {
            return None;
        }
        let until = later(failed_at, self.wait_after_failure());
        (until > self.now).then_some(until)
    }

    fn asks_for_something_else(&self, request: &CertificateRequest) -> bool {
        let spec = &self.seen.certificate.spec;
        let Ok(parsed) = ParsedRequest::from_pem(&request.spec.request.0) else { return false };
        template::key_algorithm(spec).is_ok_and(|wanted| wanted != parsed.key_algorithm)
            || !policy::outdated_fields(spec, request, &parsed).is_empty()
    }

    fn wait_after_failure(&self) -> SignedDuration {
        let Settings { least_wait, most_wait, .. } = *self.seen.settings;
        backoff::after_failed_issuances(self.status.failed_issuance_attempts.unwrap_or_default(), least_wait, most_wait)
    }

    fn pursue_with(mut self, key: &PrivateKey) -> Decision<CertificateStep> {
        let revision = self.next_revision();
        let name = fixed_name::certificate_request(&self.seen.certificate.name_any(), revision);
        let is_of_this_issuance =
            |request: &CertificateRequest| revision_of(request) == Some(revision) || request.name_any() == name;
        let requests = self.seen.requests.iter().filter(|request| is_of_this_issuance(request));
        let (dying, living): (Vec<_>, Vec<_>) = requests.partition(|request| is_dying(&***request));
        let (fitting, unfit): (Vec<_>, Vec<_>) = living.into_iter().partition(|request| {
            revision_of(request) == Some(revision)
                && policy::request_is_current(&self.seen.certificate.spec, request, key)
                && !self.ended_before_this_issuance(request)
        });
        self.steps.extend(unfit.into_iter().map(|request| CertificateStep::DeleteRequest(request.clone())));
        match fitting.first() {
            Some(request) => self.follow(request, key, revision),
            // One that is on its way out still has the name.
            None if !dying.is_empty() => self.finish(),
            None => {
                self.request(name, revision);
                self.finish()
            }
        }
    }

    fn request(&mut self, name: String, revision: i64) {
        let is_own = |other: &CertificateRequest| self.seen.requests.iter().any(|own| own.uid() == other.uid());
        if self.seen.namesake.is_some_and(|other| !is_own(other)) {
            let text = format!("the CertificateRequest {name:?} does not belong to this Certificate; delete it");
            self.wake = self.wake.min(Wake::At(later(self.now, STRANGERS_STAY)));
            return self.hold_up(Some(event::REQUEST_FAILED), text);
        }
        let key_secret = self.status.next_private_key_secret_name.clone().unwrap_or_default();
        let text = format!("Created new CertificateRequest resource {name:?}");
        self.steps.push(CertificateStep::CreateRequest { name, revision, key_secret });
        self.notes.push(Note::normal(event::REQUESTED, text));
    }

    /// A request that was answered earlier, well or badly, is not asked once more.
    fn ended_before_this_issuance(&self, request: &CertificateRequest) -> bool {
        let Some(end) = refusal_of(request).or_else(|| issue_of(request)) else { return false };
        let failed_at = request.status.as_ref().and_then(|status| status.failure_time.as_ref());
        let ended_at = failed_at.or(end.last_transition_time.as_ref());
        let began = find_condition(&self.status.conditions, condition::ISSUING)
            .and_then(|issuing| issuing.last_transition_time.as_ref());
        matches!((ended_at, began), (Some(ended_at), Some(began)) if ended_at.0 < began.0)
    }

    /// What the issuer made of the request.
    fn follow(mut self, request: &CertificateRequest, key: &PrivateKey, revision: i64) -> Decision<CertificateStep> {
        let status = request.status.clone().unwrap_or_default();
        let ready = find_condition(&status.conditions, condition::READY);
        if let Some(refusal) = refusal_of(request) {
            let reason = refusal.reason.clone().unwrap_or_default();
            self.fail(&reason, refusal.message.as_deref().unwrap_or("the issuer gave no reason"));
            return self.finish();
        }
        if issue_of(request).is_some() {
            return match verified_leaf(&status.certificate.unwrap_or_default().0, key, self.now) {
                Ok(leaf) => self.complete(request, &leaf, key, revision),
                Err(why) => {
                    self.fail(reason::INVALID_CERTIFICATE, &why);
                    self.finish()
                }
            };
        }
        if let Some(obstacle) = ready.and_then(obstacle) {
            self.hold_up(None, obstacle);
        }
        self.finish()
    }

    fn fail(&mut self, reason: &str, why: &str) {
        let attempts = self.status.failed_issuance_attempts.unwrap_or_default().saturating_add(1);
        self.status.last_failure_time = Some(Time(self.now));
        self.status.failed_issuance_attempts = Some(attempts);
        let next = later(self.now, self.wait_after_failure());
        let next = Timestamp::from_second(next.as_second()).unwrap_or(next);
        let text = format!("The certificate request has failed to complete and will be retried: {why}");
        let message = format!("{text} (next attempt at {next}, or when the spec changes)");
        self.set(condition::ISSUING, "False", reason, &message);
        self.drop_next_keys();
        self.wake = self.wake.min(Wake::At(next));
        self.notes.push(Note::warning(reason, text));
    }

    fn complete(
        mut self,
        request: &CertificateRequest,
        leaf: &ParsedCertificate,
        key: &PrivateKey,
        revision: i64,
    ) -> Decision<CertificateStep> {
        let certificate = self.seen.certificate;
        let Ok(pem) = key.to_pem(template::key_encoding(&certificate.spec)) else {
            self.fail(reason::INVALID_KEY_PAIR, "the private key cannot be written in the encoding of the spec");
            return self.finish();
        };
        let type_ = self.seen.secret.and_then(|held| held.type_.as_deref());
        let owner_reference = self.seen.settings.owner_reference;
        let wanted = secret::wanted(certificate, request, leaf, pem, type_, owner_reference);
        self.steps.push(CertificateStep::ApplySecret(Box::new(wanted)));
        self.status.revision = Some(revision);
        self.status.last_failure_time = None;
        self.status.failed_issuance_attempts = None;
        self.status.not_before = Some(Time(leaf.not_before));
        self.status.not_after = Some(Time(leaf.not_after));
        let renewal = renewal::renewal_time(&certificate.spec, leaf.not_before, leaf.not_after);
        self.status.renewal_time = renewal.at.map(Time);
        self.status.conditions.retain(|condition| condition.type_ != condition::ISSUING);
        self.set(condition::READY, "True", reason::READY, READY_TEXT);
        self.status.next_private_key_secret_name = None;
        self.write_status();
        self.drop_next_keys();
        self.notes.push(Note::normal(event::ISSUING, "The certificate has been successfully issued"));
        self.close()
    }

    /// Those of the issued revisions; what comes after them belongs to an issuance that failed and is not yet repeated.
    fn forget_old_requests(&mut self) {
        let kept = usize::try_from(self.seen.certificate.spec.revision_history_limit.unwrap_or(1).max(1)).unwrap_or(1);
        let current = self.status.revision.unwrap_or_default();
        let mut numbered: Vec<_> =
            self.seen.requests.iter().filter_map(|request| Some((revision_of(request)?, request))).collect();
        numbered.retain(|(revision, _)| *revision <= current);
        numbered.sort_by_key(|(revision, _)| std::cmp::Reverse(*revision));
        let old = numbered.into_iter().skip(kept).filter(|(_, request)| !is_dying(&***request));
        self.steps.extend(old.map(|(_, request)| CertificateStep::DeleteRequest(request.clone())));
    }

    fn hold_up(&mut self, event: Option<&'static str>, text: String) {
        self.held_up = Some(HeldUp { text, event });
    }

    /// Whether the Secret is in order, and what keeps a new certificate from coming.
    fn tell(&mut self) {
        let held_up = self.held_up.take();
        if is_issuing(&self.status) {
            self.tell_whether_held_up(held_up.as_ref());
        }
        let text = match &held_up {
            Some(held_up) => Some(held_up.text.clone()),
            None => find_condition(&self.status.conditions, condition::ISSUING)
                .filter(|issuing| issuing.is_false() && self.status.last_failure_time.is_some())
                .and_then(|failed| failed.message.clone()),
        };
        match (policy::unreadiness(&self.inputs(), self.now), text) {
            (None, _) => self.set(condition::READY, "True", reason::READY, READY_TEXT),
            (Some(Violation { reason, message }), None) => self.set(condition::READY, "False", reason, &message),
            (Some(Violation { reason, message }), Some(text)) => {
                self.set(condition::READY, "False", reason, &format!("{message}: {text}"));
            }
        }
    }

    /// The message of the Issuing condition may come from whoever asked for the issuance; that part stays.
    fn tell_whether_held_up(&mut self, held_up: Option<&HeldUp>) {
        let Some(issuing) = self.status.conditions.iter_mut().find(|found| found.type_ == condition::ISSUING) else {
            return;
        };
        let known = issuing.message.clone().unwrap_or_default();
        let why = known.split(HELD_UP).next().filter(|why| !why.is_empty()).unwrap_or("Issuing certificate");
        let text = match held_up {
            Some(held_up) => format!("{why}{HELD_UP}{}", held_up.text),
            None if known.contains(HELD_UP) => why.to_owned(),
            None => return,
        };
        if text == known {
            return;
        }
        issuing.message = Some(text);
        if let Some(HeldUp { text, event: Some(event) }) = held_up {
            self.notes.push(Note::warning(event, text));
        }
    }

    fn set(&mut self, type_: &str, status: &str, reason: &str, message: &str) {
        let new = Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            observed_generation: self.seen.certificate.metadata.generation,
            ..Condition::default()
        };
        set_condition(&mut self.status.conditions, new, self.now);
    }

    fn write_status(&mut self) {
        if self.status != self.seen.certificate.status.clone().unwrap_or_default() {
            self.steps.push(CertificateStep::WriteStatus(Box::new(self.status.clone())));
        }
    }

    fn finish(mut self) -> Decision<CertificateStep> {
        self.tell();
        self.close()
    }

    /// The status goes before the effects it announces, but after the Secret that it tells of.
    fn close(mut self) -> Decision<CertificateStep> {
        if !self.steps.iter().any(|step| matches!(step, CertificateStep::WriteStatus(_))) {
            let effects = std::mem::take(&mut self.steps);
            self.write_status();
            self.steps.extend(effects);
        }
        self.steps.extend(self.notes.into_iter().map(CertificateStep::Publish));
        Decision { steps: self.steps, wake: self.wake }
    }
}

const READY_TEXT: &str = "Certificate is up to date and has not expired";

fn is_dying<K: Resource>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some()
}
