//! One Lease and this process's part in who holds it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{Client, ResourceExt};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use super::{Election, Held, Leadership};
use crate::{
    api::names::{LEASE, SHARD_LEASE_PREFIX, annotation},
    cluster::{ApiError, LeaseHandle},
    decide::{
        division::{self, Board, Holder, Stance},
        lease::{Candidate, Next, Steady},
    },
};

/// For one call; less if the renew deadline is short, so that there is time for another one.
const LONGEST_CALL: Duration = Duration::from_secs(10);

/// For giving a Lease back at the end. Whoever waits for it takes it a little later otherwise.
const LONGEST_RELEASE: Duration = Duration::from_secs(4);

/// What is decided from the Leases of other shares is decided anew this often.
const BETWEEN_GLANCES: SignedDuration = SignedDuration::from_secs(1);

/// See the module's description.
pub(super) struct Contest {
    share: u32,
    candidate: Candidate,
    handle: LeaseHandle,
    /// As it was seen last; writes are made on this version only.
    seen: Option<Lease>,
    board: Arc<Mutex<Board>>,
    /// Since when this process has it say that no division is in force.
    silent: Option<Steady>,
    /// Whether it is about to be given back.
    is_leaving: bool,
    held: watch::Sender<Held>,
    working: watch::Sender<BTreeSet<u32>>,
    /// From which all contests of this process count.
    began: Instant,
    /// Calls that failed in a row.
    failures: u32,
}

/// What a call was for.
#[derive(Clone, Copy, PartialEq)]
enum Call {
    Look,
    /// The Lease was to be this process's.
    Claim,
}

impl Contest {
    pub(super) fn new(
        share: u32,
        election: &Election,
        client: Client,
        board: Arc<Mutex<Board>>,
        leadership: &Leadership,
    ) -> Self {
        let deadline = Duration::try_from(election.timing.renew_deadline).unwrap_or_default();
        let name = if share == 0 { LEASE.to_owned() } else { format!("{SHARD_LEASE_PREFIX}{share}") };
        Self {
            share,
            candidate: Candidate::new(election.identity.clone(), election.timing),
            handle: LeaseHandle::new(client, &election.namespace, &name, LONGEST_CALL.min(deadline / 3)),
            seen: None,
            board,
            silent: None,
            is_leaving: false,
            held: leadership.held.clone(),
            working: leadership.working.clone(),
            began: leadership.began,
            failures: 0,
        }
    }

