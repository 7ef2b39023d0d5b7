//! What the tests of both clouds need: a stand-in, a controller that takes it for the cloud, and a scene.

use std::collections::HashSet;
use std::sync::Arc;

use certwright::api::{Challenge, Issuer};
use certwright_e2e::scene::PATIENCE;
use certwright_e2e::stand_in::{StandIn, Vendor, Zone};
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Scene, Testbed};
use serde_json::{Value, json};

/// A value that somebody else has put where the challenges' are.
pub const FOREIGN: &str = "somebody else's \"value\"";

/// See the module's description.
pub struct Stage {
    pub scene: Scene,
    pub stand_in: StandIn,
    _controller: Controller,
}

pub fn testbed() -> Testbed {
    Testbed::from_env().unwrap().expect("run this inside `testbed run`")
}

impl Stage {
    /// The stand-in is what the controller takes for these services, at these paths. `environment` makes the controller's surroundings from
    /// the stand-in's host and port.
    pub async fn new(
        testbed: &Testbed,
        services: &[(&str, &str)],
        vendor: Arc<dyn Vendor>,
        environment: impl FnOnce(&str) -> Vec<(&'static str, String)>,
    ) -> Self {
        let stand_in = StandIn::start(&testbed.state, vendor).await.unwrap();
        let endpoint = |(service, path): &(&str, &str)| format!("{service}={}{path}", stand_in.url());
        let endpoints: Vec<String> = services.iter().map(endpoint).collect();
        let surroundings = environment(stand_in.url().trim_start_matches("http://"));
        let surroundings: Vec<(&str, &str)> = surroundings.iter().map(|(name, value)| (*name, &**value)).collect();
        let arguments = ["--dns01-provider-endpoints", &endpoints.join(","), "--issuer-ambient-credentials"];
        let controller = Controller::start_in(testbed, &arguments, &surroundings).await.unwrap();
        let scene = Scene::new(testbed, controller.log(), "clouds").await.unwrap();
        Self { scene, stand_in, _controller: controller }
    }

    /// Creates an issuer with this `dns01` part as its only solver, and waits until it is ready.
    pub async fn issuer(&self, name: &str, dns01: Value) {
        let mut spec = self.scene.issuer_spec(&format!("{name}-account")).unwrap();
        spec["acme"]["solvers"] = json!([{ "dns01": dns01 }]);
        self.scene.create::<Issuer>(name, spec).await.unwrap();
        self.scene.wait_ready::<Issuer>(name).await.unwrap();
    }

    /// Has a certificate issued for these names.
    pub async fn issue(&self, name: &str, issuer: &str, dns_names: &[&str]) {
        self.scene.certificate(name, issuer, dns_names).await.unwrap();
        self.issued(name, dns_names).await;
    }

    /// Waits for a certificate for these names.
    pub async fn issued(&self, name: &str, dns_names: &[&str]) {
        let issued = self.scene.issued(name).await.unwrap();
        let names: HashSet<&str> = issued.leaf().names.dns_names.iter().map(String::as_str).collect();
        assert_eq!(names, dns_names.iter().copied().collect());
    }

    /// Waits until a Challenge says this about why it is not done.
    pub async fn challenge_says(&self, part: &str) {
        let what = format!("a Challenge to say {part:?}");
        self.scene.see_challenge(&what, PATIENCE, |_, reason| reason.contains(part)).await.unwrap();
    }

    /// Waits until no Challenge is left, and that these are the values at the challenges' name then.
    pub async fn cleaned_up(&self, zone: &Zone, name: &str, values: &[&str]) {
        let look = async || match self.scene.list::<Challenge>().await?.len() {
            0 => Ok(Some(())),
            left => Err(anyhow::anyhow!("{left} are left")),
        };
        until("the Challenges to go", PATIENCE, look).await.unwrap();
        assert_eq!(zone.values(&format!("_acme-challenge.{name}")), values);
    }

    /// Nothing was asked that is not published, and no credential stands where it can be read.
    pub fn is_clean(&self, secrets: &[&str]) {
        assert_eq!(self.stand_in.complaints(), Vec::<String>::new());
        let log = std::fs::read_to_string(&self.scene.controller_log).unwrap();
        for secret in secrets {
            assert!(!log.contains(secret), "the log shows {secret}");
        }
    }

    /// Asserts how many requests had a first line that contains each of these.
    pub fn counts<const N: usize>(&self, wanted: [(&str, usize); N]) {
        let lines: Vec<String> = self.stand_in.journal().iter().map(|exchange| exchange.request.line()).collect();
        let counts = wanted.map(|(part, _)| (part, lines.iter().filter(|line| line.contains(part)).count()));
        assert_eq!(counts, wanted, "{lines:#?}");
    }
}
