//! Work beside the passes: what may take seconds must not hold the workers from others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{sync::Semaphore, task::AbortHandle};

use crate::cluster::{Hub, Key};

/// The work under way, and the outcomes of what is over, by object.
pub(super) struct Beside<T> {
    hub: Arc<Hub>,
    at_once: Arc<Semaphore>,
    held: Arc<Mutex<HashMap<Key, State<T>>>>,
}

enum State<T> {
    UnderWay(AbortHandle),
    Done(T),
}

impl<T: Send + 'static> Beside<T> {
    /// For this much work at once; more waits for its turn.
    pub(super) fn new(hub: Arc<Hub>, at_once: usize) -> Self {
        Self { hub, at_once: Arc::new(Semaphore::new(at_once)), held: Arc::default() }
    }

    /// The outcome of the work that was begun for this object, once. If there is none, it is begun, and the object is woken when
    /// it is over.
    pub(super) fn take<W>(&self, owner: &Key, work: impl FnOnce() -> W) -> Option<T>
    where
        W: Future<Output = T> + Send + 'static,
    {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.remove(owner) {
            Some(State::Done(outcome)) => return Some(outcome),
            Some(State::UnderWay(task)) => held.insert(owner.clone(), State::UnderWay(task)),
            None => held.insert(owner.clone(), State::UnderWay(self.begin(owner.clone(), work()))),
        };
        None
    }

    /// The object wants no outcome any more, or another one.
    pub(super) fn forget(&self, owner: &Key) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(owner);
        if let Some(State::UnderWay(task)) = held {
            task.abort();
        }
    }

    /// The caller holds the lock, so that the outcome finds its place.
    fn begin(&self, owner: Key, work: impl Future<Output = T> + Send + 'static) -> AbortHandle {
        let (hub, at_once, held) = (self.hub.clone(), self.at_once.clone(), self.held.clone());
        let task = tokio::spawn(async move {
            let Ok(_permit) = at_once.acquire_owned().await else { return };
            let outcome = work.await;
            let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
            let own = tokio::task::id();
            if held.get(&owner).is_some_and(|state| matches!(state, State::UnderWay(task) if task.id() == own)) {
                held.insert(owner.clone(), State::Done(outcome));
                drop(held);
                hub.queue.wake(&owner);
            }
        });
        task.abort_handle()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::{pending, ready};

    use super::*;
    use crate::cluster::Kind;

    #[tokio::test]
    async fn the_owner_is_woken_and_takes_each_outcome_once() {
        let hub = Arc::new(Hub::new());
        let beside = Beside::new(hub.clone(), 1);
        let owner = Key::new(Kind::Challenge, "shop", "web");
        assert_eq!(beside.take(&owner, || ready(1)), None);
        assert_eq!(beside.take(&owner, || -> std::future::Ready<u8> { panic!("it is under way") }), None);
        assert_eq!(hub.queue.next().await, owner);
        assert_eq!(beside.take(&owner, || ready(2)), Some(1));
        assert_eq!(beside.take(&owner, || ready(3)), None);
        beside.forget(&owner);
        assert!(beside.held.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_is_forgotten_makes_room() {
        let hub = Arc::new(Hub::new());
        let beside = Beside::new(hub.clone(), 1);
        let (first, second) = (Key::new(Kind::Challenge, "shop", "a"), Key::new(Kind::Challenge, "shop", "b"));
        assert_eq!(beside.take(&first, pending::<u8>), None);
        tokio::task::yield_now().await;
        assert_eq!(beside.take(&second, || ready(2)), None);
        beside.forget(&first);
        assert_eq!(hub.queue.next().await, second);
        assert_eq!(beside.take(&second, || ready(3)), Some(2));
    }
}
