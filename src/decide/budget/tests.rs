#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::json;

use super::{
    turn::{Gate, Turn, ask, spread},
    *,
};
use crate::{
    api::Order,
    decide::{
        hold::{Hold, Reach},
        testing::{at, now, object},
    },
};

fn allowance(text: &str) -> Allowance {
    Allowance::parse(text).unwrap()
}

fn ticket(namespace: &str, name: &str, created: i64) -> Ticket {
    Ticket { name: (namespace.into(), name.into()), created: at(created), expires: None, urgent: false }
}

fn names(calls: &Calls) -> Vec<String> {
    calls.now.iter().map(|(namespace, name)| format!("{namespace}/{name}")).collect()
}

const OPEN: Pace = Pace::Open(None);

/// Hands out, and whoever got a place has its order created at once.
fn serve(ledger: &mut Ledger, allowance: &Allowance, pace: Pace, now: Timestamp) -> Vec<String> {
    let calls = ledger.hand_out(allowance, pace, now);
    for name in &calls.now {
        ledger.place(Some(name), now);
    }
    names(&calls)
}

#[test]
fn who_tries_again_soon_keeps_its_turn() {
    let (mut ledger, allowance) = (Ledger::default(), allowance("4/1h"));
    for number in 0..9 {
        ledger.enter(ticket("big", &format!("{number}"), number));
    }
    ledger.enter(ticket("tiny", "a", 0));
    assert!(!ledger.pause(ticket("tiny", "a", 0), at(200)));
    // Who goes to see goes now.
    assert_eq!(names(&ledger.hand_out(&allowance, Pace::Probe, at(0))), ["big/0"]);
    ledger.place(Some(&("big".into(), "0".into())), at(0));
    assert_eq!(serve(&mut ledger, &allowance, OPEN, at(1)), ["big/1", "big/2"]);
    assert_eq!(ledger.balance(&allowance, at(2)).used, 4, "one place is kept");
    assert_eq!(serve(&mut ledger, &allowance, OPEN, at(199)), [""; 0]);
    ledger.enter(ticket("tiny", "a", 0));
    assert_eq!(serve(&mut ledger, &allowance, OPEN, at(200)), ["tiny/a"]);
}

#[test]
fn what_two_shares_have_left_adds_up() {
    let part = Balance { most: Some(150), used: 3, waiting: 1 };
    assert_eq!(part.and(part), Balance { most: Some(300), used: 6, waiting: 2 });
    assert_eq!(part.and(Balance { most: None, ..part }).most, None);
}

#[test]
fn who_went_to_see_in_vain_stays_in_the_line() {
    let (mut ledger, allowance) = (Ledger::default(), allowance("1/3h"));
    assert_eq!(ask(&mut ledger, &order("one", ""), &allowance, &Gate::Probe, now()).0, Turn::Go);
    let (turn, _) = ask(&mut ledger, &order("one", ""), &allowance, &closed(Reach::Ca, false), now());
    assert!(matches!(turn, Turn::Wait { .. }));
    // It is not asked again, and has its turn before one that came later.
    ledger.enter(ticket("a", "two", 86_400 * 365 * 80));
    assert_eq!(names(&ledger.hand_out(&allowance, OPEN, at(7200))), ["a/one"]);
}

#[test]
fn a_place_is_not_kept_for_long() {
    let (mut ledger, allowance) = (Ledger::default(), allowance("1/1h"));
    ledger.enter(ticket("a", "late", 0));
    ledger.pause(ticket("a", "late", 0), at(301));
    ledger.enter(ticket("a", "other", 1));
    assert_eq!(names(&ledger.hand_out(&allowance, OPEN, at(0))), ["a/other"], "it would come too late");
    ledger.leave(&("a".into(), "late".into()));
    // Its try failed: the place stays its own until it comes back, or does not.
    assert!(ledger.pause(ticket("a", "other", 1), at(15)));
    ledger.enter(ticket("a", "new", 2));
    assert_eq!(names(&ledger.hand_out(&allowance, OPEN, at(14))), [""; 0]);
    ledger.enter(ticket("a", "other", 1));
    assert_eq!(names(&ledger.hand_out(&allowance, OPEN, at(15))), ["a/other"]);
    assert!(ledger.pause(ticket("a", "other", 1), at(30)));
    assert_eq!(names(&ledger.hand_out(&allowance, OPEN, at(329))), [""; 0]);
    assert_eq!(names(&ledger.hand_out(&allowance, OPEN, at(330))), ["a/new"], "it did not come back");
}

