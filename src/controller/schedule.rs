//! Which Challenges may be presented now; see [`crate::decide::schedule`].

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use jiff::Timestamp;
use kube::ResourceExt;

use super::Context;
use crate::{
    api::Challenge,
    cluster::{Hub, Key, Kind},
    decide::{
        schedule::{Calls, Claim, Queued, Schedule, name_of},
        shard::Share,
    },
};

/// How many Challenges of this part of the work are presented at once, of so many in the whole.
pub(super) fn part_of(share: Share, most: usize) -> usize {
    let part = share.part_of(u32::try_from(most).unwrap_or(u32::MAX));
    usize::try_from(part).unwrap_or(usize::MAX)
}

/// The places of all Challenges.
pub(super) struct Places {
    schedule: Mutex<Schedule>,
    is_restored: AtomicBool,
}

impl Places {
    /// At most `most` count at once.
    pub(super) fn new(most: usize) -> Self {
        Self { schedule: Mutex::new(Schedule::new(most)), is_restored: AtomicBool::new(false) }
    }

    fn lock(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Once, when all stores are filled: what former processes have presented.
    fn restored(&self, hub: &Hub, share: Share, now: Timestamp) -> MutexGuard<'_, Schedule> {
        let mut schedule = self.lock();
        if !self.is_restored.swap(true, Ordering::AcqRel) {
            let is_own = |challenge: &Challenge| share.has(&challenge.namespace().unwrap_or_default());
            for challenge in hub.challenges.all().into_iter().filter(|challenge| is_own(challenge)) {
                if let Claim::Holds(since) = Claim::of(&challenge, false) {
                    // A former process may have had a clock that was ahead.
                    schedule.hold(&name_of(&challenge), since.min(now));
                }
            }
        }
        schedule
    }
}

/// Whether a Challenge waits for a place. `may_go` says whether nothing else keeps it from being presented. Whoever has a
/// place because of what became of it is woken.
pub(super) fn queued(context: &Context, challenge: &Challenge, may_go: bool, now: Timestamp) -> Option<Queued> {
    let mut schedule = context.places.restored(&context.cluster.hub, context.options.share, now);
    let (queued, calls) = schedule.look(&name_of(challenge), Claim::of(challenge, may_go), now);
    drop(schedule);
    call(context, calls, now);
    queued
}

/// A Challenge is not there any more.
pub(super) fn gone(context: &Context, key: &Key, now: Timestamp) {
    let name = (key.object.namespace.clone(), key.object.name.clone());
    let mut schedule = context.places.restored(&context.cluster.hub, context.options.share, now);
    let (_, calls) = schedule.look(&name, Claim::Nothing, now);
    drop(schedule);
    call(context, calls, now);
}

fn call(context: &Context, calls: Calls, now: Timestamp) {
    let queue = &context.cluster.hub.queue;
    for (namespace, name) in calls.now {
        queue.wake(&Key::new(Kind::Challenge, namespace, name));
    }
    if let Some(((namespace, name), at)) = calls.next {
        queue.wake_at(&Key::new(Kind::Challenge, namespace, name), at, now);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decide::testing::{at, object};

    #[test]
    fn a_place_from_a_clock_that_was_ahead_counts_no_longer_than_others() {
        let hub = Hub::new();
        hub.put(object::<Challenge>(json!({
            "metadata": {
                "name": "old", "namespace": "shop", "resourceVersion": "1", "finalizers": ["acme.cert-manager.io/finalizer"],
            },
            "spec": {"dnsName": "a.example.com", "type": "DNS-01", "issuerRef": {"name": "le"}},
            "status": {"presented": true, "presentedAt": at(3600).to_string(), "state": "pending"},
        })));
        let (places, share) = (Places::new(1), Share { number: 0, of: 1 });
        let new = ("shop".to_owned(), "new".to_owned());
        let waits = |now| places.restored(&hub, share, at(now)).look(&new, Claim::Wants(at(0)), at(now)).0.is_some();
        assert!(waits(0));
        assert!(!waits(60));
    }
}
