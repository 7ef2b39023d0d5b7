//! A cluster as cert-manager leaves it is taken over, and is such afterwards that cert-manager could go on. It runs inside
//! a testbed, with a controller of its own:
//! `testbed run -- cargo test -p certwright-e2e --test take_over -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use certwright::api::Certificate;
use certwright_e2e::fixture::check::Seen;
use certwright_e2e::fixture::take_over::{Outcome, PATIENCE};
use certwright_e2e::fixture::{CERTIFICATES, Fixture};
use certwright_e2e::scene::is_ready;
use certwright_e2e::{Controller, Scene, Testbed};
use futures::future::join_all;
use kube::ResourceExt;
use serde_json::json;

/// Nothing that is good is issued again, everything that was begun comes to its end, and what failed waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn nothing_is_issued_twice_and_nothing_is_left() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
    let mut fixture = Fixture::lay_down(&testbed).await.unwrap();
    assert_eq!(fixture.issued.len() + fixture.begun.len(), CERTIFICATES);
    let before = Seen::read(&fixture.scene).await.unwrap();
    let is_at_rest = |problem: &&String| problem.starts_with("Certificate rest-");
    assert_eq!(before.problems().iter().filter(is_at_rest).collect::<Vec<_>>(), Vec::<&String>::new());

    let mark = testbed.mark().unwrap();
    let controller = Controller::start(&testbed, &[]).await.unwrap();
    fixture.scene.controller_log = controller.log().to_owned();
    let outcome = Outcome::of(&fixture, mark).await.unwrap();
    println!("{outcome:#?}");
    assert_eq!(outcome.left, Vec::<String>::new());
    assert_eq!(outcome.reissued, Vec::<String>::new());
    assert_eq!((outcome.needless_orders, outcome.account_requests), (0, 0));
    assert_eq!(outcome.needless_writes, Vec::<String>::new());
    is_in_order(&fixture.scene).await;

    // And back: what certwright has issued itself looks the same.
    renew(&fixture).await;
    is_in_order(&fixture.scene).await;
}

/// Waits for it: former requests and next keys go after the status was written.
async fn is_in_order(scene: &Scene) {
    let look = async || {
        let problems = Seen::read(scene).await?.problems();
        anyhow::ensure!(problems.is_empty(), "{problems:#?}");
        Ok(Some(()))
    };
    certwright_e2e::wait::until("everything to be in order", PATIENCE, look).await.unwrap();
}

/// Has every Certificate at rest renewed that is from an issuer which is there, as `cmctl renew` does.
async fn renew(fixture: &Fixture) {
    let scene = &fixture.scene;
    let is_there = |certificate: &&Certificate| certificate.spec.issuer_ref.name != "far";
    let certificates: Vec<_> =
        fixture.issued.iter().map(|issued| &issued.certificate).filter(is_there).cloned().collect();
    join_all(certificates.iter().map(|certificate| async {
        let name = certificate.name_any();
        let present: Certificate = scene.api().get(&name).await.unwrap();
        let mut status = serde_json::to_value(present.status.unwrap()).unwrap();
        status["conditions"].as_array_mut().unwrap().push(json!({
            "type": "Issuing", "status": "True", "reason": "ManuallyTriggered",
            "message": "Certificate re-issuance manually triggered",
            "lastTransitionTime": jiff::Timestamp::now(), "observedGeneration": present.metadata.generation,
        }));
        let patch = kube::api::Patch::Merge(json!({ "status": { "conditions": status["conditions"] } }));
        let params = kube::api::PatchParams::default();
        scene.api::<Certificate>().patch_status(&name, &params, &patch).await.unwrap();
    }))
    .await;
    join_all(certificates.iter().map(|certificate| async {
        let former = certificate.status.as_ref().and_then(|status| status.revision).unwrap();
        let is_new = |certificate: &Certificate| {
            certificate.status.as_ref().and_then(|status| status.revision) == Some(former + 1) && is_ready(certificate)
        };
        scene.wait_for(&certificate.name_any(), "being renewed", PATIENCE, is_new).await.unwrap();
    }))
    .await;
}