#[test]
fn no_more_than_the_budget_within_any_window() {
    let (mut ledger, allowance) = (Ledger::default(), allowance("3/1m"));
    for number in 0..7 {
        ledger.enter(ticket("a", &format!("{number}"), number));
    }
    assert_eq!(serve(&mut ledger, &allowance, OPEN, at(0)), ["a/0", "a/1", "a/2"]);
    let calls = ledger.hand_out(&allowance, OPEN, at(1));
    assert_eq!((names(&calls), calls.next), (vec![], Some((("a".into(), "3".into()), at(60)))));
    assert_eq!(ledger.forecast(&allowance, at(1)), at(120), "three in the next window, the fourth in the one after");
    assert_eq!(serve(&mut ledger, &allowance, OPEN, at(59)), [""; 0]);
    assert_eq!(serve(&mut ledger, &allowance, OPEN, at(60)), ["a/3", "a/4", "a/5"]);
    assert_eq!(serve(&mut ledger, &allowance, OPEN, at(120)), ["a/6"]);
    assert_eq!(ledger.forecast(&allowance, at(120)), at(120));
    assert!(!ledger.is_idle(&allowance, at(179)) && ledger.is_idle(&allowance, at(180)));
}

#[test]
fn a_place_that_is_not_used_is_not_lost() {
    let (mut ledger, allowance) = (Ledger::default(), allowance("1/1m"));
    ledger.enter(ticket("a", "1", 0));
    ledger.enter(ticket("a", "2", 0));
    assert_eq!(names(&ledger.hand_out(&allowance, OPEN, at(0))), ["a/1"]);
    assert_eq!(names(&ledger.hand_out(&allowance, OPEN, at(1))), [""; 0]);
    assert!(ledger.leave(&("a".into(), "1".into())));
    assert_eq!(ledger.head(at(1)), Some(("a".into(), "2".into())));
    assert_eq!(names(&ledger.hand_out(&allowance, OPEN, at(1))), ["a/2"]);
    ledger.enter(ticket("a", "3", 0));
    assert_eq!(names(&ledger.hand_out(&allowance, OPEN, at(300))), [""; 0]);
    assert_eq!(names(&ledger.hand_out(&allowance, OPEN, at(301))), ["a/3"], "whoever got it is lost");
}

#[test]
fn namespaces_take_turns_and_the_most_urgent_of_each_goes_first() {
    let (mut ledger, allowance) = (Ledger::default(), allowance("0"));
    for number in 0..3 {
        ledger.enter(ticket("big", &format!("new{number}"), number));
    }
    ledger.enter(Ticket { expires: Some(at(90 * 86_400)), ..ticket("big", "long", -9) });
    ledger.enter(Ticket { expires: Some(at(30 * 86_400)), ..ticket("big", "short", 0) });
    ledger.enter(Ticket { expires: Some(at(-60)), ..ticket("big", "expired", 9) });
    ledger.enter(Ticket { urgent: true, ..ticket("big", "urgent", 9) });
    ledger.enter(ticket("small", "a", 99));
    ledger.enter(ticket("tiny", "b", 99));
    let order = ["big/urgent", "small/a", "tiny/b", "big/expired", "big/new0", "big/new1", "big/new2", "big/short"];
    let served = serve(&mut ledger, &allowance, OPEN, at(0));
    assert_eq!(served[..8], order);
    assert_eq!(served[8..], ["big/long"]);
}

#[test]
fn the_urgent_have_a_tenth_for_themselves() {
    let (mut ledger, allowance) = (Ledger::default(), allowance("20/1h"));
    for number in 0..40 {
        ledger.enter(ticket("a", &format!("{number:02}"), number));
    }
    assert_eq!(serve(&mut ledger, &allowance, OPEN, at(0)).len(), 18);
    ledger.enter(Ticket { expires: Some(at(3600)), ..ticket("b", "soon", 0) });
    ledger.enter(Ticket { urgent: true, ..ticket("c", "urgent", 0) });
    ledger.enter(Ticket { urgent: true, ..ticket("c", "urgent2", 0) });
    assert_eq!(serve(&mut ledger, &allowance, OPEN, at(1)), ["b/soon", "c/urgent"]);
    let next = ledger.hand_out(&allowance, OPEN, at(2)).next;
    assert_eq!(next, Some((("c".into(), "urgent2".into()), at(3600))));
}

