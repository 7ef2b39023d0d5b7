//! How often the request of an issuance was made: one that is never as it was made is not made without end.

use jiff::{SignedDuration, Timestamp};

use crate::decide::{backoff, later};

/// So often one may be made before there are waits. Keys that go and processes that end cost one or two.
const FREELY: u32 = 3;

/// See the module's description. It is kept in memory until the certificate is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeRequest {
    /// The generation of the Certificate: another spec makes other requests.
    generation: Option<i64>,
    times: u32,
    last: Timestamp,
}

impl MadeRequest {
    /// A request was made once more, for this generation of the Certificate.
    #[must_use]
    pub fn once_more(former: Option<&Self>, generation: Option<i64>, now: Timestamp) -> Self {
        let times = former.filter(|former| former.generation == generation).map_or(0, |former| former.times);
        Self { generation, times: times.saturating_add(1), last: now }
    }

    /// The clock was set back by so much.
    pub fn set_back(&mut self, back: SignedDuration) {
        self.last = later(self.last, -back);
    }

    /// When the next one may be made for this generation, and the wait until then, if there is one.
    pub(super) fn next(&self, generation: Option<i64>) -> Option<(Timestamp, SignedDuration)> {
        let too_many = self.times.checked_sub(FREELY).filter(|_| self.generation == generation)?;
        let wait = backoff::after_failures(too_many.saturating_add(1));
        Some((later(self.last, wait), wait))
    }
}
