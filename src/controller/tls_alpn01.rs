//! Putting answers to TLS-ALPN-01 challenges in place, checking them, and taking them away again.

use std::sync::PoisonError;

use jiff::{SignedDuration, Timestamp};
use kube::{ResourceExt, api::ApiResource};

use super::{
    Context,
    presenter::{
        PUBLIC_WAY_WAITED_FOR, existing, existing_pod, public_way_was_waited_for, remove_solver, solver_address,
        waited_since_presented,
    },
    service::{self, owned_alike, remove_unwatched},
    step_error::StepError,
};
use crate::{
    api::{Challenge, names::GATEWAY_GROUP},
    cluster::{ObjectName, owner_entry, tls_name_entry},
    decide::{
        backoff, fixed_name,
        turns::{Rival, Taken},
    },
    http01,
    tls_alpn01::{check::CheckTarget, objects},
};

/// A Gateway that has not taken the route until then is asked why.
const ROUTE_WAITED_FOR: SignedDuration = SignedDuration::from_secs(3);

/// Who else answers for the name at present. Nobody waits for a turn that needs none or has had it.
pub(super) fn taken(context: &Context, challenge: &Challenge) -> Option<Taken> {
    let is_presented = challenge.status.as_ref().is_some_and(|status| status.presented);
    if is_presented || !challenge.is_tls_alpn01() {
        return None;
    }
    let hub = &context.cluster.hub;
    let named_so = hub.challenges.indexed(&tls_name_entry(&challenge.spec.dns_name)).into_iter();
    let rivals: Vec<_> = named_so
        .map(|rival| {
            let pods = hub.solver_pods.indexed(&owner_entry(rival.metadata.uid.as_deref().unwrap_or_default()));
            let is_elsewhere = !context.options.share.has(&rival.namespace().unwrap_or_default());
            Rival { pod_since: objects::begun(&pods), challenge: rival, is_elsewhere }
        })
        .collect();
    let mut turns = context.turns.lock().unwrap_or_else(PoisonError::into_inner);
    turns.take(challenge, &rivals, Timestamp::now())
}

pub(super) async fn present(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    if let Some(why) = objects::unsupported(challenge) {
        return Err(StepError::is_final(why));
    }
    let Some((version, kind)) = route_kind(context).await? else {
        return Err(StepError::transient(
            "Error presenting challenge: this cluster has no TLSRoutes, which TLS-ALPN-01 needs; install them (Gateway \
             API 1.5 or newer, or the experimental channel of an older one) or take the annotation from the issuer",
        ));
    };
    let name = fixed_name::http01_solver(&challenge.uid().unwrap_or_default());
    let pod = objects::pod(challenge, &name, &context.solver)
        .map_err(|error| StepError::is_final(format!("The solver's podTemplate is wrong: {error}")))?;
    let service = objects::service(challenge, &name, &context.solver);
    let route = objects::route(challenge, &name, &context.solver, version);
    let cluster = &context.cluster;
    // By its pod a process that comes later sees whose turn it is, so that is there before the route.
    existing_pod(cluster.create(&pod).await)?;
    let created = tokio::join!(cluster.create(&service), cluster.create_unwatched(&route, &kind));
    existing(created.0)?;
    existing(created.1)
}

/// What the CA has to be spared for, in one stable sentence; nothing if it may look. The handshakes are made beside the passes.
pub(super) async fn check(context: &Context, challenge: &Challenge) -> Result<Option<String>, StepError> {
    let pod_address = match solver_address(context, challenge).await? {
        Ok(address) => address,
        Err(why) => return Ok(Some(why)),
    };
    let report = context.self_checks.take_handshake(challenge, CheckTarget::of(challenge, pod_address))?;
    let Some(failure) = report.failure() else { return Ok(None) };
    let told = |why: Option<&str>, may_do_without| {
        Ok(Some(sentence(&failure, why, may_do_without, context.options.check_retry_period)))
    };
    if report.pod.is_err() {
        return told(None, false);
    }
    // What no Gateway takes the CA cannot find either, however long it is waited.
    match what_became_of_the_route(context, challenge).await? {
        Some(why) => told(Some(&why), false),
        None if report.leads_to_another() => told(None, false),
        None if public_way_was_waited_for(challenge) => Ok(None),
        None => told(None, true),
    }
}

