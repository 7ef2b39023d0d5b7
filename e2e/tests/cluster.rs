//! certwright in a pod, HTTP-01 through an ingress controller. These run inside a testbed of tier `cluster`:
//! `testbed run --tier cluster -- cargo test -p certwright-e2e --test cluster -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use certwright::api::names::{LEASE, condition};
use certwright::api::{Certificate, Challenge, Issuer, find_condition};
use certwright_e2e::audit::{Mark, Write};
use certwright_e2e::controller::binary;
use certwright_e2e::dns::update;
use certwright_e2e::install;
use certwright_e2e::kubectl::Kubectl;
use certwright_e2e::replica::{holder, lease};
use certwright_e2e::scene::{Conditions as _, PATIENCE, is_ready};
use certwright_e2e::wait::until;
use certwright_e2e::{Scene, Testbed};
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard};

/// Where certwright runs, and as whom.
const NAMESPACE: &str = "certwright";
const USER: &str = "system:serviceaccount:certwright:certwright";

/// Another pod follows one that was killed when its Lease has run out, a minute later.
const UNTIL_LEASE_ENDS: Duration = Duration::from_mins(3);

/// Read by every test, for without a controller none comes to its end in time; written by those that kill it.
static CONTROLLER: RwLock<()> = RwLock::const_new(());

/// A scene whose controller nobody kills as long as the guard lives.
async fn undisturbed(prefix: &str) -> (Scene, RwLockReadGuard<'static, ()>) {
    let guard = CONTROLLER.read().await;
    (scene(prefix).await, guard)
}

