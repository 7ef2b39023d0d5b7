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
        world.condition("web", "Issuing").is_some_and(|told| told.starts_with("False Denied")),
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

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_an_hour_off_changes_nothing() {
    for issuer in ["le", "ca", "self"] {
        let usual = life(issuer, 0).await;
        for ahead in [-HOUR, HOUR] {
            assert_eq!(life(issuer, ahead).await, usual, "{issuer}, {ahead} s ahead");
        }
    }
}
