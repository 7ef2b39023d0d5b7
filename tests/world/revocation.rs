//! Certificates that are to be revoked.

use certwright::api::{Certificate, names::annotation};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use crate::{
    DAY, HOUR,
    authority::refusal,
    counted, issued,
    issuers::issued_by,
    local::{leaf, revision},
    world::World,
};

fn annotate(world: &mut World, key: &str, value: &str) {
    world.edit::<Certificate>("web", |held| {
        held.annotations_mut().insert(key.into(), value.into());
    });
}

fn key(world: &World) -> Vec<u8> {
    world.get::<Secret>("web-tls").data.unwrap()["tls.key"].0.clone()
}

#[tokio::test(start_paused = true)]
async fn a_compromised_key_is_revoked_and_replaced_once() {
    let mut world = issued(&["www.example.com"]).await;
    world.edit::<Certificate>("web", |held| {
        held.spec.private_key.get_or_insert_default().rotation_policy = Some("Never".into());
    });
    let (former, former_key) = (leaf(&world, "web-tls").serial_hex(), key(&world));
    annotate(&mut world, annotation::REVOKE, "keyCompromise");
    world.run(120).await;
    assert_eq!(world.ca.revoked, std::slice::from_ref(&former));
    assert_eq!(revision(&world, "web"), 2);
    assert_ne!((leaf(&world, "web-tls").serial_hex(), key(&world)), (former.clone(), former_key));
    let noted = world.get::<Secret>("web-tls").annotations()[annotation::REVOKED].clone();
    assert_eq!(noted, format!("keyCompromise {former}"));
    world.take_writes();
    world.kill();
    world.run(DAY).await;
    assert_eq!((world.take_writes(), world.ca.revoked.len()), (counted(&[]), 1), "once");

    let (second, second_key) = (leaf(&world, "web-tls").serial_hex(), key(&world));
    annotate(&mut world, annotation::REVOKE, "superseded:again");
    world.run(120).await;
    assert_eq!(world.ca.revoked, [former, second]);
    assert_eq!((revision(&world, "web"), key(&world)), (3, second_key), "only a compromised key goes");
    assert_eq!((world.litter(), &world.chronicle.offences), (vec![], &vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_time_revokes_no_second_certificate() {
    for millis in (0..4000).step_by(250) {
        let mut world = issued(&["www.example.com"]).await;
        world.latency = jiff::SignedDuration::from_millis(400);
        let former = leaf(&world, "web-tls").serial_hex();
        annotate(&mut world, annotation::REVOKE, "keyCompromise");
        world.run_for(jiff::SignedDuration::from_millis(millis)).await;
        world.kill();
        world.run(120).await;
        assert_eq!((world.ca.revoked.clone(), revision(&world, "web")), (vec![former], 2), "killed after {millis} ms");
        assert_eq!((world.litter(), &world.chronicle.offences), (vec![], &vec![]));
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_revoked_is_told_of_and_stays() {
    let mut world = issued_by("ca").await;
    annotate(&mut world, annotation::REVOKE, "superseded");
    world.run(60).await;
    let told = world.condition("web", "Ready").unwrap();
    assert!(told.starts_with("True ") && told.contains("only issuers that speak ACME can be asked to"), "{told}");

    let mut world = issued(&["www.example.com"]).await;
    world.ca.failures.insert("revoke", (9, refusal("unauthorized: not yours")));
    annotate(&mut world, annotation::REVOKE, "superseded");
    world.run(DAY).await;
    let told = world.condition("web", "Ready").unwrap();
    assert!(told.starts_with("True ") && told.contains("unauthorized: not yours"), "{told}");
    assert_eq!((revision(&world, "web"), world.ca.calls["revoke"]), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_is_deleted_is_revoked_first_if_that_is_wished() {
    let mut world = issued(&["www.example.com"]).await;
    let serial = leaf(&world, "web-tls").serial_hex();
    annotate(&mut world, annotation::REVOKE_ON_DELETE, "cessationOfOperation");
    world.run(10).await;
    assert_eq!(world.get::<Certificate>("web").finalizers(), ["certwright.dev/revoke"]);
    world.ca.is_down = true;
    world.delete::<Certificate>("web");
    world.run(10).await;
    assert!(world.find::<Certificate>("web").is_some());
    world.ca.is_down = false;
    world.run(120).await;
    assert_eq!((world.find::<Certificate>("web").is_none(), world.ca.revoked.clone()), (true, vec![serial]));

    let mut world = issued(&["www.example.com"]).await;
    annotate(&mut world, annotation::REVOKE_ON_DELETE, "superseded");
    world.run(10).await;
    world.ca.is_down = true;
    world.delete::<Certificate>("web");
    world.run(HOUR).await;
    assert!(world.find::<Certificate>("web").is_none(), "nothing holds it for ever");
    assert!(world.events.iter().any(|event| event.starts_with("web: RevocationFailed ")), "{:#?}", world.events);
}

#[tokio::test(start_paused = true)]
async fn what_failed_before_does_not_keep_a_deleted_certificate_from_being_revoked() {
    let mut world = issued(&["www.example.com"]).await;
    let serial = leaf(&world, "web-tls").serial_hex();
    annotate(&mut world, annotation::REVOKE_ON_DELETE, "superseded");
    world.ca.failures.insert("revoke", (1, refusal("unauthorized: not yet")));
    annotate(&mut world, annotation::REVOKE, "superseded");
    world.run(DAY).await;
    assert_eq!((world.ca.calls["revoke"], world.ca.revoked.len()), (1, 0));
    world.delete::<Certificate>("web");
    world.run(10).await;
    assert_eq!((world.find::<Certificate>("web").is_none(), world.ca.revoked.clone()), (true, vec![serial]));
}

#[tokio::test(start_paused = true)]
async fn a_wish_that_is_taken_back_leaves_nothing() {
    let mut world = issued(&["www.example.com"]).await;
    annotate(&mut world, annotation::REVOKE_ON_DELETE, "superseded");
    world.run(10).await;
    world.edit::<Certificate>("web", |held| {
        held.annotations_mut().remove(annotation::REVOKE_ON_DELETE);
    });
    world.run(10).await;
    assert_eq!(world.get::<Certificate>("web").finalizers(), [""; 0]);
    world.delete::<Certificate>("web");
    world.run(10).await;
    assert_eq!((world.find::<Certificate>("web").is_none(), world.ca.revoked.len()), (true, 0));
}

#[tokio::test(start_paused = true)]
async fn a_ca_that_is_away_for_good_does_not_hold_up_what_another_issues() {
    let mut world = issued_by("le").await;
    let former = leaf(&world, "web-tls").serial_hex();
    world.ca.is_down = true;
    annotate(&mut world, annotation::REVOKE, "superseded");
    world.run(HOUR).await;
    let told = world.condition("web", "Ready").unwrap();
    assert!(told.starts_with("True ") && told.contains("cannot reach the CA"), "{told}");
    world.edit::<Certificate>("web", |held| held.spec.issuer_ref.name = "ca".into());
    world.run(20 * 60).await;
    assert_eq!(revision(&world, "web"), 2, "{:?}", world.get::<Certificate>("web").status);
    assert_ne!(leaf(&world, "web-tls").serial_hex(), former);
    assert!(
        world.events.iter().any(|event| event.contains("was replaced before it was revoked")),
        "{:#?}",
        world.events
    );
    assert_eq!((world.litter(), &world.chronicle.offences), (vec![], &vec![]));
}
