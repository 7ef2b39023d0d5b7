//! Which Challenges may be presented now: so many at once in the whole cluster, shared fairly.
//!
//! A Challenge has a place from before it is presented until what was presented is taken away again. One that takes longer
//! than [`COUNTED`], because of a mistake that somebody has to correct, keeps its place but does not count any more, so the
//! hopeless hold up nobody for longer than that. The namespaces take turns; within one the oldest goes first.
//!
//! The [`Schedule`] has no clock: whoever asks says what time it is. After a restart it is restored from the Challenges
//! that are presented. Every operation takes logarithmic time.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
};

use jiff::{SignedDuration, Timestamp};
use kube::{Resource, ResourceExt};

use super::{backoff::in_words, challenge::has_finalizer, later, progress::Progress};
use crate::api::Challenge;

/// How many Challenges are presented at once unless the operator says otherwise, as with cert-manager.
pub const DEFAULT_MOST: usize = 60;

/// For so long a place counts. Most Challenges need it for a few seconds.
const COUNTED: SignedDuration = SignedDuration::from_mins(1);

/// Waits up to this are not told of: a burst that is over by then needs no write for each that waited.
const QUIET: SignedDuration = SignedDuration::from_secs(30);

/// Who waits looks again after so long at the latest, should nobody call.
const LONGEST_SILENCE: SignedDuration = SignedDuration::from_mins(5);

/// Begins what a Challenge says that has waited for long.
const WAITING: &str = "Waiting for a place: at most ";

/// Namespace and name of a Challenge.
pub type ChallengeName = (String, String);

/// What a Challenge has to do with the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is not presented, and cannot or need not be now.
    Nothing,
    /// It could be presented; it was created then.
    Wants(Timestamp),
    /// It has been presented since then, and not all of it is taken away yet.
    Holds(Timestamp),
}

/// It waits for a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    pub since: Timestamp,
    /// How many have a place at once.
    pub most: usize,
}

/// Whom to look at, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// These have been given a place.
    pub now: Vec<ChallengeName>,
    /// This one is next, and has its place at that time if no other leaves before.
    pub next: Option<(ChallengeName, Timestamp)>,
}

/// See the module's description.
#[derive(Clone, Debug)]
pub struct Schedule {
    most: usize,
    /// By namespace, the oldest first.
    waiting: BTreeMap<String, BTreeSet<(Timestamp, String)>>,
    tickets: HashMap<ChallengeName, Ticket>,
    /// Who has a place, and whether it counts.
    places: HashMap<ChallengeName, Place>,
    /// The places that count, the oldest first.
    counted: BTreeSet<(Timestamp, ChallengeName)>,
    /// The namespace whose turn it was last.
    last: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Ticket {
    created: Timestamp,
    /// Since when it waits.
    since: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    since: Timestamp,
    counts: bool,
}

impl Claim {
    /// `may_go` says whether nothing but the schedule would keep it from being presented.
    pub fn of(challenge: &Challenge, may_go: bool) -> Self {
        let created = challenge.meta().creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
        let status = challenge.status.as_ref();
        if let Some(status) = status.filter(|status| status.presented && has_finalizer(challenge)) {
            return Self::Holds(status.presented_at.as_ref().map_or(created, |time| time.0));
        }
        let is_open = Progress::of_word(status.and_then(|status| status.state.as_deref())) == Progress::Open;
        let is_wanted = is_open && challenge.meta().deletion_timestamp.is_none();
        if is_wanted && may_go { Self::Wants(created) } else { Self::Nothing }
    }
}

impl Queued {
    /// Until when nothing is told of the wait.
    pub fn quiet_until(&self) -> Timestamp {
        later(self.since, QUIET)
    }

    /// What is told after that, for as long as it waits: how many go at once, what frees a place, when it looks again. How many are
    /// before it is left out: that changes each time one goes, and would be a write for each that waits.
    pub fn sentence(&self) -> String {
        let (most, counted, silence) = (self.most, in_words(COUNTED), in_words(LONGEST_SILENCE));
        format!(
            "{WAITING}{most} challenges are presented at once (--max-concurrent-challenges); a place is free when another is \
             cleaned up, or has taken {counted}; namespaces take turns, the oldest of each first; looked at again within {silence}"
        )
    }

