//! The way by which the CA's question reaches an HTTP-01 solver: an Ingress, a path more in somebody's Ingress, or an
//! HTTPRoute of a Gateway.

use jiff::SignedDuration;
use k8s_openapi::api::networking::v1::{Ingress, IngressRule};
use kube::{
    ResourceExt,
    api::{ApiResource, DynamicObject},
};
use serde_json::Value;

use super::{
    Context,
    presenter::{existing, waited_since_presented},
    step_error::StepError,
};
use crate::{
    api::{Challenge, names::GATEWAY_GROUP},
    cluster::{ApiError, Cluster, ObjectName, owner_entry},
    decide::fixed_name,
    http01::{in_place, objects, route},
};

/// A Gateway that has not taken the route until then is asked why.
const ROUTE_WAITED_FOR: SignedDuration = SignedDuration::from_secs(3);

/// Creates the Ingress or HTTPRoute, or adds the path; what is there already is well.
pub(super) async fn create(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    if let Some(ingress) = in_place::ingress_name(challenge) {
        return add_path(context, challenge, ingress).await;
    }
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

/// Deletes the HTTPRoute, or takes the path away, if there is one. Ingresses of our own are watched and found without it.
pub(super) async fn delete(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    if let Some(ingress) = in_place::ingress_name(challenge) {
        return remove_path(context, challenge, ingress).await;
    }
    if route::gateway(challenge).is_none() {
        return Ok(());
    }
    let Some((_, kind)) = kind(context).await? else { return Ok(()) };
    Ok(context.cluster.delete_unwatched(&name_of(challenge), &kind).await?)
}

/// Why no Gateway takes the route, as far as it tells. What is gone is made again.
pub(super) async fn what_became_of_it(context: &Context, challenge: &Challenge) -> Result<Option<String>, StepError> {
    if let Some(ingress) = in_place::ingress_name(challenge) {
        // Whoever manages the Ingress, such as a GitOps pipeline, may have put it back.
        add_path(context, challenge, ingress).await?;
        return Ok(None);
    }
    if route::gateway(challenge).is_none() {
        let owner = owner_entry(challenge.metadata.uid.as_deref().unwrap_or_default());
        if !context.cluster.hub.solver_ingresses.indexed(&owner).is_empty() {
            return Ok(None);
        }
        create(context, challenge).await?;
        return Ok(Some("the Ingress was gone and is made again".to_owned()));
    }
    if waited_since_presented(challenge) < ROUTE_WAITED_FOR {
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

async fn add_path(context: &Context, challenge: &Challenge, ingress: &str) -> Result<(), StepError> {
    let name = ObjectName::new(challenge.namespace().unwrap_or_default(), ingress);
    let Some(found) = context.cluster.read_unwatched(&name, &ingress_kind()).await? else {
        return Err(StepError::transient(format!(
            "Error presenting challenge: the Ingress {name}, which the solver names, does not exist"
        )));
    };
    let service = name_of(challenge).name;
    match in_place::with_path(&rules(&found)?, challenge, &service, &context.solver) {
        Some(rules) => write_rules(context, &found, &rules).await,
        None => Ok(()),
    }
}

async fn remove_path(context: &Context, challenge: &Challenge, ingress: &str) -> Result<(), StepError> {
    let name = ObjectName::new(challenge.namespace().unwrap_or_default(), ingress);
    let Some(found) = context.cluster.read_unwatched(&name, &ingress_kind()).await? else { return Ok(()) };
    match in_place::without_path(&rules(&found)?, challenge, &name_of(challenge).name) {
        Some(rules) => write_rules(context, &found, &rules).await,
        None => Ok(()),
    }
}

async fn write_rules(context: &Context, found: &DynamicObject, rules: &[IngressRule]) -> Result<(), StepError> {
    let value =
        if rules.is_empty() { None } else { Some(serde_json::to_value(rules).map_err(|error| odd(found, &error))?) };
    Ok(context.cluster.patch_unwatched(found, &ingress_kind(), "/spec/rules", value).await?)
}

fn rules(found: &DynamicObject) -> Result<Vec<IngressRule>, StepError> {
    match found.data.pointer("/spec/rules") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(rules) => serde_json::from_value(rules.clone()).map_err(|error| odd(found, &error)),
    }
}

fn odd(found: &DynamicObject, error: &serde_json::Error) -> StepError {
    StepError::transient(format!("The rules of the Ingress {} cannot be read: {error}", ObjectName::of(found)))
}

fn ingress_kind() -> ApiResource {
    ApiResource::erase::<Ingress>(&())
}

/// How Gateways are reached; `None` if the cluster has none.
pub(super) async fn gateway_kind(cluster: &Cluster) -> Result<Option<ApiResource>, ApiError> {
    let version = cluster.served_version(GATEWAY_GROUP, "gateways", &route::VERSIONS).await?;
    Ok(version.map(route::gateway_resource))
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
