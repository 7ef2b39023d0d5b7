//! A Certificate that is being deleted, and what has to be done before it goes.

use jiff::Timestamp;
use kube::ResourceExt;

use super::{CertificateStep, Decision, SeenCertificate, finalizer as names};
use crate::{
    api::{
        Certificate, Condition, find_condition,
        names::{condition, event},
        set_condition,
    },
    decide::{
        Note, Trouble, TroubleClass, policy,
        revocation::{self, MOST_TRIES, Revoked},
    },
};

/// The finalizer that the annotations ask for, or ask for no more.
pub(super) fn finalizer(seen: &SeenCertificate<'_>) -> Option<CertificateStep> {
    let is_wanted = revocation::on_delete(seen.certificate).is_some();
    match (is_wanted, has_finalizer(seen)) {
        (true, false) if seen.issuer_revokes => Some(CertificateStep::AddFinalizer),
        (false, true) => Some(CertificateStep::RemoveFinalizer),
        _ => None,
    }
}

/// Has the certificate revoked if that was asked for. Nothing holds the Certificate for ever.
pub(super) fn decide(seen: &SeenCertificate<'_>, now: Timestamp) -> Decision<CertificateStep> {
    let mut steps: Vec<_> = seen.held_key.map(|_| CertificateStep::DropHeldKey).into_iter().collect();
    if !has_finalizer(seen) {
        return Decision::act(steps);
    }
    match revocation::on_delete(seen.certificate).filter(|_| is_left_to_revoke(seen)) {
        None => steps.push(CertificateStep::RemoveFinalizer),
        Some(wish) => match seen.trouble {
            Some(trouble) if trouble.class == TroubleClass::Final || trouble.failures >= MOST_TRIES => {
                let text = format!("The certificate was not revoked: {}", trouble.message);
                steps.push(CertificateStep::Publish(Note::warning(event::REVOCATION_FAILED, text)));
                steps.push(CertificateStep::RemoveFinalizer);
            }
            Some(trouble) if trouble.next_try() > now => {
                steps.extend(why_it_stays(seen.certificate, trouble, now));
                return Decision::act(steps).or_at(trouble.next_try());
            }
            _ => steps.push(CertificateStep::Revoke(wish)),
        },
    }
    Decision::act(steps)
}

/// Tells in the Ready condition why the Certificate is still there, and in an event when that is news.
fn why_it_stays(certificate: &Certificate, trouble: &Trouble, now: Timestamp) -> Vec<CertificateStep> {
    let former = certificate.status.clone().unwrap_or_default();
    let known = find_condition(&former.conditions, condition::READY).cloned();
    let known_text = known.as_ref().and_then(|known| known.message.clone()).unwrap_or_default();
    let text =
        format!("Not deleted before the certificate is revoked or {MOST_TRIES} tries fail: {}", trouble.sentence());
    let ready = Condition {
        message: Some(text),
        observed_generation: certificate.metadata.generation,
        ..known.unwrap_or_else(|| Condition {
            type_: condition::READY.to_owned(),
            status: "False".to_owned(),
            reason: Some(event::REVOCATION_FAILED.to_owned()),
            ..Condition::default()
        })
    };
    let mut status = former.clone();
    set_condition(&mut status.conditions, ready, now);
    let mut steps = Vec::new();
    if status != former {
        steps.push(CertificateStep::WriteStatus(Box::new(status)));
    }
    if !known_text.contains(&trouble.message) {
        steps.push(CertificateStep::Publish(Note::warning(event::REVOCATION_FAILED, &trouble.message)));
    }
    steps
}

fn has_finalizer(seen: &SeenCertificate<'_>) -> bool {
    seen.certificate.finalizers().iter().any(|set| set == names::REVOKE)
}

fn is_left_to_revoke(seen: &SeenCertificate<'_>) -> bool {
    let Some(secret) = seen.secret.filter(|_| seen.issuer_revokes) else { return false };
    let Some(pair) = policy::sound_pair(secret).filter(|pair| !policy::is_temporary(&pair.leaf)) else { return false };
    let noted = Revoked::of(secret);
    !noted.iter().chain(seen.revoked).any(|revoked| revoked.is_about(&pair.leaf))
}
