//! Many faults at once, as a seed has them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use certwright_e2e::fault_proxy::journal::orders_made;
use certwright_e2e::fault_proxy::{Fault, Garbling, Kind, RetryAfter, Script};
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

/// What the CA says to one certificate binds all of its account, or all that speak to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_wish_binds_all() {
    const COUNT: usize = 6;
    let stage = Stage::new().await;
    let case = stage.case("siblings").await.unwrap();
    case.issuer().await.unwrap();
    let script = Script::none().at(Kind::NewOrder, 2, Fault::Refuse(503, RetryAfter::Seconds(3)));
    let script = script.at(Kind::Challenge, 2, Fault::Refuse(429, RetryAfter::Date(3)));
    case.proxy.arm(script.at(Kind::Finalize, 2, Fault::Refuse(503, RetryAfter::Date(2))));
    let names: Vec<String> = (1..=COUNT).map(|number| format!("www{number}")).collect();
    try_join_all(names.iter().map(async |name| case.create(name).await)).await.unwrap();
    for name in &names {
        let outcome = case.outcome(name).await.unwrap();
        assert!(matches!(outcome, Outcome::Issued), "{outcome:?}");
    }
    case.keeps_its_promises(COUNT).await.unwrap();
    let refused = case.proxy.journal().iter().filter(|met| met.retry_after.is_some() && met.fault.is_some()).count();
    assert_eq!(refused, 3);
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
