//! What an object says when nothing can be decided about it, because the API server refuses what is to be known or made.
//!
//! Whether a certificate or an issuer is of use does not change by that, so what was ready stays so, with a remark.

use jiff::Timestamp;

use super::progress::Progress;
use crate::api::{
    CertificateRequestStatus, CertificateStatus, ChallengeStatus, Condition, IssuerStatus, OrderStatus, find_condition,
    names::{condition, reason},
    set_condition,
};

/// Stands between what was said before and what is refused.
pub(super) const AT_PRESENT: &str = "; at present: ";

/// The status with this remark; none if it says so already, or if nobody waits for anything.
pub trait Remark: Sized {
    fn remark(&self, text: &str, now: Timestamp) -> Option<Self>;
}

impl Remark for CertificateStatus {
    fn remark(&self, text: &str, now: Timestamp) -> Option<Self> {
        let conditions = with_remark(&self.conditions, reason::REFUSED_BY_API_SERVER, text, now);
        differing(self, Self { conditions, ..self.clone() })
    }
}

impl Remark for IssuerStatus {
    fn remark(&self, text: &str, now: Timestamp) -> Option<Self> {
        let conditions = with_remark(&self.conditions, reason::REFUSED_BY_API_SERVER, text, now);
        differing(self, Self { conditions, ..self.clone() })
    }
}

impl Remark for CertificateRequestStatus {
    fn remark(&self, text: &str, now: Timestamp) -> Option<Self> {
        if self.is_final() {
            return None;
        }
        let conditions = with_remark(&self.conditions, reason::PENDING, text, now);
        differing(self, Self { conditions, ..self.clone() })
    }
}

impl Remark for OrderStatus {
    fn remark(&self, text: &str, _: Timestamp) -> Option<Self> {
        is_open(self.state.as_deref())
            .then(|| Self { reason: Some(text.to_owned()), ..self.clone() })
            .and_then(|status| differing(self, status))
    }
}

impl Remark for ChallengeStatus {
    fn remark(&self, text: &str, _: Timestamp) -> Option<Self> {
        is_open(self.state.as_deref())
            .then(|| Self { reason: Some(text.to_owned()), ..self.clone() })
            .and_then(|status| differing(self, status))
    }
}

fn is_open(state: Option<&str>) -> bool {
    Progress::of_word(state) == Progress::Open
}

fn differing<S: PartialEq>(former: &S, status: S) -> Option<S> {
    (status != *former).then_some(status)
}

fn with_remark(conditions: &[Condition], reason: &str, text: &str, now: Timestamp) -> Vec<Condition> {
    let known = find_condition(conditions, condition::READY);
    let ready = match known {
        Some(ready) if ready.is_true() => {
            let said = ready.message.as_deref().unwrap_or_default();
            let said = said.split(AT_PRESENT).next().unwrap_or_default();
            Condition { message: Some(format!("{said}{AT_PRESENT}{text}")), ..ready.clone() }
        }
        _ => Condition {
            type_: condition::READY.to_owned(),
            status: "False".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(text.to_owned()),
            observed_generation: known.and_then(|ready| ready.observed_generation),
            ..Condition::default()
        },
    };
    let mut conditions = conditions.to_vec();
    set_condition(&mut conditions, ready, now);
    conditions
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::api::names::state;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn ready(status: &str, message: &str) -> Vec<Condition> {
        let ready = Condition {
            type_: condition::READY.to_owned(),
            status: status.to_owned(),
            reason: Some("Ready".to_owned()),
            message: Some(message.to_owned()),
            ..Condition::default()
        };
        vec![ready]
    }

    #[test]
    fn what_is_ready_stays_so() {
        let status = CertificateStatus { conditions: ready("True", "up to date"), ..CertificateStatus::default() };
        let told = status.remark("no right", NOW).unwrap();
        let condition = find_condition(&told.conditions, condition::READY).unwrap();
        assert!(condition.is_true() && condition.reason.as_deref() == Some("Ready"));
        assert_eq!(condition.message.as_deref(), Some("up to date; at present: no right"));
        assert_eq!(told.remark("no right", NOW), None, "the same is not written twice");
        let other = told.remark("another", NOW).unwrap();
        assert_eq!(other.conditions[0].message.as_deref(), Some("up to date; at present: another"));
    }

    #[test]
    fn what_is_not_ready_says_why() {
        for conditions in [Vec::new(), ready("False", "Issuing")] {
            let told = IssuerStatus { conditions, ..IssuerStatus::default() }.remark("no right", NOW).unwrap();
            let condition = find_condition(&told.conditions, condition::READY).unwrap();
            assert!(condition.is_false() && condition.message.as_deref() == Some("no right"));
            assert_eq!(condition.reason.as_deref(), Some(reason::REFUSED_BY_API_SERVER));
            assert_eq!(told.remark("no right", NOW), None);
        }
    }

    #[test]
    fn what_has_ended_is_left_as_it_is() {
        let ended = ready("False", "no");
        let ended = vec![Condition { reason: Some(reason::FAILED.to_owned()), ..ended[0].clone() }];
        let request = CertificateRequestStatus { conditions: ended, ..CertificateRequestStatus::default() };
        assert_eq!(request.remark("no right", NOW), None);
        let status = |state: &str| ChallengeStatus { state: Some(state.to_owned()), ..ChallengeStatus::default() };
        assert_eq!(status(state::VALID).remark("no right", NOW), None);
        let told = status(state::PENDING).remark("no right", NOW).unwrap();
        assert_eq!(told.reason.as_deref(), Some("no right"));
        assert_eq!(told.remark("no right", NOW), None);
        let order = OrderStatus { state: Some(state::INVALID.to_owned()), ..OrderStatus::default() };
        assert_eq!(order.remark("no right", NOW), None);
    }
}
