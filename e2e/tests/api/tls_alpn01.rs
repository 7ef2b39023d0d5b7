//! TLS-ALPN-01 without a node: the test is the kubelet that runs the solver's pod, and the Gateway that leads to it.

use std::process::Command;

use certwright::api::{Certificate, Challenge, Issuer};
use certwright_e2e::Scene;
use certwright_e2e::controller::binary;
use certwright_e2e::port::listen;
use certwright_e2e::process::Process;
use certwright_e2e::scene::{PATIENCE, certificate_spec};
use certwright_e2e::wait::{until, until_ready};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::support::{mark, scene, settles, writes_since};

/// There is one port 443, and one on which solver pods listen.
static PORTS: Mutex<()> = Mutex::const_new(());

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_name_and_an_address_by_tls_alpn01() {
    let _ports = PORTS.lock().await;
    let scene = scene("alpn").await;
    define_routes(&scene).await;
    issuer(&scene, "true").await;
    let name = scene.dns_name("www");
    let mark = mark(&scene).await;
    scene.certificate("www", "pebble", &[&name]).await.unwrap();
    let pod = solver_pod(&scene).await;
    let route = route(&scene).await.unwrap();
    assert_eq!(route.data["spec"]["hostnames"], json!([name]));
    let process = run(&scene, &pod).await;

    // Nothing leads to the pod yet.
    says(&scene, &format!("{name}:443 refused the connection; the solver pod itself answers rightly")).await;
    refuse(&scene, &route).await;
    says(&scene, "the Gateway \"edge\" does not take it (NoMatchingListenerHostname)").await;
    let gateway = gateway(&scene).await;
    let issued = scene.issued("www").await.unwrap();
    assert_eq!(issued.leaf().names.dns_names, std::slice::from_ref(&name));
    nothing_is_left(&scene).await;
    settles(&scene).await;
    let writes = writes_since(&scene, mark).await;
    assert!(writes.iter().all(|write| write.code < 400), "refused: {writes:#?}");
    drop(process);

    let address = scene.testbed.state.node_address.to_string();
    let mut spec = certificate_spec("ip", "Issuer", "pebble", &[]);
    spec["ipAddresses"] = json!([address]);
    scene.create::<Certificate>("ip", spec).await.unwrap();
    let pod = solver_pod(&scene).await;
    let _process = run(&scene, &pod).await;
    let issued = scene.issued("ip").await.unwrap();
    assert_eq!(issued.leaf().names.ip_addresses, [scene.testbed.state.node_address]);
    drop(gateway);
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn what_somebody_deletes_or_edits_is_made_again() {
    let _ports = PORTS.lock().await;
    let scene = scene("alpnedited").await;
    define_routes(&scene).await;
    issuer(&scene, "true").await;
    let name = scene.dns_name("www");
    scene.certificate("www", "pebble", &[&name]).await.unwrap();
    let pod = solver_pod(&scene).await;
    let made = route(&scene).await.unwrap();
    let _process = run(&scene, &pod).await;

    let service = scene.list::<Service>().await.unwrap().pop().unwrap();
    scene.api::<Service>().delete(&service.name_any(), &DeleteParams::default()).await.unwrap();
    let leads = |found: &Service| found.spec.as_ref().unwrap().selector == service.spec.as_ref().unwrap().selector;
    let again = scene.wait_for::<Service>(&service.name_any(), "being there again", PATIENCE, leads).await.unwrap();
    assert_ne!(again.uid(), service.uid());
    let edited = json!({ "spec": { "selector": { "app": "web" } } });
    scene.patch::<Service>(&service.name_any(), edited).await.unwrap();
    scene.wait_for::<Service>(&service.name_any(), "leading to the pod", PATIENCE, leads).await.unwrap();

    let edited = Patch::Merge(json!({ "spec": { "hostnames": ["other.test"] } }));
    routes(&scene).patch(&made.name_any(), &PatchParams::default(), &edited).await.unwrap();
    until_routed(&scene, &made).await;
    routes(&scene).delete(&made.name_any(), &DeleteParams::default()).await.unwrap();
    until_routed(&scene, &made).await;

    let gateway = gateway(&scene).await;
    scene.issued("www").await.unwrap();
    nothing_is_left(&scene).await;
    drop(gateway);
}

/// The writes of HTTP-01, with a TLSRoute in place of an Ingress.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn no_more_writes_than_http01() {
    let _ports = PORTS.lock().await;
    let scene = scene("alpnwrites").await;
    define_routes(&scene).await;
    issuer(&scene, "0").await;
    let _gateway = gateway(&scene).await;
    settles(&scene).await;
    let mark = mark(&scene).await;
    scene.certificate("www", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    let pod = solver_pod(&scene).await;
    let _process = run(&scene, &pod).await;
    scene.issued("www").await.unwrap();
    nothing_is_left(&scene).await;
    settles(&scene).await;
    let writes = writes_since(&scene, mark).await;
    assert!(writes.iter().all(|write| write.code < 400), "refused: {writes:#?}");
    let routes: Vec<_> = writes.iter().filter(|write| write.resource == "tlsroutes").map(|write| &write.verb).collect();
    assert_eq!(routes, ["create", "delete"]);
    // As with HTTP-01; on a machine that is slow at the moment a wait is told of once more.
    assert!(writes.len() <= 30 + 3, "{} writes: {writes:#?}", writes.len());
    println!("{} writes", writes.len());
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn what_cannot_be_followed_is_told_by_the_issuer() {
    let scene = scene("alpntold").await;
    issuer(&scene, "0,4").await;
    let told = |issuer: &Issuer| {
        let conditions = &issuer.status.as_ref().unwrap().conditions;
        conditions[0].is_true()
            && conditions[0].message.as_deref().is_some_and(|text| text.contains("\"4\" is no place"))
    };
    scene.wait_for::<Issuer>("pebble", "telling of the annotation", PATIENCE, told).await.unwrap();
    annotate(&scene, "0").await.unwrap();
    let is_quiet = |issuer: &Issuer| {
        let conditions = &issuer.status.as_ref().unwrap().conditions;
        conditions[0].message.as_deref().is_some_and(|text| !text.contains("annotation"))
    };
    scene.wait_for::<Issuer>("pebble", "having nothing to tell", PATIENCE, is_quiet).await.unwrap();
}

/// The kind as far as it matters here: no Gateway controller runs in this tier.
async fn define_routes(scene: &Scene) {
    let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let definition: CustomResourceDefinition = serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "tlsroutes.gateway.networking.k8s.io",
            "annotations": { "api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api" },
        },
        "spec": {
            "group": "gateway.networking.k8s.io", "scope": "Namespaced",
            "names": { "kind": "TLSRoute", "plural": "tlsroutes", "singular": "tlsroute", "listKind": "TLSRouteList" },
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": schema },
            }],
        },
    }))
    .unwrap();
    let definitions: Api<CustomResourceDefinition> = Api::all(scene.client.clone());
    let params = PatchParams::apply("test").force();
    definitions.patch(&definition.name_any(), &params, &Patch::Apply(&definition)).await.unwrap();
    let look = async || routes(scene).list(&ListParams::default()).await.map(|_| Some(()));
    until("TLSRoutes to be served", PATIENCE, look).await.unwrap();
}

