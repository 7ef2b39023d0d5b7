//! The Helm chart with pods that run: installed, upgraded, rolled back, uninstalled. These run inside a testbed of tier
//! `cluster`: `testbed run --tier cluster -- cargo test -p certwright-e2e --test chart_cluster -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use certwright::api::{Certificate, Challenge, Issuer, Order};
use certwright_e2e::helm::chart;
use certwright_e2e::scene::{PATIENCE, certificate_spec};
use certwright_e2e::wait::until;
use certwright_e2e::{Scene, Testbed, install, release};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

const RELEASE: &str = "cert-manager";
/// How many issuances are under way while the controller is replaced.
const UNDER_WAY: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_release_issues_and_leaves_what_it_was_asked_to_leave() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run --tier cluster`");
    let (kubectl, helm) = release::prepare(&testbed).unwrap();
    let scene = Scene::new(&testbed, &testbed.state.logs().join("kubelet.log"), "chart").await.unwrap();
    let namespaces: Api<Namespace> = Api::all(scene.client.clone());
    let label = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "restricted" } } });
    namespaces.patch(&scene.namespace, &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
    let helm = |verb: &str, more: &[&str]| {
        let arguments = [&[verb, RELEASE, "--namespace", &scene.namespace], more].concat();
        helm.run(&arguments).unwrap()
    };
    let chart = chart().display().to_string();

    let values = "--set=crds.enabled=true,networkPolicy.enabled=true,podDisruptionBudget.enabled=true,image.tag=dev";
    helm("install", &[&chart, "--take-ownership", values]);
    let folder = install::repository().join("crds").display().to_string();
    kubectl.run(&["wait", "--for=condition=Established", "--timeout=60s", "-f", &folder]).unwrap();
    // The controller is not there yet.
    scene.create::<Issuer>("own", json!({ "selfSigned": {} })).await.unwrap();
    let spec = certificate_spec("web", "Issuer", "own", &["web.example.com"]);
    scene.create::<Certificate>("web", spec).await.unwrap();
    let first = scene.issued("web").await.unwrap();
    assert_eq!(first.leaf().names.dns_names, ["web.example.com"]);

    scene.create::<Issuer>("slow", slow_issuer(&scene)).await.unwrap();
    scene.wait_ready::<Issuer>("slow").await.unwrap();
    begin(&scene, "up").await;
    let more_words = ["--reset-then-reuse-values", "--set=global.logLevel=4", "--wait", "--timeout=90s"];
    helm("upgrade", &[&[chart.as_str()], &more_words[..]].concat());
    assert!(arguments(&scene).await.contains(&"--log-level=debug".to_owned()));
    end(&scene, "up").await;
    begin(&scene, "down").await;
    helm("rollback", &["1", "--wait", "--timeout=90s"]);
    end(&scene, "down").await;
    assert!(!arguments(&scene).await.contains(&"--log-level=debug".to_owned()));
    let last = scene.issued("web").await.unwrap();
    assert_eq!(last.secret.data, first.secret.data, "nothing was issued again");

    helm("uninstall", &["--wait", "--timeout=90s"]);
    assert_eq!(release::count_definitions(&scene.client).await.unwrap(), 6);
    scene.wait_ready::<Certificate>("web").await.unwrap();

    helm("install", &[&chart, "--set=crds.enabled=true,crds.keep=false,image.tag=dev", "--wait", "--timeout=90s"]);
    let spec = certificate_spec("other", "Issuer", "own", &["other.example.com"]);
    scene.create::<Certificate>("other", spec).await.unwrap();
    scene.issued("other").await.unwrap();
    helm("uninstall", &["--wait", "--timeout=90s"]);
    assert_eq!(release::count_definitions(&scene.client).await.unwrap(), 0);
    scene.api::<Secret>().get("other-tls").await.unwrap();

    namespaces.delete(&scene.namespace, &DeleteParams::default()).await.unwrap();
    let look = async || -> kube::Result<_> { Ok(namespaces.get_opt(&scene.namespace).await?.is_none().then_some(())) };
    // After definitions went, the controller for namespaces waits before it tries again.
    until("the namespace to be gone", 3 * PATIENCE, look).await.unwrap();
}

/// An issuer whose challenges stay under way long enough for a controller to be replaced meanwhile.
fn slow_issuer(scene: &Scene) -> Value {
    let mut spec = scene.issuer_spec("account").unwrap();
    spec["acme"]["solvers"][0]["waitInsteadOfSelfCheck"] = json!("20s");
    spec
}

/// Begins some issuances, and waits until their challenges are presented.
async fn begin(scene: &Scene, prefix: &str) {
    for name in names(prefix) {
        scene.certificate(&name, "slow", &[&scene.dns_name(&name)]).await.unwrap();
    }
    let look = async || {
        let challenges = scene.list::<Challenge>().await?.into_iter();
        let is_presented = |one: &Challenge| {
            one.spec.dns_name.starts_with(prefix) && one.status.as_ref().is_some_and(|status| status.presented)
        };
        anyhow::Ok((challenges.filter(is_presented).count() == UNDER_WAY).then_some(()))
    };
    until("the challenges to be presented", PATIENCE, look).await.unwrap();
}

/// They come to their end with the order that they began with.
async fn end(scene: &Scene, prefix: &str) {
    for name in names(prefix) {
        let issued = scene.issued(&name).await.unwrap();
        assert_eq!(issued.certificate.status.unwrap().revision, Some(1));
    }
    let orders = scene.list::<Order>().await.unwrap();
    assert_eq!(orders.iter().filter(|order| order.name_any().starts_with(prefix)).count(), UNDER_WAY);
}

fn names(prefix: &str) -> Vec<String> {
    (0..UNDER_WAY).map(|number| format!("{prefix}-{number}")).collect()
}

/// The words that the controller's one pod was started with.
async fn arguments(scene: &Scene) -> Vec<String> {
    let pods: Api<Pod> = scene.api();
    let own =
        ListParams::default().labels("app.kubernetes.io/name=cert-manager,app.kubernetes.io/component=controller");
    let look = async || -> kube::Result<_> {
        let found = pods.list(&own).await?.items;
        Ok((found.len() == 1).then(|| found.into_iter().next()).flatten())
    };
    let pod = until("one pod of the controller", PATIENCE, look).await.unwrap();
    pod.spec.unwrap().containers.remove(0).args.unwrap()
}
