//! One fault at a time: every request of an issuance meets every fault.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use certwright_e2e::Process;
use certwright_e2e::fault_proxy::journal::orders_made;
use certwright_e2e::fault_proxy::{Fault, Garbling, Kind, RetryAfter, Script, without_list};
use certwright_e2e::pebble::{PebbleOptions, start_another};
use futures::StreamExt as _;

use crate::case::{Case, Outcome, Stage};

/// Cases under way at once.
const AT_ONCE: usize = 12;
const PREFIX: &str = "fault";
/// What every message of a failed issuance begins with.
const COMMON_START: &str = "The certificate request has failed to complete and will be retried: ";

/// A fault, and the request that meets it.
struct Plan {
    kind: Kind,
    /// Counted from 1 among those of its kind.
    number: usize,
    fault: Fault,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn every_request_meets_every_fault() {
    let (stage, _pebble) = exact_stage().await;
    let clean = clean_run(&stage).await;
    let words: Vec<String> = clean.iter().map(|(kind, number)| format!("{kind} {number}")).collect();
    println!("a clean issuance, the account included, takes {} requests: {}", words.len(), words.join(", "));
    let plans = plans(&clean);
    let count = plans.len();
    let ends: Vec<(String, Result<End>)> = futures::stream::iter(plans)
        .map(async |plan| (plan.words(), carry_out(&stage, &plan).await))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut sums = BTreeMap::<&str, usize>::new();
    let mut broken = Vec::new();
    for (words, end) in &ends {
        match end {
            Ok(end) => {
                *sums.entry(end.word()).or_default() += 1;
                if let End::Refused(why) = end {
                    let start: String = why.chars().skip(COMMON_START.len()).take(300).collect();
                    println!("{words}: not issued: {start}");
                }
            }
            Err(error) => broken.push(format!("{words}: {error:#}")),
        }
    }
    println!("{count} cases: {sums:?}, {} broke a promise", broken.len());
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    // How often something is polled is left to chance, but no kind of fault is for nothing.
    assert!(sums.get(End::Unmet.word()).is_none_or(|unmet| unmet * 5 < count), "{sums:?}");
    stage.leaves_no_records(PREFIX).await;
    stage.has_not_panicked();
}

/// A CA like most in the world: it keeps no list of orders, so what was lost on the way is ordered anew, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_lost_order_at_a_ca_without_a_list() {
    let stage = Stage::new().await;
    let case = stage.case("unlisted").await.unwrap();
    let script = Script::none().always(Kind::Account, Fault::Rewrite(without_list()));
    case.proxy.arm(script.at(Kind::NewOrder, 1, Fault::CutAfter));
    case.issuer().await.unwrap();
    case.create("www").await.unwrap();
    assert!(matches!(case.outcome("www").await.unwrap(), Outcome::Issued));
    println!("orders made after the answer to the first was lost: {}", orders_made(&case.proxy.journal()));
    case.keeps_its_promises(2).await.unwrap();
}

/// A CA that refuses no nonces and names no waits of its own, so that the same requests are made each time.
async fn exact_stage() -> (Stage, Process) {
    let mut stage = Stage::new().await;
    let options = PebbleOptions {
        name: "pebble-exact".into(),
        port: 14200,
        management_port: 15200,
        retry_after_authorization: 0,
        retry_after_order: 0,
        nonce_reject_percent: 0,
        ..PebbleOptions::default()
    };
    let (process, acme) = start_another(&stage.testbed.state, &options).await.unwrap();
    stage.acme = acme;
    (stage, process)
}

/// The requests of an issuance without faults, each with its number among those of its kind. A fourth one is made only because
/// the CA took its time, and may not be made again.
async fn clean_run(stage: &Stage) -> Vec<(Kind, usize)> {
    let case = stage.case("clean").await.unwrap();
    case.issuer().await.unwrap();
    case.create("www").await.unwrap();
    assert!(matches!(case.outcome("www").await.unwrap(), Outcome::Issued));
    let journal = case.proxy.journal();
    assert_eq!(orders_made(&journal), 1);
    let mut numbers = BTreeMap::new();
    let numbered = |kind| {
        let number = numbers.entry(kind).or_insert(0);
        *number += 1;
        (kind, *number)
    };
    journal.iter().map(|exchange| exchange.kind).map(numbered).filter(|(_, number)| *number <= 3).collect()
}

