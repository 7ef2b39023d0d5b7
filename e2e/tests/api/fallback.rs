//! Spare issuers sign while the first one cannot, and no longer.

use certwright::api::names::{annotation, condition};
use certwright::api::{Certificate, Issuer, Order, find_condition};
use certwright_e2e::Scene;
use certwright_e2e::fault_proxy::journal::orders_made;
use certwright_e2e::fault_proxy::{FaultProxy, ServerIdentity};
use certwright_e2e::scene::{Conditions as _, Issued, PATIENCE, certificate_spec};
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;

use crate::life::{ask_for_renewal, ca_scene, of_revision, ready_message};
use crate::support::event;

/// The issuer `first` behind a proxy.
async fn first_issuer(scene: &Scene) -> FaultProxy {
    let identity = ServerIdentity::create(&scene.testbed.state).unwrap();
    let proxy = FaultProxy::start(&identity, scene.testbed.state.acme().unwrap()).await.unwrap();
    let mut spec = scene.issuer_spec("first-account").unwrap();
    proxy.stand_before(&mut spec);
    scene.create::<Issuer>("first", spec).await.unwrap();
    scene.wait_ready::<Issuer>("first").await.unwrap();
    proxy
}

/// Creates the Certificate `www` of the issuer `first` with these spares.
async fn create(scene: &Scene, spares: &str) {
    let mut spec = certificate_spec("www", "Issuer", "nobody", &[&scene.dns_name("www")]);
    spec["privateKey"] = json!({ "algorithm": "ECDSA" });
    scene.create::<Certificate>("www", spec).await.unwrap();
    let patch = json!({
        "metadata": { "annotations": { annotation::FALLBACK_ISSUERS: spares, annotation::FALLBACK_AFTER: "5s" } },
        "spec": { "issuerRef": { "name": "first" } },
    });
    scene.patch::<Certificate>("www", patch).await.unwrap();
}

/// From now on the issuer that is asked is waited for, however slow the machine is.
async fn has_time(scene: &Scene) {
    let patch = json!({ "metadata": { "annotations": { annotation::FALLBACK_AFTER: "10m" } } });
    scene.patch::<Certificate>("www", patch).await.unwrap();
}

/// Waits until the Issuing condition tells which spare is asked.
async fn is_asked(scene: &Scene, spare: &str) {
    let told = format!("asked is the spare issuer {spare}");
    let is_told = |certificate: &Certificate| {
        let issuing = find_condition(certificate.conditions(), condition::ISSUING);
        issuing.is_some_and(|issuing| issuing.message.as_ref().is_some_and(|text| text.contains(&told)))
    };
    scene.wait_for("www", &format!("telling that {told}"), PATIENCE, is_told).await.unwrap();
}

fn is_of(held: &Issued, issuer: &str) {
    assert_eq!(held.secret.annotations()[annotation::ISSUER_NAME], issuer);
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_ca_of_ones_own_signs_until_the_first_is_back() {
    let scene = ca_scene("spare-ca").await;
    let proxy = first_issuer(&scene).await;
    proxy.set_down(true);
    create(&scene, "ClusterIssuer/there-is-none, Issuer/ca").await;
    let spare = of_revision(&scene, "www", 1).await;
    is_of(&spare, "ca");
    assert_eq!(spare.leaf().issuer_common_name.as_deref(), Some("spare-ca CA"));
    let remark = "it is of the spare issuer Issuer/ca; the next one is asked of Issuer/first again";
    assert!(ready_message(&spare.certificate).contains(remark), "{}", ready_message(&spare.certificate));
    event(&scene, "www", "FallbackIssuer", "Issuer/first does not sign (").await;
    event(&scene, "www", "FallbackIssuer", "cannot reach the ACME server").await;
    event(&scene, "www", "FallbackIssuer", "Issuer/ca is asked instead").await;
    assert_eq!(orders_made(&proxy.journal()), 0);

    // Nobody follows owners here, so what went with the request in a cluster stays: the Order that waits for the first CA.
    for order in scene.list::<Order>().await.unwrap() {
        scene.api::<Order>().delete(&order.name_any(), &DeleteParams::default()).await.unwrap();
    }
    // As good as any other: it is replaced when its time has come, or somebody wants it.
    proxy.set_down(false);
    crate::support::settles(&scene).await;
    is_of(&scene.issued("www").await.unwrap(), "ca");
    has_time(&scene).await;
    ask_for_renewal(&scene, "www").await;
    let first = of_revision(&scene, "www", 2).await;
    is_of(&first, "first");
    assert!(!ready_message(&first.certificate).contains("spare"), "{}", ready_message(&first.certificate));
    assert_eq!(orders_made(&proxy.journal()), 1);
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn another_acme_issuer_signs_too() {
    let scene = crate::support::scene("spare-acme").await;
    scene.issuer("second").await.unwrap();
    let proxy = first_issuer(&scene).await;
    proxy.set_down(true);
    create(&scene, "Issuer/second").await;
    is_asked(&scene, "Issuer/second").await;
    has_time(&scene).await;
    is_of(&of_revision(&scene, "www", 1).await, "second");
    event(&scene, "www", "FallbackIssuer", "Issuer/second is asked instead").await;
    assert_eq!(orders_made(&proxy.journal()), 0);
}
