//! Many renewals that are due when the CA comes back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use certwright::api::names::KIND_ISSUER;
use certwright::api::{Certificate, Issuer};
use certwright::pki::{Curve, KeyAlgorithm};
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::bar::{ACME_EARLY, ACME_PER_WINDOW, ACME_RECOVERY, Measured};
use super::certificate::key_spec;
use super::dns01::small;
use crate::controller::{Controller, binary};
use crate::fault_proxy::journal::{most_orders_within, too_early};
use crate::fault_proxy::{Exchange, Fault, FaultProxy, Kind, RetryAfter, Script, ServerIdentity, without_list};
use crate::pebble::{PebbleOptions, start_another};
use crate::scene::{Scene, certificate_spec, is_ready};
use crate::testbed::Testbed;
use crate::wait::until;

const ISSUER: &str = "outage";
const CERTIFICATES: usize = 1000;
/// New orders that the account may make within [`WINDOW`].
pub const BUDGET: usize = 100;
const WINDOW: Duration = Duration::from_secs(10);
const BUDGET_FLAG: &str = "--acme-orders-per-window";
const WINDOW_FLAG: &str = "--acme-order-window";
/// What stands for the hours: long enough that every renewal was tried in vain.
const OUTAGE: Duration = Duration::from_secs(20);
/// Of two refusals on the way; the CA's wish, obeyed, makes it as much longer.
const WISH: u64 = 3;
const AT_ONCE: usize = 50;
const PATIENCE: Duration = Duration::from_mins(10);

/// Measures the bars, if this certwright has a budget.
pub async fn measure(testbed: &Testbed) -> Result<Vec<Measured>> {
    if !has_budget()? {
        println!("\n==> This certwright has no flag {BUDGET_FLAG}: what it does after an outage is not measured");
        return Ok(Vec::new());
    }
    println!(
        "\n==> {CERTIFICATES} renewals due when a CA comes back: tier {}, P-256 keys, valid authorizations are used again, \
         no list of orders, every validation succeeds. Certificates are asked to be renewed while no controller runs; then one starts with \
         {BUDGET} new orders per {} s, and the CA takes no connection for {} s. The first request that it answers and \
         one later newOrder are refused with Retry-After {WISH} s.",
        testbed.state.tier,
        WINDOW.as_secs(),
        OUTAGE.as_secs()
    );
    let options = PebbleOptions {
        name: "pebble-outage".into(),
        port: 14300,
        management_port: 15300,
        retry_after_authorization: 0,
        retry_after_order: 0,
        authorization_reuse_percent: 100,
        // What is measured are orders, and a busy resolver must not spoil them.
        environment: BTreeMap::from([("PEBBLE_VA_ALWAYS_VALID".to_owned(), "1".to_owned())]),
        ..PebbleOptions::default()
    };
    let (_pebble, acme) = start_another(&testbed.state, &options).await?;
    let proxy = FaultProxy::start(&ServerIdentity::create(&testbed.state)?, &acme).await?;
    proxy.arm(script());
    let scene = prepare(testbed, &proxy).await?;
    ask_for_renewals(&scene).await?;

    let before = proxy.journal().len();
    proxy.set_down(true);
    let window = format!("{}s", WINDOW.as_secs());
    let _controller = Controller::start(testbed, &[BUDGET_FLAG, &BUDGET.to_string(), WINDOW_FLAG, &window]).await?;
    tokio::time::sleep(OUTAGE).await;
    proxy.arm(script().at_any(1, Fault::Refuse(503, RetryAfter::Seconds(WISH))).at(
        Kind::NewOrder,
        CERTIFICATES / 3,
        Fault::Refuse(429, RetryAfter::Date(WISH)),
    ));
    proxy.set_down(false);
    let back = Instant::now();
    let renewed = wait_until_ready(&scene, 2).await?;
    report(&proxy.journal().split_off(before), back, renewed)
}

fn script() -> Script {
    Script::none().always(Kind::Account, Fault::Rewrite(without_list()))
}

fn has_budget() -> Result<bool> {
    let help = std::process::Command::new(binary()?).args(["controller", "--help"]).output()?;
    Ok(String::from_utf8_lossy(&help.stdout).contains(BUDGET_FLAG))
}

