//! Certificates that are revoked because an annotation of their Certificate asks for it.

use std::collections::BTreeMap;

use certwright::api::Certificate;
use certwright::api::names::{annotation, finalizer};
use certwright::pki::ParsedCertificate;
use certwright_e2e::Scene;
use certwright_e2e::fault_proxy::{FaultProxy, Kind, ServerIdentity};
use certwright_e2e::scene::PATIENCE;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::life::{of_revision, ready_message};
use crate::support::{certificate_with, event, scene, settles};

/// What the CA says of a certificate: `Status`, and the `Reason` for which it was revoked (RFC 5280 section 5.3.1).
async fn status_of(scene: &Scene, certificate: &ParsedCertificate) -> Value {
    let acme = scene.testbed.state.acme().unwrap();
    let url = format!("{}/cert-status-by-serial/{}", acme.management_url, certificate.serial_hex());
    let answer = acme.http_client().unwrap().get(url).send().await.unwrap().error_for_status().unwrap();
    answer.json().await.unwrap()
}

async fn is_revoked(scene: &Scene, certificate: &ParsedCertificate, reason: u8) {
    let status = status_of(scene, certificate).await;
    assert_eq!((&status["Status"], &status["Reason"]), (&json!("Revoked"), &json!(reason)), "{status}");
}

async fn annotate(scene: &Scene, name: &str, annotation: &str, value: &str) {
    let patch = json!({ "metadata": { "annotations": { annotation: value } } });
    scene.patch::<Certificate>(name, patch).await.unwrap();
}

fn public_key(secret: &Secret) -> Vec<u8> {
    let key = &secret.data.as_ref().unwrap()["tls.key"].0;
    certwright::pki::PrivateKey::from_pem(key).unwrap().public_key_der().unwrap()
}

/// Creates a Certificate whose key is to be kept, and waits until its wish for the end has its finalizer.
async fn with_a_last_wish(scene: &Scene, name: &str, reason: &str) -> ParsedCertificate {
    let key = json!({ "privateKey": { "algorithm": "ECDSA", "rotationPolicy": "Never" } });
    certificate_with(scene, name, &[&scene.dns_name(name)], key).await;
    let leaf = scene.issued(name).await.unwrap().leaf().clone();
    annotate(scene, name, annotation::REVOKE_ON_DELETE, reason).await;
    let is_held = |held: &Certificate| held.finalizers().iter().any(|set| set == finalizer::REVOKE);
    scene.wait_for(name, "having the finalizer", PATIENCE, is_held).await.unwrap();
    leaf
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn on_demand_and_replaced() {
    let scene = scene("revoke").await;
    scene.issuer("pebble").await.unwrap();
    let key = json!({ "privateKey": { "algorithm": "ECDSA", "rotationPolicy": "Never" } });
    certificate_with(&scene, "www", &[&scene.dns_name("www")], key).await;
    let first = scene.issued("www").await.unwrap();
    assert_eq!(status_of(&scene, first.leaf()).await["Status"], "Valid");

    // Whatever the policy says, a key that was compromised is not used again.
    annotate(&scene, "www", annotation::REVOKE, "keyCompromise").await;
    let second = of_revision(&scene, "www", 2).await;
    is_revoked(&scene, first.leaf(), 1).await;
    assert_eq!(status_of(&scene, second.leaf()).await["Status"], "Valid");
    assert_ne!(public_key(&second.secret), public_key(&first.secret));
    let noted = format!("keyCompromise {}", first.leaf().serial_hex());
    assert_eq!(second.secret.annotations()[annotation::REVOKED], noted);
    event(&scene, "www", "Revoked", &first.leaf().serial_hex()).await;

    // The wish is fulfilled, and nothing more comes of it.
    settles(&scene).await;
    assert_eq!(status_of(&scene, second.leaf()).await["Status"], "Valid");
    assert_eq!(scene.issued("www").await.unwrap().leaf().serial, second.leaf().serial);

    // Another wish, of which the key may stay.
    annotate(&scene, "www", annotation::REVOKE, "superseded:by a test").await;
    let third = of_revision(&scene, "www", 3).await;
    is_revoked(&scene, second.leaf(), 4).await;
    assert_eq!(public_key(&third.secret), public_key(&second.secret));
    let noted = format!("superseded:by a test {}", second.leaf().serial_hex());
    assert_eq!(third.secret.annotations()[annotation::REVOKED], noted);
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn at_the_end_and_not_without_the_ca() {
    let scene = scene("farewell").await;
    let identity = ServerIdentity::create(&scene.testbed.state).unwrap();
    let proxy = FaultProxy::start(&identity, scene.testbed.state.acme().unwrap()).await.unwrap();
    let mut spec = scene.issuer_spec("pebble-account").unwrap();
    proxy.stand_before(&mut spec);
    scene.create::<certwright::api::Issuer>("pebble", spec).await.unwrap();
    scene.wait_ready::<certwright::api::Issuer>("pebble").await.unwrap();
    let certificates = scene.api::<Certificate>();

    let leaf = with_a_last_wish(&scene, "www", "cessationOfOperation").await;
    certificates.delete("www", &DeleteParams::default()).await.unwrap();
    scene.wait_gone::<Certificate>("www").await.unwrap();
    is_revoked(&scene, &leaf, 5).await;
    assert!(scene.api::<Secret>().get_opt("www-tls").await.unwrap().is_some(), "the Secret stays, as ever");

    // Somebody changes his mind.
    let leaf = with_a_last_wish(&scene, "kept", "superseded").await;
    let patch = json!({ "metadata": { "annotations": { annotation::REVOKE_ON_DELETE: null } } });
    scene.patch::<Certificate>("kept", patch).await.unwrap();
    let is_free = |held: &Certificate| held.finalizers().is_empty();
    scene.wait_for("kept", "having no finalizer", PATIENCE, is_free).await.unwrap();
    certificates.delete("kept", &DeleteParams::default()).await.unwrap();
    scene.wait_gone::<Certificate>("kept").await.unwrap();
    assert_eq!(status_of(&scene, &leaf).await["Status"], "Valid");

    // The CA is away.
    let leaf = with_a_last_wish(&scene, "late", "superseded").await;
    proxy.set_down(true);
    certificates.delete("late", &DeleteParams::default()).await.unwrap();
    let is_told = |held: &Certificate| {
        let text = ready_message(held);
        ["Not deleted before", "Failed to revoke the certificate", "cannot reach the ACME server", "; next try"]
            .iter()
            .all(|word| text.contains(word))
    };
    scene.wait_for("late", "telling why it stays", PATIENCE, is_told).await.unwrap();
    event(&scene, "late", "RevocationFailed", "cannot reach the ACME server").await;
    assert_eq!(status_of(&scene, &leaf).await["Status"], "Valid");
    proxy.set_down(false);
    scene.wait_gone::<Certificate>("late").await.unwrap();
    is_revoked(&scene, &leaf, 4).await;
    let mut asked = BTreeMap::<_, usize>::new();
    for exchange in proxy.journal().iter().filter(|exchange| exchange.kind == Kind::RevokeCertificate) {
        *asked.entry(exchange.status).or_default() += 1;
    }
    assert_eq!(asked.get(&Some(200)), Some(&2), "{asked:?}");
}
