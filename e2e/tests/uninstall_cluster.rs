//! The Helm chart is uninstalled while challenges are under way: nothing is left that waits for a controller. These run inside a
//! testbed of tier `cluster`:
//! `testbed run --tier cluster -- cargo test -p certwright-e2e --test uninstall_cluster -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use certwright::api::names::{LEASE, finalizer, label};
use certwright::api::{Certificate, Challenge, Issuer};
use certwright_e2e::controller::binary;
use certwright_e2e::dns::challenge_records;
use certwright_e2e::helm::{Helm, chart};
use certwright_e2e::kubectl::Kubectl;
use certwright_e2e::replica::{holder, lease};
use certwright_e2e::scene::{PATIENCE, certificate_spec};
use certwright_e2e::wait::until;
use certwright_e2e::{Scene, Testbed, image, install};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::json;

const RELEASE: &str = "cert-manager";
/// Far less than a Lease lasts whose holder has vanished.
const AT_ONCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn nothing_waits_for_a_controller_that_was_uninstalled() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run --tier cluster`");
    testbed.state.cluster().unwrap();
    let kubeconfig = testbed.state.kubernetes().unwrap().admin_kubeconfig.clone();
    let kubectl = Kubectl { program: testbed.state.program("kubectl"), kubeconfig, is_local: true };
    // That of another test program, if one was here before.
    kubectl.run(&["delete", "deployment", "certwright", "--namespace=certwright", "--ignore-not-found"]).unwrap();
    image::import_certwright(&testbed.state, &binary().unwrap()).unwrap();
    let own = testbed.namespace("release").await.unwrap();
    let helm = Helm::of(&testbed.state).unwrap();
    let helm = |verb: &str, more: &[&str]| {
        let arguments = [&[verb, RELEASE, "--namespace", &own, "--wait", "--timeout=150s"], more].concat();
        helm.run(&arguments).unwrap()
    };
    let chart = chart().display().to_string();

    helm("install", &[&chart, "--take-ownership", "--set=crds.enabled=true,image.tag=dev"]);
    leads(&testbed).await;
    let first = under_way(&testbed).await;
    helm("uninstall", &[]);
    assert_taken_back(&first).await;
    assert_eq!(holder(&lease(&testbed, LEASE).await.unwrap().unwrap()), "");
    let jobs: Api<Job> = Api::namespaced(first.client.clone(), &own);
    assert!(jobs.list(&ListParams::default()).await.unwrap().items.is_empty(), "the Job is gone too");
    assert_eq!(definitions(&first).await, 6);
    goes(&first).await;

    helm("install", &[&chart, "--set=crds.enabled=true,crds.keep=false,image.tag=dev"]);
    leads(&testbed).await;
    let second = under_way(&testbed).await;
    helm("uninstall", &[]);
    assert_eq!(definitions(&second).await, 0, "with --wait they are gone at the end");
    assert_eq!(challenge_records(testbed.state.dns().unwrap(), &second.namespace).unwrap(), Vec::<String>::new());
    goes(&second).await;
    install::definitions(&kubectl).unwrap();
}

async fn leads(testbed: &Testbed) {
    let look = async || {
        let held = lease(testbed, LEASE).await?.filter(|lease| !holder(lease).is_empty());
        anyhow::Ok(held)
    };
    until("the lease to be held", AT_ONCE, look).await.unwrap();
}

/// A namespace with one challenge of each type that is presented and never comes to its end.
async fn under_way(testbed: &Testbed) -> Scene {
    let log = testbed.state.logs().join("kubelet.log");
    let scene = Scene::new(testbed, &log, "leaving").await.unwrap();
    let mut spec = scene.issuer_spec("account").unwrap();
    spec["acme"]["solvers"][0]["waitInsteadOfSelfCheck"] = json!("1h");
    scene.create::<Issuer>("dns", spec.clone()).await.unwrap();
    // No ingress controller has that class.
    spec["acme"]["solvers"] = json!([{ "http01": { "ingress": { "ingressClassName": "nobody" } } }]);
    scene.create::<Issuer>("http", spec).await.unwrap();
    for issuer in ["dns", "http"] {
        scene.wait_ready::<Issuer>(issuer).await.unwrap();
        let spec = certificate_spec(issuer, "Issuer", issuer, &[&scene.dns_name(issuer)]);
        scene.create::<Certificate>(issuer, spec).await.unwrap();
    }
    let look = async || {
        let challenges = scene.list::<Challenge>().await?;
        let is_presented = |one: &&Challenge| one.status.as_ref().is_some_and(|status| status.presented);
        anyhow::Ok((challenges.iter().filter(is_presented).count() == 2).then_some(challenges))
    };
    for challenge in until("both challenges to be presented", PATIENCE, look).await.unwrap() {
        assert_eq!(challenge.finalizers(), [finalizer::CHALLENGE]);
    }
    scene
}

async fn assert_taken_back(scene: &Scene) {
    for challenge in scene.list::<Challenge>().await.unwrap() {
        assert_eq!(challenge.finalizers(), Vec::<String>::new(), "{challenge:?}");
        assert!(!challenge.status.unwrap().presented);
    }
    let dns = scene.testbed.state.dns().unwrap();
    let look = async || Ok::<_, anyhow::Error>(challenge_records(dns, &scene.namespace)?.is_empty().then_some(()));
    until("the records to be gone", PATIENCE, look).await.unwrap();
    let solvers = ListParams::default().labels(&format!("{}=true", label::HTTP01_SOLVER));
    let look = async || anyhow::Ok(scene.api::<Pod>().list(&solvers).await?.items.is_empty().then_some(()));
    until("the solver's pod to be gone", PATIENCE, look).await.unwrap();
}

/// The namespace can be deleted.
async fn goes(scene: &Scene) {
    let namespaces: Api<Namespace> = Api::all(scene.client.clone());
    namespaces.delete(&scene.namespace, &DeleteParams::default()).await.unwrap();
    let look = async || -> kube::Result<_> { Ok(namespaces.get_opt(&scene.namespace).await?.is_none().then_some(())) };
    until("the namespace to be gone", PATIENCE, look).await.unwrap();
}

/// How many definitions of ours there are.
async fn definitions(scene: &Scene) -> usize {
    let definitions: Api<CustomResourceDefinition> = Api::all(scene.client.clone());
    let found = definitions.list_metadata(&ListParams::default()).await.unwrap();
    found.iter().filter(|definition| definition.name_any().ends_with("cert-manager.io")).count()
}
