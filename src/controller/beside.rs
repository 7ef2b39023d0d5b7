//! Work beside the passes: a pass that needs something which takes its time begins it and ends, and its object is looked at
//! again once the outcome is there. So a server that does not answer, or a long computation, holds nobody up but who asked.

use std::{
    collections::HashMap,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use thiserror::Error;
use tokio::{sync::Semaphore, task::AbortHandle, time::timeout};

use super::step_error::StepError;
use crate::{
    cluster::{Hub, Key},
    measure::span::Here,
};

/// What each object began last: work about an `A`, of which comes a `T`.
pub struct Beside<A, T>(Arc<Shared<A, T>>);

/// What came of it.
pub(super) type Outcome<T> = Result<T, Unfinished>;

/// Why nothing came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Unfinished {
    #[error("no answer within {} s", .0.as_secs())]
    TookTooLong(Duration),
    #[error("it ended by a defect of certwright; see its log")]
    Defect,
}

struct Shared<A, T> {
    hub: Arc<Hub>,
    at_once: Arc<Semaphore>,
    limit: Duration,
    held: Mutex<HashMap<Key, Work<A, T>>>,
}

struct Work<A, T> {
    about: A,
    task: AbortHandle,
    outcome: Option<Outcome<T>>,
}

impl<A: Send + 'static, T: Send + 'static> Beside<A, T> {
    /// At most `at_once` works are under way together; each has the time of `limit` from its turn on.
    pub(super) fn new(hub: Arc<Hub>, at_once: usize, limit: Duration) -> Self {
        Self(Arc::new(Shared { hub, at_once: Arc::new(Semaphore::new(at_once)), limit, held: Mutex::default() }))
    }

    /// The outcome of what the object began last, once; none if it began nothing, or something about another thing.
    ///
    /// # Errors
    ///
    /// The outcome is not there yet.
    pub(super) fn outcome<Q: ?Sized>(&self, owner: &Key, about: &Q) -> Result<Option<Outcome<T>>, StepError>
    where
        A: PartialEq<Q>,
    {
        let mut held = self.0.lock();
        match held.get(owner) {
            Some(work) if work.about == *about && work.outcome.is_none() => Err(StepError::Awaiting),
            Some(work) if work.about == *about => Ok(held.remove(owner).and_then(|work| work.outcome)),
            _ => Ok(None),
        }
    }

    /// Begins work in place of what the object began before. What comes back says that the outcome is awaited.
    pub(super) fn begin(&self, owner: &Key, about: A, work: impl Future<Output = T> + Send + 'static) -> StepError {
        self.begin_in(self.0.at_once.clone(), owner, about, work)
    }

    /// The same for work that waits for its turn in a lane of its own, which others cannot fill.
    pub(super) fn begin_in(
        &self,
        lane: Arc<Semaphore>,
        owner: &Key,
        about: A,
        work: impl Future<Output = T> + Send + 'static,
    ) -> StepError {
        // Locked until the work is noted, so that its outcome finds its place.
        let mut held = self.0.lock();
        let work = Here::now().within(work);
        let task = tokio::spawn(self.0.clone().carry_out(lane, owner.clone(), work)).abort_handle();
        if let Some(former) = held.insert(owner.clone(), Work { about, task, outcome: None }) {
            former.task.abort();
        }
        StepError::Awaiting
    }

    /// The object is gone, or wants none of it any more.
    pub(super) fn forget(&self, owner: &Key) {
        if let Some(work) = self.0.lock().remove(owner) {
            work.task.abort();
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

impl<A, T> Shared<A, T> {
    async fn carry_out(self: Arc<Self>, lane: Arc<Semaphore>, owner: Key, work: impl Future<Output = T>) {
        let Ok(_permit) = lane.acquire().await else { return };
        let outcome = match timeout(self.limit, AssertUnwindSafe(work).catch_unwind()).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(_)) => {
                tracing::error!(%owner, "work beside the passes ended by a defect of certwright");
                Err(Unfinished::Defect)
            }
            Err(_) => Err(Unfinished::TookTooLong(self.limit)),
        };
        let own = tokio::task::id();
        let mut held = self.lock();
        if let Some(work) = held.get_mut(&owner).filter(|work| work.task.id() == own) {
            work.outcome = Some(outcome);
            drop(held);
            self.hub.queue.wake(&owner);
        }
    }

    /// The map is whole at every moment, so that a panic elsewhere while it was locked harms nothing.
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Work<A, T>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::cluster::Kind;

    const LIMIT: Duration = Duration::from_mins(1);

    fn scene() -> (Arc<Hub>, Beside<String, u8>, Key) {
        let hub = Arc::new(Hub::new());
        (hub.clone(), Beside::new(hub, 2, LIMIT), Key::new(Kind::Challenge, "shop", "web"))
    }

    #[tokio::test(start_paused = true)]
    async fn who_began_it_is_woken_with_the_outcome() {
        let (hub, beside, owner) = scene();
        assert!(beside.outcome(&owner, "a").unwrap().is_none());
        assert!(matches!(beside.begin(&owner, "a".to_owned(), async { 7 }), StepError::Awaiting));
        assert!(matches!(beside.outcome(&owner, "a"), Err(StepError::Awaiting)));
        assert!(beside.outcome(&owner, "b").unwrap().is_none(), "that is about another thing");
        assert_eq!(hub.queue.next().await, owner);
        assert_eq!(beside.outcome(&owner, "a").unwrap(), Some(Ok(7)));
        assert_eq!(beside.outcome(&owner, "a").unwrap(), None, "each outcome once");
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_was_begun_last_counts() {
        let (_hub, beside, owner) = scene();
        beside.begin(&owner, "a".to_owned(), async { 1 });
        beside.begin(&owner, "a".to_owned(), pending());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(matches!(beside.outcome(&owner, "a"), Err(StepError::Awaiting)));
        beside.forget(&owner);
        assert!(beside.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_forgotten_makes_room_for_others() {
        let (hub, beside, owner) = scene();
        let others = ["one", "two"].map(|name| Key::new(Kind::Challenge, "shop", name));
        for other in &others {
            beside.begin(other, "a".to_owned(), pending());
        }
        beside.begin(&owner, "a".to_owned(), async { 1 });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(matches!(beside.outcome(&owner, "a"), Err(StepError::Awaiting)), "two are under way");
        beside.forget(&others[0]);
        assert_eq!(hub.queue.next().await, owner);
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_or_broken_one_ends() {
        let (hub, beside, owner) = scene();
        beside.begin(&owner, "a".to_owned(), pending());
        hub.queue.next().await;
        assert_eq!(beside.outcome(&owner, "a").unwrap(), Some(Err(Unfinished::TookTooLong(LIMIT))));
        hub.queue.done(&owner, None, jiff::Timestamp::now());
        beside.begin(&owner, "b".to_owned(), async { panic!("a defect, on purpose") });
        hub.queue.next().await;
        assert_eq!(beside.outcome(&owner, "b").unwrap(), Some(Err(Unfinished::Defect)));
    }
}
