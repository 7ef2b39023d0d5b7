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
use certwright_e2e::{Scene, Testbed, install, release};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::json;

const RELEASE: &str = "cert-manager";
/// Far less than a Lease lasts whose holder has vanished.
const AT_ONCE: Duration = Duration::from_secs(30);

/// A release of the chart in a namespace of its own.
struct Release {
    helm: Helm,
    namespace: String,
}

impl Release {
    fn run(&self, verb: &str, more: &[&str]) -> anyhow::Result<String> {
        self.helm.run(&[&[verb, RELEASE, "--namespace", &self.namespace, "--timeout=150s"], more].concat())
    }

    fn install(&self, values: &str, more: &[&str]) {
        let (chart, values) = (chart().display().to_string(), format!("--set=crds.enabled=true,{values}"));
        self.run("install", &[&[&*chart, &values, "--take-ownership"], more].concat()).unwrap();
    }

    async fn jobs(&self, testbed: &Testbed) -> usize {
        let jobs: Api<Job> = Api::namespaced(testbed.admin().await.unwrap(), &self.namespace);
        jobs.list(&ListParams::default()).await.unwrap().items.len()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn nothing_waits_for_a_controller_that_was_uninstalled() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run --tier cluster`");
    let (kubectl, helm) = release::prepare(&testbed).unwrap();
    let release = Release { helm, namespace: testbed.namespace("release").await.unwrap() };

    the_definitions_stay(&testbed, &release).await;
    the_definitions_go(&testbed, &release).await;
    install::definitions(&kubectl).unwrap();
    without_helm(&testbed, &kubectl).await;
    a_job_that_cannot_run_is_done_without(&testbed, &release).await;
}

async fn the_definitions_stay(testbed: &Testbed, release: &Release) {
    release.install("image.tag=dev", &["--wait"]);
    leads(testbed).await;
    let scene = under_way(testbed).await;
    release.run("uninstall", &["--wait"]).unwrap();
    assert_taken_back(&scene).await;
    assert_eq!(holder(&lease(testbed, LEASE).await.unwrap().unwrap()), "");
    assert_eq!(release.jobs(testbed).await, 0);
    assert_eq!(release::count_definitions(&scene.client).await.unwrap(), 6);
    goes(&scene).await;
}

/// What was there just before holds up nobody.
async fn the_definitions_go(testbed: &Testbed, release: &Release) {
    release.install("image.tag=dev,crds.keep=false", &["--wait"]);
    leads(testbed).await;
    let scene = under_way(testbed).await;
    release.run("uninstall", &["--wait"]).unwrap();
    assert_eq!(release::count_definitions(&scene.client).await.unwrap(), 0, "with --wait they are gone at the end");
    no_records(&scene).await;
    goes(&scene).await;
}

async fn without_helm(testbed: &Testbed, kubectl: &Kubectl) {
    install::deploy(&testbed.state, kubectl, &binary().unwrap()).unwrap();
    leads(testbed).await;
    let scene = under_way(testbed).await;
    let deploy = install::repository().join("deploy");
    kubectl.run(&["apply", "-k", &deploy.join("wind-down").display().to_string()]).unwrap();
    let job = "job/certwright-wind-down";
    kubectl.run(&["wait", "--namespace=certwright", "--for=condition=Complete", "--timeout=150s", job]).unwrap();
    kubectl.run(&["delete", "-k", &deploy.display().to_string(), "--timeout=60s"]).unwrap();
    assert_taken_back(&scene).await;
    goes(&scene).await;
}

async fn a_job_that_cannot_run_is_done_without(testbed: &Testbed, release: &Release) {
    release.install("image.tag=missing,image.pullPolicy=Never,windDown.activeDeadlineSeconds=5", &[]);
    let refusal = release.run("uninstall", &["--wait"]).unwrap_err().to_string();
    assert!(refusal.contains("wind-down failed: DeadlineExceeded"), "{refusal}");
    assert_eq!(release.jobs(testbed).await, 1, "it can be looked at");
    release.run("uninstall", &["--wait", "--no-hooks"]).unwrap();
    let left = release.helm.run(&["status", RELEASE, "--namespace", &release.namespace]).unwrap_err().to_string();
    assert!(left.contains("not found"), "{left}");
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
    no_records(scene).await;
    let solvers = ListParams::default().labels(&format!("{}=true", label::HTTP01_SOLVER));
    let look = async || anyhow::Ok(scene.api::<Pod>().list(&solvers).await?.items.is_empty().then_some(()));
    until("the solver's pod to be gone", PATIENCE, look).await.unwrap();
}

/// The secondary server follows a little later.
async fn no_records(scene: &Scene) {
    let dns = scene.testbed.state.dns().unwrap();
    let look = async || Ok::<_, anyhow::Error>(challenge_records(dns, &scene.namespace)?.is_empty().then_some(()));
    until("the records to be gone", PATIENCE, look).await.unwrap();
}

/// The namespace can be deleted.
async fn goes(scene: &Scene) {
    let namespaces: Api<Namespace> = Api::all(scene.client.clone());
    namespaces.delete(&scene.namespace, &DeleteParams::default()).await.unwrap();
    let look = async || -> kube::Result<_> { Ok(namespaces.get_opt(&scene.namespace).await?.is_none().then_some(())) };
    // After definitions went, the controller for namespaces waits before it tries again.
    until("the namespace to be gone", 3 * PATIENCE, look).await.unwrap();
}
