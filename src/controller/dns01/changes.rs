//! The changes that Challenges want made at DNS providers, made beside the passes.
//!
//! A Challenge submits its change and rests; it is woken when the change is made, or failed. The changes of one zone by one set
//! of credentials are made in one lane, one call after the other. What arrives while a call is under way goes into the next
//! one together, so that many Challenges of a zone cost few calls. A call that was refused because of one of its changes is
//! made again with each of them alone. Nothing of this survives the process, and nothing needs to: what was submitted and not
//! seen through is submitted again, and each change may be made twice.

mod lane;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use self::lane::Lane;
use super::pool::{Identity, Made};
use crate::{
    cluster::{Hub, Key},
    decide::challenge::{Pending, QUIET_TIME},
    dns::{
        name,
        provider::{Action, Change, ProviderError, TxtRecord},
    },
    measure::span::Here,
};

/// More Challenges than this have nothing to do with DNS at once.
const MOST_OWNERS: usize = 20_000;

/// How long an addition waits for others that are about to come. What a person waits for is not held up by more than it
/// takes anyway to write the status of one Challenge after the other.
const ADDITION_LINGERS: Duration = Duration::from_millis(20);

/// How long a removal waits for company: nobody waits for it.
const REMOVAL_LINGERS: Duration = Duration::from_millis(300);

/// See the module's description.
#[derive(Clone)]
pub struct Changes(Arc<Shared>);

struct Shared {
    hub: Arc<Hub>,
    state: Mutex<State>,
    /// Whether all lanes are to end.
    is_over: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    /// What each Challenge wants, until the Challenge is gone.
    submissions: HashMap<Key, Submission>,
    lanes: HashMap<LaneKey, LaneState>,
    /// Which credentials are to be left alone, until when, and after how many answers that it was too much.
    rests: HashMap<Identity, Rest>,
    serial: u64,
}

/// One set of credentials and one zone.
type LaneKey = (Identity, String);

struct Submission {
    /// Tells it from a former one of the same Challenge.
    serial: u64,
    uid: String,
    identity: Identity,
    since: Timestamp,
    parts: Vec<Part>,
    /// Whether a provider is being asked for one of the parts.
    in_call: bool,
    is_told: bool,
}

/// One of the changes of a Challenge. All have the same action.
struct Part {
    change: Change,
    made: Option<Result<(), ProviderError>>,
}

struct LaneState {
    waiting: VecDeque<Ticket>,
    /// Something came that does not wait for company.
    arrived: Arc<Notify>,
    /// What the provider said when it last was too much.
    throttled: Option<String>,
}

/// A part of a submission on its way through a lane.
struct Ticket {
    owner: Key,
    serial: u64,
    change: Change,
    /// When it has waited long enough for company.
    due: Instant,
    /// It was refused together with others.
    alone: bool,
    /// The pass that submitted it.
    from: Here,
}

#[derive(Clone, Copy)]
struct Rest {
    until: Instant,
    times: u32,
}

/// What has become of the changes of a Challenge.
pub(super) enum Progress {
    /// None was submitted.
    None,
    UnderWay,
    Made,
    /// The first one that failed, and whose credentials they were.
    Failed {
        identity: Identity,
        record: TxtRecord,
        error: ProviderError,
    },
}

impl Changes {
    pub fn new(hub: Arc<Hub>) -> Self {
        Self(Arc::new(Shared { hub, state: Mutex::default(), is_over: watch::Sender::new(false) }))
    }

    /// Submits the changes of a Challenge, which have one action, in place of what it submitted before. With `company`, others
    /// of the same zone are about to come.
    ///
    /// # Errors
    ///
    /// Far too much is under way.
    pub(super) fn submit(
        &self,
        (owner, uid): (&Key, &str),
        made: &Made,
        changes: Vec<Change>,
        company: bool,
    ) -> Result<(), ProviderError> {
        let mut state = self.0.lock();
        if state.submissions.len() >= MOST_OWNERS && !state.submissions.contains_key(owner) {
            let message = format!("more than {MOST_OWNERS} changes of DNS records are under way");
            return Err(ProviderError::Transient { message, source: None });
        }
        let serial = state.next_serial();
        for change in &changes {
            let lingers =
                if made.provider.most_at_once() <= 1 { Duration::ZERO } else { lingers(change.action, company) };
            let due = Instant::now() + lingers;
            let ticket =
                Ticket { owner: owner.clone(), serial, change: change.clone(), due, alone: false, from: Here::now() };
            let lane = (made.identity, change.record.zone.clone());
            if let Some(held) = state.lanes.get_mut(&lane) {
                held.waiting.push_back(ticket);
                held.arrived.notify_one();
            } else {
                let arrived = Arc::new(Notify::new());
                let held = LaneState { waiting: [ticket].into(), arrived: arrived.clone(), throttled: None };
                state.lanes.insert(lane.clone(), held);
                Lane { shared: self.0.clone(), key: lane, provider: made.provider.clone(), arrived }.spawn();
            }
        }
        let parts = changes.into_iter().map(|change| Part { change, made: None }).collect();
        let (uid, now) = (uid.to_owned(), Timestamp::now());
        let submission =
            Submission { serial, uid, identity: made.identity, since: now, parts, in_call: false, is_told: false };
        state.submissions.insert(owner.clone(), submission);
        // A wait that is out of the ordinary is shown.
        self.0.hub.queue.wake_at(owner, now + QUIET_TIME, now);
        Ok(())
    }

