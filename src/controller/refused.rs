//! What the API server refuses is told where people look for it: in the object that it holds up, in an event, and once in
//! the log.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use super::{Context, memory::Memory, round::event};
use crate::{
    api::{Challenge, MissingRight, names},
    cluster::{ApiError, Key, Kind, Scoped},
    decide::{Note, solver::Method, unread::Remark},
    http01::refusal,
};

/// What answers for a Challenge with a pod of its own, and without.
const SOLVER_KINDS: [&str; 3] = ["ingresses.networking.k8s.io", "pods", "services"];
const SHARED_KINDS: [&str; 2] = ["ingresses.networking.k8s.io", "services"];

/// A refusal, in the words in which it is told.
struct Refusal {
    text: String,
    right: Option<MissingRight>,
    /// Whether it is about the very status in which it would be told.
    is_of_status: bool,
}

impl Refusal {
    fn of(error: &ApiError) -> Option<Self> {
        let (what, message, is_of_status) = match error {
            ApiError::Refused { what, message, .. } => (what, message, false),
            ApiError::StatusRefused { what, message } => (what, message, true),
            _ => return None,
        };
        let right = MissingRight::of(message);
        let told = right.as_ref().map_or_else(|| refusal::of_any(message), MissingRight::sentence);
        Some(Self { text: format!("Failed to {what}: {told}"), right, is_of_status })
    }

    /// Whether the next decision about this kind of object can tell of it, as of any other effect that failed.
    fn is_trouble(&self, kind: Kind) -> bool {
        !self.is_of_status && !self.is_told_beside(kind) && !matches!(kind, Kind::Source(_) | Kind::Target(_))
    }

    /// Whether no decision can tell of it: what it would rest on cannot be read, or it has no words for it.
    fn is_told_beside(&self, kind: Kind) -> bool {
        let is_to_read = self.right.as_ref().is_some_and(MissingRight::is_to_read);
        !self.is_of_status && (kind == Kind::CertificateRequest || is_to_read)
    }
}

/// The trouble that a refusal is, if the next decision can tell of it.
pub(super) fn as_trouble(context: &Context, key: &Key, error: &ApiError, memory: &mut Memory) -> Option<String> {
    let refusal = Refusal::of(error).filter(|refusal| refusal.is_trouble(key.kind))?;
    note(context, &refusal, key, memory);
    // The decisions about the others send an event of their own.
    if matches!(key.kind, Kind::Challenge | Kind::Order) {
        publish(context, key, &refusal);
    }
    Some(refusal.text)
}

/// Tells of a write or a look that was refused once more, and that its object cannot tell of by itself.
pub(super) async fn tell(context: &Context, key: &Key, error: &ApiError, memory: &mut Memory) {
    let Some(refusal) = Refusal::of(error) else {
        return tracing::warn!(%key, %error, failures = memory.write_failures, "write failed");
    };
    note(context, &refusal, key, memory);
    publish(context, key, &refusal);
    if refusal.is_told_beside(key.kind)
        && let Err(error) = remark(context, key, &refusal.text).await
    {
        tracing::debug!(%key, %error, "cannot be told in the status");
    }
}

/// A line in the log, if it is news to this object and to the whole.
fn note(context: &Context, refusal: &Refusal, key: &Key, memory: &mut Memory) {
    let right = refusal.right.as_ref();
    let rights = &context.cluster.hub.rights;
    let is_news = right.is_none_or(|right| rights.note_missing(right, Timestamp::now()));
    if memory.refusal.as_deref() == Some(&refusal.text) {
        return;
    }
    memory.refusal = Some(refusal.text.clone());
    memory.missing_right = right.map(ToString::to_string);
    if is_news {
        tracing::warn!(%key, "{}", refusal.text);
    }
}

