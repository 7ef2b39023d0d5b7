//! Gathers where Orders and Challenges come from.

use std::sync::Arc;

use kube::Resource;

use super::{Context, held_issuer::HeldIssuer};
use crate::{
    api::{CertificateRequest, Challenge, Order},
    cluster::{ObjectName, Store},
    decide::{admittance, progress::Progress},
};

/// Why the issuer does nothing for the Order, if so.
pub(super) fn refusal_of_order(context: &Context, order: &Order, issuer: &HeldIssuer) -> Option<String> {
    if Progress::of(order) != Progress::Open {
        return None;
    }
    let request = request_of(context, order);
    let terms = issuer.terms(&order.spec.issuer_ref);
    admittance::of_order(&terms, order, request.as_deref(), context.options.approves)
}

/// Why the issuer does nothing for the Challenge, if so. What it presented is taken away whatever has become of its Order.
pub(super) fn refusal_of_challenge(context: &Context, challenge: &Challenge, issuer: &HeldIssuer) -> Option<String> {
    let terms = issuer.terms(&challenge.spec.issuer_ref);
    let acme = issuer.parts().and_then(|(spec, _)| spec.acme.as_ref());
    let status = challenge.status.as_ref();
    let is_open = Progress::of_word(status.and_then(|status| status.state.as_deref())) == Progress::Open;
    if !is_open || challenge.meta().deletion_timestamp.is_some() {
        let is_ours = admittance::challenge_is_ours_to_end(&terms, challenge, acme);
        return (!is_ours).then(|| "its solver is none of the issuer's".to_owned());
    }
    if status.is_some_and(|status| status.presented) {
        return None;
    }
    let order = owner(&context.cluster.hub.orders, challenge);
    let request = order.as_deref().and_then(|order| request_of(context, order));
    let origin = (order.as_deref(), request.as_deref());
    admittance::of_challenge(&terms, challenge, origin, (acme, context.options.approves))
}

fn request_of(context: &Context, order: &Order) -> Option<Arc<CertificateRequest>> {
    owner(&context.cluster.hub.certificate_requests, order)
}

/// The object of the name that the controlling owner has; whether it is that owner is decided later.
fn owner<K: Resource<DynamicType = ()>, C: Resource>(store: &Store<K>, child: &C) -> Option<Arc<K>> {
    let owners = child.meta().owner_references.iter().flatten();
    let owner = owners.filter(|owner| owner.controller == Some(true)).find(|owner| owner.kind == K::kind(&()))?;
    store.get(&ObjectName::new(child.meta().namespace.clone().unwrap_or_default(), &owner.name))
}
