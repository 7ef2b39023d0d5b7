//! Several controllers agree by a Lease on who works, and certwright and cert-manager never work at the same time. These run
//! inside a testbed, with controllers of their own:
//! `testbed run -- cargo test -p certwright-e2e --test leader -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use certwright::api::Certificate;
use certwright::api::names::{LEASE, annotation};
use certwright::decide::shard::Share;
use certwright_e2e::process::Identity;
use certwright_e2e::replica::{LEASE_NAMESPACE, Replica, Replicas, grant_two_shares, holder, lease, share_lease};
use certwright_e2e::wait::until;
use certwright_e2e::{Scene, Testbed};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use rustix::process::Signal;
use serde_json::json;

/// Much shorter than by default, so that nobody waits long.
const SHORT: [&str; 3] = [
    "--leader-election-lease-duration=10s",
    "--leader-election-renew-deadline=8s",
    "--leader-election-retry-period=1s",
];
const PATIENCE: Duration = Duration::from_mins(1);
/// Far less than the lease duration by default.
const SOON: Duration = Duration::from_secs(35);

fn testbed() -> Testbed {
    Testbed::from_env().unwrap().expect("run this inside `testbed run`")
}

/// A namespace with an Issuer, which the leader makes ready.
async fn scene(testbed: &Testbed, leader: &Replica) -> Scene {
    let scene = Scene::new(testbed, leader.log(), "leader").await.unwrap();
    scene.issuer("pebble").await.unwrap();
    scene
}

async fn issue(scene: &Scene, name: &str) {
    scene.certificate(name, "pebble", &[&scene.dns_name(name)]).await.unwrap();
    scene.issued(name).await.unwrap();
}

async fn logs(replica: &Replica, words: &str) {
    let look = async || anyhow::Ok(replica.read_log()?.contains(words).then_some(()));
    until(&format!("{words:?} in {}", replica.log().display()), PATIENCE, look).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn another_follows_a_leader_that_was_killed() {
    let testbed = testbed();
    let mut replicas = Replicas::new(&testbed, &SHORT).await.unwrap();
    let mut first = replicas.start().await.unwrap();
    let held = first.leads(&testbed, SOON).await.unwrap();
    assert_eq!((held.lease_duration_seconds, held.lease_transitions), (Some(10), Some(0)));
    let second = replicas.start().await.unwrap();
    assert_eq!(second.probe("/readyz").await.unwrap(), 200, "who stands by is ready");
    assert_eq!(second.probe("/livez").await.unwrap(), 200);
    let scene = scene(&testbed, &first).await;
    issue(&scene, "before").await;
    logs(&second, "standing by: the lease is held by another").await;
    assert!(!second.read_log().unwrap().contains("working"), "both worked");

    first.kill().unwrap();
    scene.certificate("after", "pebble", &[&scene.dns_name("after")]).await.unwrap();
    let followed = second.leads(&testbed, PATIENCE).await.unwrap();
    assert_eq!(followed.lease_transitions, Some(1));
    scene.issued("after").await.unwrap();
}

/// With the times of cert-manager, so that nobody would follow within a minute if it was not released.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn who_stops_makes_room_at_once() {
    let testbed = testbed();
    let mut replicas = Replicas::new(&testbed, &[]).await.unwrap();
    let mut first = replicas.start().await.unwrap();
    first.leads(&testbed, SOON).await.unwrap();
    let mut second = replicas.start().await.unwrap();
    let scene = scene(&testbed, &first).await;
    assert!(first.stop().unwrap(), "see {}", first.log().display());
    second.leads(&testbed, SOON).await.unwrap();
    issue(&scene, "after").await;
    assert!(second.stop().unwrap());
    let released = lease(&testbed, LEASE).await.unwrap().unwrap();
    assert_eq!((holder(&released), released.lease_duration_seconds), ("", Some(1)), "as client-go leaves it");
    assert_eq!(released.lease_transitions, Some(2 - 1));
}