/// The commoner faults for every request; the odder ones for those that cost the CA something, and for one GET.
fn plans(clean: &[(Kind, usize)]) -> Vec<Plan> {
    let second = RetryAfter::Seconds(1);
    let everywhere = [
        Fault::CutBefore,
        Fault::CutAfter,
        Fault::Repeat,
        Fault::Garble(Garbling::Truncated),
        Fault::Refuse(500, RetryAfter::Unsaid),
        Fault::Refuse(503, second),
        Fault::Refuse(429, RetryAfter::Date(2)),
        Fault::BadNonce,
    ];
    let in_places = [
        Fault::Delay(Duration::from_secs(1)),
        Fault::Garble(Garbling::Halved),
        Fault::Garble(Garbling::Page),
        Fault::Garble(Garbling::ContentType),
        Fault::Refuse(429, second),
        Fault::Refuse(503, RetryAfter::Date(2)),
        Fault::Refuse(503, RetryAfter::Unsaid),
        Fault::Long(8 << 20),
        Fault::Redirect("https://elsewhere.certwright.test/acme"),
    ];
    let places = [Kind::Directory, Kind::NewAccount, Kind::NewOrder, Kind::Finalize, Kind::Certificate];
    let is_post = |kind| !matches!(kind, Kind::Directory | Kind::NewNonce);
    let mut plans = Vec::new();
    for &(kind, number) in clean {
        let suits = |fault: &&Fault| is_post(kind) || !matches!(fault, Fault::BadNonce);
        plans.extend(everywhere.iter().filter(suits).map(|fault| Plan { kind, number, fault: fault.clone() }));
        if places.contains(&kind) {
            plans.extend(in_places.iter().map(|fault| Plan { kind, number, fault: fault.clone() }));
        }
    }
    // Those that wait longest begin first.
    plans.sort_by_key(|plan| !matches!(plan.fault, Fault::Refuse(..)));
    plans
}

/// How a case ended that broke no promise.
enum End {
    Issued,
    /// With two orders, because the CA's answer to the first was lost.
    IssuedTwice,
    Refused(String),
    /// The request was not made this time.
    Unmet,
}

impl End {
    fn word(&self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::IssuedTwice => "issued after two orders",
            Self::Refused(_) => "not issued, and told why",
            Self::Unmet => "the request was not made",
        }
    }
}

async fn carry_out(stage: &Stage, plan: &Plan) -> Result<End> {
    let case = stage.case(PREFIX).await?;
    case.proxy.arm(Script::none().at(plan.kind, plan.number, plan.fault.clone()));
    case.issuer().await?;
    case.create("www").await?;
    let outcome = case.outcome("www").await?;
    case.keeps_its_promises(plan.most_orders()).await?;
    if let Outcome::Failed(why) = outcome {
        let expected = plan.excuse();
        ensure!(expected.is_some_and(|words| why.contains(words)), "it failed: {why}");
        return Ok(End::Refused(why));
    }
    Ok(how_issued(&case))
}

fn how_issued(case: &Case) -> End {
    let journal = case.proxy.journal();
    match orders_made(&journal) {
        _ if !journal.iter().any(|exchange| exchange.fault.is_some()) => End::Unmet,
        1 => End::Issued,
        _ => End::IssuedTwice,
    }
}

impl Plan {
    fn words(&self) -> String {
        format!("{} {}: {:?}", self.kind, self.number, self.fault)
    }

    /// An order whose URL was lost is found in the CA's list of orders. Only a refused nonce says that there is none, and
    /// it says so of a request that was repeated on its way as well.
    fn most_orders(&self) -> usize {
        if self.kind == Kind::NewOrder && matches!(self.fault, Fault::Repeat) { 2 } else { 1 }
    }

    /// What the message has to say if this fault ends the issuance; nothing if it may not.
    fn excuse(&self) -> Option<&'static str> {
        match self.fault {
            Fault::Garble(Garbling::Halved | Garbling::Page) => Some("did not answer as an ACME server does"),
            Fault::Long(_) => Some("is longer than"),
            Fault::Redirect(_) => Some("(redirect to https://elsewhere.certwright.test/acme)"),
            _ => None,
        }
    }
}
