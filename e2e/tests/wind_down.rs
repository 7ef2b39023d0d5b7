//! What is left when certwright is to be uninstalled: nothing that waits for a controller. These run inside a testbed, with
//! controllers of their own and nothing that others left:
//! `testbed run -- cargo test -p certwright-e2e --test wind_down -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use certwright::api::names::{LEASE, event, finalizer};
use certwright::api::{Certificate, Challenge, Issuer, Order};
use certwright::decide::shard::Share;
use certwright_e2e::dns::challenge_records;
use certwright_e2e::replica::{Replica, Replicas, grant_two_shares, holder, lease};
use certwright_e2e::scene::TSIG_SECRET;
use certwright_e2e::wait::until;
use certwright_e2e::{Process, Scene, Testbed};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;

const PATIENCE: Duration = Duration::from_mins(1);
/// Far less than the lease duration by default.
const SOON: Duration = Duration::from_secs(35);
/// Where it matters that a Lease runs out.
const SHORT: [&str; 3] = [
    "--leader-election-lease-duration=10s",
    "--leader-election-renew-deadline=8s",
    "--leader-election-retry-period=1s",
];

fn testbed() -> Testbed {
    Testbed::from_env().unwrap().expect("run this inside `testbed run`")
}

/// A namespace with a Challenge that is presented, and that the CA is not to look at for an hour.
async fn under_way(testbed: &Testbed, replica: &Replica) -> (Scene, Challenge) {
    let scene = Scene::new(testbed, replica.log(), "leaving").await.unwrap();
    let mut spec = scene.issuer_spec("account").unwrap();
    spec["acme"]["solvers"][0]["waitInsteadOfSelfCheck"] = json!("1h");
    scene.create::<Issuer>("slow", spec).await.unwrap();
    scene.wait_ready::<Issuer>("slow").await.unwrap();
    scene.certificate("www", "slow", &[&scene.dns_name("www")]).await.unwrap();
    let challenge = presented(&scene).await;
    assert_eq!(challenge.finalizers(), [finalizer::CHALLENGE]);
    assert_eq!(records(&scene).len(), 1);
    (scene, challenge)
}

async fn presented(scene: &Scene) -> Challenge {
    let look = async || {
        let mut found = scene.list::<Challenge>().await?.into_iter();
        anyhow::Ok(found.find(|one| one.status.as_ref().is_some_and(|status| status.presented)))
    };
    until("a challenge to be presented", PATIENCE, look).await.unwrap()
}

/// The records that the primary server has for challenges of the namespace.
fn records(scene: &Scene) -> Vec<String> {
    let dns = scene.testbed.state.dns().unwrap();
    let mut records = challenge_records(dns, &scene.namespace).unwrap();
    records.retain(|record| record.starts_with(&dns.primary.to_string()));
    records
}

async fn ends_well(mut process: Process) -> String {
    let look = async || process.exited();
    let status = until("the end of wind-down", PATIENCE, look).await.unwrap();
    let log = process.read_log().unwrap();
    assert!(status.success(), "{log}");
    log
}

/// It waits for the controller to stop, takes back what was presented and gives the Lease back; who comes later goes on with the
/// same order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn what_is_under_way_is_taken_back_and_gone_on_with_later() {
    let testbed = testbed();
    let mut replicas = Replicas::new(&testbed, &[]).await.unwrap();
    let mut first = replicas.start().await.unwrap();
    first.leads(&testbed, SOON).await.unwrap();
    let (scene, challenge) = under_way(&testbed, &first).await;

    let leaving = replicas.wind_down(&[]).unwrap();
    assert!(first.stop().unwrap());
    let log = ends_well(leaving).await;
    assert!(log.contains("nothing waits for a controller any more"), "{log}");
    let after: Challenge = scene.api().get(&challenge.name_any()).await.unwrap();
    assert_eq!(after.finalizers(), Vec::<String>::new());
    let status = after.status.unwrap();
    assert!(!status.presented && !status.processing, "{status:?}");
    assert_eq!(records(&scene), Vec::<String>::new());
    assert_eq!(holder(&lease(&testbed, LEASE).await.unwrap().unwrap()), "");
    let orders: Vec<_> = scene.list::<Order>().await.unwrap().iter().map(ResourceExt::uid).collect();

    let second = replicas.start().await.unwrap();
    second.leads(&testbed, SOON).await.unwrap();
    let again = presented(&scene).await;
    assert_eq!((again.uid(), again.finalizers()), (challenge.uid(), &[finalizer::CHALLENGE.to_owned()][..]));
    assert_eq!(records(&scene).len(), 1);
    let same: Vec<_> = scene.list::<Order>().await.unwrap().iter().map(ResourceExt::uid).collect();
    assert_eq!(same, orders);
    scene.give_up().await.unwrap();
    assert_eq!(records(&scene), Vec::<String>::new());
}

