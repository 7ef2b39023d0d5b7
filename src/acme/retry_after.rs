//! The Retry-After header (RFC 9110 10.2.3, RFC 8555 6.6).

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// The longest wait that is believed: Let's Encrypt's longest rate limit counts over a week.
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// How long the server asks to wait. A date is compared with the answer's own Date header, so that a wrong clock on
/// either side does no harm; without one, with `now`.
pub(super) fn parse(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)).min(LONGEST));
    }
    let until = http_date(value)?;
    let server_time = headers.get(DATE).and_then(|date| http_date(date.to_str().ok()?));
    let wait = until.duration_since(server_time.unwrap_or(now));
    Some(Duration::try_from(wait).unwrap_or_default().min(LONGEST))
}

fn http_date(text: &str) -> Option<Timestamp> {
    rfc2822::parse(text).ok().map(|time| time.timestamp())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn parsed(retry_after: &str, date: Option<&str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry_after.parse().unwrap());
        if let Some(date) = date {
            headers.insert(DATE, date.parse().unwrap());
        }
        parse(&headers, NOW)
    }

    #[test]
    fn seconds_are_taken_up_to_a_week() {
        assert_eq!(parsed("0", None), Some(Duration::ZERO));
        assert_eq!(parsed(" 120 ", None), Some(Duration::from_mins(2)));
        assert_eq!(parsed("99999999", None), Some(LONGEST));
        assert_eq!(parsed("99999999999999999999999999", None), Some(LONGEST));
    }

    #[test]
    fn dates_are_compared_with_the_servers_clock() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(parsed("Sun, 06 Nov 1994 08:50:37 GMT", date), Some(Duration::from_mins(1)));
        assert_eq!(parsed("Sun, 06 Nov 1994 08:48:37 GMT", date), Some(Duration::ZERO));
        assert_eq!(parsed("Thu, 01 Jan 1970 00:01:00 GMT", None), Some(Duration::from_mins(1)));
        assert_eq!(parsed("Sun, 06 Nov 1994 08:49:37 GMT", None), Some(LONGEST));
    }

    #[test]
    fn nonsense_is_as_good_as_nothing() {
        for nonsense in ["", "soon", "-1", "1.5"] {
            assert_eq!(parsed(nonsense, None), None, "{nonsense}");
        }
        assert_eq!(parse(&HeaderMap::new(), NOW), None);
    }
}