    /// When it looks again at the latest.
    pub fn look_again(now: Timestamp) -> Timestamp {
        later(now, LONGEST_SILENCE)
    }
}

/// Whether a Challenge's reason tells of a wait for a place.
pub fn is_wait(reason: &str) -> bool {
    reason.starts_with(WAITING)
}

/// The name under which a Challenge is known here.
pub fn name_of(challenge: &Challenge) -> ChallengeName {
    (challenge.namespace().unwrap_or_default(), challenge.name_any())
}

impl Default for Schedule {
    fn default() -> Self {
        Self::new(DEFAULT_MOST)
    }
}

impl Schedule {
    /// At most `most` places count at once; at least one.
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            waiting: BTreeMap::new(),
            tickets: HashMap::new(),
            places: HashMap::new(),
            counted: BTreeSet::new(),
            last: None,
        }
    }

    /// Takes in what became of a Challenge and hands out the places that are free. Gives what it waits for, if it does, and
    /// whom else to look at.
    pub fn look(&mut self, name: &ChallengeName, claim: Claim, now: Timestamp) -> (Option<Queued>, Calls) {
        match claim {
            Claim::Nothing => self.leave(name),
            Claim::Wants(created) => self.enter(name, created, now),
            Claim::Holds(since) => self.hold(name, since.min(now)),
        }
        let mut calls = self.hand_out(now);
        calls.now.retain(|called| called != name);
        let queued = self.tickets.get(name).map(|ticket| Queued { since: ticket.since, most: self.most });
        (queued, calls)
    }

    /// Takes in that a Challenge is presented; nothing is handed out yet.
    pub fn hold(&mut self, name: &ChallengeName, since: Timestamp) {
        self.forget_ticket(name);
        if !self.places.contains_key(name) {
            self.places.insert(name.clone(), Place { since, counts: true });
            self.counted.insert((since, name.clone()));
        }
    }

    fn enter(&mut self, name: &ChallengeName, created: Timestamp, now: Timestamp) {
        if self.places.contains_key(name) || self.tickets.contains_key(name) {
            return;
        }
        self.tickets.insert(name.clone(), Ticket { created, since: now });
        self.waiting.entry(name.0.clone()).or_default().insert((created, name.1.clone()));
    }

    fn leave(&mut self, name: &ChallengeName) {
        self.forget_ticket(name);
        if let Some(place) = self.places.remove(name)
            && place.counts
        {
            self.counted.remove(&(place.since, name.clone()));
        }
    }

    fn forget_ticket(&mut self, name: &ChallengeName) {
        let Some(ticket) = self.tickets.remove(name) else { return };
        let Some(own) = self.waiting.get_mut(&name.0) else { return };
        own.remove(&(ticket.created, name.1.clone()));
        if own.is_empty() {
            self.waiting.remove(&name.0);
        }
    }

    fn hand_out(&mut self, now: Timestamp) -> Calls {
        self.pass_over_the_slow(now);
        let mut calls = Calls::default();
        while self.counted.len() < self.most
            && let Some(name) = self.next_in_turn()
        {
            self.hold(&name, now);
            self.last = Some(name.0.clone());
            calls.now.push(name);
        }
        let frees = self.counted.first().map(|(since, _)| later(*since, COUNTED));
        calls.next = self.next_in_turn().zip(frees);
        calls
    }

    fn pass_over_the_slow(&mut self, now: Timestamp) {
        while let Some((since, name)) = self.counted.first()
            && later(*since, COUNTED) <= now
        {
            if let Some(place) = self.places.get_mut(name) {
                place.counts = false;
            }
            self.counted.pop_first();
        }
    }

    /// The oldest of the namespace that comes after the last one.
    fn next_in_turn(&self) -> Option<ChallengeName> {
        let after = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut later = self.waiting.range::<String, _>((after, Bound::Unbounded));
        let (namespace, own) = later.next().or_else(|| self.waiting.first_key_value())?;
        own.first().map(|(_, name)| (namespace.clone(), name.clone()))
    }
}
