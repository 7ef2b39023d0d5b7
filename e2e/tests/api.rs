//! The controller against a real Kubernetes API, Pebble and BIND, one controller for all. These run inside a testbed:
//! `testbed run -- cargo test -p certwright-e2e --test api -- --include-ignored`.
#![allow(clippy::unwrap_used)]

#[path = "api/issue.rs"]
mod issue;

use certwright_e2e::{Controller, Scene, Testbed};

/// A fresh namespace, with the shared controller at work.
async fn scene(prefix: &str) -> Scene {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
    let controller = Controller::shared(&testbed).await.unwrap();
    Scene::new(&testbed, &controller.log, prefix).await.unwrap()
}
