//! The key that lies in the memory of the process while a CA issuer answers, and is lost with it.

use certwright::api::CertificateRequest;
use jiff::SignedDuration;

use crate::{
    HOUR,
    faults::Fate,
    issuers::{certificate_of, issued_by, world_of_issuers},
    local::{revision, run_until_renewal},
    world::World,
};

const CREATE: &str = "create CertificateRequest";

/// Ready with this revision, and nothing left behind.
fn assert_issued(world: &World, number: i64, what: &str) {
    assert!(world.is_ready("web"), "{what}");
    assert_eq!((revision(world, "web"), world.condition("web", "Issuing")), (number, None), "{what}");
    assert_eq!((world.litter(), world.count::<CertificateRequest>(), world.storms), (vec![], 1, 0), "{what}");
    assert_eq!((&world.chronicle.offences, &world.chronicle.wasted), (&vec![], &vec![]), "{what}");
}

/// How many were made so far.
fn requests(world: &World) -> u32 {
    world.chronicle.reasons.values().sum()
}

async fn about_to_be_issued() -> World {
    let mut world = world_of_issuers().await;
    world.create(&certificate_of("web", "ca"));
    world
}

async fn about_to_be_renewed() -> World {
    let mut world = issued_by("ca").await;
    run_until_renewal(&mut world, "web").await;
    world.take_writes();
    world
}

/// Both, and the revision that each leads to.
async fn both() -> [(World, i64); 2] {
    [(about_to_be_issued().await, 1), (about_to_be_renewed().await, 2)]
}

#[tokio::test(start_paused = true)]
async fn whatever_befalls_one_effect_the_certificate_comes_and_only_a_crash_costs_a_request() {
    for fate in [Fate::CrashBefore, Fate::CrashAfter, Fate::Lost, Fate::AnswerLost, Fate::Overtaken] {
        let mut number = 1;
        let mut befell = [0, 0];
        loop {
            let mut is_over = true;
            for (index, (mut world, revision)) in both().await.into_iter().enumerate() {
                world.server.lag = if number % 2 == 0 { 4 } else { 0 };
                let before = requests(&world);
                let planned = world.faults.effects + number;
                world.faults.planned = Some((planned, fate));
                world.run(1800).await;
                let what = format!("revision {revision}, effect {number}: {fate:?}");
                assert_issued(&world, revision, &what);
                let is_crash = matches!(fate, Fate::CrashBefore | Fate::CrashAfter);
                let made = requests(&world) - before;
                assert!(made == 1 || (is_crash && made == 2), "{what}: {made}");
                if world.faults.effects >= planned {
                    befell[index] += 1;
                    is_over = false;
                }
            }
            if is_over {
                break;
            }
            number += 1;
        }
        assert!(befell[0] >= 4 && befell[1] >= 5, "{fate:?}: {befell:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_request_and_secret_costs_a_request() {
    for (mut world, revision) in both().await {
        // The first effect is the request.
        world.faults.planned = Some((world.faults.effects + 1, Fate::CrashAfter));
        world.run(120).await;
        assert_issued(&world, revision, "a crash after the request");
        let writes = world.take_writes();
        assert_eq!((writes[CREATE], world.crashes, writes.get("create Secret")), (2, 1, None), "{writes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_had_to_move_into_a_secret_survives_a_crash() {
    for (mut world, revision) in both().await {
        world.latency = SignedDuration::from_millis(50);
        world.refuses_secrets_until = Some(world.now() + SignedDuration::from_secs(160));
        world.run(100).await;
        assert_eq!(world.litter().len(), 1, "the next key");
        world.kill();
        world.run(HOUR).await;
        assert_issued(&world, revision, "a crash after the key has moved");
        let writes = world.take_writes();
        assert_eq!((writes[CREATE], writes["create Secret"]), (1, 1), "{writes:?}");
    }
}
