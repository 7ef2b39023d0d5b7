//! What to do about a Certificate.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::Time};
use kube::{Resource, ResourceExt};

use super::{
    Decision, Note, Trouble, Wake, backoff, fixed_name,
    policy::{self, Inputs, Violation},
    renewal, secret, template,
};
use crate::{
    api::{
        Certificate, CertificateRequest, CertificateStatus, Condition, find_condition,
        names::{annotation, condition, event, reason},
        set_condition,
    },
    pki::{Encoding, KeyAlgorithm, ParsedCertificate, ParsedRequest, PrivateKey},
};

/// Everything that the decision rests on.
pub struct SeenCertificate<'a> {
    pub certificate: &'a Certificate,
    /// The target Secret.
    pub secret: Option<&'a Secret>,
    /// The Secret that holds the key of the issuance under way.
    pub next_key: Option<&'a Secret>,
    /// The CertificateRequests that this Certificate owns.
    pub requests: &'a [Arc<CertificateRequest>],
    /// The other Certificates of the namespace that name the same Secret.
    pub rivals: &'a [Arc<Certificate>],
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
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            owner_reference: false,
            least_wait: SignedDuration::from_hours(1),
            most_wait: SignedDuration::from_hours(32),
        }
    }
}

/// Every effect that can follow.
#[derive(Clone, Debug, PartialEq)]
pub enum CertificateStep {
    ApplySecret(Box<Secret>),
    CreateNextKey {
        name: String,
        key: NextKey,
    },
    /// Creates the CertificateRequest of this revision for the key in this Secret.
    CreateRequest {
        name: String,
        revision: i64,
        key_secret: String,
    },
    DeleteNextKey(String),
    DeleteRequest(Arc<CertificateRequest>),
    WriteStatus(Box<CertificateStatus>),
    Publish(Note),
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
        return Decision::rest();
    }
    let mut plan = Plan::new(seen, now);
    if let Some(error) = spec_problem(certificate) {
        return plan.refuse(&error);
    }
    if let Some(owner) = rightful_owner(seen) {
        return plan.stand_back(&owner);
    }
    plan.look_at_secret();
    if is_issuing(&plan.status) {
        if let Some(trouble) = seen.trouble
            && now < trouble.next_try()
        {
            return plan.wait_for(trouble);
        }
        return plan.pursue();
    }
    plan.begin_or_rest()
}

/// What no issuer could make a certificate from.
fn spec_problem(certificate: &Certificate) -> Option<String> {
    let spec = &certificate.spec;
    if spec.secret_name.is_empty() {
        return Some("spec.secretName: is empty; name the Secret that shall hold the certificate".to_owned());
    }
    if spec.issuer_ref.name.is_empty() {
        return Some("spec.issuerRef.name: is empty; name the issuer that shall sign".to_owned());
    }
    template::key_algorithm(spec)
        .err()
        .or_else(|| template::request_template(spec).err())
        .map(|error| error.to_string())
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

fn is_issuing(status: &CertificateStatus) -> bool {
    find_condition(&status.conditions, condition::ISSUING).is_some_and(Condition::is_true)
}

fn revision_of(request: &CertificateRequest) -> Option<i64> {
    request.annotations().get(annotation::CERTIFICATE_REVISION)?.parse().ok()
}

/// The decision while it is being made: what is seen, the status to be, the steps so far.
struct Plan<'a> {
    seen: &'a SeenCertificate<'a>,
    now: Timestamp,
    status: CertificateStatus,
    leaf: Option<ParsedCertificate>,
    steps: Vec<CertificateStep>,
    notes: Vec<Note>,
    wake: Wake,
}

impl<'a> Plan<'a> {
    fn new(seen: &'a SeenCertificate<'a>, now: Timestamp) -> Self {
        let status = seen.certificate.status.clone().unwrap_or_default();
        Self { seen, now, status, leaf: None, steps: Vec::new(), notes: Vec::new(), wake: Wake::OnChange }
    }

    fn refuse(mut self, error: &str) -> Decision<CertificateStep> {
        let text = format!("Nothing is requested, because the spec is invalid: {error}");
        if is_issuing(&self.status) {
            self.status.conditions.retain(|condition| condition.type_ != condition::ISSUING);
        }
        self.note_if_new(reason::INVALID_SPEC, &text);
        self.set(condition::READY, "False", reason::INVALID_SPEC, &text);
        self.finish()
    }

    fn stand_back(mut self, owner: &str) -> Decision<CertificateStep> {
        let secret = &self.seen.certificate.spec.secret_name;
        let text = format!(
            "The Secret {secret:?} belongs to the Certificate {owner:?}, which names it too; give this one its own \
             spec.secretName"
        );
        self.note_if_new(reason::INCORRECT_CERTIFICATE, &text);
        self.set(condition::READY, "False", reason::INCORRECT_CERTIFICATE, &text);
        self.finish()
    }

