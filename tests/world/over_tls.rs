//! TLS-ALPN-01, where only one Challenge at a time can answer for a name.

use certwright::api::{Issuer, names::annotation};
use k8s_openapi::api::core::v1::{Pod, Service};
use serde_json::json;

use super::{assert_issued, counted, total, world};
use crate::faults::Fate;
use crate::world::{World, certificate, object_of};

const NAME: &str = "www.http.example.com";

/// The second solver of the issuer answers by TLS-ALPN-01.
async fn over_tls() -> World {
    let mut world = world().await;
    world.edit::<Issuer>("le", |issuer| {
        let annotations = issuer.metadata.annotations.get_or_insert_default();
        annotations.insert(annotation::TLS_ALPN_01.to_owned(), "1".to_owned());
        let solver = &mut issuer.spec.acme.as_mut().unwrap().solvers[1];
        solver.http01 = Some(object_of(json!({"gatewayHTTPRoute": {"parentRefs": [{"name": "edge"}]}})));
    });
    world.run(60).await;
    world.take_writes();
    world
}

#[tokio::test(start_paused = true)]
async fn an_issuance_takes_no_more_writes_than_over_http() {
    let mut world = over_tls().await;
    world.create(&certificate("web", &[NAME]));
    world.run(60).await;
    assert_issued(&world);
    assert!(world.events.iter().any(|event| event.contains("TLS-ALPN-01")), "{:?}", world.events);
    let mut writes = world.take_writes();
    let solver = ["Pod", "Service"]
        .map(|kind| (writes.remove(&format!("create {kind}")), writes.remove(&format!("delete {kind}"))));
    assert_eq!(solver, [(Some(1), Some(1)); 2]);
    assert!(total(&writes) <= 16, "{writes:?}");
    assert_eq!((world.count::<Pod>(), world.count::<Service>()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn certificates_for_the_same_name_take_turns() {
    for killed_after in [None, Some(1), Some(3)] {
        let mut world = over_tls().await;
        for name in ["web", "mail", "shop"] {
            world.create(&certificate(name, &[NAME]));
        }
        if let Some(seconds) = killed_after {
            world.run(seconds).await;
            world.kill();
        }
        world.run(120).await;
        for name in ["web", "mail", "shop"] {
            assert!(world.is_ready(name), "killed after {killed_after:?}: {:?}", world.condition(name, "Ready"));
        }
        assert_eq!(world.ca.orders.len(), 3, "none failed");
        assert_eq!(world.litter(), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn turns_survive_a_crash_after_any_effect() {
    for number in 1..60 {
        let mut world = over_tls().await;
        for name in ["web", "mail"] {
            world.create(&certificate(name, &[NAME]));
        }
        world.faults.planned = Some((world.faults.effects + number, Fate::CrashAfter));
        world.run(180).await;
        assert!(world.is_ready("web") && world.is_ready("mail"), "crash after effect {number}");
        assert_eq!((world.ca.orders.len(), world.litter().len()), (2, 0), "crash after effect {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn at_rest_the_annotation_costs_nothing() {
    let mut world = over_tls().await;
    world.run(3600).await;
    assert_eq!(world.take_writes(), counted(&[]));
}
