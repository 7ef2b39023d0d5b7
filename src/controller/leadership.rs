//! Which shares of the work this process may do: those of which it holds the Lease.

mod contest;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::Client;
use tokio::{sync::watch, task::JoinSet, time::Instant};

use self::contest::Contest;
use crate::decide::{division::Board, lease::Timing};

/// How a process takes part in the election.
#[derive(Clone, Debug)]
pub struct Election {
    /// Where the Leases lie.
    pub namespace: String,
    /// Who this process is; no other that runs may have the same.
    pub identity: String,
    pub timing: Timing,
    /// Into how many shares the work is divided, with a Lease for each; at least 1.
    pub shares: u32,
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

/// What is held, and what is being worked on because of it: nothing is given back before the work on it has ended.
pub struct Assignment {
    pub(super) held: watch::Receiver<Held>,
    pub(super) working: watch::Sender<BTreeSet<u32>>,
}

/// See the module's description.
pub struct Leadership {
    election: Option<Election>,
    held: watch::Sender<Held>,
    working: watch::Sender<BTreeSet<u32>>,
    stop: watch::Sender<bool>,
    contests: JoinSet<()>,
    /// The moment from which its contests count.
    began: Instant,
}

impl Leadership {
    /// Without an election the process holds everything for ever.
    pub fn new(election: Option<Election>) -> Self {
        let first = if election.is_some() { Held::default() } else { Held(BTreeMap::from([(0, None)])) };
        Self {
            election,
            held: watch::Sender::new(first),
            working: watch::Sender::default(),
            stop: watch::Sender::new(false),
            contests: JoinSet::new(),
            began: Instant::now(),
        }
    }

    pub fn held(&self) -> watch::Receiver<Held> {
        self.held.subscribe()
    }

    pub fn assignment(&self) -> Assignment {
        Assignment { held: self.held(), working: self.working.clone() }
    }

    /// Into how many shares the work is divided.
    pub fn shares(&self) -> u32 {
        self.election.as_ref().map_or(1, |election| election.shares)
    }

    /// Begins to contend for the Leases.
    pub fn contend(&mut self, client: &Client) {
        let Some(election) = &self.election else { return };
        let board = Arc::new(Mutex::new(Board::new(election.identity.clone(), election.shares)));
        let new = |share| Contest::new(share, election, client.clone(), board.clone(), self);
        let contests: Vec<Contest> = (0..election.shares).map(new).collect();
        for contest in contests {
            self.contests.spawn(contest.run(self.stop.subscribe()));
        }
    }

    /// Gives back what is held. Nothing may be under way any more.
    pub async fn resign(mut self) {
        self.stop.send_replace(true);
        while self.contests.join_next().await.is_some() {}
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
