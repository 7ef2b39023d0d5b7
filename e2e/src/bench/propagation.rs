//! Bars of the group `dns01`: names of one zone, whose record sets are verified on both of its servers.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use certwright::api::names::KIND_ISSUER;
use certwright::api::{Certificate, Issuer};
use certwright::pki::{Curve, KeyAlgorithm};
use serde_json::json;

use super::bar::{
    Bar, DNS01_APEX_AND_WILDCARD, DNS01_LAGGING, DNS01_MEANWHILE, DNS01_PER_SECOND, DNS01_UPDATES, Measured, summarize,
};
use super::burst::{Burst, Progress, burst};
use super::certificate::ISSUER;
use super::issuance::{settle, timed_with};
use super::lagging::Lagging;
use super::{ISSUANCES, say_conditions};
use crate::controller::Controller;
use crate::dns::{serial, txt_values};
use crate::scene::{Scene, certificate_spec};
use crate::testbed::Testbed;

/// Certificates created at once.
const BURST: usize = 200;
const ECDSA: KeyAlgorithm = KeyAlgorithm::Ecdsa(Curve::P256);
/// Between two looks at the servers.
const STEP: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_mins(1);

/// Measures what is wanted.
pub async fn measure(testbed: &Testbed, bars: &[&Bar]) -> Result<Vec<Measured>> {
    let wanted = |names: &[&str]| bars.iter().any(|bar| names.contains(&bar.name));
    let controller = Controller::start(testbed, &[]).await?;
    let mut measured = Vec::new();
    if wanted(&[DNS01_APEX_AND_WILDCARD]) {
        measured.push(apex_and_wildcard(testbed, controller.log()).await?);
    }
    if wanted(&[DNS01_PER_SECOND, DNS01_UPDATES, DNS01_LAGGING, DNS01_MEANWHILE]) {
        let (plain, updates) = in_bulk(testbed, controller.log()).await?;
        measured.push(Measured::new(DNS01_PER_SECOND, plain.per_second()?));
        measured.push(Measured::new(DNS01_UPDATES, f64::from(updates)));
        if wanted(&[DNS01_LAGGING, DNS01_MEANWHILE]) {
            measured.extend(lagging(testbed, controller.log(), &plain).await?);
        }
    }
    Ok(measured)
}

/// A namespace whose issuer is the CA of the testbed, by DNS-01.
async fn scene(testbed: &Testbed, log: &Path) -> Result<Scene> {
    let scene = Scene::new(testbed, log, "bench").await?;
    scene.issuer(ISSUER).await?;
    settle(&scene).await?;
    Ok(scene)
}

/// From when both servers have both values until Ready.
async fn apex_and_wildcard(testbed: &Testbed, log: &Path) -> Result<Measured> {
    say_conditions(&testbed.state, "DNS-01, a name and its wildcard, from both values on both servers to Ready=True");
    let scene = scene(testbed, log).await?;
    let mut seconds = Vec::new();
    for number in 1..=ISSUANCES {
        let name = format!("pair-{number}");
        let domain = scene.dns_name(&name);
        let spec = certificate_spec(&name, KIND_ISSUER, ISSUER, &[&domain, &format!("*.{domain}")]);
        let start = Instant::now();
        let (ready, there) = tokio::try_join!(timed_with(&scene, &name, spec), both_values(&scene, &domain, start))?;
        let own = ready.saturating_sub(there).as_secs_f64();
        println!("{number:4} {own:.3} s of {:.3} s", ready.as_secs_f64());
        seconds.push(own);
        settle(&scene).await?;
    }
    Ok(Measured::new(DNS01_APEX_AND_WILDCARD, summarize("apex and wildcard", &seconds)?))
}

/// When, since `start`, the last of both servers had the second of the values for this name. The first may be gone by then.
async fn both_values(scene: &Scene, domain: &str, start: Instant) -> Result<Duration> {
    let dns = scene.testbed.state.dns()?;
    let record = format!("_acme-challenge.{domain}");
    let mut seen = [BTreeSet::new(), BTreeSet::new()];
    while start.elapsed() < PATIENCE {
        for (server, seen) in [dns.primary, dns.secondary].into_iter().zip(&mut seen) {
            seen.extend(txt_values(server, &record)?);
        }
        if seen.iter().all(|seen| seen.len() == 2) {
            return Ok(start.elapsed());
        }
        tokio::time::sleep(STEP).await;
    }
    anyhow::bail!("the servers do not have both values of {record} after {} s", PATIENCE.as_secs())
}

/// Many names of one zone at once, and how many updates changed the zone for them, those that clean up included.
async fn in_bulk(testbed: &Testbed, log: &Path) -> Result<(Burst, u32)> {
    println!("\n==> {BURST} Certificates for names of one zone created at once, DNS-01, ECDSA P-256 keys");
    let scene = scene(testbed, log).await?;
    let dns = testbed.state.dns()?;
    let zone = dns.zones.first().context("there is no zone")?;
    let before = serial(dns.primary, zone)?;
    let burst = burst(&scene, ECDSA, BURST, &Progress::default()).await?;
    settle(&scene).await?;
    // BIND raises the serial number by one for each update that changes something.
    let updates = serial(dns.primary, zone)?.wrapping_sub(before);
    burst.print("DNS-01")?;
    println!("{updates} updates of the zone for {BURST} values that came and went");
    ensure!(updates > 0, "no update changed the zone {zone}");
    Ok((burst, updates))
}

/// One name in a zone whose secondary follows late, and many others meanwhile.
async fn lagging(testbed: &Testbed, log: &Path, plain: &Burst) -> Result<Vec<Measured>> {
    let lagging = Lagging::start(testbed).await?;
    let others = scene(testbed, log).await?;
    let late = Scene::new(testbed, log, "lagging").await?;
    let mut spec = late.issuer_spec("late-account")?;
    spec["acme"]["solvers"][0]["dns01"]["rfc2136"]["nameserver"] = json!(lagging.nameserver());
    late.create::<Issuer>("late", spec).await?;
    late.wait_ready::<Issuer>("late").await?;
    println!("\n==> One Certificate in a zone whose secondary lags, and {BURST} others meanwhile");
    lagging.follow(&format!("mark.{}", lagging.zone()))?;
    let domain = format!("www.{}", lagging.zone());
    let (record, progress) = (format!("_acme-challenge.{domain}"), Progress::default());
    let start = Instant::now();
    let ready = timed_with(&late, "www", certificate_spec("www", KIND_ISSUER, "late", &[&domain]));
    let meanwhile = async {
        lagging.taken(&record, start).await?;
        burst(&others, ECDSA, BURST, &progress).await
    };
    let (ready, there, meanwhile) = tokio::try_join!(ready, lagging.followed(&record, start), meanwhile)?;
    meanwhile.print("the others")?;
    ensure!(late.api::<Certificate>().get("www").await?.status.is_some(), "the late one has no status");
    let own = ready.saturating_sub(there).as_secs_f64();
    println!("the secondary lagged {:.1} s; ready {own:.3} s after that", there.as_secs_f64());
    let percent = 100.0 * meanwhile.per_second()? / plain.per_second()?;
    println!("the others at {percent:.0} % of the rate of before");
    ensure!(there > Duration::from_secs(10), "it lagged only {} s", there.as_secs());
    settle(&others).await?;
    Ok(vec![Measured::new(DNS01_LAGGING, own), Measured::new(DNS01_MEANWHILE, percent)])
}
