//! Which Challenges that this process answers a CA was told to validate a moment ago: a process that stops goes on answering
//! until the CA has had time to ask.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{
    cluster::{Hub, ObjectName},
    decide::progress::Progress,
};

/// CAs ask at once and from several places, and are done after this.
const ASKED_WITHIN: Duration = Duration::from_secs(8);

/// How often a process that stops looks whether anybody is still to be answered.
const LOOKED_EVERY: Duration = Duration::from_millis(100);

/// One for all shares of the work.
#[derive(Clone, Debug, Default)]
pub struct AskedFor(Arc<Mutex<HashMap<ObjectName, Instant>>>);

impl AskedFor {
    /// Notes that the CA is told to validate this Challenge now.
    pub(super) fn note(&self, challenge: &ObjectName, now: Instant) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, since| now.duration_since(*since) < ASKED_WITHIN);
        held.insert(challenge.clone(), now);
    }

    /// Whether a CA may be about to ask: the Challenge is open, without a pod that would answer, and the time not over.
    fn is_somebody_about_to_ask(&self, hub: &Hub, now: Instant) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|name, since| {
            let challenge = hub.challenges.get(name).filter(|challenge| {
                let state = challenge.status.as_ref().and_then(|status| status.state.as_deref());
                challenge.is_podless() && Progress::of_word(state) == Progress::Open
            });
            challenge.is_some() && now.duration_since(*since) < ASKED_WITHIN
        });
        !held.is_empty()
    }

    /// Waits until nobody is about to ask, for [`ASKED_WITHIN`] at the longest.
    pub async fn answered(&self, hub: &Hub) {
        if self.is_somebody_about_to_ask(hub, Instant::now()) {
            tracing::info!("going on answering challenges that CAs are asking for");
        }
        while self.is_somebody_about_to_ask(hub, Instant::now()) {
            sleep(LOOKED_EVERY).await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::Challenge;

    fn challenge(solver: &str, state: &str) -> Challenge {
        let value = json!({
            "metadata": {
                "name": "c", "namespace": "shop", "uid": "u", "resourceVersion": "1",
                "annotations": { "certwright.dev/http01-solver": solver },
            },
            "spec": { "type": "HTTP-01", "dnsName": "a", "token": "t", "key": "k", "solver": { "http01": {} } },
            "status": { "state": state },
        });
        serde_json::from_value(value).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn only_for_whom_this_process_answers_and_not_for_long() {
        for (solver, state, longest) in
            [("controller", "pending", 8000), ("controller", "valid", 0), ("pod", "pending", 0)]
        {
            let (hub, asked_for) = (Hub::default(), AskedFor::default());
            hub.put(challenge(solver, state));
            asked_for.note(&ObjectName::new("shop", "c"), Instant::now());
            asked_for.note(&ObjectName::new("shop", "gone"), Instant::now());
            let began = Instant::now();
            asked_for.answered(&hub).await;
            let took = began.elapsed().as_millis();
            assert!((longest..=longest + 100).contains(&took), "{solver} {state}: {took} ms");
        }
    }
}
