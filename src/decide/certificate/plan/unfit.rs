//! Requests of the issuance under way that ask for something else than the spec.

use std::sync::Arc;

use kube::ResourceExt;

use super::Plan;
use crate::{
    api::{CertificateRequest, CertificateSpec, names::event},
    decide::{Wake, backoff, policy},
    pki::{ParsedRequest, PrivateKey},
};

impl Plan<'_> {
    /// Whether they stay for now instead of making room for one that fits, because that has been of no use again and again.
    pub(super) fn lets_stay(
        &mut self,
        unfit: &[&Arc<CertificateRequest>],
        spec: &CertificateSpec,
        key: &PrivateKey,
    ) -> bool {
        let generation = self.seen.certificate.metadata.generation;
        let pause = self.seen.made_request.and_then(|made| made.next(generation));
        let (Some(first), Some((until, wait))) = (unfit.first(), pause) else { return false };
        let text = format!(
            "the CertificateRequest {:?} is again and again not as it was made: {}; look for what changes it, such as an \
             admission webhook; next try after {}",
            first.name_any(),
            difference(spec, first, key),
            backoff::in_words(wait)
        );
        if until <= self.now {
            // Trying again is no news.
            self.hold_up(None, text);
            return false;
        }
        self.wake = self.wake.min(Wake::At(until));
        self.hold_up(Some(event::REQUEST_FAILED), text);
        true
    }
}

/// In what a request is not as the spec wants it.
fn difference(spec: &CertificateSpec, request: &CertificateRequest, key: &PrivateKey) -> String {
    match ParsedRequest::from_pem(&request.spec.request.0) {
        Err(error) => error.to_string(),
        Ok(parsed) if !parsed.matches_key(key) => "its CSR is for another key".to_owned(),
        Ok(parsed) => match policy::outdated_fields(spec, request, &parsed).as_slice() {
            [] => "its annotations or conditions were written by somebody else".to_owned(),
            fields => format!("it does not follow [{}]", fields.join(" ")),
        },
    }
}
