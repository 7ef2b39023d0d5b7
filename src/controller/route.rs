//! The way by which the CA's question reaches an HTTP-01 solver: an Ingress, or an HTTPRoute of a Gateway.

use jiff::SignedDuration;
use kube::{ResourceExt, api::ApiResource};

use super::{
    Context,
    presenter::{existing, waited_since_presented},
    step_error::StepError,
};
use crate::{
    api::{Challenge, names::GATEWAY_GROUP},
    cluster::ObjectName,
    decide::fixed_name,
    http01::{objects, route},
};

/// A Gateway that has not taken the route until then is asked why.
const ROUTE_WAITED_FOR: SignedDuration = SignedDuration::from_secs(3);

/// Creates the Ingress or HTTPRoute; one that is there already is well.
pub(super) async fn create(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    let name = name_of(challenge);
    if route::gateway(challenge).is_none() {
        let ingress = objects::ingress(challenge, &name.name, &context.solver);
        return existing(context.cluster.create(&ingress).await);
    }
    let Some((version, kind)) = kind(context).await? else {
        return Err(StepError::transient(
            "Error presenting challenge: this cluster has no HTTPRoutes, which the solver's gatewayHTTPRoute needs; install the \
             Gateway API or use http01.ingress",
        ));
    };
    let wanted = route::route(challenge, &name.name, &context.solver, version);
    existing(context.cluster.create_unwatched(&wanted, &kind).await)
}

/// Deletes the HTTPRoute, if there is one. Ingresses are watched and found without it.
pub(super) async fn delete(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    if route::gateway(challenge).is_none() {
        return Ok(());
    }
    let Some((_, kind)) = kind(context).await? else { return Ok(()) };
    Ok(context.cluster.delete_unwatched(&name_of(challenge), &kind).await?)
}

/// Why no Gateway takes the route, as far as it tells. One that is gone is made again.
pub(super) async fn what_became_of_it(context: &Context, challenge: &Challenge) -> Result<Option<String>, StepError> {
    if route::gateway(challenge).is_none() || waited_since_presented(challenge) < ROUTE_WAITED_FOR {
        return Ok(None);
    }
    let Some((_, kind)) = kind(context).await? else { return Ok(None) };
    let name = name_of(challenge);
    if let Some(found) = context.cluster.read_unwatched(&name, &kind).await? {
        return Ok(route::rejection(&found).map(|why| format!("of the HTTPRoute {name}: {why}")));
    }
    create(context, challenge).await?;
    Ok(Some("the HTTPRoute was gone and is made again".to_owned()))
}

/// The newest version of the kind that the cluster has.
async fn kind(context: &Context) -> Result<Option<(&'static str, ApiResource)>, StepError> {
    let version = context.cluster.served_version(GATEWAY_GROUP, "httproutes", &route::VERSIONS).await?;
    Ok(version.map(|version| (version, route::resource(version))))
}

fn name_of(challenge: &Challenge) -> ObjectName {
    let name = fixed_name::http01_solver(&challenge.uid().unwrap_or_default());
    ObjectName::new(challenge.namespace().unwrap_or_default(), name)
}
