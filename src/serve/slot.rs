//! The connections that are open: so many and no more. Where one more comes, the one that has been idle for longest goes.
//!
//! Whoever opens connections and says nothing, or a byte now and then, so holds up nobody else, however many they are.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::{Instant, timeout},
};

/// Nobody who has just come has to go: a request, or the next part of a handshake, is there sooner than this.
const LEAST_IDLE: Duration = Duration::from_millis(500);

/// A request that has come is worked on for so long at least. No answer takes longer, unless the client is slow to send its body.
const LEAST_WORK: Duration = Duration::from_secs(10);

/// What a connection has of the server that took it.
#[derive(Clone, Debug)]
pub struct Slot {
    stop: watch::Receiver<bool>,
    activity: Arc<Mutex<Activity>>,
}

/// As long as it lives, a request is worked on.
#[derive(Debug)]
pub struct Work(Arc<Mutex<Activity>>);

/// Since when a connection has been idle, or at work.
#[derive(Clone, Copy, Debug)]
struct Activity {
    is_work: bool,
    since: Instant,
}

/// The connections that are open.
pub(super) struct Slots {
    most: usize,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    open: Vec<Open>,
}

struct Open {
    task: AbortHandle,
    activity: Arc<Mutex<Activity>>,
}

impl Slot {
    /// Waits until the connection shall come to an end.
    pub async fn stop_ordered(&mut self) {
        // Whoever is gone wants nothing any more.
        drop(self.stop.wait_for(|stop| *stop).await);
    }

    /// A request has come, and is worked on until what is returned is dropped.
    pub fn begin_work(&self) -> Work {
        note(&self.activity, true);
        Work(self.activity.clone())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        note(&self.0, false);
    }
}

impl Activity {
    fn begun(is_work: bool) -> Self {
        Self { is_work, since: Instant::now() }
    }

    /// Until when the connection may stay, whoever wants its place.
    fn safe_until(self) -> Instant {
        self.since + if self.is_work { LEAST_WORK } else { LEAST_IDLE }
    }
}

impl Slots {
    pub(super) fn new(most: usize) -> Self {
        Self { most, stop: watch::Sender::new(false), tasks: JoinSet::new(), open: Vec::new() }
    }

    /// Waits until one more connection can be had.
    pub(super) async fn make_room(&mut self) {
        loop {
            while self.tasks.try_join_next().is_some() {}
            self.open.retain(|open| !open.task.is_finished());
            if self.open.len() < self.most {
                return;
            }
            let now = Instant::now();
            let Some((open, until)) =
                self.open.iter().map(|open| (open, look(&open.activity).safe_until())).min_by_key(|(_, until)| *until)
            else {
                return;
            };
            if until <= now {
                tracing::debug!("a connection makes room for another");
                open.task.abort();
                self.tasks.join_next().await;
            } else {
                // One that ends its work meanwhile can go sooner than was seen.
                drop(timeout(LEAST_IDLE.min(until - now), self.tasks.join_next()).await);
            }
        }
    }

    /// Has a connection handled.
    pub(super) fn take<F: Future<Output = ()> + Send + 'static>(&mut self, handle: impl FnOnce(Slot) -> F) {
        let activity = Arc::new(Mutex::new(Activity::begun(false)));
        let slot = Slot { stop: self.stop.subscribe(), activity: activity.clone() };
        let task = self.tasks.spawn(handle(slot));
        self.open.push(Open { task, activity });
    }

    /// Tells all to end, and waits for so long until they have.
    pub(super) async fn close(mut self, drain: Duration) {
        self.stop.send_replace(true);
        let drained = timeout(drain, async { while self.tasks.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::debug!("stopped with connections still open");
        }
    }
}

fn look(activity: &Mutex<Activity>) -> Activity {
    *activity.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note(activity: &Mutex<Activity>, is_work: bool) {
    *activity.lock().unwrap_or_else(PoisonError::into_inner) = Activity::begun(is_work);
}
