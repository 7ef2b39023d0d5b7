//! Every decision, as pure functions of what is seen and the time.
//!
//! Each kind has a `Seen…` struct with everything that its decision rests on, a `…Step` enum with every effect that can
//! follow, and one function from the first to a [`Decision`] over the second. Nothing here reads a clock, rolls dice or
//! talks to anybody, so a test states what is seen and compares what is decided.

pub mod admission;
pub mod admittance;
pub mod authority;
pub mod backoff;
pub mod budget;
pub mod caa;
pub mod certificate;
pub mod chain;
pub mod challenge;
pub mod children;
pub mod company;
pub mod contest;
pub mod delivery;
pub mod division;
pub mod external_account;
pub mod failure;
pub mod fallback;
pub mod fixed_name;
pub mod hold;
pub mod injection;
pub mod issuer;
pub mod issuer_of;
pub mod keystore;
pub mod lease;
pub mod order;
pub mod order_of;
pub mod outlook;
pub mod owned_fields;
pub mod place;
pub mod podless;
pub mod policy;
pub mod profile;
pub mod progress;
pub mod propagation;
#[cfg(test)]
mod properties;
pub mod refusal;
pub mod renewal;
pub mod renewal_information;
pub mod request;
pub mod revocation;
pub mod schedule;
pub mod secret;
pub mod self_check;
pub mod serving;
pub mod shard;
pub mod shim;
pub mod signing;
pub mod solver;
pub mod template;
#[cfg(test)]
pub(crate) mod testing;
pub mod tls_alpn01;
pub mod turns;
pub mod unread;
pub mod well_known;

use jiff::{SignedDuration, Timestamp};

use crate::api::missing_right::GOES_ON;
use hold::Hold;

/// What to do now, in this order, and when to look again.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<S> {
    pub steps: Vec<S>,
    pub wake: Wake,
}

impl<S> Decision<S> {
    /// There is nothing to do until something changes.
    pub fn rest() -> Self {
        Self { steps: Vec::new(), wake: Wake::OnChange }
    }

    /// There is nothing to do before `at`.
    pub fn rest_until(at: Timestamp) -> Self {
        Self { steps: Vec::new(), wake: Wake::At(at) }
    }

    /// These steps, which themselves cause the next look.
    pub fn act(steps: Vec<S>) -> Self {
        Self { steps, wake: Wake::OnChange }
    }

    /// The same with an earlier look, if `at` is earlier.
    #[must_use]
    pub fn or_at(mut self, at: Timestamp) -> Self {
        self.wake = self.wake.min(Wake::At(at));
        self
    }
}

/// When an object is to be looked at again, besides whenever something it depends on changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wake {
    /// At this time.
    At(Timestamp),
    /// Only a change can bring something to do.
    OnChange,
}

impl Wake {
    pub fn time(self) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(at),
            Self::OnChange => None,
        }
    }
}

/// A line for `kubectl describe`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub warning: bool,
    pub reason: String,
    pub text: String,
}

impl Note {
    pub fn normal(reason: &str, text: impl Into<String>) -> Self {
        Self { warning: false, reason: reason.to_owned(), text: text.into() }
    }

    pub fn warning(reason: &str, text: impl Into<String>) -> Self {
        Self { warning: true, reason: reason.to_owned(), text: text.into() }
    }
}

/// An effect that failed, and how often in a row it has: kept in memory, because trying again after a restart is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What was tried and what came back.
    pub message: String,
    pub class: TroubleClass,
    /// Failures in a row, at least 1.
    pub failures: u32,
    /// When the last of them happened.
    pub at: Timestamp,
    /// The other side's wish, if it stated one.
    pub retry_after: Option<SignedDuration>,
    /// Until when the other side wants to be left alone, if that is known.
    pub hold: Option<Hold>,
}

/// Whether trying the same again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TroubleClass {
    /// Only a changed spec, Secret or decision of the other side helps.
    Final,
    /// Time may help.
    Transient,
}

impl Trouble {
    /// When the next try is due; the other side's wish is a lower bound.
    pub fn next_try(&self) -> Timestamp {
        let next = later(self.at, self.wait());
        self.hold.map_or(next, |hold| next.max(hold.until))
    }

    /// The message, with when it goes on.
    pub fn sentence(&self) -> String {
        match self.hold {
            Some(hold) if hold.is_wish => hold.sentence(&self.message),
            // Nobody knows when somebody grants a right, and the sentence says how soon that is noticed.
            _ if self.is_for_want_of_a_right() => self.message.clone(),
            // For how long others hold it up changes from try to try, so only its own wait is told.
            _ => format!("{}; next try after {}", self.message, backoff::in_words(self.wait())),
        }
    }

    /// Whether only somebody else can help, by granting a right.
    pub fn is_for_want_of_a_right(&self) -> bool {
        self.message.ends_with(GOES_ON)
    }

    fn wait(&self) -> SignedDuration {
        let wait = backoff::after_failures(self.failures);
        self.retry_after.map_or(wait, |wish| wait.max(wish))
    }
}

/// The time that is `wait` after `at`; the last one that there is if that lies beyond it.
pub fn later(at: Timestamp, wait: SignedDuration) -> Timestamp {
    at.checked_add(wait).unwrap_or(if wait.is_negative() { Timestamp::MIN } else { Timestamp::MAX })
}
