//! CertificateRequests: gather and act.

use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    Context,
    account::secrets_namespace,
    held_issuer::{HeldIssuer, Signer},
    memory::Memory,
    round::{Round, event, step_name},
    signer,
    step_error::StepError,
};
use crate::{
    api::{CertificateRequest, CertificateRequestStatus, names},
    cluster::{ApiError, Key, ObjectName, owner_entry},
    decide::{
        Note, Wake, admittance, fixed_name,
        issuer_of::SeenIssuerOf,
        order_of::order_of,
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
    let order = order_of(hub.orders.get(&order_name), hub.orders.indexed(&owner_entry(&uid)));
    let now = Timestamp::now();
    let pause = context.approvals.pause(&request.spec.issuer_ref, &key.object.namespace, now);
    let signer = signer_of(context, &issuer, &request).await?;
    let refusal = admittance::of_request(&issuer.terms(&request.spec.issuer_ref), &request);
    let seen = SeenRequest {
        request: &request,
        issuer: issuer.seen_with(&signer).unless(refusal.as_deref()),
        order: order.as_deref(),
        copied_annotations: &context.options.copied_annotations,
        approves: context.options.approves && pause.is_none(),
        trouble: memory.trouble.as_ref(),
    };
    let mut decision = decide(&seen, now);
    if let Some(pause) = pause {
        decision = decision.or_at(pause);
    }
    let mut round = Round::Rest(decision.wake);
    for step in decision.steps {
        tracing::debug!(%key, step = step_name(&step), "step");
        if !matches!(step, RequestStep::Publish(_)) {
            round = Round::Again;
        }
        act(context, &seen, step).await?;
    }
    Ok(round)
}

/// What the issuer signs with, if the request is still to be signed without ACME.
async fn signer_of(context: &Context, issuer: &HeldIssuer, request: &CertificateRequest) -> Result<Signer, StepError> {
    let Some((spec, _)) = issuer.parts() else { return Ok(Signer::None) };
    if spec.acme.is_some() || request.status.as_ref().is_some_and(CertificateRequestStatus::is_final) {
        return Ok(Signer::None);
    }
    if let Some(ca) = &spec.ca {
        let namespace = secrets_namespace(context, issuer, &request.namespace().unwrap_or_default());
        let authority = signer::known_authority(context, &ObjectName::new(namespace, &ca.secret_name)).await?;
        return Ok(Signer::Ca(authority));
    }
    if spec.self_signed.is_some() {
        return Ok(Signer::SelfSigned(signer::own_key(context, request).await?));
    }
    Ok(Signer::None)
}

async fn act(context: &Context, seen: &SeenRequest<'_>, step: RequestStep) -> Result<(), StepError> {
    let (cluster, request) = (&context.cluster, seen.request);
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
        RequestStep::Sign { not_before, not_after, status } => {
            let signed = signer::sign(request, seen.issuer, (not_before, not_after)).map_err(StepError::is_final)?;
            let former = request.status.clone().unwrap_or_default();
            let status = CertificateRequestStatus { certificate: Some(signed.certificate), ca: signed.ca, ..*status };
            cluster.write_status(request, &former, &status).await?;
        }
        RequestStep::WriteStatus(status) => {
            let former = request.status.clone().unwrap_or_default();
            match cluster.write_status(request, &former, &*status).await {
                // All that is written to requests for others is that they are approved.
                Err(ApiError::StatusRefused { message, .. }) if matches!(seen.issuer, SeenIssuerOf::Foreign) => {
                    note_refused_approval(context, request, &message);
                }
                written => written?,
            }
        }
        RequestStep::Publish(note) => cluster.publish(event(note).about(request)),
    }
    Ok(())
}

fn note_refused_approval(context: &Context, request: &CertificateRequest, message: &str) {
    let namespace = request.namespace().unwrap_or_default();
    context.approvals.note_refusal(&request.spec.issuer_ref, &namespace, Timestamp::now());
    let text = format!("certwright may not approve this request: {message}");
    let note = Note::warning(names::event::WAITING_FOR_APPROVAL, text);
    context.cluster.publish(event(note).about(request));
}
