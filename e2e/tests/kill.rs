//! The controller is killed at every step of an issuance, and its servers are taken away: afterwards the certificate is
//! there, nothing was ordered twice and nothing is left behind. These run inside a testbed, with a controller of their
//! own: `testbed run -- cargo test -p certwright-e2e --test kill -- --include-ignored`.
#![allow(clippy::unwrap_used)]

#[path = "kill/issuance.rs"]
mod issuance;

use std::time::Duration;

use certwright_e2e::process::Identity;
use certwright_e2e::{Controller, Testbed};
use rustix::process::Signal;

use crate::issuance::{Issuance, all_end_well, scenes};

/// Who answers the CA only after two seconds is too late, and a busy machine lets nobody go on at once.
const STILL: Duration = Duration::from_secs(1);
/// More writes than an issuance has.
const MOST_WRITES: usize = 32;

fn testbed() -> Testbed {
    Testbed::from_env().unwrap().expect("run this inside `testbed run`")
}

/// Killed right after the first, second, … write of an issuance was answered, until one is through before the kill. The
/// former ones are on their way meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn killed_after_each_write() {
    let testbed = testbed();
    let mut controller = Controller::start(&testbed, &[]).await.unwrap();
    let scenes = scenes(&testbed, &controller, "write", MOST_WRITES, None).await;
    let mut begun = Vec::new();
    for scene in scenes {
        let mut issuance = Issuance::begin(scene).await;
        if !issuance.kill_after_write(&mut controller, begun.len() + 1).await {
            break;
        }
        begun.push(issuance);
    }
    println!("killed after each of {} writes", begun.len());
    assert!((10..MOST_WRITES).contains(&begun.len()), "{}", begun.len());
    all_end_well(&begun, &controller).await;
}

/// Killed after a time, in steps that fall between the writes too: while it talks to the CA or to the DNS server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn killed_after_a_time() {
    const STEP: Duration = Duration::from_millis(17);
    let testbed = testbed();
    let mut controller = Controller::start(&testbed, &[]).await.unwrap();
    let mut begun = Vec::new();
    for (scene, number) in scenes(&testbed, &controller, "time", 24, None).await.into_iter().zip(0..) {
        controller.ready().await.unwrap();
        begun.push(Issuance::begin(scene).await);
        tokio::time::sleep(STEP * number).await;
        controller.kill().unwrap();
        controller.restart().unwrap();
    }
    all_end_well(&begun, &controller).await;
}

/// Killed again and again in the same issuance: it goes on from where it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn killed_many_times_in_one_issuance() {
    let testbed = testbed();
    let mut controller = Controller::start(&testbed, &[]).await.unwrap();
    let mut issuance = Issuance::begin(scenes(&testbed, &controller, "many", 1, None).await.remove(0)).await;
    for _ in 0..8 {
        if !issuance.kill_after_write(&mut controller, 3).await {
            break;
        }
    }
    all_end_well(&[issuance], &controller).await;
}

/// Everything that the controller talks to, and the controller itself, stands still for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn others_that_stand_still() {
    let testbed = testbed();
    let controller = Controller::start(&testbed, &[]).await.unwrap();
    let mut begun = Vec::new();
    let mut scenes = scenes(&testbed, &controller, "still", 15, None).await.into_iter();
    for name in ["controller", "dns-primary", "etcd", "kube-apiserver", "pebble"] {
        let identity = match testbed.state.processes.iter().find(|process| process.name == name) {
            Some(process) => process.identity,
            None => Identity::of(controller.id()).unwrap(),
        };
        for (millis, scene) in [20, 100, 300].into_iter().zip(scenes.by_ref()) {
            begun.push(Issuance::begin(scene).await);
            tokio::time::sleep(Duration::from_millis(millis)).await;
            assert!(identity.signal(Signal::STOP), "{name} is gone");
            tokio::time::sleep(STILL).await;
            assert!(identity.signal(Signal::CONT), "{name} is gone");
        }
    }
    assert_eq!(begun.len(), 15);
    all_end_well(&begun, &controller).await;
}