#[test]
fn who_comes_back_is_not_overrun() {
    let (mut ledger, allowance) = (Ledger::default(), allowance("0"));
    for number in 0..200 {
        ledger.enter(ticket("a", &format!("{number:03}"), number));
    }
    let calls = ledger.hand_out(&allowance, Pace::Closed(at(50)), at(0));
    assert_eq!((names(&calls), calls.next.unwrap().1), (vec![], at(50)));
    let calls = ledger.hand_out(&allowance, Pace::Probe, at(50));
    assert_eq!(names(&calls), ["a/000"], "one goes to see");
    assert_eq!(names(&ledger.hand_out(&allowance, Pace::Probe, at(50))), [""; 0]);
    ledger.place(Some(&calls.now[0]), at(51));
    let back = Pace::Open(Some(at(51)));
    let mut went = Vec::new();
    for second in 51..58 {
        went.push(serve(&mut ledger, &allowance, back, at(second)).len());
        went.push(serve(&mut ledger, &allowance, back, at(second)).len());
    }
    assert_eq!(went, [1, 0, 8, 0, 32, 0, 158, 0, 0, 0, 0, 0, 0, 0]);
}

fn order(uid: &str, reason: &str) -> Order {
    object(json!({
        "metadata": {"name": uid, "namespace": "a", "uid": uid, "creationTimestamp": now().to_string()},
        "spec": {"request": "", "issuerRef": {"name": "le"}, "dnsNames": ["www.example.com"]},
        "status": {"reason": reason},
    }))
}

fn closed(reach: Reach, is_wish: bool) -> Gate {
    Gate::Closed(Hold { until: at(7200), reach, is_wish }, "too much".into())
}

#[test]
fn the_wish_of_the_ca_is_told_with_its_time_and_one_looks_then() {
    let (mut ledger, allowance) = (Ledger::default(), allowance("300/3h"));
    let (turn, calls) = ask(&mut ledger, &order("one", ""), &allowance, &closed(Reach::Account, true), now());
    let told = format!("Failed to create Order: too much; all orders of this account wait; next try at {}", at(7200));
    assert_eq!(turn, Turn::Wait { until: at(7200), why: Some(told.clone()) });
    assert_eq!(calls, Calls::default());
    let (turn, calls) = ask(&mut ledger, &order("two", ""), &allowance, &closed(Reach::Account, true), now());
    let Turn::Wait { until, why } = turn else { panic!("{turn:?}") };
    assert_eq!(why, Some(told));
    assert!(until > at(7200) && until <= at(7260), "the others a little later: {until}");
    assert_eq!(calls.next, Some((("a".into(), "one".into()), at(7200))));
    let (turn, _) = ask(&mut ledger, &order("two", ""), &allowance, &Gate::Open(None), at(7200));
    assert_eq!(turn, Turn::Go);
}

#[test]
fn names_that_are_limited_take_no_place() {
    let (mut ledger, allowance) = (Ledger::default(), allowance("1/3h"));
    let (turn, calls) = ask(&mut ledger, &order("one", ""), &allowance, &closed(Reach::Names, true), now());
    assert!(matches!(turn, Turn::Wait { until, .. } if until >= at(7200)));
    assert_eq!((calls, ledger.waiting()), (Calls::default(), 0));
    assert_eq!(ask(&mut ledger, &order("two", ""), &allowance, &Gate::Open(None), now()).0, Turn::Go);
}

#[test]
fn a_wait_for_the_budget_is_told_once() {
    let (mut ledger, allowance) = (Ledger::default(), allowance("20/3h"));
    for number in 0..20 {
        ledger.place(None, at(number));
    }
    let (turn, _) = ask(&mut ledger, &order("one", ""), &allowance, &Gate::Open(None), at(60));
    let Turn::Wait { until, why: Some(why) } = turn else { panic!("{turn:?}") };
    assert_eq!(until, at(3 * 3600 + 2), "when two of the ordinary places are free, as two are kept");
    assert!(why.starts_with(
        "Waiting for a place: at most 20 new orders are made for this account within 3 h, of which 2 are kept for \
         urgent ones; next try at "
    ));
    for later in [61, 3600, 3 * 3600] {
        let (turn, _) = ask(&mut ledger, &order("one", &why), &allowance, &Gate::Open(None), at(later));
        assert!(matches!(turn, Turn::Wait { why: Some(again), .. } if again == why), "{later}");
    }
    assert_eq!(ask(&mut ledger, &order("one", &why), &allowance, &Gate::Open(None), until).0, Turn::Go);
}

