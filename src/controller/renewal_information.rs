//! Asking CAs when they want certificates renewed (RFC 9773).
//!
//! A CA that is slow to answer must not hold up anything else, so questions are asked beside the passes: a pass that has
//! one ends, and the Certificate is looked at again once the answer is there.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{
    beside::{Beside, Outcome},
    step_error::{StepError, signed},
};
use crate::{
    acme::{self, Client, Error, RenewalInfo},
    cluster::{Hub, Key},
    decide::renewal_information::{Answer, Found},
};

/// How many questions are asked at once.
const MOST_AT_ONCE: usize = 8;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// See the module's description. An answer that its Certificate does not want any more is forgotten.
pub struct Inquiries(Beside<String, Result<Option<acme::Answer<RenewalInfo>>, Error>>);

impl Inquiries {
    pub fn new(hub: Arc<Hub>) -> Self {
        Self(Beside::new(hub, MOST_AT_ONCE, PATIENCE))
    }

    /// What the CA says of the certificate with this identifier. Nothing that goes wrong stands in the way of anything, so
    /// that is an answer too. The error says that the Certificate is woken when it is there.
    pub(super) fn ask(
        &self,
        owner: &Key,
        client: Result<Client, Error>,
        certificate_id: &str,
    ) -> Result<Answer, StepError> {
        let certificate_id = certificate_id.to_owned();
        if let Some(outcome) = self.0.outcome(owner, &certificate_id)? {
            return Ok(Answer { certificate_id, at: Timestamp::now(), found: found(outcome) });
        }
        let id = certificate_id.clone();
        Err(self.0.begin(owner, certificate_id, async move { client?.renewal_info(&id).await }))
    }

    /// The Certificate is gone, or has no question any more.
    pub(super) fn forget(&self, owner: &Key) {
        self.0.forget(owner);
    }
}

fn found(outcome: Outcome<Result<Option<acme::Answer<RenewalInfo>>, Error>>) -> Found {
    const DOING: &str = "Failed to ask the CA when to renew";
    match outcome {
        Ok(Ok(None)) => Found::Unsupported,
        Ok(Ok(Some(answer))) => suggestion(answer),
        Ok(Err(error)) => Found::Failed {
            message: format!("{DOING}: {error}"),
            is_transient: error.is_transient(),
            retry_after: error.retry_after().map(signed),
        },
        Err(unfinished) => {
            Found::Failed { message: format!("{DOING}: {unfinished}"), is_transient: true, retry_after: None }
        }
    }
}

fn suggestion(answer: acme::Answer<RenewalInfo>) -> Found {
    let acme::renewal::SuggestedWindow { start, end } = answer.body.suggested_window;
    let (explanation_url, retry_after) = (answer.body.explanation_url, answer.retry_after.map(signed));
    Found::Suggestion { start, end, explanation_url, retry_after }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cluster::Kind;

    fn no_client() -> Result<Client, Error> {
        Err(Error::Setup("no trust".to_owned()))
    }

    #[tokio::test]
    async fn the_answer_wakes_its_owner_and_is_given_once() {
        let hub = Arc::new(Hub::new());
        let inquiries = Inquiries::new(hub.clone());
        let owner = Key::new(Kind::Certificate, "shop", "web");
        for _ in 0..2 {
            assert!(matches!(inquiries.ask(&owner, no_client(), "a.b"), Err(StepError::Awaiting)));
        }
        assert_eq!(hub.queue.next().await, owner);
        let answer = inquiries.ask(&owner, no_client(), "a.b").unwrap();
        let message = "Failed to ask the CA when to renew: cannot set up an HTTPS client for the ACME server: no trust";
        assert_eq!(answer.certificate_id, "a.b");
        assert_eq!(answer.found, Found::Failed { message: message.to_owned(), is_transient: false, retry_after: None });
        assert!(matches!(inquiries.ask(&owner, no_client(), "a.b"), Err(StepError::Awaiting)), "each answer once");
    }

    #[tokio::test]
    async fn an_answer_about_another_certificate_is_not_taken() {
        let hub = Arc::new(Hub::new());
        let inquiries = Inquiries::new(hub.clone());
        let owner = Key::new(Kind::Certificate, "shop", "web");
        assert!(inquiries.ask(&owner, no_client(), "a.b").is_err());
        assert_eq!(hub.queue.next().await, owner);
        assert!(inquiries.ask(&owner, no_client(), "a.c").is_err());
        inquiries.forget(&owner);
        assert!(inquiries.0.is_empty());
    }
}