    /// Dates and readiness follow from the Secret, whatever else is going on.
    fn look_at_secret(&mut self) {
        self.leaf = self.seen.secret.and_then(policy::leaf_of);
        let spec = &self.seen.certificate.spec;
        let dates = self.leaf.as_ref().map(|leaf| (leaf.not_before, leaf.not_after));
        self.status.not_before = dates.map(|(not_before, _)| Time(not_before));
        self.status.not_after = dates.map(|(_, not_after)| Time(not_after));
        self.status.renewal_time =
            dates.map(|(not_before, not_after)| Time(renewal::renewal_time(spec, not_before, not_after)));
        let (status, reason, text) = match policy::unreadiness(&self.inputs(), self.now) {
            Some(Violation { reason, message }) => ("False", reason, message),
            None => ("True", reason::READY, "Certificate is up to date and has not expired".to_owned()),
        };
        let text = match self.obstacle() {
            Some(obstacle) if status == "False" => format!("{text}: {obstacle}"),
            _ => text,
        };
        self.set(condition::READY, status, reason, &text);
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
        self.status.revision.unwrap_or_default().saturating_add(1)
    }

    /// What keeps the issuance under way from going on, in the words of its CertificateRequest. The usual steps of an
    /// issuance are not obstacles.
    fn obstacle(&self) -> Option<String> {
        if !is_issuing(&self.status) {
            return None;
        }
        let request = self.request_of(Some(self.next_revision()))?;
        let ready = find_condition(&request.status.as_ref()?.conditions, condition::READY)?;
        let text = ready.message.clone()?;
        let is_usual = ready.reason.as_deref() != Some(reason::PENDING) || text.starts_with("Created Order resource ");
        (!is_usual).then_some(text)
    }

    fn begin_or_rest(mut self) -> Decision<CertificateStep> {
        self.drop_next_key();
        let Some(violation) = policy::issuance_reason(&self.inputs(), self.now) else {
            self.forget_old_requests();
            return self.finish();
        };
        if let Some(until) = self.waiting_until() {
            self.wake = self.wake.min(Wake::At(until));
            return self.finish();
        }
        self.steps.retain(|step| !matches!(step, CertificateStep::DeleteNextKey(_)));
        let certificate = self.seen.certificate;
        let uid = certificate.uid().unwrap_or_default();
        let name = fixed_name::next_private_key(&certificate.name_any(), &uid, self.next_revision());
        self.set(condition::ISSUING, "True", violation.reason, &violation.message);
        // Written before the key exists, so that a key is never lost sight of.
        self.status.next_private_key_secret_name = Some(name);
        self.notes.push(Note::normal(event::ISSUING, violation.message));
        self.finish()
    }

    /// Until when a failed issuance is not repeated. A changed spec is tried at once.
    fn waiting_until(&self) -> Option<Timestamp> {
        let failed_at = self.status.last_failure_time.as_ref()?.0;
        if let Some(request) = self.request_of(Some(self.next_revision())) {
            let parsed = ParsedRequest::from_pem(&request.spec.request.0);
            let spec = &self.seen.certificate.spec;
            if parsed.is_ok_and(|parsed| !policy::outdated_fields(spec, request, &parsed).is_empty()) {
                return None;
            }
        }
        let Settings { least_wait, most_wait, .. } = *self.seen.settings;
        let attempts = self.status.failed_issuance_attempts.unwrap_or_default();
        let until = failed_at + backoff::after_failed_issuances(attempts, least_wait, most_wait);
        (until > self.now).then_some(until)
    }

    fn wait_for(mut self, trouble: &Trouble) -> Decision<CertificateStep> {
        self.wake = self.wake.min(Wake::At(trouble.next_try()));
        let text = trouble.sentence();
        self.note_if_new(event::REQUEST_FAILED, &text);
        self.finish()
    }

    /// Key, request, certificate: one after the other.
    fn pursue(mut self) -> Decision<CertificateStep> {
        let Some(key) = self.usable_next_key() else { return self.finish() };
        let revision = self.next_revision();
        let (fitting, others): (Vec<_>, Vec<_>) = self
            .seen
            .requests
            .iter()
            .filter(|request| revision_of(request) == Some(revision))
            .partition(|request| policy::request_is_current(&self.seen.certificate.spec, request, &key));
        self.steps.extend(others.into_iter().map(|request| CertificateStep::DeleteRequest(request.clone())));
        let Some(request) = fitting.first() else {
            self.request(revision);
            return self.finish();
        };
        if self.failed_before_this_issuance(request) {
            self.steps.push(CertificateStep::DeleteRequest((*request).clone()));
            return self.finish();
        }
        self.follow(request, &key, revision);
        self.finish()
    }

