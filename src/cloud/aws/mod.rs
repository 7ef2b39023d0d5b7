//! Amazon Web Services: who the controller is there, and how its requests are signed.
//!
//! A [`Source`] gives credentials out; [`Held`] keeps them until shortly before they end. Sources stand on each other: a role
//! is assumed with the credentials of another source.

pub mod ambient;
mod answer;
mod container;
mod instance;
pub mod partition;
pub mod signature;
pub mod sts;
pub mod xml;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Mutex;

/// Credentials are renewed when they end within this time.
const MARGIN: Duration = Duration::from_mins(5);

/// What requests are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: String,
    /// Of credentials that end.
    pub session_token: Option<String>,
    /// When they end, if they do.
    pub end: Option<Timestamp>,
}

/// Where credentials come from.
#[async_trait]
pub trait Source: Send + Sync {
    /// # Errors
    ///
    /// There are none to be had; the message says from where, and what came back.
    async fn load(&self) -> Result<Credentials, CredentialsError>;
}

/// Why there are no credentials, by what helps. Messages carry no changing parts and no secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// Trying again is of no use until something changes.
    #[error("{0}")]
    Refused(String),
    /// Too many requests.
    #[error("{0}")]
    Throttled(String),
    /// An outage, a time-out, a lost connection.
    #[error("{0}")]
    Transient(String),
}

/// Credentials kept until shortly before they end.
pub struct Held {
    source: Box<dyn Source>,
    held: Mutex<Option<Credentials>>,
}

/// Credentials that do not change.
#[async_trait]
impl Source for Credentials {
    async fn load(&self) -> Result<Credentials, CredentialsError> {
        Ok(self.clone())
    }
}

impl Held {
    pub fn new(source: Box<dyn Source>) -> Arc<Self> {
        Arc::new(Self { source, held: Mutex::default() })
    }

    /// The credentials, new ones if the old ones end soon. While none can be had, the old ones are used to their end.
    ///
    /// # Errors
    ///
    /// See [`Source::load`].
    pub async fn get(&self) -> Result<Credentials, CredentialsError> {
        let mut held = self.held.lock().await;
        let now = Timestamp::now();
        if let Some(credentials) = held.as_ref().filter(|held| held.lasts(now + MARGIN)) {
            return Ok(credentials.clone());
        }
        match self.source.load().await {
            Ok(credentials) => Ok(held.insert(credentials).clone()),
            Err(error) => held.as_ref().filter(|held| held.lasts(now)).cloned().ok_or(error),
        }
    }

    /// AWS said that they are not valid any more.
    pub async fn forget(&self) {
        *self.held.lock().await = None;
    }
}

impl Credentials {
    /// Credentials that do not end.
    pub fn lasting(access_key_id: &str, secret_access_key: &str) -> Self {
        Self {
            access_key_id: access_key_id.to_owned(),
            secret_access_key: secret_access_key.to_owned(),
            session_token: None,
            end: None,
        }
    }

    fn lasts(&self, until: Timestamp) -> bool {
        self.end.is_none_or(|end| until < end)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Credentials").field("end", &self.end).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Gives credentials of these lifetimes one after the other, then nothing.
    struct Script(Vec<Duration>, AtomicUsize);

    #[async_trait]
    impl Source for Script {
        async fn load(&self) -> Result<Credentials, CredentialsError> {
            let number = self.1.fetch_add(1, Ordering::Relaxed);
            let lifetime = self.0.get(number).ok_or(CredentialsError::Transient("an outage".to_owned()))?;
            let end = Some(Timestamp::now() + *lifetime);
            Ok(Credentials { end, ..Credentials::lasting(&number.to_string(), "secret") })
        }
    }

    async fn ids(lifetimes: &[Duration], times: usize) -> Vec<Option<String>> {
        let held = Held::new(Box::new(Script(lifetimes.to_vec(), AtomicUsize::new(0))));
        let mut ids = Vec::new();
        for _ in 0..times {
            ids.push(held.get().await.ok().map(|credentials| credentials.access_key_id));
        }
        ids
    }

    #[tokio::test]
    async fn credentials_are_renewed_shortly_before_they_end() {
        let (long, short) = (Duration::from_hours(1), Duration::from_mins(4));
        let some = |ids: &[&str]| ids.iter().map(|id| Some((*id).to_owned())).collect::<Vec<_>>();
        assert_eq!(ids(&[long, long], 3).await, some(&["0", "0", "0"]));
        assert_eq!(ids(&[short, long], 3).await, some(&["0", "1", "1"]));
        assert_eq!(ids(&[short], 3).await, some(&["0", "0", "0"]), "an outage while the old ones are valid");
        assert_eq!(ids(&[Duration::ZERO], 2).await, [Some("0".to_owned()), None]);
    }

    #[tokio::test]
    async fn what_aws_refuses_is_not_used_again() {
        let long = Duration::from_hours(1);
        let held = Held::new(Box::new(Script(vec![long, long], AtomicUsize::new(0))));
        assert_eq!(held.get().await.unwrap().access_key_id, "0");
        held.forget().await;
        assert_eq!(held.get().await.unwrap().access_key_id, "1");
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", Credentials::lasting("AKIDEXAMPLE", "hunter2"));
        assert!(!shown.contains("hunter2") && !shown.contains("AKID"), "{shown}");
    }
}
