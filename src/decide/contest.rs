//! What a replica does about the Lease of one share: keep it, look at it, ask its holder for it, or give it back.
//!
//! [`super::lease`] says who holds it, [`super::division`] who should; here both come together, with what the Lease says beside
//! its spec. Whoever acts on it makes one call at a time for each Lease, and writes on no other version than the one it names.

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod model;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod properties;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{ResourceExt, api::ObjectMeta};

use super::{
    division::{self, Board, Holder, Stance},
    lease::{Candidate, Next, Steady, Timing, holder},
};
use crate::api::names::{LEASE, SHARD_LEASE_PREFIX, annotation};

/// What is decided from the Leases of other shares is decided anew this often.
const BETWEEN_GLANCES: SignedDuration = SignedDuration::from_secs(1);

/// See the module's description.
#[derive(Clone, Debug)]
pub struct Contest {
    share: u32,
    candidate: Candidate,
    /// As it was seen last.
    seen: Option<Lease>,
    /// Since when this replica has it say that no division is in force.
    silent: Option<Steady>,
    /// Whether it is about to be given back.
    is_leaving: bool,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Move {
    /// Nothing before this.
    WaitUntil(Steady),
    /// Read the Lease.
    Look,
    /// Take or keep it: write this.
    Claim(Lease),
    /// Tell its holder that this replica would have it: write this.
    Ask(Lease),
    /// End the work on the share; then, after [`Contest::left`], write this.
    GiveWay(Lease),
}

/// What a call was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// To learn what the Lease says, or to say something to its holder.
    Look,
    /// The Lease was to be this replica's, or to be no longer.
    Claim,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant)] // There is one at a time.
pub enum Outcome {
    /// The Lease is this now; none if there is none.
    Is(Option<Lease>),
    /// Somebody else wrote in between.
    Overtaken,
    /// What it should have done may have been done or not.
    Failed,
}

impl Contest {
    /// `identity` must be nobody else's.
    pub fn new(share: u32, identity: String, timing: Timing) -> Self {
        Self { share, candidate: Candidate::new(identity, timing), seen: None, silent: None, is_leaving: false }
    }

    pub fn share(&self) -> u32 {
        self.share
    }

    /// The name of the Lease.
    pub fn lease_name(&self) -> String {
        if self.share == 0 { LEASE.to_owned() } else { format!("{SHARD_LEASE_PREFIX}{}", self.share) }
    }

    /// Who else holds the Lease, as far as is known.
    pub fn rival(&self, now: Steady) -> Option<&str> {
        self.candidate.rival(now)
    }

    /// What to do at `now`; `wall` goes into the Lease, for people.
    pub fn next(&mut self, board: &Board, now: Steady, wall: Timestamp) -> Move {
        let stance = board.stance(self.share, now);
        if self.candidate.is_current(now) {
            match (stance, self.candidate.release(wall)) {
                (Stance::GiveWay, Some(spec)) => {
                    self.is_leaving = true;
                    return Move::GiveWay(self.lease_that_says(spec));
                }
                (Stance::Ask, _) => return Move::Ask(self.question()),
                _ if self.is_to_announce(board, now) => {
                    return Move::Claim(self.claim(board, self.candidate.renewal(wall), now));
                }
                _ => {}
            }
        }
        match self.candidate.next(now, wall, stance == Stance::Contend) {
            Next::WaitUntil(at) => {
                let is_alone = board.shares() == 1 && self.silent.is_none();
                Move::WaitUntil(if is_alone { at } else { at.min(now.saturating_add(BETWEEN_GLANCES)) })
            }
            Next::Look => Move::Look,
            Next::Write(spec) => Move::Claim(self.claim(board, spec, now)),
        }
    }

    /// The work on the share has ended, and its Lease is about to be given back.
    pub fn left(&mut self) {
        self.candidate.stop();
    }

    /// The Lease as it is left by one who stops. None if it is not this replica's.
    pub fn release(&self, wall: Timestamp) -> Option<Lease> {
        self.candidate.release(wall).map(|spec| self.lease_that_says(spec))
    }

    /// Takes in what came at `now` of a call that began at `began`.
    pub fn settle(&mut self, board: &mut Board, call: Call, outcome: Outcome, (began, now): (Steady, Steady)) {
        self.is_leaving = false;
        match outcome {
            Outcome::Is(lease) => {
                match lease.as_ref().map(|lease| lease.spec.clone().unwrap_or_default()) {
                    Some(spec) if call == Call::Claim => self.candidate.wrote(spec, began, now),
                    spec => self.candidate.looked(spec, now),
                }
                self.seen = lease;
                if self.share == 0 {
                    self.settle_division(board, began, now);
                }
            }
            Outcome::Overtaken => self.candidate.overtaken(),
            Outcome::Failed => self.candidate.failed(now),
        }
    }

