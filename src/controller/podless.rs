//! HTTP-01 without pods: the controller answers for every token, and a Service in the Challenge's namespace leads to it.
//!
//! What is answered is read from the Challenges themselves, so it survives a restart and every replica knows it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Resource, ResourceExt,
    api::{ApiResource, DynamicObject, ObjectMeta},
};
use serde_json::json;
use tokio::sync::watch;

use super::{
    Context,
    presenter::existing,
    replicas,
    route::{self, Told},
    service::{self, owned_alike},
    shared_route::{self, name_of},
    step_error::StepError,
};
use crate::{
    api::Challenge,
    cluster::{ApiError, Hub, ObjectName, token_entry},
    decide::progress::Progress,
    http01::{
        SOLVER_PORT,
        endpoints::{endpoints, leads_as},
        objects,
        server::{Answer, Answers},
    },
};

/// How often it is looked whether the objects are still there, as long as the self-check fails.
const LOOKED_AFTER_EVERY: SignedDuration = SignedDuration::from_secs(3);

/// The open Challenges of the cluster, for the server.
pub struct OpenChallenges {
    pub hub: Arc<Hub>,
    /// How many of the stores are filled.
    pub filled: watch::Receiver<usize>,
}

#[async_trait]
impl Answers for OpenChallenges {
    fn find(&self, token: &str) -> Vec<Answer> {
        let is_open = |challenge: &Challenge| {
            let state = challenge.status.as_ref().and_then(|status| status.state.as_deref());
            Progress::of_word(state) == Progress::Open && challenge.metadata.deletion_timestamp.is_none()
        };
        let found = self.hub.challenges.indexed(&token_entry(token)).into_iter();
        found.filter(|challenge| is_open(challenge)).map(|challenge| answer(&challenge)).collect()
    }

    async fn are_known(&self) {
        let mut filled = self.filled.clone();
        drop(filled.wait_for(|filled| *filled >= Hub::STORES).await);
    }
}

fn answer(challenge: &Challenge) -> Answer {
    let spec = &challenge.spec;
    Answer { domain: spec.dns_name.clone(), token: spec.token.clone(), key: spec.key.clone() }
}

/// For all Challenges that share the route: whoever comes first makes the objects for all.
pub(super) async fn present(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    if let Some(why) = objects::unsupported(challenge) {
        return Err(StepError::is_final(why));
    }
    let name = name_of(challenge);
    let known = context.shared_routes.of(&name);
    let known = &mut *known.lock().await;
    known.is_gone = false;
    let is_led = route::is_led(context, challenge, &known.led);
    if is_led && known.has_endpoints && context.cluster.hub.solver_services.get(&name).is_some() {
        return Ok(());
    }
    let slice = wanted_slice(context, challenge).await?;
    let lead = route::lead(context, challenge, &name.name);
    let made = tokio::join!(
        service::ensure(context, challenge),
        make_endpoints(context, &slice, known.has_endpoints),
        async { if is_led { Ok(()) } else { route::put(context, &lead, &mut known.led).await } }
    );
    made.0?;
    known.own_endpoints = made.1?.or(known.own_endpoints.take());
    known.has_endpoints = true;
    made.2
}

/// Where this process can be asked, and sees to it that it is. A former process had another address.
pub(super) async fn reachable_address(
    context: &Context,
    challenge: &Challenge,
    is_mine: bool,
) -> Result<SocketAddr, StepError> {
    if !is_mine {
        Box::pin(present(context, challenge)).await?;
    }
    Ok(SocketAddr::new(own_address(context)?, SOLVER_PORT))
}

/// Makes again what somebody has deleted or edited, and tells why no Gateway takes the route.
pub(super) async fn look_after(context: &Context, challenge: &Challenge) -> Result<Option<Told>, StepError> {
    let name = name_of(challenge);
    let known = context.shared_routes.of(&name);
    let known = &mut *known.lock().await;
    let now = Timestamp::now();
    // Another Challenge may just have done it for all.
    if known.looked.is_some_and(|looked| now.duration_since(looked) < LOOKED_AFTER_EVERY) {
        return Ok(known.told.clone());
    }
    service::ensure(context, challenge).await?;
    // They may be others afterwards.
    (known.has_endpoints, known.own_endpoints) = (false, None);
    correct_endpoints(context, &wanted_slice(context, challenge).await?).await?;
    known.has_endpoints = true;
    let lead = route::lead(context, challenge, &name.name);
    let told = route::look_after(context, &lead, &mut known.led).await?;
    known.looked = Some(now);
    known.told = told.clone().filter(|told| !matches!(told, Told::MadeAgain(_)));
    Ok(told)
}

/// The last one whose question is led takes all away. The route goes first, so that nobody is sent into the void.
pub(super) async fn clean_up(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    let name = name_of(challenge);
    let known = context.shared_routes.of(&name);
    let known = &mut *known.lock().await;
    if known.is_gone || shared_route::is_needed(context, challenge) {
        return Ok(());
    }
    let own_endpoints = std::mem::take(known).own_endpoints;
    route::remove(context, challenge).await?;
    service::remove(context, challenge).await?;
    if let Some(own) = own_endpoints {
        context.cluster.delete_unwatched(&own, &kind()).await?;
    } else {
        let wanted = objects::metadata(challenge, &name.name, &context.solver);
        service::remove_unwatched(context, &name, &kind(), &wanted).await?;
    }
    known.is_gone = true;
    Ok(())
}

