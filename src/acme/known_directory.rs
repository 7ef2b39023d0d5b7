//! The directory as a CA last told it, and when it is read again.
//!
//! A CA may move what it offers, offer more, or have new terms. So the directory is read again when it is old, and earlier
//! when nothing is at one of its URLs any more. As long as it cannot be read again the old one is gone on with.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{Directory, Error};

/// How old a directory becomes, and how much older at most: each process has a pace of its own.
const AGE: Duration = Duration::from_hours(6);
const SPREAD: Duration = Duration::from_hours(1);

/// The wait after it could not be read again.
const NEXT_TRY: Duration = Duration::from_mins(15);

/// It is not read more often than this, whatever speaks against it.
const PACE: Duration = Duration::from_mins(5);

/// See the module's description.
pub(super) struct KnownDirectory {
    age: Duration,
    held: Mutex<Option<Held>>,
    /// Whoever reads it holds this.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Held {
    directory: Arc<Directory>,
    /// When it was last read, or not to be read.
    tried: Instant,
    /// When it is to be read again.
    due: Instant,
}

impl Default for KnownDirectory {
    fn default() -> Self {
        let extra = RandomState::new().hash_one(AGE) % SPREAD.as_secs();
        Self { age: AGE + Duration::from_secs(extra), held: Mutex::default(), reading: tokio::sync::Mutex::default() }
    }
}

impl KnownDirectory {
    /// The directory; `read` is what reads it if that is due. Only the first time others wait for whoever reads it.
    ///
    /// # Errors
    /// Those of `read`, as long as it has never been read.
    pub(super) async fn get(
        &self,
        read: impl Future<Output = Result<Directory, Error>>,
    ) -> Result<Arc<Directory>, Error> {
        let Some(known) = self.held() else {
            let _reading = self.reading.lock().await;
            return match self.held() {
                Some(known) => Ok(known.directory),
                None => Ok(self.keep(read.await?)),
            };
        };
        if Instant::now() < known.due {
            return Ok(known.directory);
        }
        let Ok(_reading) = self.reading.try_lock() else { return Ok(known.directory) };
        match read.await {
            Ok(directory) => Ok(self.keep(directory)),
            Err(error) => {
                tracing::info!(%error, "the directory of the CA cannot be read again; the former one is gone on with");
                // What was not even sent has bothered nobody.
                if !matches!(error, Error::Limited(_)) {
                    self.note(known.directory.clone(), NEXT_TRY);
                }
                Ok(known.directory)
            }
        }
    }

    /// Takes this directory for the present one.
    pub(super) fn keep(&self, directory: Directory) -> Arc<Directory> {
        let directory = Arc::new(directory);
        self.note(directory.clone(), self.age);
        directory
    }

    /// Something speaks against it: it is read again when it is next needed, unless that was done just now.
    pub(super) fn doubt(&self) {
        if let Some(held) = &mut *self.lock() {
            held.due = held.due.min(held.tried + PACE);
        }
    }

    fn note(&self, directory: Arc<Directory>, wait: Duration) {
        let tried = Instant::now();
        *self.lock() = Some(Held { directory, tried, due: tried + wait });
    }

    fn held(&self) -> Option<Held> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::acme::testing;

    const SECOND: Duration = Duration::from_secs(1);

    /// The path of the URL for new orders, if a directory below this path is what would be read now; none if none can be.
    async fn told(known: &KnownDirectory, now: Option<&str>) -> String {
        let read = async {
            match now {
                Some(below) => Ok(serde_json::from_str(&testing::directory(below)).unwrap()),
                None => Err(Error::Setup("away".to_owned())),
            }
        };
        match known.get(read).await {
            Ok(directory) => directory.new_order.trim_start_matches("https://ca.example").to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_read_again_when_it_is_old() {
        let known = KnownDirectory::default();
        assert!(told(&known, None).await.ends_with("away"), "there is none to go on with");
        assert_eq!(told(&known, Some("/a")).await, "/a/newOrder");
        advance(AGE.saturating_sub(SECOND)).await;
        assert_eq!(told(&known, Some("/b")).await, "/a/newOrder");
        advance(SPREAD).await;
        assert_eq!(told(&known, None).await, "/a/newOrder", "the old one serves on");
        advance(NEXT_TRY.saturating_sub(SECOND)).await;
        assert_eq!(told(&known, Some("/b")).await, "/a/newOrder");
        advance(SECOND).await;
        assert_eq!(told(&known, Some("/b")).await, "/b/newOrder");
    }

    #[tokio::test(start_paused = true)]
    async fn a_doubt_has_it_read_again_but_not_for_ever() {
        let known = KnownDirectory::default();
        told(&known, Some("/a")).await;
        known.doubt();
        advance(PACE.saturating_sub(SECOND)).await;
        assert_eq!(told(&known, Some("/b")).await, "/a/newOrder", "it was read just now");
        advance(SECOND).await;
        assert_eq!(told(&known, Some("/b")).await, "/b/newOrder");
        assert_eq!(told(&known, Some("/c")).await, "/b/newOrder", "the doubt is over");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_whoever_reads_it_again() {
        let known = KnownDirectory::default();
        told(&known, Some("/a")).await;
        advance(AGE + SPREAD).await;
        let hanging = known.get(std::future::pending());
        tokio::select! {
            biased;
            _ = hanging => unreachable!("nothing comes"),
            now = told(&known, Some("/b")) => assert_eq!(now, "/a/newOrder"),
        }
        assert_eq!(told(&known, Some("/b")).await, "/b/newOrder", "whoever read it was ended");
    }
}
