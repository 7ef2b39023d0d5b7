//! `httpreq`: a service of one's own, which writes through to the testbed's DNS server.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certwright_e2e::dns;
use certwright_e2e::state::Dns;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::{issuer, no_record_is_left, says, scene};

const USER: &str = "certwright";
const PASSWORD: &str = "a word that stays here";

/// Dropping it ends it.
struct Service {
    endpoint: String,
    /// Path and body of what came.
    requests: Arc<Mutex<Vec<(String, Value)>>>,
    task: JoinHandle<()>,
}

impl Service {
    async fn start(dns: &Dns) -> Self {
        let listener = TcpListener::bind((dns.primary, 0)).await.unwrap();
        let endpoint = format!("http://{}/hooks/", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<_>>> = Arc::default();
        let (dns, seen) = (dns.clone(), requests.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (dns, seen) = (dns.clone(), seen.clone());
                let service = hyper::service::service_fn(move |request| answer(request, dns.clone(), seen.clone()));
                let builder = hyper::server::conn::http1::Builder::new();
                tokio::spawn(builder.serve_connection(hyper_util::rt::TokioIo::new(stream), service));
            }
        });
        Self { endpoint, requests, task }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    dns: Dns,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
) -> anyhow::Result<Response<Empty<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, 1 << 20).collect().await.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
    let body: Value = serde_json::from_slice(&body)?;
    let wanted = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    let status = if head.headers.get("authorization").is_none_or(|given| given.as_bytes() != wanted.as_bytes()) {
        StatusCode::UNAUTHORIZED
    } else {
        seen.lock().unwrap().push((head.uri.path().to_owned(), body.clone()));
        let (name, value) = (body["fqdn"].as_str().unwrap_or_default(), body["value"].as_str().unwrap_or_default());
        let line = match head.uri.path() {
            "/hooks/present" => format!("add {name} 60 TXT {value}"),
            _ => format!("delete {name} TXT {value}"),
        };
        tokio::task::spawn_blocking(move || dns::update(&dns, &["zone certwright.test".into(), line])).await??;
        StatusCode::ACCEPTED
    };
    Ok(Response::builder().status(status).body(Empty::new())?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_service_writes_the_records() {
    let scene = scene("httpreq").await;
    let service = Service::start(scene.testbed.state.dns().unwrap()).await;
    let config = json!({
        "endpoint": service.endpoint, "username": USER, "passwordSecretRef": { "name": "service", "key": "password" },
    });
    let solver = json!({ "webhook": { "groupName": "certwright.dev", "solverName": "httpreq", "config": config } });
    issuer(&scene, "service", solver).await;
    let name = scene.dns_name("www");
    scene.certificate("www", "service", &[&name, &format!("*.{name}")]).await.unwrap();
    says(&scene, &name, "The Secret").await;
    scene.put_secret("service", "password", "wrong").await.unwrap();
    let reason = says(&scene, &name, "the endpoint answered 401").await;
    assert!(!reason.contains("wrong") && !reason.contains("http://"), "{reason}");
    scene.put_secret("service", "password", PASSWORD).await.unwrap();
    scene.issued("www").await.unwrap();
    no_record_is_left(&scene).await;

    let requests = service.requests.lock().unwrap().clone();
    for path in ["/hooks/present", "/hooks/cleanup"] {
        let mut values: Vec<&str> = Vec::new();
        for (_, body) in requests.iter().filter(|(seen, _)| seen == path) {
            assert_eq!(*body, json!({ "fqdn": format!("_acme-challenge.{name}."), "value": body["value"] }));
            values.push(body["value"].as_str().unwrap());
        }
        values.sort_unstable();
        values.dedup();
        assert_eq!(values.len(), 2, "{path}: {requests:?}");
    }
}
