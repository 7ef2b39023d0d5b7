//! The renewal time that follows from what the CA suggests (RFC 9773 section 4.2).

use jiff::{SignedDuration, Timestamp};

use super::{RenewalTime, chosen, chosen_before_end, in_windows, in_windows_by, to_the_second, window};
use crate::{api::CertificateSpec, decide::later};

/// The least rest of the lifetime with which a certificate is renewed, whatever the CA suggests: one part of so many.
const LEAST_REST: i32 = 50;

/// What a CA suggests for one certificate.
#[derive(Clone, Copy, Debug)]
pub struct Suggestion<'a> {
    pub start: Timestamp,
    pub end: Timestamp,
    /// Differs between certificates, and between their issuances.
    pub seed: &'a str,
    /// When the CA was last asked.
    pub checked: Timestamp,
    /// The suggestion is not followed before this time.
    pub obeyed_from: Option<Timestamp>,
}

/// The renewal time of a certificate with this validity for which the CA suggests a time span: an instant in it, always
/// the same one. It is moved into a window of `spec.renewal`, unless that would be too late for the CA.
///
/// `regular` is when it would be renewed without the suggestion; that counts if it is earlier and the spec names it.
pub fn suggested_renewal_time(
    spec: &CertificateSpec,
    not_before: Timestamp,
    not_after: Timestamp,
    regular: Timestamp,
    suggestion: &Suggestion<'_>,
) -> RenewalTime {
    let lifetime = not_after.duration_since(not_before).max(SignedDuration::ZERO);
    let latest = to_the_second(later(not_after, -(lifetime / LEAST_REST)));
    let at = suggestion.instant().max(suggestion.obeyed_from.unwrap_or(Timestamp::MIN)).min(latest);
    if chosen_before_end(spec, lifetime).is_some() && regular <= at {
        return in_windows(spec, regular, not_before, not_after);
    }
    in_windows_by(spec, at, |windows| {
        let first_tenth = later(not_before, lifetime / 10);
        let earliest = first_tenth.max(suggestion.checked);
        window::within_suggestion(windows, at, suggestion.end.min(latest), earliest)
    })
}

