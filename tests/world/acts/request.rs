//! As `controller::request`.

use certwright::{
    api::{CertificateRequest, CertificateRequestStatus, names::annotation},
    cluster::{Key, ObjectName, owner_entry},
    controller::signer,
    decide::{
        Wake,
        authority::SeenKey,
        fixed_name,
        order_of::order_of,
        request::{RequestStep, SeenRequest, decide},
        secret::{TLS_KEY, entry},
        template::CopiedAnnotations,
    },
    pki::PrivateKey,
};
use kube::ResourceExt;

use super::{HeldIssuer, Signer, publish, read_authority, read_secret};
use crate::{
    process::{Failure, Memory, Process, Round},
    world::{NAMESPACE, World, is_final},
};

pub fn round(process: &mut Process, world: &mut World, key: &Key, memory: &mut Memory) -> Result<Round, Failure> {
    let hub = process.hub.clone();
    let Some(request) = hub.certificate_requests.get(&key.object) else {
        *memory = Memory::default();
        return Ok(Round::Rest(Wake::OnChange));
    };
    let uid = request.uid().unwrap_or_default();
    memory.of(&uid);
    let issuer = HeldIssuer::look_up(&hub, &key.object.namespace, &request.spec.issuer_ref);
    let order_name = ObjectName::new(&key.object.namespace, fixed_name::order(&key.object.name, &uid));
    let order = order_of(hub.orders.get(&order_name), hub.orders.indexed(&owner_entry(&uid)));
    let copied_annotations = &CopiedAnnotations::default();
    let signer = signer_of(process, world, &issuer, &request);
    let seen = SeenRequest {
        request: &request,
        issuer: issuer.seen_with(&signer),
        order: order.as_deref(),
        copied_annotations,
        approves: world.approves,
        trouble: memory.trouble.as_ref(),
    };
    let decision = decide(&seen, world.now());
    let mut round = Round::Rest(decision.wake);
    for step in decision.steps {
        if !matches!(step, RequestStep::Publish(_)) {
            round = Round::Again;
        }
        match step {
            RequestStep::CreateOrder(order) => {
                let name = ObjectName::of(&*order);
                process.fresh_orders.insert(name.clone());
                let created = world.api_create(&hub, &*order);
                if matches!(created, Err(Failure::Overtaken)) {
                    process.fresh_orders.remove(&name);
                }
                created?;
            }
            RequestStep::Sign { not_before, not_after, status } => {
                let answer = signer::sign(&request, seen.issuer, (not_before, not_after)).map_err(is_final)?;
                let status =
                    CertificateRequestStatus { certificate: Some(answer.certificate), ca: answer.ca, ..*status };
                world.api_status(&hub, &*request, &request.status.clone().unwrap_or_default(), &status)?;
            }
            RequestStep::WriteStatus(status) => {
                world.api_status(&hub, &*request, &request.status.clone().unwrap_or_default(), &*status)?;
            }
            RequestStep::Publish(note) => publish(world, &request.name_any(), &note),
        }
    }
    Ok(round)
}

/// What the issuer signs with, if the request is still to be signed without ACME.
fn signer_of(process: &Process, world: &World, issuer: &HeldIssuer, request: &CertificateRequest) -> Signer {
    let HeldIssuer::Issuer(held) = issuer else { return Signer::None };
    let has_ended = request.status.as_ref().is_some_and(CertificateRequestStatus::is_final);
    if held.spec.acme.is_some() || has_ended {
        return Signer::None;
    }
    if let Some(ca) = &held.spec.ca {
        return Signer::Ca(read_authority(process, world, &ObjectName::new(NAMESPACE, &ca.secret_name)));
    }
    if held.spec.self_signed.is_some() {
        return Signer::SelfSigned(own_key(process, world, request));
    }
    Signer::None
}

fn own_key(process: &Process, world: &World, request: &CertificateRequest) -> SeenKey {
    let Some(named) = request.annotations().get(annotation::PRIVATE_KEY_SECRET_NAME) else { return SeenKey::Unnamed };
    let name = ObjectName::new(NAMESPACE, named);
    let Some(secret) = read_secret(process, world, &name) else {
        return SeenKey::Missing(format!("The Secret {name}"));
    };
    let key = entry(&secret, TLS_KEY).and_then(|pem| PrivateKey::from_pem(pem).ok());
    key.map_or_else(|| SeenKey::Unusable(format!("The Secret {name} has no usable private key")), SeenKey::Usable)
}
