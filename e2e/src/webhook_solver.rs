//! A DNS provider as an aggregated API server of its own (cert-manager's DNS webhook protocol), in the process of the test.
//! It writes through to the testbed's primary DNS server, or answers otherwise if `config.answer` says so.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Client;
use kube::api::{Api, PostParams};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::authority::Authority;
use crate::dns;
use crate::kubernetes::request;
use crate::state::Dns;
use crate::testbed::Testbed;
use crate::wait::until;

/// The name of its Service.
const SERVICE: &str = "webhook";
/// The group of what is posted, whichever group it is posted to.
const PAYLOAD_GROUP: &str = "webhook.acme.cert-manager.io";
/// The port on which nobody listens.
const NOBODY: u16 = 1;
/// The longest request that is taken, in bytes.
const LONGEST_REQUEST: usize = 1 << 20;
const HANDSHAKE: Duration = Duration::from_secs(30);
/// The API server looks at a new aggregated API at once, and again after half a minute.
const AVAILABLE: Duration = Duration::from_mins(2);

/// Why the API server trusts a webhook.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// The registration has the certificate of its CA.
    Bundle(&'a str),
    /// It names the Certificate whose CA somebody is to put there, as `NAMESPACE/NAME`.
    Certificate(&'a str),
}

/// A running webhook. Dropping it ends it, and leaves its registration.
pub struct WebhookSolver {
    /// The API group, one for each namespace.
    pub group: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    group: String,
    solver: String,
    dns: Dns,
    requests: Mutex<Vec<Value>>,
}

impl WebhookSolver {
    /// Starts a webhook with one solver, and registers it as the API group `NAMESPACE.webhooks.test`.
    pub async fn start(testbed: &Testbed, namespace: &str, solver: &str) -> Result<Self> {
        let folder = testbed.state.folder.join(format!("webhook-{namespace}"));
        let authority = Authority::create(&folder, "webhook-ca")?;
        let server = authority.server("server", &[&Self::host(namespace)])?;
        let trust = Trust::Bundle(authority.certificate_pem());
        Self::start_with(testbed, namespace, solver, (&server.certificate_pem, &server.key_pem), trust).await
    }

    /// The name that its certificate has to be for.
    pub fn host(namespace: &str) -> String {
        format!("{SERVICE}.{namespace}.svc")
    }

    /// [`WebhookSolver::start`] with this certificate and key in PEM form, and with what its registration says of its CA.
    pub async fn start_with(
        testbed: &Testbed,
        namespace: &str,
        solver: &str,
        (certificate, key): (&str, &str),
        trust: Trust<'_>,
    ) -> Result<Self> {
        let group = format!("{namespace}.webhooks.test");
        let acceptor = acceptor(certificate, key)?;
        let listener = TcpListener::bind((testbed.state.node_address, 0)).await.context("listening as a webhook")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            group: group.clone(),
            solver: solver.to_owned(),
            dns: testbed.state.dns()?.clone(),
            requests: Mutex::default(),
        });
        let task = tokio::spawn(accept(listener, acceptor, shared.clone()));
        let webhook = Self { group, shared, task };
        register(&testbed.admin().await?, &webhook.group, namespace, address, trust).await?;
        webhook.available(testbed).await?;
        Ok(webhook)
    }

    /// The `request` of every payload so far, in order.
    pub fn requests(&self) -> Vec<Value> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn available(&self, testbed: &Testbed) -> Result<()> {
        let client = testbed.admin().await?;
        let services: Api<APIService> = Api::all(client.clone());
        let name = format!("v1alpha1.{}", self.group);
        let path = format!("/apis/{}/v1alpha1", self.group);
        let look = async || {
            let conditions = services.get(&name).await?.status.and_then(|status| status.conditions).unwrap_or_default();
            let available = conditions.into_iter().find(|condition| condition.type_ == "Available");
            let available = available.context("it has no condition Available")?;
            if available.status != "True" {
                bail!("{}", available.message.unwrap_or_default());
            }
            // What leads there hears of it a moment later than others.
            client.request_text(request(&path)?).await?;
            Ok::<_, anyhow::Error>(Some(()))
        };
        until(&format!("the APIService {name} to be available"), AVAILABLE, look).await
    }
}

impl Drop for WebhookSolver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Registers an API group whose server nobody has started.
pub async fn register_absent(testbed: &Testbed, namespace: &str, group: &str) -> Result<()> {
    let folder = testbed.state.folder.join(format!("webhook-{group}"));
    let authority = Authority::create(&folder, "webhook-ca")?;
    // Of the ports that are given to whoever asks for any, another might be given this one.
    let address = SocketAddr::from((testbed.state.node_address, NOBODY));
    register(&testbed.admin().await?, group, namespace, address, Trust::Bundle(authority.certificate_pem())).await
}

