//! `make bench`: the bars that certwright is held to, measured against real components.

mod bar;
mod bare_pods;
mod burst;
mod certificate;
mod dns01;
mod foreign;
mod helm_install;
mod http01;
mod install;
mod issuance;
mod lagging;
mod leader;
mod left_behind;
mod outage;
mod overhead;
mod podless;
mod propagation;
pub mod resources;
mod scrape;
mod single;
mod steps;
mod take_over;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub use bar::{BARS, Bar, Measured, chosen};

use crate::check;
use crate::controller::BINARY_VARIABLE;
use crate::lifecycle::{self, Options};
use crate::pebble::PebbleOptions;
use crate::state::{State, Tier};
use crate::testbed::Testbed;

/// How many single issuances, one after the other, a median is taken of.
const ISSUANCES: usize = 20;

/// Measures the bars that `only` (a name, a group, or nothing for all) names, each tier in a testbed under `folder`, and
/// prints one line for each at the end. Gives whether all were measured and held.
pub async fn run(only: &str, folder: &Path, binary: &Path) -> Result<bool> {
    let bars = chosen(only)?;
    let binary = binary.canonicalize().with_context(|| format!("there is no {}", binary.display()))?;
    let mut lines = Vec::new();
    let mut held = true;
    for tier in [Tier::Api, Tier::Cluster] {
        let here: Vec<&Bar> = bars.iter().copied().filter(|bar| bar.tier == tier).collect();
        if here.is_empty() {
            continue;
        }
        if let Err(reason) = check::check(tier, &std::env::temp_dir()) {
            held = false;
            lines.extend(here.iter().map(|bar| format!("bar {} was not measured: {reason:#}", bar.name)));
            continue;
        }
        let place = folder.join(format!("bench-{tier}"));
        let all = run_tier(tier, only, &place, &binary).await?;
        for measured in &all {
            held &= measured.is_held()?;
            lines.push(measured.line()?);
        }
        let is_missing = |bar: &&&Bar| !all.iter().any(|measured| measured.name == bar.name);
        let missing = here.iter().filter(is_missing);
        lines.extend(missing.map(|bar| format!("bar {} was not measured; see above", bar.name)));
    }
    println!("\n{}", lines.join("\n"));
    Ok(held)
}

async fn run_tier(tier: Tier, only: &str, place: &Path, binary: &Path) -> Result<Vec<Measured>> {
    lifecycle::remove(place)?;
    // 0 sends no Retry-After at all: what is measured is certwright's time, not the CA's wish.
    let pebble = PebbleOptions { retry_after_authorization: 0, retry_after_order: 0, ..PebbleOptions::default() };
    let options = Options { tier, name: "bench".into(), pebble };
    let me = std::env::current_exe()?.display().to_string();
    let variable = format!("{BINARY_VARIABLE}={}", binary.display());
    let words = ["env", &variable, &me, "bench-inside", "--only", only].map(str::to_owned);
    lifecycle::run(Some(place), &options, &words).await?;
    let file = results(place);
    let text = fs::read(&file).context("the measurements did not end; see above")?;
    Ok(serde_json::from_slice(&text)?)
}

/// The part of [`run`] inside the testbed.
pub async fn inside(only: &str) -> Result<()> {
    let testbed = Testbed::from_env()?.context("run this inside `testbed run`")?;
    let bars = chosen(only)?;
    let measured = match testbed.state.tier {
        Tier::Api => tier_api(&testbed, &bars).await?,
        Tier::Cluster => tier_cluster(&testbed, &bars).await?,
    };
    let measured: Vec<Measured> =
        measured.into_iter().filter(|measured| bars.iter().any(|bar| bar.name == measured.name)).collect();
    Ok(fs::write(results(&testbed.state.folder), serde_json::to_vec(&measured)?)?)
}

async fn tier_api(testbed: &Testbed, bars: &[&Bar]) -> Result<Vec<Measured>> {
    let of = |groups: &[&str]| -> Vec<&Bar> {
        let is_meant = |bar: &&&Bar| bar.tier == Tier::Api && groups.contains(&bar.group());
        bars.iter().filter(is_meant).copied().collect()
    };
    let (first_light, certificate, acme) = (of(&[bar::FIRST_LIGHT]), of(&[bar::CERTIFICATE]), of(&[bar::ACME]));
    let mut measured = Vec::new();
    if !first_light.is_empty() {
        measured.extend(dns01::measure(testbed, &first_light).await?);
    }
    if !certificate.is_empty() {
        measured.extend(certificate::measure(testbed, &certificate).await?);
    }
    let dns01 = of(&[bar::DNS01]);
    if !dns01.is_empty() {
        measured.extend(propagation::measure(testbed, &dns01).await?);
    }
    if !of(&[bar::METRICS]).is_empty() {
        measured.extend(scrape::measure(testbed).await?);
    }
    if !of(&[bar::HTTP01]).is_empty() {
        measured.push(left_behind::measure(testbed).await?);
    }
    if acme.iter().any(|bar| bar.name == bar::ACME_OVERHEAD) {
        measured.push(overhead::measure(testbed).await?);
    }
    if acme.iter().any(|bar| bar.name != bar::ACME_OVERHEAD) {
        measured.extend(outage::measure(testbed).await?);
    }
    measured.extend(install::api(testbed, &of(&[bar::INSTALL])).await?);
    Ok(measured)
}

async fn tier_cluster(testbed: &Testbed, bars: &[&Bar]) -> Result<Vec<Measured>> {
    let is_of = |group: &str| bars.iter().any(|bar| bar.tier == Tier::Cluster && bar.group() == group);
    let mut measured = Vec::new();
    if is_of(bar::FIRST_LIGHT) {
        measured.extend(http01::measure(testbed).await?);
    }
    if is_of(bar::HTTP01) {
        measured.extend(podless::measure(testbed, bars).await?);
    }
    if is_of(bar::INSTALL) {
        measured.extend(install::cluster(testbed).await?);
    }
    Ok(measured)
}

fn results(folder: &Path) -> PathBuf {
    folder.join("bench.json")
}

/// Says under which conditions it is measured.
fn say_conditions(state: &State, what: &str) {
    println!(
        "\n==> {what}: {ISSUANCES} issuances one after the other, RSA-2048, tier {}, Pebble without sleep \
         (PEBBLE_VA_NOSLEEP=1), 5 % of nonces refused, no Retry-After",
        state.tier
    );
}