/// What was found, and what comes next: `longest` is the time until the next look, at the latest.
fn sentence(failure: &str, why: Option<&str>, may_do_without: bool, longest: SignedDuration) -> String {
    let why = why.map(|why| format!("; {why}")).unwrap_or_default();
    let again = backoff::in_words(longest);
    let told = format!("asked by the controller, {failure}{why}; asked again within {again}");
    if !may_do_without {
        return told;
    }
    let patience = backoff::in_words(PUBLIC_WAY_WAITED_FOR);
    format!("{told}, and {patience} after it was presented the CA is asked all the same")
}

/// The route goes first, so that nobody is sent to a pod that is on its way out.
pub(super) async fn clean_up(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    if let Some((_, kind)) = route_kind(context).await? {
        let name = route_name(challenge);
        let wanted = http01::objects::metadata(challenge, &name.name, &context.solver);
        remove_unwatched(context, &name, &kind, &wanted).await?;
    }
    remove_solver(context, challenge).await
}

/// The newest version of the kind that the cluster has.
async fn route_kind(context: &Context) -> Result<Option<(&'static str, ApiResource)>, StepError> {
    let versions = &objects::ROUTE_VERSIONS;
    let version = context.cluster.served_version(GATEWAY_GROUP, "tlsroutes", versions).await?;
    Ok(version.map(|version| (version, objects::route_resource(version))))
}

fn route_name(challenge: &Challenge) -> ObjectName {
    let name = fixed_name::http01_solver(&challenge.uid().unwrap_or_default());
    ObjectName::new(challenge.namespace().unwrap_or_default(), name)
}

/// Why the route does not lead to the pod, as far as it tells. What is gone or edited is made again.
async fn what_became_of_the_route(context: &Context, challenge: &Challenge) -> Result<Option<String>, StepError> {
    if waited_since_presented(challenge) < ROUTE_WAITED_FOR {
        return Ok(None);
    }
    let Some((version, kind)) = route_kind(context).await? else { return Ok(None) };
    let name = route_name(challenge);
    service::put(context, &objects::service(challenge, &name.name, &context.solver)).await?;
    let wanted = objects::route(challenge, &name.name, &context.solver, version);
    let Some(found) = context.cluster.read_unwatched(&name, &kind).await? else {
        existing(context.cluster.create_unwatched(&wanted, &kind).await)?;
        return Ok(Some("the TLSRoute was gone and is made again".to_owned()));
    };
    owned_alike("TLSRoute", &found.metadata, &wanted.metadata)?;
    if objects::leads_as(&found, &wanted) {
        return Ok(objects::rejection(&found).map(|why| format!("of the TLSRoute {name}: {why}")));
    }
    context.cluster.delete_unwatched(&found.metadata, &kind).await?;
    existing(context.cluster.create_unwatched(&wanted, &kind).await)?;
    Ok(Some("the TLSRoute was edited and is made again".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_says_what_comes_next() {
        let failure = "www.example.com:443 refused the connection; the solver pod itself answers rightly";
        let longest = SignedDuration::from_secs(10);
        assert_eq!(
            sentence(failure, None, true, longest),
            "asked by the controller, www.example.com:443 refused the connection; the solver pod itself answers rightly; asked \
             again within 10 s, and 1 min after it was presented the CA is asked all the same"
        );
        let refused =
            sentence(failure, Some("of the TLSRoute shop/x: the Gateway \"edge\" does not take it"), false, longest);
        assert!(refused.ends_with("does not take it; asked again within 10 s"), "{refused}");
    }
}
