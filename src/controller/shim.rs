//! Certificates from Ingresses and Gateways: gather and act.

use std::{collections::HashSet, sync::Arc};

use kube::ResourceExt;
use serde_json::{Value, json};

use super::{
    Context,
    memory::Memory,
    round::{Round, event},
    step_error::StepError,
};
use crate::{
    api::{Certificate, Source, SourceKind},
    cluster::{ApiError, Key, Kind, ObjectName, merge_patch, owner_entry},
    decide::{
        Note, Wake,
        shim::{SeenSource, ShimStep, decide, note},
    },
};

pub(super) async fn round(
    context: &Context,
    key: &Key,
    kind: SourceKind,
    memory: &mut Memory,
) -> Result<Round, StepError> {
    let hub = &context.cluster.hub;
    let Some(source) = hub.sources.get(key).filter(|_| hub.sources.is_heard_of(key)) else {
        *memory = Memory::default();
        return Ok(Round::Rest(Wake::OnChange));
    };
    memory.keep_for(source.metadata.uid.as_deref().unwrap_or_default());
    let certificates = certificates(context, &source);
    let parent = gateway(context, kind, &source);
    let parent = parent.as_ref().map(|gateway| gateway.annotations());
    let seen = SeenSource { kind, source: &source, parent, certificates: &certificates };
    let decision = decide(&seen, &context.options.shim);
    let (mut told, mut has_written, mut refusal) = (Vec::new(), false, None);
    for step in decision.steps {
        let note = note(&step);
        if let ShimStep::Tell(_) = step {
            told.push(note);
            continue;
        }
        match act(context, kind, step).await {
            Ok(()) => {
                has_written = true;
                tracing::info!(%key, "{}", note.text);
                context.cluster.publish(event(note).about_source(kind, &source.metadata));
            }
            // That one is refused says nothing of the others.
            Err(error @ ApiError::Refused { .. }) => refusal = refusal.or(Some(error)),
            Err(error) => return Err(StepError::Write(error)),
        }
    }
    tell(context, key, (kind, &source), told);
    match refusal {
        Some(refusal) => Err(StepError::Write(refusal)),
        None if has_written => Ok(Round::Again),
        None => Ok(Round::Rest(decision.wake)),
    }
}

/// That of a ListenerSet, if it asks for certificates itself.
fn gateway(context: &Context, kind: SourceKind, source: &Source) -> Option<Arc<Source>> {
    let (namespace, name) = source.parent_gateway().filter(|_| kind == SourceKind::ListenerSet)?;
    context.cluster.hub.sources.get(&Key::new(Kind::Source(SourceKind::Gateway), namespace, name))
}

/// Those that have the name of a Secret it refers to, and those that it controls.
fn certificates(context: &Context, source: &Source) -> Vec<Arc<Certificate>> {
    let (store, namespace) = (&context.cluster.hub.certificates, source.namespace().unwrap_or_default());
    let mut found = store.indexed(&owner_entry(source.metadata.uid.as_deref().unwrap_or_default()));
    let mut names: HashSet<String> = found.iter().map(|certificate| certificate.name_any()).collect();
    for name in source.secret_names() {
        if names.insert(name.to_owned()) {
            found.extend(store.get(&ObjectName::new(&namespace, name)));
        }
    }
    found
}

async fn act(context: &Context, kind: SourceKind, step: ShimStep) -> Result<(), ApiError> {
    let cluster = &context.cluster;
    match step {
        ShimStep::Create(certificate) => cluster.create_from_source(kind, &certificate).await,
        ShimStep::Update(held, updated) => cluster.write_from_source(kind, &held, difference(&held, &updated)).await,
        ShimStep::Delete(certificate) => cluster.delete(&*certificate).await,
        ShimStep::Tell(_) => Ok(()),
    }
}

/// Of metadata and spec.
fn difference(held: &Certificate, updated: &Certificate) -> Value {
    let part = |certificate: &Certificate| {
        json!({
            "metadata": { "labels": certificate.metadata.labels, "annotations": certificate.metadata.annotations },
            "spec": certificate.spec,
        })
    };
    merge_patch(&part(held), &part(updated)).unwrap_or_else(|| json!({}))
}

/// In the log and in events, once.
fn tell(context: &Context, key: &Key, (kind, source): (SourceKind, &Source), notes: Vec<Note>) {
    let texts = notes.iter().map(|note| note.text.clone()).collect();
    let new = context.cluster.hub.sources.tell(key, texts);
    for note in notes.into_iter().filter(|note| new.contains(&note.text)) {
        tracing::warn!(%key, "{}", note.text);
        context.cluster.publish(event(note).about_source(kind, &source.metadata));
    }
}
