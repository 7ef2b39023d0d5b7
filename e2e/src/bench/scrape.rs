//! Bars of the group `metrics`: the page with very many Certificates.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use certwright::api::Certificate;
use certwright::api::names::KIND_ISSUER;
use futures::{StreamExt as _, TryStreamExt as _};

use super::bar::{METRICS_MEMORY, METRICS_SECONDS, Measured, summarize};
use super::resources::resident_mebibytes;
use crate::controller::Controller;
use crate::scene::{Scene, certificate_spec};
use crate::testbed::Testbed;
use crate::wait::until;

const CERTIFICATES: usize = 10_000;
const SCRAPES: usize = 5;
const AT_ONCE: usize = 50;
/// So many between two lines about how far it is.
const PROGRESS: usize = 2000;
const URL: &str = "http://127.0.0.1:9402/metrics";
/// For all of them to be looked at once.
const REST: Duration = Duration::from_mins(10);

/// Measures how long a scrape takes, and how much more memory the controller has after a few.
pub async fn measure(testbed: &Testbed) -> Result<Vec<Measured>> {
    println!("\n==> {CERTIFICATES} Certificates, whose issuer does not exist, in one page of metrics");
    let controller = Controller::start(testbed, &[]).await?;
    let scene = Scene::new(testbed, controller.log(), "scrape").await?;
    create(&scene).await?;
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(1)).build()?;
    until("the controller to have looked at all of them", REST, async || at_rest(&client).await).await?;
    let before = resident_mebibytes(controller.id())?;
    let mut seconds = Vec::new();
    for _ in 0..SCRAPES {
        let began = Instant::now();
        let page = client.get(URL).send().await?.error_for_status()?.bytes().await?;
        seconds.push(began.elapsed().as_secs_f64());
        let count = String::from_utf8_lossy(&page).matches("\ncertmanager_certificate_ready_status{").count();
        ensure!(count >= 3 * CERTIFICATES, "the page has {count} series of readiness");
        println!("{} kB", page.len() / 1000);
    }
    let after = resident_mebibytes(controller.id())?;
    println!("memory before and after: {before:.1} MiB, {after:.1} MiB");
    Ok(vec![
        Measured::new(METRICS_SECONDS, summarize("scrape", &seconds)?),
        Measured::new(METRICS_MEMORY, (after - before).max(0.0)),
    ])
}

async fn create(scene: &Scene) -> Result<()> {
    let (began, done) = (Instant::now(), AtomicUsize::new(0));
    let creations = (0..CERTIFICATES).map(|number| {
        let done = &done;
        async move {
            let name = format!("c{number}");
            let spec = certificate_spec(&name, KIND_ISSUER, "nobody", &[&scene.dns_name(&name)]);
            scene.create::<Certificate>(&name, spec).await?;
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            if done.is_multiple_of(PROGRESS) {
                println!("{done:6} after {:.0} s", began.elapsed().as_secs_f64());
            }
            anyhow::Ok(())
        }
    });
    futures::stream::iter(creations).buffer_unordered(AT_ONCE).try_collect().await
}

/// Whether nothing waits and nothing is worked on, as the page itself tells.
async fn at_rest(client: &reqwest::Client) -> Result<Option<()>> {
    let page = client.get(URL).send().await?.text().await?;
    let busy = |line: &&str| {
        let of_queue = line.starts_with("certwright_queue_waiting{") || line.starts_with("certwright_queue_running{");
        of_queue && !line.ends_with(" 0")
    };
    let all_told = page.matches("\ncertmanager_certificate_ready_status{").count() >= 3 * CERTIFICATES;
    Ok((all_told && !page.lines().any(|line| busy(&line))).then_some(()))
}
