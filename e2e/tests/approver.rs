//! Without the built-in approver nothing is signed until somebody approves it. These run inside a testbed, with a
//! controller of their own: `testbed run -- cargo test -p certwright-e2e --test approver -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use certwright::api::names::condition;
use certwright::api::{Certificate, CertificateRequest, Issuer, find_condition};
use certwright_e2e::authority::Authority;
use certwright_e2e::kubernetes::CERTWRIGHT_USER;
use certwright_e2e::scene::{Conditions as _, PATIENCE, certificate_spec, unreadiness};
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Scene, Testbed};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn nothing_is_signed_without_approval() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
    let controller = Controller::start(&testbed, &["--controllers=*,-certificaterequests-approver"]).await.unwrap();
    let scene = Scene::new(&testbed, controller.log(), "approver").await.unwrap();
    ca_issuer(&scene).await;
    for name in ["approved", "denied"] {
        let spec = certificate_spec(name, "Issuer", "ca", &[&scene.dns_name(name)]);
        scene.create::<Certificate>(name, spec).await.unwrap();
    }
    for request in ["approved-1", "denied-1"] {
        let is_waiting = |request: &CertificateRequest| {
            unreadiness(request).is_some_and(|(_, message)| message.contains("until it is Approved"))
        };
        scene.wait_for(request, "waiting for approval", PATIENCE, is_waiting).await.unwrap();
    }
    rests(&scene).await;

    decide(&scene, "approved-1", "Approved").await;
    let issued = scene.issued("approved").await.unwrap();
    assert_eq!(issued.certificate.status.unwrap().revision, Some(1));

    decide(&scene, "denied-1", "Denied").await;
    let has_failed = |certificate: &Certificate| {
        let issuing = find_condition(certificate.conditions(), condition::ISSUING);
        issuing.is_some_and(|issuing| {
            issuing.is_false() && issuing.message.as_ref().is_some_and(|text| text.contains("decided by a test"))
        })
    };
    let certificate = scene.wait_for::<Certificate>("denied", "having failed", PATIENCE, has_failed).await.unwrap();
    assert_eq!(certificate.status.unwrap().failed_issuance_attempts, Some(1));
    let has_ended = |request: &CertificateRequest| unreadiness(request).is_some_and(|(reason, _)| reason == "Denied");
    let request = scene.wait_for("denied-1", "having ended", PATIENCE, has_ended).await.unwrap();
    let status = request.status.unwrap();
    assert!(status.certificate.is_none() && status.failure_time.is_some(), "{status:#?}");
    assert!(scene.api::<Secret>().get_opt("denied-tls").await.unwrap().is_none());
    rests(&scene).await;
}

/// The CA comes with a Secret, so that nothing has to be approved for it.
async fn ca_issuer(scene: &Scene) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::create(folder.path(), "ca").unwrap();
    let key = std::fs::read_to_string(folder.path().join("ca.key")).unwrap();
    let pair = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "ca-pair" },
        "stringData": { "tls.crt": authority.certificate_pem(), "tls.key": key },
    });
    let pair: Secret = serde_json::from_value(pair).unwrap();
    scene.api().create(&PostParams::default(), &pair).await.unwrap();
    scene.create::<Issuer>("ca", json!({ "ca": { "secretName": "ca-pair" } })).await.unwrap();
    scene.wait_ready::<Issuer>("ca").await.unwrap();
}

/// Nothing is written for some seconds, and nothing was signed or approved meanwhile.
async fn rests(scene: &Scene) {
    // What was waited for may not have been the last that is written.
    let look = async || {
        let mark = scene.testbed.mark()?;
        tokio::time::sleep(Duration::from_secs(4)).await;
        let mut writes = scene.testbed.writes_since(mark).await?;
        writes.retain(|write| write.user == CERTWRIGHT_USER && write.namespace == scene.namespace);
        anyhow::ensure!(writes.is_empty(), "{writes:#?}");
        Ok(Some(()))
    };
    until("the controller to rest", PATIENCE, look).await.unwrap();
    for request in scene.list::<CertificateRequest>().await.unwrap() {
        let conditions = request.conditions();
        let was_decided = ["Approved", "Denied"].iter().any(|type_| find_condition(conditions, type_).is_some());
        let is_signed = request.status.as_ref().is_some_and(|status| status.certificate.is_some());
        assert!(was_decided || !is_signed, "{request:#?}");
    }
}

/// Approves or denies a request as another client.
async fn decide(scene: &Scene, name: &str, type_: &str) {
    let requests = scene.api::<CertificateRequest>();
    let request = requests.get(name).await.unwrap();
    let mut conditions = serde_json::to_value(request.conditions()).unwrap();
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap().to_string();
    let new: Value = json!({
        "type": type_, "status": "True", "reason": "Test", "message": "decided by a test", "lastTransitionTime": now,
    });
    conditions.as_array_mut().unwrap().push(new);
    let patch = Patch::Merge(json!({ "status": { "conditions": conditions } }));
    requests.patch_status(name, &PatchParams::default(), &patch).await.unwrap();
}
