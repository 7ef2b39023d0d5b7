//! The hours in which renewals may happen (`spec.renewal.windows`).

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::cron::{CronError, Schedule};
use crate::api::{certificate::RenewalWindow, duration::DurationError};

/// How many windows are looked at. Each costs a search.
const MOST_WINDOWS: usize = 50;

/// Why windows cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WindowError {
    #[error("{0} renewal windows are too many; at most {MOST_WINDOWS} are looked at")]
    TooMany(usize),
    #[error("the cron expression \"{cron}\" of renewal window {number} cannot be used: {source}")]
    Cron { number: usize, cron: String, source: CronError },
    #[error("the time zone \"{zone}\" of renewal window {number} is not in the IANA time zone database")]
    TimeZone { number: usize, zone: String },
    #[error("the windowDuration of renewal window {number} cannot be used: {source}")]
    Duration { number: usize, source: DurationError },
    #[error("the windowDuration of renewal window {number} is not above zero")]
    NoDuration { number: usize },
    #[error("no renewal window ({crons}) falls into the certificate's life from {not_before} to {not_after}")]
    None { crons: String, not_before: Timestamp, not_after: Timestamp },
}

/// The time for a renewal that is wanted at `desired`: that time if it lies in a window, else the last end of a window
/// before it, else the first start of one after it. An end counts as inside.
///
/// Ends in the first tenth of the certificate's life do not count: CAs date certificates back, so that the window in
/// which this one was issued can end after `not_before`, and it would be renewed over and over.
///
/// # Errors
/// [`WindowError`] for the first window that cannot be used, or when none falls into the certificate's life.
pub(super) fn within(
    windows: &[RenewalWindow],
    desired: Timestamp,
    not_before: Timestamp,
    not_after: Timestamp,
) -> Result<Timestamp, WindowError> {
    let parsed = parse(windows)?;
    if parsed.iter().any(|window| window.holds(desired)) {
        return Ok(desired);
    }
    let earliest = super::super::later(not_before, not_after.duration_since(not_before) / 10);
    let before = parsed.iter().filter_map(|window| window.last_end(earliest, desired)).max();
    let after = || parsed.iter().filter_map(|window| window.next_start(desired, not_after)).min();
    before.or_else(after).ok_or_else(|| {
        let crons: Vec<_> = windows.iter().map(|window| window.cron.as_str()).collect();
        WindowError::None { crons: crons.join(", "), not_before, not_after }
    })
}

/// The time for a renewal that the CA suggests to make at `at` and until `until`: that time if it lies in a window, else
/// the first start of a window until then, else the last end of one from `earliest` on. Without any it is `at` itself:
/// the CA's wish goes before the windows.
///
/// # Errors
/// [`WindowError`] for the first window that cannot be used.
pub(super) fn within_suggestion(
    windows: &[RenewalWindow],
    at: Timestamp,
    until: Timestamp,
    earliest: Timestamp,
) -> Result<Timestamp, WindowError> {
    let parsed = parse(windows)?;
    if parsed.iter().any(|window| window.holds(at)) {
        return Ok(at);
    }
    let after = parsed.iter().filter_map(|window| window.next_start(at, until)).min();
    let before = || parsed.iter().filter_map(|window| window.last_end(earliest, at)).max();
    Ok(after.or_else(before).unwrap_or(at))
}

fn parse(windows: &[RenewalWindow]) -> Result<Vec<Window>, WindowError> {
    if windows.len() > MOST_WINDOWS {
        return Err(WindowError::TooMany(windows.len()));
    }
    windows.iter().enumerate().map(|(at, window)| Window::parse(at + 1, window)).collect()
}

struct Window {
    schedule: Schedule,
    zone: TimeZone,
    duration: SignedDuration,
}

impl Window {
    /// `number` counts from 1.
    fn parse(number: usize, window: &RenewalWindow) -> Result<Self, WindowError> {
        let cron = |source| WindowError::Cron { number, cron: window.cron.clone(), source };
        let duration = window.window_duration.to_duration();
        let duration = duration.map_err(|source| WindowError::Duration { number, source })?;
        if duration <= SignedDuration::ZERO {
            return Err(WindowError::NoDuration { number });
        }
        let zone = window.timezone.as_deref().unwrap_or("UTC");
        let unknown = |_| WindowError::TimeZone { number, zone: zone.to_owned() };
        Ok(Self {
            schedule: Schedule::parse(&window.cron).map_err(cron)?,
            zone: TimeZone::get(zone).map_err(unknown)?,
            duration,
        })
    }

    fn holds(&self, at: Timestamp) -> bool {
        let earliest_start = self.start_of_one_that_ends(at);
        self.schedule.first_from(earliest_start, at, &self.zone).is_some()
    }