/// Its clock is an hour ahead, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn nothing_is_done_while_cert_manager_works() {
    let testbed = testbed();
    let mut replicas = Replicas::new(&testbed, &SHORT).await.unwrap();
    let leases: Api<Lease> = Api::namespaced(testbed.admin().await.unwrap(), LEASE_NAMESPACE);
    let ahead = || MicroTime(Timestamp::now() + SignedDuration::from_hours(1));
    let spec = LeaseSpec {
        holder_identity: Some("cert-manager-6f8c-external-cert-manager-controller".into()),
        lease_duration_seconds: Some(10),
        acquire_time: Some(ahead()),
        renew_time: Some(ahead()),
        lease_transitions: Some(7),
        ..LeaseSpec::default()
    };
    let metadata = ObjectMeta { name: Some(LEASE.into()), ..ObjectMeta::default() };
    leases.create(&PostParams::default(), &Lease { metadata, spec: Some(spec) }).await.unwrap();
    let replica = replicas.start().await.unwrap();
    let scene = Scene::new(&testbed, replica.log(), "leader").await.unwrap();
    scene.create::<certwright::api::Issuer>("pebble", scene.issuer_spec("account").unwrap()).await.unwrap();
    scene.certificate("www", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    // Longer than the lease duration.
    for _ in 0..14 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let renewed = json!({ "spec": { "renewTime": ahead() } });
        leases.patch(LEASE, &PatchParams::default(), &Patch::Merge(renewed)).await.unwrap();
    }
    let waiting: Certificate = scene.api().get("www").await.unwrap();
    assert!(waiting.status.is_none(), "{:?}", waiting.status);
    assert_eq!(replica.probe("/readyz").await.unwrap(), 200);
    let held = replica.leads(&testbed, PATIENCE).await.unwrap();
    assert_eq!(held.lease_transitions, Some(8));
    scene.issued("www").await.unwrap();
}

/// A short outage of the API server changes nothing; a long one ends the work, and it comes back by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn an_api_server_that_is_gone_for_a_while() {
    let testbed = testbed();
    let arguments = [
        "--leader-election-lease-duration=12s",
        "--leader-election-renew-deadline=9s",
        "--leader-election-retry-period=1s",
    ];
    let mut replicas = Replicas::new(&testbed, &arguments).await.unwrap();
    let mut replica = replicas.start().await.unwrap();
    replica.leads(&testbed, SOON).await.unwrap();
    let scene = scene(&testbed, &replica).await;
    let server = testbed.state.processes.iter().find(|process| process.name == "kube-apiserver").unwrap().identity;
    let still = async |seconds| {
        assert!(server.signal(Signal::STOP));
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        assert!(server.signal(Signal::CONT));
    };
    still(3).await;
    issue(&scene, "short").await;
    assert!(
        !replica.read_log().unwrap().contains("the lease is lost or given back"),
        "see {}",
        replica.log().display()
    );

    still(15).await;
    logs(&replica, "the lease is lost or given back").await;
    assert_eq!(replica.probe("/livez").await.unwrap(), 200);
    issue(&scene, "long").await;
    assert_eq!(lease(&testbed, LEASE).await.unwrap().unwrap().lease_transitions, Some(0));
    assert!(replica.process().unwrap().is_alive());
}

/// A leader that stood still finds out that another one works, and does nothing any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_leader_that_stood_still_stands_by() {
    let testbed = testbed();
    let mut replicas = Replicas::new(&testbed, &SHORT).await.unwrap();
    let mut first = replicas.start().await.unwrap();
    first.leads(&testbed, SOON).await.unwrap();
    let second = replicas.start().await.unwrap();
    let scene = scene(&testbed, &first).await;
    let process: Identity = first.process().unwrap();
    assert!(process.signal(Signal::STOP));
    second.leads(&testbed, PATIENCE).await.unwrap();
    assert!(process.signal(Signal::CONT));
    logs(&first, "the lease is lost or given back").await;
    logs(&first, "standing by: the lease is held by another").await;
    issue(&scene, "after").await;
    assert_eq!(holder(&lease(&testbed, LEASE).await.unwrap().unwrap()), second.identity);
    assert_eq!(first.probe("/livez").await.unwrap(), 200);
}