    /// The key of this issuance, or the steps that lead to one.
    fn usable_next_key(&mut self) -> Option<PrivateKey> {
        let spec = &self.seen.certificate.spec;
        let wanted = template::key_algorithm(spec).ok()?;
        let uid = self.seen.certificate.uid().unwrap_or_default();
        let name = self.status.next_private_key_secret_name.clone().unwrap_or_else(|| {
            fixed_name::next_private_key(&self.seen.certificate.name_any(), &uid, self.next_revision())
        });
        self.status.next_private_key_secret_name = Some(name.clone());
        let held = self
            .seen
            .next_key
            .map(|held| secret::entry(held, secret::TLS_KEY).and_then(|pem| PrivateKey::from_pem(pem).ok()));
        match held {
            Some(Some(key)) if key.algorithm() == wanted => Some(key),
            Some(_) => {
                let text = "Regenerating private key due to change in fields: [spec.privateKey]";
                self.notes.push(Note::normal(event::DELETED, text));
                self.steps.push(CertificateStep::DeleteNextKey(name));
                None
            }
            None => {
                let key = self.next_key(wanted);
                let text = match key {
                    NextKey::Generate(_) => format!("Stored new private key in temporary Secret resource {name:?}"),
                    NextKey::Reuse(_) => {
                        format!("Reusing private key stored in existing Secret resource {:?}", spec.secret_name)
                    }
                };
                let event = if matches!(key, NextKey::Generate(_)) { event::GENERATED } else { event::REUSED };
                self.steps.push(CertificateStep::CreateNextKey { name, key });
                self.notes.push(Note::normal(event, text));
                None
            }
        }
    }

    fn next_key(&self, wanted: KeyAlgorithm) -> NextKey {
        let policy = self.seen.certificate.spec.private_key.as_ref().and_then(|key| key.rotation_policy.as_deref());
        let held = self.seen.secret.and_then(|held| secret::entry(held, secret::TLS_KEY));
        let held = held.and_then(|pem| PrivateKey::from_pem(pem).ok()).filter(|key| key.algorithm() == wanted);
        match (policy, held.and_then(|key| key.to_pem(Encoding::Pkcs8).ok())) {
            (Some("Never"), Some(pem)) => NextKey::Reuse(pem),
            _ => NextKey::Generate(wanted),
        }
    }

    fn request(&mut self, revision: i64) {
        let name = fixed_name::certificate_request(&self.seen.certificate.name_any(), revision);
        let key_secret = self.status.next_private_key_secret_name.clone().unwrap_or_default();
        let text = format!("Created new CertificateRequest resource {name:?}");
        self.steps.push(CertificateStep::CreateRequest { name, revision, key_secret });
        self.notes.push(Note::normal(event::REQUESTED, text));
    }

    fn failed_before_this_issuance(&self, request: &CertificateRequest) -> bool {
        let failed_at = request.status.as_ref().and_then(|status| status.failure_time.as_ref());
        let began = find_condition(&self.status.conditions, condition::ISSUING)
            .and_then(|issuing| issuing.last_transition_time.as_ref());
        matches!((failed_at, began), (Some(failed_at), Some(began)) if failed_at.0 < began.0)
    }

    /// What the issuer made of the request.
    fn follow(&mut self, request: &CertificateRequest, key: &PrivateKey, revision: i64) {
        let status = request.status.clone().unwrap_or_default();
        let has = |type_: &str| find_condition(&status.conditions, type_).filter(|found| found.is_true());
        let ready = find_condition(&status.conditions, condition::READY);
        let ready_reason = ready.and_then(|ready| ready.reason.as_deref());
        let refusal = has(condition::DENIED)
            .or_else(|| has(condition::INVALID_REQUEST))
            .or_else(|| ready.filter(|_| matches!(ready_reason, Some(reason::FAILED | reason::DENIED))));
        if let Some(refusal) = refusal {
            let reason = refusal.reason.clone().unwrap_or_default();
            let why = refusal.message.clone().unwrap_or_default();
            self.fail(&reason, &why);
        } else if ready_reason == Some(reason::ISSUED) {
            match verified_leaf(&status.certificate.clone().unwrap_or_default().0, key, self.now) {
                Ok(leaf) => self.complete(request, &leaf, key, revision),
                Err(why) => self.fail(reason::INVALID_CERTIFICATE, &why),
            }
        }
    }

