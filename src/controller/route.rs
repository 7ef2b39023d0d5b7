//! The way by which the CA's question reaches an HTTP-01 solver: an Ingress, a path more in somebody's Ingress, or an
//! HTTPRoute of a Gateway.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use jiff::SignedDuration;
use k8s_openapi::api::networking::v1::{Ingress, IngressRule};
use kube::{
    ResourceExt,
    api::{ApiResource, DynamicObject},
};
use serde_json::{Value, json};

use super::{
    Context, podless,
    presenter::{existing, waited_since_presented},
    service::{self, is_owned_alike, owned_alike, remove_unwatched},
    shared_route::{name_of, questions},
    step_error::StepError,
};
use crate::{
    api::{Challenge, names::GATEWAY_GROUP},
    cluster::{ApiError, Cluster, ObjectName},
    http01::{
        in_place,
        ingress::{self, ingress_for, leads, leads_exactly},
        objects,
        path_type::PathType,
        question::{Lead, Question},
        route,
    },
};

/// A Gateway that has not taken the route until then is asked why.
const ROUTE_WAITED_FOR: SignedDuration = SignedDuration::from_secs(3);

/// The types of paths of more classes than this are not remembered.
const MOST_CLASSES: usize = 100;

/// The type of paths that was taken where another was refused, for each class of Ingress.
#[derive(Default)]
pub struct PathTypes(Mutex<HashMap<String, PathType>>);

/// What is to be told of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It was gone; says so.
    MadeAgain(String),
    /// No Gateway takes it; says why.
    Rejected(String),
    /// Nobody says whether one takes it; says so. It may lead there all the same.
    Unanswered(String),
}

/// What is to lead to the Service of this name, for the Challenge and all that share its route.
pub(super) fn lead<'a>(context: &Context, challenge: &'a Challenge, name: &'a str) -> Lead<'a> {
    let alone = Lead::alone(challenge, name, &context.solver);
    let path_type = context.path_types.get(challenge).unwrap_or(alone.path_type);
    Lead { questions: questions(context, challenge), path_type, ..alone }
}

/// Whether the question of the Challenge is led. `already` is what an object leads that is not watched.
pub(super) fn is_led(context: &Context, challenge: &Challenge, already: &BTreeSet<Question>) -> bool {
    let (name, question) = (name_of(challenge), Question::of(challenge));
    if !has_own_ingress(challenge) {
        return already.contains(&question);
    }
    let ingress = context.cluster.hub.solver_ingresses.get(&name);
    ingress.is_some_and(|ingress| leads(rules_of(&ingress), &name.name, &question))
}

/// Creates the Ingress or HTTPRoute, or adds the paths; what is there already is well.
pub(super) async fn put(context: &Context, lead: &Lead<'_>, already: &mut BTreeSet<Question>) -> Result<(), StepError> {
    if route::gateway(lead.challenge).is_some() {
        put_http_route(context, lead, already.is_empty()).await?;
    } else {
        put_paths(context, lead).await?;
    }
    already.extend(lead.questions.iter().cloned());
    Ok(())
}

/// The same for a Challenge with a route of its own.
pub(super) async fn create(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    let name = name_of(challenge);
    put(context, &lead(context, challenge, &name.name), &mut BTreeSet::new()).await
}

/// Deletes the Ingress or HTTPRoute, or takes the paths away.
pub(super) async fn remove(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    if let Some(ingress) = in_place::ingress_name(challenge) {
        return remove_paths(context, challenge, ingress).await;
    }
    let name = name_of(challenge);
    let wanted = objects::metadata(challenge, &name.name, &context.solver);
    if route::gateway(challenge).is_some() {
        let Some((_, kind)) = kind(context).await? else { return Ok(()) };
        return remove_unwatched(context, &name, &kind, &wanted).await;
    }
    match context.cluster.hub.solver_ingresses.get(&name) {
        Some(found) if is_owned_alike(&found.metadata, &wanted) => Ok(context.cluster.delete(&*found).await?),
        _ => Ok(()),
    }
}

/// Makes again what somebody has deleted or edited. Tells so, or why no Gateway takes the route, as far as it says.
pub(super) async fn what_became_of_it(context: &Context, challenge: &Challenge) -> Result<Option<Told>, StepError> {
    let is_young = waited_since_presented(challenge) < ROUTE_WAITED_FOR;
    if is_young && (!has_own_ingress(challenge) || is_led(context, challenge, &BTreeSet::new())) {
        return Ok(None);
    }
    if challenge.is_podless() {
        return Box::pin(podless::look_after(context, challenge)).await;
    }
    service::ensure(context, challenge).await?;
    let name = name_of(challenge);
    look_after(context, &lead(context, challenge, &name.name), &mut BTreeSet::new()).await
}

