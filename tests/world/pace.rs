//! How often certificates are issued when somebody would have it more often.

use certwright::api::{
    Certificate,
    names::{annotation, condition, reason},
};
use jiff::SignedDuration;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::ResourceExt;
use serde_json::json;

use crate::{
    DAY, HOUR, counted,
    issuers::issued_by,
    local::{leaf, revision},
    world::{World, after, object_of},
};

pub fn damage(world: &mut World) {
    world.edit::<Secret>("web-tls", |held| {
        held.data.get_or_insert_default().insert("tls.crt".into(), ByteString(b"damaged".to_vec()));
    });
}

pub fn annotate(world: &mut World, name: &'static str, value: &str) {
    world.edit::<Certificate>("web", |held| {
        held.annotations_mut().insert(name.to_owned(), value.to_owned());
    });
}

/// The Secret is damaged every ten seconds for so long.
async fn damage_again_and_again(world: &mut World, seconds: i64) {
    for _ in 0..seconds / 10 {
        damage(world);
        world.run(10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_damaged_again_and_again_is_not_issued_without_end() {
    for issuer in ["ca", "self", "le"] {
        let mut world = issued_by(issuer).await;
        let mut hourly = Vec::new();
        for _ in 0..4 {
            let before = revision(&world, "web");
            damage_again_and_again(&mut world, HOUR).await;
            hourly.push(revision(&world, "web") - before);
        }
        println!("{issuer}: issuances per hour of damage: {hourly:?}, {:?}", world.take_writes());
        assert!(hourly.iter().all(|issuances| *issuances <= 6), "{hourly:?}");
        damage_again_and_again(&mut world, 600).await;
        let issuing = world.condition("web", "Issuing").unwrap();
        assert!(issuing.starts_with("False TooManyIssuances: No certificate is issued now: "), "{issuing}");
        let ready = world.condition("web", "Ready").unwrap();
        assert!(ready.starts_with("False "), "{ready}");

        // A new process knows it too.
        world.kill();
        damage(&mut world);
        let before = revision(&world, "web");
        world.run(60).await;
        assert!(revision(&world, "web") - before <= 1);

        // What is wanted has changed, so it is issued at once.
        damage(&mut world);
        world.run(10).await;
        assert!(!world.is_ready("web"));
        world.edit::<Certificate>("web", |held| held.spec.dns_names.push("more.example.com".into()));
        world.run(30).await;
        assert!(world.is_ready("web"), "{issuer}: {:?}", world.get::<Certificate>("web").status);
        assert_eq!(leaf(&world, "web-tls").names.dns_names.len(), 2);
        assert_eq!(world.condition("web", "Issuing"), None);
        assert_eq!((world.litter(), world.storms), (vec![], 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_restraint_ends_by_itself() {
    let mut world = issued_by("ca").await;
    damage_again_and_again(&mut world, 600).await;
    assert!(!world.is_ready("web"));
    world.take_writes();
    world.run(HOUR).await;
    assert!(world.is_ready("web"));
    assert_eq!((world.condition("web", "Issuing"), world.litter()), (None, vec![]));
    println!("the issuance that ends a restraint: {:?}", world.take_writes());
}

#[tokio::test(start_paused = true)]
async fn no_more_are_issued_in_a_day_than_the_annotation_allows() {
    for issuer in ["ca", "le"] {
        let mut world = issued_by(issuer).await;
        annotate(&mut world, annotation::MAX_ISSUANCES_PER_DAY, "2");
        damage_again_and_again(&mut world, 12 * HOUR).await;
        assert_eq!(revision(&world, "web"), 2);
        let issuing = world.condition("web", "Issuing").unwrap();
        assert!(issuing.starts_with("False TooManyIssuances: ") && issuing.contains("allows 2 within 24"), "{issuing}");
        annotate(&mut world, annotation::MAX_ISSUANCES_PER_DAY, "3");
        world.run(30).await;
        assert!(world.is_ready("web"));
        assert_eq!(revision(&world, "web"), 3);
        damage(&mut world);
        world.run(12 * HOUR + 60).await;
        assert!(world.is_ready("web"), "the first is a day ago");
        assert_eq!(revision(&world, "web"), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_at_the_time_of_the_annotation() {
    for issuer in ["ca", "self", "le"] {
        let mut world = issued_by(issuer).await;
        let at = after(5 * DAY);
        annotate(&mut world, annotation::RENEW_AT, &at.to_string());
        world.run(60).await;
        let shown = world.get::<Certificate>("web").status.unwrap().renewal_time.unwrap().0;
        assert_eq!(shown, at, "the renewal time shows it");
        world.take_writes();
        world.run(4 * DAY).await;
        assert_eq!((revision(&world, "web"), world.take_writes()), (1, counted(&[])));
        world.run(DAY).await;
        assert_eq!(revision(&world, "web"), 2, "{issuer}");
        world.take_writes();
        world.kill();
        world.run(10 * DAY).await;
        assert_eq!((revision(&world, "web"), world.take_writes()), (2, counted(&[])), "{issuer}: once");
    }
}

#[tokio::test(start_paused = true)]
async fn an_issuance_that_another_client_asks_for() {
    for issuer in ["ca", "self", "le"] {
        for latency in [0, 800] {
            let mut world = issued_by(issuer).await;
            world.latency = SignedDuration::from_millis(latency);
            world.take_writes();
            trigger(&mut world);
            world.run(60).await;
            assert_eq!((revision(&world, "web"), world.condition("web", "Issuing")), (2, None), "{issuer}");
            let writes = world.take_writes();
            println!("{issuer}: asked for by hand: {writes:?}");
            assert_eq!(writes["create CertificateRequest"], 1);
            assert_eq!((world.litter(), world.storms), (vec![], 0));
            world.run(DAY).await;
            assert_eq!(world.take_writes(), counted(&[]));
        }
    }
}

/// What `cmctl renew` does.
pub fn trigger(world: &mut World) {
    let now = jiff::Timestamp::from_second(world.now().as_second()).unwrap();
    world.edit::<Certificate>("web", |held| {
        let status = held.status.get_or_insert_default();
        status.conditions.retain(|other| other.type_ != condition::ISSUING);
        status.conditions.push(object_of(json!({
            "type": condition::ISSUING, "status": "True", "reason": reason::MANUALLY_TRIGGERED,
            "message": "Certificate re-issuance manually triggered", "lastTransitionTime": now.to_string(),
        })));
    });
}