    fn fail(&mut self, reason: &str, why: &str) {
        let attempts = self.status.failed_issuance_attempts.unwrap_or_default().saturating_add(1);
        self.status.last_failure_time = Some(Time(self.now));
        self.status.failed_issuance_attempts = Some(attempts);
        let Settings { least_wait, most_wait, .. } = *self.seen.settings;
        let next = self.now + backoff::after_failed_issuances(attempts, least_wait, most_wait);
        let next = Timestamp::from_second(next.as_second()).unwrap_or(next);
        let text = format!("The certificate request has failed to complete and will be retried: {why}");
        self.set(
            condition::ISSUING,
            "False",
            reason,
            &format!("{text} (next attempt at {next}, or when the spec changes)"),
        );
        self.wake = self.wake.min(Wake::At(next));
        self.notes.push(Note::warning(reason, text));
    }

    fn complete(&mut self, request: &CertificateRequest, leaf: &ParsedCertificate, key: &PrivateKey, revision: i64) {
        let certificate = self.seen.certificate;
        let Ok(pem) = key.to_pem(template::key_encoding(&certificate.spec)) else {
            return self
                .fail(reason::INVALID_KEY_PAIR, "the private key cannot be written in the encoding of the spec");
        };
        let type_ = self.seen.secret.and_then(|held| held.type_.as_deref());
        let owner_reference = self.seen.settings.owner_reference;
        let wanted = secret::wanted(certificate, request, leaf, pem, type_, owner_reference);
        self.steps.push(CertificateStep::ApplySecret(Box::new(wanted)));
        let key_secret = self.status.next_private_key_secret_name.take();
        self.status.revision = Some(revision);
        self.status.last_failure_time = None;
        self.status.failed_issuance_attempts = None;
        self.status.not_before = Some(Time(leaf.not_before));
        self.status.not_after = Some(Time(leaf.not_after));
        let renewal = renewal::renewal_time(&certificate.spec, leaf.not_before, leaf.not_after);
        self.status.renewal_time = Some(Time(renewal));
        self.status.conditions.retain(|condition| condition.type_ != condition::ISSUING);
        self.set(condition::READY, "True", reason::READY, "Certificate is up to date and has not expired");
        self.write_status();
        self.steps.extend(key_secret.map(CertificateStep::DeleteNextKey));
        self.notes.push(Note::normal(event::ISSUING, "The certificate has been successfully issued"));
    }

    /// Without an issuance there is no next key.
    fn drop_next_key(&mut self) {
        if let Some(name) = self.status.next_private_key_secret_name.take()
            && self.seen.next_key.is_some()
        {
            self.steps.push(CertificateStep::DeleteNextKey(name));
        }
    }

    fn forget_old_requests(&mut self) {
        let kept = usize::try_from(self.seen.certificate.spec.revision_history_limit.unwrap_or(1).max(1)).unwrap_or(1);
        let mut numbered: Vec<_> =
            self.seen.requests.iter().filter_map(|request| Some((revision_of(request)?, request))).collect();
        numbered.sort_by_key(|(revision, _)| std::cmp::Reverse(*revision));
        let old = numbered.into_iter().skip(kept);
        self.steps.extend(old.map(|(_, request)| CertificateStep::DeleteRequest(request.clone())));
    }

    fn note_if_new(&mut self, event: &str, text: &str) {
        let known = self
            .seen
            .certificate
            .status
            .as_ref()
            .and_then(|status| find_condition(&status.conditions, condition::READY)?.message.clone());
        if known.as_deref() != Some(text) {
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

    /// The status goes before the effects it announces, but after the Secret that it tells of.
    fn finish(mut self) -> Decision<CertificateStep> {
        if !self.steps.iter().any(|step| matches!(step, CertificateStep::WriteStatus(_))) {
            let effects = std::mem::take(&mut self.steps);
            self.write_status();
            self.steps.extend(effects);
        }
        self.steps.extend(self.notes.into_iter().map(CertificateStep::Publish));
        Decision { steps: self.steps, wake: self.wake }
    }
}

/// The first certificate of the chain, if it is for this key and in force.
fn verified_leaf(chain: &[u8], key: &PrivateKey, now: Timestamp) -> Result<ParsedCertificate, String> {
    let chain = ParsedCertificate::from_pem_chain(chain)
        .map_err(|error| format!("The issuer returned something that is no certificate chain: {error}"))?;
    crate::pki::verify_chain_links(&chain).map_err(|error| format!("The issuer returned a broken chain: {error}"))?;
    let leaf = chain.into_iter().next().ok_or("The issuer returned no certificate")?;
    if !leaf.matches_key(key) {
        return Err("The issuer returned a certificate for another key than the one requested".to_owned());
    }
    if leaf.not_after <= now {
        return Err(format!("The issuer returned a certificate that expired at {}", leaf.not_after));
    }
    Ok(leaf)
}
