//! What leads the CA's questions to whoever answers them by HTTP-01: shared by many names, made again when somebody deletes it,
//! and gone afterwards. These run inside a testbed, with controllers of their own; the tests are the ingress controller and the
//! Gateway: `testbed run -- cargo test -p certwright-e2e --test http01_routes -- --include-ignored`.
#![allow(clippy::unwrap_used)]

#[path = "http01_routes/edited.rs"]
mod edited;
#[path = "http01_routes/interruptions.rs"]
mod interruptions;
#[path = "http01_routes/parents.rs"]
mod parents;
#[path = "http01_routes/replicas.rs"]
mod replicas;
#[path = "http01_routes/support.rs"]
mod support;

use std::process::Command;

use certwright::api::{Challenge, Order};
use certwright_e2e::controller::binary;
use certwright_e2e::dns;
use certwright_e2e::kubernetes::CERTWRIGHT_USER;
use certwright_e2e::network::{NODE_IPV6, add_ipv6};
use certwright_e2e::scene::PATIENCE;
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Scene};
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use support::{
    certificate, comes_back, controller, define_routes, edge, issuer, issuer_with, names, nothing_is_left, routes,
    says, scene, solver_writes, testbed, there, wrote,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn twenty_names_share_what_leads_to_the_controller() {
    let testbed = testbed();
    let controller = controller(&testbed, &[]).await;
    let _edge = edge(testbed.state.node_address).await;

    let by_ingress = scene(&testbed, &controller, json!({ "ingress": { "class": "edge" } }), "controller").await;
    let mark = testbed.mark().unwrap();
    certificate(&by_ingress, &names(&by_ingress, 20)).await;
    let issued = by_ingress.issued("web").await.unwrap();
    assert_eq!(issued.leaf().names.dns_names.len(), 20);
    nothing_is_left(&by_ingress).await;
    let kinds = ["endpointslices", "ingresses", "services"];
    wrote(&by_ingress, mark, &created_and_deleted(&kinds)).await;

    // An HTTPRoute takes no more than 16 names.
    let by_gateway = gateway_scene(&testbed, &controller, "controller").await;
    let mark = testbed.mark().unwrap();
    certificate(&by_gateway, &names(&by_gateway, 20)).await;
    by_gateway.issued("web").await.unwrap();
    nothing_is_left(&by_gateway).await;
    let kinds = ["endpointslices", "endpointslices", "httproutes", "httproutes", "services", "services"];
    wrote(&by_gateway, mark, &created_and_deleted(&kinds)).await;
}

/// Somebody's own Ingress is changed once for all names, and is as before when it is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn many_names_in_an_ingress_that_is_there_already() {
    let testbed = testbed();
    let controller = controller(&testbed, &[]).await;
    let _edge = edge(testbed.state.node_address).await;
    let scene = scene(&testbed, &controller, json!({ "ingress": { "name": "www" } }), "controller").await;
    let names = names(&scene, 5);
    let backend = json!({ "service": { "name": "shop", "port": { "number": 80 } } });
    let paths = json!({ "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] });
    let before =
        scene.create::<Ingress>("www", json!({ "rules": [{ "host": names[0], "http": paths }] })).await.unwrap();
    let mark = testbed.mark().unwrap();
    certificate(&scene, &names).await;
    scene.issued("web").await.unwrap();
    let look = async || anyhow::Ok((scene.api::<Ingress>().get("www").await?.spec == before.spec).then_some(()));
    until("the Ingress to be as before", PATIENCE, look).await.unwrap();
    scene.api::<Ingress>().delete("www", &DeleteParams::default()).await.unwrap();
    nothing_is_left(&scene).await;
    let mut wanted = created_and_deleted(&["endpointslices", "services"]);
    wanted.extend(["patch ingresses".to_owned(), "patch ingresses".to_owned()]);
    wrote(&scene, mark, &wanted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn what_leads_to_the_controller_comes_back_when_it_is_deleted() {
    let testbed = testbed();
    let controller = controller(&testbed, &[]).await;
    let by_ingress = scene(&testbed, &controller, json!({ "ingress": { "class": "nobodys" } }), "controller").await;
    let by_gateway = gateway_scene(&testbed, &controller, "controller").await;
    certificate(&by_gateway, &names(&by_gateway, 2)).await;
    let former = route(&by_gateway, None).await;
    routes(&by_gateway).delete(&former.name_any(), &DeleteParams::default()).await.unwrap();
    let route = route(&by_gateway, former.uid()).await;
    assert_eq!(route.data["spec"], former.data["spec"]);
    refuse(&by_gateway, &route.name_any()).await;
    says(&by_gateway, "the ListenerSet \"shop\" does not take it (NotAllowedByListeners)").await;

    // Nothing leads to it on port 80; the CA is asked after a minute all the same, so this begins last.
    certificate(&by_ingress, &names(&by_ingress, 2)).await;
    let told = says(&by_ingress, "no ingress controller has given it an address").await;
    assert!(told.contains("if none serves the class \"nobodys\", correct that in the issuer's solver"), "{told}");
    comes_back::<Ingress>(&by_ingress).await;
    comes_back::<Service>(&by_ingress).await;
    comes_back::<EndpointSlice>(&by_ingress).await;

    let _edge = edge(testbed.state.node_address).await;
    for scene in [&by_ingress, &by_gateway] {
        scene.issued("web").await.unwrap();
        nothing_is_left(scene).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn what_leads_to_a_pod_comes_back_when_it_is_deleted() {
    let testbed = testbed();
    // It leaves the port to the solver.
    let controller = Controller::start(&testbed, &[]).await.unwrap();
    let scene = scene(&testbed, &controller, json!({ "ingress": {} }), "pod").await;
    certificate(&scene, &names(&scene, 1)).await;
    comes_back::<Pod>(&scene).await;
    let _solver = run_solver(&scene).await;
    let told = says(&scene, "it has no class").await;
    assert!(told.contains("set ingressClassName in the issuer's solver"), "{told}");
    comes_back::<Ingress>(&scene).await;
    comes_back::<Service>(&scene).await;
    let _edge = edge(testbed.state.node_address).await;
    scene.issued("web").await.unwrap();
    nothing_is_left(&scene).await;
}

/// As a strict ingress controller, a policy refuses paths of one type: the other is tried, and from then on at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_refused_path_type_gives_way_to_the_other() {
    let testbed = testbed();
    let controller = controller(&testbed, &[]).await;
    let _edge = edge(testbed.state.node_address).await;
    let scene = scene(&testbed, &controller, json!({ "ingress": { "class": "strict" } }), "controller").await;
    refuse_exact_paths(&scene).await;
    let mark = testbed.mark().unwrap();
    certificate(&scene, &names(&scene, 2)).await;
    scene.issued("web").await.unwrap();
    nothing_is_left(&scene).await;
    let kinds = ["endpointslices", "ingresses", "services"];
    let mut wanted = created_and_deleted(&kinds);
    wanted.insert(2, "create ingresses 422".to_owned());
    wrote(&scene, mark, &wanted).await;

    let mark = testbed.mark().unwrap();
    scene.certificate("other", "pebble", &[&scene.dns_name("other")]).await.unwrap();
    scene.issued("other").await.unwrap();
    nothing_is_left(&scene).await;
    wrote(&scene, mark, &created_and_deleted(&kinds)).await;
}

/// Who is ready answers; a process that comes later puts that right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn every_replica_that_is_ready_is_an_endpoint() {
    let testbed = testbed();
    let home = testbed.namespace("home").await.unwrap();
    let mut controller = controller(&testbed, &["--acme-http01-solver-service", &format!("{home}/certwright")]).await;
    let scene = Scene::new(&testbed, controller.log(), "routes").await.unwrap();
    allow_to_list_slices(&scene, &home).await;
    let slices: Api<EndpointSlice> = Api::namespaced(scene.client.clone(), &home);
    let replicas = |ready: &str, starting: &str| {
        json!([
            { "addresses": [ready], "conditions": { "ready": true } },
            { "addresses": [starting], "conditions": { "ready": false } },
        ])
    };
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": "certwright-1", "labels": { "kubernetes.io/service-name": "certwright" } },
        "endpoints": replicas("192.0.2.7", "192.0.2.8"),
    });
    slices.create(&PostParams::default(), &serde_json::from_value(slice).unwrap()).await.unwrap();
    issuer(&scene, json!({ "ingress": {} }), "controller").await;
    certificate(&scene, &names(&scene, 1)).await;
    let own = testbed.state.node_address.to_string();
    there::<EndpointSlice>(&scene, |slice| answer(slice, &[&own, "192.0.2.7"])).await;

    controller.kill().unwrap();
    let moved = json!({ "endpoints": replicas("192.0.2.8", "192.0.2.7") });
    slices.patch("certwright-1", &PatchParams::default(), &Patch::Merge(moved)).await.unwrap();
    controller.restart().unwrap();
    controller.ready().await.unwrap();
    there::<EndpointSlice>(&scene, |slice| answer(slice, &[&own, "192.0.2.8"])).await;
    let _edge = edge(testbed.state.node_address).await;
    scene.issued("web").await.unwrap();
    nothing_is_left(&scene).await;
}

/// From the EndpointSlice to the CA's question there is no IPv4.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_controller_with_an_ipv6_address_answers_over_ipv6() {
    let testbed = testbed();
    add_ipv6().unwrap();
    let own = NODE_IPV6.to_string();
    let controller = Controller::start(&testbed, &["--pod-ip", &own]).await.unwrap();
    let scene = scene(&testbed, &controller, json!({ "ingress": { "class": "edge" } }), "controller").await;
    let names = names(&scene, 2);
    let lines: Vec<_> = names.iter().map(|name| format!("add {name} 60 AAAA {own}")).collect();
    dns::update(testbed.state.dns().unwrap(), &lines).unwrap();
    certificate(&scene, &names).await;
    there::<EndpointSlice>(&scene, |slice| slice.address_type == "IPv6" && answer(slice, &[&own])).await;
    // Not before, or the EndpointSlice might have come and gone.
    let _edge = edge(NODE_IPV6).await;
    scene.issued("web").await.unwrap();
    nothing_is_left(&scene).await;
}

/// Killed while everything is in place, and while it is taken away: the next process finds what is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_killed_controller_leaves_nothing_behind() {
    let testbed = testbed();
    let mut controller = controller(&testbed, &[]).await;
    let scene = scene(&testbed, &controller, json!({ "ingress": { "class": "edge" } }), "controller").await;
    let mark = testbed.mark().unwrap();
    certificate(&scene, &names(&scene, 8)).await;
    let is_whole = |ingress: &Ingress| ingress.spec.as_ref().unwrap().rules.as_ref().unwrap().len() == 8;
    there::<Ingress>(&scene, is_whole).await;
    controller.kill().unwrap();
    controller.restart().unwrap();
    controller.ready().await.unwrap();
    let edge = edge(testbed.state.node_address).await;
    // Not before: whom the CA asks must be there.
    let has_asked = |order: &Order| matches!(order_state(order), Some("ready" | "processing" | "valid"));
    there::<Order>(&scene, has_asked).await;
    controller.kill().unwrap();
    controller.restart().unwrap();
    controller.ready().await.unwrap();
    scene.issued("web").await.unwrap();
    nothing_is_left(&scene).await;
    drop(edge);
    let ingresses: Vec<_> = solver_writes(&scene, mark).await;
    let made = ingresses.iter().filter(|write| *write == "create ingresses").count();
    assert_eq!(made, 1, "{ingresses:?}");
}