/// What another controller works on is left to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn another_controller_goes_on() {
    let testbed = testbed();
    let mut replicas = Replicas::new(&testbed, &SHORT).await.unwrap();
    let first = replicas.start().await.unwrap();
    first.leads(&testbed, SOON).await.unwrap();
    let (scene, challenge) = under_way(&testbed, &first).await;

    let log = ends_well(replicas.wind_down(&[]).unwrap()).await;
    assert!(log.contains("another controller works"), "{log}");
    let after: Challenge = scene.api().get(&challenge.name_any()).await.unwrap();
    assert_eq!(after.finalizers(), [finalizer::CHALLENGE]);
    assert_eq!(records(&scene).len(), 1);
    assert_eq!(holder(&lease(&testbed, LEASE).await.unwrap().unwrap()), first.identity);
    scene.give_up().await.unwrap();
}

/// A Job that is stopped, as when its node is drained, has not done its work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn who_is_stopped_before_the_end_has_failed() {
    let testbed = testbed();
    let mut replicas = Replicas::new(&testbed, &[]).await.unwrap();
    let first = replicas.start().await.unwrap();
    first.leads(&testbed, SOON).await.unwrap();
    let mut leaving = replicas.wind_down(&[]).unwrap();
    let look = async || anyhow::Ok(leaving.read_log()?.contains("standing by").then_some(()));
    until("it to wait for the lease", PATIENCE, look).await.unwrap();
    let status = leaving.stop(PATIENCE).unwrap();
    let log = leaving.read_log().unwrap();
    assert!(!status.success() && log.contains("told to stop"), "{status}: {log}");
    assert_eq!(holder(&lease(&testbed, LEASE).await.unwrap().unwrap()), first.identity);
}

/// The credentials are gone, and the controller was killed: the Lease runs out, the finalizer goes, and an event tells what is left. A
/// Certificate that would wait until it is revoked waits no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn what_cannot_be_cleaned_up_holds_nothing() {
    let testbed = testbed();
    let mut replicas = Replicas::new(&testbed, &SHORT).await.unwrap();
    let mut first = replicas.start().await.unwrap();
    first.leads(&testbed, SOON).await.unwrap();
    let (scene, challenge) = under_way(&testbed, &first).await;
    first.kill().unwrap();
    scene.api::<Secret>().delete(TSIG_SECRET, &DeleteParams::default()).await.unwrap();
    let kept = json!({ "metadata": { "finalizers": [finalizer::REVOKE, "example.com/other"] } });
    scene.patch::<Certificate>("www", kept).await.unwrap();

    let log = ends_well(replicas.wind_down(&["--clean-up-timeout=3s"]).unwrap()).await;
    assert!(log.contains("could not be cleaned up in time"), "{log}");
    let after: Challenge = scene.api().get(&challenge.name_any()).await.unwrap();
    assert_eq!(after.finalizers(), Vec::<String>::new());
    let certificate: Certificate = scene.api().get("www").await.unwrap();
    assert_eq!(certificate.finalizers(), ["example.com/other"]);
    let events = scene.events(&challenge.name_any()).await.unwrap();
    let is_told =
        |(reason, note): &(String, String)| reason == event::CLEAN_UP_ERROR && note.contains("remove what is left");
    assert!(events.iter().any(is_told), "{events:?}");
    scene.patch::<Certificate>("www", json!({ "metadata": { "finalizers": null } })).await.unwrap();
    scene.give_up().await.unwrap();
}

/// Where the work is divided, all of it is brought to its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn every_share_is_wound_down() {
    let testbed = testbed();
    grant_two_shares(&testbed).await.unwrap();
    let mut replicas = Replicas::new(&testbed, &[&SHORT[..], &["--shards=2"]].concat()).await.unwrap();
    let mut first = replicas.start().await.unwrap();
    // Two namespaces that do not belong to the same share.
    let mut scenes = vec![under_way(&testbed, &first).await];
    let share = |scene: &Scene| Share::of_namespace(&scene.namespace, 2);
    while scenes.iter().all(|(scene, _)| share(scene) == share(&scenes[0].0)) {
        scenes.push(under_way(&testbed, &first).await);
    }
    first.kill().unwrap();
    let log = ends_well(replicas.wind_down(&[]).unwrap()).await;
    assert!(!log.contains("another controller works"), "{log}");
    for (scene, challenge) in scenes {
        let after: Challenge = scene.api().get(&challenge.name_any()).await.unwrap();
        assert_eq!(after.finalizers(), Vec::<String>::new());
        scene.give_up().await.unwrap();
    }
}
