//! Bars of the group `certificate`: many Certificates of a CA issuer, few writes, little memory, a quick start.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use certwright::api::names::KIND_ISSUER;
use certwright::api::{Certificate, Issuer};
use certwright::pki::{Curve, KeyAlgorithm};
use futures::StreamExt as _;
use jiff::Timestamp;
use kube::runtime::watcher;
use serde_json::{Value, json};

use super::bar::{
    Bar, CA_ECDSA_PER_SECOND, CA_RSA_PER_SECOND, COLD_START, FIRST_WRITES, FULL_IDLE_MEMORY, IDLE_MEMORY_DIFFERENCE,
    Measured, QUIET_WRITES, RENEWAL_WRITES, summarize,
};
use super::burst::{self, Burst, Progress, burst};
use super::dns01::small;
use super::resources::{ProcessorTime, resident_mebibytes};
use super::{foreign, single, steps};
use crate::controller::Controller;
use crate::kubernetes::CERTWRIGHT_USER;
use crate::scene::{PATIENCE, Scene, certificate_spec, is_ready};
use crate::testbed::Testbed;
use crate::wait::until;

/// The CA issuer of each scene.
pub const ISSUER: &str = "ca";

/// Certificates created at once, of each kind of key.
const BURST: usize = 500;
/// In the middle of the slower burst, a Certificate of somebody else is created.
const MIDDLE: usize = 150;
const FOREIGN_SECRETS: usize = 20_000;
const COLD_STARTS: usize = 5;
/// In which nothing may be written.
const QUIET: Duration = Duration::from_mins(1);
/// Without anything to do, before memory is read.
const REST: Duration = Duration::from_secs(30);

const ECDSA: KeyAlgorithm = KeyAlgorithm::Ecdsa(Curve::P256);

/// Measures what is wanted. The Certificates of the bursts are those that memory is measured with.
pub async fn measure(testbed: &Testbed, bars: &[&Bar]) -> Result<Vec<Measured>> {
    let wanted = |names: &[&str]| bars.iter().any(|bar| names.contains(&bar.name));
    let mut controller = Controller::start(testbed, &[]).await?;
    let log = controller.log().to_owned();
    let mut measured = Vec::new();
    if wanted(&[FIRST_WRITES, RENEWAL_WRITES]) {
        measured.extend(single::measure(&scene(testbed, &log).await?).await?);
    }
    let in_bulk = [CA_ECDSA_PER_SECOND, CA_RSA_PER_SECOND, QUIET_WRITES];
    let at_rest = [FULL_IDLE_MEMORY, IDLE_MEMORY_DIFFERENCE, COLD_START];
    if wanted(&in_bulk) || wanted(&at_rest) {
        measured.extend(bursts(testbed, &controller).await?);
        measured.push(quiet(testbed).await?);
    }
    if wanted(&at_rest) {
        measured.extend(idle(testbed, &mut controller).await?);
    }
    Ok(measured)
}

/// The part `spec.privateKey` for keys of this algorithm.
pub fn key_spec(algorithm: KeyAlgorithm) -> Value {
    json!({ "algorithm": algorithm.name(), "size": algorithm.size() })
}

/// A namespace with the Issuer [`ISSUER`], whose CA was made by a self-signed one.
async fn scene(testbed: &Testbed, log: &Path) -> Result<Scene> {
    let scene = Scene::new(testbed, log, "bench").await?;
    scene.create::<Issuer>("root", json!({ "selfSigned": {} })).await?;
    let spec = json!({
        "secretName": "ca-tls",
        "isCA": true,
        "commonName": "bench CA",
        "duration": "8760h",
        "privateKey": key_spec(ECDSA),
        "issuerRef": { "name": "root" },
    });
    scene.create::<Certificate>("ca", spec).await?;
    scene.issued("ca").await?;
    scene.create::<Issuer>(ISSUER, json!({ "ca": { "secretName": "ca-tls" } })).await?;
    scene.wait_ready::<Issuer>(ISSUER).await?;
    Ok(scene)
}

async fn bursts(testbed: &Testbed, controller: &Controller) -> Result<Vec<Measured>> {
    println!(
        "\n==> {BURST} Certificates of a CA issuer created at once, with ECDSA P-256 keys and then with RSA-2048 keys; the \
         API server, the controller and this program share the machine"
    );
    let ecdsa = checked_burst(testbed, controller, ECDSA, None).await?;
    ecdsa.print("ECDSA P-256")?;
    let other = scene(testbed, controller.log()).await?;
    until_quiet(testbed).await?;
    let rsa = checked_burst(testbed, controller, KeyAlgorithm::Rsa(2048), Some(&other)).await?;
    rsa.print("RSA-2048")?;
    Ok(vec![
        Measured::new(CA_ECDSA_PER_SECOND, ecdsa.per_second()?),
        Measured::new(CA_RSA_PER_SECOND, rsa.per_second()?),
    ])
}

/// Waits until the events of what was done before have been sent: they come beside the work, and so after it.
async fn until_quiet(testbed: &Testbed) -> Result<()> {
    const LONG_ENOUGH: Duration = Duration::from_secs(3);
    let look = async || {
        let mark = testbed.mark()?;
        tokio::time::sleep(LONG_ENOUGH).await;
        anyhow::Ok(testbed.count_writes(mark, CERTWRIGHT_USER).await?.is_empty().then_some(()))
    };
    until("the events of the first burst to be sent", PATIENCE, look).await
}