#[test]
fn short_waits_and_the_wait_for_another_are_not_told_of() {
    let (mut ledger, allowance) = (Ledger::default(), allowance("1/10s"));
    ledger.place(None, at(0));
    let turn = ask(&mut ledger, &order("one", ""), &allowance, &Gate::Open(None), at(1)).0;
    assert_eq!(turn, Turn::Wait { until: at(10), why: None });
    let mut ledger = Ledger::default();
    assert_eq!(ask(&mut ledger, &order("one", ""), &allowance, &Gate::Probe, at(1)).0, Turn::Go);
    assert!(matches!(
        ask(&mut ledger, &order("two", ""), &allowance, &Gate::Probe, at(1)).0,
        Turn::Wait { why: None, .. }
    ));
}

#[test]
fn times_are_spread_and_stay() {
    let at_all: Vec<_> = (0..50).map(|number| spread(at(600), &order(&format!("uid-{number}"), ""), now())).collect();
    assert!(at_all.iter().all(|time| *time >= at(600) && *time <= at(660)));
    let distinct: std::collections::BTreeSet<_> = at_all.iter().collect();
    assert!(distinct.len() > 40, "{}", distinct.len());
    assert_eq!(spread(at(-5), &order("a", ""), now()), at(-5));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever comes and goes, the budget holds, all are served, and no namespace is passed over twice while it waits.
    #[test]
    fn budgets_hold_and_nobody_starves(
        most in 1u32..30,
        minutes in 1i64..120,
        arrivals in proptest::collection::vec((0usize..5, 0i64..9000, any::<bool>(), 0u8..10), 1..120),
    ) {
        let allowance = Allowance { most, window: SignedDuration::from_mins(minutes) };
        let mut ledger = Ledger::default();
        let mut arrivals: Vec<_> = arrivals.into_iter().enumerate().collect();
        arrivals.sort_by_key(|(_, (_, when, _, _))| *when);
        let total = arrivals.len();
        let mut arrivals = arrivals.into_iter().peekable();
        let (mut now, mut placed): (i64, Vec<i64>) = (0, Vec::new());
        let mut passed: HashMap<String, Vec<String>> = HashMap::new();
        while placed.len() < total {
            while let Some((number, (namespace, when, urgent, _))) = arrivals.next_if(|(_, arrival)| arrival.1 <= now) {
                let urgent = urgent && namespace == 0;
                ledger.enter(Ticket { urgent, ..ticket(&format!("ns{namespace}"), &number.to_string(), when) });
            }
            let calls = ledger.hand_out(&allowance, OPEN, at(now));
            for name in &calls.now {
                placed.push(now);
                ledger.place(Some(name), at(now));
                passed.remove(&name.0);
                // The urgent have places of their own, beside the turns.
                if name.0 != "ns0" {
                    for waiting in ledger.namespaces().into_iter().filter(|other| **other != *name.0) {
                        let by = passed.entry(waiting.to_owned()).or_default();
                        prop_assert!(!by.contains(&name.0), "{waiting} was passed over twice by {}", name.0);
                        by.push(name.0.clone());
                    }
                }
            }
            let next_arrival = arrivals.peek().map(|(_, arrival)| arrival.1);
            let next_place = calls.next.map(|(_, time)| time.duration_since(at(0)).as_secs());
            let Some(next) = next_arrival.into_iter().chain(next_place).min() else { break };
            now = next.max(now + 1);
        }
        prop_assert_eq!(placed.len(), total);
        let window = minutes * 60;
        for (index, first) in placed.iter().enumerate() {
            let within = placed[index..].iter().take_while(|time| **time < first + window).count();
            prop_assert!(within <= usize::try_from(most).unwrap(), "{within} within a window");
        }
    }
}
