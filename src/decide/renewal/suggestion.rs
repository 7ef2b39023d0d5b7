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
    pub not_before: Option<Timestamp>,
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
    let at = suggestion.instant().max(suggestion.not_before.unwrap_or(Timestamp::MIN)).min(latest);
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