/// Issues the Certificates by a controller without a budget, and ends it.
async fn prepare(testbed: &Testbed, proxy: &FaultProxy) -> Result<Scene> {
    let controller = Controller::start(testbed, &[BUDGET_FLAG, "0"]).await?;
    let scene = Scene::new(testbed, controller.log(), "outage").await?;
    let mut spec = scene.issuer_spec("outage-account")?;
    proxy.stand_before(&mut spec);
    scene.create::<Issuer>(ISSUER, spec).await?;
    scene.wait_ready::<Issuer>(ISSUER).await?;
    let start = Instant::now();
    let creations = (0..CERTIFICATES).map(async |number| {
        let name = format!("www{number}");
        let mut spec = certificate_spec(&name, KIND_ISSUER, ISSUER, &[&scene.dns_name(&name)]);
        spec["privateKey"] = key_spec(KeyAlgorithm::Ecdsa(Curve::P256));
        scene.create::<Certificate>(&name, spec).await.map(drop)
    });
    futures::stream::iter(creations).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    let end = wait_until_ready(&scene, 1).await?;
    println!("first issuance of all, without a budget: {:.1} s", end.duration_since(start).as_secs_f64());
    Ok(scene)
}

/// As `cmctl renew` does it.
async fn ask_for_renewals(scene: &Scene) -> Result<()> {
    let now = Timestamp::now().to_string();
    let certificates = scene.list::<Certificate>().await?;
    let patches = certificates.iter().map(async |certificate| {
        let issuing = json!({
            "type": "Issuing", "status": "True", "reason": "ManuallyTriggered",
            "message": "Certificate re-issuance manually triggered",
            "lastTransitionTime": now, "observedGeneration": certificate.metadata.generation,
        });
        let status = certificate.status.clone().unwrap_or_default();
        let mut conditions = serde_json::to_value(&status.conditions)?;
        conditions.as_array_mut().context("no conditions")?.push(issuing);
        let patch = Patch::Merge(json!({ "status": { "conditions": conditions } }));
        let api = scene.api::<Certificate>();
        api.patch_status(&certificate.name_any(), &PatchParams::default(), &patch).await?;
        anyhow::Ok(())
    });
    futures::stream::iter(patches).buffer_unordered(AT_ONCE).try_collect().await
}

/// Waits until all are ready in this revision; gives the time when that was seen.
async fn wait_until_ready(scene: &Scene, revision: i64) -> Result<Instant> {
    let is_there = |certificate: &&Certificate| {
        let held = certificate.status.as_ref().and_then(|status| status.revision);
        is_ready(*certificate) && held == Some(revision)
    };
    let look = async || {
        let ready = scene.list::<Certificate>().await?.iter().filter(is_there).count();
        ensure!(ready == CERTIFICATES, "{ready} of {CERTIFICATES} are");
        Ok(Some(Instant::now()))
    };
    until(&format!("all to be ready in revision {revision}"), PATIENCE, look).await
}

fn report(journal: &[Exchange], back: Instant, renewed: Instant) -> Result<Vec<Measured>> {
    let answered = |exchange: &&Exchange| exchange.received > back && exchange.status == Some(200);
    let first = journal.iter().find(answered).context("nothing was asked")?.received;
    let seconds = renewed.duration_since(first).as_secs_f64();
    let windows = CERTIFICATES.div_ceil(BUDGET).saturating_sub(1);
    // The wish that comes with the first answer is over when the second is given.
    let shortest = WINDOW.as_secs_f64() * small(windows) + Duration::from_secs(WISH).as_secs_f64();
    let most = most_orders_within(journal, WINDOW);
    let early = too_early(journal).len();
    let tried = journal.iter().map(|exchange| exchange.received).find(|received| *received > back);
    println!(
        "after the CA came back it was asked within {:.1} s, and had answered after {:.1} s; from then to the last Ready \
         {seconds:.1} s; the shortest that the budget and the CA's wish allow is {shortest:.0} s; {} requests",
        tried.unwrap_or(first).duration_since(back).as_secs_f64(),
        first.duration_since(back).as_secs_f64(),
        journal.len()
    );
    Ok(vec![
        Measured::new(ACME_PER_WINDOW, small(most)),
        Measured::new(ACME_EARLY, small(early)),
        Measured::new(ACME_RECOVERY, 100.0 * seconds / shortest),
    ])
}
