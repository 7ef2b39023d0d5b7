//! The end of all work before certwright is uninstalled: what was presented is taken away, and no finalizer of ours is left that
//! only a controller would remove.

use std::{sync::Arc, time::Duration};

use kube::ResourceExt;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::leadership::Held;
use crate::{
    api::{
        Certificate, Challenge,
        names::{event, finalizer},
    },
    cluster::{ApiError, Cluster, Event, ObjectName, Scoped, Watched},
    decide::{challenge, shard::Share},
};

/// The Challenges are worked on meanwhile, and nothing here is told when one is done.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// A write is made anew when somebody else wrote in between.
const MOST_TRIES: u32 = 5;

/// What is left of the work, as far as this process holds it. [`super::run`] works on it beside.
pub struct WindDown {
    pub cluster: Cluster,
    pub held: watch::Receiver<Held>,
    /// Into how many shares the work is divided.
    pub shares: u32,
}

impl WindDown {
    /// Waits until this process holds all of the work, no longer than `limit`; how many shares it holds then.
    pub async fn all_held(&self, limit: Duration) -> usize {
        let (mut held, all) = (self.held.clone(), usize::try_from(self.shares).unwrap_or(usize::MAX));
        let _ = timeout(limit, held.wait_for(|held| held.at(Instant::now()).len() >= all)).await;
        self.held.borrow().at(Instant::now()).len()
    }

    /// Waits until all Challenges are cleaned up, no longer than `limit`; how many are left.
    pub async fn cleaned_up(&self, limit: Duration) -> usize {
        let clean = async {
            while !self.challenges().is_empty() {
                sleep(BETWEEN_LOOKS).await;
            }
        };
        let _ = timeout(limit, clean).await;
        self.challenges().len()
    }

    /// Takes our finalizers from whatever still has them. Of what was not brought to its end an event tells.
    ///
    /// # Errors
    /// The first write that failed for good. What comes after it was tried all the same, unless the API server was not there.
    pub async fn let_go(&self) -> Result<(), ApiError> {
        let mut failed = None;
        for challenge in self.challenges() {
            holds_up_nothing(&mut failed, self.let_challenge_go(&challenge).await)?;
        }
        let mut certificates = self.cluster.hub.certificates.all();
        certificates.retain(|certificate| self.is_held(&**certificate) && is_kept(certificate));
        for certificate in certificates {
            holds_up_nothing(&mut failed, self.let_certificate_go(&certificate).await)?;
        }
        failed.map_or(Ok(()), Err)
    }

    async fn let_challenge_go(&self, challenge: &Challenge) -> Result<(), ApiError> {
        self.free(challenge, challenge::is_ours).await?;
        if challenge.status.as_ref().is_some_and(|status| status.presented) {
            let text = "Gave up cleaning up; please remove what is left: certwright was to be uninstalled";
            self.cluster.publish(Event::warning(event::CLEAN_UP_ERROR, text).about(challenge));
        }
        Ok(())
    }

    async fn let_certificate_go(&self, certificate: &Certificate) -> Result<(), ApiError> {
        self.free(certificate, |set| set == finalizer::REVOKE).await?;
        if certificate.metadata.deletion_timestamp.is_some() {
            let text = "The certificate was not revoked: certwright was to be uninstalled";
            self.cluster.publish(Event::warning(event::REVOCATION_FAILED, text).about(certificate));
        }
        Ok(())
    }

    /// Those that are not cleaned up.
    fn challenges(&self) -> Vec<Arc<Challenge>> {
        let mut challenges = self.cluster.hub.challenges.all();
        challenges.retain(|challenge| self.is_held(&**challenge) && challenge::has_finalizer(challenge));
        challenges
    }

    fn is_held<K: Watched>(&self, object: &K) -> bool {
        let share = Share::of_namespace(&object.namespace().unwrap_or_default(), self.shares);
        self.held.borrow().at(Instant::now()).contains_key(&share.number)
    }

    /// Removes the finalizers that are ours.
    async fn free<K: Scoped>(&self, seen: &K, is_ours: impl Fn(&str) -> bool) -> Result<(), ApiError> {
        let name = ObjectName::of(seen);
        for tries in 1.. {
            let Some(object) = K::store(&self.cluster.hub).get(&name) else { return Ok(()) };
            let others: Vec<_> = object.finalizers().iter().filter(|set| !is_ours(set)).cloned().collect();
            if others.len() == object.finalizers().len() {
                return Ok(());
            }
            match self.cluster.write_finalizers(&*object, &others).await {
                Ok(()) | Err(ApiError::Gone { .. }) => return Ok(()),
                Err(ApiError::Conflict { .. }) if tries < MOST_TRIES => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Keeps the first failure for the end; without an API server there is nothing to go on with.
fn holds_up_nothing(failed: &mut Option<ApiError>, outcome: Result<(), ApiError>) -> Result<(), ApiError> {
    match outcome {
        Ok(()) => Ok(()),
        Err(error @ ApiError::Unavailable { .. }) => Err(error),
        Err(error) => {
            tracing::warn!(%error, "a finalizer is left");
            failed.get_or_insert(error);
            Ok(())
        }
    }
}

/// Whether it would wait until it is revoked.
fn is_kept(certificate: &Certificate) -> bool {
    certificate.finalizers().iter().any(|set| set == finalizer::REVOKE)
}
