//! How often one credential asks its provider: published limits kept in advance, and the provider's own wish.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A bucket of requests that fills up at a steady rate. Shared by everything that uses the same credentials.
#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    burst: u32,
    /// The theoretical arrival time of the next request (GCRA).
    next: Mutex<Option<Instant>>,
}

impl Pace {
    /// `per_second` requests in the long run, `burst` of them at once.
    pub fn new(per_second: f64, burst: u32) -> Self {
        Self { interval: Duration::from_secs_f64(1.0 / per_second), burst: burst.max(1), next: Mutex::default() }
    }

    /// Waits for a place. Places are given in the order of asking.
    ///
    /// # Errors
    ///
    /// How long it would take, if that is more than `most`; then no place is taken.
    pub async fn place(&self, most: Duration) -> Result<(), Duration> {
        let now = Instant::now();
        let ready = self.reserve(now, most)?;
        if ready > now {
            sleep_until(ready).await;
        }
        Ok(())
    }

    /// The provider said that it was too much: nobody asks before that time is over.
    pub fn pause(&self, wait: Duration) {
        let mut next = self.lock();
        let earliest = Instant::now() + wait + self.tolerance();
        *next = Some(next.map_or(earliest, |next| next.max(earliest)));
    }

    fn reserve(&self, now: Instant, most: Duration) -> Result<Instant, Duration> {
        let mut next = self.lock();
        let arrival = next.map_or(now, |next| next.max(now));
        let ready = arrival.checked_sub(self.tolerance()).map_or(now, |ready| ready.max(now));
        let wait = ready.duration_since(now);
        if wait > most {
            return Err(wait);
        }
        *next = Some(arrival + self.interval);
        Ok(ready)
    }

    fn tolerance(&self) -> Duration {
        self.interval * (self.burst - 1)
    }

    /// The value is whole at every moment, so that a panic elsewhere while it was locked harms nothing.
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let (pace, start) = (Pace::new(4.0, 3), Instant::now());
        let mut times = Vec::new();
        for _ in 0..5 {
            assert_eq!(pace.place(Duration::from_secs(10)).await, Ok(()));
            times.push(start.elapsed().as_millis());
        }
        assert_eq!(times[..3], [0, 0, 0]);
        assert!((250..260).contains(&times[3]) && (500..510).contains(&times[4]), "{times:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wish_holds_and_who_cannot_wait_takes_no_place() {
        let pace = Pace::new(1.0, 2);
        pace.pause(Duration::from_secs(30));
        let wait = pace.place(Duration::from_secs(1)).await;
        assert_eq!(wait, Err(Duration::from_secs(30)));
        tokio::time::advance(Duration::from_secs(31)).await;
        let start = Instant::now();
        assert_eq!(pace.place(Duration::ZERO).await, Ok(()));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
