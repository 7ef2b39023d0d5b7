//! A release of cert-manager, with all that its controller has left, is upgraded to certwright where pods run. It runs inside a
//! testbed of tier `cluster`:
//! `testbed run --tier cluster -- cargo test -p certwright-e2e --test take_over_cluster -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use certwright_e2e::fixture::check::Seen;
use certwright_e2e::fixture::take_over::Outcome;
use certwright_e2e::fixture::{Extent, Fixture};
use certwright_e2e::helm::chart;
use certwright_e2e::scene::CLUSTER_RESOURCE_NAMESPACE;
use certwright_e2e::wait::until;
use certwright_e2e::{Testbed, release};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{Api, ListParams};

const RELEASE: &str = "cert-manager";
/// Of them forty are under way by DNS-01, or have failed.
const CERTIFICATES: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_release_of_cert_manager_is_upgraded_with_challenges_under_way() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run --tier cluster`");
    let (_, helm) = release::prepare(&testbed).unwrap();
    let class = testbed.state.cluster().unwrap().ingress_class.clone();
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
    let helm = |verb: &str, more: &[&str]| {
        let arguments = [&[verb, RELEASE, "--namespace", &own], more].concat();
        helm.run(&arguments).unwrap()
    };
    let theirs = tempfile::tempdir().unwrap();
    // Its pods run nothing, as those of one that was stopped.
    release::write_cert_manager_chart(theirs.path(), &own, 0).unwrap();
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
    // Or it would still work when the next test program begins.
    let pods: Api<Pod> = Api::namespaced(scene.client.clone(), &own);
    let look = async || anyhow::Ok(pods.list(&ListParams::default()).await?.items.is_empty().then_some(()));
    until("the controller's pod to be gone", certwright_e2e::scene::PATIENCE, look).await.unwrap();
}
