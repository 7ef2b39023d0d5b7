//! Generating private keys without holding up anything else.
//!
//! An RSA key takes a tenth of a second of a core, or seconds if it is a long one. So a pass that needs one does not wait
//! for it: it ends, and the object is looked at again once the key is there. Keys are made on threads of the lowest
//! priority that still makes progress, so that answering the API server always goes first.

use std::{sync::Arc, time::Duration};

use tokio::sync::oneshot;

use super::{beside::Beside, step_error::StepError};
use crate::{
    cluster::{Hub, Key},
    pki::{KeyAlgorithm, PrivateKey},
};

/// How much nicer than the rest of the process (nice(2)) the threads are that make keys.
const NICENESS: i32 = 10;

/// The longest keys take some seconds, on a machine that has nothing else to do.
const LONGEST: Duration = Duration::from_mins(5);

/// See the module's description. A key that its object does not want any more is forgotten: it lies here only while the
/// object waits for it.
pub struct KeyForge(Beside<KeyAlgorithm, Result<PrivateKey, String>>);

impl KeyForge {
    /// Makes as many keys at once as there are cores.
    pub fn new(hub: Arc<Hub>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self(Beside::new(hub, cores, LONGEST))
    }

    /// A new key for this object. If it takes long to make, the error says that the object is woken when it is there.
    pub(super) fn generate(&self, owner: &Key, algorithm: KeyAlgorithm) -> Result<PrivateKey, StepError> {
        let KeyAlgorithm::Rsa(_) = algorithm else {
            return PrivateKey::generate(algorithm).map_err(|error| failed(&error));
        };
        match self.0.outcome(owner, &algorithm)? {
            Some(Ok(made)) => made.map_err(|error| failed(&error)),
            Some(Err(unfinished)) => Err(failed(&unfinished)),
            None => Err(self.0.begin(owner, algorithm, on_a_nice_thread(algorithm))),
        }
    }

    /// The object is gone, or wants no key any more.
    pub(super) fn forget(&self, owner: &Key) {
        self.0.forget(owner);
    }
}

fn failed(error: &dyn std::fmt::Display) -> StepError {
    StepError::transient(format!("Failed to generate a private key: {error}"))
}

async fn on_a_nice_thread(algorithm: KeyAlgorithm) -> Result<PrivateKey, String> {
    let (sender, receiver) = oneshot::channel();
    let work = move || {
        // On Linux every thread has a niceness of its own. Without it the key is made all the same.
        let _ = rustix::process::nice(NICENESS);
        let _ = sender.send(PrivateKey::generate(algorithm).map_err(|error| error.to_string()));
    };
    std::thread::Builder::new().name("key".to_owned()).spawn(work).map_err(|error| error.to_string())?;
    receiver.await.map_err(|_| "the thread that makes it ended early".to_owned())?
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{cluster::Kind, pki::Curve};

    #[tokio::test]
    async fn a_short_work_is_done_at_once_and_a_long_one_wakes_its_owner() {
        let hub = Arc::new(Hub::new());
        let forge = KeyForge::new(hub.clone());
        let (owner, other) = (Key::new(Kind::Certificate, "shop", "web"), Key::new(Kind::Certificate, "shop", "other"));
        assert!(forge.generate(&owner, KeyAlgorithm::Ecdsa(Curve::P256)).is_ok());
        let rsa = KeyAlgorithm::Rsa(2048);
        assert!(matches!(forge.generate(&owner, rsa), Err(StepError::Awaiting)));
        assert!(matches!(forge.generate(&owner, rsa), Err(StepError::Awaiting)), "under way");
        assert_eq!(hub.queue.next().await, owner);
        assert!(matches!(forge.generate(&other, rsa), Err(StepError::Awaiting)), "the key is not for everybody");
        forge.forget(&other);
        assert_eq!(forge.generate(&owner, rsa).unwrap().algorithm(), rsa);
        assert!(matches!(forge.generate(&owner, rsa), Err(StepError::Awaiting)), "each key once");
    }
}