/// The CA refuses the names, and somebody deletes an Order: each time all goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn nothing_stays_after_a_failure_or_a_deletion() {
    let testbed = testbed();
    let controller = controller(&testbed, &[]).await;
    let failing = Scene::new(&testbed, controller.log(), "routes").await.unwrap();
    let mut spec = failing.issuer_spec("pebble-account").unwrap();
    spec["acme"]["solvers"] = json!([{ "http01": { "ingress": {} }, "waitInsteadOfSelfCheck": "1s" }]);
    issuer_with(&failing, spec, "controller").await;
    let deleted = scene(&testbed, &controller, json!({ "ingress": {} }), "controller").await;
    let mark = testbed.mark().unwrap();
    for scene in [&failing, &deleted] {
        certificate(scene, &names(scene, 4)).await;
    }
    there::<Ingress>(&deleted, |_| true).await;
    // The Ingress may be there before the last of the Challenges is.
    let look = async || anyhow::Ok((deleted.list::<Challenge>().await?.len() == 4).then_some(()));
    until("all Challenges", PATIENCE, look).await.unwrap();
    deleted.give_up().await.unwrap();
    nothing_is_left(&deleted).await;

    // Challenges that have failed stay for people to look at.
    there::<Challenge>(&failing, |challenge| state_of(challenge) == Some("invalid")).await;
    let look = async || {
        let left = (failing.list::<Ingress>().await?.len(), failing.list::<Service>().await?.len());
        anyhow::ensure!((left, failing.list::<EndpointSlice>().await?.len()) == ((0, 0), 0), "{left:?}");
        Ok(Some(()))
    };
    until("everything but the Challenges to be gone", PATIENCE, look).await.unwrap();
    let writes = solver_writes(&failing, mark).await;
    assert!(writes.contains(&"create ingresses".to_owned()), "{writes:?}");
}

