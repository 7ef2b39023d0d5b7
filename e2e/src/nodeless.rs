//! HTTP-01 where no node and no ingress controller is (tier `api`): this plays the kubelet that runs solver pods, and
//! whatever leads the CA to them or to the controller.
//!
//! No garbage is collected in that tier, so what the controller leaves behind stays.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use certwright::api::names::label;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::port::listen;
use crate::scene::PATIENCE;
use crate::testbed::Testbed;
use crate::wait::until;

/// The address of every pod.
const PODS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 4);
/// Where pods and the controller answer.
const SOLVER_PORT: u16 = 8089;
/// Of a write that the API server has not answered.
const BEFORE_ANOTHER_TRY: Duration = Duration::from_millis(200);
/// The longest head of a request, in bytes.
const LONGEST_HEAD: u64 = 8192;

/// The answers of the pods that run, by token.
type Answers = Arc<Mutex<HashMap<String, String>>>;

/// See the module's description. It ends when it is dropped.
pub struct Nodeless {
    _tasks: JoinSet<()>,
}

impl Nodeless {
    /// The flags with which the controller can answer itself.
    pub fn flags(testbed: &Testbed) -> [String; 2] {
        ["--pod-ip".to_owned(), testbed.state.node_address.to_string()]
    }

    /// Begins, with the pods that are there already. There can be one at a time.
    pub async fn start(testbed: &Testbed) -> Result<Self> {
        let (client, node) = (testbed.admin().await?, IpAddr::from(testbed.state.node_address));
        let answers = Answers::default();
        let mut tasks = JoinSet::new();
        for (address, onward) in [
            (SocketAddr::new(node, 80), Some(SocketAddr::new(node, SOLVER_PORT))),
            (SocketAddr::new(PODS.into(), SOLVER_PORT), None),
        ] {
            let listener = listen(address).await?;
            tasks.spawn(serve(listener, answers.clone(), onward));
        }
        tasks.spawn(run_pods(client, answers));
        Ok(Self { _tasks: tasks })
    }
}

/// Gives each solver pod an address, as a kubelet does once its container runs.
async fn run_pods(client: Client, answers: Answers) {
    let solvers = watcher::Config::default().labels(&format!("{}=true", label::HTTP01_SOLVER));
    let mut pods = watcher::watcher(Api::<Pod>::all(client.clone()), solvers).default_backoff().boxed();
    while let Some(event) = pods.next().await {
        match event {
            Ok(Event::Apply(pod) | Event::InitApply(pod)) => run_pod(&client, &answers, &pod).await,
            Ok(Event::Delete(pod)) => drop(lock(&answers).remove(&argument(&pod, "--token="))),
            Ok(_) => {}
            Err(error) => eprintln!("watching solver pods: {error}"),
        }
    }
}

async fn run_pod(client: &Client, answers: &Answers, pod: &Pod) {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if phase != Some("Pending") {
        return;
    }
    lock(answers).insert(argument(pod, "--token="), argument(pod, "--key="));
    let status = json!({ "status": { "phase": "Running", "podIP": PODS, "podIPs": [{ "ip": PODS }] } });
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let (name, params, patch) = (pod.name_any(), PatchParams::default(), Patch::Merge(status));
    while let Err(error) = pods.patch_status(&name, &params, &patch).await {
        // It may be gone by now.
        if matches!(&error, kube::Error::Api(refusal) if (400..429).contains(&refusal.code)) {
            return;
        }
        eprintln!("telling the address of the pod {name}: {error}");
        sleep(BEFORE_ANOTHER_TRY).await;
    }
}

/// What follows `prefix` in the arguments of the pod's container.
fn argument(pod: &Pod, prefix: &str) -> String {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut arguments = containers.flat_map(|container| container.args.iter().flatten());
    arguments.find_map(|argument| argument.strip_prefix(prefix)).unwrap_or_default().to_owned()
}

async fn serve(listener: TcpListener, answers: Answers, onward: Option<SocketAddr>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        connections.spawn(answer(stream, answers.clone(), onward));
    }
}

/// Answers for a pod; what none knows goes `onward`, unopened.
async fn answer(mut near: TcpStream, answers: Answers, onward: Option<SocketAddr>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if (&mut near).take(LONGEST_HEAD).read_buf(&mut head).await? == 0 || head.len() as u64 > LONGEST_HEAD {
            return Ok(());
        }
    }
    let text = String::from_utf8_lossy(&head);
    let path = text.split(' ').nth(1).unwrap_or_default();
    let key = lock(&answers).get(path.trim_start_matches("/.well-known/acme-challenge/")).cloned();
    match (key, onward) {
        (None, Some(onward)) => {
            let mut far = TcpStream::connect(onward).await?;
            far.write_all(&head).await?;
            copy_bidirectional(&mut near, &mut far).await.map(drop)
        }
        (key, _) => {
            let (status, body) = key.map_or(("404 Not Found", String::new()), |key| ("200 OK", key));
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            near.write_all(answer.as_bytes()).await
        }
    }
}

fn lock(answers: &Answers) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
    answers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The HTTPRoutes of a namespace.
pub fn routes(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute"));
    Api::namespaced_with(client.clone(), namespace, &kind)
}

/// Has the API server serve HTTPRoutes, as far as it matters here: no Gateway controller runs in this tier.
pub async fn define_routes(client: &Client) -> Result<()> {
    let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let version = json!({
        "name": "v1", "served": true, "storage": true, "subresources": { "status": {} },
        "schema": { "openAPIV3Schema": schema },
    });
    let definition: CustomResourceDefinition = serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "httproutes.gateway.networking.k8s.io",
            "annotations": { "api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api" },
        },
        "spec": {
            "group": "gateway.networking.k8s.io", "scope": "Namespaced", "versions": [version],
            "names": { "kind": "HTTPRoute", "plural": "httproutes", "singular": "httproute", "listKind": "HTTPRouteList" },
        },
    }))?;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let params = PatchParams::apply("test").force();
    definitions.patch(&definition.name_any(), &params, &Patch::Apply(&definition)).await?;
    let routes = routes(client, "default");
    let look = async || routes.list(&ListParams::default()).await.map(|_| Some(()));
    until("HTTPRoutes to be served", PATIENCE, look).await
}