    /// What has become of the changes with this action that this incarnation of a Challenge submitted last.
    pub(super) fn progress(&self, (owner, uid): (&Key, &str), action: Action) -> Progress {
        let state = self.0.lock();
        let Some(held) = state.submissions.get(owner) else { return Progress::None };
        if held.uid != uid || held.action() != Some(action) || held.is_told {
            return Progress::None;
        }
        if held.parts.iter().any(|part| part.made.is_none()) {
            return Progress::UnderWay;
        }
        let failure = held.parts.iter().find_map(|part| match &part.made {
            Some(Err(error)) => Some((part.change.record.clone(), error.clone())),
            _ => None,
        });
        match failure {
            Some((record, error)) => Progress::Failed { identity: held.identity, record, error },
            None => Progress::Made,
        }
    }

    /// The failure is known and need not be told again; only the records are still of use.
    pub(super) fn note_told(&self, owner: &Key) {
        if let Some(held) = self.0.lock().submissions.get_mut(owner) {
            held.is_told = true;
        }
    }

    /// The records of the last submission of this incarnation of a Challenge.
    pub(super) fn records(&self, (owner, uid): (&Key, &str)) -> Vec<TxtRecord> {
        let state = self.0.lock();
        let held = state.submissions.get(owner).filter(|held| held.uid == uid);
        held.into_iter().flat_map(|held| held.parts.iter().map(|part| part.change.record.clone())).collect()
    }

    /// What this incarnation of a Challenge waits for, for its status.
    pub(super) fn pending(&self, (owner, uid): (&Key, &str)) -> Option<Pending> {
        let state = self.0.lock();
        let held = state.submissions.get(owner).filter(|held| held.uid == uid)?;
        let part = held.parts.iter().find(|part| part.made.is_none())?;
        let zone = &part.change.record.zone;
        let throttled = state.lanes.get(&(held.identity, zone.clone())).and_then(|lane| lane.throttled.as_deref());
        let reason = match throttled {
            Some(words) => format!("Waiting for the DNS provider, which wants to be asked less often: {words}"),
            None => format!("Waiting for the DNS provider of the zone {}", name::shown(zone)),
        };
        Some(Pending { since: held.since, removes: part.change.action == Action::Remove, reason })
    }

    /// Which credentials the changes use that wait without being asked for at present.
    pub(super) fn waits_with(&self, owner: &Key) -> Option<Identity> {
        let state = self.0.lock();
        let held = state.submissions.get(owner).filter(|held| !held.in_call)?;
        held.parts.iter().any(|part| part.made.is_none()).then_some(held.identity)
    }

    /// Whether the provider is being asked for one of the changes at this moment.
    pub(super) fn is_in_call(&self, owner: &Key) -> bool {
        self.0.lock().submissions.get(owner).is_some_and(|held| held.in_call)
    }

    /// Breaks off everything.
    pub(super) fn end(&self) {
        self.0.is_over.send_replace(true);
    }

    /// The Challenge is gone, or does not want its changes any more.
    pub(super) fn forget(&self, owner: &Key) {
        self.0.lock().submissions.remove(owner);
    }
}

impl Shared {
    /// The state is whole at every moment, so that a panic elsewhere while it was locked harms nothing.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next_serial(&mut self) -> u64 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    /// The submission that a ticket belongs to, unless it was withdrawn.
    fn submission(&mut self, ticket: &Ticket) -> Option<&mut Submission> {
        self.submissions.get_mut(&ticket.owner).filter(|held| held.serial == ticket.serial)
    }
}

impl Submission {
    fn action(&self) -> Option<Action> {
        self.parts.first().map(|part| part.change.action)
    }
}

fn lingers(action: Action, company: bool) -> Duration {
    match action {
        Action::Remove => REMOVAL_LINGERS,
        Action::Add if company => ADDITION_LINGERS,
        Action::Add => Duration::ZERO,
    }
}
