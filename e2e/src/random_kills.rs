//! Many issuances over HTTP-01 during which the controller is killed at random times, and what they leave behind.
//!
//! In tier `api`, with [`Nodeless`](crate::nodeless): a third of the Certificates is answered by pods through Ingresses, a
//! third by the controller through Ingresses, a third by the controller through HTTPRoutes.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use certwright::api::names::{KIND_ISSUER, annotation, condition, http01_solver};
use certwright::api::{Certificate, Challenge, Condition, Issuer, Order, find_condition};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::ListParams;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::controller::Controller;
use crate::nodeless::{define_routes, routes};
use crate::scene::{Conditions as _, Scene, certificate_spec, is_ready};
use crate::testbed::Testbed;
use crate::wait::until;

/// So many Certificates are created before the first creation was answered.
const CREATES_AT_ONCE: usize = 20;
/// Between the start of a controller and its end.
const SHORTEST_LIFE: u64 = 300;
const LONGEST_LIFE: u64 = 2500;
/// After the last kill; each Certificate adds its share.
const PATIENCE: Duration = Duration::from_mins(2);
const SHARE: Duration = Duration::from_millis(500);

/// What to do, and with which luck.
#[derive(Clone, Copy, Debug)]
pub struct RandomKills {
    pub certificates: usize,
    /// The least number of kills; it goes on until all is issued.
    pub kills: usize,
    /// So many Certificates are to be ready in the end: what failed because nobody answered is tried again a minute later.
    pub ready: usize,
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub ready: usize,
    /// The CA looked while nobody answered; the next attempt comes later.
    pub failed: usize,
    pub kills: usize,
    /// Objects by kind that should not be there any more.
    pub left: BTreeMap<&'static str, usize>,
}

impl Outcome {
    /// Objects of all kinds.
    pub fn left_behind(&self) -> usize {
        self.left.values().sum()
    }
}

/// Does it, in a namespace of its own.
pub async fn run(testbed: &Testbed, controller: &mut Controller, plan: RandomKills) -> Result<Outcome> {
    let scene = Scene::new(testbed, controller.log(), "kills").await?;
    define_routes(&scene.client).await?;
    let issuers = ["pods", "podless", "gateway"];
    for name in issuers {
        issuer(&scene, name).await?;
    }
    let creations = (0..plan.certificates).map(|number| {
        let (scene, name) = (&scene, format!("web-{number}"));
        let mut spec = certificate_spec(&name, KIND_ISSUER, issuers[number % issuers.len()], &[&scene.dns_name(&name)]);
        // A key that takes long to make is begun anew after each kill, and most of the time nothing else would be under way.
        spec["privateKey"] = json!({ "algorithm": "ECDSA", "size": 256 });
        async move { scene.create::<Certificate>(&name, spec).await.map(drop) }
    });
    let created = futures::stream::iter(creations).buffer_unordered(CREATES_AT_ONCE).try_collect::<()>();
    let (kills, ()) = tokio::try_join!(kill_until_done(&scene, controller, plan), created)?;
    let count = u32::try_from(plan.certificates).unwrap_or(u32::MAX);
    let look = async || {
        let ended = done(&scene, plan.certificates).await?;
        anyhow::Ok(ended.filter(|(ready, _)| *ready >= plan.ready))
    };
    let (ready, failed) = until("all issuances to end", PATIENCE * 2 + SHARE * count, look).await?;
    // What is on its way out has the time of the clean-up's first tries.
    let look = async || {
        let left = leftovers(&scene).await?;
        ensure!(left.values().all(|count| *count == 0), "there are {left:?}");
        Ok(Some(left))
    };
    // A moment later another attempt may have begun.
    let left = match until("everything to be cleaned up", Duration::from_secs(90), look).await {
        Ok(left) => left,
        Err(_) => leftovers(&scene).await?,
    };
    Ok(Outcome { ready, failed, kills, left })
}

async fn issuer(scene: &Scene, name: &str) -> Result<()> {
    let mut spec = scene.issuer_spec(&format!("{name}-account"))?;
    let way: Value = match name {
        "gateway" => json!({ "gatewayHTTPRoute": { "parentRefs": [{ "name": "edge" }] } }),
        _ => json!({ "ingress": { "ingressClassName": "any" } }),
    };
    spec["acme"]["solvers"] = json!([{ "http01": way }]);
    scene.create::<Issuer>(name, spec).await?;
    let answerer = if name == "pods" { http01_solver::POD } else { http01_solver::CONTROLLER };
    // More than a CA's budget allows are ordered.
    let wishes = json!({ (annotation::HTTP01_SOLVER): answerer, (annotation::NEW_ORDERS): "0" });
    let annotations = json!({ "metadata": { "annotations": wishes } });
    scene.patch::<Issuer>(name, annotations).await?;
    scene.wait_ready::<Issuer>(name).await.map(drop)
}

/// The controller lives on in the end.
async fn kill_until_done(scene: &Scene, controller: &mut Controller, plan: RandomKills) -> Result<usize> {
    let (mut dice, mut kills) = (plan.seed, 0);
    let end = Instant::now() + PATIENCE + SHARE * u32::try_from(plan.certificates).unwrap_or(u32::MAX);
    while kills < plan.kills && Instant::now() < end {
        sleep(Duration::from_millis(SHORTEST_LIFE + roll(&mut dice) % (LONGEST_LIFE - SHORTEST_LIFE))).await;
        if done(scene, plan.certificates).await?.is_some() {
            break;
        }
        controller.kill()?;
        controller.restart()?;
        kills += 1;
    }
    controller.ready().await.context("after the last kill")?;
    Ok(kills)
}

/// SplitMix64.
fn roll(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// How many are ready and how many have failed, if that is all of them and nothing is under way any more.
async fn done(scene: &Scene, count: usize) -> Result<Option<(usize, usize)>> {
    let all: Vec<Certificate> = scene.list().await?;
    let has_failed = |certificate: &&Certificate| {
        find_condition(certificate.conditions(), condition::ISSUING).is_some_and(Condition::is_false)
    };
    let ready = all.iter().filter(|certificate| is_ready(*certificate)).count();
    let failed = all.iter().filter(|certificate| !is_ready(*certificate)).filter(has_failed).count();
    Ok((ready + failed == count).then_some((ready, failed)))
}

async fn leftovers(scene: &Scene) -> Result<BTreeMap<&'static str, usize>> {
    let routes = routes(&scene.client, &scene.namespace).list(&ListParams::default()).await?;
    // The Challenges of a failed Order stay to be looked at, without anything of theirs.
    let failed: Vec<Order> = scene.list().await?;
    let failed = failed.iter().filter(|order| order.status.as_ref().is_some_and(|status| status.certificate.is_none()));
    let allowed: Vec<String> = failed.filter_map(|order| order.metadata.uid.clone()).collect();
    let is_stray = |challenge: &Challenge| {
        let mut owners = challenge.metadata.owner_references.iter().flatten();
        challenge.metadata.finalizers.as_ref().is_some_and(|all| !all.is_empty())
            || !owners.any(|owner| allowed.contains(&owner.uid))
    };
    let challenges = scene.list::<Challenge>().await?;
    Ok(BTreeMap::from([
        ("Challenge", challenges.iter().filter(|challenge| is_stray(challenge)).count()),
        ("EndpointSlice", scene.list::<EndpointSlice>().await?.len()),
        ("HTTPRoute", routes.items.len()),
        ("Ingress", scene.list::<Ingress>().await?.len()),
        ("Pod", scene.list::<Pod>().await?.len()),
        ("Service", scene.list::<Service>().await?.len()),
    ]))
}
