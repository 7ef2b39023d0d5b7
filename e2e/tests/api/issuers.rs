//! Issuers that cannot work say why and when they are tried again, and recover by themselves.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certwright::api::Issuer;
use certwright::pki::{Encoding, KeyAlgorithm, PrivateKey};
use certwright_e2e::Scene;
use certwright_e2e::pebble::{PebbleOptions, start_another};
use certwright_e2e::scene::{PATIENCE, is_ready};
use serde_json::{Value, json};

use crate::support::{Server, issuer_with, mend_issuer, scene, unready, writes_during};

/// Something is wrong for good as long as nobody acts: neither the CA nor the API server is bothered meanwhile.
async fn is_quiet(scene: &Scene) {
    let writes = writes_during(scene, Duration::from_secs(4)).await;
    assert!(writes.len() <= 2, "{} writes in 4 s: {writes:#?}", writes.len());
}

/// Creates an Issuer with this change; waits for a message with these words, checks that nothing spins, and corrects the
/// spec: the Issuer becomes ready.
async fn broken_until_edited(prefix: &str, change: impl FnOnce(&Scene, &mut Value), words: &[&str]) -> String {
    let scene = scene(prefix).await;
    issuer_with(&scene, |acme| change(&scene, acme)).await;
    let message = unready::<Issuer>(&scene, "pebble", words).await;
    is_quiet(&scene).await;
    mend_issuer(&scene).await;
    message
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_wrong_path() {
    let change = |_: &Scene, acme: &mut Value| acme["server"] = json!("https://10.77.0.1:14000/directory-of-nothing");
    let words = ["https://10.77.0.1:14000/directory-of-nothing", "HTTP 404", "tried again"];
    broken_until_edited("path", change, &words).await;
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn no_url_at_all() {
    let change = |_: &Scene, acme: &mut Value| acme["server"] = json!("letsencrypt");
    broken_until_edited("nourl", change, &["\"letsencrypt\"", "a name and no URL"]).await;
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_kubernetes_api_instead_of_a_ca() {
    let change = |scene: &Scene, acme: &mut Value| {
        let kubernetes = scene.testbed.state.kubernetes().unwrap();
        acme["server"] = json!(format!("{}/dir", kubernetes.server));
        acme["caBundle"] = json!(STANDARD.encode(std::fs::read(&kubernetes.ca_file).unwrap()));
    };
    let words = ["https://10.77.0.1:6443/dir", "did not answer as an ACME server", "HTTP 40", "tried again"];
    broken_until_edited("kube", change, &words).await;
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_bundle_that_is_no_pem() {
    let change = |_: &Scene, acme: &mut Value| acme["caBundle"] = json!(STANDARD.encode("not PEM"));
    broken_until_edited("nopem", change, &["CA bundle", "PEM"]).await;
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn the_bundle_of_another_ca() {
    let change = |scene: &Scene, acme: &mut Value| {
        let other = &scene.testbed.state.kubernetes().unwrap().ca_file;
        acme["caBundle"] = json!(STANDARD.encode(std::fs::read(other).unwrap()));
    };
    let message = broken_until_edited("wrongca", change, &["https://10.77.0.1:14000/dir", "next try after"]).await;
    assert!(message.contains("certificate"), "{message}");
}

/// Waits until the Issuer is ready. Nothing tells the controller that the cause is gone, and its next try may come a minute
/// later.
async fn recovers(scene: &Scene) {
    scene.wait_for::<Issuer>("pebble", "recovering", 3 * PATIENCE, is_ready).await.unwrap();
}

/// The cause goes by itself: a CA starts to listen where nothing did.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn an_unreachable_server_that_comes_up() {
    let scene = scene("down").await;
    let options =
        PebbleOptions { name: "pebble-late".into(), port: 14200, management_port: 15200, ..PebbleOptions::default() };
    issuer_with(&scene, |acme| {
        acme["server"] = json!("https://10.77.0.1:14200/dir");
        acme["caBundle"] = Value::Null;
        acme["skipTLSVerify"] = json!(true);
    })
    .await;
    unready::<Issuer>(&scene, "pebble", &["cannot reach", "https://10.77.0.1:14200/dir", "next try after"]).await;
    is_quiet(&scene).await;
    let _running = start_another(&scene.testbed.state, &options).await.unwrap();
    recovers(&scene).await;
}

/// A web server stands where the CA should, and is asked seldom; then the CA is there.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_web_page_that_becomes_a_ca() {
    let scene = scene("page").await;
    let server = Server::start(&scene, "404 Not Found", "<h1>default backend</h1>").await;
    issuer_with(&scene, |acme| acme["server"] = json!(server.url)).await;
    unready::<Issuer>(&scene, "pebble", &["HTTP 404", "default backend", "tried again"]).await;
    is_quiet(&scene).await;
    assert!(server.count() <= 3, "{} requests within seconds", server.count());

    let acme = scene.testbed.state.acme().unwrap();
    let directory = acme.http_client().unwrap().get(&acme.directory_url).send().await.unwrap().text().await.unwrap();
    server.change("200 OK", &directory);
    recovers(&scene).await;
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_missing_key_that_must_not_be_made() {
    let scene = scene("nokey").await;
    issuer_with(&scene, |acme| acme["disableAccountKeyGeneration"] = json!(true)).await;
    unready::<Issuer>(&scene, "pebble", &["\"pebble-account\"", "disableAccountKeyGeneration", "tried again"]).await;
    is_quiet(&scene).await;
    let key = PrivateKey::generate(KeyAlgorithm::Rsa(2048)).unwrap().to_pem(Encoding::Pkcs1).unwrap();
    scene.put_secret("pebble-account", "tls.key", &key).await.unwrap();
    scene.wait_ready::<Issuer>("pebble").await.unwrap();
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_malformed_key() {
    let scene = scene("badkey").await;
    scene.put_secret("pebble-account", "tls.key", "-----BEGIN SECRET-----\nhunter2\n").await.unwrap();
    issuer_with(&scene, |_| {}).await;
    let message = unready::<Issuer>(&scene, "pebble", &["pebble-account", "malformed", "tried again"]).await;
    assert!(!message.contains("hunter2"), "{message}");
    is_quiet(&scene).await;
    let key = PrivateKey::generate(KeyAlgorithm::Rsa(2048)).unwrap().to_pem(Encoding::Pkcs1).unwrap();
    scene.put_secret("pebble-account", "tls.key", &key).await.unwrap();
    scene.wait_ready::<Issuer>("pebble").await.unwrap();
}