fn state_of(challenge: &Challenge) -> Option<&str> {
    challenge.status.as_ref()?.state.as_deref()
}

fn order_state(order: &Order) -> Option<&str> {
    order.status.as_ref()?.state.as_deref()
}

/// What [`solver_writes`] tells if each of these is created and deleted once.
fn created_and_deleted(kinds: &[&str]) -> Vec<String> {
    let told = |verb: &str| kinds.iter().map(|kind| format!("{verb} {kind}")).collect::<Vec<_>>();
    [told("create"), told("delete")].concat()
}

fn answer(slice: &EndpointSlice, addresses: &[&str]) -> bool {
    let mut held: Vec<_> = slice.endpoints.iter().flat_map(|endpoint| endpoint.addresses.clone()).collect();
    let mut wanted: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    held.sort();
    wanted.sort();
    held == wanted
}

async fn gateway_scene(testbed: &certwright_e2e::Testbed, controller: &Controller, answerer: &str) -> Scene {
    let parent = json!({ "kind": "ListenerSet", "name": "shop" });
    let http01 = json!({ "gatewayHTTPRoute": { "parentRefs": [parent] } });
    let scene = scene(testbed, controller, http01, answerer).await;
    define_routes(&scene).await;
    scene
}

/// The HTTPRoute, if it is another than that.
async fn route(scene: &Scene, former: Option<String>) -> kube::api::DynamicObject {
    let look = async || {
        let routes = routes(scene).list(&ListParams::default()).await?.items;
        anyhow::Ok(routes.into_iter().find(|route| route.uid() != former))
    };
    until("another HTTPRoute", PATIENCE, look).await.unwrap()
}

