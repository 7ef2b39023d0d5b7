//! What several of these tests need.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use certwright::api::names::{KIND_ISSUER, condition};
use certwright::api::{Certificate, CertificateRequest, Condition, Issuer, Order, find_condition};
use certwright::pki::ParsedCertificate;
use certwright_e2e::audit::{Mark, Write};
use certwright_e2e::scene::{Conditions, Kind, PATIENCE, certificate_spec, unreadiness};
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Scene, Testbed};
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A fresh namespace, with the shared controller at work.
pub async fn scene(prefix: &str) -> Scene {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
    let controller = Controller::shared(&testbed).await.unwrap();
    Scene::new(&testbed, &controller.log, prefix).await.unwrap()
}

/// Waits until Ready is false with a message that holds every one of `words`; returns the message.
pub async fn unready<K>(scene: &Scene, name: &str, words: &[&str]) -> String
where
    K: Kind + Conditions + Resource<Scope = NamespaceResourceScope>,
{
    let says =
        |object: &K| unreadiness(object).is_some_and(|(_, message)| words.iter().all(|word| message.contains(word)));
    let object: K =
        scene.wait_for(name, &format!("not being ready because of {words:?}"), PATIENCE, says).await.unwrap();
    unreadiness(&object).unwrap().1.to_owned()
}

/// Waits until the last issuance of the Certificate has failed with a message that holds every one of `words`.
pub async fn failed(scene: &Scene, name: &str, words: &[&str]) -> Certificate {
    let says = |certificate: &Certificate| {
        let issuing = find_condition(certificate.conditions(), condition::ISSUING);
        let text = issuing.filter(|issuing| issuing.is_false()).and_then(|issuing| issuing.message.clone());
        text.is_some_and(|text| words.iter().all(|word| text.contains(word)))
    };
    scene.wait_for(name, &format!("having failed because of {words:?}"), PATIENCE, says).await.unwrap()
}

/// Waits for an event about the object of that name, with this reason and a note that contains `part`.
pub async fn event(scene: &Scene, name: &str, reason: &str, part: &str) {
    let look = async || {
        let events = scene.events(name).await?;
        let found = events.iter().any(|(held, note)| held == reason && note.contains(part));
        anyhow::ensure!(found, "there are {events:?}");
        Ok(Some(()))
    };
    until(&format!("an event {reason} about {name} with {part:?}"), PATIENCE, look).await.unwrap();
}

/// Creates a Certificate that names this Issuer, with further fields of the spec.
pub async fn certificate_with(scene: &Scene, name: &str, dns_names: &[&str], more: Value) -> Certificate {
    let mut spec = certificate_spec(name, KIND_ISSUER, "pebble", dns_names);
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    scene.create(name, spec).await.unwrap()
}

/// The writes of the controller in the scene's namespace while `time` passes.
pub async fn writes_during(scene: &Scene, time: Duration) -> Vec<Write> {
    let mark = mark(scene).await;
    tokio::time::sleep(time).await;
    writes_since(scene, mark).await
}

/// The present end of the audit log, with everything in it that was answered before.
pub async fn mark(scene: &Scene) -> Mark {
    let mark = scene.testbed.mark().unwrap();
    scene.testbed.writes_since(mark).await.unwrap();
    scene.testbed.mark().unwrap()
}

/// Waits until the controller has written nothing in the scene's namespace for three seconds; events may come late.
pub async fn settles(scene: &Scene) {
    let window = Duration::from_secs(3);
    let look = async || match writes_during(scene, window).await {
        writes if writes.is_empty() => Ok(Some(())),
        writes => Err(anyhow::anyhow!("{} writes in {} s: {writes:#?}", writes.len(), window.as_secs())),
    };
    until("the controller to rest", PATIENCE, look).await.unwrap();
}

/// The writes of the controller in the scene's namespace, events included.
pub async fn writes_since(scene: &Scene, mark: Mark) -> Vec<Write> {
    let mut writes = scene.testbed.writes_since(mark).await.unwrap();
    writes.retain(|write| write.user == "certwright" && write.namespace == scene.namespace);
    writes
}

/// Asserts that no Order was ever made in the namespace, and nothing further happens.
pub async fn nothing_is_ordered(scene: &Scene) {
    let orders: Vec<Order> = scene.list().await.unwrap();
    assert!(orders.is_empty(), "{orders:#?}");
}

/// Condition of a CertificateRequest's last state.
pub fn condition_of<'a, K: Conditions>(object: &'a K, type_: &str) -> &'a Condition {
    find_condition(object.conditions(), type_).unwrap_or_else(|| panic!("no condition {type_}"))
}

/// The one CertificateRequest of the namespace.
pub async fn only_request(scene: &Scene) -> CertificateRequest {
    let mut requests: Vec<CertificateRequest> = scene.list().await.unwrap();
    assert_eq!(requests.len(), 1, "{requests:#?}");
    requests.remove(0)
}

/// Creates an Issuer for the testbed's Pebble after `change` was made to its spec.
pub async fn issuer_with(scene: &Scene, change: impl FnOnce(&mut Value)) -> Issuer {
    let mut spec = scene.issuer_spec("pebble-account").unwrap();
    change(&mut spec["acme"]);
    scene.create("pebble", spec).await.unwrap()
}

/// Replaces the Issuer's spec by the right one.
pub async fn mend_issuer(scene: &Scene) {
    let spec = scene.issuer_spec("pebble-account").unwrap();
    scene.patch::<Issuer>("pebble", serde_json::json!({ "spec": spec })).await.unwrap();
    scene.wait_ready::<Issuer>("pebble").await.unwrap();
}

/// The root certificate of the testbed's Pebble.
pub async fn root(scene: &Scene) -> ParsedCertificate {
    let acme = scene.testbed.state.acme().unwrap();
    let url = format!("{}/roots/0", acme.management_url);
    let pem = acme.http_client().unwrap().get(url).send().await.unwrap().bytes().await.unwrap();
    ParsedCertificate::from_pem_chain(&pem).unwrap().remove(0)
}

/// A small HTTP server that answers every request the same way, and counts them.
pub struct Server {
    pub url: String,
    pub requests: Arc<AtomicUsize>,
    answer: Arc<Mutex<String>>,
}

impl Server {
    /// Answers with this status line and body.
    pub async fn start(scene: &Scene, status: &str, body: &str) -> Self {
        let listener = TcpListener::bind((scene.testbed.state.node_address, 0)).await.unwrap();
        let url = format!("http://{}/directory", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new(answer(status, body)));
        let requests = Arc::new(AtomicUsize::new(0));
        let (count, text) = (requests.clone(), answer.clone());
        tokio::spawn(async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { continue };
                count.fetch_add(1, Ordering::Relaxed);
                let text = text.lock().unwrap().clone();
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    let _ = stream.read(&mut request).await;
                    let _ = stream.write_all(text.as_bytes()).await;
                });
            }
        });
        Self { url, requests, answer }
    }

    /// Answers otherwise from now on.
    pub fn change(&self, status: &str, body: &str) {
        *self.answer.lock().unwrap() = answer(status, body);
    }

    pub fn count(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}
