//! What the CA or the DNS server refuses reaches the people who look at the Certificate, and nothing is left behind.

use std::time::Duration;

use certwright::api::names::{condition, finalizer};
use certwright::api::{Certificate, CertificateRequest, Challenge, Issuer, Order};
use certwright_e2e::pebble::{PebbleOptions, start_another};
use certwright_e2e::scene::{PATIENCE, TSIG_ENTRY, TSIG_SECRET};
use certwright_e2e::wait::until;
use certwright_e2e::{Scene, dns};
use kube::ResourceExt as _;
use serde_json::json;

use crate::support::{condition_of, event, failed, issuer_with, only_request, scene, settles, unready, writes_during};

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn an_order_that_the_ca_refuses() {
    let scene = scene("blocked").await;
    scene.issuer("pebble").await.unwrap();
    let name = format!("{}.blocked.certwright.test", scene.namespace);
    scene.certificate("www", "pebble", &[&name]).await.unwrap();
    let words = ["urn:ietf:params:acme:error:rejectedIdentifier", &name, "next attempt at"];
    failed(&scene, "www", &words).await;
    let request = only_request(&scene).await;
    let ready = condition_of(&request, condition::READY);
    assert_eq!(ready.reason.as_deref(), Some("Failed"));
    assert!(ready.message.as_ref().unwrap().contains("rejectedIdentifier"), "{ready:#?}");
    event(&scene, "www", "Failed", "rejectedIdentifier").await;
    settles(&scene).await;

    // A changed spec is tried at once, whatever failed before.
    let other = scene.dns_name("www");
    scene.patch::<Certificate>("www", json!({ "spec": { "dnsNames": [other] } })).await.unwrap();
    scene.issued("www").await.unwrap();
}

/// A CA that asks a DNS server which does not answer: the challenge fails there, and the record goes.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_challenge_that_fails_at_the_ca() {
    let scene = scene("blind").await;
    let silent = scene.testbed.state.spare_addresses[0];
    let options = PebbleOptions {
        name: "pebble-blind".into(),
        port: 14300,
        management_port: 15300,
        dns_server: Some(format!("{silent}:5399")),
        ..PebbleOptions::default()
    };
    let (_running, acme) = start_another(&scene.testbed.state, &options).await.unwrap();
    issuer_with(&scene, |spec| {
        spec["server"] = json!(acme.directory_url);
        spec["caBundle"] = json!(certwright_e2e::scene::base64_of(&acme.ca_file).unwrap());
    })
    .await;
    scene.wait_ready::<Issuer>("pebble").await.unwrap();
    let name = scene.dns_name("www");
    scene.certificate("www", "pebble", &[&name]).await.unwrap();
    failed(&scene, "www", &["DNS-01 challenge for", &name, "urn:ietf:params:acme:error:"]).await;
    let request = only_request(&scene).await;
    let ready = condition_of(&request, condition::READY);
    assert!(ready.message.as_ref().unwrap().contains("urn:ietf:params:acme:error:"), "{ready:#?}");
    let orders: Vec<Order> = scene.list().await.unwrap();
    assert_eq!(orders[0].status.as_ref().unwrap().state.as_deref(), Some("invalid"));

    no_record_is_left(&scene).await;
    let look = async || {
        let left = scene.list::<Challenge>().await?;
        let held = left.iter().any(|challenge| challenge.finalizers().iter().any(|set| set == finalizer::CHALLENGE));
        Ok::<_, anyhow::Error>((!held).then_some(()))
    };
    until("the finalizers to go", PATIENCE, look).await.unwrap();
    settles(&scene).await;
}

async fn no_record_is_left(scene: &Scene) {
    let look = async || {
        let left = dns::challenge_records(scene.testbed.state.dns()?, &scene.namespace)?;
        anyhow::ensure!(left.is_empty(), "left: {left:?}");
        Ok(Some(()))
    };
    until("the TXT records to go from both servers", PATIENCE, look).await.unwrap();
}

/// The DNS server does not take our updates: everybody from the Challenge up to the Certificate says so.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_wrong_tsig_key() {
    let scene = scene("tsig").await;
    scene.put_secret(TSIG_SECRET, TSIG_ENTRY, "d3Jvbmcga2V5IHdyb25nIGtleSB3cm9uZyBrZXkgISE=").await.unwrap();
    scene.issuer("pebble").await.unwrap();
    let name = scene.dns_name("www");
    scene.certificate("www", "pebble", &[&name]).await.unwrap();
    let words = ["TSIG", "next try after"];
    let says = |reason: Option<&String>| reason.is_some_and(|text| words.iter().all(|word| text.contains(word)));
    unready::<Certificate>(&scene, "www", &words).await;
    unready::<CertificateRequest>(&scene, "www-1", &words).await;
    let challenges: Vec<Challenge> = scene.list().await.unwrap();
    assert!(says(challenges[0].status.as_ref().unwrap().reason.as_ref()), "{challenges:#?}");
    let orders: Vec<Order> = scene.list().await.unwrap();
    assert!(says(orders[0].status.as_ref().unwrap().reason.as_ref()), "{orders:#?}");
    let writes = writes_during(&scene, Duration::from_secs(4)).await;
    assert!(writes.len() <= 8, "{} writes in 4 s: {writes:#?}", writes.len());

    let right = scene.testbed.state.dns().unwrap().tsig.secret.clone();
    scene.put_secret(TSIG_SECRET, TSIG_ENTRY, &right).await.unwrap();
    scene.issued("www").await.unwrap();
    no_record_is_left(&scene).await;
}

/// The Secret with the TSIG key does not exist at first.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_missing_tsig_key() {
    let scene = scene("notsig").await;
    issuer_with(&scene, |acme| {
        acme["solvers"][0]["dns01"]["rfc2136"]["tsigSecretSecretRef"]["name"] = json!("later");
    })
    .await;
    scene.wait_ready::<Issuer>("pebble").await.unwrap();
    let name = scene.dns_name("www");
    scene.certificate("www", "pebble", &[&name]).await.unwrap();
    unready::<Certificate>(&scene, "www", &["later", "next try after"]).await;
    let right = scene.testbed.state.dns().unwrap().tsig.secret.clone();
    scene.put_secret("later", TSIG_ENTRY, &right).await.unwrap();
    scene.issued("www").await.unwrap();
}

/// A Certificate that is deleted while its challenge waits leaves no record behind.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn an_order_deleted_half_way() {
    let scene = scene("halfway").await;
    issuer_with(&scene, |acme| acme["solvers"][0]["waitInsteadOfSelfCheck"] = json!("10m")).await;
    scene.wait_ready::<Issuer>("pebble").await.unwrap();
    let name = scene.dns_name("www");
    scene.certificate("www", "pebble", &[&name]).await.unwrap();
    let look = async || {
        let challenges = scene.list::<Challenge>().await?;
        let presented = |challenge: &Challenge| challenge.status.as_ref().is_some_and(|status| status.presented);
        Ok::<_, anyhow::Error>(challenges.into_iter().find(presented))
    };
    let challenge = until("the challenge to be presented", PATIENCE, look).await.unwrap();
    assert!(!dns::challenge_records(scene.testbed.state.dns().unwrap(), &scene.namespace).unwrap().is_empty());
    scene.give_up().await.unwrap();
    scene.wait_gone::<Challenge>(&challenge.name_any()).await.unwrap();
    no_record_is_left(&scene).await;
}
