//! What the tests of all providers need: a stand-in, a controller that takes it for the provider, and a scene.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use certwright::api::{Challenge, Issuer};
use certwright_e2e::scene::{Issued, PATIENCE};
use certwright_e2e::stand_in::{Exchange, StandIn, Vendor, Zone};
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Scene, Testbed};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde_json::{Value, json};

/// A value that somebody else has put where the challenges' are.
pub const FOREIGN: &str = "somebody else's \"value\"";

/// As many requests fail until it was said why: what fails once is tried again after a second, and then nothing is said any more.
pub const AGAIN: usize = 1000;

/// See the module's description.
pub struct Stage {
    pub scene: Scene,
    pub stand_in: StandIn,
    /// None between two.
    controller: Option<Controller>,
}

pub fn testbed() -> Testbed {
    Testbed::from_env().unwrap().expect("run this inside `testbed run`")
}

impl Stage {
    /// The stand-in is what the controller takes for `service`; `path` is what its addresses begin with.
    pub async fn new(testbed: &Testbed, service: &str, path: &str, vendor: Arc<dyn Vendor>) -> Self {
        let stand_in = StandIn::start(&testbed.state, vendor).await.unwrap();
        let endpoint = format!("{service}={}{path}", stand_in.url());
        let controller = Controller::start(testbed, &["--dns01-provider-endpoints", &endpoint]).await.unwrap();
        let scene = Scene::new(testbed, controller.log(), service).await.unwrap();
        Self::of(scene, stand_in, controller)
    }

    /// A stage for a provider whose address is in the solver.
    pub async fn without_endpoint(testbed: &Testbed, prefix: &str, vendor: Arc<dyn Vendor>) -> Self {
        let stand_in = StandIn::start(&testbed.state, vendor).await.unwrap();
        let controller = Controller::start(testbed, &[]).await.unwrap();
        let scene = Scene::new(testbed, controller.log(), prefix).await.unwrap();
        Self::of(scene, stand_in, controller)
    }

    /// A stage of these parts.
    pub fn of(scene: Scene, stand_in: StandIn, controller: Controller) -> Self {
        Self { scene, stand_in, controller: Some(controller) }
    }

    /// Ends the controller.
    pub fn stop_controller(&mut self) {
        self.controller = None;
    }

    /// Has another controller go on.
    pub fn set_controller(&mut self, controller: Controller) {
        controller.log().clone_into(&mut self.scene.controller_log);
        self.controller = Some(controller);
    }

    /// Kills the controller as soon as something is so, and starts it again.
    pub async fn kill_when(&mut self, is_so: impl Fn() -> bool) {
        let patience = tokio::time::Instant::now() + PATIENCE;
        while !is_so() {
            assert!(tokio::time::Instant::now() < patience, "it did not come so far");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let controller = self.controller.as_mut().unwrap();
        controller.kill().unwrap();
        controller.restart().unwrap();
        controller.ready().await.unwrap();
    }

    /// Creates an issuer with this `dns01` part as its only solver, and waits until it is ready.
    pub async fn issuer(&self, name: &str, dns01: Value) {
        let mut spec = self.scene.issuer_spec(&format!("{name}-account")).unwrap();
        spec["acme"]["solvers"] = json!([{ "dns01": dns01 }]);
        self.scene.create::<Issuer>(name, spec).await.unwrap();
        self.scene.wait_ready::<Issuer>(name).await.unwrap();
    }

    /// Has a certificate issued for these names.
    pub async fn issue(&self, name: &str, issuer: &str, dns_names: &[&str]) -> Issued {
        self.scene.certificate(name, issuer, dns_names).await.unwrap();
        self.issued(name, dns_names).await
    }

    /// Waits for a certificate for these names.
    pub async fn issued(&self, name: &str, dns_names: &[&str]) -> Issued {
        let issued = self.scene.issued(name).await.unwrap();
        let names: HashSet<&str> = issued.leaf().names.dns_names.iter().map(String::as_str).collect();
        assert_eq!(names, dns_names.iter().copied().collect());
        issued
    }

    /// Waits until a Challenge says this about why it is not done.
    pub async fn challenge_says(&self, part: &str) {
        let what = format!("a Challenge to say {part:?}");
        self.scene.see_challenge(&what, PATIENCE, |_, reason| reason.contains(part)).await.unwrap();
    }

    /// Waits until no Challenge is left, and with it nothing to clean up.
    pub async fn no_challenge_is_left(&self) {
        let look = async || {
            let names: Vec<String> = self.scene.list::<Challenge>().await?.iter().map(ResourceExt::name_any).collect();
            if names.is_empty() { Ok(Some(())) } else { Err(anyhow::anyhow!("{names:?} are left")) }
        };
        until("the Challenges to go", PATIENCE, look).await.unwrap();
    }

    /// The same, and that these are the values at the challenges' name then.
    pub async fn cleaned_up(&self, zone: &Zone, name: &str, values: &[&str]) {
        self.no_challenge_is_left().await;
        assert_eq!(zone.values(&format!("_acme-challenge.{name}")), values);
    }

    /// Changes a Secret in something that has no part in it.
    pub async fn touch_secret(&self, name: &str) {
        let now = jiff::Timestamp::now().as_nanosecond().to_string();
        let patch = json!({ "metadata": { "labels": { "touched": now } } });
        self.scene.patch::<Secret>(name, patch).await.unwrap();
    }

    /// Nothing was asked that is not published, and no credential stands anywhere where it can be read.
    pub fn is_clean(&self, secrets: &[&str]) {
        assert_eq!(self.stand_in.complaints(), Vec::<String>::new());
        let log = std::fs::read_to_string(&self.scene.controller_log).unwrap();
        for secret in secrets {
            assert!(!log.contains(secret), "the log shows {secret}");
        }
    }

    /// The first lines of the requests that `wanted` chooses.
    pub fn asked(&self, wanted: impl Fn(&Exchange) -> bool) -> Vec<String> {
        self.stand_in.journal().iter().filter(|exchange| wanted(exchange)).map(|one| one.request.line()).collect()
    }
}
