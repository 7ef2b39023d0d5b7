//! One Lease and this process's part in who holds it: does what [`crate::decide::contest`] says.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use super::{Election, Held, Leadership};
use crate::{
    cluster::{ApiError, LeaseHandle},
    decide::{
        contest::{self, Call, Move, Outcome},
        division::Board,
        lease::Steady,
    },
};

/// For one call; less if the renew deadline is short, so that there is time for another one.
const LONGEST_CALL: Duration = Duration::from_secs(10);

/// For giving a Lease back at the end. Whoever waits for it takes it a little later otherwise.
const LONGEST_RELEASE: Duration = Duration::from_secs(4);

/// See the module's description.
pub(super) struct Contest {
    mind: contest::Contest,
    handle: LeaseHandle,
    board: Arc<Mutex<Board>>,
    held: watch::Sender<Held>,
    working: watch::Sender<BTreeSet<u32>>,
    /// From which all contests of this process count.
    began: Instant,
    /// Calls that failed in a row.
    failures: u32,
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
        let mind = contest::Contest::new(share, election.identity.clone(), election.timing);
        let handle = LeaseHandle::new(client, &election.namespace, &mind.lease_name(), LONGEST_CALL.min(deadline / 3));
        let (held, working) = (leadership.held.clone(), leadership.working.clone());
        Self { mind, handle, board, held, working, began: leadership.began, failures: 0 }
    }

    /// Contends until `stop` is set, and gives the Lease back then.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
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
        let next = {
            let (now, board) = (self.now(), self.board.clone());
            self.mind.next(&lock(&board), now, Timestamp::now())
        };
        match next {
            Move::WaitUntil(at) => sleep_until(self.instant(at)).await,
            Move::Look => self.look().await,
            Move::Claim(lease) => self.write(Call::Claim, &lease).await,
            Move::Ask(lease) => self.write(Call::Look, &lease).await,
            Move::GiveWay(lease) => self.give_way(&lease).await,
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

    async fn write(&mut self, call: Call, lease: &Lease) {
        let began = self.now();
        let written = self.handle.write(lease).await;
        self.settle(call, began, written.map(Some));
    }

    /// Gives the Lease back when the work on the share has ended.
    async fn give_way(&mut self, lease: &Lease) {
        self.publish();
        let (mut working, share) = (self.working.subscribe(), self.mind.share());
        let _ = working.wait_for(|working| !working.contains(&share)).await;
        self.mind.left();
        tracing::info!(lease = self.handle.name(), "the lease is released for another");
        self.write(Call::Claim, lease).await;
    }

    /// Anybody may have it at once. What a call that was cut off by the end has done is looked at first.
    async fn release(&mut self) {
        self.look().await;
        if let Some(lease) = self.mind.release(Timestamp::now()) {
            match self.handle.write(&lease).await {
                Ok(_) => tracing::info!(lease = self.handle.name(), "the lease is released"),
                Err(error) => tracing::warn!(%error, "the lease was not released; it runs out by itself"),
            }
        }
    }

    /// Takes in what a call brought that began at `began`.
    fn settle(&mut self, call: Call, began: Steady, outcome: Result<Option<Lease>, ApiError>) {
        let (now, board) = (self.now(), self.board.clone());
        let outcome = match outcome {
            Ok(lease) => {
                self.failures = 0;
                Outcome::Is(lease)
            }
            Err(ApiError::Conflict { .. }) => Outcome::Overtaken,
            Err(error) => {
                self.tell(&error);
                Outcome::Failed
            }
        };
        self.mind.settle(&mut lock(&board), call, outcome, (began, now));
    }

    /// An outage is told of once.
    fn tell(&mut self, error: &ApiError) {
        self.failures = self.failures.saturating_add(1);
        if self.failures == 1 {
            tracing::warn!(%error, "the lease cannot be seen to; it is tried again and again");
        } else {
            tracing::debug!(%error, failures = self.failures, "the lease cannot be seen to");
        }
    }

    /// Tells the other contests what is known, and the controller what may be worked on.
    fn publish(&mut self) {
        let (now, board, share) = (self.now(), self.board.clone(), self.mind.share());
        let until = {
            let mut board = lock(&board);
            self.mind.note(&mut board, now);
            self.mind.works_until(&board, now)
        };
        let until = until.map(|until| self.instant(until));
        self.held.send_if_modified(|held| match until {
            Some(until) => held.0.insert(share, Some(until)) != Some(Some(until)),
            None => held.0.remove(&share).is_some(),
        });
    }

    fn rival(&self) -> Option<String> {
        self.mind.rival(self.now()).map(str::to_owned)
    }

    fn now(&self) -> Steady {
        SignedDuration::try_from(self.began.elapsed()).unwrap_or(SignedDuration::MAX)
    }

    fn instant(&self, at: Steady) -> Instant {
        self.began + Duration::try_from(at).unwrap_or_default()
    }
}

fn lock(board: &Mutex<Board>) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}
