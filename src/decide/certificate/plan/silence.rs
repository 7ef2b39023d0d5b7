//! A CertificateRequest about which those whose turn it is say nothing.
//!
//! certwright's own signers always say something. Controllers of other groups may not be there, and neither may who approves.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::{Plan, request_time};
use crate::{
    api::{
        CertificateRequest, Condition, find_condition,
        names::{condition, event},
    },
    decide::{Wake, later},
};

/// Silence is told of after this time. Somebody who looks at requests by hand may take longer; then it does no harm.
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);

impl Plan<'_> {
    /// What there is to say of a request that has been without an answer for long. Sooner than that, it is looked at again then.
    pub(super) fn silence(&mut self, request: &CertificateRequest) -> Option<String> {
        let (since, text) = silence_of(request)?;
        let told = later(since, PATIENCE);
        if self.now < told {
            self.wake = self.wake.min(Wake::At(told));
            return None;
        }
        Some(text)
    }

    pub(super) fn hold_up_in_silence(&mut self, text: String) {
        self.hold_up(Some(event::UNANSWERED), text);
    }
}

/// Since when whose answer is missing, and what to look at; in the same words for as long as it is so.
fn silence_of(request: &CertificateRequest) -> Option<(Timestamp, String)> {
    let conditions = request.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let (name, issuer) = (request.name_any(), &request.spec.issuer_ref);
    let has_said = |type_: &str| find_condition(conditions, type_).is_some();
    let Some(approved) = find_condition(conditions, condition::APPROVED).filter(|approved| approved.is_true()) else {
        // Those of our own are approved in the pass that first says something about them, or left to others by it.
        if issuer.is_ours() && !has_said(condition::READY) {
            return None;
        }
        let since = request_time(request)?;
        let namespace = request.namespace().unwrap_or_default();
        let text = format!(
            "nobody has approved the CertificateRequest {name:?} since {since}; see its events, and whether the controller that is \
             to approve it runs, or approve it: cmctl approve {name} -n {namespace}"
        );
        return Some((since, text));
    };
    let is_answered = conditions.iter().any(|told: &Condition| told.type_ != condition::APPROVED);
    if issuer.is_ours() || is_answered {
        return None;
    }
    let since = approved.last_transition_time.as_ref().map(|time| time.0).or_else(|| request_time(request))?;
    let (kind, group) = (issuer.kind_or_default(), issuer.group_or_default());
    let text = format!(
        "nobody has answered the CertificateRequest {name:?} since {since}; see whether the controller for {kind} of the group \
         {group} is installed and runs, and what its log says"
    );
    Some((since, text))
}
