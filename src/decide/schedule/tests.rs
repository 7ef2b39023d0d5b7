#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::decide::testing::{at, object};

fn name(namespace: &str, name: &(impl ToString + ?Sized)) -> ChallengeName {
    (namespace.to_owned(), name.to_string())
}

/// Has it want a place, and tells whether it has one.
fn wants(schedule: &mut Schedule, name: &ChallengeName, created: i64, now: i64) -> (bool, Calls) {
    let (queued, calls) = schedule.look(name, Claim::Wants(at(created)), at(now));
    (queued.is_none(), calls)
}

fn challenge(status: &Value, more: &Value) -> Challenge {
    let mut metadata = json!({
        "name": "c", "namespace": "shop", "creationTimestamp": at(5).to_string(),
        "finalizers": ["acme.cert-manager.io/finalizer"],
    });
    metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let spec = json!({"dnsName": "www.example.com", "type": "HTTP-01", "issuerRef": {"name": "le"}});
    object(json!({"metadata": metadata, "spec": spec, "status": status}))
}

#[test]
fn a_place_is_wanted_before_presenting_and_held_until_nothing_is_left() {
    let presented = |state: &str| json!({"presented": true, "presentedAt": at(7).to_string(), "state": state});
    let gone = json!({"deletionTimestamp": at(9).to_string()});
    let bare = json!({"finalizers": []});
    for (status, more, may_go, claim) in [
        (json!({}), json!({}), true, Claim::Wants(at(5))),
        (json!({"state": "pending"}), bare.clone(), true, Claim::Wants(at(5))),
        (json!({}), json!({}), false, Claim::Nothing),
        (json!({}), gone.clone(), true, Claim::Nothing),
        (json!({"state": "errored"}), json!({}), true, Claim::Nothing),
        (presented("pending"), json!({}), false, Claim::Holds(at(7))),
        (presented("valid"), json!({}), true, Claim::Holds(at(7))),
        (presented("invalid"), gone, true, Claim::Holds(at(7))),
        (presented("valid"), bare, true, Claim::Nothing),
        (json!({"presented": true, "state": "pending"}), json!({}), true, Claim::Holds(at(5))),
    ] {
        assert_eq!(Claim::of(&challenge(&status, &more), may_go), claim, "{status} {more}");
    }
}

#[test]
fn the_next_is_called_when_a_place_is_free() {
    let mut schedule = Schedule::new(2);
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|one| name("shop", one));
    assert_eq!(wants(&mut schedule, &a, 0, 0), (true, Calls::default()));
    assert_eq!(wants(&mut schedule, &b, 0, 1), (true, Calls::default()));
    let next = |name: &ChallengeName| Calls { next: Some((name.clone(), at(60))), ..Calls::default() };
    assert_eq!(wants(&mut schedule, &d, 4, 2), (false, next(&d)));
    // Older, so it goes first, whenever it came.
    assert_eq!(wants(&mut schedule, &c, 3, 3), (false, next(&c)));
    assert_eq!(schedule.look(&b, Claim::Holds(at(2)), at(4)), (None, next(&c)));
    let (queued, calls) = schedule.look(&b, Claim::Nothing, at(5));
    assert_eq!((queued, calls.now, calls.next), (None, vec![c.clone()], Some((d.clone(), at(60)))));
    assert!(wants(&mut schedule, &c, 3, 6).0, "it has its place");
    let (queued, _) = schedule.look(&d, Claim::Wants(at(4)), at(6));
    assert_eq!(queued, Some(Queued { since: at(2), most: 2 }));
}

#[test]
fn who_takes_long_holds_up_nobody() {
    let mut schedule = Schedule::new(1);
    let [slow, other, third] = ["slow", "other", "third"].map(|one| name("shop", one));
    assert!(wants(&mut schedule, &slow, 0, 0).0);
    assert!(!wants(&mut schedule, &other, 1, 59).0);
    assert!(wants(&mut schedule, &other, 1, 60).0);
    assert!(!wants(&mut schedule, &third, 2, 61).0);
    assert_eq!(schedule.look(&slow, Claim::Holds(at(0)), at(62)).0, None, "it is still presented");
    assert!(!wants(&mut schedule, &third, 2, 63).0, "and its end frees no place");
    schedule.look(&slow, Claim::Nothing, at(64));
    assert!(!wants(&mut schedule, &third, 2, 65).0);
    assert!(wants(&mut schedule, &third, 2, 120).0);
}

#[test]
fn who_has_to_wait_for_another_reason_makes_room() {
    let mut schedule = Schedule::new(1);
    let [first, other] = ["first", "other"].map(|one| name("shop", one));
    assert!(wants(&mut schedule, &first, 0, 0).0);
    assert!(!wants(&mut schedule, &other, 1, 1).0);
    // Its provider refuses; it is in back-off.
    assert_eq!(schedule.look(&first, Claim::Nothing, at(2)).1.now, std::slice::from_ref(&other));
    assert!(!wants(&mut schedule, &first, 0, 30).0);
    assert_eq!(schedule.look(&other, Claim::Nothing, at(31)).1.now, [first]);
}