    /// Notes for the contests of the other shares what is known of this one.
    pub fn note(&mut self, board: &mut Board, now: Steady) {
        let holder = match self.candidate.holder(now) {
            None => Holder::Unknown,
            Some("") => Holder::Nobody,
            Some(holder) => Holder::Somebody(holder.to_owned()),
        };
        if self.candidate.holds_until(now).is_none() {
            self.silent = None;
        }
        let wanted_by = self.annotation(annotation::WANTED_BY).map(str::to_owned);
        board.note(self.share, holder, wanted_by, now);
    }

    /// Until when the share may be worked on, if nothing more is heard; none if it may not.
    pub fn works_until(&self, board: &Board, now: Steady) -> Option<Steady> {
        let by_division = board.works_until(self.candidate.timing().renew_deadline)?;
        let until = self.candidate.holds_until(now)?.min(by_division);
        (until > now && !self.is_leaving).then_some(until)
    }

    /// Takes in what the Lease of the first share says of the division.
    fn settle_division(&mut self, board: &mut Board, began: Steady, now: Steady) {
        let says = self.says().unwrap_or(1);
        board.note_division(says, began);
        let is_silenced = says == division::NONE && self.candidate.holds_until(now).is_some();
        self.silent = is_silenced.then(|| self.silent.unwrap_or(now));
    }

    /// Whether the Lease, which this replica holds, is to say something else of the division than it does.
    fn is_to_announce(&self, board: &Board, now: Steady) -> bool {
        let holds = self.share == 0 && self.candidate.holds_until(now).is_some();
        holds && self.says() != Some(self.announcement(board, now))
    }

    fn announcement(&self, board: &Board, now: Steady) -> u32 {
        let lease_duration = self.candidate.timing().lease_duration;
        division::to_announce(board.shares(), self.says(), self.silent, lease_duration, now)
    }

    /// What the Lease was last seen to say of the division; none if there was no Lease.
    ///
    /// Only its holder can say something of it. Another program that takes the Lease, cert-manager for one, leaves the
    /// annotations alone and works on everything.
    fn says(&self) -> Option<u32> {
        let lease = self.seen.as_ref()?;
        let holder = lease.spec.as_ref().and_then(holder);
        let is_meant = holder.is_none() || holder == self.annotation(annotation::SHARDS_SAID_BY);
        Some(if is_meant { division::read(self.annotation(annotation::SHARDS)) } else { 1 })
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        Some(self.seen.as_ref()?.annotations().get(name)?.as_str())
    }

    /// The Lease with this replica as holder.
    fn claim(&self, board: &Board, spec: LeaseSpec, now: Steady) -> Lease {
        let mut lease = self.lease_that_says(spec);
        note(&mut lease, annotation::WANTED_BY, None);
        if self.share == 0 {
            // Where the work is not divided, nothing is said.
            let announced = Some(self.announcement(board, now)).filter(|division| *division != 1);
            let said_by = announced.map(|_| self.candidate.identity().to_owned());
            note(&mut lease, annotation::SHARDS, announced.map(|division| division.to_string()));
            note(&mut lease, annotation::SHARDS_SAID_BY, said_by);
        }
        lease
    }

    /// The Lease of another with this replica's wish.
    fn question(&self) -> Lease {
        let mut lease = self.lease_that_says(self.candidate.seen().cloned().unwrap_or_default());
        note(&mut lease, annotation::WANTED_BY, Some(self.candidate.identity().to_owned()));
        lease
    }

    /// The version that was seen last with another spec; a new one if there was none.
    fn lease_that_says(&self, spec: LeaseSpec) -> Lease {
        let named = || ObjectMeta { name: Some(self.lease_name()), ..ObjectMeta::default() };
        let metadata = self.seen.as_ref().map_or_else(named, |seen| seen.metadata.clone());
        Lease { metadata, spec: Some(spec) }
    }
}

/// Sets an annotation, or takes it away.
fn note(lease: &mut Lease, name: &str, value: Option<String>) {
    let annotations = lease.annotations_mut();
    match value {
        Some(value) => drop(annotations.insert(name.to_owned(), value)),
        None => drop(annotations.remove(name)),
    }
}
