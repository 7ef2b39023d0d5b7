//! One round of asking: every server at once, and none for longer than it takes to know enough.

use std::time::Duration;

use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, timeout_at};

use super::{IsEnough, Outcome, ServerResult, Verification, judge};
use crate::dns::exchange::{self, Endpoint, Question};
use crate::dns::silence::{Quiet, Silence};

/// When one address of a server has the value, the others may say for so long that they do not. Waiting for one that is
/// silent, such as IPv6 from a cluster without it, would be in vain.
const GRACE: Duration = Duration::from_millis(250);

/// A server, and where it is asked.
pub(super) struct Host<'a> {
    pub(super) name: String,
    pub(super) endpoints: Vec<Endpoint<'a>>,
}

/// What is asked of all.
pub(super) struct Round<'a> {
    pub(super) question: Question,
    pub(super) values: &'a [String],
    /// For one query over one transport.
    pub(super) limit: Duration,
    pub(super) silence: &'a Silence,
    pub(super) is_enough: &'a IsEnough<'a>,
}

impl Round<'_> {
    /// What was silent lately is asked last, and only if need be.
    pub(super) async fn ask(&self, hosts: Vec<Host<'_>>) -> Vec<ServerResult> {
        let (mut prompt, mut quiet) = (Vec::new(), Vec::new());
        for Host { name, endpoints } in hosts {
            let mut fresh = Vec::new();
            for endpoint in endpoints {
                match self.quiet(endpoint) {
                    Some(silent) => quiet.push((name.clone(), endpoint, silent)),
                    None => fresh.push(endpoint),
                }
            }
            prompt.push((name, fresh));
        }
        let mut results = join_all(prompt.iter().map(|(name, fresh)| self.ask_host(name, fresh))).await.concat();
        // At another address the server has spoken, so that this one is not needed.
        quiet.retain(|(name, ..)| !results.iter().any(|result| result.host == *name && result.outcome.is_answer()));
        let again = self.is_worth_asking_again(&results, &quiet);
        let (asked, left): (Vec<_>, Vec<_>) =
            quiet.into_iter().partition(|(_, _, silent)| again && silent.may_be_asked());
        results.extend(join_all(asked.iter().map(|(name, endpoint, _)| self.ask_endpoint(name, *endpoint))).await);
        results.extend(left.iter().map(as_it_was));
        results
    }

    fn is_worth_asking_again(&self, results: &[ServerResult], quiet: &[Silent<'_>]) -> bool {
        let is_waited_for = results.iter().any(|result| result.outcome.is_answer() && result.outcome != Outcome::Found);
        let so_far = results.iter().cloned().chain(quiet.iter().map(as_it_was)).collect();
        !is_waited_for && !(self.is_enough)(&Verification::new(so_far))
    }

    fn quiet(&self, endpoint: Endpoint<'_>) -> Option<Quiet> {
        self.silence.of(endpoint.address()?)
    }

    /// All addresses at once, until all have answered or one that has the value was given its grace.
    async fn ask_host(&self, name: &str, endpoints: &[Endpoint<'_>]) -> Vec<ServerResult> {
        let mut asked: FuturesUnordered<_> =
            endpoints.iter().map(|endpoint| self.ask_endpoint(name, *endpoint)).collect();
        let mut results = Vec::new();
        let mut until: Option<Instant> = None;
        loop {
            let next = match until {
                Some(until) => timeout_at(until, asked.next()).await.unwrap_or_default(),
                None => asked.next().await,
            };
            let Some(result) = next else { return results };
            if result.outcome == Outcome::Found {
                until.get_or_insert_with(|| Instant::now() + GRACE);
            }
            results.push(result);
        }
    }

    async fn ask_endpoint(&self, host: &str, endpoint: Endpoint<'_>) -> ServerResult {
        let outcome = match exchange::ask(endpoint, &self.question, self.limit).await {
            Ok(message) => {
                self.heard(endpoint);
                judge(&message, &self.question.name, self.values)
            }
            Err(error) => {
                let reason = error.to_string();
                match endpoint.address() {
                    Some(server) if error.is_silence() => self.silence.note(server, &reason),
                    _ => self.heard(endpoint),
                }
                Outcome::Failed(reason)
            }
        };
        ServerResult { host: host.to_owned(), address: endpoint.address().map(|address| address.ip()), outcome }
    }

    fn heard(&self, endpoint: Endpoint<'_>) {
        if let Some(server) = endpoint.address() {
            self.silence.heard(server);
        }
    }
}

/// A place at which a host was silent when it was last asked.
type Silent<'a> = (String, Endpoint<'a>, Quiet);

fn as_it_was((host, endpoint, quiet): &Silent<'_>) -> ServerResult {
    let address = endpoint.address().map(|address| address.ip());
    ServerResult { host: host.clone(), address, outcome: Outcome::Failed(quiet.reason.clone()) }
}
