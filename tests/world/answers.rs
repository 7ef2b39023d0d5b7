//! Answers that are none: wrong certificates, denials, and requests that cannot be fulfilled.

use certwright::api::{Certificate, CertificateRequest};
use jiff::SignedDuration;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::{
    DAY, HOUR,
    authority::refusal,
    counted,
    issuers::{CA_SECRET, answer, answer_as_external_issuer, ca_secret, certificate_of, issued_by, world_of_issuers},
    local::{leaf, revision, run_until_renewal},
    pace::trigger,
    world::{World, after},
};

/// A world in which an external issuer looks at its requests every second.
async fn run_with_external_issuer(world: &mut World, seconds: i64, wrongly: bool) {
    for _ in 0..seconds {
        answer_as_external_issuer(world, wrongly);
        world.run(1).await;
    }
}

async fn issued_by_external_issuer() -> World {
    let mut world = world_of_issuers().await;
    world.create(&certificate_of("web", "external"));
    run_with_external_issuer(&mut world, 5, false).await;
    assert!(world.is_ready("web"), "{:?}", world.get::<Certificate>("web").status);
    world
}

fn condition(type_: &str, status: &str, reason: &str) -> Value {
    json!({"type": type_, "status": status, "reason": reason, "message": "so it is", "lastTransitionTime":
        "2026-03-01T12:01:00Z"})
}

fn attempts(world: &World) -> Option<i64> {
    world.get::<Certificate>("web").status.unwrap().failed_issuance_attempts
}

/// The request of the issuance under way.
fn open_request(world: &World) -> Option<String> {
    let next = format!("web-{}", revision(world, "web") + 1);
    world.find::<CertificateRequest>(&next).map(|request| request.name_any())
}

#[tokio::test(start_paused = true)]
async fn an_external_issuer_is_served_and_a_renewal_takes_few_writes() {
    let mut world = issued_by_external_issuer().await;
    println!("external: first issuance: {:?}, events {:#?}", world.take_writes(), world.events);
    run_until_renewal(&mut world, "web").await;
    assert_eq!(world.take_writes(), counted(&[]));
    world.events.clear();
    run_with_external_issuer(&mut world, 120, false).await;
    assert_eq!(revision(&world, "web"), 2);
    println!("external: renewal: {:?}, events {:#?}", world.take_writes(), world.events);
}

