//! Who may have the CA create an order now: a budget for each account, shared fairly.
//!
//! The [`Ledger`] of an account knows when its latest orders were created and which Orders wait for a place. It has no
//! clock: whoever asks says what time it is.
//!
//! - No more than [`Allowance::most`] orders are created within any [`Allowance::window`].
//! - A tenth is kept for the urgent ([`Ticket::is_urgent`]), so that they need not wait for a window to end. Windows of up
//!   to ten minutes are waited for.
//! - The namespaces take turns. Within one the most urgent goes first: who says so, then by the life that is left of the
//!   certificate, where one that never was has none; then by age.
//! - An Order whose last try failed and that tries again soon keeps its turn: the place is kept for it until it comes back.
//! - When a CA comes back after it did not answer or would not be asked, one goes to see, then two in the first second,
//!   eight in the next, 32 in the third.

mod allowance;
pub mod past;
#[cfg(test)]
mod tests;
pub mod turn;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};

pub use allowance::Allowance;

use super::later;

/// How many may go in the first, second, … second after a CA came back; then as many as the budget allows.
const RAMP: [usize; 3] = [2, 8, 32];

/// Who holds a place and does nothing with it for so long has lost it. A place is kept for no longer than that, too.
const LONGEST_GRANT: SignedDuration = SignedDuration::from_mins(5);

/// Whose certificate has less to live than this is urgent.
const LITTLE_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// An account without a limit remembers its orders for so long, for the ramp.
const RAMP_MEMORY: SignedDuration = SignedDuration::from_secs(10);

/// Namespace and name of an Order.
pub type OrderName = (String, String);

/// An Order that wants to be created at the CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub name: OrderName,
    /// When the Order was created here.
    pub created: Timestamp,
    /// When the certificate ends that this one replaces; none if there is no such.
    pub expires: Option<Timestamp>,
    /// Whether it says itself that it is urgent.
    pub urgent: bool,
}

impl Ticket {
    /// Whether it may use what is kept for the urgent.
    pub fn is_urgent(&self, now: Timestamp) -> bool {
        self.urgent || self.expires.is_some_and(|expires| expires < later(now, LITTLE_LIFE))
    }

    /// Smaller goes first.
    fn rank(&self) -> (bool, Timestamp, Timestamp, &str) {
        (!self.urgent, self.expires.unwrap_or(self.created), self.created, &self.name.1)
    }
}

/// How the CA stands to the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It takes nothing before this time.
    Closed(Timestamp),
    /// One may go and see.
    Probe,
    /// It answers; if it came back from something, since when.
    Open(Option<Timestamp>),
}

/// What is left of an account's budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// How many orders may be created within the window; none if there is no limit.
    pub most: Option<usize>,
    /// How many of them were, or are about to be.
    pub used: usize,
    /// How many Orders wait.
    pub waiting: usize,
}

impl Balance {
    /// That of an account that nothing was ordered for.
    pub fn unused(allowance: &Allowance) -> Self {
        Self { most: (!allowance.is_unlimited()).then(|| allowance.all()), used: 0, waiting: 0 }
    }

    /// That of two parts of the work together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let most = self.most.zip(other.most).map(|(own, others)| own.saturating_add(others));
        Self { most, used: self.used.saturating_add(other.used), waiting: self.waiting.saturating_add(other.waiting) }
    }
}

/// Whom to look at, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// These have been given a place.
    pub now: Vec<OrderName>,
    /// This one is next; its look at that time hands out the places that are free by then.
    pub next: Option<(OrderName, Timestamp)>,
}

/// See the module's description.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// When orders were created, the oldest first; as far back as the window and no more than it allows.
    placed: VecDeque<Timestamp>,
    waiting: BTreeMap<OrderName, Waiting>,
    /// For whom a place is kept, and when it tries again.
    kept: BTreeMap<OrderName, Timestamp>,
    /// For whom one was kept among those that wait.
    first: BTreeSet<OrderName>,
    /// Who has a place and has not used it yet, and since when.
    granted: BTreeMap<OrderName, Timestamp>,
    /// Whose turn it was last, among all and among the urgent.
    last: Option<String>,
    last_urgent: Option<String>,
}

/// One that waits for a place.
#[derive(Clone, Debug)]
struct Waiting {
    ticket: Ticket,
    /// When it tries again, if it cannot use a place before.
    until: Option<Timestamp>,
}

impl Waiting {
    fn is_able(&self) -> bool {
        self.until.is_none()
    }

    /// Whether it can use a place before that is lost.
    fn counts(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until <= later(now, LONGEST_GRANT))
    }
}