/// A fresh namespace that admits restricted pods only, with certwright deployed as people deploy it.
async fn scene(prefix: &str) -> Scene {
    static DEPLOYED: OnceCell<()> = OnceCell::const_new();
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run --tier cluster`");
    testbed.state.cluster().unwrap();
    DEPLOYED.get_or_init(|| async { deploy(&testbed) }).await;
    let scene = Scene::new(&testbed, &testbed.state.logs().join("kubelet.log"), prefix).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(scene.client.clone());
    let label = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "restricted" } } });
    namespaces.patch(&scene.namespace, &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
    scene
}

fn deploy(testbed: &Testbed) {
    let kubectl = Kubectl::of(&testbed.state).unwrap();
    install::definitions(&kubectl).unwrap();
    install::deploy(&testbed.state, &kubectl, &binary().unwrap()).unwrap();
}

/// An Issuer that solves by HTTP-01 with this Ingress class; `more` goes into the solver.
async fn issuer(scene: &Scene, class: &str, more: Value) {
    let mut spec = scene.issuer_spec("pebble-account").unwrap();
    let mut solver = json!({ "http01": { "ingress": { "ingressClassName": class } } });
    solver.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec["acme"]["solvers"] = json!([solver]);
    scene.create::<Issuer>("pebble", spec).await.unwrap();
    scene.wait_ready::<Issuer>("pebble").await.unwrap();
}

fn ingress_class(scene: &Scene) -> String {
    scene.testbed.state.cluster().unwrap().ingress_class.clone()
}

/// The wish that the controller answers HTTP-01 challenges itself.
async fn without_pods(scene: &Scene) {
    let annotation = json!({ "metadata": { "annotations": { "certwright.dev/http01-solver": "controller" } } });
    scene.patch::<Issuer>("pebble", annotation).await.unwrap();
}

/// A solver that leads through the testbed's Gateway.
fn gateway_solver(scene: &Scene) -> Value {
    let cluster = scene.testbed.state.cluster().unwrap();
    let gateway = json!({ "name": cluster.gateway_name, "namespace": cluster.gateway_namespace });
    json!({ "http01": { "gatewayHTTPRoute": { "parentRefs": [gateway] } } })
}

async fn gateway_issuer(scene: &Scene) {
    let mut spec = scene.issuer_spec("pebble-account").unwrap();
    spec["acme"]["solvers"] = json!([gateway_solver(scene)]);
    scene.create::<Issuer>("pebble", spec).await.unwrap();
    scene.wait_ready::<Issuer>("pebble").await.unwrap();
}

/// Waits until no Challenge and no solver object is left in the namespace.
async fn nothing_is_left(scene: &Scene) {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute"));
    let routes: Api<DynamicObject> = Api::namespaced_with(scene.client.clone(), &scene.namespace, &resource);
    let look = async || {
        let left = [
            scene.list::<Challenge>().await?.len(),
            scene.list::<Pod>().await?.len(),
            scene.list::<Service>().await?.len(),
            scene.list::<Ingress>().await?.len(),
            scene.list::<EndpointSlice>().await?.len(),
            routes.list(&ListParams::default()).await?.items.len(),
        ];
        anyhow::ensure!(left == [0; 6], "challenges, pods, services, ingresses, slices, routes: {left:?}");
        Ok(Some(()))
    };
    until("everything of the solver to be gone", PATIENCE, look).await.unwrap();
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn two_names_by_http01_in_a_restricted_namespace() {
    let (scene, _guard) = undisturbed("http").await;
    issuer(&scene, &ingress_class(&scene), json!({})).await;
    let names = [scene.dns_name("a"), scene.dns_name("b")];
    scene.certificate("web", "pebble", &[&names[0], &names[1]]).await.unwrap();
    let issued = scene.issued("web").await.unwrap();
    assert_eq!(issued.leaf().names.clone().normalized().dns_names, names);
    nothing_is_left(&scene).await;
}

/// Asserts that certwright's writes of this verb went to these resources in the scene's namespace since the mark, sorted. Whoever
/// has seen that an object is gone may be ahead of the audit log.
async fn wrote(scene: &Scene, mark: Mark, verb: &str, wanted: [&str; 3]) {
    let solver = ["pods", "services", "ingresses", "endpointslices", "httproutes"];
    let look = async || {
        let writes = scene.testbed.writes_since(mark).await?.into_iter();
        let own = writes.filter(|write| write.user == USER && write.namespace == scene.namespace && write.verb == verb);
        let mut resources: Vec<_> = own.map(|write| write.resource).filter(|name| solver.contains(&&**name)).collect();
        resources.sort();
        anyhow::ensure!(resources == wanted, "{verb}: {resources:?} in place of {wanted:?}");
        Ok(Some(()))
    };
    until("the writes to be in the audit log", PATIENCE, look).await.unwrap();
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn without_pods_through_an_ingress() {
    let (scene, _guard) = undisturbed("podless").await;
    issuer(&scene, &ingress_class(&scene), json!({})).await;
    without_pods(&scene).await;
    let mark = scene.testbed.mark().unwrap();
    scene.certificate("web", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    scene.issued("web").await.unwrap();
    nothing_is_left(&scene).await;
    let wanted = ["endpointslices", "ingresses", "services"];
    wrote(&scene, mark, "create", wanted).await;
    wrote(&scene, mark, "delete", wanted).await;
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn through_a_gateway_with_pods_and_without() {
    let (scene, _guard) = undisturbed("gateway").await;
    gateway_issuer(&scene).await;
    for (certificate, answers) in [("pods", "pods"), ("podless", "endpointslices")] {
        let mark = scene.testbed.mark().unwrap();
        scene.certificate(certificate, "pebble", &[&scene.dns_name(certificate)]).await.unwrap();
        scene.issued(certificate).await.unwrap();
        nothing_is_left(&scene).await;
        let mut wanted = ["httproutes", "services", answers];
        wanted.sort_unstable();
        wrote(&scene, mark, "create", wanted).await;
        without_pods(&scene).await;
    }
}

/// Somebody's own Ingress gets the path, and is as before when it is over.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn in_an_ingress_that_is_there_already() {
    let (scene, _guard) = undisturbed("inplace").await;
    let name = scene.dns_name("www");
    let backend = json!({ "service": { "name": "shop", "port": { "number": 80 } } });
    let spec = json!({
        "ingressClassName": ingress_class(&scene),
        "rules": [{ "host": name, "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] } }],
    });
    let before = scene.create::<Ingress>("www", spec).await.unwrap();
    let mut issuer = scene.issuer_spec("pebble-account").unwrap();
    issuer["acme"]["solvers"] = json!([{ "http01": { "ingress": { "name": "www" } } }]);
    scene.create::<Issuer>("pebble", issuer).await.unwrap();
    scene.wait_ready::<Issuer>("pebble").await.unwrap();
    scene.certificate("web", "pebble", &[&name]).await.unwrap();
    scene.issued("web").await.unwrap();
    let look = async || {
        let left = (scene.list::<Challenge>().await?.len(), scene.list::<Pod>().await?.len());
        anyhow::ensure!(left == (0, 0), "challenges, pods: {left:?}");
        Ok(Some(()))
    };
    until("everything of the solver to be gone", PATIENCE, look).await.unwrap();
    let look = async || anyhow::Ok((scene.api::<Ingress>().get("www").await?.spec == before.spec).then_some(()));
    until("the Ingress to be as before", PATIENCE, look).await.unwrap();
    let after = scene.api::<Ingress>().get("www").await.unwrap();
    assert_eq!(after.spec, before.spec);
    assert!(after.metadata.resource_version != before.metadata.resource_version, "it was changed in between");
    let others: Vec<Ingress> = scene.list().await.unwrap();
    assert_eq!(others.len(), 1);
}

/// A route that nobody takes is told of, with the Gateway's reason.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_gateway_that_does_not_take_the_route() {
    let (scene, _guard) = undisturbed("untaken").await;
    let cluster = scene.testbed.state.cluster().unwrap();
    let section =
        json!({ "name": cluster.gateway_name, "namespace": cluster.gateway_namespace, "sectionName": "nowhere" });
    let mut spec = scene.issuer_spec("pebble-account").unwrap();
    spec["acme"]["solvers"] = json!([{ "http01": { "gatewayHTTPRoute": { "parentRefs": [section] } } }]);
    scene.create::<Issuer>("pebble", spec).await.unwrap();
    scene.wait_ready::<Issuer>("pebble").await.unwrap();
    without_pods(&scene).await;
    scene.certificate("web", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    let look = async || {
        let challenges = scene.list::<Challenge>().await?;
        let reasons = challenges.iter().filter_map(|challenge| challenge.status.as_ref()?.reason.clone());
        Ok::<_, anyhow::Error>(reasons.into_iter().find(|reason| reason.contains("does not take it")))
    };
    let reason = until("the Challenge to tell of the Gateway", PATIENCE, look).await.unwrap();
    assert!(reason.contains("of the HTTPRoute") && reason.contains(&cluster.gateway_name), "{reason}");
    scene.api::<Certificate>().delete("web", &DeleteParams::default()).await.unwrap();
    nothing_is_left(&scene).await;
}

/// The endpoints of the former controller are dead; the next one puts its own there.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_controller_killed_while_it_answers_itself_is_replaced_and_goes_on() {
    let _alone = CONTROLLER.write().await;
    let scene = scene("podkilled").await;
    issuer(&scene, &ingress_class(&scene), json!({})).await;
    without_pods(&scene).await;
    // The name has no address, for which the CA is not asked within minutes: it might ask just when the controller is killed.
    let (dns, name) = (scene.testbed.state.dns().unwrap(), scene.dns_name("www"));
    update(dns, &[format!("add {name} 0 TXT held")]).unwrap();
    scene.certificate("web", "pebble", &[&name]).await.unwrap();
    let has_solver = async || anyhow::Ok((!scene.list::<EndpointSlice>().await?.is_empty()).then_some(()));
    until("endpoints of the solver", PATIENCE, has_solver).await.unwrap();
    let former = lease(&scene.testbed, LEASE).await.unwrap().unwrap_or_default();
    let controllers: Api<Pod> = Api::namespaced(scene.client.clone(), NAMESPACE);
    let at_once = DeleteParams::default().grace_period(0);
    controllers.delete_collection(&at_once, &ListParams::default()).await.unwrap();
    let follows = async || {
        let now = lease(&scene.testbed, LEASE).await?.unwrap_or_default();
        anyhow::Ok((!["", holder(&former)].contains(&holder(&now))).then_some(()))
    };
    until("another controller to lead", UNTIL_LEASE_ENDS, follows).await.unwrap();
    update(dns, &[format!("delete {name} TXT")]).unwrap();
    scene.wait_for::<Certificate>("web", "being ready", UNTIL_LEASE_ENDS, is_ready).await.unwrap();
    nothing_is_left(&scene).await;
    assert_eq!(scene.list::<certwright::api::Order>().await.unwrap().len(), 1);
}

/// Two Certificates for the same name, which take turns.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn one_name_twice_by_tls_alpn01_through_a_gateway() {
    let (scene, _guard) = undisturbed("alpn").await;
    let cluster = scene.testbed.state.cluster().unwrap();
    let gateway = json!({ "name": cluster.gateway_name, "namespace": cluster.gateway_namespace });
    let mut spec = scene.issuer_spec("pebble-account").unwrap();
    spec["acme"]["solvers"] = json!([{ "http01": { "gatewayHTTPRoute": { "parentRefs": [gateway] } } }]);
    scene.create::<Issuer>("pebble", spec).await.unwrap();
    let annotation = json!({ "metadata": { "annotations": { "certwright.dev/tls-alpn-01": "true" } } });
    scene.patch::<Issuer>("pebble", annotation).await.unwrap();
    scene.wait_ready::<Issuer>("pebble").await.unwrap();
    let mark = scene.testbed.mark().unwrap();
    let name = format!("www.{}.tls.certwright.test", scene.namespace);
    for certificate in ["web", "twin"] {
        scene.certificate(certificate, "pebble", &[&name]).await.unwrap();
    }
    for certificate in ["web", "twin"] {
        let issued = scene.issued(certificate).await.unwrap();
        assert_eq!(issued.leaf().names.dns_names, std::slice::from_ref(&name));
        assert_eq!(issued.certificate.status.unwrap().revision, Some(1));
    }
    nothing_is_left(&scene).await;
    assert_eq!(scene.list::<certwright::api::Order>().await.unwrap().len(), 2, "none failed");
    let mut writes = scene.testbed.writes_since(mark).await.unwrap();
    writes.retain(|write| write.namespace == scene.namespace && write.resource == "tlsroutes" && write.user == USER);
    let verbs: Vec<_> = writes.iter().map(|write| (write.verb.as_str(), write.code)).collect();
    assert_eq!(verbs, [("create", 201), ("delete", 200)].repeat(2));
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn one_name_takes_few_writes_and_none_is_refused() {
    let (scene, _guard) = undisturbed("writes").await;
    issuer(&scene, &ingress_class(&scene), json!({})).await;
    let mark = scene.testbed.mark().unwrap();
    scene.certificate("web", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    scene.issued("web").await.unwrap();
    nothing_is_left(&scene).await;
    // Events are sent beside the work.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut writes = scene.testbed.writes_since(mark).await.unwrap();
    writes.retain(|write: &Write| write.user == USER && write.namespace == scene.namespace);
    assert!(writes.iter().all(|write| write.code < 400), "refused: {writes:#?}");
    // Thirty on a machine that keeps up, which the bench holds it to; on a slow one the status of the Challenge tells of everything
    // that is waited for.
    writes.retain(|write| (write.resource.as_str(), write.subresource.as_str()) != ("challenges", "status"));
    assert!(writes.len() <= 34, "{} writes: {writes:#?}", writes.len());
    assert!(writes.len() >= 18, "only {} writes were seen, so they were not counted right", writes.len());
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_challenge_that_fails_at_the_ca_leaves_nothing_and_is_told() {
    let (scene, _guard) = undisturbed("refused").await;
    // Nobody serves this class, so the CA finds something else at the name.
    issuer(&scene, "nobody", json!({ "waitInsteadOfSelfCheck": "1s" })).await;
    scene.certificate("web", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    let has_failed = |certificate: &Certificate| {
        let issuing = find_condition(certificate.conditions(), condition::ISSUING);
        issuing.is_some_and(|issuing| {
            issuing.is_false()
                && issuing.message.as_ref().is_some_and(|text| text.contains("urn:ietf:params:acme:error:"))
        })
    };
    let what = "having failed with the problem of the CA";
    let failed: Certificate = scene.wait_for("web", what, PATIENCE, has_failed).await.unwrap();
    assert_eq!(failed.status.unwrap().failed_issuance_attempts, Some(1));
    let look = async || {
        let left = (
            scene.list::<Pod>().await?.len(),
            scene.list::<Service>().await?.len(),
            scene.list::<Ingress>().await?.len(),
        );
        anyhow::ensure!(left == (0, 0, 0), "pods, services, ingresses: {left:?}");
        Ok(Some(()))
    };
    until("the solver's objects to be gone", PATIENCE, look).await.unwrap();
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_controller_killed_while_solving_is_replaced_and_goes_on() {
    let _alone = CONTROLLER.write().await;
    let scene = scene("killed").await;
    issuer(&scene, &ingress_class(&scene), json!({})).await;
    let mark = scene.testbed.mark().unwrap();
    scene.certificate("web", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    let has_solver = async || anyhow::Ok((!scene.list::<Pod>().await?.is_empty()).then_some(()));
    until("a solver pod", PATIENCE, has_solver).await.unwrap();
    let controllers: Api<Pod> = Api::namespaced(scene.client.clone(), NAMESPACE);
    let at_once = DeleteParams::default().grace_period(0);
    controllers.delete_collection(&at_once, &ListParams::default()).await.unwrap();
    scene.wait_for::<Certificate>("web", "being ready", UNTIL_LEASE_ENDS, is_ready).await.unwrap();
    nothing_is_left(&scene).await;
    let orders: Vec<certwright::api::Order> = scene.list().await.unwrap();
    assert_eq!(orders.len(), 1);
    let writes = scene.testbed.writes_since(mark).await.unwrap();
    // The second controller may try to create what the first one could not write down any more, and be told so. The
    // scheduler creates bindings of pods.
    let is_pod = |write: &&Write| {
        write.namespace == scene.namespace
            && write.resource == "pods"
            && write.subresource.is_empty()
            && write.user == USER
    };
    let created = writes.iter().filter(is_pod).filter(|write| write.verb == "create" && write.code == 201);
    assert_eq!(created.count(), 1, "one solver pod served both controllers");
}