/// The kinds of a solver's objects whose watch is refused; without it nobody sees what becomes of them.
pub(super) fn unwatched(context: &Context, challenge: &Challenge) -> Option<String> {
    if Method::of(challenge) != Some(Method::Http01) {
        return None;
    }
    let kinds: &[&str] = if challenge.is_podless() { &SHARED_KINDS } else { &SOLVER_KINDS };
    let namespace = challenge.namespace().unwrap_or_default();
    let missing = context.cluster.hub.rights.missing_watches(kinds, &namespace, Timestamp::now());
    let list = missing.join(", ");
    (!list.is_empty()).then(|| format!("certwright has no right to {list}, and cannot see what becomes of the solver"))
}

/// Says of a Challenge that was presented what nobody will see.
pub(super) fn note_unwatched(context: &Context, challenge: &Challenge) {
    if let Some(text) = unwatched(context, challenge) {
        let note = Note::warning(names::event::REFUSED_BY_API_SERVER, text);
        context.cluster.publish(event(note).about(challenge));
    }
}

/// The object is at rest, so nothing was refused.
pub(super) fn is_over(context: &Context, memory: &mut Memory) {
    if memory.trouble.is_some() {
        return;
    }
    memory.refusal = None;
    if let Some(right) = memory.missing_right.take()
        && context.cluster.hub.rights.note_granted(&right)
    {
        tracing::info!("the right to {right} is there now");
    }
}

/// The same is not sent again as long as it goes on.
fn publish(context: &Context, key: &Key, refusal: &Refusal) {
    let note = Note::warning(names::event::REFUSED_BY_API_SERVER, &*refusal.text);
    let (hub, event) = (&context.cluster.hub, event(note));
    let event = match key.kind {
        Kind::Certificate => hub.certificates.get(&key.object).map(|object| event.about(&*object)),
        Kind::CertificateRequest => hub.certificate_requests.get(&key.object).map(|object| event.about(&*object)),
        Kind::Challenge => hub.challenges.get(&key.object).map(|object| event.about(&*object)),
        Kind::ClusterIssuer => hub.cluster_issuers.get(&key.object).map(|object| event.about(&*object)),
        Kind::Issuer => hub.issuers.get(&key.object).map(|object| event.about(&*object)),
        Kind::Order => hub.orders.get(&key.object).map(|object| event.about(&*object)),
        Kind::Source(kind) => hub.sources.get(key).map(|source| event.about_source(kind, &source.metadata)),
        Kind::Target(_) => None,
    };
    if let Some(event) = event {
        context.cluster.publish(event);
    }
}

async fn remark(context: &Context, key: &Key, text: &str) -> Result<(), ApiError> {
    let (hub, name) = (&context.cluster.hub, &key.object);
    match key.kind {
        Kind::Certificate => write(context, hub.certificates.get(name), |held| held.status.clone(), text).await,
        Kind::CertificateRequest => {
            write(context, hub.certificate_requests.get(name), |held| held.status.clone(), text).await
        }
        Kind::Challenge => write(context, hub.challenges.get(name), |held| held.status.clone(), text).await,
        Kind::ClusterIssuer => write(context, hub.cluster_issuers.get(name), |held| held.status.clone(), text).await,
        Kind::Issuer => write(context, hub.issuers.get(name), |held| held.status.clone(), text).await,
        Kind::Order => write(context, hub.orders.get(name), |held| held.status.clone(), text).await,
        Kind::Source(_) | Kind::Target(_) => Ok(()),
    }
}

async fn write<K: Scoped + Serialize, S: Remark + Default + Serialize>(
    context: &Context,
    held: Option<Arc<K>>,
    status: impl Fn(&K) -> Option<S>,
    text: &str,
) -> Result<(), ApiError> {
    let Some(held) = held.filter(|held| held.meta().deletion_timestamp.is_none()) else { return Ok(()) };
    let former = status(&held).unwrap_or_default();
    match former.remark(text, Timestamp::now()) {
        Some(wanted) => context.cluster.write_status(&*held, &former, &wanted).await,
        None => Ok(()),
    }
}