impl Ledger {
    /// Takes in that an Order wants a place.
    pub fn enter(&mut self, ticket: Ticket) {
        let name = ticket.name.clone();
        if self.granted.contains_key(&name) {
            return;
        }
        if self.kept.remove(&name).is_some() {
            self.first.insert(name.clone());
        }
        self.waiting.insert(name, Waiting { ticket, until: None });
    }

    /// Takes in that an Order wants a place and cannot use it before `until`. Whether that frees anything for others.
    pub fn pause(&mut self, ticket: Ticket, until: Timestamp) -> bool {
        let name = ticket.name.clone();
        let had_place = self.granted.remove(&name).is_some();
        if had_place || self.first.remove(&name) || self.kept.contains_key(&name) {
            self.waiting.remove(&name);
            self.kept.insert(name, until);
        } else {
            self.waiting.insert(name, Waiting { ticket, until: Some(until) });
        }
        had_place
    }

    /// Takes in that an Order wants no place any more, or cannot use it now. Whether that changes anything.
    pub fn leave(&mut self, name: &OrderName) -> bool {
        let waited = self.waiting.remove(name).is_some();
        let was_kept = self.kept.remove(name).is_some();
        self.first.remove(name);
        self.granted.remove(name).is_some() || waited || was_kept
    }

    /// Takes in that an order was created, or may have been.
    pub fn place(&mut self, name: Option<&OrderName>, at: Timestamp) {
        if let Some(name) = name {
            self.leave(name);
        }
        let index = self.placed.partition_point(|earlier| *earlier <= at);
        self.placed.insert(index, at);
    }

    pub fn has_place(&self, name: &OrderName) -> bool {
        self.granted.contains_key(name)
    }

    /// Who is next in turn, to be looked at when a place may have become free.
    pub fn head(&self, now: Timestamp) -> Option<OrderName> {
        self.next_of_urgent(now).or_else(|| self.next_of_all(Waiting::is_able))
    }