/// See [`what_became_of_it`].
pub(super) async fn look_after(
    context: &Context,
    lead: &Lead<'_>,
    already: &mut BTreeSet<Question>,
) -> Result<Option<Told>, StepError> {
    already.clear();
    if in_place::ingress_name(lead.challenge).is_some() {
        // Whoever manages the Ingress, such as a GitOps pipeline, may have put it back.
        put(context, lead, already).await?;
        return Ok(None);
    }
    let name = name_of(lead.challenge);
    if route::gateway(lead.challenge).is_some() {
        return look_after_http_route(context, lead, &name, already).await;
    }
    let found = context.cluster.hub.solver_ingresses.get(&name);
    if found.as_ref().is_some_and(|found| leads_exactly(rules_of(found), lead)) {
        return Ok(None);
    }
    put(context, lead, already).await?;
    Ok(found.is_none().then(|| Told::MadeAgain("the Ingress was gone and is made again".to_owned())))
}

/// What may be wrong with an Ingress that is not served, in words for the owner of the issuer. It may be served all the same.
pub(super) fn hint(context: &Context, challenge: &Challenge) -> Option<String> {
    if !has_own_ingress(challenge) || waited_since_presented(challenge) < ROUTE_WAITED_FOR {
        return None;
    }
    let name = name_of(challenge);
    let ingress = context.cluster.hub.solver_ingresses.get(&name)?;
    ingress::hint(&ingress).map(|hint| format!("of the Ingress {name}: {hint}"))
}

fn has_own_ingress(challenge: &Challenge) -> bool {
    in_place::ingress_name(challenge).is_none() && route::gateway(challenge).is_none()
}

/// Tries the other type of paths if this one is refused. Should both be, the first refusal is told.
async fn put_paths(context: &Context, lead: &Lead<'_>) -> Result<(), StepError> {
    let first = try_paths(context, lead).await;
    let Err(StepError::Write(ApiError::Refused { message, .. })) = &first else { return presented(first) };
    let Some(path_type) = lead.path_type.instead(message) else { return presented(first) };
    match try_paths(context, &Lead { path_type, ..lead.clone() }).await {
        Err(StepError::Write(ApiError::Refused { .. })) => presented(first),
        Ok(()) => {
            context.path_types.remember(lead.challenge, path_type);
            Ok(())
        }
        other => other,
    }
}

async fn try_paths(context: &Context, lead: &Lead<'_>) -> Result<(), StepError> {
    match in_place::ingress_name(lead.challenge) {
        Some(ingress) => add_paths(context, lead, ingress).await,
        None => put_ingress(context, lead).await,
    }
}

fn presented(outcome: Result<(), StepError>) -> Result<(), StepError> {
    match outcome {
        Err(StepError::Write(refused @ ApiError::Refused { .. })) => existing::<()>(Err(refused)),
        other => other,
    }
}

async fn put_ingress(context: &Context, lead: &Lead<'_>) -> Result<(), StepError> {
    let name = name_of(lead.challenge);
    let ingresses = &context.cluster.hub.solver_ingresses;
    let wanted = ingress_for(lead, &context.solver);
    if ingresses.get(&name).is_none() {
        match context.cluster.create(&wanted).await {
            // A former process made it; now it is known.
            Err(ApiError::Conflict { .. }) => {}
            created => return Ok(created.map(drop)?),
        }
    }
    let Some(found) = ingresses.get(&name) else { return Ok(()) };
    owned_alike("Ingress", &found.metadata, &wanted.metadata)?;
    if leads_exactly(rules_of(&found), lead) {
        return Ok(());
    }
    Ok(context.cluster.write_part(&*found, json!({"spec": {"rules": ingress::rules(lead)}})).await?)
}

async fn put_http_route(context: &Context, lead: &Lead<'_>, is_new: bool) -> Result<(), StepError> {
    let Some((version, kind)) = kind(context).await? else {
        return Err(StepError::transient(
            "Error presenting challenge: this cluster has no HTTPRoutes, which the solver's gatewayHTTPRoute needs; install the \
             Gateway API or use http01.ingress",
        ));
    };
    let wanted = route::route(lead, &context.solver, version);
    if is_new {
        match context.cluster.create_unwatched(&wanted, &kind).await {
            Err(ApiError::Conflict { .. }) => {}
            created => return existing(created),
        }
    }
    match context.cluster.read_unwatched(&name_of(lead.challenge), &kind).await? {
        Some(found) => correct_http_route(context, lead, (&found, &wanted), &kind).await,
        None => existing(context.cluster.create_unwatched(&wanted, &kind).await),
    }
}

