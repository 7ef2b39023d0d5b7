//! The gate in front of a CA: no request goes out that the CA has asked to be spared.
//!
//! There is a bucket for the whole CA, one for each account, and one for each set of names (see [`super::limit`]). A
//! refusal closes a bucket: until the time that the CA wished, or for a growing while if it did not say. After that time
//! one request may go to see; the others wait for its outcome. What is in a closed bucket is answered with [`Closed`],
//! without a word to the CA.
//!
//! A CA that does not answer at all closes its bucket too, from the second failure in a row on: one request at a time
//! tries, instead of each running into its own timeout.
//!
//! A clock that is set back makes no wait longer.
//!
//! Nothing here reads a clock or waits, so that a model world can use it as it is.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::limit::Scope;

/// The waits after the first, second, … limit of which the CA does not say how long it lasts; the last one stays.
const LIMIT_WAITS: [i64; 4] = [30, 60, 300, 900];

/// The waits after the second, third, … time in a row that no answer came; the last one stays. As it is one request for
/// all who wait, it may be sent often at first.
const SILENCE_WAITS: [i64; 11] = [1, 5, 15, 15, 15, 15, 30, 60, 60, 60, 300];

/// One lost answer says nothing about the CA.
const FAILURES_TO_CLOSE: u32 = 2;

/// How long others wait for the outcome of the request that tries.
const PROBE_WAIT: SignedDuration = SignedDuration::from_secs(2);

/// A request whose outcome was not noted by then is forgotten.
const LONGEST_PROBE: SignedDuration = SignedDuration::from_mins(2);

/// Passes on several threads may tell the time in another order than it went.
const LEAST_SET_BACK: SignedDuration = SignedDuration::from_secs(5);

/// More buckets than this are never kept; what closes soonest is forgotten first.
const MOST_KEPT: usize = 1024;

/// How many characters of the CA's words are kept.
const MOST_WORDS: usize = 4000;

/// Whom a request is for.
#[derive(Clone, Copy, Debug)]
pub struct Party<'a> {
    /// The account's URL; none for what is not signed.
    pub account: Option<&'a str>,
    /// The names that are ordered, by [`names_key`], or the URL of what belongs to an order.
    pub names: Option<&'a str>,
}

/// Why a request may not go, or did not: the CA wants to be left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Whole seconds if it comes from the CA.
    pub until: Timestamp,
    pub scope: Scope,
    /// What the CA wished, if it did.
    pub wish: Option<Duration>,
    /// The error that closed the bucket, in words; no changing parts are added.
    pub words: String,
}

/// How a party stands with the CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Requests may go. If the CA came back from something, since when.
    Open {
        recovered: Option<Timestamp>,
    },
    /// One request may go and see.
    Probe,
    Closed(Closed),
}

/// See the module's description.
#[derive(Default)]
pub struct Gate(Mutex<State>);

#[derive(Default)]
struct State {
    /// The time as it was last told.
    latest: Option<Timestamp>,
    ca: Bucket,
    accounts: HashMap<String, Bucket>,
    names: HashMap<String, Bucket>,
}

#[derive(Default)]
struct Bucket {
    closed: Option<Closed>,
    /// In a row; those of requests that were under way together count once.
    failures: u32,
    failed_at: Option<Timestamp>,
    /// When the request that tries was sent.
    probe: Option<Timestamp>,
    recovered: Option<Timestamp>,
}

/// What stands for a set of names, whatever their order.
pub fn names_key(names: &[String]) -> String {
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names.join(" ")
}

impl Gate {
    /// How the party stands; nothing is noted.
    pub fn standing(&self, party: &Party<'_>, now: Timestamp) -> Standing {
        self.lock(now).standing(party, now)
    }

    /// Asks to send a request; its outcome must be noted.
    ///
    /// # Errors
    /// The bucket that is closed.
    pub fn enter(&self, party: &Party<'_>, now: Timestamp) -> Result<(), Closed> {
        let mut state = self.lock(now);
        match state.standing(party, now) {
            Standing::Open { .. } => {}
            Standing::Probe => state.each(party, |bucket| {
                if bucket.closed.is_some() {
                    bucket.probe = Some(now);
                }
            }),
            Standing::Closed(closed) => return Err(closed),
        }
        Ok(())
    }

