//! The whole controller but for its outer skin, in a model of its world: the deciders with the real stores and the real
//! queue, an API server, a CA and a DNS that are maps, and virtual time. Writes are counted; anything may get lost, lag
//! behind or crash.

#![allow(clippy::unwrap_used)]

mod acts;
mod answers;
mod apply;
mod authority;
mod chronicle;
mod clocks;
mod cluster;
mod faults;
mod held_key;
mod histories;
mod interruptions;
mod issuers;
mod limits;
mod local;
mod over_tls;
mod pace;
mod process;
mod revocation;
mod schedule;
mod server;
mod spares;
mod suggestions;
mod upkeep;
mod world;

use std::collections::BTreeMap;

use certwright::{
    api::{Certificate, CertificateRequest, Challenge, Issuer, Order},
    cluster::ObjectName,
};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt;

use authority::{CaError, overload, refusal};
use faults::{Fate, Faults};
use world::{NAMESPACE, World, after, certificate, issuer, only, order_told};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// A world with a ready issuer, in which a Certificate for these names is about to be created.
async fn world() -> World {
    let mut world = World::new();
    world.run(60).await;
    assert_eq!(world.take_writes(), counted(&[("create Secret", 1), ("status Issuer", 1)]));
    world
}

async fn issued(names: &[&str]) -> World {
    let mut world = world().await;
    world.create(&certificate("web", names));
    world.run(60).await;
    assert_issued(&world);
    world
}

/// Ready at the first attempt, with one order, and nothing left behind.
fn assert_issued(world: &World) {
    assert!(world.is_ready("web"), "{:?}", world.get::<Certificate>("web").status);
    let status = world.get::<Certificate>("web").status.unwrap();
    assert_eq!((status.revision, status.failed_issuance_attempts), (Some(1), None));
    assert_eq!(world.condition("web", "Issuing"), None);
    assert_eq!(world.litter(), [""; 0]);
    assert_eq!(world.ca.orders.len(), world.count::<Order>(), "orders at the CA");
    assert_eq!((world.count::<Order>(), world.count::<CertificateRequest>()), (1, 1));
    assert_eq!(world.storms, 0, "passes that found no rest");
}

fn counted(list: &[(&str, u32)]) -> BTreeMap<String, u32> {
    list.iter().map(|(what, count)| ((*what).to_owned(), *count)).collect()
}

fn total(writes: &BTreeMap<String, u32>) -> u32 {
    writes.values().sum()
}

#[tokio::test(start_paused = true)]
async fn an_issuance_over_dns_takes_few_writes() {
    let mut world = issued(&["www.example.com"]).await;
    let writes = world.take_writes();
    assert!(total(&writes) <= 16, "{writes:?}");
    assert_eq!(
        writes,
        counted(&[
            ("apply Secret", 1),
            ("create CertificateRequest", 1),
            ("create Challenge", 1),
            ("create Order", 1),
            ("create Secret", 1),
            ("delete Challenge", 1),
            ("delete Secret", 1),
            ("finalizers Challenge", 1),
            ("status Certificate", 2),
            ("status CertificateRequest", 2),
            ("status Challenge", 2),
            ("status Order", 2),
        ])
    );
    let secret: Secret = world.get("web-tls");
    assert_eq!(secret.data.unwrap().keys().collect::<Vec<_>>(), ["tls.crt", "tls.key"]);
}

#[tokio::test(start_paused = true)]
async fn an_issuance_over_http_takes_few_writes_besides_the_solver() {
    let mut world = issued(&["www.http.example.com"]).await;
    let mut writes = world.take_writes();
    let solver = ["Pod", "Service", "Ingress"]
        .map(|kind| (writes.remove(&format!("create {kind}")), writes.remove(&format!("delete {kind}"))));
    assert_eq!(solver, [(Some(1), Some(1)); 3]);
    assert!(total(&writes) <= 16, "{writes:?}");
}