async fn correct_http_route(
    context: &Context,
    lead: &Lead<'_>,
    (found, wanted): (&DynamicObject, &DynamicObject),
    kind: &ApiResource,
) -> Result<(), StepError> {
    owned_alike("HTTPRoute", &found.metadata, &wanted.metadata)?;
    if route::leads_exactly(found, lead) && route::hangs_and_leads_as(found, wanted) {
        return Ok(());
    }
    Ok(context.cluster.patch_unwatched(found, kind, json!({"spec": wanted.data["spec"]})).await?)
}

async fn look_after_http_route(
    context: &Context,
    lead: &Lead<'_>,
    name: &ObjectName,
    already: &mut BTreeSet<Question>,
) -> Result<Option<Told>, StepError> {
    let Some((version, kind)) = kind(context).await? else { return Ok(None) };
    let Some(found) = context.cluster.read_unwatched(name, &kind).await? else {
        put(context, lead, already).await?;
        return Ok(Some(Told::MadeAgain("the HTTPRoute was gone and is made again".to_owned())));
    };
    let wanted = route::route(lead, &context.solver, version);
    correct_http_route(context, lead, (&found, &wanted), &kind).await?;
    already.extend(lead.questions.iter().cloned());
    let of_it = |why| format!("of the HTTPRoute {name}: {why}");
    let rejected = route::rejection(&found).map(|why| Told::Rejected(of_it(why)));
    Ok(rejected.or_else(|| route::silence(&found).map(|why| Told::Unanswered(of_it(why)))))
}

async fn add_paths(context: &Context, lead: &Lead<'_>, ingress: &str) -> Result<(), StepError> {
    let name = ObjectName::new(lead.challenge.namespace().unwrap_or_default(), ingress);
    let Some(found) = context.cluster.read_unwatched(&name, &ingress_kind()).await? else {
        return Err(StepError::transient(format!(
            "Error presenting challenge: the Ingress {name}, which the solver names, does not exist"
        )));
    };
    match in_place::with_paths(&rules(&found)?, lead) {
        Some(rules) => write_rules(context, &found, &rules).await,
        None => Ok(()),
    }
}

async fn remove_paths(context: &Context, challenge: &Challenge, ingress: &str) -> Result<(), StepError> {
    let name = ObjectName::new(challenge.namespace().unwrap_or_default(), ingress);
    let Some(found) = context.cluster.read_unwatched(&name, &ingress_kind()).await? else { return Ok(()) };
    match in_place::without_paths(&rules(&found)?, &name_of(challenge).name, &Question::of(challenge)) {
        Some(rules) => write_rules(context, &found, &rules).await,
        None => Ok(()),
    }
}

async fn write_rules(context: &Context, found: &DynamicObject, rules: &[IngressRule]) -> Result<(), StepError> {
    let rules = if rules.is_empty() { Value::Null } else { json!(rules) };
    Ok(context.cluster.patch_unwatched(found, &ingress_kind(), json!({"spec": {"rules": rules}})).await?)
}

fn rules_of(ingress: &Ingress) -> &[IngressRule] {
    ingress.spec.as_ref().and_then(|spec| spec.rules.as_deref()).unwrap_or_default()
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

impl PathTypes {
    fn get(&self, challenge: &Challenge) -> Option<PathType> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&class_of(challenge)).copied()
    }

    fn remember(&self, challenge: &Challenge, path_type: PathType) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_CLASSES {
            known.clear();
        }
        known.insert(class_of(challenge), path_type);
    }
}

/// What decides who has a say about the Ingress: its class, or the Ingress itself, and what the solver wants of it.
fn class_of(challenge: &Challenge) -> String {
    let ingress = challenge.spec.solver.http01.as_ref().and_then(|http01| http01.ingress.as_ref());
    let namespace = challenge.namespace().unwrap_or_default();
    ingress
        .map(|ingress| {
            format!(
                "{namespace}/{}",
                json!([ingress.name, ingress.class, ingress.ingress_class_name, ingress.ingress_template])
            )
        })
        .unwrap_or_default()
}
