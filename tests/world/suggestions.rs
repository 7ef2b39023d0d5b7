//! CAs that suggest when to renew (RFC 9773).

use certwright::{
    api::{
        Certificate, Issuer, Order,
        names::{annotation, event},
    },
    pki::certificate_id,
};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::{
    DAY, HOUR,
    authority::{CaError, Suggest, overload, refusal},
    counted,
    faults::{Fate, Faults},
    local::{leaf, revision, run_until_renewal},
    world,
    world::{World, certificate},
};

const NAMES: [&str; 4] = ["web", "api", "mail", "shop"];

/// Two days around two thirds of the lifetime, as public CAs do.
pub fn usual(from: Timestamp, until: Timestamp) -> (Timestamp, Timestamp) {
    let middle = from + until.duration_since(from) / 3 * 2;
    (middle - SignedDuration::from_hours(24), middle + SignedDuration::from_hours(24))
}

/// What was issued in the first hours is to be renewed at once.
fn past(from: Timestamp, until: Timestamp) -> (Timestamp, Timestamp) {
    if from < world::after(4 * HOUR) { (from, from + SignedDuration::from_secs(1)) } else { usual(from, until) }
}

/// Certificates that were just issued by a CA that suggests.
async fn issued(names: &[&str], suggest: Suggest) -> World {
    let mut world = world().await;
    world.ca.renewals = Some(suggest);
    for name in names {
        world.create(&certificate(name, &[&format!("{name}.example.com")]));
    }
    world.run(60).await;
    assert!(names.iter().all(|name| world.is_ready(name)));
    world
}

fn renewal_time(world: &World, name: &str) -> Timestamp {
    world.get::<Certificate>(name).status.unwrap().renewal_time.unwrap().0
}

#[tokio::test(start_paused = true)]
async fn nothing_is_added_to_an_issuance() {
    let mut world = issued(&["web"], usual).await;
    let total: u32 = world.take_writes().values().sum();
    assert!(total <= 16);
    assert!(!world.ca.calls.contains_key("renewal-info"));
}

#[tokio::test(start_paused = true)]
async fn certificates_are_renewed_within_the_time_span_and_at_different_times() {
    let mut world = issued(&NAMES, usual).await;
    world.run(3 * HOUR).await;
    let mut times = Vec::new();
    for name in NAMES {
        let leaf = leaf(&world, &format!("{name}-tls"));
        let ((start, end), at) = (usual(leaf.not_before, leaf.not_after), renewal_time(&world, name));
        assert!(start <= at && at <= end, "{name}: {start} {at} {end}");
        times.push((at, name, certificate_id(&leaf).unwrap()));
    }
    times.sort();
    let spread = times[3].0.duration_since(times[0].0);
    assert!(spread > SignedDuration::from_hours(1), "{times:?}");
    for (at, name, id) in times {
        let wait = at.duration_since(world.now()).as_secs();
        world.run(wait - 60).await;
        assert_eq!((revision(&world, name), renewal_time(&world, name)), (1, at), "{name} never moved");
        world.run(120).await;
        assert_eq!(revision(&world, name), 2, "{name}");
        let order = world.ca.orders.last().unwrap();
        assert_eq!(order.replaces.as_ref(), Some(&id), "{name}");
    }
    assert_eq!((world.ca.orders.len(), world.storms, world.litter()), (2 * NAMES.len(), 0, vec![]));
    assert!(!world.events.iter().any(|event| event.contains("the CA suggests")), "nothing unusual");
}

