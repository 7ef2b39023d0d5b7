//! A collector that wants to be spared for a while is sent nothing.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use opentelemetry_http::{Bytes, Response};
use tokio::time::Instant;

/// However long it wants to be spared.
const LONGEST: Duration = Duration::from_mins(5);

/// Until when. The library that sends spans heeds such a wish for one batch alone, and only if the batch can wait as long.
#[derive(Debug, Default)]
pub(super) struct Pause(Mutex<Option<Instant>>);

impl Pause {
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|until| until <= now)
    }

    /// Takes in the wish of an answer (OTLP, section "OTLP/HTTP Throttling"), in seconds.
    pub(super) fn heed(&self, answer: &Response<Bytes>, now: Instant) {
        let wish = matches!(answer.status().as_u16(), 429 | 503).then(|| answer.headers().get("retry-after")).flatten();
        let seconds = wish.and_then(|wish| wish.to_str().ok()?.trim().parse().ok());
        let until = seconds.map(|seconds| now + Duration::from_secs(seconds).min(LONGEST));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: &str) -> Response<Bytes> {
        let builder = Response::builder().status(status).header("retry-after", retry_after);
        builder.body(Bytes::new()).expect("a response")
    }

    #[test]
    fn the_collector_is_spared_as_long_as_it_wants_and_no_longer() {
        let (pause, now) = (Pause::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        assert!(pause.is_over(now));
        for (status, retry_after, longest) in [(503, "60", 60), (429, " 7 ", 7), (503, "999999999", 300)] {
            pause.heed(&answer(status, retry_after), now);
            assert!(!pause.is_over(after(longest - 1)) && pause.is_over(after(longest)), "{status} {retry_after}");
        }
        for (status, retry_after) in [(200, "60"), (503, "soon"), (400, "60")] {
            pause.heed(&answer(status, retry_after), now);
            assert!(pause.is_over(now), "{status} {retry_after}");
        }
    }
}
