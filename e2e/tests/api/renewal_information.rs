//! The CA says when to renew (RFC 9773).

use certwright::api::certificate::AcmeRenewalInfo;
use certwright::api::names::annotation;
use certwright::api::{Certificate, Order};
use certwright::pki::certificate_id;
use certwright_e2e::Scene;
use certwright_e2e::scene::{Issued, PATIENCE, is_ready};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::issue::no_challenge_is_left;
use crate::support::{event, issuer_with, mark, scene, settles, writes_since};

fn ari(certificate: &Certificate) -> Option<AcmeRenewalInfo> {
    certificate.status.as_ref()?.acme.as_ref()?.ari.clone()
}

/// Has the controller ask the CA now, which it would do an hour after the issuance at the earliest.
async fn ask(scene: &Scene) {
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    let patch = json!({ "status": { "acme": { "ari": { "nextCheck": now.to_string() } } } });
    let certificates = scene.api::<Certificate>();
    certificates.patch_status("www", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

/// Pebble gives this answer about the certificate from now on.
async fn suggest(scene: &Scene, issued: &Issued, answer: &str) {
    let pem = &issued.secret.data.as_ref().unwrap()["tls.crt"].0;
    let body = json!({ "Certificate": String::from_utf8(pem.clone()).unwrap(), "ARIResponse": answer });
    let acme = scene.testbed.state.acme().unwrap();
    let url = format!("{}/set-renewal-info/", acme.management_url);
    let request = acme.http_client().unwrap().post(url).body(body.to_string());
    request.send().await.unwrap().error_for_status().unwrap();
}

async fn of_revision(scene: &Scene, revision: i64) -> Issued {
    let is_there = |certificate: &Certificate| {
        is_ready(certificate) && certificate.status.as_ref().and_then(|status| status.revision) == Some(revision)
    };
    let what = format!("being ready with revision {revision}");
    scene.wait_for::<Certificate>("www", &what, PATIENCE, is_there).await.unwrap();
    scene.issued("www").await.unwrap()
}

async fn order_of(scene: &Scene, request: &str) -> Order {
    let orders: Vec<Order> = scene.list().await.unwrap();
    let is_of = |order: &Order| order.owner_references().iter().any(|owner| owner.name == request);
    orders.into_iter().find(is_of).unwrap_or_else(|| panic!("no Order of {request}"))
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn the_ca_is_asked_obeyed_and_told_what_is_replaced() {
    let scene = scene("ari").await;
    issuer_with(&scene, |acme| acme["profile"] = json!("default")).await;
    scene.certificate("www", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    let first = scene.issued("www").await.unwrap();
    assert_eq!(ari(&first.certificate), None);
    no_challenge_is_left(&scene).await;
    settles(&scene).await;

    // The usual answer: one write, and the renewal time lies in the time span.
    let before = mark(&scene).await;
    ask(&scene).await;
    let is_asked = |held: &Certificate| ari(held).is_some_and(|ari| ari.last_checked.is_some());
    let certificate: Certificate = scene.wait_for("www", "having been asked about", PATIENCE, is_asked).await.unwrap();
    let told = ari(&certificate).unwrap();
    let window = told.suggested_window.unwrap();
    let renewal = certificate.status.unwrap().renewal_time.unwrap();
    assert!(window.start <= renewal && renewal <= window.end, "{window:?} {renewal:?}");
    let wait = told.next_check.unwrap().0.duration_since(told.last_checked.unwrap().0);
    assert!(SignedDuration::from_hours(5) < wait && wait < SignedDuration::from_hours(7), "{wait}");
    settles(&scene).await;
    let writes = writes_since(&scene, before).await;
    assert_eq!(writes.len(), 1, "{writes:#?}");

    // An answer that is none: told of, and without effect.
    suggest(&scene, &first, "<html>").await;
    ask(&scene).await;
    let has_failed = |held: &Certificate| ari(held).is_some_and(|ari| ari.last_error.is_some());
    let certificate: Certificate = scene.wait_for("www", "telling of a failure", PATIENCE, has_failed).await.unwrap();
    assert!(is_ready(&certificate));
    assert_eq!(certificate.status.unwrap().renewal_time.unwrap(), renewal);
    event(&scene, "www", "ARIError", "Failed to ask the CA when to renew").await;

    // A time span in the past: now.
    let hours_ago = |hours| Timestamp::now() - SignedDuration::from_hours(hours);
    let window = json!({ "start": hours_ago(2).to_string(), "end": hours_ago(1).to_string() });
    let answer = json!({ "suggestedWindow": window, "explanationURL": "https://ca.example/incident" });
    suggest(&scene, &first, &answer.to_string()).await;
    ask(&scene).await;
    let second = of_revision(&scene, 2).await;
    event(&scene, "www", "Issuing", "as the CA suggests a renewal between").await;
    event(&scene, "www", "Issuing", "(https://ca.example/incident)").await;
    let order = order_of(&scene, "www-2").await;
    assert_eq!(order.spec.replaces, certificate_id(first.leaf()));
    assert_eq!(order.annotations()[annotation::URGENT], "true");
    assert_eq!(ari(&second.certificate), None, "that was about the former one");

    // The first one again: Pebble knows that it was replaced, and certwright goes without saying so.
    let data = serde_json::to_value(&first.secret.data).unwrap();
    scene.patch::<Secret>("www-tls", json!({ "data": data })).await.unwrap();
    of_revision(&scene, 3).await;
    assert_eq!(order_of(&scene, "www-3").await.spec.replaces, certificate_id(first.leaf()));
    let log = std::fs::read_to_string(&scene.controller_log).unwrap();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("ordered once more without naming")).collect();
    assert!(lines.iter().any(|line| line.contains("alreadyReplaced")), "{lines:#?}");
}
