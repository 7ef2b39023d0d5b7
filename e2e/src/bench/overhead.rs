//! certwright's own share of a DNS-01 issuance.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use certwright::api::Issuer;
use certwright::api::names::KIND_ISSUER;
use certwright::pki::{Curve, KeyAlgorithm};

use super::ISSUANCES;
use super::bar::{ACME_OVERHEAD, Measured, summarize};
use super::certificate::key_spec;
use super::issuance::{settle, timed_with};
use super::steps::{self, LOG_FILTER, Step};
use crate::controller::Controller;
use crate::fault_proxy::journal::{span, time_at_the_ca};
use crate::fault_proxy::{Exchange, FaultProxy, Kind, ServerIdentity};
use crate::scene::{Scene, certificate_spec};
use crate::testbed::Testbed;

const ISSUER: &str = "watched";

/// Measures [`ACME_OVERHEAD`].
pub async fn measure(testbed: &Testbed) -> Result<Measured> {
    println!(
        "\n==> Own overhead of DNS-01: {ISSUANCES} issuances one after the other, P-256 keys, Pebble without sleep and \
         Retry-After, 5 % of nonces refused.\n\
         Method: from creating the Certificate to Ready=True on a watch; less the time within which a request was with \
         the CA, by the log of a proxy before it; less the time from the start of the first self-check to the start of \
         the last one, by certwright's log, because the record was not visible everywhere until then. The CA validates \
         and signs after it has answered; waiting for that counts as certwright's."
    );
    let controller = Controller::start(testbed, &["--log-level", LOG_FILTER]).await?;
    let scene = Scene::new(testbed, controller.log(), "bench").await?;
    let proxy = FaultProxy::start(&ServerIdentity::create(&testbed.state)?, testbed.state.acme()?).await?;
    let mut spec = scene.issuer_spec("watched-account")?;
    proxy.stand_before(&mut spec);
    scene.create::<Issuer>(ISSUER, spec).await?;
    scene.wait_ready::<Issuer>(ISSUER).await?;
    settle(&scene).await?;
    let [mut wholes, mut at_the_ca, mut unseen, mut between, mut own] = [const { Vec::new() }; 5];
    for number in 1..=ISSUANCES {
        let name = format!("single-{number}");
        let before = proxy.journal().len();
        let mut spec = certificate_spec(&name, KIND_ISSUER, ISSUER, &[&scene.dns_name(&name)]);
        spec["privateKey"] = key_spec(KeyAlgorithm::Ecdsa(Curve::P256));
        let whole = timed_with(&scene, &name, spec).await?.as_secs_f64();
        settle(&scene).await?;
        let journal = proxy.journal().split_off(before);
        let log = std::fs::read_to_string(controller.log())?;
        let share = Share::of(&journal, &steps::read(&log)?, &name)?;
        wholes.push(whole);
        own.push(whole - share.at_the_ca - share.unseen);
        between.push(share.order - share.at_the_ca - share.unseen);
        at_the_ca.push(share.at_the_ca);
        unseen.push(share.unseen);
        println!("{number:4} {whole:.3} s in {} requests", journal.len());
    }
    summarize("From the Certificate to Ready", &wholes)?;
    summarize("  a request was with the CA", &at_the_ca)?;
    summarize("  the record was not visible everywhere", &unseen)?;
    summarize("  the rest between newOrder and the certificate", &between)?;
    let median = summarize("  own overhead", &own)?;
    Ok(Measured::new(ACME_OVERHEAD, median * 1000.0))
}

/// What of one issuance was not certwright's own time, in seconds.
struct Share {
    at_the_ca: f64,
    unseen: f64,
    /// From newOrder to the end of the download.
    order: f64,
}

impl Share {
    fn of(journal: &[Exchange], all: &[Step], certificate: &str) -> Result<Self> {
        let first = journal.iter().position(|exchange| exchange.kind == Kind::NewOrder);
        let journal = &journal[first.context("there was no newOrder")?..];
        ensure!(journal.iter().any(|exchange| exchange.kind == Kind::Certificate), "there was no download");
        let mark = format!("/{certificate}-");
        let steps: Vec<&Step> = all.iter().filter(|step| step.key.contains(&mark)).collect();
        Ok(Self {
            at_the_ca: time_at_the_ca(journal).as_secs_f64(),
            unseen: steps::between(&steps, "challenge", "SelfCheck", "SelfCheck")?,
            order: span(journal).unwrap_or(Duration::ZERO).as_secs_f64(),
        })
    }
}
