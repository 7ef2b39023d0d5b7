//! Questions to the world outside on behalf of Challenges, asked beside the passes: a provider or a resolver that does not
//! answer holds nobody up but who asked.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Semaphore, time::timeout};

use crate::{
    cluster::{Hub, Key},
    controller::step_error::StepError,
};

/// So many questions are under way at once.
const AT_ONCE: usize = 64;

/// For one of them, once it is its turn.
const LIMIT: Duration = Duration::from_mins(1);

/// What each Challenge asked for last. The Challenge is woken when the answer is there.
#[derive(Clone)]
pub(in crate::controller) struct Errands<T>(Arc<Shared<T>>);

struct Shared<T> {
    hub: Arc<Hub>,
    at_once: Semaphore,
    held: Mutex<HashMap<Key, Errand<T>>>,
}

struct Errand<T> {
    /// What it is about; another answer is of no use.
    about: String,
    answer: Option<Result<T, StepError>>,
}

impl<T: Send + 'static> Errands<T> {
    pub(in crate::controller) fn new(hub: Arc<Hub>) -> Self {
        Self(Arc::new(Shared { hub, at_once: Semaphore::new(AT_ONCE), held: Mutex::default() }))
    }

    /// The answer to what the Challenge asked for last, once; none if it asked for nothing, or about something else.
    ///
    /// # Errors
    ///
    /// The answer is not there yet.
    pub(super) fn answer(&self, owner: &Key, about: &str) -> Result<Option<Result<T, StepError>>, StepError> {
        let mut held = self.0.lock();
        match held.get(owner) {
            Some(errand) if errand.about == about && errand.answer.is_none() => Err(StepError::Awaiting),
            Some(errand) if errand.about == about => Ok(held.remove(owner).and_then(|errand| errand.answer)),
            _ => Ok(None),
        }
    }

    /// Asks in place of what the Challenge asked for before. What comes back says that the answer is awaited.
    pub(super) fn ask(
        &self,
        owner: &Key,
        about: &str,
        question: impl Future<Output = Result<T, StepError>> + Send + 'static,
    ) -> StepError {
        self.0.lock().insert(owner.clone(), Errand { about: about.to_owned(), answer: None });
        self.begin(owner.clone(), about.to_owned(), question);
        StepError::Awaiting
    }

    /// The Challenge is gone.
    pub(in crate::controller) fn forget(&self, owner: &Key) {
        self.0.lock().remove(owner);
    }

    fn begin(&self, owner: Key, about: String, question: impl Future<Output = Result<T, StepError>> + Send + 'static) {
        let shared = self.0.clone();
        tokio::spawn(async move {
            let Ok(_permit) = shared.at_once.acquire().await else { return };
            // In a task of its own, so that a panic is an answer, too.
            let asked = tokio::spawn(timeout(LIMIT, question)).await;
            let answer = match asked {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(StepError::transient(format!("No answer within {} s: {about}", LIMIT.as_secs()))),
                Err(error) => {
                    tracing::error!(%owner, %error, "a look-up ended by a defect of certwright");
                    Err(StepError::transient("A look-up ended by a defect of certwright; see its log"))
                }
            };
            if let Some(errand) = shared.lock().get_mut(&owner).filter(|errand| errand.about == about) {
                errand.answer = Some(answer);
                shared.hub.queue.wake(&owner);
            }
        });
    }
}

impl<T> Shared<T> {
    /// The map is whole at every moment, so that a panic elsewhere while it was locked harms nothing.
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Errand<T>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cluster::Kind;

    fn scene() -> (Arc<Hub>, Errands<u8>, Key) {
        let hub = Arc::new(Hub::new());
        (hub.clone(), Errands::new(hub), Key::new(Kind::Challenge, "shop", "web"))
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_is_woken_with_the_answer() {
        let (hub, errands, owner) = scene();
        assert!(errands.answer(&owner, "a").unwrap().is_none());
        assert!(matches!(errands.ask(&owner, "a", async { Ok(7) }), StepError::Awaiting));
        assert!(matches!(errands.answer(&owner, "a"), Err(StepError::Awaiting)));
        assert!(errands.answer(&owner, "b").unwrap().is_none(), "that is another question");
        assert_eq!(hub.queue.next().await, owner);
        assert_eq!(errands.answer(&owner, "a").unwrap().unwrap().unwrap(), 7);
        assert!(errands.answer(&owner, "a").unwrap().is_none(), "each answer once");
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_last_question_is_answered() {
        let (hub, errands, owner) = scene();
        errands.ask(&owner, "a", async { Ok(1) });
        errands.ask(&owner, "b", std::future::pending());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(matches!(errands.answer(&owner, "b"), Err(StepError::Awaiting)));
        errands.forget(&owner);
        assert!(errands.0.lock().is_empty());
        drop(hub);
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_or_broken_one_ends() {
        let (hub, errands, owner) = scene();
        let told = |about| match errands.answer(&owner, about) {
            Ok(Some(Err(StepError::Trouble { message, .. }))) => message,
            other => panic!("{other:?}"),
        };
        errands.ask(&owner, "the zone of x", std::future::pending());
        hub.queue.next().await;
        assert_eq!(told("the zone of x"), "No answer within 60 s: the zone of x");
        hub.queue.done(&owner, None, jiff::Timestamp::now());
        errands.ask(&owner, "z", async { panic!("a defect, on purpose") });
        hub.queue.next().await;
        assert!(told("z").contains("defect"));
    }
}
