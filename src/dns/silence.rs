//! Which servers gave no answer lately: a dead one must not cost every look its full time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A server that was silent is not asked again for so long.
const LEFT_ALONE: Duration = Duration::from_secs(5);

/// A server that was silent longer ago than this may be in order by now.
const REMEMBERED: Duration = Duration::from_mins(10);

/// More silent servers than this are not remembered; forgetting one costs a time-out.
const MOST: usize = 1024;

/// See the module's description.
#[derive(Debug, Default)]
pub struct Silence {
    held: Mutex<HashMap<SocketAddr, Quiet>>,
}

/// A server that was silent when it was last asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quiet {
    since: Instant,
    /// What was told of it then.
    pub reason: String,
}

impl Quiet {
    /// Whether asking again is not in vain for sure.
    pub fn may_be_asked(&self) -> bool {
        self.since.elapsed() >= LEFT_ALONE
    }
}

impl Silence {
    /// It was waited for in vain.
    pub fn note(&self, server: SocketAddr, reason: &str) {
        let mut held = self.lock();
        if held.len() >= MOST {
            held.retain(|_, quiet| quiet.since.elapsed() < LEFT_ALONE);
        }
        if held.len() < MOST {
            held.insert(server, Quiet { since: Instant::now(), reason: reason.to_owned() });
        }
    }

    /// It said something.
    pub fn heard(&self, server: SocketAddr) {
        self.lock().remove(&server);
    }

    pub fn of(&self, server: SocketAddr) -> Option<Quiet> {
        self.lock().get(&server).filter(|quiet| quiet.since.elapsed() < REMEMBERED).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Quiet>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn server(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_left_alone_for_a_while() {
        let silence = Silence::default();
        assert_eq!(silence.of(server(1)), None);
        silence.note(server(1), "gave no answer");
        let quiet = silence.of(server(1)).unwrap();
        assert!(quiet.reason == "gave no answer" && !quiet.may_be_asked());
        tokio::time::advance(LEFT_ALONE).await;
        assert!(silence.of(server(1)).unwrap().may_be_asked());
        tokio::time::advance(REMEMBERED).await;
        assert_eq!(silence.of(server(1)), None);
        silence.note(server(1), "gave no answer");
        silence.heard(server(1));
        assert_eq!(silence.of(server(1)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn it_does_not_grow_without_end() {
        let silence = Silence::default();
        (0..u16::MAX).for_each(|port| silence.note(server(port), "gave no answer"));
        assert_eq!(silence.lock().len(), MOST);
        tokio::time::advance(LEFT_ALONE).await;
        silence.note(server(u16::MAX), "gave no answer");
        assert_eq!(silence.lock().len(), 1);
    }
}