impl Suggestion<'_> {
    /// Any second of the time span, each as likely as the other.
    fn instant(&self) -> Timestamp {
        let (start, end) = (self.start, self.end);
        let seconds = u64::try_from(end.as_second().saturating_sub(start.as_second())).unwrap_or_default();
        let part = chosen(&format!("{}/{start}/{end}", self.seed), seconds.saturating_add(1));
        let at = start.as_second().saturating_add(i64::try_from(part).unwrap_or_default());
        Timestamp::from_second(at).unwrap_or(end)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        api::certificate::{RenewalSpec, RenewalWindow},
        decide::renewal::{desired, window::tests::window},
    };

    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;

    fn at(seconds: i64) -> Timestamp {
        // A Thursday.
        "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
    }

    fn suggestion(start: i64, end: i64) -> Suggestion<'static> {
        Suggestion { start: at(start), end: at(end), seed: "uid/serial", checked: at(2 * HOUR), obeyed_from: None }
    }

    /// The renewal of a certificate that lives ninety days from [`at`] zero.
    fn renewal(spec: &CertificateSpec, suggestion: &Suggestion<'_>) -> RenewalTime {
        let (from, until) = (at(0), at(90 * DAY));
        suggested_renewal_time(spec, from, until, desired(spec, from, until), suggestion)
    }

    fn seconds(time: &RenewalTime) -> i64 {
        time.at.unwrap().duration_since(at(0)).as_secs()
    }

    fn with_windows(windows: Vec<RenewalWindow>) -> CertificateSpec {
        let renewal = Some(RenewalSpec { policy: None, windows });
        CertificateSpec { renewal, ..CertificateSpec::default() }
    }

    #[test]
    fn the_suggestion_replaces_the_third_but_not_a_time_that_the_spec_names() {
        let free = CertificateSpec::default();
        let (early, late) = (suggestion(10 * DAY, 11 * DAY), suggestion(80 * DAY, 81 * DAY));
        assert!((10 * DAY..=11 * DAY).contains(&seconds(&renewal(&free, &early))));
        assert!((80 * DAY..=81 * DAY).contains(&seconds(&renewal(&free, &late))));
        let fixed = CertificateSpec { renew_before: Some("480h".into()), ..CertificateSpec::default() };
        let percent = CertificateSpec { renew_before_percentage: Some(25), ..CertificateSpec::default() };
        assert!((10 * DAY..=11 * DAY).contains(&seconds(&renewal(&fixed, &early))));
        assert_eq!(seconds(&renewal(&fixed, &late)), 70 * DAY);
        assert_eq!(seconds(&renewal(&percent, &late)), 135 * DAY / 2);
        // One that makes no sense counts as none.
        let odd = CertificateSpec { renew_before: Some("2161h".into()), ..CertificateSpec::default() };
        assert!(seconds(&renewal(&odd, &late)) >= 80 * DAY);
    }

    #[test]
    fn no_suggestion_lets_a_certificate_run_out_and_none_renews_without_policy() {
        let never = suggestion(100 * DAY, 900 * DAY);
        assert_eq!(seconds(&renewal(&CertificateSpec::default(), &never)), 90 * DAY - 90 * DAY / 50);
        let disabled = Some(RenewalSpec { policy: Some("Disabled".into()), windows: Vec::new() });
        let spec = CertificateSpec { renewal: disabled, ..CertificateSpec::default() };
        assert_eq!(renewal(&spec, &never).at, None);
    }

    #[test]
    fn a_suggestion_that_is_not_obeyed_yet() {
        let spec = CertificateSpec::default();
        let held = |until: i64| Suggestion { obeyed_from: Some(at(until)), ..suggestion(-HOUR, HOUR) };
        assert!(seconds(&renewal(&spec, &suggestion(-HOUR, HOUR))) <= HOUR);
        assert_eq!(seconds(&renewal(&spec, &held(DAY))), DAY);
        assert!(seconds(&renewal(&spec, &held(100 * DAY))) < 89 * DAY);
    }

    #[test]
    fn windows_are_kept_as_far_as_the_ca_allows() {
        // Saturdays are the third day, the tenth, …
        let saturdays = with_windows(vec![window("0 2 * * sat", None, "4h")]);
        let free = CertificateSpec::default();
        let saturday = |week: i64| (2 + 7 * week) * DAY + 2 * HOUR;
        let week = suggestion(saturday(3) + DAY, saturday(4) + 1);
        assert!(seconds(&renewal(&free, &week)) < saturday(4));
        assert_eq!(seconds(&renewal(&saturdays, &week)), saturday(4), "the next that is in time");
        let days = suggestion(saturday(3) + DAY, saturday(3) + 2 * DAY);
        assert_eq!(seconds(&renewal(&saturdays, &days)), saturday(3) + 4 * HOUR, "else the last before");
        let known_late = Suggestion { checked: at(saturday(3) + DAY), ..days };
        assert_eq!(renewal(&saturdays, &known_late), renewal(&free, &days), "else without");
        let past = Suggestion { checked: at(20 * DAY), ..suggestion(19 * DAY, 19 * DAY + HOUR) };
        assert!(seconds(&renewal(&saturdays, &past)) <= 20 * DAY, "now");
        let inside = suggestion(saturday(4), saturday(4) + HOUR);
        assert_eq!(renewal(&saturdays, &inside), renewal(&free, &inside));
        let odd = renewal(&with_windows(vec![window("nonsense", None, "1h")]), &days);
        assert_eq!((odd.at, odd.problem.is_some()), (renewal(&free, &days).at, true));
    }

    #[test]
    fn a_thousand_certificates_spread_over_the_time_span() {
        let mut of_ten = [0; 10];
        for number in 0..1000 {
            let seed = format!("uid-{number}/serial");
            let time = renewal(&CertificateSpec::default(), &Suggestion { seed: &seed, ..suggestion(0, 10 * DAY - 1) });
            of_ten[usize::try_from(seconds(&time) / DAY).unwrap()] += 1;
        }
        assert!(of_ten.iter().all(|count| (60..=140).contains(count)), "{of_ten:?}");
    }

    proptest! {
        #[test]
        fn an_instant_in_the_time_span_always_the_same_and_never_too_late(
            start in -200 * DAY..200 * DAY, length in 1..100 * DAY, lifetime in 1..400 * DAY, seed in "[a-z0-9/-]{0,40}",
        ) {
            let suggestion = Suggestion { seed: &seed, ..suggestion(start, start + length) };
            let (spec, until) = (CertificateSpec::default(), at(lifetime));
            let regular = desired(&spec, at(0), until);
            let found = suggested_renewal_time(&spec, at(0), until, regular, &suggestion).at.unwrap();
            prop_assert_eq!(Some(found), suggested_renewal_time(&spec, at(0), until, regular, &suggestion).at);
            let latest = lifetime - lifetime / i64::from(LEAST_REST);
            let found = found.duration_since(at(0)).as_secs();
            prop_assert!(found <= latest && found <= start + length);
            prop_assert!(found >= start.min(latest - 1), "{} {}", found, start);
            // Another question changes nothing.
            let later = Suggestion { checked: at(start), ..suggestion };
            let again = suggested_renewal_time(&spec, at(0), until, regular, &later).at.unwrap();
            prop_assert_eq!(found, again.duration_since(at(0)).as_secs());
        }

        #[test]
        fn windows_never_make_it_later_than_the_ca_wants(
            start in 0..80 * DAY, length in 1..10 * DAY, hours in 1..30_u32, checked in 0..80 * DAY, seed in "[a-z]{0,9}",
        ) {
            let suggestion = Suggestion { seed: &seed, checked: at(checked), ..suggestion(start, start + length) };
            for cron in ["0 2 * * *", "0 2 * * sat", "0 0 1 * *", "0 0 1 1 *"] {
                let spec = with_windows(vec![window(cron, None, &format!("{hours}h"))]);
                let time = renewal(&spec, &suggestion);
                prop_assert_eq!(&time.problem, &None);
                prop_assert!(seconds(&time) <= start + length);
            }
        }
    }
}
