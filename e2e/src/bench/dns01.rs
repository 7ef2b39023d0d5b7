//! Bars of tier `api`: DNS-01 and memory.

use std::time::Duration;

use anyhow::Result;
use certwright::api::Issuer;
use serde_json::json;

use super::bar::{Bar, DNS01_SECONDS, DNS01_WRITES, IDLE_MEMORY, Measured, summarize};
use super::issuance::{print_writes, repeated, settle, timed};
use super::resources::resident_mebibytes;
use super::say_conditions;
use crate::controller::Controller;
use crate::kubernetes::CERTWRIGHT_USER;
use crate::pebble::{PebbleOptions, start_another};
use crate::scene::Scene;
use crate::testbed::Testbed;

/// Without anything to do, before memory is read.
const QUIET: Duration = Duration::from_secs(30);
/// Issuances with the CA's usual Retry-After, which take several seconds each.
const PATIENT: usize = 5;

/// Measures all of them: they come from the same issuances.
pub async fn measure(testbed: &Testbed, bars: &[&Bar]) -> Result<Vec<Measured>> {
    let wanted = |name: &str| bars.iter().any(|bar| bar.name == name);
    let controller = Controller::start(testbed, &[]).await?;
    let scene = Scene::new(testbed, controller.log(), "bench").await?;
    scene.issuer("quick").await?;
    say_conditions(&testbed.state, "DNS-01, one name, from creating the Certificate to Ready=True on a watch");
    let found = repeated(&scene, "quick", CERTWRIGHT_USER, |_| Ok(())).await?;
    let median = summarize("DNS-01", &found.seconds)?;
    print_writes(&found);
    let mut measured =
        vec![Measured::new(DNS01_SECONDS, median), Measured::new(DNS01_WRITES, small(found.most_writes))];
    if wanted(IDLE_MEMORY) {
        println!("\n==> Memory (VmRSS) of the controller after these and {} s without work", QUIET.as_secs());
        tokio::time::sleep(QUIET).await;
        let memory = resident_mebibytes(controller.id())?;
        println!("{memory:.1} MiB");
        measured.push(Measured::new(IDLE_MEMORY, memory));
    }
    if wanted(DNS01_SECONDS) {
        with_usual_retry_after(&scene).await?;
    }
    Ok(measured)
}

/// For information: the same where the CA asks for the waits of Pebble's sample configuration, which are obeyed.
async fn with_usual_retry_after(scene: &Scene) -> Result<()> {
    println!(
        "\n==> For information, no bar: {PATIENT} of the same with Pebble's sample Retry-After, obeyed: 3 s, orders 5 s"
    );
    let options = PebbleOptions {
        name: "pebble-patient".into(),
        port: 14100,
        management_port: 15100,
        retry_after_authorization: 3,
        retry_after_order: 5,
        ..PebbleOptions::default()
    };
    let (_process, acme) = start_another(&scene.testbed.state, &options).await?;
    let mut spec = scene.issuer_spec("patient-account")?;
    spec["acme"]["server"] = json!(acme.directory_url);
    spec["acme"]["caBundle"] =
        json!(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, std::fs::read(&acme.ca_file)?));
    scene.create::<Issuer>("patient", spec).await?;
    scene.wait_ready::<Issuer>("patient").await?;
    let mut seconds = Vec::new();
    for number in 1..=PATIENT {
        let elapsed = timed(scene, &format!("patient-{number}"), "patient").await?.as_secs_f64();
        settle(scene).await?;
        println!("{number:4} {elapsed:.3} s");
        seconds.push(elapsed);
    }
    summarize("DNS-01 with Retry-After", &seconds).map(drop)
}

/// A count as the number of a bar.
pub fn small(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