    /// Notes that the CA answered a request that began then; what it said was about no limit.
    pub fn answered(&self, party: &Party<'_>, now: Timestamp) {
        let mut state = self.lock(now);
        state.each(party, |bucket| bucket.succeed(now));
        state.forget_idle();
    }

    /// Notes that no answer came to a request that began then; returns the bucket if that closes it.
    pub fn unanswered(&self, party: &Party<'_>, began: Timestamp, words: &str, now: Timestamp) -> Option<Closed> {
        let mut state = self.lock(now);
        state.each(party, |bucket| bucket.probe = None);
        state.ca.count_failure(began, now);
        let step = state.ca.failures.checked_sub(FAILURES_TO_CLOSE)?;
        // The words stay those of the beginning: they differ in nothing but the URL that was tried.
        let words = state.ca.closed.as_ref().map_or_else(|| shortened(words), |former| former.words.clone());
        let until = later(now, nth(&SILENCE_WAITS, step));
        Some(state.ca.close(Closed { until, scope: Scope::Ca, wish: None, words }))
    }

    /// Notes a refusal of a request that began then; returns the bucket as it is closed now.
    pub fn refused(
        &self,
        party: &Party<'_>,
        began: Timestamp,
        (scope, wish): (Scope, Option<Duration>),
        words: &str,
        now: Timestamp,
    ) -> Closed {
        let mut state = self.lock(now);
        state.each(party, |bucket| bucket.probe = None);
        let wish = wish.filter(|wish| !wish.is_zero());
        if scope != Scope::Ca {
            // It did answer.
            state.ca.succeed(now);
        }
        let bucket = state.bucket(party, scope);
        bucket.count_failure(began, now);
        let until = match wish {
            Some(wish) => whole_second(later(now, SignedDuration::try_from(wish).unwrap_or(SignedDuration::MAX))),
            None => later(now, nth(&LIMIT_WAITS, bucket.failures.saturating_sub(1))),
        };
        bucket.close(Closed { until, scope, wish, words: shortened(words) })
    }

    /// Closes a bucket as a former process knew it.
    pub fn restore(&self, party: &Party<'_>, closed: Closed, now: Timestamp) {
        if closed.until > now {
            self.lock(now).bucket(party, closed.scope).close(closed);
        }
    }

    /// Notes that a request which entered then is over, or was broken off. If its outcome was not noted, the next one may go
    /// and see.
    pub fn leave(&self, party: &Party<'_>, began: Timestamp, now: Timestamp) {
        let own = |bucket: &mut Bucket| bucket.probe = bucket.probe.filter(|since| *since != began);
        self.lock(now).each(party, own);
    }

    fn lock(&self, now: Timestamp) -> std::sync::MutexGuard<'_, State> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.follow_clock(now);
        state
    }
}

impl State {
    /// What waits goes back with the clock.
    fn follow_clock(&mut self, now: Timestamp) {
        let back = self.latest.map_or(SignedDuration::ZERO, |latest| latest.duration_since(now));
        if back.is_positive() && back < LEAST_SET_BACK {
            return;
        }
        self.latest = Some(now);
        if back.is_positive() {
            let back = SignedDuration::from_secs(back.as_secs());
            let others = self.accounts.values_mut().chain(self.names.values_mut());
            std::iter::once(&mut self.ca).chain(others).for_each(|bucket| bucket.set_back(back));
        }
    }

    fn standing(&self, party: &Party<'_>, now: Timestamp) -> Standing {
        let account = party.account.and_then(|account| self.accounts.get(account));
        let names = party.names.and_then(|names| self.names.get(names));
        let buckets = [Some(&self.ca), account, names];
        let closed = buckets.iter().flatten().filter_map(|bucket| bucket.closed_at(now)).max_by_key(|held| held.until);
        if let Some(closed) = closed {
            return Standing::Closed(closed);
        }
        if buckets.iter().flatten().any(|bucket| bucket.closed.is_some()) {
            return Standing::Probe;
        }
        Standing::Open { recovered: buckets.iter().flatten().filter_map(|bucket| bucket.recovered).max() }
    }

