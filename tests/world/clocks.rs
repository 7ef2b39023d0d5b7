//! A clock that is wrong: the controller's differs from the API server's, which dates the objects.

use std::collections::BTreeMap;

use certwright::api::Certificate;
use jiff::SignedDuration;
use serde_json::json;

use crate::{
    HOUR,
    issuers::{answer, certificate_of, world_of_issuers},
    local::{revision, run_until_renewal},
};

/// The writes of a first issuance, a renewal, and an issuance that is denied and tried again, while the API server's clock
/// is so many seconds ahead.
async fn life(issuer: &str, ahead: i64) -> Vec<BTreeMap<String, u32>> {
    let mut world = world_of_issuers().await;
    world.server.ahead = ahead;
    world.create(&certificate_of("web", issuer));
    world.run(60).await;
    assert!(world.is_ready("web"), "{:?}", world.get::<Certificate>("web").status);
    let mut writes = vec![world.take_writes()];
    run_until_renewal(&mut world, "web").await;
    world.run(180).await;
    writes.push(world.take_writes());
    assert_eq!(revision(&world, "web"), 2);

    world.approves = false;
    world.edit::<Certificate>("web", |held| held.spec.dns_names.push("more.example.com".into()));
    world.run(60).await;
    let at = world.now() + SignedDuration::from_secs(ahead);
    let denied = json!({
        "type": "Denied", "status": "True", "reason": "Policy", "message": "no",
        "lastTransitionTime": jiff::Timestamp::from_second(at.as_second()).unwrap(),
    });
    answer(&mut world, "web-3", denied, None);
    world.run(HOUR / 2).await;
    writes.push(world.take_writes());
    assert!(
        world.condition("web", "Issuing").is_some_and(|told| told.starts_with("False Policy")),
        "{:?}",
        world.condition("web", "Issuing")
    );
    world.approves = true;
    world.run(2 * HOUR).await;
    writes.push(world.take_writes());
    assert_eq!((revision(&world, "web"), world.storms), (3, 0));
    assert_eq!(world.litter(), [""; 0]);
    writes
}

/// What others feel of the writes: nothing is requested twice.
fn requested(phase: &BTreeMap<String, u32>) -> [u32; 2] {
    ["create CertificateRequest", "create Order"].map(|what| phase.get(what).copied().unwrap_or_default())
}

/// One write more in a phase is what it may cost: times that the API server sets look odd until the next look.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_an_hour_off_costs_no_certificate() {
    for issuer in ["le", "ca", "self"] {
        let usual = life(issuer, 0).await;
        for ahead in [-HOUR, HOUR] {
            let writes = life(issuer, ahead).await;
            for (phase, usual) in writes.iter().zip(&usual) {
                assert_eq!(requested(phase), requested(usual), "{issuer}, {ahead} s ahead");
                let sum = |phase: &BTreeMap<String, u32>| phase.values().sum::<u32>();
                assert!(sum(phase) <= sum(usual) + 1, "{issuer}, {ahead} s ahead: {phase:?} instead of {usual:?}");
            }
        }
    }
}
