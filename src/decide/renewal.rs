//! When a certificate is due for renewal.

pub mod cron;
mod jitter;
mod suggestion;
mod window;

use jiff::{SignedDuration, Timestamp};

pub(super) use jitter::chosen;
pub use jitter::jittered;
pub use suggestion::{Suggestion, suggested_renewal_time};
pub use window::WindowError;

use super::later;
use crate::api::{CertificateSpec, certificate::RenewalWindow};

/// Renew before the certificate expires; also what an unset policy means.
const RENEW_BEFORE: &str = "RenewBefore";
/// Never renew because the certificate expires.
pub(super) const DISABLED: &str = "Disabled";

/// When a certificate is to be renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewalTime {
    /// To the second; `None` with the policy `Disabled`.
    pub at: Option<Timestamp>,
    /// What of `spec.renewal` could not be used. Then `at` is the time that would hold without it.
    pub problem: Option<String>,
}

/// The renewal time of a certificate with this validity: `renewBefore` its end, or with that percentage of its lifetime
/// left, or with a third of it left; moved into a window if `spec.renewal` has windows.
///
/// With a seed, [`jittered`] chooses a time before the windows are looked at: what lies in a window stays in it. The seed
/// is to differ between certificates and between their issuances.
pub fn renewal_time(
    spec: &CertificateSpec,
    not_before: Timestamp,
    not_after: Timestamp,
    seed: Option<&str>,
) -> RenewalTime {
    in_windows(spec, desired_or_jittered(spec, not_before, not_after, seed), not_before, not_after)
}

/// Before the windows are looked at.
pub(super) fn desired_or_jittered(
    spec: &CertificateSpec,
    not_before: Timestamp,
    not_after: Timestamp,
    seed: Option<&str>,
) -> Timestamp {
    let desired = desired(spec, not_before, not_after);
    seed.map_or(desired, |seed| jittered(desired, not_before, not_after, seed))
}

fn in_windows(spec: &CertificateSpec, desired: Timestamp, not_before: Timestamp, not_after: Timestamp) -> RenewalTime {
    in_windows_by(spec, desired, |windows| window::within(windows, desired, not_before, not_after))
}

/// The desired time, moved by `within` if `spec.renewal` has windows.
fn in_windows_by(
    spec: &CertificateSpec,
    desired: Timestamp,
    within: impl FnOnce(&[RenewalWindow]) -> Result<Timestamp, WindowError>,
) -> RenewalTime {
    let free = RenewalTime { at: Some(desired), problem: None };
    let Some(renewal) = &spec.renewal else { return free };
    match renewal.policy.as_deref() {
        Some(DISABLED) => return RenewalTime { at: None, problem: None },
        None | Some(RENEW_BEFORE | "") => {}
        Some(other) => {
            let problem = format!("the renewal policy \"{other}\" is not known; use {RENEW_BEFORE} or {DISABLED}");
            return RenewalTime { problem: Some(problem), ..free };
        }
    }
    if renewal.windows.is_empty() {
        return free;
    }
    match within(&renewal.windows) {
        Ok(at) => RenewalTime { at: Some(at), problem: None },
        Err(error) => RenewalTime { problem: Some(error.to_string()), ..free },
    }
}

/// When the certificate is renewed if there are neither windows nor a CA's suggestion.
pub(super) fn desired(spec: &CertificateSpec, not_before: Timestamp, not_after: Timestamp) -> Timestamp {
    let lifetime = not_after.duration_since(not_before).max(SignedDuration::ZERO);
    to_the_second(later(not_after, -chosen_before_end(spec, lifetime).unwrap_or(lifetime / 3)))
}

