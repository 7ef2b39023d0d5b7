//! New certificates in time, on demand, and with or without a new key.

use certwright::api::names::{annotation, condition, reason};
use certwright::api::{Certificate, find_condition};
use certwright_e2e::Scene;
use certwright_e2e::scene::{Conditions as _, Issued, PATIENCE};
use certwright_e2e::wait::until;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;

use super::chain::verifies;
use super::{ask_for_renewal, ca_scene, entry, issue, of_revision, request_names};
use crate::support::{event, settles};

fn key(issued: &Issued) -> &[u8] {
    entry(&issued.secret, "tls.key")
}

/// Waits for it: former requests go after the status was written.
async fn only_requests(scene: &Scene, wanted: &[&str]) {
    let look = async || {
        let names = request_names(scene).await;
        anyhow::ensure!(names == wanted, "there are {names:?}");
        Ok(Some(()))
    };
    until(&format!("the requests to be {wanted:?}"), PATIENCE, look).await.unwrap();
}

/// Asked for as `cmctl renew` does: there is a new certificate, and the key changes as the policy says.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn on_demand_with_and_without_a_new_key() {
    let scene = ca_scene("demand").await;
    for (name, policy, changes) in
        [("always", json!("Always"), true), ("default", json!(null), true), ("never", json!("Never"), false)]
    {
        let private_key = json!({ "algorithm": "ECDSA", "rotationPolicy": policy });
        let first = issue(&scene, name, json!({ "privateKey": private_key })).await;
        ask_for_renewal(&scene, name).await;
        let second = of_revision(&scene, name, 2).await;
        assert_ne!(first.leaf().serial, second.leaf().serial, "{name}");
        assert_eq!(key(&first) != key(&second), changes, "{name}");
        verifies(&second.secret);
    }
    event(&scene, "never", "Reused", "never-tls").await;
}

/// A key that must not be replaced and is not what the spec asks for: nothing is overwritten, and it is said why.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_key_that_may_not_be_replaced() {
    let scene = ca_scene("keep").await;
    let first =
        issue(&scene, "web", json!({ "privateKey": { "algorithm": "ECDSA", "rotationPolicy": "Never" } })).await;
    scene.patch::<Certificate>("web", json!({ "spec": { "privateKey": { "size": 384 } } })).await.unwrap();
    let is_told = |certificate: &Certificate| {
        let issuing = find_condition(certificate.conditions(), condition::ISSUING);
        let text = issuing.and_then(|issuing| issuing.message.clone()).unwrap_or_default();
        ["rotationPolicy is Never", "ECDSA 256", "ECDSA 384"].iter().all(|word| text.contains(word))
    };
    scene.wait_for::<Certificate>("web", "telling of the key", PATIENCE, is_told).await.unwrap();
    settles(&scene).await;
    let held: Secret = scene.api().get("web-tls").await.unwrap();
    assert_eq!(entry(&held, "tls.key"), key(&first));
    scene
        .patch::<Certificate>("web", json!({ "spec": { "privateKey": { "rotationPolicy": "Always" } } }))
        .await
        .unwrap();
    let second = of_revision(&scene, "web", 2).await;
    assert_ne!(key(&second), key(&first));
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn the_history_of_requests() {
    let scene = ca_scene("history").await;
    issue(&scene, "one", json!({})).await;
    issue(&scene, "two", json!({ "revisionHistoryLimit": 2 })).await;
    for revision in 2..=4 {
        for name in ["one", "two"] {
            ask_for_renewal(&scene, name).await;
            of_revision(&scene, name, revision).await;
        }
    }
    only_requests(&scene, &["one-4", "two-3", "two-4"]).await;
    settles(&scene).await;
    assert_eq!(request_names(&scene).await, ["one-4", "two-3", "two-4"]);
    scene.patch::<Certificate>("two", json!({ "spec": { "revisionHistoryLimit": 1 } })).await.unwrap();
    only_requests(&scene, &["one-4", "two-4"]).await;
    settles(&scene).await;
    assert_eq!(request_names(&scene).await, ["one-4", "two-4"]);
}

/// By the dates alone. Each certificate is the present one for so long that it is seen.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn when_it_is_due() {
    let scene = ca_scene("due").await;
    let first = issue(&scene, "web", json!({ "duration": "1h", "renewBefore": "59m40s" })).await;
    let due = first.certificate.status.as_ref().unwrap().renewal_time.as_ref().unwrap().0;
    assert_eq!(due, first.leaf().not_after - SignedDuration::from_secs(59 * 60 + 40));
    let second = of_revision(&scene, "web", 2).await;
    assert!(second.leaf().not_before >= due, "renewed at {}, due at {due}", second.leaf().not_before);
    assert!(second.leaf().not_before.duration_since(due) <= SignedDuration::from_mins(1));
    event(&scene, "web", "Issuing", "renewal was scheduled at").await;
}

/// By the annotation, once.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn at_a_time_that_was_wished_for() {
    let scene = ca_scene("wish").await;
    issue(&scene, "web", json!({})).await;
    let at = Timestamp::now() + SignedDuration::from_secs(4);
    let at = Timestamp::from_second(at.as_second()).unwrap();
    let wish = json!({ "metadata": { "annotations": { annotation::RENEW_AT: at.to_string() } } });
    scene.patch::<Certificate>("web", wish).await.unwrap();
    let second = of_revision(&scene, "web", 2).await;
    assert!(second.leaf().not_before >= at);
    assert!(second.leaf().not_before.duration_since(at) <= SignedDuration::from_mins(1));
    only_requests(&scene, &["web-2"]).await;
    settles(&scene).await;
    of_revision(&scene, "web", 2).await;
    assert_eq!(request_names(&scene).await, ["web-2"]);
}

/// Somebody who spoils the Secret again and again gets a new certificate a few times, then an explanation.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_secret_that_somebody_spoils() {
    let scene = ca_scene("spoilt").await;
    issue(&scene, "web", json!({})).await;
    let spoilt = json!({ "data": { "tls.crt": "" } });
    for revision in 2..=5 {
        scene.patch::<Secret>("web-tls", spoilt.clone()).await.unwrap();
        of_revision(&scene, "web", revision).await;
    }
    scene.patch::<Secret>("web-tls", spoilt).await.unwrap();
    let is_restrained = |certificate: &Certificate| {
        let issuing = find_condition(certificate.conditions(), condition::ISSUING);
        issuing
            .is_some_and(|issuing| issuing.is_false() && issuing.reason.as_deref() == Some(reason::TOO_MANY_ISSUANCES))
    };
    let certificate = scene.wait_for::<Certificate>("web", "being restrained", PATIENCE, is_restrained).await.unwrap();
    let text = find_condition(certificate.conditions(), condition::ISSUING).unwrap().message.clone().unwrap();
    assert!(text.contains("\"web-tls\"") && text.contains("next attempt at"), "{text}");
    settles(&scene).await;
    // A person's wish goes before.
    ask_for_renewal(&scene, "web").await;
    verifies(&of_revision(&scene, "web", 6).await.secret);
}
