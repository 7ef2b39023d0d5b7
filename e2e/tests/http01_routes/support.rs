//! What these tests need: a place with an issuer, somebody who leads port 80 to the controller, and what is there of solver objects.

use std::net::IpAddr;
use std::time::Duration;

use certwright::api::{Challenge, Issuer};
use certwright::http01::route;
use certwright_e2e::audit::{Mark, Write};
use certwright_e2e::definition::define;
use certwright_e2e::kubernetes::CERTWRIGHT_USER;
use certwright_e2e::port::listen;
use certwright_e2e::scene::PATIENCE;
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Scene, Testbed};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, ListParams};
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// A testbed without a node has no controller for Services, so nobody else makes EndpointSlices.
pub const SOLVER: [&str; 5] = ["pods", "services", "endpointslices", "ingresses", "httproutes"];

pub fn testbed() -> Testbed {
    Testbed::from_env().unwrap().expect("run this inside `testbed run`")
}

/// A controller that answers itself where an issuer wishes it, with further arguments.
pub async fn controller(testbed: &Testbed, more: &[&str]) -> Controller {
    let own = testbed.state.node_address.to_string();
    let arguments = [&["--pod-ip", own.as_str()], more].concat();
    Controller::start(testbed, &arguments).await.unwrap()
}

/// A fresh namespace with an Issuer that has this http01 solver and whose challenges are answered by `answerer`.
pub async fn scene(testbed: &Testbed, controller: &Controller, http01: Value, answerer: &str) -> Scene {
    let scene = Scene::new(testbed, controller.log(), "routes").await.unwrap();
    issuer(&scene, http01, answerer).await;
    scene
}

pub async fn issuer(scene: &Scene, http01: Value, answerer: &str) {
    let mut spec = scene.issuer_spec("pebble-account").unwrap();
    spec["acme"]["solvers"] = json!([{ "http01": http01 }]);
    issuer_with(scene, spec, answerer).await;
}

/// The same with this spec.
pub async fn issuer_with(scene: &Scene, spec: Value, answerer: &str) {
    scene.create::<Issuer>("pebble", spec).await.unwrap();
    let annotations = json!({ "certwright.dev/http01-solver": answerer });
    scene.patch::<Issuer>("pebble", json!({ "metadata": { "annotations": annotations } })).await.unwrap();
    scene.wait_ready::<Issuer>("pebble").await.unwrap();
}

/// Leads port 80 to whoever answers on port 8089, as an ingress controller does. It ends when the handle is dropped.
pub async fn edge(address: impl Into<IpAddr>) -> JoinSet<()> {
    let address = address.into();
    let listener = listen((address, 80)).await.unwrap();
    let mut tasks = JoinSet::new();
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

/// So many names of the scene.
pub fn names(scene: &Scene, count: usize) -> Vec<String> {
    (0..count).map(|number| scene.dns_name(&format!("n{number}"))).collect()
}

/// Creates the Certificate `web` for these names.
pub async fn certificate(scene: &Scene, names: &[String]) {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    scene.certificate("web", "pebble", &names).await.unwrap();
}

/// Waits until there is an object that is as wanted.
pub async fn there<K: certwright_e2e::scene::Kind + kube::Resource<Scope = kube::core::NamespaceResourceScope>>(
    scene: &Scene,
    wanted: impl Fn(&K) -> bool,
) -> K {
    let look = async || anyhow::Ok(scene.list::<K>().await?.into_iter().find(|object| wanted(object)));
    until(&format!("a wanted {}", K::kind(&())), PATIENCE, look).await.unwrap()
}

/// Deletes the one object of the kind, and waits until another is in its place.
pub async fn comes_back<K: certwright_e2e::scene::Kind + kube::Resource<Scope = kube::core::NamespaceResourceScope>>(
    scene: &Scene,
) {
    let former = there::<K>(scene, |_| true).await;
    scene.api::<K>().delete(&former.name_any(), &kube::api::DeleteParams::default()).await.unwrap();
    let other = there::<K>(scene, |found| found.uid() != former.uid()).await;
    assert_eq!(other.name_any(), former.name_any());
    let spec = |object: &K| serde_json::to_value(object).unwrap()["spec"]["rules"].clone();
    assert_eq!(spec(&other), spec(&former));
}

/// Waits until the reason of a Challenge has this part.
pub async fn says(scene: &Scene, part: &str) -> String {
    let look = async || {
        let challenges: Vec<Challenge> = scene.list().await?;
        let reasons: Vec<_> = challenges.into_iter().filter_map(|challenge| challenge.status?.reason).collect();
        let found = reasons.iter().find(|reason| reason.contains(part)).cloned();
        anyhow::ensure!(found.is_some(), "the Challenges say {reasons:?}");
        Ok(found)
    };
    until(&format!("a Challenge to say {part:?}"), PATIENCE, look).await.unwrap()
}

/// Waits until no Challenge and no solver object is left in the namespace.
pub async fn nothing_is_left(scene: &Scene) {
    let look = async || {
        let left = [
            scene.list::<Challenge>().await?.len(),
            scene.list::<Pod>().await?.len(),
            scene.list::<Service>().await?.len(),
            scene.list::<Ingress>().await?.len(),
            scene.list::<EndpointSlice>().await?.len(),
            routes(scene).list(&ListParams::default()).await.map_or(0, |routes| routes.items.len()),
        ];
        anyhow::ensure!(left == [0; 6], "challenges, pods, services, ingresses, slices, routes: {left:?}");
        Ok(Some(()))
    };
    until("everything of the solver to be gone", PATIENCE, look).await.unwrap();
}

/// What the controller did to solver objects of the scene since the mark, as `VERB RESOURCE`, sorted; refused ones with their code.
pub async fn solver_writes(scene: &Scene, mark: Mark) -> Vec<String> {
    // What was answered last may be written down a moment later.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let writes = scene.testbed.writes_since(mark).await.unwrap().into_iter();
    let own = |write: &Write| write.user == CERTWRIGHT_USER && write.namespace == scene.namespace;
    let of_solver = writes.filter(|write| own(write) && SOLVER.contains(&write.resource.as_str()));
    let told = |write: Write| {
        let refused = if write.code < 400 { String::new() } else { format!(" {}", write.code) };
        format!("{} {}{refused}", write.verb, write.resource)
    };
    let mut told: Vec<_> = of_solver.map(told).collect();
    told.sort();
    told
}

/// Asserts that these are the [`solver_writes`]. Whoever has seen that an object is gone may be ahead of the audit log.
pub async fn wrote(scene: &Scene, mark: Mark, wanted: &[String]) {
    let look = async || {
        let told = solver_writes(scene, mark).await;
        anyhow::ensure!(told == wanted, "it wrote {told:?} in place of {wanted:?}");
        Ok(Some(()))
    };
    until("the writes to be in the audit log", PATIENCE, look).await.unwrap();
}

/// No Gateway controller runs in this tier.
pub async fn define_routes(scene: &Scene) {
    define(&scene.client, &route::resource("v1")).await.unwrap();
}

pub fn routes(scene: &Scene) -> Api<DynamicObject> {
    Api::namespaced_with(scene.client.clone(), &scene.namespace, &route::resource("v1"))
}