    fn each(&mut self, party: &Party<'_>, mut act: impl FnMut(&mut Bucket)) {
        act(&mut self.ca);
        let account = party.account.and_then(|account| self.accounts.get_mut(account));
        let names = party.names.and_then(|names| self.names.get_mut(names));
        account.into_iter().chain(names).for_each(act);
    }

    fn bucket(&mut self, party: &Party<'_>, scope: Scope) -> &mut Bucket {
        let (map, key) = match (scope, party.account, party.names) {
            (Scope::Names, _, Some(names)) => (&mut self.names, names),
            (Scope::Account | Scope::Names, Some(account), _) => (&mut self.accounts, account),
            _ => return &mut self.ca,
        };
        make_room(map, key);
        map.entry(key.to_owned()).or_default()
    }

    /// Names that are free again are not remembered.
    fn forget_idle(&mut self) {
        self.names.retain(|_, bucket| bucket.closed.is_some());
    }
}

impl Bucket {
    fn closed_at(&self, now: Timestamp) -> Option<Closed> {
        let closed = self.closed.as_ref()?;
        if now < closed.until {
            return Some(closed.clone());
        }
        let is_tried = self.probe.is_some_and(|since| now < later(since, LONGEST_PROBE));
        is_tried.then(|| Closed { until: later(now, PROBE_WAIT), wish: None, ..closed.clone() })
    }

    fn set_back(&mut self, back: SignedDuration) {
        if let Some(closed) = &mut self.closed {
            closed.until = later(closed.until, -back);
        }
        for time in [&mut self.failed_at, &mut self.probe, &mut self.recovered].into_iter().flatten() {
            *time = later(*time, -back);
        }
    }

    fn succeed(&mut self, now: Timestamp) {
        // What was sent before the bucket was closed does not open it.
        if self.closed.as_ref().is_some_and(|closed| now < closed.until) {
            return;
        }
        if self.closed.take().is_some() {
            self.recovered = Some(now);
        }
        (self.failures, self.failed_at, self.probe) = (0, None, None);
    }

    fn count_failure(&mut self, began: Timestamp, now: Timestamp) {
        if self.failed_at.is_none_or(|last| began >= last) {
            self.failures = self.failures.saturating_add(1);
            self.failed_at = Some(now);
        }
    }

    /// The later of two wishes counts.
    fn close(&mut self, closed: Closed) -> Closed {
        match &self.closed {
            Some(former) if former.until >= closed.until => former.clone(),
            _ => self.closed.insert(closed).clone(),
        }
    }
}

fn make_room(map: &mut HashMap<String, Bucket>, key: &str) {
    if map.len() < MOST_KEPT || map.contains_key(key) {
        return;
    }
    let until = |bucket: &Bucket| bucket.closed.as_ref().map(|closed| closed.until);
    if let Some(first) = map.iter().min_by_key(|(_, bucket)| until(bucket)).map(|(key, _)| key.clone()) {
        map.remove(&first);
    }
}

fn nth(waits: &[i64], step: u32) -> SignedDuration {
    let index = usize::try_from(step).unwrap_or(usize::MAX);
    SignedDuration::from_secs(waits.get(index).or(waits.last()).copied().unwrap_or_default())
}

fn later(at: Timestamp, wait: SignedDuration) -> Timestamp {
    at.checked_add(wait).unwrap_or(if wait.is_negative() { Timestamp::MIN } else { Timestamp::MAX })
}

/// Times of the CA stand in messages, and are never early.
fn whole_second(at: Timestamp) -> Timestamp {
    let second = at.as_second().saturating_add(i64::from(at.subsec_nanosecond() > 0));
    Timestamp::from_second(second).unwrap_or(at)
}

