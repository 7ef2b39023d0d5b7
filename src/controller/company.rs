//! Gathers the other Challenges of a Challenge's Order.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use super::Context;
use crate::{
    api::Challenge,
    cluster::{ObjectName, owner_entry},
    decide::company,
};

/// The other Challenges of the Order, in the order of their names.
pub(super) fn others(context: &Context, challenge: &Challenge) -> Vec<Arc<Challenge>> {
    let owners = challenge.metadata.owner_references.iter().flatten();
    let siblings = owners.flat_map(|owner| context.cluster.hub.challenges.indexed(&owner_entry(&owner.uid)));
    siblings.filter(|sibling| sibling.metadata.uid != challenge.metadata.uid).collect()
}

/// Until when another value of the Challenge's TXT record is waited for.
pub(super) fn awaited_until(
    context: &Context,
    challenge: &Challenge,
    others: &[Arc<Challenge>],
    now: Timestamp,
) -> Option<Timestamp> {
    let namespace = challenge.namespace().unwrap_or_default();
    let mut owners = challenge.metadata.owner_references.iter().flatten();
    let order = owners.find_map(|owner| {
        let order = context.cluster.hub.orders.get(&ObjectName::new(namespace.clone(), owner.name.clone()))?;
        (order.metadata.uid.as_deref() == Some(&owner.uid)).then_some(order)
    });
    company::awaited_until(challenge, order.as_deref(), others, now)
}
