//! The work queue: one entry per object, with the time at which it is due.
//!
//! An object is never worked on twice at once. Wakes that arrive while it is being worked on collapse into one further
//! pass. The time that a pass returns is kept beside any earlier wish, so an event never cancels a timer.
//!
//! There are two lanes: what is woken waits in the first, what is only to be looked over after a start in the second.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use tokio::{
    sync::Notify,
    time::{Duration, Instant},
};

use super::key::{Key, Kind};

/// The longest timer that is set; a later wake is reached in several steps.
const LONGEST_TIMER: Duration = Duration::from_hours(24);

/// After so many of the first lane one of the second goes.
const MOST_PASSED: u32 = 16;

/// See the module's description.
#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    entries: HashMap<Key, Entry>,
    ready: VecDeque<Key>,
    /// What can wait until nothing is ready; may hold keys that have become ready since.
    calm: VecDeque<Key>,
    /// How many of the first lane went since one of the second did.
    passed: u32,
    timers: BinaryHeap<Reverse<(Instant, Key)>>,
}

#[derive(Default)]
struct Entry {
    running: bool,
    ready: bool,
    calm: bool,
    due: Option<Instant>,
    /// Until then nothing wakes it.
    held: Option<Instant>,
    /// Since when it waits to be worked on.
    since: Option<Instant>,
}

/// What is to be done for the objects of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Wait to be worked on now.
    pub waiting: usize,
    /// Are being worked on.
    pub running: usize,
    /// Are looked at again at a time that is known.
    pub timed: usize,
    /// How long the one has waited that has waited longest.
    pub longest: Duration,
}

impl Queue {
    /// Asks for a look at `key` as soon as possible.
    pub fn wake(&self, key: &Key) {
        self.lock().make_ready(key);
        self.changed.notify_one();
    }

    /// Asks for a look at `key` once little else is ready.
    pub fn wake_calmly(&self, key: &Key) {
        self.lock().make_calm(key);
        self.changed.notify_one();
    }

    /// Asks for a look at `key` at `at`, or earlier if that was asked before.
    pub fn wake_at(&self, key: &Key, at: Timestamp, now: Timestamp) {
        let due = Instant::now() + delay_until(at, now);
        self.lock().set_timer(key, due);
        self.changed.notify_one();
    }

    /// The next key to work on; [`Queue::done`] must follow. Never returns a key that is being worked on.
    pub async fn next(&self) -> Key {
        loop {
            let until = {
                let mut state = self.lock();
                if let Some(key) = state.pop(Instant::now()) {
                    if !state.ready.is_empty() || !state.calm.is_empty() {
                        self.changed.notify_one();
                    }
                    return key;
                }
                state.timers.peek().map(|Reverse((due, _))| *due)
            };
            match until {
                Some(due) => tokio::select! {
                    () = tokio::time::sleep_until(due) => {}
                    () = self.changed.notified() => {}
                },
                None => self.changed.notified().await,
            }
        }
    }

    /// Ends the work on `key`; it is due at `at`, if given, or when something changes.
    pub fn done(&self, key: &Key, at: Option<Timestamp>, now: Timestamp) {
        let mut state = self.lock();
        let Some(entry) = state.entries.get_mut(key) else { return };
        entry.running = false;
        if entry.ready {
            state.ready.push_back(key.clone());
        }
        if let Some(at) = at {
            state.set_timer(key, Instant::now() + delay_until(at, now));
        }
        state.forget_if_idle(key);
        drop(state);
        self.changed.notify_one();
    }

    /// Ends the work on `key`, which would go on and on: whatever wakes it, it is not looked at before `at`.
    pub fn hold(&self, key: &Key, at: Timestamp, now: Timestamp) {
        let mut state = self.lock();
        let Some(entry) = state.entries.get_mut(key) else { return };
        let until = Instant::now() + delay_until(at, now);
        *entry = Entry { held: Some(until), ..Entry::default() };
        state.set_timer(key, until);
        drop(state);
        self.changed.notify_one();
    }

    /// How many objects are waiting to be worked on now.
    pub fn ready_count(&self) -> usize {
        self.lock().ready.len()
    }

