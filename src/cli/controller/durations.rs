//! Times on the command line, spelled as Go spells them: `1h30m`.

use jiff::SignedDuration;

use crate::api::GoDuration;

pub(in crate::cli) fn window(text: &str) -> Result<SignedDuration, String> {
    match duration(text)? {
        window if window > SignedDuration::ZERO => Ok(window),
        _ => Err("the time must be longer than nothing".to_owned()),
    }
}

pub(super) fn retry_period(text: &str) -> Result<SignedDuration, String> {
    match duration(text)? {
        period if period >= SignedDuration::from_secs(1) => Ok(period),
        _ => Err("the time must be a second or longer".to_owned()),
    }
}

/// For certificates that a server makes for itself: one that is over at once would be made again and again.
pub(in crate::cli) fn leaf_duration(text: &str) -> Result<SignedDuration, String> {
    match duration(text)? {
        lifetime if lifetime >= SignedDuration::from_secs(10) => Ok(lifetime),
        _ => Err("the time must be 10s or longer".to_owned()),
    }
}

pub(in crate::cli) fn duration(text: &str) -> Result<SignedDuration, String> {
    GoDuration::from(text).to_duration().map_err(|error| error.to_string())
}