/// With `other`, a Certificate is created there in the middle, and how long it takes is printed.
async fn checked_burst(
    testbed: &Testbed,
    controller: &Controller,
    algorithm: KeyAlgorithm,
    other: Option<&Scene>,
) -> Result<Burst> {
    let scene = scene(testbed, controller.log()).await?;
    let progress = Progress::default();
    let mark = testbed.mark()?;
    let time = ProcessorTime::begin(testbed, controller.id())?;
    let beside = async {
        let Some(other) = other else { return Ok(()) };
        while progress.load(Ordering::Relaxed) < MIDDLE {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let seconds = timed(other, "beside", None).await?;
        println!(
            "a Certificate with a P-256 key of another namespace, created in the middle: ready after {seconds:.2} s"
        );
        anyhow::Ok(())
    };
    let (burst, ()) = tokio::try_join!(burst(&scene, algorithm, BURST, &progress), beside)?;
    time.print()?;
    let writes = testbed.count_writes(mark, CERTWRIGHT_USER).await?;
    let each: Vec<String> =
        writes.iter().map(|((resource, verb), count)| format!("{verb} {resource} {count}")).collect();
    println!("writes: {}", each.join(", "));
    let ca = scene.issued("ca").await?;
    burst::check(&scene, ca.leaf(), algorithm, burst.count).await?;
    Ok(burst)
}

async fn quiet(testbed: &Testbed) -> Result<Measured> {
    // Events and the deletion of what is no longer needed come after Ready.
    tokio::time::sleep(Duration::from_secs(10)).await;
    println!("\n==> A real minute in which nothing happens (a virtual hour is among the tests)");
    let mark = testbed.mark()?;
    tokio::time::sleep(QUIET).await;
    let writes = testbed.count_writes(mark, CERTWRIGHT_USER).await?;
    println!("writes: {writes:?}");
    Ok(Measured::new(QUIET_WRITES, small(writes.values().sum())))
}

async fn idle(testbed: &Testbed, controller: &mut Controller) -> Result<Vec<Measured>> {
    println!("\n==> Memory (VmRSS) and cold start with {} Certificates and their Secrets", 2 * BURST);
    let busy = resident_mebibytes(controller.id())?;
    println!("after all these issuances, without foreign Secrets: {busy:.1} MiB");
    cold_starts(testbed, controller, "for information, without foreign Secrets", 3).await?;
    let without = rested(controller, "started anew, without foreign Secrets").await?;
    foreign::create(testbed, FOREIGN_SECRETS).await?;
    tokio::time::sleep(REST).await;
    let watched = resident_mebibytes(controller.id())?;
    println!("after having watched {FOREIGN_SECRETS} foreign Secrets come: {watched:.1} MiB");
    let cold = cold_starts(testbed, controller, "until a waiting Certificate is ready", COLD_STARTS).await?;
    let with = rested(controller, &format!("started anew, with {FOREIGN_SECRETS} foreign Secrets")).await?;
    Ok(vec![
        Measured::new(FULL_IDLE_MEMORY, busy.max(watched).max(with)),
        Measured::new(IDLE_MEMORY_DIFFERENCE, (with - without).abs()),
        Measured::new(COLD_START, cold),
    ])
}

/// The memory of a controller that was started anew and had some time of rest.
async fn rested(controller: &mut Controller, what: &str) -> Result<f64> {
    controller.kill()?;
    controller.restart()?;
    controller.ready().await?;
    tokio::time::sleep(REST).await;
    let memory = resident_mebibytes(controller.id())?;
    println!("{what}: {memory:.1} MiB after {} s", REST.as_secs());
    Ok(memory)
}

/// From starting the program to Ready of a Certificate that was created while it did not run.
async fn cold_starts(testbed: &Testbed, controller: &mut Controller, what: &str, count: usize) -> Result<f64> {
    let scene = scene(testbed, controller.log()).await?;
    let (mut seconds, mut filled) = (Vec::new(), Vec::new());
    for number in 1..=count {
        controller.kill()?;
        let start = Timestamp::now();
        seconds.push(timed(&scene, &format!("waiting-{number}"), Some(controller)).await?);
        filled.push(steps::seconds(start, last_filled(controller.log())?));
        controller.ready().await?;
    }
    summarize("Cold start, up to when all first lists are there", &filled)?;
    summarize(&format!("Cold start, {what}"), &seconds)
}

/// When the controller last said that its watches are filled.
fn last_filled(log: &Path) -> Result<Timestamp> {
    let log = std::fs::read_to_string(log)?;
    let line = log.lines().rfind(|line| line.contains("watching Certificates")).context("it never watched")?;
    Ok(line.split_whitespace().next().context("an empty line")?.parse()?)
}

/// Seconds from creating a Certificate with a P-256 key to Ready on a watch that stood before; from starting the
/// controller if there is one to start.
async fn timed(scene: &Scene, name: &str, waking: Option<&mut Controller>) -> Result<f64> {
    let mut watch = watcher::watch_object(scene.api::<Certificate>(), name).boxed();
    watch.next().await.context("the watch ended")??;
    let mut spec = certificate_spec(name, KIND_ISSUER, ISSUER, &[&scene.dns_name(name)]);
    spec["privateKey"] = key_spec(ECDSA);
    let mut start = Instant::now();
    scene.create::<Certificate>(name, spec).await?;
    if let Some(controller) = waking {
        start = Instant::now();
        controller.restart()?;
    }
    let ready = async {
        while let Some(seen) = watch.next().await {
            if seen?.is_some_and(|certificate| is_ready(&certificate)) {
                return Ok(start.elapsed().as_secs_f64());
            }
        }
        anyhow::bail!("the watch ended")
    };
    tokio::time::timeout(PATIENCE, ready).await.with_context(|| format!("{name} did not become ready"))?
}