    /// Whether there is nothing to remember.
    pub fn is_idle(&mut self, allowance: &Allowance, now: Timestamp) -> bool {
        self.forget(allowance, now);
        self.placed.is_empty() && self.waiting.is_empty() && self.granted.is_empty() && self.kept.is_empty()
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// What is left of the budget.
    pub fn balance(&mut self, allowance: &Allowance, now: Timestamp) -> Balance {
        self.forget(allowance, now);
        Balance { used: self.used(), waiting: self.waiting(), ..Balance::unused(allowance) }
    }

    /// Hands out the places that are free.
    pub fn hand_out(&mut self, allowance: &Allowance, pace: Pace, now: Timestamp) -> Calls {
        self.forget(allowance, now);
        let mut calls = Calls::default();
        let most = self.most_now(pace, now);
        while calls.now.len() < most {
            let used = self.used();
            let (name, last) = if used < allowance.ordinary() {
                // Who goes to see goes now.
                let counts = |held: &Waiting| if pace == Pace::Probe { held.is_able() } else { held.counts(now) };
                (self.next_of_all(counts), &mut self.last)
            } else if used < allowance.all() {
                (self.next_of_urgent(now), &mut self.last_urgent)
            } else {
                break;
            };
            let Some(name) = name else { break };
            let held = self.waiting.remove(&name);
            // Who comes back has had the namespace's turn.
            if !self.first.remove(&name) {
                *last = Some(name.0.clone());
            }
            if let Some(until) = held.and_then(|held| held.until) {
                self.kept.insert(name, until);
            } else {
                self.granted.insert(name.clone(), now);
                calls.now.push(name);
            }
        }
        calls.next = self.next(allowance, pace, now);
        calls
    }

    /// When the last of those who wait now will have its place at the latest, as things stand.
    pub fn forecast(&self, allowance: &Allowance, now: Timestamp) -> Timestamp {
        let room = allowance.ordinary().saturating_sub(self.used());
        let Some(ahead) = self.waiting.len().checked_sub(room.saturating_add(1)) else { return now };
        let ordinary = allowance.ordinary().max(1);
        let (windows, index) = (ahead / ordinary, ahead % ordinary);
        let first = self.placed.get(index).copied().unwrap_or(now);
        let windows = i32::try_from(windows.saturating_add(1)).unwrap_or(i32::MAX);
        later(first, allowance.window.checked_mul(windows).unwrap_or(SignedDuration::MAX))
    }

    fn used(&self) -> usize {
        self.placed.len().saturating_add(self.granted.len()).saturating_add(self.kept.len())
    }

    fn forget(&mut self, allowance: &Allowance, now: Timestamp) {
        let memory = if allowance.is_unlimited() { RAMP_MEMORY } else { allowance.window };
        while self.placed.front().is_some_and(|at| later(*at, memory) <= now) {
            self.placed.pop_front();
        }
        self.granted.retain(|_, since| now < later(*since, LONGEST_GRANT));
        self.kept.retain(|_, until| now < later(*until, LONGEST_GRANT) && *until <= later(now, LONGEST_GRANT));
        self.waiting.retain(|_, held| held.until.is_none_or(|until| now < later(until, LONGEST_GRANT)));
    }

    /// How many the CA would take now, whatever the budget.
    fn most_now(&self, pace: Pace, now: Timestamp) -> usize {
        match pace {
            Pace::Closed(_) => 0,
            Pace::Probe => usize::from(self.granted.is_empty()),
            Pace::Open(None) => usize::MAX,
            Pace::Open(Some(since)) => {
                let Some(seconds) = ramp_second(since, now) else { return usize::MAX };
                let allowed: usize = RAMP.iter().take(seconds + 1).sum();
                let went = self.placed.iter().rev().take_while(|at| **at >= since).count();
                allowed.saturating_sub(went.saturating_add(self.granted.len()))
            }
        }
    }

    /// The next among those that count; before all others those for whom a place was kept.
    fn next_of_all(&self, counts: impl Fn(&Waiting) -> bool) -> Option<OrderName> {
        let first = self.first.iter().filter_map(|name| self.waiting.get(name)).map(|held| &held.ticket);
        let first = first.min_by(|a, b| a.rank().cmp(&b.rank())).map(|ticket| ticket.name.clone());
        first.or_else(|| self.next_in_turn(self.last.as_deref(), counts))
    }

    fn next_of_urgent(&self, now: Timestamp) -> Option<OrderName> {
        self.next_in_turn(self.last_urgent.as_deref(), |held| held.is_able() && held.ticket.is_urgent(now))
    }

    /// The first of the namespace that comes after the last one, among those that count.
    fn next_in_turn(&self, last: Option<&str>, counts: impl Fn(&Waiting) -> bool) -> Option<OrderName> {
        let is_after = |held: &&Waiting| last.is_none_or(|last| held.ticket.name.0.as_str() > last);
        let mut counted = self.waiting.values().filter(|held| counts(held));
        // The waiting are sorted by namespace.
        let namespace = match counted.clone().find(is_after) {
            Some(held) => &held.ticket.name.0,
            None => &counted.next()?.ticket.name.0,
        };
        let own = self.waiting.range((namespace.clone(), String::new())..).map(|(_, held)| held);
        let own = own.take_while(|held| held.ticket.name.0 == *namespace).filter(|held| counts(held));
        let own = own.map(|held| &held.ticket);
        own.min_by(|a, b| a.rank().cmp(&b.rank())).map(|ticket| ticket.name.clone())
    }

    fn next(&self, allowance: &Allowance, pace: Pace, now: Timestamp) -> Option<(OrderName, Timestamp)> {
        let urgent = self.next_of_urgent(now);
        let most = if urgent.is_some() { allowance.all() } else { allowance.ordinary() };
        let name = urgent.or_else(|| self.next_of_all(Waiting::is_able))?;
        let by_budget = match self.used().checked_sub(most) {
            None => now,
            // What has a place and no order yet frees it soon, and says so; this is for when it does not.
            Some(over) => self.placed.get(over).map_or(later(now, LONGEST_GRANT), |at| later(*at, allowance.window)),
        };
        let by_pace = match pace {
            Pace::Closed(until) => until,
            Pace::Probe => later(now, LONGEST_GRANT),
            Pace::Open(None) => now,
            Pace::Open(Some(since)) => match ramp_second(since, now) {
                Some(second) => later(since, SignedDuration::from_secs(i64::try_from(second).unwrap_or(0) + 1)),
                None => now,
            },
        };
        Some((name, by_budget.max(by_pace).max(now)))
    }

    /// The namespaces that wait, for who wants to see that none starves.
    pub fn namespaces(&self) -> BTreeSet<&str> {
        self.waiting.keys().map(|(namespace, _)| namespace.as_str()).collect()
    }
}

/// In which second of the ramp it is, if that is not over.
fn ramp_second(since: Timestamp, now: Timestamp) -> Option<usize> {
    usize::try_from(now.duration_since(since).as_secs()).ok().filter(|second| *second < RAMP.len())
}
