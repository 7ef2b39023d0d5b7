//! Looks at DNS servers, beside the passes: a server that does not answer must not hold the workers from others.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::check::{Look, Question, Tools};
use crate::{
    cluster::{Hub, Key},
    controller::{beside::Beside, step_error::StepError},
    dns::{silence::Silence, verify::VerifyConfig, zone_cache::ZoneCache},
    measure::{self, span::Span},
};

/// Looks under way at once. Each has a socket for every address that it asks.
const AT_ONCE: usize = 256;

/// For one look, with all that it looks up.
const LONGEST_LOOK: Duration = Duration::from_mins(1);

/// The looks under way, and the outcomes of those that are over, by object.
pub struct Looks {
    tools: Tools,
    beside: Beside<(), Result<Look, StepError>>,
}

impl Looks {
    /// `port` is that of authoritative servers.
    pub fn new(hub: Arc<Hub>, zones: Arc<ZoneCache>, port: u16) -> Self {
        let config = VerifyConfig { port, ..VerifyConfig::default() };
        let tools = Tools { zones, silence: Arc::new(Silence::default()), config };
        Self { tools, beside: Beside::new(hub, AT_ONCE, LONGEST_LOOK) }
    }

    /// The outcome of the look that was begun for this object, once. If there is none, a look is begun, and the error says
    /// that the object is woken when it is over.
    pub(super) fn take(&self, owner: &Key, question: impl FnOnce() -> Question) -> Result<Look, StepError> {
        match self.beside.outcome(owner, &())? {
            Some(Ok(outcome)) => outcome,
            Some(Err(unfinished)) => {
                Err(StepError::transient(format!("Failed to look for the TXT record: {unfinished}")))
            }
            None => {
                let (question, tools) = (question(), self.tools.clone());
                Err(self.beside.begin(owner, (), measured(question, tools)))
            }
        }
    }

    /// The object wants no look any more, or another one.
    pub(in crate::controller) fn forget(&self, owner: &Key) {
        self.beside.forget(owner);
    }
}

async fn measured(question: Question, tools: Tools) -> Result<Look, StepError> {
    let began = Instant::now();
    let span = Span::part("self-check DNS-01");
    let outcome = span.around(question.answer(&tools)).await;
    let passed = outcome.as_ref().is_ok_and(|look| look.missing.is_none());
    if !passed {
        span.failed(|| match &outcome {
            Ok(look) => look.missing.clone().unwrap_or_default(),
            Err(error) => error.message(),
        });
    }
    measure::self_check("DNS-01", "dns", passed, began.elapsed());
    outcome
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::{cluster::Kind, decide::propagation::Verification, dns::resolver::Resolver};

    /// A question that nobody answers, for nothing listens at port 1.
    fn question() -> Question {
        Question {
            resolver: Arc::new(Resolver::from_nameservers(&["127.0.0.1:1".to_owned()]).unwrap()),
            verification: Verification::Authoritative,
            dns_name: "example.com".to_owned(),
            values: vec!["value".to_owned()],
            since_presented: SignedDuration::ZERO,
            known: super::super::Propagation::default(),
        }
    }

    #[tokio::test]
    async fn a_look_wakes_its_owner_and_is_taken_once() {
        let hub = Arc::new(Hub::new());
        let looks = Looks::new(hub.clone(), Arc::new(ZoneCache::new(1)), 53);
        let owner = Key::new(Kind::Challenge, "shop", "web");
        assert!(matches!(looks.take(&owner, question), Err(StepError::Awaiting)));
        assert!(matches!(looks.take(&owner, || panic!("it is under way")), Err(StepError::Awaiting)));
        assert_eq!(hub.queue.next().await, owner);
        let Err(StepError::Trouble { message, .. }) = looks.take(&owner, question) else { panic!() };
        assert!(message.starts_with("Failed to follow the CNAMEs of _acme-challenge.example.com: "), "{message}");
        assert!(matches!(looks.take(&owner, question), Err(StepError::Awaiting)), "each outcome once");
        looks.forget(&owner);
        assert!(looks.beside.is_empty());
    }
}
