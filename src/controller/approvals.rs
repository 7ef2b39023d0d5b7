//! Whose requests certwright may not approve: asking again for each of a thousand would be refused a thousand times.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use crate::api::IssuerReference;

/// The right to approve may be given at any time, and nothing tells us.
const PAUSE: SignedDuration = SignedDuration::from_mins(10);

/// More are not remembered.
const MOST_KEPT: usize = 4096;

/// See the module's description.
#[derive(Default)]
pub struct Approvals {
    refused: Mutex<HashMap<String, Timestamp>>,
}

impl Approvals {
    /// Until when nothing signed by this issuer is approved; none if approving may be tried.
    pub(super) fn pause(&self, issuer: &IssuerReference, namespace: &str, now: Timestamp) -> Option<Timestamp> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let until = *refused.get(&signer(issuer, namespace))? + PAUSE;
        (until > now).then_some(until)
    }

    pub(super) fn note_refusal(&self, issuer: &IssuerReference, namespace: &str, now: Timestamp) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() >= MOST_KEPT {
            refused.clear();
        }
        refused.insert(signer(issuer, namespace), now);
    }
}

fn signer(issuer: &IssuerReference, namespace: &str) -> String {
    format!("{}.{}/{namespace}.{}", issuer.kind_or_default(), issuer.group_or_default(), issuer.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_holds_for_a_while_and_for_one_issuer() {
        let issuer = |name: &str| IssuerReference { name: name.to_owned(), ..IssuerReference::default() };
        let (approvals, now) = (Approvals::default(), Timestamp::UNIX_EPOCH);
        approvals.note_refusal(&issuer("a"), "shop", now);
        assert_eq!(approvals.pause(&issuer("a"), "shop", now), Some(now + PAUSE));
        assert_eq!(approvals.pause(&issuer("a"), "shop", now + PAUSE), None);
        assert_eq!(approvals.pause(&issuer("b"), "shop", now), None);
        assert_eq!(approvals.pause(&issuer("a"), "other", now), None);
    }
}