/// An Issuer whose one solver has a Gateway, with this value of the annotation.
async fn issuer(scene: &Scene, value: &str) {
    let mut spec = scene.issuer_spec("pebble-account").unwrap();
    spec["acme"]["solvers"] = json!([{ "http01": { "gatewayHTTPRoute": { "parentRefs": [{ "name": "edge" }] } } }]);
    scene.create::<Issuer>("pebble", spec).await.unwrap();
    annotate(scene, value).await.unwrap();
    scene.wait_ready::<Issuer>("pebble").await.unwrap();
}

async fn annotate(scene: &Scene, value: &str) -> anyhow::Result<Issuer> {
    scene.patch("pebble", json!({ "metadata": { "annotations": { "certwright.dev/tls-alpn-01": value } } })).await
}

fn routes(scene: &Scene) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "TLSRoute"));
    Api::namespaced_with(scene.client.clone(), &scene.namespace, &kind)
}

async fn route(scene: &Scene) -> anyhow::Result<DynamicObject> {
    let look = async || anyhow::Ok(routes(scene).list(&ListParams::default()).await?.items.pop());
    until("a TLSRoute", PATIENCE, look).await
}

/// Waits until the route is as it was made.
async fn until_routed(scene: &Scene, made: &DynamicObject) {
    let look = async || {
        let found = routes(scene).get_opt(&made.name_any()).await?;
        anyhow::Ok(found.filter(|found| found.data["spec"] == made.data["spec"]).map(drop))
    };
    until("the TLSRoute to be as it was made", PATIENCE, look).await.unwrap();
}

