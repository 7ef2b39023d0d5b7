//! Asking CAs when they want certificates renewed (RFC 9773).
//!
//! A CA that is slow to answer must not hold up anything else, so questions are asked beside the passes: a pass that has
//! one ends, and the Certificate is looked at again once the answer is there. Each CA has a lane of its own, so that it
//! does not hold up the questions to others either.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::Semaphore;

use super::{
    beside::{Beside, Outcome},
    step_error::{StepError, signed},
};
use crate::{
    acme::{self, Client, Error, RenewalInfo},
    cluster::{Hub, Key},
    decide::renewal_information::{Answer, Found},
};

/// How many questions a CA is asked at once.
const MOST_AT_ONCE: usize = 8;

/// How long an answer is waited for: longer than the requests take that it needs at most, for the directory and the
/// answer itself. They end by their own limit, so that the gate in front of the CA gets to know of its silence.
const PATIENCE: Duration = Duration::from_secs(75);

/// See the module's description. An answer that its Certificate does not want any more is forgotten.
pub struct Inquiries {
    asked: Beside<String, Result<Option<acme::Answer<RenewalInfo>>, Error>>,
    /// By the URL of the CA's directory, as long as there are questions in them.
    lanes: Mutex<HashMap<String, Weak<Semaphore>>>,
}

impl Inquiries {
    pub fn new(hub: Arc<Hub>) -> Self {
        Self { asked: Beside::new(hub, MOST_AT_ONCE, PATIENCE), lanes: Mutex::default() }
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
        if let Some(outcome) = self.asked.outcome(owner, &certificate_id)? {
            return Ok(Answer { certificate_id, at: Timestamp::now(), found: found(outcome) });
        }
        let id = certificate_id.clone();
        let lane = self.lane(client.as_ref().map(Client::directory_url).unwrap_or_default());
        Err(self.asked.begin_in(lane, owner, certificate_id, async move { client?.renewal_info(&id).await }))
    }

    /// The Certificate is gone, or has no question any more.
    pub(super) fn forget(&self, owner: &Key) {
        self.asked.forget(owner);
    }

    fn lane(&self, directory_url: &str) -> Arc<Semaphore> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(directory_url).and_then(Weak::upgrade) {
            return lane;
        }
        let lane = Arc::new(Semaphore::new(MOST_AT_ONCE));
        lanes.retain(|_, lane| lane.strong_count() > 0);
        lanes.insert(directory_url.to_owned(), Arc::downgrade(&lane));
        lane
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
    use crate::{
        acme::{
            testing::{ca, response},
            transport::{Request, Response, Transport},
        },
        cluster::Kind,
    };

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

    #[tokio::test(start_paused = true)]
    async fn a_ca_that_does_not_answer_holds_up_no_other() {
        let hub = Arc::new(Hub::new());
        let inquiries = Inquiries::new(hub.clone());
        let silent = Client::with_transport("https://silent.example/directory", Box::new(Silent)).unwrap();
        for number in 0..2 * MOST_AT_ONCE {
            let owner = Key::new(Kind::Certificate, "shop", number.to_string());
            assert!(inquiries.ask(&owner, Ok(silent.clone()), "a.b").is_err());
        }
        let owner = Key::new(Kind::Certificate, "shop", "web");
        let other = ca(|_| response(404, &[], "nothing here"));
        assert!(inquiries.ask(&owner, Ok(other.clone()), "a.b").is_err());
        let next = tokio::time::timeout(Duration::from_secs(1), hub.queue.next()).await;
        assert_eq!(next.unwrap(), owner);
        assert!(inquiries.ask(&owner, Ok(other), "a.b").is_ok());
    }

    /// Does not answer.
    struct Silent;

    #[async_trait::async_trait]
    impl Transport for Silent {
        async fn exchange(&self, _: &Request) -> Result<Response, Error> {
            std::future::pending().await
        }
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
        assert!(inquiries.asked.is_empty());
    }
}
