//! Who answers: every replica, and not only the one that leads.

use std::net::Ipv4Addr;
use std::time::Duration;

use certwright::api::Challenge;
use certwright_e2e::Scene;
use certwright_e2e::replica::Replicas;
use certwright_e2e::wait::until;
use kube::ResourceExt;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::support::{certificate, edge, issuer, names, nothing_is_left, testbed, there};

const SOON: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_replica_that_does_not_lead_answers_too() {
    let testbed = testbed();
    let (own, other) = (testbed.state.node_address, testbed.state.spare_addresses[0]);
    let mut replicas = Replicas::new(&testbed, &[]).await.unwrap();
    let leader = replicas.start_with(&["--pod-ip", &own.to_string()]).await.unwrap();
    leader.leads(&testbed, SOON).await.unwrap();
    let follower = replicas.start_with(&["--pod-ip", &other.to_string()]).await.unwrap();
    let scene = Scene::new(&testbed, leader.log(), "replicas").await.unwrap();
    issuer(&scene, json!({ "ingress": { "class": "edge" } }), "controller").await;
    certificate(&scene, &names(&scene, 1)).await;
    // Nothing leads to the name yet, so it stays open.
    let is_presented = |challenge: &Challenge| challenge.status.as_ref().is_some_and(|status| status.presented);
    let challenge = there::<Challenge>(&scene, is_presented).await;
    let spec = &challenge.spec;
    let path = format!("/.well-known/acme-challenge/{}", spec.token);
    for address in [own, other] {
        // What was presented a moment ago may reach the other one a moment later.
        let is_200 = |answer: &String| answer.starts_with("HTTP/1.1 200 ");
        let answers = async || anyhow::Ok(ask(address, &path, &spec.dns_name).await.filter(is_200));
        let answer = until("the key", SOON, answers).await.unwrap();
        assert!(answer.ends_with(spec.key.expose().as_str()), "{address}: {answer}");
        for (path, host) in [(&*path, "www.example.com"), ("/.well-known/acme-challenge/other", &*spec.dns_name)] {
            let refused = ask(address, path, host).await.unwrap_or_default();
            assert!(refused.starts_with("HTTP/1.1 404 "), "{address}: {refused}");
        }
    }
    let _edge = edge(own).await;
    scene.issued("web").await.unwrap();
    nothing_is_left(&scene).await;
    for log in [leader.log(), follower.log()] {
        let log = std::fs::read_to_string(log).unwrap();
        assert!(
            !log.contains(&spec.token) && !log.contains(spec.key.expose().as_str()),
            "{} tells",
            challenge.name_any()
        );
    }
}

async fn ask(address: Ipv4Addr, path: &str, host: &str) -> Option<String> {
    let mut stream = TcpStream::connect((address, 8089)).await.ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}
