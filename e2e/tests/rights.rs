//! The rights that the controller has are those that it uses, and it lives with fewer. These run inside a testbed, with
//! controllers of their own: `testbed run -- cargo test -p certwright-e2e --test rights -- --include-ignored`.
#![allow(clippy::unwrap_used)]

#[path = "rights/told.rs"]
mod told;

use std::collections::BTreeSet;
use std::time::Duration;

use certwright::api::{Certificate, CertificateRequest, Challenge, Issuer};
use certwright_e2e::install::{install, repository};
use certwright_e2e::kubernetes::CERTWRIGHT_USER;
use certwright_e2e::scene::{PATIENCE, certificate_spec};
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Scene, Testbed, audit};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde::Deserialize as _;
use serde_json::{Value, json};

/// What is granted and not used here, and who uses it.
const ELSEWHERE: [(&str, &str); 40] = [
    ("get cert-manager.io/issuers", "read again where a write meets another's"),
    ("get cert-manager.io/clusterissuers", "the same"),
    ("get cert-manager.io/certificates", "read again where a write meets another's"),
    ("get cert-manager.io/certificaterequests", "the same"),
    ("get acme.cert-manager.io/orders", "the same"),
    ("get acme.cert-manager.io/challenges", "the same"),
    ("delete acme.cert-manager.io/orders", "a foreign Order of the name that is wanted"),
    ("get pods", "read again where the name is taken"),
    ("get services", "the same"),
    ("patch events", "what still happens after ten minutes"),
    ("get networking.k8s.io/ingresses", "the same, and an Ingress that a solver names"),
    ("patch networking.k8s.io/ingresses", "an Ingress that a solver names"),
    ("create route.openshift.io/routes/custom-host", "asked of the authorizer by OpenShift"),
    ("get gateway.networking.k8s.io/httproutes", "tests of tier cluster, which has Gateways"),
    ("create gateway.networking.k8s.io/httproutes", "the same"),
    ("delete gateway.networking.k8s.io/httproutes", "the same"),
    ("patch gateway.networking.k8s.io/httproutes", "tests/http01_routes.rs"),
    ("get discovery.k8s.io/endpointslices", "the same"),
    ("patch discovery.k8s.io/endpointslices", "the same"),
    ("get admissionregistration.k8s.io/mutatingwebhookconfigurations", "tests/injection.rs"),
    ("get admissionregistration.k8s.io/validatingwebhookconfigurations", "the same"),
    ("get apiextensions.k8s.io/customresourcedefinitions", "the same"),
    ("get apiregistration.k8s.io/apiservices", "the same"),
    ("create cert-manager.io/certificates", "tests/shim.rs"),
    ("delete cert-manager.io/certificates", "the same"),
    ("list gateway.networking.k8s.io/gateways", "the same"),
    ("watch gateway.networking.k8s.io/gateways", "the same"),
    ("list gateway.networking.k8s.io/listenersets", "the same"),
    ("watch gateway.networking.k8s.io/listenersets", "the same"),
    ("get gateway.networking.k8s.io/gateways", "the self-check through a Gateway"),
    ("get gateway.networking.k8s.io/listenersets", "tests/http01_surroundings.rs"),
    ("get gateway.networking.x-k8s.io/xlistenersets", "the same"),
    ("patch admissionregistration.k8s.io/mutatingwebhookconfigurations", "tests/injection.rs"),
    ("patch admissionregistration.k8s.io/validatingwebhookconfigurations", "the same"),
    ("patch apiextensions.k8s.io/customresourcedefinitions", "the same"),
    ("patch apiregistration.k8s.io/apiservices", "the same"),
    ("get gateway.networking.k8s.io/tlsroutes", "tests of tier cluster"),
    ("create gateway.networking.k8s.io/tlsroutes", "the same"),
    ("delete gateway.networking.k8s.io/tlsroutes", "the same"),
    ("approve cert-manager.io/signers", "asked of the authorizer by the policy, which is no request of its own"),
];

fn right(verb: &str, group: &str, resource: &str) -> String {
    if group.is_empty() { format!("{verb} {resource}") } else { format!("{verb} {group}/{resource}") }
}

