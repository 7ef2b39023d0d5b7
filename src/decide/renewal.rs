//! When a certificate is due for renewal.

use jiff::{SignedDuration, Timestamp};

use super::later;
use crate::api::CertificateSpec;

/// The renewal time of a certificate with this validity, to the second: `renewBefore` its end, or with that percentage
/// of its lifetime left, or with a third of it left.
pub fn renewal_time(spec: &CertificateSpec, not_before: Timestamp, not_after: Timestamp) -> Timestamp {
    let lifetime = not_after.duration_since(not_before);
    let at = later(not_after, -before_end(spec, lifetime));
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn before_end(spec: &CertificateSpec, lifetime: SignedDuration) -> SignedDuration {
    let fixed = spec.renew_before.as_ref().and_then(|text| text.to_duration().ok());
    if let Some(fixed) = fixed.filter(|fixed| *fixed > SignedDuration::ZERO && *fixed < lifetime) {
        return fixed;
    }
    match spec.renew_before_percentage {
        Some(percentage) if (1..100).contains(&percentage) => lifetime / 100 * percentage,
        _ => lifetime / 3,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn left_at_renewal(spec: &CertificateSpec) -> i64 {
        let not_before: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let not_after = not_before + SignedDuration::from_hours(90 * 24);
        not_after.duration_since(renewal_time(spec, not_before, not_after)).as_hours()
    }

    #[test]
    fn a_third_a_fixed_time_or_a_percentage() {
        assert_eq!(left_at_renewal(&CertificateSpec::default()), 30 * 24);
        let fixed = |text: &str| CertificateSpec { renew_before: Some(text.into()), ..CertificateSpec::default() };
        assert_eq!(left_at_renewal(&fixed("48h")), 48);
        assert_eq!(left_at_renewal(&fixed("21600h")), 30 * 24, "longer than the lifetime");
        assert_eq!(left_at_renewal(&fixed("nonsense")), 30 * 24);
        let percent =
            |percentage| CertificateSpec { renew_before_percentage: Some(percentage), ..CertificateSpec::default() };
        assert_eq!(left_at_renewal(&percent(50)), 45 * 24);
        assert_eq!(left_at_renewal(&percent(100)), 30 * 24);
    }
}
