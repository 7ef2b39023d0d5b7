//! Spreading renewals that would all happen at the same second.

use jiff::{SignedDuration, Timestamp};

/// The most that a renewal is brought forward.
const LONGEST: SignedDuration = SignedDuration::from_hours(1);

/// `at` or a little earlier, to the second: by up to 1 % of the lifetime and one hour, but never into the first half of
/// the lifetime. The same seed always gives the same time, so that a restart does not move it.
pub fn jittered(at: Timestamp, not_before: Timestamp, not_after: Timestamp, seed: &str) -> Timestamp {
    let lifetime = not_after.duration_since(not_before);
    let longest = (lifetime / 100).min(LONGEST).as_secs();
    let Ok(choices) = u64::try_from(longest.saturating_add(1)) else { return at };
    if choices < 2 {
        return at;
    }
    let part = i64::try_from(chosen(seed, choices)).unwrap_or_default();
    let half_time = not_before.as_second().saturating_add(lifetime.as_secs() / 2);
    let earlier = at.as_second().saturating_sub(part).max(half_time);
    Timestamp::from_second(earlier).unwrap_or(at).min(at)
}

/// One of so many choices, counted from 0; always the same one for the same seed.
pub(in crate::decide) fn chosen(seed: &str, choices: u64) -> u64 {
    fnv1a_64(seed.as_bytes()) % choices.max(1)
}

/// FNV-1a, 64 bits (draft-eastlake-fnv): the same on every machine and in every version, unlike the hash of a `HashMap`.
fn fnv1a_64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a_64(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a_64(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a_64(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_thousand_certificates_spread_over_the_hour() {
        let not_before: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let not_after = not_before + SignedDuration::from_hours(90 * 24);
        let at = not_before + SignedDuration::from_hours(60 * 24);
        let mut of_ten_minutes = [0; 6];
        for number in 0..1000 {
            let seed = format!("uid-{number}");
            let early = at.duration_since(jittered(at, not_before, not_after, &seed));
            assert_eq!(early, at.duration_since(jittered(at, not_before, not_after, &seed)), "stable");
            of_ten_minutes[usize::try_from(early.as_mins() / 10).unwrap().min(5)] += 1;
        }
        assert!(of_ten_minutes.iter().all(|count| (100..=250).contains(count)), "{of_ten_minutes:?}");
    }

    proptest! {
        #[test]
        fn never_late_never_long_before_and_never_in_the_first_half(
            start in 0_i64..4_000_000_000, lifetime in 0_i64..400_000_000, part in 0.0..1.0_f64, seed in "[a-z0-9-]{0,40}",
        ) {
            let not_before = Timestamp::from_second(start).unwrap();
            let not_after = not_before + SignedDuration::from_secs(lifetime);
            let at = not_before + SignedDuration::from_secs(lifetime).mul_f64(part);
            let found = jittered(at, not_before, not_after, &seed);
            prop_assert!(found <= at);
            let early = at.duration_since(found);
            prop_assert!(early < LONGEST + SignedDuration::from_secs(1));
            prop_assert!(early.as_secs() <= lifetime / 100);
            let half = not_before + SignedDuration::from_secs(lifetime / 2);
            prop_assert!(found >= half.min(at));
        }
    }
}
