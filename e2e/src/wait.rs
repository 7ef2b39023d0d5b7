//! Waiting, never without a deadline.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep, timeout};

use crate::process::Process;

/// Between two looks.
const STEP: Duration = Duration::from_millis(50);
/// One look takes no longer than this; then it counts as failed and is tried again.
const LOOK_DEADLINE: Duration = Duration::from_secs(10);

/// Runs `look` until it gives a value; what it said last is in the error when `patience` is over.
/// `Ok(None)` and errors both mean "not yet".
pub async fn until<T, E: Display>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>, E>,
) -> Result<T> {
    let end = Instant::now() + patience;
    loop {
        let last = match timeout(LOOK_DEADLINE.min(patience), look()).await {
            Ok(Ok(Some(value))) => return Ok(value),
            Ok(Ok(None)) => "not yet".to_owned(),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "no answer".to_owned(),
        };
        if Instant::now() >= end {
            bail!("waited {} s for {what}; at last: {last}", patience.as_secs_f32());
        }
        sleep(STEP).await;
    }
}

/// Like [`until`] for a process that must live meanwhile: when it ends, so does the waiting, with the end of its log.
pub async fn until_ready<E: Display>(
    process: &mut Process,
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Result<(), E>,
) -> Result<()> {
    let end = Instant::now() + patience;
    loop {
        process.check()?;
        let last = match timeout(LOOK_DEADLINE, look()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "no answer".to_owned(),
        };
        if Instant::now() >= end {
            let log = process.log();
            bail!(
                "waited {} s for {what}; at last: {last}; the end of {}:\n{}",
                patience.as_secs(),
                log.display(),
                crate::process::tail(log, 20)
            );
        }
        sleep(STEP).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_answer_is_in_the_error() {
        let look = async || Err::<Option<()>, _>("the door is locked");
        let error = until("the door", Duration::from_millis(1), look).await.unwrap_err().to_string();
        assert!(error.contains("the door is locked"), "{error}");
    }

    #[tokio::test]
    async fn waits_until_there_is_a_value() {
        let mut looks = 0;
        let look = async || {
            looks += 1;
            Ok::<_, std::io::Error>((looks == 3).then_some("open"))
        };
        assert_eq!(until("the door", Duration::from_secs(5), look).await.unwrap(), "open");
    }
}