    /// The last end of the window from `from` to `until`.
    fn last_end(&self, from: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let (from, until) = (self.start_of_one_that_ends(from), self.start_of_one_that_ends(until));
        let start = self.schedule.last_until(from, until, &self.zone)?;
        let end = start.checked_add(self.duration).ok()?;
        // Windows may last a fraction of a second, renewal times are whole ones.
        Timestamp::from_second(end.as_second()).ok()
    }

    /// The first start after `from` and before `until`.
    fn next_start(&self, from: Timestamp, until: Timestamp) -> Option<Timestamp> {
        self.schedule.first_from(from, until, &self.zone).filter(|start| *start < until)
    }

    fn start_of_one_that_ends(&self, end: Timestamp) -> Timestamp {
        super::super::later(end, -self.duration)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn window(cron: &str, zone: Option<&str>, duration: &str) -> RenewalWindow {
        RenewalWindow { cron: cron.into(), timezone: zone.map(Into::into), window_duration: duration.into() }
    }

    /// A certificate of ninety days that is to be renewed on Monday, 2 March 2026, at noon.
    fn found(windows: &[RenewalWindow]) -> Result<String, String> {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (desired, start, end) =
            (at("2026-03-02T12:00:00Z"), at("2026-01-01T12:00:00Z"), at("2026-04-01T12:00:00Z"));
        within(windows, desired, start, end).map(|at| at.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn inside_before_or_after() {
        for (windows, expected) in [
            (vec![window("0 10 * * *", None, "4h")], "2026-03-02T12:00:00Z"),
            (vec![window("0 12 * * *", None, "1h")], "2026-03-02T12:00:00Z"),
            (vec![window("0 11 * * *", None, "1h")], "2026-03-02T12:00:00Z"),
            (vec![window("0 2 * * *", None, "4h")], "2026-03-02T06:00:00Z"),
            (vec![window("0 2 * * sat", None, "90m")], "2026-02-28T03:30:00Z"),
            (vec![window("0 2 * * *", None, "1h"), window("0 3 * * *", None, "2h")], "2026-03-02T05:00:00Z"),
            (vec![window("0 2 * * *", Some("America/New_York"), "1h")], "2026-03-02T08:00:00Z"),
            // Midnight in Auckland is 11 a.m. in UTC.
            (vec![window("@daily", Some("Pacific/Auckland"), "2h")], "2026-03-02T12:00:00Z"),
            (vec![window("0 2 15 3 *", None, "1h")], "2026-03-15T02:00:00Z"),
            (vec![window("0 2 20 3 *", None, "1h"), window("0 2 10 3 *", None, "1h")], "2026-03-10T02:00:00Z"),
            (vec![window("0 0 1 1 *", None, "4000h")], "2026-03-02T12:00:00Z"),
            (vec![window("0 2 1 3 *", None, "1.5s")], "2026-03-01T02:00:01Z"),
        ] {
            assert_eq!(found(&windows).unwrap(), expected, "{windows:?}");
        }
    }

    #[test]
    fn the_window_of_the_issuance_itself_does_not_count() {
        // Ends half an hour into the certificate's life, as when the CA dates back by an hour.
        let problem = found(&[window("30 11 1 1 *", None, "1h")]).unwrap_err();
        assert_eq!(
            problem,
            "no renewal window (30 11 1 1 *) falls into the certificate's life from 2026-01-01T12:00:00Z to \
             2026-04-01T12:00:00Z"
        );
        assert_eq!(found(&[window("30 11 12 1 *", None, "1h")]).unwrap(), "2026-01-12T12:30:00Z");
    }

    #[test]
    fn windows_that_cannot_be_used_are_named() {
        let good = window("@daily", None, "1h");
        for (bad, problem) in [
            (
                window("@dayly", None, "1h"),
                "the cron expression \"@dayly\" of renewal window 2 cannot be used: \"@dayly\"",
            ),
            (
                window("@daily", Some("Europe/Atlantis"), "1h"),
                "the time zone \"Europe/Atlantis\" of renewal window 2 is not in the IANA time zone database",
            ),
            (window("@daily", None, "1d"), "the windowDuration of renewal window 2 cannot be used: "),
            (window("@daily", None, "0s"), "the windowDuration of renewal window 2 is not above zero"),
        ] {
            let error = found(&[good.clone(), bad]).unwrap_err();
            assert!(error.starts_with(problem), "{error}");
        }
        assert!(found(&vec![good; 51]).unwrap_err().starts_with("51 renewal windows are too many"));
        assert!(found(&[window("0 0 30 2 *", None, "1h")]).unwrap_err().starts_with("no renewal window (0 0 30 2 *)"));
    }
}
