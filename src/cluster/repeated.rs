//! What happens again and again: told at most once in a while, and counted meanwhile, as with other Kubernetes controllers.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

/// The same is not told again within this time.
const SILENCE: SignedDuration = SignedDuration::from_mins(10);

/// What has not happened for so long begins anew. The API server keeps events for an hour.
const KEPT: SignedDuration = SignedDuration::from_hours(1);

/// More than this are not remembered at once; those that happened long ago are forgotten first.
const MOST_KEPT: usize = 50_000;

/// How often something has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) first: Timestamp,
    /// At least 1.
    pub(super) count: i32,
}

/// See the module's description.
#[derive(Default)]
pub(super) struct Repeated {
    known: HashMap<u64, Known>,
    swept: Timestamp,
}

struct Known {
    times: Times,
    told: Timestamp,
    last: Timestamp,
}

impl Repeated {
    /// Takes note of it; gives what is to be told, if anything.
    pub(super) fn happened(&mut self, what: u64, now: Timestamp) -> Option<Times> {
        self.sweep(now);
        let Some(known) = self.known.get_mut(&what).filter(|known| is_within(KEPT, known.last, now)) else {
            let times = Times { first: now, count: 1 };
            self.known.insert(what, Known { times, told: now, last: now });
            return Some(times);
        };
        known.last = now;
        known.times.count = known.times.count.saturating_add(1);
        if is_within(SILENCE, known.told, now) {
            return None;
        }
        known.told = now;
        Some(known.times)
    }

    /// Looks at all of them now and then only.
    fn sweep(&mut self, now: Timestamp) {
        let kept = if self.known.len() < MOST_KEPT { KEPT } else { SILENCE };
        if self.known.len() < MOST_KEPT && is_within(SILENCE, self.swept, now) {
            return;
        }
        self.swept = now;
        self.known.retain(|_, known| is_within(kept, known.last, now));
        if self.known.len() >= MOST_KEPT {
            self.known.clear();
        }
    }
}

/// A clock that was put back ends the time.
fn is_within(span: SignedDuration, since: Timestamp, now: Timestamp) -> bool {
    (SignedDuration::ZERO..span).contains(&now.duration_since(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    fn count(sent: &mut Repeated, what: u64, minutes: i64) -> Option<i32> {
        sent.happened(what, at(minutes)).map(|times| times.count)
    }

    #[test]
    fn what_goes_on_is_told_every_ten_minutes_with_its_count() {
        let mut sent = Repeated::default();
        let told: Vec<_> = (0..=30).filter_map(|minute| Some((minute, count(&mut sent, 1, minute)?))).collect();
        assert_eq!(told, [(0, 1), (10, 11), (20, 21), (30, 31)]);
        assert_eq!(count(&mut sent, 2, 30), Some(1), "something else");
        assert_eq!(sent.happened(1, at(40)), Some(Times { first: at(0), count: 32 }));
    }

    #[test]
    fn what_was_over_for_an_hour_begins_anew() {
        let mut sent = Repeated::default();
        assert_eq!(count(&mut sent, 1, 0), Some(1));
        assert_eq!(count(&mut sent, 1, 59), Some(2));
        assert_eq!(count(&mut sent, 1, 119), Some(1));
        assert_eq!(count(&mut sent, 1, 60), Some(1), "the clock was put back");
    }

    #[test]
    fn only_so_much_is_remembered() {
        let mut sent = Repeated::default();
        for what in 0..3 * MOST_KEPT as u64 {
            assert_eq!(count(&mut sent, what, 5), Some(1));
            assert!(sent.known.len() <= MOST_KEPT);
        }
        assert_eq!(count(&mut sent, 7, 90), Some(1));
        assert_eq!(sent.known.len(), 1, "what is over is forgotten");
    }
}
