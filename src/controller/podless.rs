//! HTTP-01 without pods: the controller answers for every token, and a Service in the Challenge's namespace leads to it.
//!
//! What is answered is read from the Challenges themselves, so it survives a restart and every replica knows it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Resource, ResourceExt,
    api::{ApiResource, DynamicObject},
};

use super::{
    Context,
    presenter::{existing, remove_solver},
    route,
    step_error::StepError,
};
use crate::{
    api::Challenge,
    cluster::{Hub, ObjectName, token_entry},
    decide::{fixed_name, progress::Progress},
    http01::{
        SOLVER_PORT,
        endpoints::endpoints,
        objects,
        server::{Answer, Answers},
    },
};

/// The open Challenges of the cluster, for the server.
pub struct OpenChallenges(pub Arc<Hub>);

impl Answers for OpenChallenges {
    fn find(&self, token: &str) -> Vec<Answer> {
        let is_open = |challenge: &Challenge| {
            let state = challenge.status.as_ref().and_then(|status| status.state.as_deref());
            Progress::of_word(state) == Progress::Open && challenge.metadata.deletion_timestamp.is_none()
        };
        let found = self.0.challenges.indexed(&token_entry(token)).into_iter();
        found.filter(|challenge| is_open(challenge)).map(|challenge| answer(&challenge)).collect()
    }
}

fn answer(challenge: &Challenge) -> Answer {
    let spec = &challenge.spec;
    Answer { domain: spec.dns_name.clone(), token: spec.token.clone(), key: spec.key.clone() }
}

pub(super) async fn present(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    if let Some(why) = objects::unsupported(challenge) {
        return Err(StepError::is_final(why));
    }
    let own = own_address(context)?;
    let name = fixed_name::http01_solver(&challenge.uid().unwrap_or_default());
    let service = objects::service(challenge, &name, &context.solver);
    let slice = dynamic(&endpoints(challenge, &name, &context.solver, own))?;
    let (cluster, kind) = (&context.cluster, kind());
    let created = tokio::join!(
        cluster.create(&service),
        cluster.create_unwatched(&slice, &kind),
        route::create(context, challenge)
    );
    existing(created.0)?;
    existing(created.1)?;
    created.2
}

/// Where this process can be asked, and sees to it that it is. A former process had another address, so the endpoints are made
/// anew once.
pub(super) async fn reachable_address(
    context: &Context,
    challenge: &Challenge,
    is_mine: bool,
) -> Result<SocketAddr, StepError> {
    let own = own_address(context)?;
    if !is_mine {
        context.cluster.delete_unwatched(&slice_name(challenge), &kind()).await?;
        Box::pin(present(context, challenge)).await?;
    }
    Ok(SocketAddr::new(own, SOLVER_PORT))
}

/// The route goes first, so that nobody is sent into the void.
pub(super) async fn clean_up(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    route::delete(context, challenge).await?;
    remove_solver(context, challenge).await?;
    Ok(context.cluster.delete_unwatched(&slice_name(challenge), &kind()).await?)
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

fn slice_name(challenge: &Challenge) -> ObjectName {
    let name = fixed_name::http01_solver(&challenge.uid().unwrap_or_default());
    ObjectName::new(challenge.namespace().unwrap_or_default(), name)
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
    use serde_json::json;

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
        let open = OpenChallenges(hub);
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
        let slice = endpoints(&challenge, "n", &objects::SolverOptions::default(), "10.0.0.7".parse().unwrap());
        assert_eq!(json!(dynamic(&slice).unwrap()), json!(slice));
    }
}
