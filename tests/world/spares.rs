//! Certificates with spare issuers.

use certwright::api::{Certificate, Issuer, names::annotation};
use kube::ResourceExt;

use crate::{
    DAY, counted,
    issuers::{certificate_of, world_of_issuers},
    local::{revision, run_until_renewal},
    world::World,
};

const MINUTE: i64 = 60;

async fn world_with_spare(first: &str, spares: &str) -> World {
    let mut world = world_of_issuers().await;
    let mut certificate = certificate_of("web", first);
    certificate.annotations_mut().insert(annotation::FALLBACK_ISSUERS.into(), spares.into());
    world.create(&certificate);
    world
}

fn issuer_of_secret(world: &World) -> String {
    let secret = world.get::<k8s_openapi::api::core::v1::Secret>("web-tls");
    secret.annotations()[annotation::ISSUER_NAME].clone()
}

#[tokio::test(start_paused = true)]
async fn a_spare_signs_while_the_first_is_away_and_the_first_signs_the_next() {
    let mut world = world_with_spare("le", "Issuer/nobody, Issuer/ca").await;
    world.ca.is_down = true;
    world.run(9 * MINUTE).await;
    assert!(!world.is_ready("web"), "the first gets its time");
    world.run(2 * MINUTE).await;
    assert!(world.is_ready("web"), "{:?}", world.get::<Certificate>("web").status);
    assert_eq!((issuer_of_secret(&world), revision(&world, "web")), ("ca".to_owned(), 1));
    let told = world.condition("web", "Ready").unwrap();
    assert!(told.contains("it is of the spare issuer Issuer/ca; the next one is asked of Issuer/le again"), "{told}");
    let told =
        world.events.iter().filter(|event| event.starts_with("web: FallbackIssuer Issuer/le does not sign (")).count();
    assert_eq!(told, 1, "{:#?}", world.events);
    assert_eq!((world.litter(), &world.chronicle.offences), (vec![], &vec![]));

    world.ca.is_down = false;
    world.take_writes();
    run_until_renewal(&mut world, "web").await;
    assert_eq!(world.take_writes(), counted(&[]), "what is of a spare is as good");
    world.run(5 * MINUTE).await;
    assert_eq!((issuer_of_secret(&world), revision(&world, "web")), ("le".to_owned(), 2));
    assert!(!world.condition("web", "Ready").unwrap().contains("spare"));
    assert_eq!((world.litter(), &world.chronicle.offences), (vec![], &vec![]));
}

#[tokio::test(start_paused = true)]
async fn with_a_certificate_to_live_on_the_first_is_waited_for_longer() {
    let mut world = world_with_spare("le", "Issuer/ca").await;
    world.run(2 * MINUTE).await;
    assert_eq!(issuer_of_secret(&world), "le");
    run_until_renewal(&mut world, "web").await;
    world.ca.is_down = true;
    world.run(50 * MINUTE).await;
    assert_eq!((issuer_of_secret(&world), revision(&world, "web")), ("le".to_owned(), 1));
    world.run(15 * MINUTE).await;
    assert_eq!((issuer_of_secret(&world), revision(&world, "web")), ("ca".to_owned(), 2));
    assert_eq!((world.litter(), &world.chronicle.offences), (vec![], &vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_crash_does_not_forget_who_is_asked() {
    for seconds in [601, 602, 603, 605] {
        let mut world = world_with_spare("le", "Issuer/away, Issuer/ca").await;
        world.create::<Issuer>(&crate::issuers::issuer("away", &serde_json::json!({"ca": {"secretName": "none"}})));
        world.ca.is_down = true;
        world.latency = jiff::SignedDuration::from_millis(300);
        world.run(seconds).await;
        world.kill();
        world.run(2 * MINUTE).await;
        assert_eq!(issuer_of_secret(&world), "ca", "killed after {seconds} s");
        assert_eq!((world.litter(), &world.chronicle.offences), (vec![], &vec![]));
    }
}

#[tokio::test(start_paused = true)]
async fn without_any_that_signs_they_are_asked_in_turn_and_in_peace() {
    let mut world = world_with_spare("le", "Example.example.com/silent").await;
    world.ca.is_down = true;
    world.run(DAY).await;
    let writes: u32 = world.take_writes().values().sum();
    assert!(writes < 250, "{writes}");
    assert!(world.condition("web", "Issuing").unwrap().starts_with("True "));
    world.ca.is_down = false;
    world.run(DAY / 2).await;
    assert!(world.is_ready("web"), "{:?}", world.get::<Certificate>("web").status);
    assert_eq!((world.litter(), world.storms), (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn a_spare_that_comes_late_is_found() {
    let mut world = world_with_spare("le", "Issuer/late").await;
    world.ca.is_down = true;
    world.run(2 * 60 * MINUTE).await;
    assert!(!world.is_ready("web"));
    let spec = serde_json::json!({"ca": {"secretName": crate::issuers::CA_SECRET}});
    world.create::<Issuer>(&crate::issuers::issuer("late", &spec));
    world.run(6 * MINUTE).await;
    assert!(world.is_ready("web"), "{:?}", world.get::<Certificate>("web").status);
    assert_eq!((issuer_of_secret(&world), world.litter(), &world.chronicle.offences), ("late".into(), vec![], &vec![]));
}