async fn solver_pod(scene: &Scene) -> Pod {
    let look = async || anyhow::Ok(scene.list::<Pod>().await?.pop());
    until("a solver pod", PATIENCE, look).await.unwrap()
}

/// As a kubelet does: starts what the pod says, and tells its address.
async fn run(scene: &Scene, pod: &Pod) -> Process {
    let container = &pod.spec.as_ref().unwrap().containers[0];
    let mut command = Command::new(binary().unwrap());
    command.args(container.args.as_ref().unwrap());
    let mut process = scene.testbed.start("solver", command).unwrap();
    let address = scene.testbed.state.node_address;
    let look = async || TcpStream::connect((address, 8089)).await.map(drop);
    until_ready(&mut process, "the solver", PATIENCE, look).await.unwrap();
    let address = address.to_string();
    let status = json!({ "status": { "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }] } });
    let pods = scene.api::<Pod>();
    pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    process
}

/// As a Gateway does: leads connections to the Service's target, unopened. It ends when the handle is dropped.
async fn gateway(scene: &Scene) -> tokio::task::JoinSet<()> {
    let address = scene.testbed.state.node_address;
    let listener = listen((address, 443)).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = TcpStream::connect((address, 8089)).await?;
                copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    tasks
}

/// As a Gateway does that has no listener for the name.
async fn refuse(scene: &Scene, route: &DynamicObject) {
    let condition = json!({ "type": "Accepted", "status": "False", "reason": "NoMatchingListenerHostname" });
    let parents = json!([{ "parentRef": { "name": "edge" }, "conditions": [condition] }]);
    let status = json!({ "status": { "parents": parents } });
    routes(scene).patch_status(&route.name_any(), &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

/// Waits until the Challenge says this, after the usual words.
async fn says(scene: &Scene, part: &str) {
    let look = async || {
        let challenges: Vec<Challenge> = scene.list().await?;
        let reason = challenges.first().and_then(|held| held.status.clone()?.reason).unwrap_or_default();
        let is_said = reason.starts_with("Waiting for TLS-ALPN-01 challenge propagation: ") && reason.contains(part);
        anyhow::ensure!(is_said, "the Challenge says {reason:?}");
        Ok(Some(()))
    };
    until(&format!("the Challenge to say {part:?}"), PATIENCE, look).await.unwrap();
}

async fn nothing_is_left(scene: &Scene) {
    let look = async || {
        let left = [
            scene.list::<Challenge>().await?.len(),
            scene.list::<Pod>().await?.len(),
            scene.list::<Service>().await?.len(),
            routes(scene).list(&ListParams::default()).await?.items.len(),
        ];
        anyhow::ensure!(left == [0; 4], "challenges, pods, services, routes: {left:?}");
        Ok(Some(()))
    };
    until("everything of the solver to be gone", PATIENCE, look).await.unwrap();
}
