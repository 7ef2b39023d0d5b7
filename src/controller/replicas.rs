//! The addresses at which the controller's replicas answer HTTP-01 challenges.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;

use super::Context;
use crate::http01::endpoints::{of_service, with_replicas};

/// What was read is taken for right for so long, so that a burst of challenges asks once.
const KEPT: SignedDuration = SignedDuration::from_secs(5);

/// Each holds a hundred addresses.
const MOST_SLICES: u32 = 10;

/// What was last read, and when.
#[derive(Default)]
pub struct Replicas(Mutex<Option<(Timestamp, BTreeSet<IpAddr>)>>);

/// The own address and those of the others that are ready, if the controller's Service is known.
pub(super) async fn addresses(context: &Context, own: IpAddr) -> BTreeSet<IpAddr> {
    let alone = BTreeSet::from([own]);
    let Some(service) = &context.options.own_service else { return alone };
    if let Some(known) = remembered(context) {
        return known;
    }
    let selected = ListParams::default().labels(&of_service(&service.name)).limit(MOST_SLICES);
    let slices = match context.cluster.list_unwatched::<EndpointSlice>(Some(&service.namespace), &selected).await {
        Ok(slices) => slices,
        Err(error) => {
            tracing::warn!(%error, "the other replicas are not known, so that only this one answers HTTP-01 challenges");
            return alone;
        }
    };
    let addresses = with_replicas(own, &slices);
    let mut kept = context.replicas.0.lock().unwrap_or_else(PoisonError::into_inner);
    *kept = Some((Timestamp::now(), addresses.clone()));
    addresses
}

fn remembered(context: &Context) -> Option<BTreeSet<IpAddr>> {
    let kept = context.replicas.0.lock().unwrap_or_else(PoisonError::into_inner);
    let (since, addresses) = kept.as_ref()?;
    (Timestamp::now().duration_since(*since) < KEPT).then(|| addresses.clone())
}