/// What `deploy/rbac.yaml` grants.
fn granted() -> BTreeSet<String> {
    let text = std::fs::read_to_string(repository().join("deploy/rbac.yaml")).unwrap();
    let documents = serde_yaml::Deserializer::from_str(&text).map(|document| Value::deserialize(document).unwrap());
    let roles = documents.filter(|value| value["kind"] == "ClusterRole");
    let roles = roles.map(|value| serde_json::from_value::<ClusterRole>(value).unwrap());
    let mut rights = BTreeSet::new();
    for rule in roles.flat_map(|role| role.rules.unwrap_or_default()) {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                rights.extend(rule.verbs.iter().map(|verb| right(verb, group, resource)));
            }
        }
    }
    rights
}

/// An issuer of another ACME account whose solver is this one.
async fn issuer(scene: &Scene, name: &str, solver: Value) {
    let mut spec = scene.issuer_spec(&format!("{name}-account")).unwrap();
    spec["acme"]["solvers"] = json!([solver]);
    scene.create::<Issuer>(name, spec).await.unwrap();
    scene.wait_ready::<Issuer>(name).await.unwrap();
}

/// Waits until a Challenge of a Certificate that nobody answers for at this tier is presented, and takes everything away.
async fn present_and_delete(scene: &Scene, issuer: &str) {
    scene.certificate(issuer, issuer, &[&scene.dns_name(issuer)]).await.unwrap();
    let name = scene.dns_name(issuer);
    let own = async || {
        let all = scene.list::<Challenge>().await.unwrap().into_iter();
        all.filter(|challenge| challenge.spec.dns_name == name).collect::<Vec<_>>()
    };
    let look = async || {
        let is_presented = |challenge: &Challenge| challenge.status.as_ref().is_some_and(|status| status.presented);
        Ok::<_, anyhow::Error>(own().await.iter().any(is_presented).then_some(()))
    };
    until("a Challenge to be presented", PATIENCE, look).await.unwrap();
    scene.give_up().await.unwrap();
}

/// One of them takes rights away that the other needs.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn every_right_is_used() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let testbed = testbed();
    // It asks as certwright until the rights are enforced, and is refused before.
    install(&testbed).await.unwrap();
    let mark = testbed.mark().unwrap();
    let node = testbed.state.node_address.to_string();
    let controller = Controller::start(&testbed, &["--pod-ip", &node]).await.unwrap();
    let scene = Scene::new(&testbed, controller.log(), "rights").await.unwrap();

    scene.issuer("pebble").await.unwrap();
    let mut spec = certificate_spec("www", "Issuer", "pebble", &[&scene.dns_name("www")]);
    spec["privateKey"] = json!({ "algorithm": "ECDSA" });
    scene.create::<Certificate>("www", spec).await.unwrap();
    scene.issued("www").await.unwrap();
    // The finalizer, a second request that takes the first one's place, and a revocation.
    let wish = json!({ "metadata": { "annotations": { "certwright.dev/revoke-on-delete": "cessationOfOperation" } },
        "spec": { "dnsNames": [scene.dns_name("www"), scene.dns_name("more")] } });
    scene.patch::<Certificate>("www", wish).await.unwrap();
    let renewed = |certificate: &Certificate| {
        certificate.status.as_ref().is_some_and(|status| status.revision == Some(2))
            && certificate.metadata.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty())
    };
    scene.wait_for::<Certificate>("www", "being renewed", PATIENCE, renewed).await.unwrap();
    let only_one =
        async || Ok::<_, anyhow::Error>((scene.list::<CertificateRequest>().await?.len() == 1).then_some(()));
    until("the first request to be deleted", PATIENCE, only_one).await.unwrap();
    scene.api::<Certificate>().delete("www", &DeleteParams::background()).await.unwrap();
    scene.wait_gone::<Certificate>("www").await.unwrap();

    scene.cluster_issuer().await.unwrap();
    scene.certificate_of_cluster_issuer("wide", &[&scene.dns_name("wide")]).await.unwrap();
    scene.issued("wide").await.unwrap();

    issuer(&scene, "pods", json!({ "http01": { "ingress": {} } })).await;
    present_and_delete(&scene, "pods").await;
    issuer(&scene, "podless", json!({ "http01": { "ingress": {} } })).await;
    let podless = json!({ "metadata": { "annotations": { "certwright.dev/http01-solver": "controller" } } });
    scene.patch::<Issuer>("podless", podless).await.unwrap();
    present_and_delete(&scene, "podless").await;

    // What was answered before is in the log then.
    testbed.writes_since(mark).await.unwrap();
    let requests = audit::requests_since(&testbed.state.kubernetes().unwrap().audit_log, mark).unwrap();
    let own: Vec<_> = requests.into_iter().filter(|request| request.user == CERTWRIGHT_USER).collect();
    let refused: Vec<_> = own.iter().filter(|request| request.code == 403).collect();
    assert!(refused.is_empty(), "{refused:?}");
    let used: BTreeSet<_> = own
        .iter()
        .map(|request| {
            let below =
                if request.subresource.is_empty() { String::new() } else { format!("/{}", request.subresource) };
            right(&request.verb, &request.group, &format!("{}{below}", request.resource))
        })
        .collect();
    let elsewhere: BTreeSet<_> = ELSEWHERE.iter().map(|(right, _)| (*right).to_owned()).collect();
    // `update` of finalizers is never sent: an owner reference that blocks deletion asks for it.
    let granted: BTreeSet<_> = granted().into_iter().filter(|right| !right.ends_with("/finalizers")).collect();
    let idle: BTreeSet<_> = granted.difference(&used).cloned().collect();
    assert_eq!(idle.difference(&elsewhere).collect::<Vec<_>>(), Vec::<&String>::new(), "granted, and used by nobody");
    assert_eq!(elsewhere.difference(&granted).collect::<Vec<_>>(), Vec::<&String>::new(), "not even granted");
}

