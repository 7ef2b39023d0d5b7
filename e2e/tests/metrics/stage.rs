//! A run with all that there is: every kind of challenge that needs no node, credentials of every kind, a failure.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use certwright::api::names::{KIND_ISSUER, annotation, condition, http01_solver};
use certwright::api::{Certificate, Issuer, find_condition};
use certwright_e2e::pebble::{PebbleOptions, start_another};
use certwright_e2e::port::listen;
use certwright_e2e::scene::{PATIENCE, base64_of, certificate_spec};
use certwright_e2e::stand_in::{StandIn, Zone};
use certwright_e2e::{Controller, Process, Scene, Testbed};
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;

use crate::vendor::{DigitalOcean, TOKEN};

/// Where the controller answers challenges.
const SOLVER_PORT: u16 = 8089;
/// The zone of the provider with an API.
const APEX: &str = "watched.certwright.test";
/// The CA refuses this name and those below it.
const BLOCKED: &str = "blocked.certwright.test";
/// Of the keystores.
pub const PASSWORD: &str = "pass-word-of-the-keystores";

/// See the module's description.
pub struct Stage {
    pub scene: Scene,
    _stand_in: StandIn,
    /// Its ports are the same in each run, so that it ends before the next controller may start.
    _bound_ca: Process,
    pub controller: Controller,
}

impl Stage {
    /// A controller with these flags besides the usual ones, and issuers of all kinds.
    pub async fn new(prefix: &str, flags: &[&str]) -> Self {
        let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
        let zone = Arc::new(Zone::new(testbed.state.dns().unwrap(), APEX));
        let stand_in = StandIn::start(&testbed.state, Arc::new(DigitalOcean { zones: vec![zone] })).await.unwrap();
        let node = testbed.state.node_address;
        let (endpoint, own) = (format!("digitalocean={}", stand_in.url()), node.to_string());
        let usual = ["--dns01-provider-endpoints", &endpoint, "--pod-ip", &own];
        let controller = Controller::start(&testbed, &[&usual, flags].concat()).await.unwrap();
        forward_challenges(node).await;
        let scene = Scene::new(&testbed, controller.log(), prefix).await.unwrap();
        let bound_ca = issuers(&scene).await;
        Self { scene, controller, _stand_in: stand_in, _bound_ca: bound_ca }
    }

    /// One certificate by each issuer, one with keystores, and one that the CA refuses.
    pub async fn run(&self) {
        let scene = &self.scene;
        let keystores = json!({
            "jks": { "create": true, "passwordSecretRef": { "name": "stores", "key": "password" } },
            "pkcs12": { "create": true, "passwordSecretRef": { "name": "stores", "key": "password" } },
        });
        self.certificate("by-update", "update", &scene.dns_name("update"), json!({ "keystores": keystores })).await;
        // The TXT records of the others take the wildcard address from names beside them (RFC 4592).
        let apart = format!("{}-http.certwright.test", scene.namespace);
        self.certificate("by-http", "http", &apart, json!({})).await;
        self.certificate("by-api", "api", &format!("{}.{APEX}", scene.namespace), json!({})).await;
        self.certificate("by-bound", "bound", &scene.dns_name("bound"), json!({})).await;
        self.certificate("refused", "bound", &format!("{}.{BLOCKED}", scene.namespace), json!({})).await;
        for name in ["by-update", "by-http", "by-api", "by-bound"] {
            scene.issued(name).await.unwrap();
        }
        let has_failed = |certificate: &Certificate| {
            let conditions = certificate.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
            find_condition(conditions, condition::ISSUING).is_some_and(certwright::api::Condition::is_false)
        };
        scene.wait_for("refused", "having failed", PATIENCE, has_failed).await.unwrap();
    }

    async fn certificate(&self, name: &str, issuer: &str, dns_name: &str, more: Value) {
        let mut spec = certificate_spec(name, KIND_ISSUER, issuer, &[dns_name]);
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.scene.create::<Certificate>(name, spec).await.unwrap();
    }

    /// The page of the controller.
    pub async fn page(&self) -> String {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get("http://127.0.0.1:9402/metrics").send().await.unwrap().error_for_status().unwrap();
        assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        answer.text().await.unwrap()
    }
}

async fn issuers(scene: &Scene) -> Process {
    scene.put_secret("stores", "password", PASSWORD).await.unwrap();
    scene.put_secret("api", "token", TOKEN).await.unwrap();
    issuer(scene, "update", scene.issuer_spec("update-account").unwrap()).await;
    let mut spec = scene.issuer_spec("api-account").unwrap();
    let reference = json!({ "name": "api", "key": "token" });
    spec["acme"]["solvers"] = json!([{ "dns01": { "digitalocean": { "tokenSecretRef": reference } } }]);
    issuer(scene, "api", spec).await;
    let mut spec = scene.issuer_spec("http-account").unwrap();
    spec["acme"]["solvers"] = json!([{ "http01": { "ingress": { "ingressClassName": "none" } } }]);
    scene.create::<Issuer>("http", spec).await.unwrap();
    let who = json!({ "metadata": { "annotations": { (annotation::HTTP01_SOLVER): http01_solver::CONTROLLER } } });
    scene.patch::<Issuer>("http", who).await.unwrap();
    scene.wait_ready::<Issuer>("http").await.unwrap();

    let options = PebbleOptions {
        name: format!("bound-{}", scene.namespace),
        port: 14_500,
        management_port: 15_500,
        external_account_required: true,
        blocked_names: vec![BLOCKED.to_owned()],
        ..PebbleOptions::default()
    };
    let (ca, acme) = start_another(&scene.testbed.state, &options).await.unwrap();
    scene.put_secret("eab", "hmac", &acme.external_account_keys["kid-1"]).await.unwrap();
    let mut spec = scene.issuer_spec("bound-account").unwrap();
    spec["acme"]["server"] = json!(acme.directory_url);
    spec["acme"]["caBundle"] = json!(base64_of(&acme.ca_file).unwrap());
    spec["acme"]["externalAccountBinding"] =
        json!({ "keyID": "kid-1", "keySecretRef": { "name": "eab", "key": "hmac" } });
    issuer(scene, "bound", spec).await;
    ca
}

async fn issuer(scene: &Scene, name: &str, spec: Value) {
    scene.create::<Issuer>(name, spec).await.unwrap();
    scene.wait_ready::<Issuer>(name).await.unwrap();
}

/// Who asks for a name at port 80 comes to the controller: there is no ingress controller here.
async fn forward_challenges(node: Ipv4Addr) {
    let listener = listen((node, 80)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = TcpStream::connect(SocketAddr::from((node, SOLVER_PORT))).await?;
                copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
}
