//! Gather, decide and act, as the controller does it, in a world that is only a model.

pub mod certificate;
pub mod challenge;
pub mod issuer;
pub mod order;
pub mod request;

use certwright::{
    api::{Condition, Issuer, find_condition, names::condition},
    cluster::{Hub, ObjectName},
    decide::{Note, issuer_of::SeenIssuerOf},
};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

use super::world::World;

/// As in the controller.
const LOOKS: [i64; 6] = [50, 150, 500, 1000, 2000, 5000];

fn next_look(looks: u32, retry_after: Option<SignedDuration>, now: Timestamp) -> Timestamp {
    let index = usize::try_from(looks).unwrap_or(usize::MAX).min(LOOKS.len() - 1);
    now + retry_after.unwrap_or(SignedDuration::from_millis(LOOKS[index]))
}

fn publish(world: &mut World, about: &str, note: &Note) {
    world.events.push(format!("{about}: {} {}", note.reason, note.text));
}

/// The issuer `name`, as the decisions see it.
struct HeldIssuer(Option<Arc<Issuer>>);

impl HeldIssuer {
    fn look_up(hub: &Hub, namespace: &str, name: &str) -> Self {
        Self(hub.issuers.get(&ObjectName::new(namespace, name)))
    }

    fn seen(&self) -> SeenIssuerOf<'_> {
        let Some(issuer) = &self.0 else { return SeenIssuerOf::Missing };
        let Some(acme) = &issuer.spec.acme else { return SeenIssuerOf::Unserved("no ACME issuer") };
        let ready: Option<&Condition> =
            issuer.status.as_ref().and_then(|status| find_condition(&status.conditions, condition::READY));
        SeenIssuerOf::Acme { ready, acme }
    }
}
