//! How a CA is treated that has limits, wishes to be left alone, or is away.

use std::collections::BTreeMap;

use certwright::{
    api::{Certificate, Issuer, Order},
    decide::budget::Allowance,
};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::{
    DAY, HOUR, assert_issued,
    authority::{CaError, overload},
    counted, total, world,
    world::{World, certificate, issuer},
};

const WINDOW: SignedDuration = SignedDuration::from_hours(3);

#[tokio::test(start_paused = true)]
async fn a_wait_survives_a_crash_and_holds_the_siblings_too() {
    let mut world = world().await;
    world.ca.failures.insert("new-order", (1, overload(Some(SignedDuration::from_hours(2)))));
    world.create(&certificate("web", &["www.example.com"]));
    world.run(60).await;
    world.kill();
    world.create(&certificate("other", &["other.example.com"]));
    let calls = world.ca.all_calls();
    world.run(60).await;
    let reasons = world.server.list::<Order>().into_iter().map(|order| order.status.unwrap().reason.unwrap());
    let until = world.ca.wants_quiet_until.unwrap().to_string();
    for reason in reasons {
        let told = "Failed to create Order: rateLimited: too much; all orders of this account wait; next try at";
        assert_eq!(reason, format!("{told} {}", whole_second(&until)));
    }
    world.take_writes();
    for _ in 0..10 {
        world.run(600).await;
        world.kill();
    }
    assert_eq!((world.ca.all_calls(), world.take_writes()), (calls, counted(&[])));
    world.run(HOUR).await;
    assert!(world.is_ready("web") && world.is_ready("other"));
    assert_eq!(world.ca.disturbed, 0);
}

