//! A release of cert-manager, with all that its controller has left, is upgraded to certwright where pods run. It runs inside a
//! testbed of tier `cluster`:
//! `testbed run --tier cluster -- cargo test -p certwright-e2e --test take_over_cluster -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use std::fs;

use certwright_e2e::controller::binary;
use certwright_e2e::fixture::check::Seen;
use certwright_e2e::fixture::take_over::Outcome;
use certwright_e2e::fixture::{Extent, Fixture};
use certwright_e2e::helm::{Helm, chart};
use certwright_e2e::kubectl::Kubectl;
use certwright_e2e::scene::CLUSTER_RESOURCE_NAMESPACE;
use certwright_e2e::wait::until;
use certwright_e2e::{Testbed, image, install};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::ListParams;

const RELEASE: &str = "cert-manager";
/// Of them forty are under way by DNS-01, or have failed.
const CERTIFICATES: usize = 60;

/// What of a release of cert-manager's chart matters to its successor. Its pod runs nothing, as one that was stopped.
const CERT_MANAGER: &str = r"
apiVersion: v1
kind: ServiceAccount
metadata: {name: cert-manager, namespace: NAMESPACE}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cert-manager, namespace: NAMESPACE}
spec:
  replicas: 0
  selector:
    matchLabels:
      app.kubernetes.io/name: cert-manager
      app.kubernetes.io/instance: cert-manager
      app.kubernetes.io/component: controller
  template:
    metadata:
      labels:
        app.kubernetes.io/name: cert-manager
        app.kubernetes.io/instance: cert-manager
        app.kubernetes.io/component: controller
    spec:
      serviceAccountName: cert-manager
      containers:
        - name: cert-manager-controller
          image: quay.io/jetstack/cert-manager-controller:v1.21.1
          imagePullPolicy: Never
          args: [--v=2, --leader-election-namespace=kube-system]
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_release_of_cert_manager_is_upgraded_with_challenges_under_way() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run --tier cluster`");
    let class = testbed.state.cluster().unwrap().ingress_class.clone();
    let kubectl = Kubectl::of(&testbed.state).unwrap();
    install::end_deployed(&kubectl).unwrap();
    image::import_certwright(&testbed.state, &binary().unwrap()).unwrap();
    let extent = Extent { certificates: CERTIFICATES, ingress_class: Some(class) };
    let mut fixture = Fixture::lay_down_so_far(&testbed, &extent).await.unwrap();
    let scene = fixture.scene.clone();
    let solvers = ListParams::default().labels("acme.cert-manager.io/http01-solver=true");
    let look = async || {
        let pods = scene.api::<Pod>().list(&solvers).await?.items;
        let run = |pod: &&Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
        anyhow::Ok((pods.len() == 4 && pods.iter().filter(run).count() == 4).then_some(()))
    };
    until("the solver pods to run", certwright_e2e::scene::PATIENCE, look).await.unwrap();

    let own = testbed.namespace("release").await.unwrap();
    fixture.user = format!("system:serviceaccount:{own}:cert-manager");
    let helm = Helm::of(&testbed.state).unwrap();
    let helm = |verb: &str, more: &[&str]| {
        let arguments = [&[verb, RELEASE, "--namespace", &own], more].concat();
        helm.run(&arguments).unwrap()
    };
    let theirs = cert_manager(&own);
    helm("install", &[&theirs.path().display().to_string()]);
    let mark = testbed.mark().unwrap();
    let values = format!("--set=image.tag=dev,clusterResourceNamespace={CLUSTER_RESOURCE_NAMESPACE}");
    let waiting = ["--reset-then-reuse-values", "--wait", "--timeout=120s"];
    helm("upgrade", &[&[&*chart().display().to_string(), &values], &waiting[..]].concat());
    let outcome = Outcome::of(&fixture, mark).await.unwrap();
    println!("{outcome:#?}");
    assert_eq!(outcome.left, Vec::<String>::new());
    assert_eq!(outcome.reissued, Vec::<String>::new());
    assert_eq!((outcome.needless_orders, outcome.account_requests), (0, 0));
    assert_eq!(outcome.needless_writes, Vec::<String>::new());
    assert_eq!(Seen::read(&scene).await.unwrap().problems(), Vec::<String>::new());
    let look = async || {
        let (pods, ways) = (scene.api::<Pod>().list(&solvers).await?, scene.api::<Ingress>().list(&solvers).await?);
        anyhow::Ok((pods.items.is_empty() && ways.items.is_empty()).then_some(()))
    };
    until("cert-manager's solvers to be gone", certwright_e2e::scene::PATIENCE, look).await.unwrap();
    helm("uninstall", &["--wait"]);
}

/// A chart with what [`CERT_MANAGER`] says.
fn cert_manager(namespace: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("templates")).unwrap();
    fs::write(folder.path().join("Chart.yaml"), "{apiVersion: v2, name: cert-manager, version: 1.21.1}").unwrap();
    fs::write(folder.path().join("templates/all.yaml"), CERT_MANAGER.replace("NAMESPACE", namespace)).unwrap();
    folder
}