#[tokio::test(start_paused = true)]
async fn a_quiet_day_takes_one_write_for_each_question() {
    let mut world = issued(&["web"], usual).await;
    world.run(3 * HOUR).await;
    for killed in [false, true] {
        let calls = world.ca.calls["renewal-info"];
        let (at, events) = (renewal_time(&world, "web"), world.events.len());
        world.take_writes();
        world.run(10 * DAY).await;
        let asked = world.ca.calls["renewal-info"] - calls;
        println!("questions in ten days: {asked}, killed: {killed}");
        assert!((36..=45).contains(&asked), "every six hours: {asked} in ten days");
        assert_eq!(world.take_writes(), counted(&[("status Certificate", asked)]));
        assert_eq!((renewal_time(&world, "web"), world.events.len()), (at, events));
        world.kill();
        world.run(HOUR).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_span_in_the_past_is_obeyed_at_the_next_question() {
    let mut world = issued(&NAMES, usual).await;
    world.run(10 * DAY).await;
    world.ca.renewals = Some(past);
    world.run(7 * HOUR).await;
    for name in NAMES {
        assert_eq!(revision(&world, name), 2, "{name}");
        let told = format!("{name}: Issuing Renewing certificate as the CA suggests a renewal between ");
        assert_eq!(world.events.iter().filter(|event| event.starts_with(&told)).count(), 1, "{name}");
    }
    let orders = world.server.list::<Order>();
    assert!(orders.iter().all(|order| order.annotations()[annotation::URGENT] == "true"));
    assert!(orders.iter().all(|order| order.spec.replaces.is_some()));
    world.run(5 * DAY).await;
    assert_eq!((world.ca.orders.len(), world.storms), (2 * NAMES.len(), 0), "once each");
    for name in NAMES {
        let leaf = leaf(&world, &format!("{name}-tls"));
        let ((start, end), at) = (usual(leaf.not_before, leaf.not_after), renewal_time(&world, name));
        assert!(start <= at && at <= end, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_ca_that_does_not_answer_delays_nothing() {
    let gone: fn() -> CaError = || refusal("malformed: no such certificate");
    let busy: fn() -> CaError = || overload(None);
    for (error, most) in [(gone, 5), (busy, 12)] {
        let mut world = world().await;
        world.ca.renewals = Some(usual);
        world.ca.failures.insert("renewal-info", (u32::MAX, error()));
        world.create(&certificate("web", &["www.example.com"]));
        world.run(60).await;
        let at = renewal_time(&world, "web");
        world.take_writes();
        world.run(DAY).await;
        let asked = world.ca.calls["renewal-info"];
        println!("questions in a day without an answer: {asked}");
        assert!((3..=most).contains(&asked), "{asked}");
        assert_eq!(world.take_writes(), counted(&[("status Certificate", asked)]));
        assert!(world.is_ready("web"));
        let told = world.events.iter().filter(|told| told.contains(event::ARI_ERROR)).count();
        assert_eq!((told, renewal_time(&world, "web")), (1, at));
        run_until_renewal(&mut world, "web").await;
        world.run(120).await;
        assert_eq!(revision(&world, "web"), 2);
        assert_eq!(world.ca.orders[1].replaces, None, "the CA does not know it");
    }
}

#[tokio::test(start_paused = true)]
async fn an_issuer_can_do_without() {
    let mut world = issued(&["web"], usual).await;
    world.run(DAY).await;
    assert!(world.get::<Certificate>("web").status.unwrap().acme.is_some());
    let source = |value: &'static str| {
        move |issuer: &mut Issuer| {
            issuer.spec.acme.as_mut().unwrap().renewal_information_source = Some(value.to_owned());
        }
    };
    world.edit::<Issuer>("le", source("None"));
    world.take_writes();
    let calls = world.ca.calls["renewal-info"];
    world.run(DAY).await;
    assert_eq!(world.get::<Certificate>("web").status.unwrap().acme, None);
    assert_eq!(world.ca.calls["renewal-info"], calls);
    assert_eq!(world.take_writes()["status Certificate"], 1);
    world.edit::<Issuer>("le", source("ARI"));
    world.run(DAY).await;
    assert!(world.get::<Certificate>("web").status.unwrap().acme.is_some());
}

/// A CA that lists no orders takes the second one for a second replacement, and refuses that.
#[tokio::test(start_paused = true)]
async fn whatever_befalls_an_urgent_renewal_it_comes() {
    let urgent = async || {
        let mut world = issued(&["web"], usual).await;
        world.ca.lists_orders = false;
        world.run(3 * HOUR).await;
        world.ca.renewals = Some(past);
        world.faults = Faults::default();
        world
    };
    let mut calm = urgent().await;
    calm.run(8 * HOUR).await;
    let effects = calm.faults.effects;
    assert!(effects > 15 && revision(&calm, "web") == 2, "{effects}");
    let mut refused = 0;
    for number in 1..=effects {
        for fate in [Fate::CrashAfter, Fate::AnswerLost] {
            let mut world = urgent().await;
            world.faults.planned = Some((world.faults.effects + number, fate));
            world.run(9 * HOUR).await;
            let told = format!("effect {number} of {effects}: {fate:?}");
            assert!(world.is_ready("web") && revision(&world, "web") == 2, "{told}");
            assert!(world.ca.orders.len() <= 3 && world.litter().is_empty() && world.storms == 0, "{told}");
            refused += u32::from(world.ca.orders.len() == 3 && world.ca.orders[2].replaces.is_none());
        }
    }
    assert!(refused > 0, "no order was placed twice");
}