    /// What is to be done now, by kind.
    pub fn load(&self) -> BTreeMap<Kind, Load> {
        let now = Instant::now();
        let mut loads = BTreeMap::<Kind, Load>::new();
        for (key, entry) in &self.lock().entries {
            let load = loads.entry(key.kind).or_default();
            load.running += usize::from(entry.running);
            load.timed += usize::from(entry.due.is_some());
            if entry.ready || entry.calm {
                load.waiting += 1;
                load.longest = load.longest.max(entry.since.map_or(Duration::ZERO, |since| now.duration_since(since)));
            }
        }
        loads
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn make_ready(&mut self, key: &Key) {
        let entry = self.entries.entry(key.clone()).or_default();
        if entry.ready || entry.held.is_some() {
            return;
        }
        entry.ready = true;
        entry.since.get_or_insert_with(Instant::now);
        if !entry.running {
            self.ready.push_back(key.clone());
        }
    }

    fn make_calm(&mut self, key: &Key) {
        let entry = self.entries.entry(key.clone()).or_default();
        if entry.running {
            return self.make_ready(key);
        }
        if !entry.ready && !entry.calm && entry.held.is_none() {
            entry.calm = true;
            entry.since = Some(Instant::now());
            self.calm.push_back(key.clone());
        }
    }

    /// The first lane goes first, but never so long that the second stands still.
    fn pop_lane(&mut self) -> Option<Key> {
        let turn = if self.passed >= MOST_PASSED { self.pop_calm() } else { None };
        let (key, passed) = match turn {
            Some(key) => (Some(key), 0),
            None => match self.ready.pop_front() {
                Some(key) => (Some(key), self.passed.saturating_add(1)),
                None => (self.pop_calm(), 0),
            },
        };
        self.passed = passed;
        key
    }

    /// The next of the second lane that has not been worked on since it was put there.
    fn pop_calm(&mut self) -> Option<Key> {
        while let Some(key) = self.calm.pop_front() {
            let is_due = |entry: &Entry| entry.calm && !entry.running && !entry.ready;
            if self.entries.get(&key).is_some_and(is_due) {
                return Some(key);
            }
        }
        None
    }

    fn set_timer(&mut self, key: &Key, due: Instant) {
        let entry = self.entries.entry(key.clone()).or_default();
        let due = entry.held.map_or(due, |held| held.max(due));
        if entry.due.is_some_and(|earlier| earlier <= due) {
            return;
        }
        entry.due = Some(due);
        self.timers.push(Reverse((due, key.clone())));
    }

    fn pop(&mut self, now: Instant) -> Option<Key> {
        while let Some(Reverse((due, _))) = self.timers.peek() {
            if *due > now {
                break;
            }
            let Some(Reverse((due, key))) = self.timers.pop() else { break };
            if let Some(entry) = self.entries.get_mut(&key)
                && entry.due == Some(due)
            {
                entry.due = None;
                entry.held = None;
                self.make_ready(&key);
            }
        }
        let key = self.pop_lane()?;
        let entry = self.entries.entry(key.clone()).or_default();
        entry.ready = false;
        entry.calm = false;
        entry.since = None;
        entry.running = true;
        // The pass that starts now decides anew when the object is due.
        entry.due = None;
        Some(key)
    }

    fn forget_if_idle(&mut self, key: &Key) {
        let is_idle = |entry: &Entry| !entry.running && !entry.ready && !entry.calm && entry.due.is_none();
        if self.entries.get(key).is_some_and(is_idle) {
            self.entries.remove(key);
        }
    }
}

fn delay_until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default().min(LONGEST_TIMER)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jiff::ToSpan;

    use super::*;

