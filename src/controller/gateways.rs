//! The Gateway by which a route of a Challenge is reached: the one that it is to hang on, or that of a ListenerSet.

use kube::api::DynamicObject;

use super::route;
use crate::{
    api::Challenge,
    cluster::{ApiError, Cluster, ObjectName},
    http01::{
        check::NoWay,
        listener_set::{self, SetKind},
        parent::{Parent, parents},
    },
};

/// A Gateway, and the port at which it listens for the route.
pub(super) struct Found {
    pub(super) name: ObjectName,
    pub(super) gateway: DynamicObject,
    pub(super) port: u16,
}

/// What is said of a parent that is not there.
const MISSING: &str = "does not exist; create it or correct parentRefs of the solver";

/// The first of the route's parents by which something can come, or why nothing comes by the first of them. None if none is known.
pub(super) async fn of(cluster: &Cluster, challenge: &Challenge) -> Result<Option<Result<Found, NoWay>>, ApiError> {
    let mut refusal = None;
    for parent in parents(challenge) {
        let found = match parent.set {
            None => directly(cluster, &parent).await?,
            Some(kind) => by_set(cluster, &parent, kind).await?,
        };
        match found {
            Some(Err(why)) => refusal = refusal.or(Some(Err(why))),
            Some(found) => return Ok(Some(found)),
            None => {}
        }
    }
    Ok(refusal)
}

async fn directly(cluster: &Cluster, parent: &Parent) -> Result<Option<Result<Found, NoWay>>, ApiError> {
    let name = ObjectName::new(parent.namespace.clone(), parent.name.clone());
    // Where even the kind is missing nothing is said: nobody knows then what leads to the routes.
    let Some(kind) = route::gateway_kind(cluster).await? else { return Ok(None) };
    Ok(Some(match cluster.read_unwatched(&name, &kind).await? {
        Some(gateway) => Ok(Found { port: parent.listener_port(&gateway), name, gateway }),
        None => Err(NoWay { place: format!("the Gateway {name}"), why: MISSING.to_owned() }),
    }))
}

async fn by_set(cluster: &Cluster, parent: &Parent, kind: &SetKind) -> Result<Option<Result<Found, NoWay>>, ApiError> {
    let name = ObjectName::new(parent.namespace.clone(), parent.name.clone());
    let called = format!("the {} {name}", kind.kind);
    let is_missing = |place: String, why: &str| Ok(Some(Err(NoWay { place, why: why.to_owned() })));
    let Some(version) = cluster.served_version(kind.group, kind.plural, kind.versions).await? else {
        return is_missing(called, "is of a kind that this cluster does not have");
    };
    let Some(set) = cluster.read_unwatched(&name, &kind.resource(version)).await? else {
        return is_missing(called, MISSING);
    };
    let Some((namespace, gateway)) = listener_set::gateway_name(&set) else { return Ok(None) };
    let name = ObjectName::new(namespace, gateway);
    let Some(gateway) = read(cluster, &name).await? else {
        return is_missing(format!("the Gateway {name}, to which {called} adds its listeners,"), "does not exist");
    };
    Ok(Some(match listener_set::refusal(&set, &gateway, &called) {
        Some(refusal) => Err(refusal),
        None => Ok(Found { port: parent.listener_port(&set), name, gateway }),
    }))
}

async fn read(cluster: &Cluster, name: &ObjectName) -> Result<Option<DynamicObject>, ApiError> {
    match route::gateway_kind(cluster).await? {
        Some(kind) => cluster.read_unwatched(name, &kind).await,
        None => Ok(None),
    }
}
