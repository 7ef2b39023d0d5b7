//! How often the CA is asked how far something is.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::step_error::signed;

/// The first waits between two looks at something the CA works on, if the CA names none.
const LOOKS: [SignedDuration; 7] = [
    SignedDuration::from_millis(20),
    SignedDuration::from_millis(50),
    SignedDuration::from_millis(130),
    SignedDuration::from_millis(500),
    SignedDuration::from_secs(1),
    SignedDuration::from_secs(2),
    SignedDuration::from_secs(5),
];

/// What takes longer than these many looks, which is five minutes, takes a while.
const MANY: u32 = 65;
const LATER: SignedDuration = SignedDuration::from_secs(30);

/// When to look again after this many looks; the CA's wish goes before our own. That it wishes for no time at all says
/// nothing: it would be asked without a pause.
pub(super) fn next_look(looks: u32, retry_after: Option<Duration>, now: Timestamp) -> Timestamp {
    let index = usize::try_from(looks).unwrap_or(usize::MAX).min(LOOKS.len() - 1);
    let own = if looks < MANY { LOOKS[index] } else { LATER };
    now + retry_after.filter(|wish| !wish.is_zero()).map_or(own, signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cas_wish_counts_unless_it_is_for_no_time_at_all() {
        let wait = |looks, wish: Option<u64>| {
            let next = next_look(looks, wish.map(Duration::from_secs), Timestamp::UNIX_EPOCH);
            next.duration_since(Timestamp::UNIX_EPOCH).as_millis()
        };
        assert_eq!([0, 5, 64, 65, u32::MAX].map(|looks| wait(looks, None)), [20, 2000, 5000, 30_000, 30_000]);
        assert_eq!((wait(0, Some(3)), wait(99, Some(1))), (3000, 1000));
        assert_eq!((wait(0, Some(0)), wait(64, Some(0))), (20, 5000));
    }
}
