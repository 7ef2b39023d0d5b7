//! The Service in front of whoever answers challenges over HTTP or TLS.

use k8s_openapi::{api::core::v1::Service, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::api::ApiResource;

use super::{Context, presenter::existing, shared_route::name_of, step_error::StepError};
use crate::{
    api::Challenge,
    cluster::ObjectName,
    http01::objects::{self, service_leads_as},
};

/// Creates the Service, unless it is there as it is wanted.
pub(super) async fn ensure(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    put(context, &objects::service(challenge, &name_of(challenge).name, &context.solver)).await
}

/// The same for one of another making. One that somebody has edited is made anew: certwright asks for no right to change Services.
pub(super) async fn put(context: &Context, wanted: &Service) -> Result<(), StepError> {
    let (name, services) = (ObjectName::of(wanted), &context.cluster.hub.solver_services);
    if let Some(found) = services.get(&name) {
        owned_alike("Service", &found.metadata, &wanted.metadata)?;
        if service_leads_as(&found, wanted) {
            return Ok(());
        }
        context.cluster.delete(&*found).await?;
    }
    existing(context.cluster.create(wanted).await)?;
    match services.get(&name) {
        Some(found) => owned_alike("Service", &found.metadata, &wanted.metadata),
        None => Ok(()),
    }
}

/// Deletes the Service, if it is there.
pub(super) async fn remove(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    let name = name_of(challenge);
    let wanted = objects::metadata(challenge, &name.name, &context.solver);
    match context.cluster.hub.solver_services.get(&name) {
        Some(found) if is_owned_alike(&found.metadata, &wanted) => Ok(context.cluster.delete(&*found).await?),
        _ => Ok(()),
    }
}

/// Deletes an object of this name of a kind that is not watched, if it is there and has the wanted owner.
pub(super) async fn remove_unwatched(
    context: &Context,
    name: &ObjectName,
    kind: &ApiResource,
    wanted: &ObjectMeta,
) -> Result<(), StepError> {
    match context.cluster.read_unwatched(name, kind).await? {
        Some(found) if is_owned_alike(&found.metadata, wanted) => {
            Ok(context.cluster.delete_unwatched(&found.metadata, kind).await?)
        }
        _ => Ok(()),
    }
}

/// Nothing is taken for ours because of its name.
pub(super) fn owned_alike(kind: &str, found: &ObjectMeta, wanted: &ObjectMeta) -> Result<(), StepError> {
    if is_owned_alike(found, wanted) {
        return Ok(());
    }
    let name = wanted.name.as_deref().unwrap_or_default();
    Err(StepError::transient(format!(
        "Error presenting challenge: the {kind} {name} is there already and belongs to somebody else; delete it"
    )))
}

pub(super) fn is_owned_alike(found: &ObjectMeta, wanted: &ObjectMeta) -> bool {
    let owner = |metadata: &ObjectMeta| {
        let mut owners = metadata.owner_references.iter().flatten();
        owners.find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone())
    };
    owner(found) == owner(wanted)
}
