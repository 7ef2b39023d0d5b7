//! Why an issuance ended without a certificate, and how soon another attempt is worth the trouble.
//!
//! The kind of failure goes with its message, from the Order to the CertificateRequest to the Certificate: people read it
//! there, it is kept with the status, and no object needs a field that cert-manager does not know.

use jiff::SignedDuration;

use super::{
    backoff,
    challenge::interruption::INTERRUPTED,
    order::{EXPIRED_BEFORE_FINISHED, OTHER_SOLVERS},
    refusal::UNTIL_SPEC_CHANGES,
    renewal::chosen,
};

/// The wait after an attempt that the controller itself interrupted, if none failed before it: CAs count failed validations.
const AFTER_INTERRUPTION: SignedDuration = SignedDuration::from_mins(1);

/// The wait after the first hindered attempt; four times as long after each further one.
const AFTER_HINDRANCE: SignedDuration = SignedDuration::from_mins(1);

/// Stands in the message of a failure before when the next attempt is made.
pub(super) const NEXT_ATTEMPT: &str = " (next attempt at ";

/// See the module's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nobody said no, and another attempt bothers nobody: an order ran out of time, an issuer of the cluster's own could
    /// not sign, or has other solvers now.
    Hindrance,
    /// The controller, which was to answer the CA, was replaced at that moment.
    Interruption,
    /// Somebody looked and said no: a validation failed, a request was denied. What they looked at may change.
    Refusal,
    /// What was asked for cannot be had.
    Spec,
}

impl Cause {
    /// What a failure's message tells of its kind.
    pub fn of(message: &str) -> Self {
        if message.contains(UNTIL_SPEC_CHANGES) {
            Self::Spec
        } else if [EXPIRED_BEFORE_FINISHED, OTHER_SOLVERS].iter().any(|end| message.contains(end)) {
            Self::Hindrance
        } else if message.contains(INTERRUPTED) {
            Self::Interruption
        } else {
            Self::Refusal
        }
    }

    /// One word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hindrance => "hindrance",
            Self::Interruption => "interruption",
            Self::Refusal => "refusal",
            Self::Spec => "spec",
        }
    }

    /// How long the next attempt waits after so many failed ones in a row, unless the spec changes: within `least` and
    /// `most`, which are the operator's.
    pub fn wait(self, attempts: i64, least: SignedDuration, most: SignedDuration) -> SignedDuration {
        let usual = backoff::after_failed_issuances(attempts, least, most);
        match self {
            Self::Interruption if attempts <= 1 => AFTER_INTERRUPTION.min(usual),
            Self::Interruption | Self::Refusal => usual,
            // A rule of the CA's may change as well, so even this is tried again.
            Self::Spec => most.max(least),
            Self::Hindrance => {
                let doublings = attempts.saturating_sub(1).clamp(0, 10) * 2;
                AFTER_HINDRANCE.checked_mul(1 << doublings).unwrap_or(usual).min(usual)
            }
        }
    }
}

/// The wait, longer by up to a tenth: what failed together is not tried again together. The same seed always gives the
/// same wait.
pub fn spread(wait: SignedDuration, seed: &str) -> SignedDuration {
    let most = u64::try_from(wait.as_secs() / 10).unwrap_or_default();
    let longer = i64::try_from(chosen(seed, most.saturating_add(1))).unwrap_or_default();
    wait.checked_add(SignedDuration::from_secs(longer)).unwrap_or(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: SignedDuration = SignedDuration::from_hours(1);
    const DAY: SignedDuration = SignedDuration::from_hours(24);

    #[test]
    fn the_message_tells_the_cause() {
        let told = |end: &str| format!("Failed to create Order: the ACME server answered 400: no{end}");
        assert_eq!(Cause::of(&told("")), Cause::Refusal);
        assert_eq!(Cause::of(&told(UNTIL_SPEC_CHANGES)), Cause::Spec);
        assert_eq!(Cause::of(&format!("{} (next attempt at …)", told(INTERRUPTED))), Cause::Interruption);
        assert_eq!(Cause::of(&format!("{} (next attempt at …)", told(EXPIRED_BEFORE_FINISHED))), Cause::Hindrance);
        assert_eq!(Cause::of(&format!("{} (next attempt at …)", told(OTHER_SOLVERS))), Cause::Hindrance);
    }

    #[test]
    fn each_cause_has_waits_of_its_own() {
        let minutes = |cause: Cause| (0..6).map(move |attempts| cause.wait(attempts, HOUR, DAY).as_mins());
        assert_eq!(minutes(Cause::Refusal).collect::<Vec<_>>(), [60, 60, 120, 240, 480, 960]);
        assert_eq!(minutes(Cause::Spec).collect::<Vec<_>>(), [1440; 6]);
        assert_eq!(minutes(Cause::Hindrance).collect::<Vec<_>>(), [1, 1, 4, 16, 64, 256]);
        assert_eq!(minutes(Cause::Interruption).collect::<Vec<_>>(), [1, 1, 120, 240, 480, 960], "only once in a row");
        for cause in [Cause::Hindrance, Cause::Interruption, Cause::Refusal, Cause::Spec] {
            let longest = cause.wait(i64::MAX, HOUR, DAY);
            assert!(longest == DAY, "{cause:?} {longest:?}");
            let impatient = cause.wait(3, SignedDuration::from_secs(5), SignedDuration::from_secs(5));
            assert_eq!(impatient.as_secs(), 5, "{cause:?}: the operator's limits hold");
        }
    }

    #[test]
    fn waits_are_spread_by_a_tenth_at_most() {
        let spread_out: std::collections::BTreeSet<_> = (0..100).map(|seed| spread(HOUR, &seed.to_string())).collect();
        assert!(spread_out.len() > 50, "{}", spread_out.len());
        assert!(spread_out.iter().all(|wait| (60..=66).contains(&wait.as_mins())), "{spread_out:?}");
        assert_eq!(spread(SignedDuration::ZERO, "a"), SignedDuration::ZERO);
    }
}