fn shortened(words: &str) -> String {
    words.chars().take(MOST_WORDS).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ANN: Party<'_> = Party { account: Some("ca/ann"), names: Some("a.example b.example") };
    const BOB: Party<'_> = Party { account: Some("ca/bob"), names: Some("ca/order/7") };
    const NOBODY: Party<'_> = Party { account: None, names: None };

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + milliseconds).unwrap()
    }

    fn wish(scope: Scope, seconds: u64) -> (Scope, Option<Duration>) {
        (scope, Some(Duration::from_secs(seconds)))
    }

    fn may_go(gate: &Gate, parties: &[Party<'_>], now: Timestamp) -> Vec<bool> {
        parties.iter().map(|party| !matches!(gate.standing(party, now), Standing::Closed(_))).collect()
    }

    #[test]
    fn a_wish_closes_its_bucket_and_no_other_until_it_is_over() {
        for (scope, during) in [
            (Scope::Ca, [false, false, false, false]),
            (Scope::Account, [false, false, true, true]),
            (Scope::Names, [false, true, true, true]),
        ] {
            let others = Party { names: Some("c.example"), ..ANN };
            let all = [ANN, others, BOB, NOBODY];
            let gate = Gate::default();
            let closed = gate.refused(&ANN, at(0), wish(scope, 60), "too much", at(250));
            assert_eq!((closed.until, closed.words.as_str()), (at(61_000), "too much"), "whole seconds, never early");
            assert_eq!(gate.enter(&ANN, at(300)).unwrap_err(), closed);
            assert_eq!(may_go(&gate, &all, at(60_999)), during, "{scope:?}");
            assert_eq!(may_go(&gate, &all, at(61_000)), [true; 4]);
        }
    }

    #[test]
    fn one_goes_to_see_and_its_success_lets_the_others_go() {
        let gate = Gate::default();
        gate.refused(&ANN, at(0), wish(Scope::Account, 60), "too much", at(0));
        assert_eq!(gate.standing(&ANN, at(60_000)), Standing::Probe);
        gate.enter(&ANN, at(60_000)).unwrap();
        let held = gate.enter(&ANN, at(60_100)).unwrap_err();
        assert_eq!((held.until, held.wish, held.words.as_str()), (at(62_100), None, "too much"));
        gate.enter(&BOB, at(60_100)).unwrap();
        gate.answered(&ANN, at(60_200));
        assert_eq!(gate.standing(&ANN, at(60_200)), Standing::Open { recovered: Some(at(60_200)) });
        assert_eq!(gate.standing(&BOB, at(60_200)), Standing::Open { recovered: None });
    }

    #[test]
    fn a_probe_whose_task_was_ended_does_not_hold_the_others_for_ever() {
        let gate = Gate::default();
        gate.refused(&ANN, at(0), wish(Scope::Ca, 60), "too much", at(0));
        gate.enter(&ANN, at(60_000)).unwrap();
        gate.enter(&BOB, at(179_999)).unwrap_err();
        gate.enter(&BOB, at(180_000)).unwrap();
    }

    #[test]
    fn the_next_one_goes_at_once_when_a_probe_is_broken_off() {
        let gate = Gate::default();
        gate.refused(&ANN, at(0), wish(Scope::Ca, 60), "too much", at(0));
        gate.enter(&ANN, at(60_000)).unwrap();
        gate.leave(&BOB, at(50_000), at(60_001));
        gate.enter(&BOB, at(60_002)).unwrap_err();
        gate.leave(&ANN, at(60_000), at(60_003));
        assert_eq!(gate.standing(&BOB, at(60_003)), Standing::Probe);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_wait_longer() {
        let gate = Gate::default();
        gate.refused(&ANN, at(0), wish(Scope::Account, 60), "too much", at(0));
        gate.enter(&ANN, at(10_000)).unwrap_err();
        let hour = 3_600_000;
        assert_eq!(
            gate.enter(&ANN, at(11_000 - hour)).unwrap_err().until,
            at(61_000 - hour),
            "the time between is lost"
        );
        gate.enter(&ANN, at(61_000 - hour)).unwrap();
        gate.enter(&ANN, at(62_000 - 2 * hour)).unwrap_err();
        gate.enter(&ANN, at(182_000 - 2 * hour)).unwrap();
    }

    #[test]
    fn what_was_sent_before_a_refusal_does_not_end_it() {
        let gate = Gate::default();
        gate.refused(&ANN, at(0), wish(Scope::Ca, 60), "too much", at(100));
        gate.answered(&BOB, at(200));
        assert_eq!(may_go(&gate, &[ANN, BOB], at(300)), [false, false]);
        let shorter = gate.refused(&BOB, at(50), wish(Scope::Ca, 5), "once more", at(300));
        assert_eq!(shorter.until, at(61_000), "the later counts");
        let longer = gate.refused(&BOB, at(50), wish(Scope::Ca, 90), "once more", at(400));
        assert_eq!(longer.until, at(91_000));
    }

    #[test]
    fn without_a_wish_the_waits_grow() {
        let gate = Gate::default();
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..6 {
            gate.enter(&ANN, now).unwrap();
            let closed = gate.refused(&ANN, now, (Scope::Account, Some(Duration::ZERO)), "too much", now);
            waits.push(closed.until.duration_since(now).as_secs());
            now = closed.until;
        }
        assert_eq!(waits, [30, 60, 300, 900, 900, 900]);
        gate.enter(&ANN, now).unwrap();
        gate.answered(&ANN, now);
        let closed = gate.refused(&ANN, now, (Scope::Account, None), "too much", now);
        assert_eq!(closed.until.duration_since(now).as_secs(), 30, "a success ends the row");
    }

    #[test]
    fn refusals_of_requests_that_were_under_way_together_count_once() {
        let gate = Gate::default();
        for number in 0..9 {
            let closed = gate.refused(&ANN, at(0), (Scope::Ca, None), "too much", at(100 + number));
            assert!(closed.until <= at(30_200));
        }
    }

    #[test]
    fn silence_closes_the_ca_from_the_second_time_on_and_one_tries() {
        let gate = Gate::default();
        gate.unanswered(&ANN, at(0), "first", at(10));
        gate.unanswered(&BOB, at(0), "first", at(20));
        assert_eq!(may_go(&gate, &[ANN, BOB, NOBODY], at(30)), [true; 3], "a lost answer says nothing");
        let mut now = at(30);
        let mut waits = Vec::new();
        for _ in 0..12 {
            gate.enter(&BOB, now).unwrap();
            gate.unanswered(&BOB, now, "the CA is away", now);
            let closed = gate.enter(&ANN, now).unwrap_err();
            assert_eq!((closed.wish, closed.words.as_str()), (None, "the CA is away"));
            waits.push(closed.until.duration_since(now).as_secs());
            now = closed.until;
        }
        assert_eq!(waits, [1, 5, 15, 15, 15, 15, 30, 60, 60, 60, 300, 300]);
        gate.enter(&BOB, now).unwrap();
        gate.enter(&ANN, now).unwrap_err();
        gate.answered(&BOB, now);
        assert_eq!(gate.standing(&ANN, now), Standing::Open { recovered: Some(now) });
    }

    #[test]
    fn a_former_process_is_believed() {
        let gate = Gate::default();
        let closed = Closed { until: at(60_000), scope: Scope::Account, wish: None, words: "too much".into() };
        gate.restore(&ANN, closed.clone(), at(0));
        assert_eq!(gate.enter(&ANN, at(1)).unwrap_err(), closed);
        gate.restore(&BOB, closed, at(60_000));
        gate.enter(&BOB, at(60_000)).unwrap();
    }

    #[test]
    fn the_number_of_buckets_is_bounded() {
        let gate = Gate::default();
        for number in 0..3 * u64::try_from(MOST_KEPT).unwrap() {
            let names = number.to_string();
            let party = Party { account: Some("ca/ann"), names: Some(&names) };
            gate.refused(&party, at(0), wish(Scope::Names, 60 + number), "too much", at(0));
            gate.refused(&Party { account: Some(&names), names: None }, at(0), wish(Scope::Account, 60), "", at(0));
        }
        let state = gate.lock(at(0));
        assert_eq!((state.names.len(), state.accounts.len()), (MOST_KEPT, MOST_KEPT));
    }

    #[test]
    fn a_set_of_names_has_no_order() {
        let names = |list: &[&str]| names_key(&list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(names(&["b.example", "a.example", "b.example"]), names(&["a.example", "b.example"]));
    }
}