/// The next whole second.
fn whole_second(time: &str) -> Timestamp {
    let time: Timestamp = time.parse().unwrap();
    Timestamp::from_second(time.as_second() + i64::from(time.subsec_nanosecond() > 0)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_limit_for_some_names_concerns_no_others() {
    let mut world = world().await;
    let message = "rateLimited: too many for this exact set of identifiers".to_owned();
    let wish = Some(SignedDuration::from_hours(48));
    let limit = CaError { message, is_final: false, is_silence: false, retry_after: wish };
    world.ca.failures.insert("new-order", (1, limit));
    world.create(&certificate("web", &["www.example.com"]));
    world.run(60).await;
    world.create(&certificate("other", &["other.example.com"]));
    world.create(&certificate("same", &["www.example.com"]));
    world.run(60).await;
    assert!(world.is_ready("other") && !world.is_ready("web") && !world.is_ready("same"));
    let issuing = world.condition("same", "Issuing").unwrap();
    assert!(issuing.contains("exact set of identifiers; next try at 2026-03-03T12:01:"), "{issuing}");
    assert_eq!(world.ca.calls["new-order"], 2);
    world.kill();
    world.run(47 * HOUR).await;
    assert_eq!(world.ca.calls["new-order"], 2);
    world.run(2 * HOUR).await;
    assert!(world.is_ready("web") && world.is_ready("same"));
}

#[tokio::test(start_paused = true)]
async fn an_issuance_within_the_budget_writes_no_more_than_without_one() {
    let mut world = world().await;
    world.allowance = Allowance { most: 1, window: WINDOW };
    world.create(&certificate("web", &["www.example.com"]));
    world.run(60).await;
    assert_issued(&world);
    assert_eq!(total(&world.take_writes()), 16);
    world.create(&certificate("next", &["next.example.com"]));
    world.run(2 * HOUR).await;
    let writes = total(&world.take_writes());
    assert!(!world.is_ready("next"));
    let issuing = world.condition("next", "Issuing").unwrap();
    assert!(
        issuing.contains("Waiting for a place: at most 1 new orders are made for this account within 3 h"),
        "{issuing}"
    );
    println!("{writes} writes until it waits");
    world.run(2 * HOUR).await;
    assert!(world.is_ready("next"));
}

/// Certificates in several namespaces.
struct Crowd(Vec<(&'static str, usize)>);

impl Crowd {
    fn large() -> Self {
        Self(vec![("big", 60), ("medium", 30), ("small", 10), ("tiny", 4)])
    }

    fn small() -> Self {
        Self(vec![("big", 24), ("medium", 8), ("small", 3), ("tiny", 1)])
    }

    fn size(&self) -> usize {
        self.0.iter().map(|(_, size)| size).sum()
    }

    fn move_in(&self, world: &mut World) {
        for (namespace, size) in &self.0 {
            let mut issuer = issuer();
            issuer.metadata.namespace = Some((*namespace).to_owned());
            world.create::<Issuer>(&issuer);
            for number in 0..*size {
                let name = format!("{namespace}{number}");
                let mut certificate = certificate(&name, &[&format!("{name}.example.com")]);
                certificate.metadata.namespace = Some((*namespace).to_owned());
                world.create(&certificate);
            }
        }
    }
}

/// How many certificates of each namespace have been issued so many times.
fn issued(world: &World, revision: i64) -> BTreeMap<String, usize> {
    let mut issued = BTreeMap::new();
    for certificate in world.server.list::<Certificate>() {
        let namespace = certificate.namespace().unwrap();
        let count = issued.entry(namespace).or_default();
        let status = certificate.status.unwrap_or_default();
        *count += usize::from(status.revision.is_some_and(|own| own >= revision));
    }
    issued
}

/// The most orders that were created within any window.
fn most_within(created: &[Timestamp], window: SignedDuration) -> usize {
    let within =
        |from: &Timestamp| created.iter().filter(|at| **at >= *from && at.duration_since(*from) < window).count();
    created.iter().map(within).max().unwrap_or_default()
}

/// A crowd whose renewals fall due in an outage of six hours, which is just over.
async fn outage(crowd: &Crowd) -> World {
    let mut world = World::empty();
    world.faults = crate::faults::Faults::patient();
    world.allowance = Allowance { most: 0, window: WINDOW };
    world.create::<Issuer>(&issuer());
    crowd.move_in(&mut world);
    world.run(600).await;
    assert_eq!(issued(&world, 1).values().sum::<usize>(), crowd.size());
    let times = world.server.list::<Certificate>().into_iter().map(|held| held.status.unwrap().renewal_time.unwrap().0);
    let first = times.min().unwrap();
    let until = first.duration_since(world.now()).as_secs() - HOUR;
    world.run(until).await;
    world.ca.is_down = true;
    world.ca.created.clear();
    world.take_writes();
    world.run(6 * HOUR).await;
    let writes = world.take_writes();
    println!("writes in 6 h of outage: {writes:?}");
    assert!(usize::try_from(writes["status Order"]).unwrap() <= crowd.size() + 20, "each tells of it once: {writes:?}");
    world.ca.is_down = false;
    world
}

/// Runs until all are renewed; how long that took, in seconds. `restless` ends the process each time.
async fn renew(world: &mut World, crowd: &Crowd, restless: bool) -> i64 {
    let (began, mut last) = (world.now(), BTreeMap::new());
    loop {
        let step = if last.values().sum::<usize>() + 1 < crowd.size() { 300 } else { 60 };
        world.run(step).await;
        if restless {
            world.kill();
        }
        let done = issued(world, 2);
        let took = world.now().duration_since(began).as_secs();
        if done != last {
            println!("{took:>6} s after the outage: {done:?}");
        }
        last = done;
        if last.values().sum::<usize>() == crowd.size() {
            return took;
        }
        assert!(took < 3 * DAY, "{last:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn renewals_after_an_outage_keep_the_budget_and_take_no_longer_than_it_demands() {
    let crowd = Crowd::large();
    let mut world = outage(&crowd).await;
    world.allowance = Allowance { most: 30, window: WINDOW };
    world.ca.limit = Some((30, WINDOW));
    let began = world.now();
    world.run(HOUR).await;
    let done = issued(&world, 2);
    println!("in the first window: {done:?}");
    assert_eq!(done["tiny"], 4, "as many as it has: {done:?}");
    assert!(done["small"] >= 6 && done["medium"] >= 6, "an equal share each: {done:?}");
    renew(&mut world, &crowd, false).await;
    check(&mut world, &crowd, 30, began);
}

/// The process ends every five minutes.
#[tokio::test(start_paused = true)]
async fn restarts_break_no_promise_and_cost_no_time() {
    let crowd = Crowd::small();
    let mut world = outage(&crowd).await;
    world.allowance = Allowance { most: 10, window: WINDOW };
    world.ca.limit = Some((10, WINDOW));
    let began = world.now();
    renew(&mut world, &crowd, true).await;
    check(&mut world, &crowd, 10, began);
}

/// All were renewed within the budget, in nearly the shortest time that it allows.
fn check(world: &mut World, crowd: &Crowd, budget: usize, began: Timestamp) {
    let took = world.now().duration_since(began).as_secs();
    let windows = i64::try_from(crowd.size().div_ceil(budget)).unwrap() - 1;
    let shortest = windows * WINDOW.as_secs();
    let (most, writes) = (most_within(&world.ca.created, WINDOW), world.take_writes());
    let (size, calls, disturbed) = (crowd.size(), world.ca.all_calls(), world.ca.disturbed);
    println!("{size} renewals, {budget} in 3 h: {took} s, shortest {shortest} s; at most {most} in a window");
    println!("{calls} calls, {disturbed} of them too early; writes {writes:?}");
    assert_eq!((disturbed, world.ca.created.len()), (0, size));
    assert!(most <= budget, "{most}");
    assert!(took * 10 <= shortest * 11, "{took} s, and {shortest} s would do");
    assert_eq!(world.storms, 0);
}

#[tokio::test(start_paused = true)]
async fn a_ca_that_allows_less_than_the_budget_is_never_asked_before_it_wishes() {
    let crowd = Crowd::small();
    let mut world = outage(&crowd).await;
    let limit = 8;
    world.allowance = Allowance { most: 300, window: WINDOW };
    world.ca.limit = Some((limit, WINDOW));
    let took = renew(&mut world, &crowd, false).await;
    let shortest = (i64::try_from(crowd.size().div_ceil(limit)).unwrap() - 1) * WINDOW.as_secs();
    println!("{took} s, shortest {shortest} s; too early {}; {:?}", world.ca.disturbed, world.ca.calls);
    assert_eq!(world.ca.disturbed, 0);
    assert!(took * 10 <= shortest * 11, "{took} s, and {shortest} s would do");
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_is_asked_by_few_at_first() {
    let crowd = Crowd::small();
    let mut world = outage(&crowd).await;
    world.run(600).await;
    let created = world.ca.created.clone();
    assert_eq!(created.len(), crowd.size());
    let in_second = |second: i64| created.iter().filter(|at| at.duration_since(created[0]).as_secs() == second).count();
    let ramp: Vec<_> = (0..5).map(in_second).collect();
    println!("new orders in the first seconds: {ramp:?}");
    assert!(ramp[0] <= 2 && ramp[1] <= 9 && ramp[2] <= 33, "{ramp:?}");
}
