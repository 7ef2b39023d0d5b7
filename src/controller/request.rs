//! CertificateRequests: gather and act.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    Context,
    certificate::event,
    memory::Memory,
    run::{Round, step_name},
    step_error::StepError,
};
use crate::{
    api::{
        CertificateRequest, ClusterIssuer, Issuer, IssuerReference, IssuerSpec, IssuerStatus, find_condition,
        names::{KIND_CLUSTER_ISSUER, KIND_ISSUER, condition},
    },
    cluster::{Hub, Key, ObjectName, WriteError},
    decide::{
        Wake, fixed_name,
        request::{RequestStep, SeenIssuerOf, SeenRequest, decide},
    },
};

pub(super) async fn round(context: &Context, key: &Key, memory: &mut Memory) -> Result<Round, StepError> {
    let hub = &context.cluster.hub;
    let Some(request) = hub.certificate_requests.get(&key.object) else {
        *memory = Memory::default();
        return Ok(Round::Rest(Wake::OnChange));
    };
    let uid = request.uid().unwrap_or_default();
    if memory.uid != uid {
        *memory = Memory { uid: uid.clone(), ..Memory::default() };
    }
    let issuer = HeldIssuer::look_up(hub, &request.spec.issuer_ref, &key.object.namespace);
    let order_name = ObjectName::new(&key.object.namespace, fixed_name::order(&key.object.name, &uid));
    let order = hub.orders.get(&order_name);
    let seen = SeenRequest {
        request: &request,
        issuer: issuer.seen(),
        order: order.as_deref(),
        copied_annotations: &context.options.copied_annotations,
    };
    let decision = decide(&seen, Timestamp::now());
    let mut round = Round::Rest(decision.wake);
    for step in decision.steps {
        tracing::debug!(%key, step = step_name(&step), "step");
        if !matches!(step, RequestStep::Publish(_)) {
            round = Round::Again;
        }
        act(context, &request, step).await?;
    }
    Ok(round)
}

async fn act(context: &Context, request: &CertificateRequest, step: RequestStep) -> Result<(), StepError> {
    let cluster = &context.cluster;
    match step {
        RequestStep::CreateOrder(order) => {
            let name = ObjectName::of(&*order);
            context.memories.note_fresh(name.clone());
            let created = cluster.create(&*order).await;
            if matches!(created, Err(WriteError::Conflict { .. })) {
                context.memories.take_fresh(&name);
            }
            created?;
        }
        RequestStep::WriteStatus(status) => {
            let former = request.status.clone().unwrap_or_default();
            cluster.write_status(request, &former, &*status).await?;
        }
        RequestStep::Publish(note) => cluster.publish(event(note).about(request)),
    }
    Ok(())
}

/// The issuer that an object refers to, as it lies in the stores.
pub(super) enum HeldIssuer {
    ClusterIssuer(Arc<ClusterIssuer>),
    Foreign,
    Issuer(Arc<Issuer>),
    Missing,
    UnknownKind,
}

impl HeldIssuer {
    pub(super) fn look_up(hub: &Hub, reference: &IssuerReference, namespace: &str) -> Self {
        if !reference.is_ours() {
            return Self::Foreign;
        }
        match reference.kind_or_default() {
            KIND_CLUSTER_ISSUER => hub
                .cluster_issuers
                .get(&ObjectName::new("", &reference.name))
                .map_or(Self::Missing, Self::ClusterIssuer),
            KIND_ISSUER => {
                hub.issuers.get(&ObjectName::new(namespace, &reference.name)).map_or(Self::Missing, Self::Issuer)
            }
            _ => Self::UnknownKind,
        }
    }

    /// As the decisions see it.
    pub(super) fn seen(&self) -> SeenIssuerOf<'_> {
        let Some((spec, status)) = self.parts() else {
            return match self {
                Self::Foreign => SeenIssuerOf::Foreign,
                Self::UnknownKind => {
                    SeenIssuerOf::Unserved("spec.issuerRef.kind is neither Issuer nor ClusterIssuer; correct it")
                }
                _ => SeenIssuerOf::Missing,
            };
        };
        match &spec.acme {
            Some(acme) => {
                let ready = status.and_then(|status| find_condition(&status.conditions, condition::READY));
                SeenIssuerOf::Acme { ready, acme }
            }
            None => SeenIssuerOf::Unserved(
                "The issuer is not an ACME issuer; this version of certwright signs with ACME issuers only",
            ),
        }
    }

    pub(super) fn parts(&self) -> Option<(&IssuerSpec, Option<&IssuerStatus>)> {
        match self {
            Self::ClusterIssuer(issuer) => Some((&issuer.spec, issuer.status.as_ref())),
            Self::Issuer(issuer) => Some((&issuer.spec, issuer.status.as_ref())),
            _ => None,
        }
    }
}