fn to_the_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// How long before the end the spec wants it, if it says so in a way that makes sense.
fn chosen_before_end(spec: &CertificateSpec, lifetime: SignedDuration) -> Option<SignedDuration> {
    let fixed = spec.renew_before.as_ref().and_then(|text| text.to_duration().ok());
    let fixed = fixed.filter(|fixed| *fixed > SignedDuration::ZERO && *fixed < lifetime);
    if fixed.is_some() {
        return fixed;
    }
    let percentage = spec.renew_before_percentage.filter(|percentage| (1..100).contains(percentage))?;
    Some(lifetime / 100 * percentage)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    use super::{
        cron::{
            Schedule,
            tests::{CRONS, ZONES},
        },
        window::tests::window,
        *,
    };
    use crate::api::certificate::{RenewalSpec, RenewalWindow};

    fn days(count: i64) -> SignedDuration {
        SignedDuration::from_hours(count * 24)
    }

    fn start() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn hours_left(spec: &CertificateSpec) -> i64 {
        let not_after = start() + days(90);
        not_after.duration_since(renewal_time(spec, start(), not_after, None).at.unwrap()).as_hours()
    }

    fn with(policy: Option<&str>, windows: Vec<RenewalWindow>) -> CertificateSpec {
        let renewal = RenewalSpec { policy: policy.map(str::to_owned), windows };
        CertificateSpec { renewal: Some(renewal), ..CertificateSpec::default() }
    }

    #[test]
    fn a_third_a_fixed_time_or_a_percentage() {
        assert_eq!(hours_left(&CertificateSpec::default()), 30 * 24);
        let fixed = |text: &str| CertificateSpec { renew_before: Some(text.into()), ..CertificateSpec::default() };
        assert_eq!(hours_left(&fixed("48h")), 48);
        assert_eq!(hours_left(&fixed("21600h")), 30 * 24, "longer than the lifetime");
        assert_eq!(hours_left(&fixed("2160h")), 30 * 24, "as long as the lifetime");
        assert_eq!(hours_left(&fixed("-1h")), 30 * 24);
        assert_eq!(hours_left(&fixed("nonsense")), 30 * 24);
        let percent =
            |percentage| CertificateSpec { renew_before_percentage: Some(percentage), ..CertificateSpec::default() };
        for (percentage, left) in [(50, 45 * 24), (1, 21), (99, 2138)] {
            assert_eq!(hours_left(&percent(percentage)), left);
        }
        for percentage in [i32::MIN, -1, 0, 100, 101, i32::MAX] {
            assert_eq!(hours_left(&percent(percentage)), 30 * 24, "{percentage} % is ignored");
        }
    }

    #[test]
    fn a_validity_that_ends_before_it_begins_is_due_at_its_end() {
        let time = renewal_time(&CertificateSpec::default(), start(), start() - days(3), None);
        assert_eq!(time.at, Some(start() - days(3)));
    }

    #[test]
    fn policies() {
        let time = |spec: &CertificateSpec| renewal_time(spec, start(), start() + days(90), None);
        assert_eq!(time(&with(Some("Disabled"), Vec::new())), RenewalTime { at: None, problem: None });
        let free = RenewalTime { at: Some(start() + days(60)), problem: None };
        assert_eq!(time(&with(Some("RenewBefore"), Vec::new())), free);
        assert_eq!(time(&with(None, Vec::new())), free);
        let problem = Some("the renewal policy \"Sometimes\" is not known; use RenewBefore or Disabled".to_owned());
        assert_eq!(time(&with(Some("Sometimes"), Vec::new())), RenewalTime { problem, ..free });
    }

    #[test]
    fn a_window_that_cannot_be_used_leaves_the_desired_time() {
        let time = renewal_time(&with(None, vec![window("nonsense", None, "1h")]), start(), start() + days(90), None);
        assert_eq!(time.at, Some(start() + days(60)));
        assert!(time.problem.unwrap().contains("\"nonsense\" of renewal window 1"));
    }

    #[test]
    fn jitter_comes_before_the_windows() {
        let end = start() + days(90);
        let time = |windows, seed: &str| renewal_time(&with(None, windows), start(), end, Some(seed)).at.unwrap();
        let due = start() + days(60);
        let free: Vec<_> = (0..20).map(|seed| time(Vec::new(), &seed.to_string())).collect();
        assert!(free.iter().all(|at| *at <= due && due.duration_since(*at) <= SignedDuration::from_hours(1)));
        assert!(free.iter().any(|at| *at != free[0]));
        // Inside the window it stays as it is; outside it is the window's end, whatever the jitter.
        assert_eq!(time(vec![window("0 20 * * *", None, "6h")], "7"), free[7]);
        assert_eq!(time(vec![window("0 20 * * *", None, "1h")], "7"), due - SignedDuration::from_hours(3));
    }

    fn some_windows() -> impl Strategy<Value = Vec<RenewalWindow>> {
        let one = (0..CRONS.len(), 0..ZONES.len(), 1..2000_u32);
        let one = one.prop_map(|(cron, zone, minutes)| window(CRONS[cron], Some(ZONES[zone]), &format!("{minutes}m")));
        proptest::collection::vec(one, 1..4)
    }

    fn lies_in(at: Timestamp, window: &RenewalWindow) -> bool {
        let schedule = Schedule::parse(&window.cron).unwrap();
        let zone = TimeZone::get(window.timezone.as_deref().unwrap()).unwrap();
        let minutes = window.window_duration.to_duration().unwrap().as_mins();
        let minute = Timestamp::from_second(at.as_second().div_euclid(60) * 60).unwrap();
        let mut starts = (0..=minutes).map(|back| minute - SignedDuration::from_mins(back));
        starts.any(|start| schedule.matches(start, &zone) && at <= start + SignedDuration::from_mins(minutes))
    }

    proptest! {
        #[test]
        fn renewals_lie_in_a_window_or_a_problem_is_told(
            windows in some_windows(), second in 1_740_000_000_i64..1_800_000_000, hours in 1..5000_i64, seed in any::<u32>(),
        ) {
            let not_before = Timestamp::from_second(second).unwrap();
            let not_after = not_before + SignedDuration::from_hours(hours);
            let spec = with(None, windows.clone());
            let free = CertificateSpec::default();
            let seed = seed.to_string();
            for seed in [None, Some(seed.as_str())] {
                let time = renewal_time(&spec, not_before, not_after, seed);
                let free = renewal_time(&free, not_before, not_after, seed);
                let at = time.at.unwrap();
                prop_assert!(not_before < at && at < not_after);
                match time.problem {
                    Some(_) => {
                        prop_assert_eq!(Some(at), free.at);
                        prop_assert!(!windows.iter().any(|window| lies_in(at, window)));
                    }
                    None => prop_assert!(windows.iter().any(|window| lies_in(at, window)), "{}", at),
                }
            }
        }
    }
}
