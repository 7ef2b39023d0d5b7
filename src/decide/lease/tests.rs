use super::*;
use crate::decide::testing::at;

const TIMING: Timing = Timing {
    lease_duration: SignedDuration::from_secs(60),
    renew_deadline: SignedDuration::from_secs(40),
    retry_period: SignedDuration::from_secs(15),
};

fn steady(seconds: i64) -> Steady {
    SignedDuration::from_secs(seconds)
}

fn candidate() -> Candidate {
    Candidate::new("me".to_owned(), TIMING)
}

fn held_by(holder: &str, renewed: i64) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(holder.to_owned()),
        lease_duration_seconds: Some(60),
        acquire_time: Some(MicroTime(at(0))),
        renew_time: Some(MicroTime(at(renewed))),
        lease_transitions: Some(3),
        ..LeaseSpec::default()
    }
}

/// A candidate that took a Lease that did not exist, at 0.
fn holder_of_new() -> Candidate {
    let mut candidate = candidate();
    candidate.looked(None, steady(0));
    let Next::Write(lease) = candidate.next(steady(0), at(0), true) else { panic!() };
    candidate.wrote(lease, steady(0), steady(1));
    candidate
}

#[test]
fn a_lease_that_nobody_has_is_taken_at_once() {
    let mut new = candidate();
    assert_eq!(new.next(steady(0), at(0), true), Next::Look);
    new.looked(None, steady(0));
    let first = LeaseSpec { lease_transitions: Some(0), ..held_by("me", 0) };
    assert_eq!(new.next(steady(0), at(0), true), Next::Write(first));
    assert_eq!(new.holds_until(steady(0)), None, "asked for is not had");

    let mut other = candidate();
    other.looked(Some(LeaseSpec { holder_identity: Some(String::new()), ..held_by("", 0) }), steady(0));
    let second = LeaseSpec { acquire_time: Some(MicroTime(at(7))), lease_transitions: Some(4), ..held_by("me", 7) };
    assert_eq!(other.next(steady(0), at(7), true), Next::Write(second));
}

#[test]
fn what_may_not_be_taken_is_looked_at() {
    let mut watcher = candidate();
    watcher.looked(None, steady(0));
    assert_eq!(watcher.next(steady(0), at(0), false), Next::WaitUntil(steady(2)));
    assert_eq!(watcher.next(steady(2), at(2), false), Next::Look);
    assert_eq!(watcher.holder(steady(0)), Some(""));
    let mut former = candidate();
    former.looked(Some(held_by("me", 0)), steady(0));
    assert_eq!(former.next(steady(0), at(0), false), Next::WaitUntil(steady(2)), "of a former process");
    assert!(matches!(holder_of_new().next(steady(15), at(15), false), Next::Write(_)), "what is held is kept");
}

#[test]
fn a_holder_renews_and_keeps_what_the_lease_says_besides() {
    let mut holder = holder_of_new();
    assert_eq!(holder.holds_until(steady(1)), Some(steady(40)), "from when it began to ask");
    assert_eq!(holder.next(steady(1), at(1), true), Next::WaitUntil(steady(15)));
    let Next::Write(lease) = holder.next(steady(15), at(15), true) else { panic!() };
    assert_eq!(lease, LeaseSpec { lease_transitions: Some(0), ..held_by("me", 15) });
    holder.wrote(lease, steady(15), steady(16));
    assert_eq!(holder.holds_until(steady(16)), Some(steady(55)));
}

#[test]
fn a_holder_that_cannot_renew_stops_at_its_deadline_and_comes_back() {
    let mut holder = holder_of_new();
    for second in (15..39).step_by(3) {
        holder.failed(steady(second));
        assert_eq!(holder.next(steady(second), at(second), true), Next::WaitUntil(steady(second + 2)));
        assert_eq!(holder.next(steady(second + 2), at(second), true), Next::Look, "the write may have been done");
        assert!(holder.holds_until(steady(second + 2)).is_some());
    }
    assert_eq!(holder.holds_until(steady(40)), None);
    holder.looked(Some(LeaseSpec { lease_transitions: Some(0), ..held_by("me", 0) }), steady(700));
    assert_eq!(holder.holds_until(steady(700)), None);
    let Next::Write(lease) = holder.next(steady(700), at(700), true) else { panic!() };
    assert_eq!(lease.lease_transitions, Some(0), "it was nobody else's");
    holder.wrote(lease, steady(700), steady(701));
    assert_eq!(holder.holds_until(steady(701)), Some(steady(740)));
}

