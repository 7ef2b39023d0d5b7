//! Putting answers to challenges in place, checking them, and taking them away again.

use std::net::SocketAddr;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::{
    Context, dns01, held_issuer::HeldIssuer, memory::Memory, podless, route, self_check, service::owned_alike,
    step_error::StepError, tls_alpn01,
};
use crate::{
    api::Challenge,
    cluster::{ApiError, ObjectName, owner_entry},
    decide::{backoff, fixed_name, solver::Method},
    http01::{objects, refusal},
};

/// Makes the answer visible to the CA. Doing it twice is as good as doing it once.
pub(super) async fn present(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    match Method::of(challenge) {
        Some(Method::Dns01) => dns01::present(context, challenge).await,
        Some(Method::Http01) if challenge.is_podless() => Box::pin(podless::present(context, challenge)).await,
        Some(Method::Http01) => Box::pin(present_http01(context, challenge)).await,
        Some(Method::TlsAlpn01) => Box::pin(tls_alpn01::present(context, challenge)).await,
        None => Err(unknown_type(challenge)),
    }
}

/// Whether the CA will see the answer; if not, what is missing, in one stable sentence.
pub(super) async fn check(
    context: &Context,
    challenge: &Challenge,
    issuer: &HeldIssuer,
    memory: &mut Memory,
) -> Result<Option<String>, StepError> {
    match Method::of(challenge) {
        Some(Method::Dns01) => {
            let missing = dns01::check(context, challenge, issuer, &mut memory.propagation)?;
            let longest = backoff::in_words(context.options.check_retry_period);
            Ok(missing.map(|missing| format!("{missing}; asked again within {longest}")))
        }
        Some(Method::Http01) => Box::pin(self_check::check(context, challenge, memory)).await,
        Some(Method::TlsAlpn01) => Box::pin(tls_alpn01::check(context, challenge)).await,
        None => Err(unknown_type(challenge)),
    }
}

/// Takes the answer away. That it is gone already is well.
pub(super) async fn clean_up(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    match Method::of(challenge) {
        Some(Method::Dns01) => dns01::clean_up(context, challenge).await,
        Some(Method::Http01) if challenge.is_podless() => podless::clean_up(context, challenge).await,
        Some(Method::Http01) => {
            route::remove(context, challenge).await?;
            remove_solver(context, challenge).await
        }
        Some(Method::TlsAlpn01) => tls_alpn01::clean_up(context, challenge).await,
        None => Ok(()),
    }
}

/// Changes whenever one of the Secrets does that the solver refers to.
pub(super) async fn credentials_version(context: &Context, challenge: &Challenge) -> Result<String, StepError> {
    dns01::credentials_version(context, challenge).await
}

fn unknown_type(challenge: &Challenge) -> StepError {
    StepError::is_final(format!("Challenges of type {:?} are not known", challenge.spec.type_))
}

async fn present_http01(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    if let Some(why) = objects::unsupported(challenge) {
        return Err(StepError::is_final(why));
    }
    let name = fixed_name::http01_solver(&challenge.uid().unwrap_or_default());
    let pod = objects::pod(challenge, &name, &context.solver)
        .map_err(|error| StepError::is_final(format!("The solver's podTemplate is wrong: {error}")))?;
    let service = objects::service(challenge, &name, &context.solver);
    let cluster = &context.cluster;
    // Where the pod is refused, nothing has to lead to it. The others are there long before it has started.
    existing_pod(cluster.create(&pod).await)?;
    if let Some(found) = cluster.hub.solver_pods.get(&ObjectName::of(&pod)) {
        owned_alike("Pod", &found.metadata, &pod.metadata)?;
    }
    let created = tokio::join!(cluster.create(&service), route::create(context, challenge));
    existing(created.0)?;
    created.1
}

/// As [`existing`], for the part that namespaces have the most rules for.
pub(super) fn existing_pod<T>(created: Result<T, ApiError>) -> Result<(), StepError> {
    match created {
        Err(error) if error.missing_right().is_some() => Err(error.into()),
        Err(ApiError::Refused { what, message, .. }) => {
            let told = refusal::told(&message);
            Err(StepError::transient(format!("Error presenting challenge: {what}: refused: {told}")))
        }
        other => existing(other),
    }
}

