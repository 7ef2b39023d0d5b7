//! DNS-01 by webhooks: one behind the API server's aggregation layer, and those that are answered in-process (PowerDNS,
//! a service of one's own); and by dynamic updates to PowerDNS. These run inside a testbed, with a controller of their own:
//! `testbed run -- cargo test -p certwright-e2e --test dns01_hooks -- --include-ignored`.
#![allow(clippy::unwrap_used)]

mod dns01_hooks {
    mod built_in;
    mod service;
    mod webhook;
}

use certwright::api::Issuer;
use certwright_e2e::scene::PATIENCE;
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Scene, Testbed, dns};
use serde_json::{Value, json};

async fn scene(prefix: &str) -> Scene {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
    let controller = Controller::shared(&testbed).await.unwrap();
    Scene::new(&testbed, &controller.log, prefix).await.unwrap()
}

/// An Issuer whose only solver is this.
async fn issuer(scene: &Scene, name: &str, dns01: Value) {
    let mut spec = scene.issuer_spec(&format!("{name}-account")).unwrap();
    spec["acme"]["solvers"] = json!([{ "dns01": dns01 }]);
    scene.create::<Issuer>(name, spec).await.unwrap();
    scene.wait_ready::<Issuer>(name).await.unwrap();
}

/// Waits until the Challenge of a name says this; returns all that it says. What has failed often is tried again only after
/// five minutes.
async fn says(scene: &Scene, dns_name: &str, part: &str) -> String {
    let what = format!("the Challenge of {dns_name} to say {part:?}");
    let seen = scene
        .see_challenge(&what, 6 * PATIENCE, |held, reason| held.spec.dns_name == dns_name && reason.contains(part));
    seen.await.unwrap().status.and_then(|status| status.reason).unwrap_or_default()
}

/// Waits until no TXT record of the scene is left on the testbed's servers.
async fn no_record_is_left(scene: &Scene) {
    let look = async || {
        let left = dns::challenge_records(scene.testbed.state.dns()?, &scene.namespace)?;
        anyhow::ensure!(left.is_empty(), "left: {left:?}");
        Ok(Some(()))
    };
    until("the TXT records to go from both servers", PATIENCE, look).await.unwrap();
}