/// As a Gateway's controller does.
async fn refuse(scene: &Scene, route: &str) {
    let condition = json!({ "type": "Accepted", "status": "False", "reason": "NotAllowedByListeners" });
    let parents = json!([{ "parentRef": { "kind": "ListenerSet", "name": "shop" }, "conditions": [condition] }]);
    let status = json!({ "status": { "parents": parents } });
    routes(scene).patch_status(route, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

/// As a kubelet does: starts what the pod says, and tells its address.
async fn run_solver(scene: &Scene) -> certwright_e2e::process::Process {
    let pod = there::<Pod>(scene, |_| true).await;
    let mut command = Command::new(binary().unwrap());
    command.args(pod.spec.as_ref().unwrap().containers[0].args.as_ref().unwrap());
    let process = scene.testbed.start("solver", command).unwrap();
    let address = scene.testbed.state.node_address.to_string();
    let status = json!({ "status": { "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }] } });
    let pods = scene.api::<Pod>();
    pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    process
}

/// A policy for the scene's namespace, as soon as it is enforced.
async fn refuse_exact_paths(scene: &Scene) {
    let rule = json!({ "apiGroups": ["networking.k8s.io"], "apiVersions": ["v1"], "resources": ["ingresses"], "operations": ["CREATE", "UPDATE"] });
    let expression = "object.spec.rules.all(rule, rule.http.paths.all(path, path.pathType != 'Exact'))";
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": scene.namespace },
        "spec": {
            "failurePolicy": "Fail", "matchConstraints": { "resourceRules": [rule] },
            "validations": [{ "expression": expression, "message": "no exact paths here" }],
        },
    });
    let selector = json!({ "matchLabels": { "kubernetes.io/metadata.name": scene.namespace } });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": scene.namespace },
        "spec": {
            "policyName": scene.namespace, "validationActions": ["Deny"],
            "matchResources": { "namespaceSelector": selector },
        },
    });
    let policy: ValidatingAdmissionPolicy = serde_json::from_value(policy).unwrap();
    let binding: ValidatingAdmissionPolicyBinding = serde_json::from_value(binding).unwrap();
    Api::all(scene.client.clone()).create(&PostParams::default(), &policy).await.unwrap();
    Api::all(scene.client.clone()).create(&PostParams::default(), &binding).await.unwrap();
    let backend = json!({ "service": { "name": "a", "port": { "number": 80 } } });
    let paths = json!({ "paths": [{ "path": "/a", "pathType": "Exact", "backend": backend }] });
    let probe: Value =
        json!({ "metadata": { "name": "probe" }, "spec": { "rules": [{ "host": "a.test", "http": paths }] } });
    let probe: Ingress = serde_json::from_value(probe).unwrap();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let look = async || anyhow::Ok(scene.api::<Ingress>().create(&dry, &probe).await.is_err().then_some(()));
    until("the policy to be enforced", PATIENCE, look).await.unwrap();
}

/// The right that the chart gives in the controller's own namespace.
async fn allow_to_list_slices(scene: &Scene, namespace: &str) {
    let role = json!({
        "metadata": { "name": "replicas" },
        "rules": [{ "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list"] }],
    });
    let binding = json!({
        "metadata": { "name": "replicas" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "replicas" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": CERTWRIGHT_USER }],
    });
    let (role, binding): (Role, RoleBinding) =
        (serde_json::from_value(role).unwrap(), serde_json::from_value(binding).unwrap());
    Api::namespaced(scene.client.clone(), namespace).create(&PostParams::default(), &role).await.unwrap();
    Api::namespaced(scene.client.clone(), namespace).create(&PostParams::default(), &binding).await.unwrap();
}
