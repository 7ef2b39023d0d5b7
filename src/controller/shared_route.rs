//! Which questions share a route, and what this process knows of the objects that lead them to the controller.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use kube::{ResourceExt, api::ObjectMeta};

use super::{Context, held_issuer::HeldIssuer, route::Told};
use crate::{
    api::{Challenge, Order, names::annotation},
    cluster::{ObjectName, owner_entry},
    decide::{
        challenge::wants_value,
        fixed_name,
        order::wanted_child::{self, Wishes},
        progress::Progress,
    },
    http01::question::Question,
};

/// What is known of more routes than this may be forgotten: that costs a look at them.
const MOST_KNOWN: usize = 1000;

/// The routes of this process, each with a lock: one pass at a time works on a route, for all whose questions it leads.
#[derive(Default)]
pub struct SharedRoutes(Mutex<HashMap<ObjectName, Arc<tokio::sync::Mutex<Known>>>>);

/// What this process knows of the objects of one route.
#[derive(Default)]
pub struct Known {
    /// Whether the EndpointSlice names those who answer.
    pub has_endpoints: bool,
    /// Which it is, if this process has made it: then it need not be read to be deleted.
    pub(super) own_endpoints: Option<ObjectMeta>,
    /// What is led by an object that is not watched.
    pub led: BTreeSet<Question>,
    /// When it was last asked whether all is still there, and what was to be told of the route then.
    pub(super) looked: Option<Timestamp>,
    pub(super) told: Option<Told>,
    /// Whether all was taken away.
    pub is_gone: bool,
}

impl SharedRoutes {
    pub(super) fn of(&self, name: &ObjectName) -> Arc<tokio::sync::Mutex<Known>> {
        let mut routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if routes.len() >= MOST_KNOWN {
            routes.retain(|_, route| Arc::strong_count(route) > 1);
        }
        routes.entry(name.clone()).or_default().clone()
    }
}

/// What the route of this Challenge has to lead: the questions of all open Challenges that share it, and of those which their Order
/// is about to create, so that it need not be changed for each of them.
pub(super) fn questions(context: &Context, challenge: &Challenge) -> Vec<Question> {
    let siblings = siblings(context, challenge);
    let open = siblings.iter().filter(|sibling| wants_value(sibling)).map(|sibling| Question::of(sibling));
    let mut questions: BTreeSet<_> = open.chain([Question::of(challenge)]).collect();
    questions.extend(to_come(context, challenge).iter().map(Question::of));
    questions.into_iter().collect()
}

/// Whether another Challenge needs the route, or one that is about to be created will.
pub(super) fn is_needed(context: &Context, challenge: &Challenge) -> bool {
    let mut others =
        siblings(context, challenge).into_iter().filter(|other| other.metadata.uid != challenge.metadata.uid);
    others.any(|other| wants_value(&other)) || !to_come(context, challenge).is_empty()
}

/// The Challenges that share a route with this one.
fn siblings(context: &Context, challenge: &Challenge) -> Vec<Arc<Challenge>> {
    let Some((order, _)) = challenge.shared_route() else { return Vec::new() };
    let mut found = context.cluster.hub.challenges.indexed(&owner_entry(&order.uid));
    found.retain(|sibling| sibling.shared_route() == challenge.shared_route());
    found
}

/// The Challenges that the Order is about to create, as far as they will share the route.
fn to_come(context: &Context, challenge: &Challenge) -> Vec<Challenge> {
    let Some(order) = order_of(context, challenge) else { return Vec::new() };
    let hub = &context.cluster.hub;
    let held = hub.challenges.indexed(&owner_entry(&order.uid().unwrap_or_default())).len();
    let wanted = order.status.iter().flat_map(wanted_child::open_authorizations).count();
    if held >= wanted || Progress::of(&order) != Progress::Open {
        return Vec::new();
    }
    let namespace = order.namespace().unwrap_or_default();
    let issuer = HeldIssuer::look_up(hub, &order.spec.issuer_ref, &namespace);
    let Some(acme) = issuer.parts().and_then(|(spec, _)| spec.acme.as_ref()) else { return Vec::new() };
    let mut found = wanted_child::challenges(&Wishes {
        order: &order,
        acme,
        tls_alpn_01: issuer.annotation(annotation::TLS_ALPN_01),
        answerer: context.options.podless.answerer(issuer.annotation(annotation::HTTP01_SOLVER)),
    });
    found.retain(|wanted| {
        wanted.shared_route() == challenge.shared_route() && hub.challenges.get(&ObjectName::of(wanted)).is_none()
    });
    found
}

fn order_of(context: &Context, challenge: &Challenge) -> Option<Arc<Order>> {
    let (owner, _) = challenge.shared_route()?;
    let name = ObjectName::new(challenge.namespace().unwrap_or_default(), owner.name.clone());
    let order = context.cluster.hub.orders.get(&name)?;
    (order.metadata.uid.as_deref() == Some(&owner.uid)).then_some(order)
}

/// Name of the objects that lead to whoever answers the Challenge.
pub(super) fn name_of(challenge: &Challenge) -> ObjectName {
    ObjectName::new(challenge.namespace().unwrap_or_default(), fixed_name::http01_solver_of(challenge))
}