/// Takes a resource out of the rights of `deploy/rbac.yaml` for as long as it lives.
async fn without(testbed: &Testbed, role: &str, resource: &str) {
    let roles: Api<ClusterRole> = Api::all(testbed.admin().await.unwrap());
    let mut held = roles.get(role).await.unwrap();
    for rule in held.rules.iter_mut().flatten() {
        rule.resources
            .iter_mut()
            .flatten()
            .filter(|name| *name == resource)
            .for_each(|name| *name = format!("no-{name}"));
    }
    let patch = json!({ "rules": held.rules });
    roles.patch(role, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

/// The authorizer hears of it by a watch of its own.
async fn loses(is_refused: impl AsyncFn() -> bool) {
    let look = async || Ok::<_, anyhow::Error>(is_refused().await.then_some(()));
    until("the right to go", PATIENCE, look).await.unwrap();
}

fn testbed() -> Testbed {
    Testbed::from_env().unwrap().expect("run this inside `testbed run`")
}

async fn with_again(testbed: &Testbed, role: &str, resource: &str) {
    let roles: Api<ClusterRole> = Api::all(testbed.admin().await.unwrap());
    let mut held = roles.get(role).await.unwrap();
    let missing = format!("no-{resource}");
    for rule in held.rules.iter_mut().flatten() {
        rule.resources.iter_mut().flatten().filter(|name| **name == missing).for_each(|name| resource.clone_into(name));
    }
    let patch = json!({ "rules": held.rules });
    roles.patch(role, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_missing_right_is_told_of_and_the_others_go_on() {
    const ROLE: &str = "certwright-controller-challenges";
    let _alone = ONE_AT_A_TIME.lock().await;
    let testbed = testbed();
    install(&testbed).await.unwrap();
    without(&testbed, ROLE, "pods").await;
    let pods: Api<Pod> = Api::all(testbed.certwright().await.unwrap());
    loses(async || pods.list(&ListParams::default()).await.is_err()).await;

    let controller = Controller::start(&testbed, &[]).await.unwrap();
    let scene = Scene::new(&testbed, controller.log(), "fewer").await.unwrap();
    scene.issuer("pebble").await.unwrap();
    scene.certificate("www", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    scene.issued("www").await.unwrap();
    let log = std::fs::read_to_string(controller.log()).unwrap();
    with_again(&testbed, ROLE, "pods").await;
    let told: Vec<_> = log.lines().filter(|line| line.contains("no right to list pods in the whole cluster")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(!log.contains("kube_runtime"), "{log}");
    let granted = async || {
        let log = std::fs::read_to_string(controller.log())?;
        Ok::<_, anyhow::Error>(log.contains("the right to list pods in the whole cluster is there now").then_some(()))
    };
    until("the watch to go on", Duration::from_mins(1), granted).await.unwrap();
}
