//! What the status of a Certificate tells of its failed issuance: why it failed, and when it is tried again.

use jiff::Timestamp;

use super::failure::{Cause, NEXT_ATTEMPT};
use crate::api::{Certificate, find_condition, names::condition};

/// Why the last attempt failed, as far as the message tells; none if it did not.
pub fn failure(certificate: &Certificate) -> Option<Cause> {
    told(certificate).map(Cause::of)
}

/// When the next attempt is made, if one is waited for.
pub fn next_attempt(certificate: &Certificate) -> Option<Timestamp> {
    let (_, after) = told(certificate)?.rsplit_once(NEXT_ATTEMPT)?;
    after.split([',', ')']).next()?.parse().ok()
}

/// What the Issuing condition says of the attempt that failed.
fn told(certificate: &Certificate) -> Option<&str> {
    let issuing = find_condition(&certificate.status.as_ref()?.conditions, condition::ISSUING)?;
    issuing.message.as_deref().filter(|_| issuing.is_false())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        api::{CertificateStatus, Condition},
        decide::refusal::UNTIL_SPEC_CHANGES,
    };

    fn certificate(status: &str, message: &str) -> Certificate {
        let issuing = Condition {
            type_: condition::ISSUING.to_owned(),
            status: status.to_owned(),
            message: Some(message.to_owned()),
            ..Condition::default()
        };
        let status = CertificateStatus { conditions: vec![issuing], ..CertificateStatus::default() };
        Certificate { status: Some(status), ..Certificate::default() }
    }

    #[test]
    fn a_failure_tells_its_cause_and_the_next_attempt() {
        let message = format!("no{UNTIL_SPEC_CHANGES}{NEXT_ATTEMPT}2026-03-01T13:00:00Z, or when the spec changes)");
        let failed = certificate("False", &message);
        assert_eq!(failure(&failed), Some(Cause::Spec));
        assert_eq!(next_attempt(&failed), Some("2026-03-01T13:00:00Z".parse().unwrap()));
        let held_up = certificate("False", &format!("enough{NEXT_ATTEMPT}2026-03-01T13:00:00Z)"));
        assert_eq!(next_attempt(&held_up), Some("2026-03-01T13:00:00Z".parse().unwrap()));
    }

    #[test]
    fn what_is_under_way_or_done_tells_none() {
        for certificate in [certificate("True", "Issuing"), Certificate::default()] {
            assert_eq!((failure(&certificate), next_attempt(&certificate)), (None, None));
        }
        assert_eq!(next_attempt(&certificate("False", "failed")), None);
    }
}
