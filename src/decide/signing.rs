//! From when to when a certificate that we sign ourselves is valid.

use jiff::{SignedDuration, Timestamp};

use super::later;
use crate::api::CertificateRequestSpec;

/// The lifetime of a certificate whose request names none: 90 days.
const DEFAULT_DURATION: SignedDuration = SignedDuration::from_hours(90 * 24);

/// First and last second of a certificate for this request that is signed now and must not outlive `last`, the end of
/// the CA's own certificate.
///
/// # Errors
/// In words for people, when no time is left.
pub fn validity(
    spec: &CertificateRequestSpec,
    now: Timestamp,
    last: Timestamp,
) -> Result<(Timestamp, Timestamp), String> {
    let duration = match &spec.duration {
        None => DEFAULT_DURATION,
        Some(text) => text.to_duration().map_err(|error| format!("spec.duration: {error}"))?,
    };
    if duration <= SignedDuration::ZERO {
        return Err(format!("spec.duration: is {duration:#}; it must be longer than nothing"));
    }
    let whole = |time: Timestamp| Timestamp::from_second(time.as_second()).unwrap_or(time);
    let not_before = whole(now);
    Ok((not_before, whole(later(not_before, duration).min(last))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_never_outlives_its_ca() {
        let now: Timestamp = "2026-01-01T00:00:00.5Z".parse().unwrap();
        let end = |duration: Option<&str>, last: &str| {
            let spec =
                CertificateRequestSpec { duration: duration.map(Into::into), ..CertificateRequestSpec::default() };
            validity(&spec, now, last.parse().unwrap()).map(|(_, end)| end.to_string())
        };
        assert_eq!(end(None, "2030-01-01T00:00:00Z").unwrap(), "2026-04-01T00:00:00Z");
        assert_eq!(end(Some("2h"), "2030-01-01T00:00:00Z").unwrap(), "2026-01-01T02:00:00Z");
        assert_eq!(end(Some("2h"), "2026-01-01T01:00:00Z").unwrap(), "2026-01-01T01:00:00Z");
        assert!(end(Some("-1h"), "2030-01-01T00:00:00Z").unwrap_err().contains("spec.duration"));
        assert!(end(Some("soon"), "2030-01-01T00:00:00Z").is_err());
    }
}
