//! The controller is killed at random times in the midst of many issuances over HTTP-01: no Pod, Service, Ingress,
//! HTTPRoute or EndpointSlice is left behind. This runs inside a testbed, with a controller of its own:
//! `testbed run -- cargo test -p certwright-e2e --test http01_kills -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use certwright_e2e::nodeless::Nodeless;
use certwright_e2e::random_kills::{RandomKills, run};
use certwright_e2e::{Controller, Testbed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn killed_at_random_times() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
    let _nodeless = Nodeless::start(&testbed).await.unwrap();
    let flags = Nodeless::flags(&testbed);
    let mut controller = Controller::start(&testbed, &flags.each_ref().map(String::as_str)).await.unwrap();
    // Whom the CA asks while nobody answers is tried again a minute later; the slower the machine, the more are asked at a time.
    let plan = RandomKills { certificates: 60, kills: 10, ready: 40, seed: 7 };
    let outcome = run(&testbed, &mut controller, plan).await.unwrap();
    println!("{outcome:?}");
    assert_eq!(outcome.left_behind(), 0, "{outcome:?}");
    assert!(outcome.kills >= 3, "too few to tell: {outcome:?}");
    assert!(outcome.ready >= plan.ready, "{outcome:?}");
    let log = std::fs::read_to_string(controller.log()).unwrap();
    assert!(!log.contains("panicked"), "see {}", controller.log().display());
}