#[test]
fn after_a_restart_those_that_are_presented_have_their_places() {
    let mut schedule = Schedule::new(2);
    let [a, b, c] = ["a", "b", "c"].map(|one| name("shop", one));
    schedule.hold(&a, at(0));
    schedule.hold(&b, at(30));
    assert!(!wants(&mut schedule, &c, 0, 40).0);
    assert!(wants(&mut schedule, &c, 0, 60).0, "a is slow by now");
}

#[test]
fn namespaces_take_turns() {
    let mut schedule = Schedule::new(1);
    let busy = name("a", "busy");
    schedule.hold(&busy, at(0));
    for number in 0..4 {
        schedule.look(&name("big", &number), Claim::Wants(at(number)), at(0));
    }
    schedule.look(&name("small", &0), Claim::Wants(at(9)), at(0));
    schedule.look(&name("tiny", &0), Claim::Wants(at(8)), at(0));
    let (mut order, mut current) = (Vec::new(), busy);
    while let Some(next) = schedule.look(&current, Claim::Nothing, at(1)).1.now.pop() {
        order.push(format!("{}{}", next.0, next.1));
        current = next;
    }
    assert_eq!(order, ["big0", "small0", "tiny0", "big1", "big2", "big3"]);
}

#[test]
fn what_a_waiting_one_says_never_changes() {
    let queued = Queued { since: at(0), most: 60 };
    let sentence = "Waiting for a place: at most 60 challenges are presented at once (--max-concurrent-challenges); a place is \
                    free when another is cleaned up, or has taken 1 min; namespaces take turns, the oldest of each first; \
                    looked at again within 5 min";
    assert_eq!((queued.sentence().as_str(), queued.quiet_until()), (sentence, at(30)));
    assert!(is_wait(sentence));
}

proptest! {
    /// Challenges of several namespaces come, go, fail and hang as they like.
    #[test]
    fn never_more_than_allowed_and_everybody_has_a_turn(
        most in 1_usize..5,
        events in proptest::collection::vec((0_usize..3, 0_i64..12, 0_u8..4, 0_i64..20), 1..200),
    ) {
        let mut schedule = Schedule::new(most);
        let (mut now, mut going) = (0, HashMap::new());
        for (namespace, number, event, wait) in events {
            now += wait;
            let one = name(["a", "b", "c"][namespace], &number);
            let claim = match (event, going.get(&one)) {
                (0, _) => Claim::Nothing,
                (_, Some(since)) => Claim::Holds(at(*since)),
                _ => Claim::Wants(at(number)),
            };
            let (queued, calls) = schedule.look(&one, claim, at(now));
            match claim {
                Claim::Nothing => drop(going.remove(&one)),
                _ if queued.is_none() => drop(going.entry(one).or_insert(now)),
                _ => {}
            }
            for called in calls.now {
                prop_assert!(going.insert(called, now).is_none(), "called twice");
            }
            let counted = going.values().filter(|since| now - **since < 60).count();
            prop_assert!(counted <= most, "{counted} of {most}");
            let waits = !schedule.tickets.is_empty();
            prop_assert!(!waits || counted == most, "a place is free and somebody waits");
            prop_assert_eq!(waits, calls.next.is_some(), "who waits is looked at again");
        }
        // From now on everybody hangs: all have their turn all the same, each namespace within as many turns as there are.
        let (mut waiting, mut turns) = (schedule.tickets.keys().cloned().collect::<HashSet<_>>(), Vec::new());
        while let Some((_, at_last)) = schedule.hand_out(at(now)).next {
            now = at_last.duration_since(at(0)).as_secs();
            let called = schedule.hand_out(at(now)).now;
            prop_assert!(!called.is_empty(), "nothing came of the call");
            turns.extend(called);
        }
        for (index, (namespace, _)) in turns.iter().enumerate() {
            let former = turns[..index].iter().rev().take_while(|turn| turn.0 != *namespace).count();
            let was_there = turns[..index].iter().any(|turn| turn.0 == *namespace);
            prop_assert!(!was_there || former <= 2, "{turns:?}");
        }
        waiting.retain(|one| !turns.contains(one));
        prop_assert!(waiting.is_empty(), "{waiting:?}");
        prop_assert!(schedule.waiting.is_empty() && schedule.tickets.is_empty());
    }
}

/// Work that grows with the number of those that wait would show here: ten thousand in some milliseconds.
#[test]
fn memory_ends_with_the_challenges() {
    let mut schedule = Schedule::new(60);
    let names: Vec<_> = (0..10_000).map(|number| name(&format!("n{}", number % 300), &number)).collect();
    for one in &names {
        schedule.look(one, Claim::Wants(at(0)), at(0));
    }
    assert_eq!((schedule.places.len(), schedule.tickets.len()), (60, 9_940));
    let mut going: Vec<ChallengeName> = schedule.places.keys().cloned().collect();
    let mut been = 0;
    while let Some(one) = going.pop() {
        going.extend(schedule.look(&one, Claim::Nothing, at(1)).1.now);
        been += 1;
    }
    assert_eq!(been, names.len());
    assert!(schedule.places.is_empty() && schedule.tickets.is_empty() && schedule.counted.is_empty());
}
