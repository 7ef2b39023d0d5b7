//! Many faults at once, as a seed has them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use certwright_e2e::fault_proxy::journal::orders_made;
use certwright_e2e::fault_proxy::{Fault, Garbling, RetryAfter, Script};
use futures::future::try_join_all;

use crate::case::{Outcome, Stage};

const PREFIX: &str = "random";
const SEEDS: std::ops::Range<u64> = 1..13;
/// In one issuance.
const MOST_FAULTS: usize = 5;

/// Several issuances at once, each of which meets one fault after the other. All of these faults pass, so all end well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn random_faults_end_well() {
    let stage = Stage::new().await;
    let one = async |seed| one(&stage, seed).await.with_context(|| format!("seed {seed}"));
    let lines = try_join_all(SEEDS.map(one)).await.unwrap();
    println!("{}", lines.join("\n"));
    stage.leaves_no_records(PREFIX).await;
    stage.has_not_panicked();
}

async fn one(stage: &Stage, seed: u64) -> Result<String> {
    let case = stage.case(PREFIX).await?;
    case.proxy.arm(Script::random(seed, 3, &passing_faults(), MOST_FAULTS));
    case.issuer().await?;
    case.create("www").await?;
    let outcome = case.outcome("www").await?;
    ensure!(matches!(outcome, Outcome::Issued), "{outcome:?}");
    // Each order that was made in vain had its answer lost.
    case.keeps_its_promises(1 + MOST_FAULTS).await?;
    let journal = case.proxy.journal();
    let faults: Vec<String> = journal.iter().filter(|met| met.fault.is_some()).map(ToString::to_string).collect();
    Ok(format!(
        "seed {seed}: issued after {} requests and {} orders in spite of {}",
        journal.len(),
        orders_made(&journal),
        faults.join("; ")
    ))
}

fn passing_faults() -> Vec<Fault> {
    vec![
        Fault::CutBefore,
        Fault::CutAfter,
        Fault::Delay(Duration::from_millis(500)),
        Fault::Repeat,
        Fault::Garble(Garbling::Truncated),
        Fault::Refuse(429, RetryAfter::Seconds(1)),
        Fault::Refuse(500, RetryAfter::Unsaid),
        Fault::Refuse(503, RetryAfter::Date(2)),
        Fault::BadNonce,
    ]
}