/// What a webhook's chart installs, but for the rights: Service and APIService, and the endpoint that no controller makes here.
async fn register(client: &Client, group: &str, namespace: &str, address: SocketAddr, trust: Trust<'_>) -> Result<()> {
    let (bundle, annotations) = match trust {
        Trust::Bundle(ca) => (Some(STANDARD.encode(ca)), None),
        Trust::Certificate(name) => (None, Some(json!({ "cert-manager.io/inject-ca-from": name }))),
    };
    let labels = BTreeMap::from([("kubernetes.io/service-name", SERVICE)]);
    let port = json!({ "name": "https", "port": address.port(), "protocol": "TCP" });
    let service: Service = serde_json::from_value(json!({
        "metadata": { "name": SERVICE }, "spec": { "ports": [{ "name": "https", "port": 443 }] },
    }))?;
    let slice: EndpointSlice = serde_json::from_value(json!({
        "metadata": { "name": SERVICE, "labels": labels }, "addressType": "IPv4", "ports": [port],
        "endpoints": [{ "addresses": [address.ip()], "conditions": { "ready": true } }],
    }))?;
    let api: APIService = serde_json::from_value(json!({
        "metadata": { "name": format!("v1alpha1.{group}"), "annotations": annotations },
        "spec": {
            "group": group, "version": "v1alpha1", "groupPriorityMinimum": 1000, "versionPriority": 15,
            "caBundle": bundle, "service": { "name": SERVICE, "namespace": namespace },
        },
    }))?;
    let params = PostParams::default();
    Api::namespaced(client.clone(), namespace).create(&params, &slice).await.context("creating the EndpointSlice")?;
    Api::namespaced(client.clone(), namespace).create(&params, &service).await.context("creating the Service")?;
    Api::all(client.clone()).create(&params, &api).await.context("creating the APIService")?;
    Ok(())
}

fn acceptor(certificate: &str, key: &str) -> Result<TlsAcceptor> {
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes())?];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key)?)))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        connections.spawn(serve(stream, acceptor.clone(), shared.clone()));
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
    let service = hyper::service::service_fn(|request| {
        let shared = shared.clone();
        async move { shared.answer(request).await }
    });
    let builder = hyper::server::conn::http1::Builder::new();
    if let Err(error) = builder.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await {
        eprintln!("a connection of the webhook broke off: {error}");
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, LONGEST_REQUEST).collect().await.map_err(|error| anyhow!(error))?.to_bytes();
        let (status, answer) = match (head.method.as_str(), head.uri.path().strip_prefix("/apis")) {
            ("GET", Some(path)) => self.discovery(path),
            ("POST", Some(path)) if path == format!("/{}/v1alpha1/{}", self.group, self.solver) => {
                (StatusCode::CREATED, self.solve(&body).await?)
            }
            _ => not_found(),
        };
        let answer = Full::from(answer.to_string());
        Ok(Response::builder().status(status).header("content-type", "application/json").body(answer)?)
    }

    /// What an API server tells of itself.
    fn discovery(&self, path: &str) -> (StatusCode, Value) {
        let group = &self.group;
        let version = json!({ "groupVersion": format!("{group}/v1alpha1"), "version": "v1alpha1" });
        let own = json!({ "name": group, "versions": [version], "preferredVersion": version });
        let answer = match path.strip_prefix('/').unwrap_or_default().strip_prefix(group.as_str()) {
            None if path.is_empty() => json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [own] }),
            Some("") => {
                let mut answer = own;
                answer["kind"] = "APIGroup".into();
                answer["apiVersion"] = "v1".into();
                answer
            }
            Some("/v1alpha1") => json!({
                "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": format!("{group}/v1alpha1"),
                "resources": [{
                    "name": self.solver, "singularName": self.solver, "namespaced": false, "kind": "ChallengePayload",
                    "group": PAYLOAD_GROUP, "version": "v1alpha1", "verbs": ["create"],
                }],
            }),
            _ => return not_found(),
        };
        (StatusCode::OK, answer)
    }

    async fn solve(&self, body: &[u8]) -> Result<Value> {
        let mut payload: Value = serde_json::from_slice(body)?;
        if payload["apiVersion"] != format!("{PAYLOAD_GROUP}/v1alpha1") || payload["kind"] != "ChallengePayload" {
            bail!("this is no ChallengePayload: {payload}");
        }
        let request = payload["request"].clone();
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        let success = json!({ "uid": request["uid"], "success": true });
        let failure = |message: &str| {
            let status = json!({ "status": "Failure", "message": message, "reason": "InternalError", "code": 500 });
            json!({ "uid": request["uid"], "success": false, "status": status })
        };
        payload["response"] = match request["config"]["answer"].as_str() {
            Some("silence") => return Ok(payload),
            Some(message) => failure(message),
            None => match self.write(&request).await {
                Ok(()) => success,
                Err(error) => failure(&format!("{error:#}")),
            },
        };
        Ok(payload)
    }

    async fn write(&self, request: &Value) -> Result<()> {
        let text = |field: &str| request[field].as_str().with_context(|| format!("the request has no {field}"));
        let (name, value) = (text("resolvedFQDN")?, text("key")?);
        let line = match text("action")? {
            "Present" => format!("add {name} 60 TXT \"{value}\""),
            "CleanUp" => format!("delete {name} TXT \"{value}\""),
            other => bail!("there is no action {other:?}"),
        };
        let lines = [format!("zone {}", text("resolvedZone")?), line];
        let dns = self.dns.clone();
        tokio::task::spawn_blocking(move || dns::update(&dns, &lines)).await?
    }
}

fn not_found() -> (StatusCode, Value) {
    let message = "the server could not find the requested resource";
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": message,
    });
    (StatusCode::NOT_FOUND, status)
}
