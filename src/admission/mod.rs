//! The optional webhook: answers whether an object may be written, with the name and the words of cert-manager's.
//!
//! What is answered is decided in [`crate::decide::admission`]. Here is what surrounds it: the wire ([`review`]), questions
//! about rights (`approval`), and the server.

mod approval;
mod review;
mod server;

use std::sync::Arc;

pub use approval::Approvals;
pub use server::{LONGEST_REVIEW, serve};

use crate::{
    decide::admission::{Asked, forbidden_approval, judge, requester_patch, sentence, unknown_signer},
    measure,
};
use review::{Answer, Request};

/// What the server answers with.
pub struct Webhook {
    pub approvals: Approvals,
}

impl Webhook {
    /// The answer to the question whether an object makes sense.
    ///
    /// # Errors
    /// In words for people: why the question cannot be read.
    pub async fn validate(&self, body: &[u8]) -> Result<Vec<u8>, String> {
        let request = review::read(body)?;
        let Some(object) = request.object.as_ref().filter(|_| request.is_asked_about()) else {
            return Ok(review::write(&request, Answer::allowed()));
        };
        let user = request.user();
        let asked = Asked {
            resource: &request.resource.resource,
            subresource: request.sub_resource.as_deref().unwrap_or_default(),
            object,
            old: request.old_object.as_ref(),
            user: &user,
        };
        let mut findings = judge(&asked);
        if let Some(approval) = findings.approval.take() {
            match self.approvals.may_approve(&approval, &user).await {
                approval::Right::Granted => {}
                approval::Right::Denied => findings.problems.push(forbidden_approval(&approval, &user)),
                approval::Right::UnknownSigner => findings.problems.push(unknown_signer(&approval)),
            }
        }
        let answer = if findings.problems.is_empty() {
            Answer::allowed()
        } else {
            measure::refusal(known_resource(&request.resource.resource));
            tracing::info!(
                resource = request.resource.resource,
                namespace = request.namespace,
                name = request.name,
                problems = findings.problems.len(),
                "refused"
            );
            Answer::refused(&sentence(&findings.problems))
        };
        Ok(review::write(&request, answer.warning(&findings.warnings)))
    }

    /// The answer to the question what is to be changed in a new object.
    ///
    /// # Errors
    /// As [`Webhook::validate`].
    pub fn mutate(body: &[u8]) -> Result<Vec<u8>, String> {
        let request = review::read(body)?;
        let patch = match &request.object {
            Some(object) if request.is_new("certificaterequests") => requester_patch(object, &request.user()),
            _ => Vec::new(),
        };
        Ok(review::write(&request, Answer::patched(&patch)))
    }
}

/// What a connection needs.
pub type Shared = Arc<Webhook>;

/// As a label: only our own kinds are told apart.
fn known_resource(resource: &str) -> &'static str {
    const KNOWN: [&str; 6] =
        ["certificaterequests", "certificates", "challenges", "clusterissuers", "issuers", "orders"];
    KNOWN.into_iter().find(|known| *known == resource).unwrap_or("other")
}

/// Questions are about these; another one is a wrong registration, and is allowed.
fn is_ours(request: &Request) -> bool {
    use crate::api::names::{ACME_GROUP, GROUP};
    [GROUP, ACME_GROUP].contains(&request.resource.group.as_str())
}