/// Nobody runs the controller of the issuer's group, or nobody approves.
#[tokio::test(start_paused = true)]
async fn silence_is_told_once_and_ends_with_the_answer() {
    for (approves, told) in [(true, "nobody has answered"), (false, "nobody has approved")] {
        let mut world = world_of_issuers().await;
        world.approves = approves;
        world.create(&certificate_of("web", "external"));
        world.run(270).await;
        let issuing = world.condition("web", "Issuing").unwrap();
        assert_eq!(issuing, "True DoesNotExist: Issuing certificate as Secret does not exist");
        world.take_writes();
        world.events.clear();
        world.run(60).await;
        let issuing = world.condition("web", "Issuing").unwrap();
        assert!(issuing.contains(&format!("held up: {told} the CertificateRequest \"web-1\" since ")), "{issuing}");
        assert_eq!(world.take_writes(), counted(&[("status Certificate", 1)]));
        assert_eq!(world.events.len(), 1, "{:?}", world.events);
        world.run(DAY).await;
        assert_eq!((world.take_writes(), world.events.len()), (counted(&[]), 1), "quiet from then on");
        run_with_external_issuer(&mut world, 5, false).await;
        assert!(world.is_ready("web"), "{:?}", world.get::<Certificate>("web").status);
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_for_another_key_is_refused_with_growing_waits() {
    let mut world = issued_by_external_issuer().await;
    let before: Secret = world.get("web-tls");
    trigger(&mut world);
    run_with_external_issuer(&mut world, 60, true).await;
    let issuing = world.condition("web", "Issuing").unwrap();
    assert!(issuing.starts_with("False InvalidCertificate: "), "{issuing}");
    assert!(issuing.contains("for another key"), "{issuing}");
    assert_eq!(attempts(&world), Some(1));
    // The first certificate is as good as ever.
    assert!(world.is_ready("web"));
    assert_eq!(world.get::<Secret>("web-tls"), before);
    assert_eq!(world.litter(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn waits_double_while_the_answer_stays_wrong() {
    let mut world = issued_by_external_issuer().await;
    let before: Secret = world.get("web-tls");
    world.edit::<Certificate>("web", |held| held.spec.dns_names = vec!["new.example.com".into()]);
    run_with_external_issuer(&mut world, 60, true).await;
    assert_eq!(attempts(&world), Some(1));
    for (attempt, hours) in [(2, 1), (3, 2), (4, 4)] {
        world.take_writes();
        run_until_next_attempt(&mut world, hours).await;
        assert_eq!(world.take_writes(), counted(&[]), "quiet until then");
        run_with_external_issuer(&mut world, 120, true).await;
        assert_eq!(attempts(&world), Some(attempt));
        assert_eq!(world.get::<Secret>("web-tls"), before);
    }
    run_until_next_attempt(&mut world, 8).await;
    run_with_external_issuer(&mut world, 120, false).await;
    assert!(world.is_ready("web"), "{:?}", world.get::<Certificate>("web").status);
    assert_eq!((attempts(&world), world.condition("web", "Issuing"), world.litter()), (None, None, vec![]));
    assert_eq!(leaf(&world, "web-tls").names.dns_names, ["new.example.com"]);
}

/// Runs until shortly before so many hours after the last failure.
async fn run_until_next_attempt(world: &mut World, hours: i64) {
    let failed = world.get::<Certificate>("web").status.unwrap().last_failure_time.unwrap().0;
    let wait = hours * HOUR - 60 - world.now().duration_since(failed).as_secs();
    world.run(wait).await;
}

#[tokio::test(start_paused = true)]
async fn a_denied_request_fails_the_issuance() {
    for issuer in ["external", "ca", "le"] {
        let mut world = world_of_issuers().await;
        world.approves = false;
        world.create(&certificate_of("web", issuer));
        world.run(360).await;
        assert_eq!(world.count::<CertificateRequest>(), 1);
        world.take_writes();
        world.run(DAY).await;
        assert_eq!(world.take_writes(), counted(&[]), "{issuer}: it has said what it waits for");
        answer(&mut world, "web-1", condition("Denied", "True", "NoNoNo"), None);
        world.run(60).await;
        let issuing = world.condition("web", "Issuing").unwrap();
        assert!(issuing.starts_with("False "), "{issuer}: {issuing}");
        println!("{issuer}, denied: {issuing}");
        assert_eq!((attempts(&world), world.litter()), (Some(1), vec![]));
        let request: CertificateRequest = world.get("web-1");
        println!("{:?}", request.status.unwrap().conditions);
        world.approves = true;
        world.run(HOUR + 60).await;
        if issuer != "external" {
            assert!(world.is_ready("web"), "{issuer}: {:?}", world.get::<Certificate>("web").status);
        }
        assert_eq!(world.storms, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalid_request_fails_the_issuance() {
    let mut world = world_of_issuers().await;
    world.create(&certificate_of("web", "external"));
    world.run(10).await;
    answer(&mut world, "web-1", condition("InvalidRequest", "True", "NotLikeThis"), None);
    world.run(60).await;
    let issuing = world.condition("web", "Issuing").unwrap();
    assert!(issuing.starts_with("False NotLikeThis: ") && issuing.contains("so it is"), "{issuing}");
    world.take_writes();
    world.run(HOUR - 120).await;
    assert_eq!(world.take_writes(), counted(&[]));
    run_with_external_issuer(&mut world, 200, false).await;
    assert!(world.is_ready("web"), "{:?}", world.get::<Certificate>("web").status);
}

#[tokio::test(start_paused = true)]
async fn a_failed_issuance_is_tried_at_once_when_the_spec_changes() {
    let mut world = world_of_issuers().await;
    world.ca.failures.insert("new-order", (1, refusal("rejectedIdentifier: not this one")));
    world.create(&certificate_of("web", "le"));
    world.run(60).await;
    assert_eq!(attempts(&world), Some(1));
    world.edit::<Certificate>("web", |held| held.spec.dns_names = vec!["better.example.com".into()]);
    world.run(60).await;
    assert!(world.is_ready("web"), "{:?}", world.get::<Certificate>("web").status);
    assert_eq!((attempts(&world), world.litter()), (None, vec![]));

    let mut world = world_of_issuers().await;
    world.create(&certificate_of("web", "external"));
    world.run(10).await;
    answer(&mut world, "web-1", condition("Ready", "False", "Failed"), None);
    world.run(60).await;
    assert_eq!(attempts(&world), Some(1));
    world.edit::<Certificate>("web", |held| held.spec.dns_names = vec!["better.example.com".into()]);
    run_with_external_issuer(&mut world, 10, false).await;
    assert!(world.is_ready("web"), "{:?}", world.get::<Certificate>("web").status);
    assert_eq!(open_request(&world), None);
}

/// A CA's Secret with a `ca.crt` that has nothing to do with it: signing fails for good.
fn put_stranger_beside_ca(world: &mut World) {
    let stranger = ca_secret(after(300 * DAY)).data.unwrap()["tls.crt"].clone();
    world.edit::<Secret>(CA_SECRET, |held| {
        held.data.get_or_insert_default().insert("ca.crt".into(), stranger);
    });
}

async fn signing_that_failed_is_repeated(policy: &str) {
    let mut world = issued_by("ca").await;
    world.edit::<Certificate>("web", |held| {
        held.spec.private_key.as_mut().unwrap().rotation_policy = Some(policy.to_owned());
    });
    put_stranger_beside_ca(&mut world);
    world.run(60).await;
    let before: Secret = world.get("web-tls");
    world.edit::<Certificate>("web", |held| held.spec.dns_names = vec!["new.example.com".into()]);
    world.run(30).await;
    assert_eq!((attempts(&world), world.get::<Secret>("web-tls")), (Some(1), before));
    world.edit::<Secret>(CA_SECRET, |held| {
        held.data.as_mut().unwrap().remove("ca.crt");
    });
    world.run(60).await;
    assert!(world.is_ready("web"), "{:?}", world.get::<Certificate>("web").status);
    assert_eq!((attempts(&world), world.litter(), world.storms), (None, vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn a_signing_that_failed_is_repeated_once_its_cause_is_gone() {
    signing_that_failed_is_repeated("Always").await;
}

#[tokio::test(start_paused = true)]
async fn a_signing_for_a_kept_key_that_failed_is_repeated_once_its_cause_is_gone() {
    signing_that_failed_is_repeated("Never").await;
}

/// The API server takes no Secret for so long right after the signing.
async fn requests_while_secrets_are_refused(issuer: &str, seconds: i64) -> u32 {
    let mut world = world_of_issuers().await;
    world.latency = SignedDuration::from_millis(50);
    world.create(&certificate_of("web", issuer));
    world.refuses_secrets_until = Some(world.now() + SignedDuration::from_secs(seconds));
    world.run(600).await;
    assert!(world.is_ready("web"), "{issuer}: {:?}", world.get::<Certificate>("web").status);
    assert_eq!((revision(&world, "web"), world.litter()), (1, vec![]));
    world.take_writes()["create CertificateRequest"]
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_was_signed_but_not_stored_is_stored_and_not_signed_again() {
    for (issuer, seconds) in [("ca", 5), ("self", 5), ("le", 5), ("le", 30), ("le", 100)] {
        assert_eq!(requests_while_secrets_are_refused(issuer, seconds).await, 1, "{issuer}, {seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_prompt_issuance_that_takes_longer_is_not_signed_again() {
    for (issuer, seconds) in [("ca", 30), ("ca", 100), ("self", 30), ("self", 100)] {
        assert_eq!(requests_while_secrets_are_refused(issuer, seconds).await, 1, "{issuer}, {seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_in_use_is_never_half_replaced() {
    let mut world = issued_by("ca").await;
    world.edit::<Secret>("web-tls", |held| {
        held.data.get_or_insert_default().insert("tls.key".into(), ByteString(b"damaged".to_vec()));
    });
    world.run(60).await;
    assert!(world.is_ready("web"));
    assert_eq!(revision(&world, "web"), 2);
}