    fn key(name: &str) -> Key {
        Key::new(Kind::Certificate, "default", name)
    }

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    async fn next_within(queue: &Queue, limit: Duration) -> Option<Key> {
        tokio::time::timeout(limit, queue.next()).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn wakes_collapse_and_a_running_key_is_not_handed_out_twice() {
        let queue = Queue::default();
        queue.wake(&key("a"));
        queue.wake(&key("a"));
        assert_eq!(queue.next().await, key("a"));
        queue.wake(&key("a"));
        queue.wake(&key("a"));
        assert_eq!(next_within(&queue, Duration::from_secs(5)).await, None);
        queue.done(&key("a"), None, now());
        assert_eq!(queue.next().await, key("a"));
        queue.done(&key("a"), None, now());
        assert_eq!(next_within(&queue, Duration::from_secs(5)).await, None);
        assert!(queue.lock().entries.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_timer_wins_and_a_pass_replaces_the_timer() {
        let queue = Queue::default();
        queue.wake_at(&key("a"), now() + 60.seconds(), now());
        queue.wake_at(&key("a"), now() + 10.seconds(), now());
        assert_eq!(next_within(&queue, Duration::from_secs(9)).await, None);
        assert_eq!(next_within(&queue, Duration::from_secs(2)).await, Some(key("a")));
        queue.done(&key("a"), Some(now() + 30.seconds()), now());
        assert_eq!(next_within(&queue, Duration::from_secs(29)).await, None);
        assert_eq!(next_within(&queue, Duration::from_secs(2)).await, Some(key("a")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wake_in_the_past_is_due_at_once() {
        let queue = Queue::default();
        queue.wake_at(&key("a"), now() - 60.seconds(), now());
        assert_eq!(next_within(&queue, Duration::from_millis(1)).await, Some(key("a")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_set_while_running_is_kept_beside_the_one_returned() {
        let queue = Queue::default();
        queue.wake(&key("a"));
        queue.next().await;
        queue.wake_at(&key("a"), now() + 5.seconds(), now());
        queue.done(&key("a"), Some(now() + 50.seconds()), now());
        assert_eq!(next_within(&queue, Duration::from_secs(6)).await, Some(key("a")));
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_wait_comes_last_and_once() {
        let queue = Queue::default();
        queue.wake_calmly(&key("calm"));
        queue.wake_calmly(&key("both"));
        queue.wake(&key("urgent"));
        queue.wake(&key("both"));
        for name in ["urgent", "both", "calm"] {
            assert_eq!(queue.next().await, key(name));
            queue.done(&key(name), None, now());
        }
        assert_eq!(next_within(&queue, Duration::from_secs(5)).await, None);
        assert!(queue.lock().entries.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_lane_moves_however_full_the_first_is() {
        let queue = Queue::default();
        queue.wake_calmly(&key("calm"));
        for number in 0..40 {
            queue.wake(&key(&number.to_string()));
        }
        let mut before = 0;
        while queue.next().await != key("calm") {
            before += 1;
        }
        assert_eq!(before, MOST_PASSED);
    }

    #[tokio::test(start_paused = true)]
    async fn the_load_tells_what_waits_and_for_how_long() {
        let queue = Queue::default();
        queue.wake(&key("a"));
        queue.wake_calmly(&key("b"));
        queue.wake_at(&key("c"), now() + 60.seconds(), now());
        tokio::time::advance(Duration::from_secs(3)).await;
        queue.wake(&key("a"));
        let load = || queue.load()[&Kind::Certificate];
        let longest = Duration::from_secs(3);
        assert_eq!(load(), Load { waiting: 2, running: 0, timed: 1, longest });
        assert_eq!(queue.next().await, key("a"));
        assert_eq!(queue.next().await, key("b"));
        assert_eq!(load(), Load { waiting: 0, running: 2, timed: 1, longest: Duration::ZERO });
        queue.done(&key("a"), None, now());
        queue.done(&key("b"), None, now());
        assert_eq!(load(), Load { waiting: 0, running: 0, timed: 1, longest: Duration::ZERO });
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_wakes_what_is_held() {
        let queue = Queue::default();
        queue.wake(&key("a"));
        queue.next().await;
        queue.wake(&key("a"));
        queue.hold(&key("a"), now() + 30.seconds(), now());
        queue.wake(&key("a"));
        queue.wake_calmly(&key("a"));
        queue.wake_at(&key("a"), now() + 5.seconds(), now());
        assert_eq!(next_within(&queue, Duration::from_secs(29)).await, None);
        assert_eq!(next_within(&queue, Duration::from_secs(2)).await, Some(key("a")));
        queue.done(&key("a"), None, now());
        queue.wake(&key("a"));
        assert_eq!(queue.next().await, key("a"));
    }
}