async fn wanted_slice(context: &Context, challenge: &Challenge) -> Result<EndpointSlice, StepError> {
    let addresses = replicas::addresses(context, own_address(context)?).await;
    Ok(endpoints(challenge, &name_of(challenge).name, &context.solver, &addresses))
}

/// Tells which object it is, if it was not there.
async fn make_endpoints(
    context: &Context,
    wanted: &EndpointSlice,
    are_there: bool,
) -> Result<Option<ObjectMeta>, StepError> {
    if are_there {
        return Ok(None);
    }
    match context.cluster.create_unwatched(&dynamic(wanted)?, &kind()).await {
        Ok(created) => Ok(Some(created)),
        // A former process made them.
        Err(ApiError::Conflict { .. }) => correct_endpoints(context, wanted).await.map(|()| None),
        refused => existing(refused).map(|()| None),
    }
}

/// Makes the endpoints if they are not there, and puts right what they lead to.
async fn correct_endpoints(context: &Context, wanted: &EndpointSlice) -> Result<(), StepError> {
    let cluster = &context.cluster;
    let name = ObjectName::of(wanted);
    let Some(found) = cluster.read_unwatched(&name, &kind()).await? else {
        return existing(cluster.create_unwatched(&dynamic(wanted)?, &kind()).await);
    };
    owned_alike("EndpointSlice", &found.metadata, wanted.meta())?;
    let held: Option<EndpointSlice> = found.clone().try_parse().ok();
    if held.as_ref().is_some_and(|held| leads_as(held, wanted)) {
        return Ok(());
    }
    if held.is_some_and(|held| held.address_type == wanted.address_type) {
        let labels = json!({"labels": wanted.metadata.labels});
        let part = json!({"metadata": labels, "endpoints": wanted.endpoints, "ports": wanted.ports});
        return Ok(cluster.patch_unwatched(&found, &kind(), part).await?);
    }
    cluster.delete_unwatched(&found.metadata, &kind()).await?;
    existing(cluster.create_unwatched(&dynamic(wanted)?, &kind()).await)
}

fn own_address(context: &Context) -> Result<IpAddr, StepError> {
    // The address may be missing only if the operator took it away while the Challenge was open.
    context.options.own_address.ok_or_else(|| {
        StepError::transient(
            "Error presenting challenge: the controller is to answer itself, but does not know its own address; give it as \
             $POD_IP",
        )
    })
}

fn kind() -> ApiResource {
    ApiResource::erase::<EndpointSlice>(&())
}

fn dynamic(slice: &EndpointSlice) -> Result<DynamicObject, StepError> {
    let mut object = DynamicObject::new(&slice.name_any(), &kind());
    object.metadata = slice.meta().clone();
    object.data = serde_json::to_value(slice)
        .map_err(|error| StepError::is_final(format!("The EndpointSlice cannot be written: {error}")))?;
    if let Some(fields) = object.data.as_object_mut() {
        for held in ["apiVersion", "kind", "metadata"] {
            fields.remove(held);
        }
    }
    Ok(object)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn challenge(uid: &str, token: &str, name: &str, mark: &str, state: &str) -> Challenge {
        serde_json::from_value(json!({
            "metadata": {
                "name": uid, "namespace": "shop", "uid": uid, "resourceVersion": "1",
                "annotations": {"certwright.dev/http01-solver": mark},
            },
            "spec": {
                "url": "u", "authorizationURL": "a", "dnsName": name, "type": "HTTP-01", "token": token, "key": format!("{token}.{uid}"),
                "solver": {"http01": {"ingress": {}}}, "issuerRef": {"name": "le"},
            },
            "status": {"state": state},
        }))
        .unwrap()
    }

    #[test]
    fn open_challenges_without_a_pod_are_answered() {
        let hub = Arc::new(Hub::new());
        for challenge in [
            challenge("one", "token", "a.example.com", "controller", "pending"),
            challenge("two", "token", "b.example.com", "controller", "pending"),
            challenge("pod", "of-pod", "c.example.com", "pod", "pending"),
            challenge("old", "over", "d.example.com", "controller", "valid"),
        ] {
            hub.put(challenge);
        }
        let open = OpenChallenges { hub, filled: watch::channel(Hub::STORES).1 };
        let found = |token| {
            let answers = open.find(token).into_iter();
            let mut found: Vec<_> = answers.map(|answer| (answer.domain, answer.key.expose().clone())).collect();
            found.sort();
            found
        };
        let of = |name: &str, key: &str| (name.to_owned(), key.to_owned());
        assert_eq!(found("token"), [of("a.example.com", "token.one"), of("b.example.com", "token.two")]);
        for token in ["of-pod", "over", "tok", "", "token/"] {
            assert_eq!(found(token), [], "{token}");
        }
    }

    #[test]
    fn a_slice_stays_the_same_as_a_dynamic_object() {
        let challenge = challenge("one", "token", "a.example.com", "controller", "pending");
        let slice =
            endpoints(&challenge, "n", &objects::SolverOptions::default(), &["10.0.0.7".parse().unwrap()].into());
        assert_eq!(json!(dynamic(&slice).unwrap()), json!(slice));
    }
}
