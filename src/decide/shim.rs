//! The Certificates of an Ingress, a Gateway or a ListenerSet that names an issuer in an annotation: which there are to be, and
//! what is to be done about those that are there. It is the contract of cert-manager's ingress-shim and gateway-shim.

mod annotations;
mod blocks;
mod csv;
mod issuer;
mod listeners;
#[cfg(test)]
mod properties;
mod route;
#[cfg(test)]
mod tests;
mod update;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kube::{ResourceExt, api::ObjectMeta};

use super::{
    Decision, Note,
    certificate::{Features, problem},
    children,
};
use crate::{
    api::{
        Certificate, CertificateSpec, IssuerReference, Source, SourceKind,
        names::{GROUP, KIND_ISSUER, event, label},
        source::Marks,
    },
    pki::names::parse_ip_address,
};
use annotations::Wishes;
use blocks::{Block, Blocks};

/// What the operator chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The kinds that Certificates are made from. Of a ListenerSet's Gateway only the annotations are read if its kind is not here.
    pub kinds: Vec<SourceKind>,
    pub marks: Marks,
    /// The issuer of those that name none; its kind and group also complete what others say.
    pub default_issuer: IssuerReference,
    /// Protocols of listeners, besides HTTPS and TLS, for which there are certificates.
    pub extra_protocols: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let (kind, group) = (Some(KIND_ISSUER.to_owned()), Some(GROUP.to_owned()));
        Self {
            kinds: vec![SourceKind::Ingress, SourceKind::Gateway, SourceKind::ListenerSet],
            marks: Marks::default(),
            default_issuer: IssuerReference { name: String::new(), kind, group },
            extra_protocols: Vec::new(),
        }
    }
}

/// Everything that the decision rests on.
pub struct SeenSource<'a> {
    pub kind: SourceKind,
    pub source: &'a Source,
    /// Of a ListenerSet: the annotations of the Gateway that it adds to, which count where it says nothing itself.
    pub parent: Option<&'a BTreeMap<String, String>>,
    /// The Certificates that have the name of a Secret it refers to, and those that it controls; each of them once.
    pub certificates: &'a [Arc<Certificate>],
}

/// An effect that can follow.
#[derive(Clone, Debug, PartialEq)]
pub enum ShimStep {
    Create(Box<Certificate>),
    /// Makes the first what the second is.
    Update(Arc<Certificate>, Box<Certificate>),
    Delete(Arc<Certificate>),
    /// What its owner has to put right.
    Tell(Note),
}

/// Who asks for no certificates keeps those that are there: only their owner deletes them.
pub fn decide(seen: &SeenSource<'_>, settings: &Settings) -> Decision<ShimStep> {
    let own = seen.source.annotations();
    let is_worked_on = settings.kinds.contains(&seen.kind) && seen.source.metadata.deletion_timestamp.is_none();
    let is_marked = settings.marks.are_on(seen.kind, own)
        || seen.parent.is_some_and(|annotations| settings.marks.are_on(seen.kind, annotations));
    if !is_worked_on || !is_marked {
        return Decision::rest();
    }
    let issuer = match issuer::of(own, seen.parent, &settings.default_issuer) {
        Ok(issuer) => issuer,
        Err(problem) => return Decision::act(vec![bad_config(issuer::complaint(seen.kind, &problem))]),
    };
    let Blocks { blocks, complaints } = match seen.kind {
        SourceKind::Ingress => blocks::of(seen.source),
        SourceKind::Gateway | SourceKind::ListenerSet => listeners::of(seen.source, &settings.extra_protocols),
    };
    let mut steps: Vec<_> = complaints.into_iter().map(bad_config).collect();
    let kept: BTreeSet<&str> = seen.source.secret_names().collect();
    match Wishes::of(own) {
        Ok(wishes) => {
            for block in &blocks {
                let wanted = certificate(seen, settings, (&issuer, &wishes), block);
                steps.extend(step(seen, wanted, &block.path));
            }
        }
        Err(complaint) => steps.push(bad_config(complaint)),
    }
    steps.extend(unrequired(seen, &kept));
    Decision::act(steps)
}

