//! How long to wait after failures.

use jiff::SignedDuration;

/// The waits after the first, second, … failure of an effect that time may cure; the last one stays.
///
/// Few and coarse on purpose: the wait stands in status messages, and an equal message is never written twice.
const WAITS: [SignedDuration; 6] = [
    SignedDuration::from_secs(1),
    SignedDuration::from_secs(5),
    SignedDuration::from_secs(15),
    SignedDuration::from_secs(30),
    SignedDuration::from_secs(60),
    SignedDuration::from_secs(300),
];

/// The waits after an effect that the other side refused for good, as far as it knows. It may yet change its mind: a
/// server that is being set up answers with error pages, an account is unlocked.
const WAITS_AFTER_REFUSALS: [SignedDuration; 4] = [
    SignedDuration::from_secs(15),
    SignedDuration::from_secs(60),
    SignedDuration::from_secs(300),
    SignedDuration::from_secs(3600),
];

/// The wait after this many failures in a row.
pub fn after_failures(failures: u32) -> SignedDuration {
    nth(&WAITS, failures)
}

/// The wait after this many refusals in a row.
pub fn after_refusals(refusals: u32) -> SignedDuration {
    nth(&WAITS_AFTER_REFUSALS, refusals)
}

fn nth(waits: &[SignedDuration], failures: u32) -> SignedDuration {
    let index = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    waits.get(index).or(waits.last()).copied().unwrap_or_default()
}

/// The wait after this many failed issuances in a row: `least`, doubled with each further one, up to `most`
/// (cert-manager's 1 h, 2 h, 4 h … 32 h).
pub fn after_failed_issuances(attempts: i64, least: SignedDuration, most: SignedDuration) -> SignedDuration {
    let doublings = attempts.saturating_sub(1).clamp(0, 30);
    let factor = 1_i32 << doublings;
    least.checked_mul(factor).unwrap_or(most).min(most).max(least)
}

/// A duration as people say it: whole units, the largest that fits exactly, else rounded up to seconds.
pub fn in_words(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().saturating_add(i64::from(duration.subsec_nanos() > 0));
    match seconds {
        s if s >= 3600 && s % 3600 == 0 => format!("{} h", s / 3600),
        s if s >= 60 && s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{} s", s.max(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let waits: Vec<_> = (1..9).map(|failures| after_failures(failures).as_secs()).collect();
        assert_eq!(waits, [1, 5, 15, 30, 60, 300, 300, 300]);
        assert_eq!(after_failures(0).as_secs(), 1);
        let waits: Vec<_> = (0..7).map(|refusals| after_refusals(refusals).as_secs()).collect();
        assert_eq!(waits, [15, 15, 60, 300, 3600, 3600, 3600]);
    }

    #[test]
    fn failed_issuances_wait_an_hour_to_thirty_two() {
        let hours = |attempts| {
            after_failed_issuances(attempts, SignedDuration::from_hours(1), SignedDuration::from_hours(32)).as_hours()
        };
        assert_eq!([-1, 0, 1, 2, 3, 4, 5, 6, 7, i64::MAX].map(hours), [1, 1, 1, 2, 4, 8, 16, 32, 32, 32]);
    }

    #[test]
    fn words() {
        let words = |seconds| in_words(SignedDuration::from_secs(seconds));
        assert_eq!([5, 60, 90, 3600, 7200].map(words), ["5 s", "1 min", "90 s", "1 h", "2 h"]);
    }
}