/// The names are fixed, so what is there already is what a former pass created.
pub(super) fn existing<T>(created: Result<T, ApiError>) -> Result<(), StepError> {
    match created {
        Ok(_) | Err(ApiError::Conflict { .. }) => Ok(()),
        // What goes for all kinds is told where all kinds are.
        Err(error) if error.missing_right().is_some() => Err(error.into()),
        Err(ApiError::Refused { what, message, .. }) => {
            let told = refusal::of_any(&message);
            Err(StepError::transient(format!("Error presenting challenge: {what}: refused: {told}")))
        }
        Err(error) => Err(error.into()),
    }
}

/// The pod is the part that certwright is answerable for; the public way is asked too, but a cluster that cannot reach
/// its own public name does not hold up the issuance for longer than this.
pub(super) const PUBLIC_WAY_WAITED_FOR: SignedDuration = SignedDuration::from_secs(60);

/// Changes whenever the solver pod does; then a check that failed is worth repeating at once.
pub(super) fn solver_version(context: &Context, challenge: &Challenge) -> Option<String> {
    let pods = context.cluster.hub.solver_pods.indexed(&owner_entry(challenge.metadata.uid.as_deref()?));
    pods.first().and_then(|pod| pod.metadata.resource_version.clone())
}

/// Where the solver pod can be asked, or why it cannot be yet and when that is looked at again. One that is gone or spent is replaced.
pub(super) async fn solver_address(
    context: &Context,
    challenge: &Challenge,
) -> Result<Result<SocketAddr, String>, StepError> {
    let longest = backoff::in_words(context.options.check_retry_period);
    Ok(look_for_solver(context, challenge).await?.map_err(|why| format!("{why}; looked at again within {longest}")))
}

async fn look_for_solver(context: &Context, challenge: &Challenge) -> Result<Result<SocketAddr, String>, StepError> {
    let pods = context.cluster.hub.solver_pods.indexed(&owner_entry(&challenge.uid().unwrap_or_default()));
    let Some(pod) = pods.first() else {
        Box::pin(present(context, challenge)).await?;
        return Ok(Err("the solver pod is being created".to_owned()));
    };
    if objects::pod_is_spent(pod) {
        // One that stays all the same is held by somebody's finalizer.
        if pod.metadata.deletion_grace_period_seconds != Some(0) {
            context.cluster.delete_at_once(pod).await?;
        }
        return Ok(Err("the solver pod ended and is being replaced".to_owned()));
    }
    Ok(match objects::pod_hindrance(pod) {
        Some(why) => Err(why),
        None => objects::pod_address(pod).ok_or_else(|| "the solver pod has no address yet".to_owned()),
    })
}

pub(super) fn public_way_was_waited_for(challenge: &Challenge) -> bool {
    waited_since_presented(challenge) > PUBLIC_WAY_WAITED_FOR
}

/// Up to a second too much, as times in the status have no fractions: what is measured by it has time.
pub(super) fn waited_since_presented(challenge: &Challenge) -> SignedDuration {
    let presented = challenge.status.as_ref().and_then(|status| status.presented_at.as_ref());
    presented.map_or(SignedDuration::ZERO, |at| Timestamp::now().duration_since(at.0))
}

/// Takes the solver's objects away that are watched.
pub(super) async fn remove_solver(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    let cluster = &context.cluster;
    let entry = owner_entry(&challenge.uid().unwrap_or_default());
    // The route goes first, so that nobody is sent to a pod that is on its way out.
    for ingress in cluster.hub.solver_ingresses.indexed(&entry) {
        cluster.delete(&*ingress).await?;
    }
    for service in cluster.hub.solver_services.indexed(&entry) {
        cluster.delete(&*service).await?;
    }
    for pod in cluster.hub.solver_pods.indexed(&entry) {
        cluster.delete_at_once(&pod).await?;
    }
    Ok(())
}