#[test]
fn others_wait_until_the_lease_has_not_changed_for_its_duration() {
    let mut candidate = candidate();
    candidate.looked(Some(held_by("other", 0)), steady(100));
    assert_eq!(candidate.rival(steady(100)), Some("other"));
    assert_eq!(candidate.next(steady(100), at(0), true), Next::WaitUntil(steady(102)));
    assert_eq!(candidate.next(steady(102), at(0), true), Next::Look);
    candidate.looked(Some(held_by("other", 15)), steady(115));
    candidate.looked(Some(held_by("other", 15)), steady(174));
    assert_eq!(candidate.next(steady(174), at(0), true), Next::WaitUntil(steady(175)));
    assert_eq!(candidate.rival(steady(175)), None);
    let Next::Write(lease) = candidate.next(steady(175), at(90), true) else { panic!() };
    assert_eq!((lease.holder_identity.as_deref(), lease.lease_transitions), (Some("me"), Some(4)));
}

#[test]
fn the_holders_own_duration_counts_and_not_its_clock() {
    let mut candidate = candidate();
    let hours = LeaseSpec { lease_duration_seconds: Some(5), ..held_by("other", -7200) };
    candidate.looked(Some(hours), steady(0));
    assert_eq!(candidate.rival(steady(4)), Some("other"));
    assert!(matches!(candidate.next(steady(5), at(0), true), Next::Write(_)));
}

#[test]
fn a_lease_that_was_taken_away_is_not_held() {
    let mut holder = holder_of_new();
    holder.overtaken();
    assert_eq!(holder.next(steady(2), at(2), true), Next::Look);
    holder.looked(Some(held_by("other", 2)), steady(2));
    assert_eq!(holder.holds_until(steady(2)), None);
    let mut deleted = holder_of_new();
    deleted.looked(None, steady(2));
    assert_eq!(deleted.holds_until(steady(2)), None);
}

#[test]
fn a_process_of_the_same_name_takes_up_its_lease() {
    let mut again = candidate();
    again.looked(Some(held_by("me", 0)), steady(0));
    assert_eq!(again.holds_until(steady(0)), None);
    assert_eq!(again.next(steady(0), at(9), true), Next::Write(held_by("me", 9)));
}

#[test]
fn what_is_released_is_as_client_go_leaves_it() {
    let released = holder_of_new().release(at(20)).unwrap();
    let expected = LeaseSpec {
        holder_identity: Some(String::new()),
        lease_duration_seconds: Some(1),
        acquire_time: Some(MicroTime(at(20))),
        renew_time: Some(MicroTime(at(20))),
        lease_transitions: Some(0),
        ..LeaseSpec::default()
    };
    assert_eq!(released, expected);
    let mut other = candidate();
    other.looked(Some(held_by("other", 0)), steady(0));
    assert_eq!(other.release(at(20)), None);
}

#[test]
fn times_that_leave_no_margin_are_refused() {
    let check = |duration, deadline, period| {
        let [lease_duration, renew_deadline, retry_period] =
            [duration, deadline, period].map(SignedDuration::from_millis);
        Timing { lease_duration, renew_deadline, retry_period }.check()
    };
    assert_eq!(check(60_000, 40_000, 15_000), Ok(()));
    for (duration, deadline, period) in
        [(40_000, 40_000, 15_000), (60_000, 15_000, 15_000), (60_000, 40_000, 0), (900, 500, 100)]
    {
        assert!(check(duration, deadline, period).is_err(), "{duration} {deadline} {period}");
    }
    assert_eq!(Timing { lease_duration: SignedDuration::from_millis(1500), ..TIMING }.seconds(), 2);
}