#[tokio::test(start_paused = true)]
async fn several_names_and_a_wildcard_in_one_go() {
    let world = issued(&["example.com", "*.example.com", "www.example.com", "a.http.example.com"]).await;
    assert_eq!(world.ca.orders[0].authorizations.len(), 4);
    assert_eq!(world.ca.calls["accept"], 4);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_time_is_quiet_until_the_renewal() {
    let mut world = issued(&["www.example.com"]).await;
    world.take_writes();
    let (calls, events) = (world.ca.all_calls(), world.events.len());
    let renewal = world.get::<Certificate>("web").status.unwrap().renewal_time.unwrap().0;
    let now = world.now();
    world.run(renewal.duration_since(now).as_secs() - 60).await;
    assert_eq!(world.take_writes(), counted(&[]));
    assert_eq!((world.ca.all_calls(), world.events.len()), (calls, events));
    world.kill();
    world.run(30).await;
    assert_eq!(world.take_writes(), counted(&[]), "a new process has nothing to say either");

    world.run(120).await;
    let certificate: Certificate = world.get("web");
    let status = certificate.status.unwrap();
    assert_eq!(status.revision, Some(2));
    let issued = world.ca.orders[1].certificate.clone().unwrap();
    assert_eq!(world.get::<Secret>("web-tls").data.unwrap()["tls.crt"].0, issued.into_bytes());
    assert!(status.not_before.unwrap().0 >= renewal - SignedDuration::from_secs(3600));
    assert_eq!(world.litter(), [""; 0]);
    assert_eq!(world.count::<CertificateRequest>(), 1, "the former request and its order are forgotten");
    assert!(total(&world.take_writes()) <= 17, "one more than the first: a request is forgotten");
}

/// The effects of one issuance, from the Certificate on.
async fn effects_of_an_issuance(names: &[&str]) -> usize {
    let mut world = world().await;
    world.faults = Faults::default();
    world.create(&certificate("web", names));
    world.run(60).await;
    assert_issued(&world);
    world.faults.effects
}

#[tokio::test(start_paused = true)]
async fn whatever_befalls_one_effect_the_certificate_comes_and_nothing_is_left_behind() {
    for names in [&["example.com", "*.example.com"][..], &["www.http.example.com"]] {
        let effects = effects_of_an_issuance(names).await;
        assert!(effects > 20, "{effects}");
        for number in 1..=effects {
            for fate in [Fate::CrashBefore, Fate::CrashAfter, Fate::Lost, Fate::AnswerLost, Fate::Overtaken] {
                let mut world = world().await;
                // Every other time the watch is late too.
                world.server.lag = if number % 2 == 0 { 4 } else { 0 };
                world.faults.planned = Some((world.faults.effects + number, fate));
                world.create(&certificate("web", names));
                world.run(1800).await;
                println!("{names:?}, effect {number} of {effects}: {fate:?}");
                assert_issued(&world);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn random_histories_of_lost_writes_lags_and_crashes_end_well() {
    for seed in 0..60 {
        let mut world = world().await;
        world.faults = Faults::random(seed, 12);
        world.server.lag = i64::try_from(world.faults.roll(6)).unwrap();
        world.ca.work = SignedDuration::from_secs(i64::try_from(world.faults.roll(9)).unwrap());
        world.propagation = SignedDuration::from_secs(i64::try_from(world.faults.roll(30)).unwrap());
        world.create(&certificate("web", &["example.com", "*.example.com", "www.http.example.com"]));
        for _ in 0..5 {
            let at = 60 + i64::try_from(world.faults.roll(120)).unwrap();
            world.at(at, |world| world.server.touch_everything());
        }
        world.run(2 * HOUR).await;
        println!("seed {seed}: {} crashes", world.crashes);
        assert_issued(&world);
        let before = world.take_writes();
        world.run(10 * DAY).await;
        assert_eq!(world.take_writes(), counted(&[]), "quiet after {before:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn random_histories_of_somebody_who_deletes_things_end_well() {
    for seed in 0..25 {
        let mut world = world().await;
        world.faults = Faults::random(seed, 6);
        world.create(&certificate("web", &["example.com", "www.http.example.com"]));
        for _ in 0..3 {
            let (at, what) = (60 + i64::try_from(world.faults.roll(12)).unwrap(), world.faults.roll(5));
            world.at(at, move |world| match what {
                0 => delete_all::<CertificateRequest>(world),
                1 => delete_all::<Order>(world),
                2 => delete_all::<Challenge>(world),
                3 => delete_all::<Pod>(world),
                _ => delete_all::<Secret>(world),
            });
        }
        world.run(DAY).await;
        println!("seed {seed}: {} crashes, {} orders", world.crashes, world.ca.orders.len());
        assert!(world.is_ready("web"), "{:?}", world.get::<Certificate>("web").status);
        assert_eq!(world.litter(), [""; 0]);
        assert!(world.ca.orders.len() <= 7, "an order for each deletion at most");
        world.take_writes();
        world.run(10 * DAY).await;
        assert_eq!(world.take_writes(), counted(&[]));
    }
}

fn delete_all<K: certwright::cluster::Watched>(world: &mut World) {
    for object in world.server.list::<K>() {
        // The account key is another story.
        if object.name_any() != "account" {
            world.server.delete(&object).unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_order_fails_the_issuance_and_is_tried_again_after_an_hour_then_two() {
    let mut world = world().await;
    world.ca.failures.insert("new-order", (2, refusal("rejectedIdentifier: not this one")));
    world.create(&certificate("web", &["www.example.com"]));
    world.run(60).await;
    let why = "Failed to create Order: rejectedIdentifier: not this one";
    assert_eq!(order_told(&world), ("errored".to_owned(), why.to_owned()));
    let issuing = world.condition("web", "Issuing").unwrap();
    assert!(issuing.starts_with("False Failed: ") && issuing.contains(why), "{issuing}");
    assert!(issuing.contains("next attempt at 2026-03-01T13:01:00Z"), "{issuing}");
    assert!(world.condition("web", "Ready").unwrap().contains(why));
    assert_eq!((world.ca.calls["new-order"], world.litter().len()), (1, 0));

    world.take_writes();
    world.run(HOUR - 120).await;
    assert_eq!(world.take_writes(), counted(&[]), "quiet until then");
    world.run(120).await;
    assert_eq!(world.ca.calls["new-order"], 2);
    world.run(2 * HOUR - 120).await;
    assert_eq!(world.ca.calls["new-order"], 2);
    world.run(180).await;
    assert_issued(&world);
}

#[tokio::test(start_paused = true)]
async fn what_a_broken_ca_does_not_take_is_tried_ever_less_often() {
    for operation in ["accept", "finalize"] {
        let mut world = world().await;
        let message = "serverInternal: out of order".to_owned();
        let broken = CaError { message, is_final: false, is_silence: false, retry_after: None };
        world.ca.failures.insert(operation, (u32::MAX, broken));
        world.create(&certificate("web", &["www.example.com"]));
        world.run(HOUR).await;
        let tries = world.ca.calls[operation];
        assert!((10..=20).contains(&tries), "{operation}: {tries} tries within an hour");
        world.ca.failures.clear();
        world.run(600).await;
        assert_issued(&world);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_is_waited_for_as_long_as_the_ca_wishes() {
    let mut world = world().await;
    world.ca.failures.insert("new-order", (1, overload(Some(SignedDuration::from_hours(2)))));
    world.create(&certificate("web", &["www.example.com"]));
    world.run(60).await;
    let (state, why) = order_told(&world);
    let expected =
        "Failed to create Order: rateLimited: too much; all orders of this account wait; next try at 2026-03-01T14:01:";
    assert!(state.is_empty() && why.starts_with(expected), "{why}");
    let request: CertificateRequest = world.get("web-1");
    let told = request.status.unwrap().conditions.pop().unwrap().message.unwrap();
    assert!(told.ends_with(&why), "{told}");
    let issuing = world.condition("web", "Issuing").unwrap();
    assert!(issuing.starts_with("True DoesNotExist: ") && issuing.ends_with(&why), "{issuing}");

    world.take_writes();
    world.run(2 * HOUR - 120).await;
    assert_eq!((world.take_writes(), world.ca.calls["new-order"]), (counted(&[]), 1));
    world.run(120).await;
    assert_issued(&world);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_ca_is_waited_out_without_a_storm() {
    let mut world = world().await;
    world.at(61, |world| world.ca.is_down = true);
    world.create(&certificate("web", &["www.example.com"]));
    world.run(60).await;
    let calls = world.ca.all_calls();
    world.run(6 * HOUR).await;
    assert!(!world.is_ready("web"));
    let issuing = world.condition("web", "Issuing").unwrap();
    assert!(issuing.ends_with("cannot reach the CA; next try after 5 min"), "{issuing}");
    assert!(world.ca.all_calls() - calls <= 12 * 6 + 10, "{} calls", world.ca.all_calls() - calls);
    world.ca.is_down = false;
    world.run(6 * 60).await;
    assert_issued(&world);
}

#[tokio::test(start_paused = true)]
async fn a_challenge_that_the_ca_finds_wanting_fails_the_order_and_is_cleaned_up() {
    let mut world = world().await;
    // The check passes, but the record is gone when the CA looks.
    world.propagation = SignedDuration::ZERO;
    world.at(61, |world| {
        world.records.clear();
        world.propagation = SignedDuration::from_secs(1000);
    });
    world.create(&certificate("web", &["example.com", "*.example.com"]));
    world.run(120).await;
    let (state, reason) = order_told(&world);
    assert_eq!(state, "invalid");
    assert!(reason.contains("challenge for ") && reason.ends_with("unauthorized: nothing was found"), "{reason}");
    assert!(world.condition("web", "Issuing").unwrap().contains(&reason));
    assert!(world.condition("web", "Ready").unwrap().contains(&reason));
    assert!(world.records.is_empty());
    for challenge in world.server.list::<Challenge>() {
        let status = challenge.status.clone().unwrap();
        assert_eq!((status.state.as_deref(), status.presented, status.processing), (Some("invalid"), false, false));
        assert!(challenge.finalizers().is_empty(), "nothing holds it");
    }
    world.propagation = SignedDuration::from_secs(1);
    world.run(HOUR + 60).await;
    assert!(world.is_ready("web"));
    assert_eq!(world.litter(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_for_another_key_is_never_stored() {
    let mut world = world().await;
    world.ca.signs_another_key = true;
    world.create(&certificate("web", &["www.example.com"]));
    world.run(600).await;
    assert!(world.find::<Secret>("web-tls").is_none());
    assert_eq!(world.ca.orders.len(), 1, "one attempt, then a wait");
    let issuing = world.condition("web", "Issuing").unwrap();
    assert!(issuing.contains("The CA returned a certificate for another key"), "{issuing}");
    world.ca.signs_another_key = false;
    world.run(HOUR).await;
    assert!(world.is_ready("web"));
}

#[tokio::test(start_paused = true)]
async fn an_order_that_is_valid_without_a_certificate_is_given_up() {
    let mut world = world().await;
    world.ca.withholds = true;
    world.create(&certificate("web", &["www.example.com"]));
    world.run(20 * 60).await;
    assert_eq!(order_told(&world).0, "pending", "another moment may bring it");
    world.run(20 * 60).await;
    let issuing = world.condition("web", "Issuing").unwrap();
    assert!(issuing.starts_with("False Failed: ") && issuing.contains("Failed to download"), "{issuing}");
    world.ca.withholds = false;
    world.run(2 * HOUR).await;
    assert!(world.is_ready("web"));
    assert_eq!((world.ca.orders.len(), world.litter()), (2, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_failure_during_the_issuance_of_each_kind_is_told() {
    for (operation, doing) in [
        ("finalize", "Failed to finalize Order"),
        ("order", "Failed to retrieve Order resource"),
        ("accept", "Error accepting challenge"),
        ("authorization", "Failed to fetch authorizations"),
    ] {
        let mut world = world().await;
        world.ca.failures.insert(operation, (9, refusal("malformed: no")));
        world.create(&certificate("web", &["www.example.com"]));
        world.run(120).await;
        let issuing = world.condition("web", "Issuing").unwrap();
        assert!(issuing.starts_with("False Failed: "), "{operation}: {issuing}");
        assert!(issuing.contains(&format!("{doing}: malformed: no")), "{operation}: {issuing}");
        assert!(world.records.is_empty(), "{operation}");
        world.ca.failures.clear();
        world.run(HOUR).await;
        assert!(world.is_ready("web"), "{operation}");
        assert_eq!(world.litter(), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn names_that_no_solver_covers_cost_no_order() {
    let mut world = world().await;
    world.edit::<Issuer>("le", |issuer| issuer.spec.acme.as_mut().unwrap().solvers.remove(0).dns01 = None);
    world.create(&certificate("web", &["www.example.com"]));
    world.run(60).await;
    assert_eq!((world.ca.orders.len(), world.count::<Order>()), (0, 0));
    let issuing = world.condition("web", "Issuing").unwrap();
    assert!(issuing.contains("Nothing was ordered: no solver for \"www.example.com\""), "{issuing}");
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_comes_later() {
    let mut world = World::empty();
    world.create(&certificate("web", &["www.example.com"]));
    world.run(HOUR).await;
    let issuing = world.condition("web", "Issuing").unwrap();
    assert!(
        issuing.ends_with(
            "; held up: Referenced Issuer \"le\" not found in namespace \"shop\"; create it or correct spec.issuerRef"
        ),
        "{issuing}"
    );
    world.take_writes();
    world.run(DAY).await;
    assert_eq!(world.take_writes(), counted(&[]));
    world.create::<Issuer>(&issuer());
    world.run(60).await;
    assert_issued(&world);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_the_ca_refuses_recovers_by_itself() {
    let mut world = World::new();
    world.ca.failures.insert("register", (u32::MAX, refusal("externalAccountRequired: who are you")));
    world.create(&certificate("web", &["www.example.com"]));
    world.run(60).await;
    assert_eq!(world.ca.calls["register"], 2, "it is not pressed");
    assert!(world.condition("web", "Issuing").unwrap().contains("externalAccountRequired: who are you"));
    world.run(DAY).await;
    let calls = world.ca.calls["register"];
    assert!((20..200).contains(&calls), "neither forgotten nor pressed: {calls} tries in a day");
    world.ca.failures.clear();
    world.run(HOUR).await;
    assert_issued(&world);
}

#[tokio::test(start_paused = true)]
async fn deleted_midway_nothing_is_left_behind() {
    for seconds in 0..8 {
        for also_the_issuer in [false, true] {
            let mut world = world().await;
            world.propagation = SignedDuration::from_secs(3);
            world.create(&certificate("web", &["example.com", "www.http.example.com"]));
            world.run(seconds).await;
            if also_the_issuer {
                world.delete::<Issuer>("le");
            }
            world.delete::<Certificate>("web");
            world.run(60).await;
            assert_eq!(world.litter(), [""; 0], "after {seconds} s");
            assert_eq!((world.count::<Order>(), world.count::<CertificateRequest>()), (0, 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_spec_that_changes_midway_leads_to_the_new_names() {
    for seconds in 0..9 {
        let mut world = world().await;
        world.create(&certificate("web", &["old.example.com"]));
        world.run(seconds).await;
        world.edit::<Certificate>("web", |held| held.spec.dns_names = vec!["new.example.com".into()]);
        world.run(60).await;
        assert!(world.is_ready("web"), "after {seconds} s: {:?}", world.get::<Certificate>("web").status);
        let parsed = certwright::pki::ParsedCertificate::from_pem_chain(
            &world.get::<Secret>("web-tls").data.unwrap()["tls.crt"].0,
        );
        assert_eq!(parsed.unwrap()[0].names.dns_names, ["new.example.com"]);
        assert_eq!(world.litter(), [""; 0]);
        assert!(world.ca.orders.len() <= 2);
    }
}

#[tokio::test(start_paused = true)]
async fn two_certificates_for_one_secret_have_one_owner() {
    let mut world = world().await;
    world.create(&certificate("web", &["www.example.com"]));
    let mut other = certificate("rival", &["rival.example.com"]);
    other.spec.secret_name = "web-tls".into();
    world.run(2).await;
    world.create(&other);
    world.run(DAY).await;
    assert!(world.is_ready("web") && !world.is_ready("rival"));
    assert!(world.condition("rival", "Ready").unwrap().starts_with("False IncorrectCertificate: "));
    assert_eq!(world.ca.orders.len(), 1);
    world.edit::<Certificate>("rival", |held| held.spec.secret_name = "rival-tls".into());
    world.run(60).await;
    assert!(world.is_ready("web") && world.is_ready("rival"));
    assert_eq!(world.ca.orders.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn two_issuances_for_the_same_names_never_share_an_order() {
    let effects = effects_of_an_issuance(&["www.example.com"]).await;
    for number in 1..=2 * effects {
        let mut world = world().await;
        world.faults.planned = Some((world.faults.effects + number, Fate::CrashAfter));
        world.create(&certificate("web", &["www.example.com"]));
        world.create(&certificate("twin", &["www.example.com"]));
        world.run(1800).await;
        assert!(world.is_ready("web") && world.is_ready("twin"), "crash after effect {number}");
        assert_eq!((world.ca.orders.len(), world.litter().len()), (2, 0), "crash after effect {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_owns_is_answered() {
    let mut world = issued(&["www.example.com"]).await;
    let mut request: CertificateRequest = world.get("web-1");
    request.metadata = kube::api::ObjectMeta {
        name: Some("by-hand".into()),
        namespace: Some(NAMESPACE.into()),
        ..kube::api::ObjectMeta::default()
    };
    request.status = None;
    world.create(&request);
    world.run(60).await;
    let status = world.get::<CertificateRequest>("by-hand").status.unwrap();
    assert!(status.certificate.is_some());
    assert_eq!(world.litter(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_challenge_made_by_hand_is_worked_on_and_cleaned_up() {
    let mut world = world().await;
    world.propagation = SignedDuration::from_secs(30);
    world.create(&certificate("web", &["example.com"]));
    world.run(5).await;
    let mut challenge: Challenge = only(&world);
    challenge.metadata = kube::api::ObjectMeta {
        name: Some("by-hand".into()),
        namespace: Some(NAMESPACE.into()),
        ..kube::api::ObjectMeta::default()
    };
    (challenge.spec.dns_name, challenge.spec.key) = ("hand.example.com".into(), "by-hand".into());
    challenge.status = None;
    world.create(&challenge);
    world.run(5).await;
    assert!(world.get::<Challenge>("by-hand").finalizers().len() == 1 && world.records.len() == 2);
    world.delete::<Challenge>("by-hand");
    world.run(5).await;
    assert_eq!(world.find::<Challenge>("by-hand"), None);
    assert_eq!(world.records.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_vanishes_comes_back() {
    let mut world = issued(&["www.example.com"]).await;
    world.delete::<Secret>("web-tls");
    world.run(60).await;
    assert!(world.is_ready("web"));
    assert!(world.server.get::<Secret>(&ObjectName::new(NAMESPACE, "web-tls")).is_some());
    assert_eq!((world.ca.orders.len(), world.litter().len()), (2, 0));
    assert!(world.now() < after(600));
}

#[tokio::test(start_paused = true)]
async fn a_ca_that_lists_no_orders_costs_one_order_more_at_most() {
    let effects = effects_of_an_issuance(&["www.example.com"]).await;
    for number in 1..=effects {
        let mut world = world().await;
        world.ca.lists_orders = false;
        world.faults.planned = Some((world.faults.effects + number, Fate::CrashAfter));
        world.create(&certificate("web", &["www.example.com"]));
        world.run(1800).await;
        assert!(world.is_ready("web") && world.ca.orders.len() <= 2, "crash after effect {number}");
        assert_eq!(world.litter(), [""; 0]);
    }
}
