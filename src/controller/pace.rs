//! How often the CA is asked how far something is.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::step_error::signed;

/// The first waits between two looks at something the CA works on, if the CA names none; the last one stays.
const LOOKS: [SignedDuration; 7] = [
    SignedDuration::from_millis(20),
    SignedDuration::from_millis(50),
    SignedDuration::from_millis(130),
    SignedDuration::from_millis(500),
    SignedDuration::from_secs(1),
    SignedDuration::from_secs(2),
    SignedDuration::from_secs(5),
];

/// When to look again after this many looks; the CA's wish goes before our own.
pub(super) fn next_look(looks: u32, retry_after: Option<Duration>, now: Timestamp) -> Timestamp {
    let index = usize::try_from(looks).unwrap_or(usize::MAX).min(LOOKS.len() - 1);
    now + retry_after.map_or(LOOKS[index], signed)
}
