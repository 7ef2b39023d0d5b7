//! The decision about a Certificate while it is being made.

mod answer;
mod fallback;
mod next_key;
mod pace;
mod renewal_information;
mod revocation;
mod silence;
mod spread;
mod tell;
mod unfit;
mod upkeep;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt};

use super::{CertificateStep, SeenCertificate, ignored_wishes, is_issuing, next_revision, revision_of};
use crate::{
    api::{
        CertificateRequest, CertificateRequestStatus, CertificateStatus, Condition, IssuerReference, find_condition,
        names::{condition, event, reason},
        set_condition,
    },
    decide::{
        Decision, Note, Trouble, Wake,
        fallback::Fallback,
        fixed_name, later,
        policy::{self, Inputs, Violation},
        renewal,
        secret::{self, Content},
        template,
    },
    pki::{ParsedCertificate, PrivateKey},
};
use answer::{issue_of, obstacle, refusal_of, verified_leaf};
use pace::{Restraint, with_next_attempt};
use tell::HeldUp;

/// Nothing tells us when somebody else's object makes room, so we look again after this time.
const STRANGERS_STAY: SignedDuration = SignedDuration::from_mins(1);

/// How long an issuance by an issuer that needs nobody else may take before it is written about.
/// Five hundred certificates at once take a while.
const PROMPT: SignedDuration = SignedDuration::from_secs(30);

