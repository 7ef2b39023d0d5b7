//! Bad surroundings: each is told of, and what was begun goes on when it is over. These run inside a testbed that nothing
//! else has used, for they take the definitions away:
//! `testbed run -- cargo test -p certwright-e2e --test hard_times -- --include-ignored`.
#![allow(clippy::unwrap_used)]

#[path = "hard_times/definitions.rs"]
mod definitions;
#[path = "hard_times/outage.rs"]
mod outage;
#[path = "hard_times/refusals.rs"]
mod refusals;

use std::path::{Path, PathBuf};
use std::time::Duration;

use certwright::api::{Certificate, Challenge, Issuer};
use certwright_e2e::scene::{PATIENCE, certificate_spec};
use certwright_e2e::wait::until;
use certwright_e2e::{Scene, Testbed};
use serde_json::json;
use tokio::sync::Mutex;

/// Each changes the whole cluster.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// What went wrong may be waited for with growing waits.
const LONG: Duration = Duration::from_mins(3);

fn testbed() -> Testbed {
    Testbed::from_env().unwrap().expect("run this inside `testbed run`")
}

/// The log of a controller that is not ready yet: the only one with these words.
async fn log_with(testbed: &Testbed, words: &str) -> PathBuf {
    let logs = testbed.state.logs();
    let look = async || {
        let entries = std::fs::read_dir(&logs)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
        let is_meant = |file: &PathBuf| {
            let name = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("controller-"));
            name && std::fs::read_to_string(file).is_ok_and(|text| text.contains(words))
        };
        Ok::<_, std::io::Error>(entries.into_iter().find(is_meant))
    };
    until(&format!("a controller to say {words:?}"), PATIENCE, look).await.unwrap()
}

/// Waits until the controller has logged these words.
async fn says(log: &Path, words: &str) {
    let look = async || Ok::<_, std::io::Error>(std::fs::read_to_string(log)?.contains(words).then_some(()));
    until(&format!("the controller to say {words:?}"), PATIENCE, look).await.unwrap();
}

/// Creates a Certificate that signs itself, and its issuer.
async fn create_own(scene: &Scene, name: &str) {
    let issuer = scene.create::<Issuer>("own", json!({ "selfSigned": {} })).await;
    assert!(issuer.is_ok() || scene.api::<Issuer>().get_opt("own").await.unwrap().is_some(), "{issuer:?}");
    let spec = certificate_spec(name, "Issuer", "own", &[&scene.dns_name(name)]);
    scene.create::<Certificate>(name, spec).await.unwrap();
}

/// Waits until the Certificates are issued and nothing of their issuance is left.
async fn all_end_well(scene: &Scene, names: &[String]) {
    for name in names {
        scene.wait_for::<Certificate>(name, "being ready", LONG, certwright_e2e::scene::is_ready).await.unwrap();
        scene.issued(name).await.unwrap();
    }
    let look = async || Ok::<_, anyhow::Error>(scene.list::<Challenge>().await?.is_empty().then_some(()));
    until("the Challenges to be gone", LONG, look).await.unwrap();
}
