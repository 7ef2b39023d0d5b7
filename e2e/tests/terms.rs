//! Whom a ClusterIssuer serves, and that nobody else has its credentials used. These run inside a testbed, with a controller of
//! their own: `testbed run -- cargo test -p certwright-e2e --test terms -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use certwright::api::{Certificate, CertificateRequest, Challenge, ClusterIssuer, Order};
use certwright_e2e::scene::{PATIENCE, certificate_spec, unreadiness};
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Scene, Testbed};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

/// Gives the scene's ClusterIssuer this annotation.
async fn annotate(scene: &Scene, name: &str, value: &str) {
    let issuers: Api<ClusterIssuer> = Api::all(scene.client.clone());
    let patch = json!({ "metadata": { "annotations": { name: value } } });
    issuers.patch(&scene.namespace, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

async fn refused(scene: &Scene, certificate: &str, words: &str) {
    scene.certificate_of_cluster_issuer(certificate, &[&scene.dns_name(certificate)]).await.unwrap();
    let is_refused = |request: &CertificateRequest| {
        unreadiness(request).is_some_and(|(reason, message)| reason == "Failed" && message.contains(words))
    };
    let name = format!("{certificate}-1");
    scene.wait_for::<CertificateRequest>(&name, "being refused", PATIENCE, is_refused).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn namespaces_and_names_that_are_allowed() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
    let controller = Controller::start(&testbed, &[]).await.unwrap();
    let scene = Scene::new(&testbed, controller.log(), "terms").await.unwrap();
    scene.cluster_issuer().await.unwrap();
    annotate(&scene, "certwright.dev/allowed-names", &format!("*.{}", scene.dns_name("allowed"))).await;
    refused(&scene, "other", "does not certify the name").await;
    let name = scene.dns_name("www.allowed");
    scene.certificate_of_cluster_issuer("www", &[&name]).await.unwrap();
    scene.issued("www").await.unwrap();
    annotate(&scene, "certwright.dev/allowed-namespaces", "elsewhere, far-*").await;
    refused(&scene, "here", "does not serve the namespace").await;
    let orders = scene.list::<Order>().await.unwrap();
    assert_eq!(orders.len(), 1, "nothing was ordered for those: {orders:?}");
}

/// As Certificates that are made from Gateways name one. What is stored of it has more: the API server fills in its group.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_gateway_that_a_certificate_names_is_no_other_solver() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
    let controller = Controller::start(&testbed, &[]).await.unwrap();
    let scene = Scene::new(&testbed, controller.log(), "gateway").await.unwrap();
    scene.cluster_issuer().await.unwrap();
    let issuers: Api<ClusterIssuer> = Api::all(scene.client.clone());
    let solvers = json!([{ "http01": { "gatewayHTTPRoute": {} } }]);
    let patch = json!({ "spec": { "acme": { "solvers": solvers } } });
    issuers.patch(&scene.namespace, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    let spec = certificate_spec("www", "ClusterIssuer", &scene.namespace, &[&scene.dns_name("www")]);
    let certificate = json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Certificate",
        "metadata": { "name": "www", "annotations": {
            "acme.cert-manager.io/http01-parentrefname": "gate", "acme.cert-manager.io/http01-parentrefkind": "Gateway",
        } },
        "spec": spec,
    });
    let certificate: Certificate = serde_json::from_value(certificate).unwrap();
    scene.api::<Certificate>().create(&PostParams::default(), &certificate).await.unwrap();
    let look = async || {
        let challenges = scene.list::<Challenge>().await?.into_iter();
        let mut reasons = challenges.filter_map(|challenge| challenge.status?.reason);
        anyhow::Ok(reasons.find(|reason| reason.contains("HTTPRoute") || reason.contains("solver is none")))
    };
    let reason = until("the Challenge to say what becomes of it", PATIENCE, look).await.unwrap();
    // There is no Gateway API here.
    assert!(reason.contains("HTTPRoute"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn orders_and_challenges_of_others_get_nothing() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
    let controller = Controller::start(&testbed, &[]).await.unwrap();
    let scene = Scene::new(&testbed, controller.log(), "origin").await.unwrap();
    scene.cluster_issuer().await.unwrap();
    scene
        .create::<Certificate>(
            "www",
            certificate_spec("www", "ClusterIssuer", &scene.namespace, &[&scene.dns_name("www")]),
        )
        .await
        .unwrap();
    scene.issued("www").await.unwrap();
    let genuine = scene.list::<Order>().await.unwrap().remove(0);

    let mut spec = json!(genuine.spec);
    spec["dnsNames"] = json!([scene.dns_name("bank")]);
    scene.create::<Order>("mine", spec).await.unwrap();
    let reason = |order: &Order| {
        let reason = order.status.as_ref().and_then(|status| status.reason.clone()).unwrap_or_default();
        reason.ends_with("is not used for this Order, because it belongs to no CertificateRequest")
    };
    let order = scene.wait_for::<Order>("mine", "saying why it is left", PATIENCE, reason).await.unwrap();
    assert_eq!(order.status.unwrap().url, None, "nothing was asked of the CA");

    let authorization = &genuine.status.as_ref().unwrap().authorizations[0];
    let offered = authorization.challenges.iter().find(|offered| offered.type_ == "dns-01").unwrap();
    let solver: Value = scene.rfc2136_solver(&format!("{}-tsig", scene.namespace)).unwrap();
    let spec = json!({
        "authorizationURL": authorization.url, "url": offered.url, "token": offered.token, "type": "DNS-01",
        "dnsName": scene.dns_name("bank"), "key": "value of my own", "solver": solver, "issuerRef": genuine.spec.issuer_ref,
    });
    scene.create::<Challenge>("mine", spec).await.unwrap();
    let reason = |challenge: &Challenge| {
        let reason = challenge.status.as_ref().and_then(|status| status.reason.clone()).unwrap_or_default();
        reason.ends_with("is not used for this Challenge, because it belongs to no Order")
    };
    let challenge = scene.wait_for::<Challenge>("mine", "saying why it is left", PATIENCE, reason).await.unwrap();
    assert!(!challenge.status.unwrap().presented);
    scene.api::<Challenge>().delete("mine", &DeleteParams::background()).await.unwrap();
    scene.wait_gone::<Challenge>("mine").await.unwrap();
}
