//! One issuance: how long it takes, and what it writes to the Kubernetes API.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use certwright::api::names::KIND_ISSUER;
use certwright::api::{Certificate, Challenge};
use futures::StreamExt as _;
use kube::runtime::watcher;
use serde_json::Value;

use super::ISSUANCES;
use crate::scene::{Scene, certificate_spec, is_ready};
use crate::wait::until;

const PATIENCE: Duration = Duration::from_mins(1);
/// After the last Challenge is gone; events may be sent a moment later than what they tell of.
const SETTLED: Duration = Duration::from_secs(1);

/// Writes by resource and verb.
pub type Writes = BTreeMap<(String, String), usize>;

/// Creates the Certificate `name` of the Issuer `issuer` for one DNS name. Gives the time between sending it and seeing
/// Ready=True on a watch that stood before.
pub async fn timed(scene: &Scene, name: &str, issuer: &str) -> Result<Duration> {
    timed_with(scene, name, certificate_spec(name, KIND_ISSUER, issuer, &[&scene.dns_name(name)])).await
}

/// The same for a Certificate with this spec.
pub async fn timed_with(scene: &Scene, name: &str, spec: Value) -> Result<Duration> {
    let mut watch = watcher::watch_object(scene.api::<Certificate>(), name).boxed();
    watch.next().await.context("the watch ended")??;
    let start = Instant::now();
    scene.create::<Certificate>(name, spec).await?;
    let ready = async {
        while let Some(seen) = watch.next().await {
            if seen?.is_some_and(|certificate| is_ready(&certificate)) {
                return Ok(start.elapsed());
            }
        }
        bail!("the watch ended")
    };
    match tokio::time::timeout(PATIENCE, ready).await {
        Ok(elapsed) => elapsed,
        // The error tells what is known about it.
        Err(_) => scene.issued(name).await.map(|_| start.elapsed()),
    }
}

/// Waits until nothing of an issuance is under way.
pub async fn settle(scene: &Scene) -> Result<()> {
    let look = async || Ok::<_, anyhow::Error>(scene.list::<Challenge>().await?.is_empty().then_some(()));
    until("the Challenges to be cleaned up", PATIENCE, look).await?;
    tokio::time::sleep(SETTLED).await;
    Ok(())
}

/// What [`repeated`] found.
pub struct Repeated {
    pub seconds: Vec<f64>,
    /// Of the issuance with the most writes.
    pub writes: Writes,
    pub most_writes: usize,
    pub least_writes: usize,
}

/// [`timed`] as often as a median needs, with the writes of `user` from the creation until all is quiet. `around` gets
/// the name of each Certificate before it is created.
pub async fn repeated(
    scene: &Scene,
    issuer: &str,
    user: &str,
    mut around: impl FnMut(&str) -> Result<()>,
) -> Result<Repeated> {
    let mut seconds = Vec::new();
    let mut all = Vec::new();
    // What is left to write of the issuer's registration is no part of an issuance.
    settle(scene).await?;
    for number in 1..=ISSUANCES {
        let name = format!("single-{number}");
        let mark = scene.testbed.mark()?;
        around(&name)?;
        let elapsed = timed(scene, &name, issuer).await?.as_secs_f64();
        settle(scene).await?;
        let writes = scene.testbed.count_writes(mark, user).await?;
        println!("{number:4} {elapsed:.3} s, {} writes", total(&writes));
        seconds.push(elapsed);
        all.push(writes);
    }
    let least_writes = all.iter().map(total).min().unwrap_or_default();
    let writes = all.into_iter().max_by_key(total).unwrap_or_default();
    Ok(Repeated { seconds, most_writes: total(&writes), least_writes, writes })
}

/// Prints writes by resource and verb.
pub fn print_writes(repeated: &Repeated) {
    let (least, most) = (repeated.least_writes, repeated.most_writes);
    println!("API writes per issuance, events and rejected ones included: {least} to {most}; of one with {most}:");
    for ((resource, verb), count) in &repeated.writes {
        println!("{count:6}  {verb:8} {resource}");
    }
}

/// Prints the median and the most of several counts, and the latter by resource and verb; gives the most.
pub fn most_writes(what: &str, all: &[Writes]) -> Result<usize> {
    let mut totals: Vec<usize> = all.iter().map(total).collect();
    totals.sort_unstable();
    let most = all.iter().max_by_key(|writes| total(writes)).context("nothing was counted")?;
    println!(
        "{what}: API writes, events and rejected ones included: median {}, most {} of {}; of one with the most:",
        totals[totals.len() / 2],
        total(most),
        totals.len()
    );
    for ((resource, verb), count) in most {
        println!("{count:6}  {verb:8} {resource}");
    }
    Ok(total(most))
}

/// How many writes those are.
pub fn total(writes: &Writes) -> usize {
    writes.values().sum()
}
