//! DNS-01 beyond the usual: values side by side, CNAMEs, what is left to clean up, and providers that do not do as they are
//! told. These run inside a testbed, with controllers of their own:
//! `testbed run -- cargo test -p certwright-e2e --test dns01_engine -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use certwright::api::names::annotation;
use certwright::api::{Certificate, Challenge, Issuer};
use certwright_e2e::dns::{challenge_records, update};
use certwright_e2e::scene::is_ready;
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Scene, Testbed};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_mins(1);

async fn start(prefix: &str) -> (Controller, Scene) {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
    let controller = Controller::start(&testbed, &[]).await.unwrap();
    let scene = Scene::new(&testbed, controller.log(), prefix).await.unwrap();
    (controller, scene)
}

/// An issuer whose DNS-01 solver was changed.
async fn issuer(scene: &Scene, name: &str, change: impl FnOnce(&mut Value)) {
    let mut spec = scene.issuer_spec(&format!("{name}-account")).unwrap();
    change(&mut spec["acme"]["solvers"][0]);
    scene.create::<Issuer>(name, spec).await.unwrap();
    scene.wait_ready::<Issuer>(name).await.unwrap();
}

fn change_zone(scene: &Scene, lines: &[String]) {
    update(scene.testbed.state.dns().unwrap(), lines).unwrap();
}

/// What challenges have left in the zones, on either server.
fn records(scene: &Scene) -> Vec<String> {
    challenge_records(scene.testbed.state.dns().unwrap(), &scene.namespace).unwrap()
}

/// Waits until one of the scene's Challenges says this in its status.
async fn told(scene: &Scene, words: &str) -> Challenge {
    let what = format!("a Challenge that says {words:?}");
    scene.see_challenge(&what, PATIENCE, |_, reason| reason.contains(words)).await.unwrap()
}

