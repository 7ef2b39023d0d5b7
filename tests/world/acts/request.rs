//! As `controller::request`.

use certwright::{
    cluster::{Key, ObjectName},
    decide::{
        Wake, fixed_name,
        request::{RequestStep, SeenRequest, decide},
        template::CopiedAnnotations,
    },
};
use kube::ResourceExt;

use super::{HeldIssuer, publish};
use crate::{
    process::{Failure, Memory, Process, Round},
    world::World,
};

pub fn round(process: &mut Process, world: &mut World, key: &Key, memory: &mut Memory) -> Result<Round, Failure> {
    let hub = process.hub.clone();
    let Some(request) = hub.certificate_requests.get(&key.object) else {
        *memory = Memory::default();
        return Ok(Round::Rest(Wake::OnChange));
    };
    let uid = request.uid().unwrap_or_default();
    memory.of(&uid);
    let issuer = HeldIssuer::look_up(&hub, &key.object.namespace, &request.spec.issuer_ref.name);
    let order = hub.orders.get(&ObjectName::new(&key.object.namespace, fixed_name::order(&key.object.name, &uid)));
    let copied_annotations = &CopiedAnnotations::default();
    let seen = SeenRequest { request: &request, issuer: issuer.seen(), order: order.as_deref(), copied_annotations };
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
            RequestStep::WriteStatus(status) => {
                world.api_status(&hub, &*request, &request.status.clone().unwrap_or_default(), &*status)?;
            }
            RequestStep::Publish(note) => publish(world, &request.name_any(), &note),
        }
    }
    Ok(round)
}
