//! What is to be made cannot be made until somebody clears the way. This runs inside a testbed, with a controller of its own:
//! `testbed run -- cargo test -p certwright-e2e --test obstructed -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use certwright::api::{Certificate, ClusterIssuer};
use certwright::decide::fixed_name;
use certwright_e2e::scene::{PATIENCE, unreadiness};
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Scene, Testbed};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn what_is_in_the_way_is_told_or_waited_for() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
    let controller = Controller::start(&testbed, &["--cluster-resource-namespace=nowhere"]).await.unwrap();
    let scene = Scene::new(&testbed, controller.log(), "obstructed").await.unwrap();
    an_account_key_without_a_namespace(&scene).await;
    a_stranger_in_the_place_of_the_next_key(&scene).await;
}

/// The Secret with the account key is to be made in a namespace that does not exist.
async fn an_account_key_without_a_namespace(scene: &Scene) {
    let issuers: Api<ClusterIssuer> = Api::all(scene.client.clone());
    let issuer = serde_json::from_value(json!({
        "apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer",
        "metadata": { "name": scene.namespace }, "spec": scene.issuer_spec("account").unwrap(),
    }));
    issuers.create(&PostParams::default(), &issuer.unwrap()).await.unwrap();
    let says_so = |issuer: &ClusterIssuer| {
        let told = "Failed to create Secret nowhere/account: its namespace does not exist";
        unreadiness(issuer).is_some_and(|(_, message)| message.starts_with(told))
    };
    scene.wait_in(issuers.clone(), &scene.namespace, "telling what is missing", PATIENCE, says_so).await.unwrap();
    issuers.delete(&scene.namespace, &DeleteParams::default()).await.unwrap();
}

/// A key for each try would keep a core busy for ever.
async fn a_stranger_in_the_place_of_the_next_key(scene: &Scene) {
    scene.issuer("pebble").await.unwrap();
    let (first, second) = (scene.dns_name("first"), scene.dns_name("second"));
    scene.certificate("www", "pebble", &[&first]).await.unwrap();
    let uid = scene.issued("www").await.unwrap().certificate.uid().unwrap();
    let name = fixed_name::next_private_key("www", &uid, 2);
    scene.put_secret(&name, "word", "mine").await.unwrap();
    scene.patch::<Certificate>("www", json!({ "spec": { "dnsNames": [first, second] } })).await.unwrap();
    let look = async || {
        let log = std::fs::read_to_string(&scene.controller_log)?;
        anyhow::Ok(log.contains("no rest after").then_some(()))
    };
    until("the controller to pause", PATIENCE, look).await.unwrap();
    scene.api::<Secret>().delete(&name, &DeleteParams::default()).await.unwrap();
    assert_eq!(scene.issued("www").await.unwrap().leaf().names.dns_names.len(), 2);
}