fn shared_name(scene: &Scene) -> String {
    format!("_acme-challenge.{}", scene.dns_name("shared"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn many_values_stand_at_one_name_and_others_are_left_alone() {
    let (_controller, scene) = start("values").await;
    issuer(&scene, "pebble", |_| ()).await;
    let foreign = format!("{} 60 TXT \"of somebody else\"", shared_name(&scene));
    change_zone(&scene, &[format!("add {foreign}")]);
    let name = scene.dns_name("shared");
    for number in 0..4 {
        let wildcard = format!("*.{name}");
        scene.certificate(&format!("shared-{number}"), "pebble", &[&name, &wildcard]).await.unwrap();
    }
    for number in 0..4 {
        scene.issued(&format!("shared-{number}")).await.unwrap();
    }
    let only_foreign = async || {
        let left = records(&scene);
        Ok::<_, anyhow::Error>((left.len() == 2 && left.iter().all(|it| it.contains("of somebody else"))).then_some(()))
    };
    until("the own values to be gone, and only those", PATIENCE, only_foreign).await.unwrap();
    change_zone(&scene, &[format!("delete {foreign}")]);
}

/// A solver with which a Challenge stays presented for a minute before the CA is told to look.
fn waits(solver: &mut Value) {
    solver["waitInsteadOfSelfCheck"] = json!("60s");
}

fn follows(solver: &mut Value) {
    solver["dns01"]["cnameStrategy"] = json!("Follow");
}

async fn delete_all(scene: &Scene, issuer: &str, certificate: &str) {
    let nothing = DeleteParams::default();
    scene.api::<Issuer>().delete(issuer, &nothing).await.unwrap();
    scene.api::<Certificate>().delete(certificate, &nothing).await.unwrap();
    for challenge in scene.list::<Challenge>().await.unwrap() {
        scene.api::<Challenge>().delete(&challenge.name_any(), &nothing).await.unwrap();
    }
}

fn txt_records(scene: &Scene) -> Vec<String> {
    records(scene).into_iter().filter(|record| record.contains("TXT")).collect()
}

async fn nothing_is_left(scene: &Scene) {
    let look = async || {
        let is_gone = txt_records(scene).is_empty() && scene.list::<Challenge>().await?.is_empty();
        Ok::<_, anyhow::Error>(is_gone.then_some(()))
    };
    until("the records and the Challenges to be gone", PATIENCE, look).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_record_at_the_end_of_a_cname_is_found_again_wherever_the_cname_leads_by_then() {
    let (mut controller, scene) = start("cname").await;
    issuer(&scene, "follow", |solver| {
        follows(solver);
        waits(solver);
    })
    .await;
    let own = format!("_acme-challenge.{}", scene.dns_name("www"));
    let target = |label| format!("_acme-challenge.{label}.{}.other.test.", scene.namespace);
    change_zone(&scene, &[format!("add {own} 0 CNAME {}", target("first"))]);
    scene.certificate("www", "follow", &[&scene.dns_name("www")]).await.unwrap();
    let challenge = told(&scene, "before accepting the challenge").await;
    let noted = challenge.annotations().get(annotation::DNS01_RECORD).cloned();
    assert_eq!(noted, Some(format!("{} other.test.", target("first"))));
    let there = txt_records(&scene);
    assert!(there.iter().all(|record| record.contains("first")) && !there.is_empty(), "{there:?}");

    controller.kill().unwrap();
    change_zone(&scene, &[format!("delete {own} CNAME"), format!("add {own} 0 CNAME {}", target("second"))]);
    delete_all(&scene, "follow", "www").await;
    controller.restart().unwrap();
    controller.ready().await.unwrap();
    nothing_is_left(&scene).await;
    change_zone(&scene, &[format!("delete {own} CNAME")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_wildcard_cname_that_leads_nowhere_is_superseded() {
    let (_controller, scene) = start("wild").await;
    issuer(&scene, "follow", follows).await;
    let wildcard = format!("*.{}", scene.dns_name("wild"));
    change_zone(&scene, &[format!("add {wildcard} 0 CNAME parked.example.")]);
    scene.certificate("www", "follow", &[&scene.dns_name("wild")]).await.unwrap();
    scene.issued("www").await.unwrap();
    nothing_is_left(&scene).await;
    change_zone(&scene, &[format!("delete {wildcard} CNAME")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn clean_up_outlives_the_issuer_and_its_secret() {
    let (_controller, scene) = start("orphan").await;
    let tsig = scene.testbed.state.dns().unwrap().tsig.secret.clone();
    scene.put_secret("short-lived", "secret", &tsig).await.unwrap();
    issuer(&scene, "pebble", |solver| {
        waits(solver);
        solver["dns01"]["rfc2136"]["tsigSecretSecretRef"]["name"] = json!("short-lived");
    })
    .await;
    scene.certificate("www", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    let challenge = told(&scene, "before accepting the challenge").await;
    assert_eq!(challenge.annotations().get(annotation::DNS01_RECORD), None, "what follows from the name is not noted");
    assert!(!txt_records(&scene).is_empty());
    scene.api::<Secret>().delete("short-lived", &DeleteParams::default()).await.unwrap();
    delete_all(&scene, "pebble", "www").await;
    nothing_is_left(&scene).await;
}

/// A name server that says yes to everything and does nothing, until it repents and passes everything on to `honest`.
fn start_liar(node: Ipv4Addr, honest: SocketAddr, repents: Arc<AtomicBool>) -> SocketAddr {
    let socket = UdpSocket::bind((node, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let request = &buffer[..length];
            let answer = if repents.load(Ordering::Relaxed) { pass_on(request, honest) } else { lie(request) };
            if socket.send_to(&answer, client).is_err() {
                return;
            }
        }
    });
    address
}

/// A response without an error and without any record but the question (RFC 1035 section 4.1.1).
fn lie(request: &[u8]) -> Vec<u8> {
    let mut answer = request.to_vec();
    answer[2] |= 0x80;
    answer[6..12].fill(0);
    let end = 12 + answer[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    answer.truncate(end);
    answer
}

fn pass_on(request: &[u8], server: SocketAddr) -> Vec<u8> {
    let socket = UdpSocket::bind((server.ip(), 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.send_to(request, server).unwrap();
    let mut buffer = [0; 4096];
    socket.recv(&mut buffer).map(|length| buffer[..length].to_vec()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn what_a_provider_does_not_do_is_told_and_others_go_on() {
    let (_controller, scene) = start("bad").await;
    let node = scene.testbed.state.node_address;
    // Takes everything and says nothing, as a server behind a firewall does.
    let silent = UdpSocket::bind((node, 0)).unwrap();
    let (silent_address, repents) = (silent.local_addr().unwrap().to_string(), Arc::new(AtomicBool::new(false)));
    let liar = start_liar(node, SocketAddr::from((node, 53)), repents.clone()).to_string();
    let rfc2136 =
        |field: &'static str, value: Value| move |solver: &mut Value| solver["dns01"]["rfc2136"][field] = value;
    issuer(&scene, "silent", rfc2136("nameserver", json!(silent_address))).await;
    issuer(&scene, "liar", rfc2136("nameserver", json!(liar))).await;
    issuer(&scene, "unknown-key", rfc2136("tsigKeyName", json!("nobody"))).await;
    issuer(&scene, "no-secret", rfc2136("tsigSecretSecretRef", json!({ "name": "absent", "key": "secret" }))).await;
    issuer(&scene, "no-entry", rfc2136("tsigSecretSecretRef", json!({ "name": "tsig", "key": "absent-entry" }))).await;
    issuer(&scene, "fine", |_| ()).await;
    for name in ["silent", "liar", "unknown-key", "no-secret", "no-entry", "fine"] {
        scene.certificate(name, name, &[&scene.dns_name(name)]).await.unwrap();
    }
    scene.issued("fine").await.unwrap();
    let refused = told(&scene, "BADKEY").await;
    let reason = refused.status.and_then(|status| status.reason).unwrap();
    assert!(reason.ends_with("next try after 10 min"), "{reason}");
    told(&scene, "absent with the TSIG key does not exist or has nothing under \"secret\"").await;
    told(&scene, "has nothing under \"absent-entry\"").await;
    told(&scene, "gave no answer over UDP within").await;
    let lied_to = told(&scene, "does not have the TXT record yet").await;
    assert_eq!(lied_to.spec.dns_name, scene.dns_name("liar"));

    // A Secret that was put right is tried at once.
    let tsig = scene.testbed.state.dns().unwrap().tsig.secret.clone();
    scene.put_secret("tsig", "absent-entry", &tsig).await.unwrap();
    scene.put_secret("absent", "secret", &tsig).await.unwrap();
    for name in ["no-entry", "no-secret"] {
        scene.issued(name).await.unwrap();
    }

    // What is missing for long is asked for again.
    repents.store(true, Ordering::Relaxed);
    let what = "the record that was lost being written again";
    scene.wait_for::<Certificate>("liar", what, 4 * PATIENCE, is_ready).await.unwrap();
}