/// What is seen, the status to be, the steps so far.
pub(super) struct Plan<'a> {
    seen: &'a SeenCertificate<'a>,
    now: Timestamp,
    pub(super) status: CertificateStatus,
    steps: Vec<CertificateStep>,
    notes: Vec<Note>,
    wake: Wake,
    held_up: Option<HeldUp>,
    /// Whether the issuance goes on without anything being written about it.
    is_prompt: bool,
    /// What people should know about a certificate that is ready all the same, and the reason of the event about it.
    remark: Option<(&'static str, String)>,
    /// Why the renewal time is not what the spec asks for.
    renewal_problem: Option<String>,
    fallback: Fallback,
    /// Whose certificate this pass stores.
    issued_by: Option<IssuerReference>,
    /// About which certificate the CA is asked when to renew it. The answer may take a while, so that comes last.
    question: Option<String>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(seen: &'a SeenCertificate<'a>, now: Timestamp) -> Self {
        let status = seen.certificate.status.clone().unwrap_or_default();
        let (steps, notes) = (Vec::new(), Vec::new());
        Self {
            seen,
            now,
            status,
            steps,
            notes,
            wake: Wake::OnChange,
            held_up: None,
            is_prompt: false,
            remark: None,
            renewal_problem: None,
            fallback: Fallback::of(seen.certificate),
            issued_by: None,
            question: None,
        }
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

    /// The Secret belongs to something else.
    pub(super) fn keep_off(self, why: &str) -> Decision<CertificateStep> {
        let secret = &self.seen.certificate.spec.secret_name;
        let text = format!("The Secret {secret:?} {why}, so it is left alone; choose another spec.secretName");
        self.leave_off(reason::SECRET_OF_ANOTHER, &text)
    }

    fn leave_off(mut self, reason: &str, text: &str) -> Decision<CertificateStep> {
        self.status.conditions.retain(|condition| condition.type_ != condition::ISSUING);
        self.drop_next_keys();
        self.warn_once(reason, text);
        self.set(condition::READY, "False", reason, text);
        self.close()
    }

    /// No certificate is being issued: is one to be?
    pub(super) fn begin_or_rest(mut self) -> Decision<CertificateStep> {
        self.look_at_dates();
        let is_news = self.note_what_was_stored();
        match self.issuance_reason() {
            None => self.rest(),
            Some(violation) => match self.restraint() {
                Some(restraint) => self.hold_back(restraint),
                // What is news is in the status before another revision begins.
                None if self.may_be_prompt() && !is_news => return self.issue_promptly(&violation),
                None => self.begin(&violation),
            },
        }
        self.finish()
    }

    /// What is in the Secret is as good as a new certificate.
    fn rest(&mut self) {
        self.drop_next_keys();
        self.forget_old_requests();
        self.end_restraint();
        self.settle_failure();
        self.keep_in_order();
        self.revoke_on_demand();
        self.ask_for_renewal_information();
    }

    fn hold_back(&mut self, restraint: Restraint) {
        self.drop_next_keys();
        self.wake = self.wake.min(Wake::At(restraint.until));
        self.restrain(restraint);
        self.keep_in_order();
        self.revoke_on_demand();
    }

    /// Key, request, certificate: one after the other.
    pub(super) fn pursue(mut self) -> Decision<CertificateStep> {
        self.look_at_dates();
        if self.is_needless() {
            return self.call_off();
        }
        // A CA that cannot be asked to revoke does not hold up the certificate that is to take the place.
        if self.seen.trouble.is_none() {
            self.revoke_on_demand();
        }
        self.go_on()
    }

    /// Whether the issuance under way was begun for a reason that is gone: the spec was put back, the Secret restored. What
    /// somebody has asked for by hand goes on.
    fn is_needless(&self) -> bool {
        let began = find_condition(&self.status.conditions, condition::ISSUING);
        let is_ours = began.and_then(|began| began.reason.as_deref()).is_some_and(policy::is_reason);
        is_ours && self.issuance_reason().is_none()
    }

    fn call_off(mut self) -> Decision<CertificateStep> {
        self.status.conditions.retain(|condition| condition.type_ != condition::ISSUING);
        self.note_what_was_stored();
        self.rest();
        let current = self.status.revision.unwrap_or_default();
        let is_open = |request: &CertificateRequest| {
            !request.status.as_ref().is_some_and(CertificateRequestStatus::is_final) && !is_dying(request)
        };
        let later = self.seen.requests.iter().filter(|request| revision_of(request) > Some(current));
        self.steps.extend(later.filter(|request| is_open(request)).cloned().map(CertificateStep::DeleteRequest));
        self.finish()
    }

    fn go_on(mut self) -> Decision<CertificateStep> {
        if let Some(trouble) = self.seen.trouble
            && self.now < trouble.next_try()
        {
            self.wake = self.wake.min(Wake::At(trouble.next_try()));
            self.hold_up(Some(event::REQUEST_FAILED), trouble.sentence());
            return self.finish();
        }
        let is_no_news =
            |trouble: &&Trouble| trouble.is_for_want_of_a_right() || self.is_told_to_hold_up(&trouble.sentence());
        if let Some(trouble) = self.seen.trouble.filter(is_no_news) {
            // Nor is trying again, however often.
            self.hold_up(None, trouble.sentence());
        }
        match self.usable_next_key() {
            Some(key) => self.pursue_with(&key),
            None => self.finish(),
        }
    }

    /// Dates follow from the Secret, whatever else is going on.
    fn look_at_dates(&mut self) {
        let leaf = self.seen.secret.and_then(policy::leaf_of);
        self.set_dates(leaf.as_ref());
        let dates = [self.status.renewal_time.as_ref(), self.status.not_after.as_ref()].into_iter().flatten();
        for at in dates.map(|time| time.0) {
            if at > self.now {
                self.wake = self.wake.min(Wake::At(at));
            }
        }
    }

    fn set_dates(&mut self, leaf: Option<&ParsedCertificate>) {
        let certificate = self.seen.certificate;
        self.update_renewal_information(leaf);
        let seed = leaf.and_then(|leaf| self.renewal_seed(leaf));
        let seed = seed.as_deref();
        self.status.not_before = leaf.map(|leaf| Time(leaf.not_before));
        self.status.not_after = leaf.map(|leaf| Time(leaf.not_after));
        let renewal = leaf.map(|leaf| {
            let (spec, not_before, not_after) = (&certificate.spec, leaf.not_before, leaf.not_after);
            self.suggested_renewal(leaf, renewal::desired_or_jittered(spec, not_before, not_after, seed))
                .unwrap_or_else(|| renewal::renewal_time(spec, not_before, not_after, seed))
        });
        let regular = renewal.as_ref().and_then(|renewal| renewal.at);
        let demanded = leaf.and_then(|_| self.demanded_renewal());
        self.status.renewal_time = regular.into_iter().chain(demanded).min().map(Time);
        self.renewal_problem = renewal.and_then(|renewal| renewal.problem);
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            certificate: self.seen.certificate,
            secret: self.seen.secret,
            current_request: self.request_of(self.status.revision),
            renewal_time: self.status.renewal_time.as_ref().map(|time| time.0),
            spares: &self.fallback.spares,
        }
    }

    fn request_of(&self, revision: Option<i64>) -> Option<&'a CertificateRequest> {
        let revision = revision?;
        self.seen.requests.iter().find(|request| revision_of(request) == Some(revision)).map(|request| &**request)
    }

    fn next_revision(&self) -> i64 {
        next_revision(self.status.revision)
    }

    fn begin(&mut self, violation: &Violation) {
        self.announce(violation);
        // Written before the key exists, so that a key is never lost sight of.
        self.status.next_private_key_secret_name = Some(self.fixed_key_name());
        self.store_held_key();
        self.notes.push(Note::normal(event::ISSUING, &violation.message));
    }

    fn announce(&mut self, violation: &Violation) {
        // The issuer may have answered before; its answer belongs to this issuance all the same.
        let began = self.seen.held_key.map_or(self.now, |held| held.since.min(self.now));
        let why = self.with_what_came_before(&violation.message);
        let message = self.with_first_choice(&why);
        self.set_since(began, condition::ISSUING, "True", violation.reason, &message);
    }

    /// Whether the issuance can be over before anybody could watch it. Then nothing is written about its being under
    /// way: a crash loses nothing, because the key of the issuance has a fixed name and an owner, or because the issuer
    /// signs for another one just as well.
    ///
    /// A stored key is dated by the API server, in whole seconds. If its clock is behind ours, that the issuance is under way
    /// is written although it need not be; if it is ahead, so much later.
    fn may_be_prompt(&self) -> bool {
        self.seen.issuer_is_prompt && self.key_time().is_none_or(|began| self.now < later(began, PROMPT))
    }

    /// When the key of the issuance under way was made: by the API server's clock if it is stored, by ours if it is held.
    fn key_time(&self) -> Option<Timestamp> {
        let stored = self.seen.next_keys.iter().filter_map(|key| key.creation_timestamp()).map(|time| time.0);
        stored.chain(self.seen.held_key.map(|held| held.since)).min()
    }

    fn issue_promptly(mut self, violation: &Violation) -> Decision<CertificateStep> {
        self.is_prompt = true;
        if self.seen.next_keys.is_empty() && self.seen.held_key.is_none() {
            self.notes.push(Note::normal(event::ISSUING, &violation.message));
        }
        self.wake = self.wake.min(Wake::At(later(self.now, PROMPT)));
        self.go_on()
    }

    fn pursue_with(mut self, key: &PrivateKey) -> Decision<CertificateStep> {
        let revision = self.next_revision();
        let name = fixed_name::certificate_request(&self.seen.certificate.name_any(), revision);
        let is_of_this_issuance =
            |request: &CertificateRequest| revision_of(request) == Some(revision) || request.name_any() == name;
        let spec = self.spec_in_force();
        let requests = self.seen.requests.iter().filter(|request| is_of_this_issuance(request));
        let (dying, living): (Vec<_>, Vec<_>) = requests.partition(|request| is_dying(&***request));
        let (fitting, unfit): (Vec<_>, Vec<_>) = living.into_iter().partition(|request| {
            revision_of(request) == Some(revision)
                && policy::request_is_current(&spec, request, key)
                && !self.ended_before_this_issuance(request)
        });
        if fitting.is_empty() && dying.is_empty() && self.lets_stay(&unfit, &spec, key) {
            return self.finish();
        }
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
        let recent = self.recent_issuances();
        let issuer = self.spec_in_force().issuer_ref;
        let mut marks = self.marks();
        if self.spare_in_use().is_some() {
            // Only its own CA knows the certificate that is replaced.
            marks.replaces = None;
        }
        self.steps.push(CertificateStep::CreateRequest { name, revision, key_secret, recent, issuer, marks });
        self.notes.push(Note::normal(event::REQUESTED, text));
    }

    /// A request that was answered earlier, well or badly, is not asked once more.
    fn ended_before_this_issuance(&self, request: &CertificateRequest) -> bool {
        if self.is_younger_than_stored_key(request) {
            return false;
        }
        let Some(end) = refusal_of(request).or_else(|| issue_of(request)) else { return false };
        let failed_at = request.status.as_ref().and_then(|status| status.failure_time.as_ref());
        let ended_at = failed_at.or(end.last_transition_time.as_ref());
        let failed = self.status.last_failure_time.as_ref();
        // A key that is kept may be held anew after a crash; what was signed for it meanwhile is still to be stored.
        if self.is_prompt && refusal_of(request).is_none() && failed < ended_at {
            return false;
        }
        let announced = find_condition(&self.status.conditions, condition::ISSUING)
            .filter(|issuing| issuing.is_true())
            .and_then(|issuing| issuing.last_transition_time.as_ref().map(|time| time.0));
        // An issuance may be announced only after its key was made.
        let began = [announced, self.key_time()].into_iter().flatten().min();
        matches!((ended_at, began), (Some(ended_at), Some(began)) if ended_at.0 < began)
    }

    /// The API server dates both, so that this is so whatever its clock says. The end of a request is dated by ours: compared
    /// with a key that seems to be made later, it would be of no use, and the same would be asked for again and again.
    fn is_younger_than_stored_key(&self, request: &CertificateRequest) -> bool {
        let stored = self.seen.next_keys.iter().filter_map(|key| key.creation_timestamp()).min();
        stored.zip(request.creation_timestamp()).is_some_and(|(key, request)| key.0 <= request.0)
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
            return match verified_leaf(&status.certificate.unwrap_or_default().0, key, request, self.now) {
                Ok(leaf) => self.complete(request, &leaf, key, revision),
                Err(why) => {
                    self.fail(reason::INVALID_CERTIFICATE, &why);
                    self.finish()
                }
            };
        }
        let (obstacle, silence) = (ready.and_then(obstacle), self.silence(request));
        let is_left = self.turn_to_spare(request, obstacle.as_deref().unwrap_or("it has not answered yet"));
        match (silence, obstacle) {
            _ if is_left => {}
            (Some(silence), _) => self.hold_up_in_silence(silence),
            (None, Some(obstacle)) => self.hold_up(None, obstacle),
            // What there was to try has been done.
            (None, None) => self.held_up = None,
        }
        self.apply_temporary();
        self.finish()
    }

    fn fail(&mut self, reason: &str, why: &str) {
        let cause = self.cause(reason, why);
        self.status.failed_issuance_attempts = Some(self.failed_attempts(cause));
        self.status.last_failure_time = Some(Time(self.now));
        let next = later(self.now, self.wait_after_failure(cause));
        let text = format!("The certificate request has failed to complete and will be retried: {why}");
        self.set(condition::ISSUING, "False", reason, &with_next_attempt(&text, Some(next)));
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
        let mut content = Content::of_request(request, certificate, pem);
        content.revoked = self.settled_revocation();
        self.issued_by = Some(request.spec.issuer_ref.clone());
        let wanted = match self.wanted_secret(&content, leaf) {
            Ok(wanted) => wanted,
            Err(why) => {
                self.hold_up(Some(event::KEYSTORE_PASSWORD_SECRET_NOT_FOUND), why);
                return self.finish();
            }
        };
        self.steps.push(CertificateStep::ApplySecret(Box::new(wanted)));
        self.status.revision = Some(revision);
        self.status.last_failure_time = None;
        self.status.failed_issuance_attempts = None;
        self.set_dates(Some(leaf));
        self.status.conditions.retain(|condition| condition.type_ != condition::ISSUING);
        self.tell_sound();
        self.status.next_private_key_secret_name = None;
        self.write_status();
        self.drop_next_keys();
        self.notes.push(Note::normal(event::ISSUING, "The certificate has been successfully issued"));
        self.close()
    }

    /// The Secret may have been written without anything being noted of it, if a crash or a lost answer came in between.
    /// True if so.
    fn note_what_was_stored(&mut self) -> bool {
        let revision = self.next_revision();
        let stored = self.seen.secret.and_then(|held| secret::entry(held, secret::TLS_CERT));
        let is_stored = |request: &CertificateRequest| {
            let issued = request.status.as_ref().and_then(|status| status.certificate.as_ref());
            issue_of(request).is_some() && stored.is_some() && issued.map(|issued| issued.0.as_slice()) == stored
        };
        let is_news = self.request_of(Some(revision)).is_some_and(is_stored);
        if is_news {
            self.status.revision = Some(revision);
            self.status.last_failure_time = None;
            self.status.failed_issuance_attempts = None;
        }
        is_news
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

    fn set(&mut self, type_: &str, status: &str, reason: &str, message: &str) {
        self.set_since(self.now, type_, status, reason, message);
    }

    fn set_since(&mut self, since: Timestamp, type_: &str, status: &str, reason: &str, message: &str) {
        let new = Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            observed_generation: self.seen.certificate.metadata.generation,
            ..Condition::default()
        };
        set_condition(&mut self.status.conditions, new, since);
    }

    fn write_status(&mut self) {
        if self.status != self.seen.certificate.status.clone().unwrap_or_default() {
            self.steps.push(CertificateStep::WriteStatus(Box::new(self.status.clone())));
        }
    }

    fn finish(mut self) -> Decision<CertificateStep> {
        if self.is_prompt && self.held_up.is_none() && !self.has_failed() {
            // What the end of the issuance will say is not worth a write before.
            let effects = std::mem::take(&mut self.steps);
            self.steps = effects.into_iter().chain(self.notes.into_iter().map(CertificateStep::Publish)).collect();
            return Decision { steps: self.steps, wake: self.wake };
        }
        self.tell();
        self.close()
    }

    /// Whether this pass has found that the issuance failed.
    fn has_failed(&self) -> bool {
        self.status.last_failure_time.as_ref().is_some_and(|failed| failed.0 == self.now)
    }

    /// The status goes before the effects it announces, but after the Secret that it tells of.
    fn close(mut self) -> Decision<CertificateStep> {
        if !self.steps.iter().any(|step| matches!(step, CertificateStep::WriteStatus(_))) {
            let effects = std::mem::take(&mut self.steps);
            self.write_status();
            self.steps.extend(effects);
        }
        self.steps.extend(self.notes.into_iter().map(CertificateStep::Publish));
        let ask = |certificate_id| CertificateStep::CheckRenewalInformation { certificate_id };
        self.steps.extend(self.question.map(ask));
        Decision { steps: self.steps, wake: self.wake }
    }
}

fn is_dying<K: Resource>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// When a request was made.
fn request_time(request: &CertificateRequest) -> Option<Timestamp> {
    request.creation_timestamp().map(|time| time.0)
}