    /// Contends until `stop` is set, and gives the Lease back then.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            self.note();
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
        let (now, wall) = (self.now(), Timestamp::now());
        let stance = self.board().stance(self.share, now);
        if self.candidate.is_current(now) {
            match (stance, self.candidate.release(wall)) {
                (Stance::GiveWay, Some(lease)) => return self.give_way(lease).await,
                (Stance::Ask, _) => return self.ask().await,
                _ if self.is_to_announce(now) => return self.claim(self.candidate.renewal(wall)).await,
                _ => {}
            }
        }
        match self.candidate.next(now, wall, stance == Stance::Contend) {
            Next::WaitUntil(at) => {
                let is_alone = self.board().shares() == 1 && self.silent.is_none();
                let at = if is_alone { at } else { at.min(now.saturating_add(BETWEEN_GLANCES)) };
                sleep_until(self.instant(at)).await;
            }
            Next::Look => self.look().await,
            Next::Write(lease) => self.claim(lease).await,
        }
    }

    async fn look(&mut self) {
        let (began, rival) = (self.now(), self.rival());
        let read = self.handle.read().await;
        self.settle(Call::Look, began, read);
        if let Some(holder) = self.rival().filter(|holder| rival.as_ref() != Some(holder)) {
            tracing::info!(lease = self.handle.name(), holder, "standing by: the lease is held by another");
        }
    }

    /// Takes or keeps the Lease.
    async fn claim(&mut self, lease: LeaseSpec) {
        let began = self.now();
        let mut notes = vec![(annotation::WANTED_BY, None)];
        if self.share == 0 {
            // Where the work is not divided, nothing is said.
            let announced = Some(self.announcement(began)).filter(|division| *division != 1);
            notes.push((annotation::SHARDS, announced.map(|division| division.to_string())));
        }
        let written = self.handle.write(self.seen.as_ref(), lease, &notes).await;
        self.settle(Call::Claim, began, written.map(Some));
    }

    /// Tells the holder that this process would have the Lease.
    async fn ask(&mut self) {
        let began = self.now();
        let Some(lease) = self.candidate.seen().cloned() else { return };
        let note = (annotation::WANTED_BY, Some(self.candidate.identity().to_owned()));
        let written = self.handle.write(self.seen.as_ref(), lease, &[note]).await;
        self.settle(Call::Look, began, written.map(Some));
    }

    /// Gives the Lease back when the work on the share has ended.
    async fn give_way(&mut self, lease: LeaseSpec) {
        self.is_leaving = true;
        self.publish();
        let (mut working, share) = (self.working.subscribe(), self.share);
        let _ = working.wait_for(|working| !working.contains(&share)).await;
        self.candidate.stop();
        let began = self.now();
        let written = self.handle.write(self.seen.as_ref(), lease, &[]).await;
        if written.is_ok() {
            tracing::info!(lease = self.handle.name(), "the lease is released for another");
        }
        self.is_leaving = false;
        self.settle(Call::Claim, began, written.map(Some));
    }

    /// Anybody may have it at once. What a call that was cut off by the end has done is looked at first.
    async fn release(&mut self) {
        self.look().await;
        if let Some(lease) = self.candidate.release(Timestamp::now()) {
            match self.handle.write(self.seen.as_ref(), lease, &[]).await {
                Ok(_) => tracing::info!(lease = self.handle.name(), "the lease is released"),
                Err(error) => tracing::warn!(%error, "the lease was not released; it runs out by itself"),
            }
        }
    }

    /// Takes in what a call brought that began at `began`.
    fn settle(&mut self, call: Call, began: Steady, outcome: Result<Option<Lease>, ApiError>) {
        let now = self.now();
        match outcome {
            Ok(lease) => {
                self.failures = 0;
                match lease.as_ref().map(|lease| lease.spec.clone().unwrap_or_default()) {
                    Some(spec) if call == Call::Claim => self.candidate.wrote(spec, began, now),
                    spec => self.candidate.looked(spec, now),
                }
                self.seen = lease;
                if self.share == 0 {
                    self.settle_division(began, now);
                }
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

    /// Takes in what the Lease of the first share says of the division.
    fn settle_division(&mut self, began: Steady, now: Steady) {
        let says = self.says().unwrap_or(1);
        self.board().note_division(says, began);
        let is_silenced = says == division::NONE && self.candidate.holds_until(now).is_some();
        self.silent = is_silenced.then(|| self.silent.unwrap_or(now));
    }

    /// Notes for the contests of the other shares what is known of this one.
    fn note(&mut self) {
        let now = self.now();
        let holder = match self.candidate.holder(now) {
            None => Holder::Unknown,
            Some("") => Holder::Nobody,
            Some(holder) => Holder::Somebody(holder.to_owned()),
        };
        if self.candidate.holds_until(now).is_none() {
            self.silent = None;
        }
        let wanted_by = self.annotation(annotation::WANTED_BY).map(str::to_owned);
        self.board().note(self.share, holder, wanted_by, now);
    }

    fn publish(&self) {
        let now = self.now();
        let works_until = self.board().works_until(self.candidate.timing().renew_deadline);
        let until = self.candidate.holds_until(now).zip(works_until).map(|(held, works)| held.min(works));
        let until = until.filter(|until| *until > now && !self.is_leaving).map(|until| self.instant(until));
        self.held.send_if_modified(|held| match until {
            Some(until) => held.0.insert(self.share, Some(until)) != Some(Some(until)),
            None => held.0.remove(&self.share).is_some(),
        });
    }

    /// Whether the Lease, which this process holds, is to say something else of the division than it does.
    fn is_to_announce(&self, now: Steady) -> bool {
        let holds = self.share == 0 && self.candidate.holds_until(now).is_some();
        holds && self.says() != Some(self.announcement(now))
    }

    fn announcement(&self, now: Steady) -> u32 {
        let lease_duration = self.candidate.timing().lease_duration;
        division::to_announce(self.board().shares(), self.says(), self.silent, lease_duration, now)
    }

    /// What the Lease was last seen to say of the division; none if there was no Lease.
    fn says(&self) -> Option<u32> {
        self.seen.as_ref().map(|_| division::read(self.annotation(annotation::SHARDS)))
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        Some(self.seen.as_ref()?.annotations().get(name)?.as_str())
    }

    fn rival(&self) -> Option<String> {
        self.candidate.rival(self.now()).map(str::to_owned)
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Steady {
        SignedDuration::try_from(self.began.elapsed()).unwrap_or(SignedDuration::MAX)
    }

    fn instant(&self, at: Steady) -> Instant {
        self.began + Duration::try_from(at).unwrap_or_default()
    }
}
