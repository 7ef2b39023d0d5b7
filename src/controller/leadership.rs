//! Which shares of the work this process may do: those of which it holds the Lease.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    api::names::LEASE,
    cluster::{ApiError, LeaseHandle},
    decide::lease::{Candidate, Next, Steady, Timing},
};

/// For one call; less if the renew deadline is short, so that there is time for another one.
const LONGEST_CALL: Duration = Duration::from_secs(10);

/// For giving a Lease back at the end. Whoever waits for it takes it a little later otherwise.
const LONGEST_RELEASE: Duration = Duration::from_secs(4);

/// How a process takes part in the election.
#[derive(Clone, Debug)]
pub struct Election {
    /// Where the Leases lie.
    pub namespace: String,
    /// Who this process is; no other that runs may have the same.
    pub identity: String,
    pub timing: Timing,
}

/// Which shares of the work are held, and until when if nothing more is heard; none is for ever.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Held(BTreeMap<u32, Option<Instant>>);

impl Held {
    /// The shares that are held at `now`.
    pub(super) fn at(&self, now: Instant) -> BTreeMap<u32, Option<Instant>> {
        self.0
            .iter()
            .filter(|(_, until)| until.is_none_or(|until| until > now))
            .map(|(share, until)| (*share, *until))
            .collect()
    }

    /// Whether one should have been given up so long ago: whoever watches over it stands still.
    pub fn is_overdue(&self, by: Duration, now: Instant) -> bool {
        self.0.values().flatten().any(|until| *until + by < now)
    }
}

/// See the module's description.
pub struct Leadership {
    election: Option<Election>,
    held: watch::Sender<Held>,
    stop: watch::Sender<bool>,
    contests: JoinSet<()>,
}

impl Leadership {
    /// Without an election the process holds everything for ever.
    pub fn new(election: Option<Election>) -> Self {
        let first = if election.is_some() { Held::default() } else { Held(BTreeMap::from([(0, None)])) };
        let (held, stop) = (watch::Sender::new(first), watch::Sender::new(false));
        Self { election, held, stop, contests: JoinSet::new() }
    }

    pub fn held(&self) -> watch::Receiver<Held> {
        self.held.subscribe()
    }

    /// Begins to contend for the Lease.
    pub fn contend(&mut self, client: &Client) {
        let Some(election) = &self.election else { return };
        let contest = Contest::new(election, client.clone(), self.held.clone());
        self.contests.spawn(contest.run(self.stop.subscribe()));
    }

    /// Gives back what is held. Nothing may be under way any more.
    pub async fn resign(mut self) {
        self.stop.send_replace(true);
        while self.contests.join_next().await.is_some() {}
    }
}

/// One Lease and this process's part in who holds it.
struct Contest {
    share: u32,
    candidate: Candidate,
    handle: LeaseHandle,
    /// As it was seen last; writes are made on this version only.
    seen: Option<Lease>,
    held: watch::Sender<Held>,
    began: Instant,
    /// Calls that failed in a row.
    failures: u32,
}

impl Contest {
    fn new(election: &Election, client: Client, held: watch::Sender<Held>) -> Self {
        let deadline = Duration::try_from(election.timing.renew_deadline).unwrap_or_default();
        let handle = LeaseHandle::new(client, &election.namespace, LEASE, LONGEST_CALL.min(deadline / 3));
        let candidate = Candidate::new(election.identity.clone(), election.timing);
        Self { share: 0, candidate, handle, seen: None, held, began: Instant::now(), failures: 0 }
    }

    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            self.publish();
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = self.step() => {}
            }
        }
        if timeout(LONGEST_RELEASE, self.release()).await.is_err() {
            tracing::warn!(lease = self.handle.name(), "the lease was not released in time; it runs out by itself");
        }
    }

    async fn step(&mut self) {
        match self.candidate.next(self.now(), Timestamp::now()) {
            Next::WaitUntil(at) => sleep_until(self.instant(at)).await,
            Next::Look => self.look().await,
            Next::Write(lease) => {
                let began = self.now();
                let written = self.handle.write(self.seen.as_ref(), lease).await;
                self.settle(written.map(|lease| (Some(lease), Some(began))));
            }
        }
    }

    async fn look(&mut self) {
        let rival = self.rival();
        let read = self.handle.read().await;
        self.settle(read.map(|lease| (lease, None)));
        if let Some(holder) = self.rival().filter(|holder| rival.as_ref() != Some(holder)) {
            tracing::info!(lease = self.handle.name(), holder, "standing by: the lease is held by another");
        }
    }

    /// Takes in what a call brought: the Lease, and when the call began if it was a write.
    fn settle(&mut self, outcome: Result<(Option<Lease>, Option<Steady>), ApiError>) {
        let now = self.now();
        match outcome {
            Ok((lease, written)) => {
                self.failures = 0;
                let spec = lease.as_ref().map(|lease| lease.spec.clone().unwrap_or_default());
                match (written, spec) {
                    (Some(began), Some(spec)) => self.candidate.wrote(spec, began, now),
                    (_, spec) => self.candidate.looked(spec, now),
                }
                self.seen = lease;
            }
            Err(ApiError::Conflict { .. }) => self.candidate.overtaken(),
            Err(error) => {
                self.candidate.failed(now);
                self.failures = self.failures.saturating_add(1);
                // An outage is told of once.
                if self.failures == 1 {
                    tracing::warn!(%error, "the lease cannot be seen to; it is tried again and again");
                } else {
                    tracing::debug!(%error, failures = self.failures, "the lease cannot be seen to");
                }
            }
        }
    }

    /// Anybody may have it at once. What a call that was cut off by the end has done is looked at first.
    async fn release(&mut self) {
        self.look().await;
        if let Some(lease) = self.candidate.release(Timestamp::now()) {
            match self.handle.write(self.seen.as_ref(), lease).await {
                Ok(_) => tracing::info!(lease = self.handle.name(), "the lease is released"),
                Err(error) => tracing::warn!(%error, "the lease was not released; it runs out by itself"),
            }
        }
    }

    fn publish(&self) {
        let until = self.candidate.holds_until(self.now()).map(|until| self.instant(until));
        self.held.send_if_modified(|held| match until {
            Some(until) => held.0.insert(self.share, Some(until)) != Some(Some(until)),
            None => held.0.remove(&self.share).is_some(),
        });
    }

    fn rival(&self) -> Option<String> {
        self.candidate.rival(self.now()).map(str::to_owned)
    }

    fn now(&self) -> Steady {
        SignedDuration::try_from(self.began.elapsed()).unwrap_or(SignedDuration::MAX)
    }

    fn instant(&self, at: Steady) -> Instant {
        self.began + Duration::try_from(at).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_held_runs_out_by_itself() {
        let now = Instant::now();
        let held = Held(BTreeMap::from([(0, None), (1, Some(now + Duration::from_secs(5)))]));
        assert_eq!(held.at(now).len(), 2);
        assert_eq!(held.at(now + Duration::from_secs(5)), BTreeMap::from([(0, None)]));
        let by = Duration::from_secs(40);
        assert!(!held.is_overdue(by, now + Duration::from_secs(45)));
        assert!(held.is_overdue(by, now + Duration::from_secs(46)));
    }

    #[tokio::test]
    async fn without_an_election_everything_is_held() {
        let leadership = Leadership::new(None);
        assert_eq!(leadership.held().borrow().at(Instant::now()), BTreeMap::from([(0, None)]));
        leadership.resign().await;
    }
}