/// Who holds the Leases of the two shares.
async fn holders(testbed: &Testbed) -> [String; 2] {
    let mut held = [const { String::new() }; 2];
    for (name, holds) in [LEASE.to_owned(), share_lease(1)].iter().zip(&mut held) {
        let lease = lease(testbed, name).await.unwrap();
        lease.as_ref().map(holder).unwrap_or_default().clone_into(holds);
    }
    held
}

async fn until_held(testbed: &Testbed, what: &str, is_right: impl Fn(&[String; 2]) -> bool) {
    let look = async || {
        let held = holders(testbed).await;
        if is_right(&held) { Ok(Some(())) } else { Err(anyhow::anyhow!("{held:?}")) }
    };
    until(what, PATIENCE, look).await.unwrap();
}

/// A namespace with an Issuer that belongs to this share.
async fn scene_of(testbed: &Testbed, leader: &Replica, share: u32) -> Scene {
    loop {
        let scene = Scene::new(testbed, leader.log(), "shard").await.unwrap();
        if Share::of_namespace(&scene.namespace, 2).number == share {
            scene.issuer("pebble").await.unwrap();
            return scene;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn two_replicas_share_the_work() {
    let testbed = testbed();
    let arguments: Vec<&str> = SHORT.into_iter().chain(["--shards=2", "--log-level=debug"]).collect();
    let mut replicas = Replicas::new(&testbed, &arguments).await.unwrap();
    grant_two_shares(&testbed).await.unwrap();
    let first = replicas.start().await.unwrap();
    until_held(&testbed, "the first to do everything", |held| held.iter().all(|holder| *holder == first.identity))
        .await;
    let mut second = replicas.start().await.unwrap();
    let both = |held: &[String; 2]| held.contains(&first.identity) && held.contains(&second.identity);
    until_held(&testbed, "each to have a share", both).await;
    let mut scenes = Vec::new();
    for (share, holder) in (0..).zip(holders(&testbed).await) {
        let [own, other] = if holder == first.identity { [&first, &second] } else { [&second, &first] };
        let scene = scene_of(&testbed, own, share).await;
        issue(&scene, "www").await;
        let key = format!("Certificate {}/www", scene.namespace);
        assert!(own.read_log().unwrap().contains(&key), "see {}", own.log().display());
        assert!(!other.read_log().unwrap().contains(&key), "see {}", other.log().display());
        scenes.push(scene);
    }
    second.kill().unwrap();
    until_held(&testbed, "the first to do everything", |held| held.iter().all(|holder| *holder == first.identity))
        .await;
    for scene in &scenes {
        issue(scene, "after").await;
    }
}

/// Nobody works by a new division before all have stopped that went by the former one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn the_division_is_changed_by_one_who_follows() {
    let testbed = testbed();
    let mut replicas = Replicas::new(&testbed, &SHORT).await.unwrap();
    let mut first = replicas.start().await.unwrap();
    first.leads(&testbed, SOON).await.unwrap();
    grant_two_shares(&testbed).await.unwrap();
    let second = replicas.start_with(&["--shards=2"]).await.unwrap();
    let scene = scene_of(&testbed, &first, 1).await;
    issue(&scene, "before").await;
    assert_eq!(holders(&testbed).await, [first.identity.clone(), String::new()], "nothing is shared yet");
    assert!(!second.read_log().unwrap().contains("working"), "both worked");
    assert!(first.stop().unwrap());
    until_held(&testbed, "the second to do everything", |held| held.iter().all(|holder| *holder == second.identity))
        .await;
    issue(&scene, "after").await;
    let leases: Api<Lease> = Api::namespaced(testbed.admin().await.unwrap(), LEASE_NAMESPACE);
    let annotations = leases.get(LEASE).await.unwrap().metadata.annotations.unwrap();
    assert_eq!(annotations.get(annotation::SHARDS).map(String::as_str), Some("2"));
}