/// What makes the Certificate what it is to be. One that somebody else controls, or nobody, is left alone.
fn step(seen: &SeenSource<'_>, wanted: Certificate, path: &str) -> Option<ShimStep> {
    let name = wanted.name_any();
    let held = seen.certificates.iter().find(|held| held.name_any() == name);
    let is_theirs = |held: &&Arc<Certificate>| {
        held.metadata.deletion_timestamp.is_some() || !children::is_owned_by(&held.metadata, seen.source)
    };
    if held.is_some_and(|held| is_theirs(&held)) {
        return None;
    }
    if let Err(error) = problem(&wanted.spec, Features::default()) {
        return Some(bad_config(format!("Skipped a {}: {path}: {error}", blocks::called(seen.kind))));
    }
    match held {
        None => Some(ShimStep::Create(Box::new(wanted))),
        Some(held) => update::due(held, &wanted).map(|updated| ShimStep::Update(held.clone(), Box::new(updated))),
    }
}

/// The Certificates of Secrets that are not referred to any more. One of another name, which somebody else has made for the object,
/// may keep such a Secret too.
fn unrequired(seen: &SeenSource<'_>, kept: &BTreeSet<&str>) -> Vec<ShimStep> {
    let is_kept = |held: &Certificate| kept.contains(&*held.name_any()) || kept.contains(&*held.spec.secret_name);
    let is_unrequired = |held: &&Arc<Certificate>| {
        children::is_owned_by(&held.metadata, seen.source)
            && held.metadata.deletion_timestamp.is_none()
            && !is_kept(held)
    };
    seen.certificates.iter().filter(is_unrequired).cloned().map(ShimStep::Delete).collect()
}

fn certificate(
    seen: &SeenSource<'_>,
    settings: &Settings,
    (issuer, wishes): (&IssuerReference, &Wishes),
    block: &Block,
) -> Certificate {
    let annotations = route::annotations(seen, &settings.marks.copied);
    let labels = seen.source.metadata.labels.clone().map(|mut labels| {
        labels.remove(label::APPLYSET_PART_OF);
        labels
    });
    Certificate {
        metadata: ObjectMeta {
            namespace: seen.source.namespace(),
            name: Some(block.secret.clone()),
            labels: labels.filter(|labels| !labels.is_empty()),
            annotations: (!annotations.is_empty()).then_some(annotations),
            owner_references: seen.source.owner_reference(seen.kind).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: spec(issuer, wishes, block),
        status: None,
    }
}

fn spec(issuer: &IssuerReference, wishes: &Wishes, block: &Block) -> CertificateSpec {
    let mut spec = wishes.spec.clone();
    let further = (std::mem::take(&mut spec.dns_names), std::mem::take(&mut spec.ip_addresses));
    for host in &block.hosts {
        let list = if parse_ip_address(host).is_ok() { &mut spec.ip_addresses } else { &mut spec.dns_names };
        push_new(list, host);
    }
    further.0.iter().for_each(|name| push_new(&mut spec.dns_names, name));
    further.1.iter().for_each(|address| push_new(&mut spec.ip_addresses, address));
    CertificateSpec { secret_name: block.secret.clone(), issuer_ref: issuer.clone(), ..spec }
}

fn push_new(list: &mut Vec<String>, text: &str) {
    if !list.iter().any(|held| held == text) {
        list.push(text.to_owned());
    }
}

fn bad_config(text: String) -> ShimStep {
    ShimStep::Tell(Note::warning(event::BAD_CONFIG, text))
}

/// What is told of a step: of a [`ShimStep::Tell`] at once, of the others when they are done.
pub fn note(step: &ShimStep) -> Note {
    let text =
        |done: &str, certificate: &Certificate| format!("Successfully {done} Certificate {:?}", certificate.name_any());
    match step {
        ShimStep::Create(certificate) => Note::normal(event::CREATE_CERTIFICATE, text("created", certificate)),
        ShimStep::Update(certificate, _) => Note::normal(event::UPDATE_CERTIFICATE, text("updated", certificate)),
        ShimStep::Delete(certificate) => {
            Note::normal(event::DELETE_CERTIFICATE, text("deleted unrequired", certificate))
        }
        ShimStep::Tell(note) => note.clone(),
    }
}
