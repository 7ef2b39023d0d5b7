//! CertificateRequests: gather and act.

use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    Context,
    held_issuer::HeldIssuer,
    memory::Memory,
    round::{Round, event, step_name},
    step_error::StepError,
};
use crate::{
    api::CertificateRequest,
    cluster::{ApiError, Key, ObjectName},
    decide::{
        Wake, fixed_name,
        request::{RequestStep, SeenRequest, decide},
    },
};

pub(super) async fn round(context: &Context, key: &Key, memory: &mut Memory) -> Result<Round, StepError> {
    let hub = &context.cluster.hub;
    let Some(request) = hub.certificate_requests.get(&key.object) else {
        *memory = Memory::default();
        return Ok(Round::Rest(Wake::OnChange));
    };
    let uid = request.uid().unwrap_or_default();
    memory.keep_for(&uid);
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
            if matches!(created, Err(ApiError::Conflict { .. })) {
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
