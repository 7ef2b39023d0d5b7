//! Who holds a Lease, by the rules of client-go's leader election: whoever holds to them too, cert-manager for one, is kept
//! out as long as this candidate works, and the other way round.
//!
//! The Lease tells who holds it and for how long. Its times are for people: what counts is when a candidate saw the Lease
//! change, by its own steady clock, so that clocks may differ by hours. A holder counts from the moment at which it began to
//! ask for the Lease, the others from the moment at which they have seen the answer, which is later. As the holder stops after
//! the renew deadline and the others wait for the longer lease duration, no two work at once.

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod properties;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{api::coordination::v1::LeaseSpec, apimachinery::pkg::apis::meta::v1::MicroTime};

/// Time since some moment, by a clock that nobody sets.
pub type Steady = SignedDuration;

/// How often a candidate that waits looks at the Lease, at the least. The shorter, the sooner it follows a holder that went, and
/// the less late it sees that one renews no more.
const BETWEEN_LOOKS: SignedDuration = SignedDuration::from_secs(2);

/// The longest pause after a failed call.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(2);

/// The times of an election. All candidates should have the same, but none relies on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long others wait for a holder that does not renew.
    pub lease_duration: SignedDuration,
    /// After how long a holder that could not renew stops working.
    pub renew_deadline: SignedDuration,
    /// How long after a renewal the next one is due.
    pub retry_period: SignedDuration,
}

/// One who would hold a Lease: what it has seen and done so far.
#[derive(Clone, Debug)]
pub struct Candidate {
    identity: String,
    timing: Timing,
    seen: Option<Seen>,
    /// When the last write began that made this candidate the holder, or kept it.
    renewed: Option<Steady>,
    /// Nothing is asked before.
    pause: Option<Steady>,
}

#[derive(Clone, Debug)]
struct Seen {
    /// None: there is no such Lease.
    lease: Option<LeaseSpec>,
    /// When it was first seen to say so.
    since: Steady,
    /// When it was last seen to say so; none if that may have changed by a call that failed.
    last: Option<Steady>,
}

/// What a candidate does.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Nothing before this.
    WaitUntil(Steady),
    /// Read the Lease.
    Look,
    /// Make the Lease say this, if it is still the version that was seen last; create it if there was none.
    Write(LeaseSpec),
}

/// Who holds a Lease as far as a candidate knows.
enum Standing {
    Free,
    Own,
    /// It is free then, unless it is renewed.
    OfAnotherUntil(Steady),
}

impl Timing {
    /// Whether holders stop before others begin.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        let Self { lease_duration, renew_deadline, retry_period } = *self;
        if retry_period <= SignedDuration::ZERO {
            return Err("the retry period must be longer than nothing".to_owned());
        }
        if renew_deadline <= retry_period {
            return Err("the renew deadline must be longer than the retry period".to_owned());
        }
        if lease_duration <= renew_deadline || lease_duration < SignedDuration::from_secs(1) {
            return Err("the lease duration must be longer than the renew deadline, and at least a second".to_owned());
        }
        Ok(())
    }

    /// From the moment at which a holder stops to the one at which others may begin, at the least.
    pub fn margin(&self) -> SignedDuration {
        self.lease_duration.saturating_sub(self.renew_deadline)
    }

    /// As the Lease tells it: in whole seconds.
    fn seconds(&self) -> i32 {
        let whole = self.lease_duration.as_secs().saturating_add(i64::from(self.lease_duration.subsec_nanos() > 0));
        i32::try_from(whole).unwrap_or(i32::MAX)
    }

    /// How often a candidate that waits looks at the Lease.
    pub fn between_looks(&self) -> SignedDuration {
        BETWEEN_LOOKS.min(self.lease_duration / 6)
    }

    fn pause(&self) -> SignedDuration {
        self.retry_period.min(LONGEST_PAUSE)
    }
}

impl Candidate {
    /// `identity` must be nobody else's.
    pub fn new(identity: String, timing: Timing) -> Self {
        Self { identity, timing, seen: None, renewed: None, pause: None }
    }

    pub fn identity(&self) -> &str {
        &self.identity
    }

    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// Until when this candidate may work, if it is not renewed; none if it may not.
    pub fn holds_until(&self, now: Steady) -> Option<Steady> {
        let until = self.renewed?.saturating_add(self.timing.renew_deadline);
        (until > now).then_some(until)
    }

    /// What the Lease was last seen to say.
    pub fn seen(&self) -> Option<&LeaseSpec> {
        self.seen.as_ref()?.lease.as_ref()
    }

    /// Who else holds the Lease, as far as is known.
    pub fn rival(&self, now: Steady) -> Option<&str> {
        let seen = self.seen.as_ref()?;
        matches!(self.standing(seen, now), Standing::OfAnotherUntil(_)).then(|| holder(seen.lease.as_ref()?))?
    }

    /// Who holds it at `now`, this candidate too; none if that is not known. An empty name is nobody.
    pub fn holder(&self, now: Steady) -> Option<&str> {
        let seen = self.seen.as_ref()?;
        Some(match self.standing(seen, now) {
            Standing::Free => "",
            Standing::Own => &self.identity,
            Standing::OfAnotherUntil(_) => holder(seen.lease.as_ref()?)?,
        })
    }

    /// What to do at `now`; `wall` goes into the Lease, for people. With `may_take` it is taken if it is free.
    pub fn next(&self, now: Steady, wall: Timestamp, may_take: bool) -> Next {
        if let Some(pause) = self.pause.filter(|pause| *pause > now) {
            return Next::WaitUntil(pause);
        }
        let Some((seen, last)) = self.seen.as_ref().and_then(|seen| Some((seen, seen.last?))) else {
            return Next::Look;
        };
        let write = || Next::Write(self.claim(seen.lease.as_ref(), wall));
        match (self.standing(seen, now), self.holds_until(now)) {
            (Standing::Own, Some(until)) => {
                let due = self.renewed.unwrap_or_default().saturating_add(self.timing.retry_period);
                if due <= now { write() } else { Next::WaitUntil(due.min(until)) }
            }
            (Standing::Own | Standing::Free, _) if may_take => write(),
            (standing, _) => {
                let due = last.saturating_add(self.timing.between_looks());
                let until = if let Standing::OfAnotherUntil(until) = standing { until.min(due) } else { due };
                if due <= now { Next::Look } else { Next::WaitUntil(until) }
            }
        }
    }

    /// The Lease was read; the answer came at `now`.
    pub fn looked(&mut self, lease: Option<LeaseSpec>, now: Steady) {
        self.pause = None;
        self.take_in(lease, now);
        if self.seen().and_then(|lease| holder(lease)) != Some(&self.identity) {
            self.renewed = None;
        }
    }

    /// A write that began at `began` was done; the answer came at `now`.
    pub fn wrote(&mut self, lease: LeaseSpec, began: Steady, now: Steady) {
        self.pause = None;
        self.renewed = (holder(&lease) == Some(&self.identity)).then_some(began);
        self.take_in(Some(lease), now);
    }

    /// Somebody else wrote in between.
    pub fn overtaken(&mut self) {
        if let Some(seen) = &mut self.seen {
            seen.last = None;
        }
    }

    /// A call failed at `now`; what it should have done may have been done or not.
    pub fn failed(&mut self, now: Steady) {
        self.overtaken();
        self.pause = Some(now.saturating_add(self.timing.pause()));
    }

    /// This candidate stops working, and would go on only after another look and another write.
    pub fn stop(&mut self) {
        self.renewed = None;
        self.overtaken();
    }

    /// Whether what was last seen still holds as far as is known, so that it can be written upon.
    pub fn is_current(&self, now: Steady) -> bool {
        self.pause.is_none_or(|pause| pause <= now) && self.seen.as_ref().is_some_and(|seen| seen.last.is_some())
    }

    /// What it says to stay this candidate's, whenever that is due.
    pub fn renewal(&self, wall: Timestamp) -> LeaseSpec {
        self.claim(self.seen(), wall)
    }

    /// What the Lease says when its holder goes: anybody may have it. None if it is not this candidate's.
    pub fn release(&self, wall: Timestamp) -> Option<LeaseSpec> {
        let lease = self.seen().filter(|lease| holder(lease) == Some(&self.identity))?;
        Some(LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            acquire_time: Some(MicroTime(wall)),
            renew_time: Some(MicroTime(wall)),
            ..lease.clone()
        })
    }

    fn take_in(&mut self, lease: Option<LeaseSpec>, now: Steady) {
        let since = self.seen.take().filter(|seen| seen.lease == lease).map_or(now, |seen| seen.since);
        self.seen = Some(Seen { lease, since, last: Some(now) });
    }

    fn standing(&self, seen: &Seen, now: Steady) -> Standing {
        let Some((lease, holder)) = seen.lease.as_ref().and_then(|lease| Some((lease, holder(lease)?))) else {
            return Standing::Free;
        };
        if holder == self.identity {
            return Standing::Own;
        }
        let duration = lease
            .lease_duration_seconds
            .map_or(self.timing.lease_duration, |seconds| SignedDuration::from_secs(seconds.into()));
        let until = seen.since.saturating_add(duration);
        if until <= now { Standing::Free } else { Standing::OfAnotherUntil(until) }
    }

    /// The Lease with this candidate as holder.
    fn claim(&self, lease: Option<&LeaseSpec>, wall: Timestamp) -> LeaseSpec {
        let now = Some(MicroTime(wall));
        let mut claim = lease.cloned().unwrap_or_default();
        if holder(&claim) != Some(&self.identity) {
            claim.acquire_time.clone_from(&now);
            claim.lease_transitions =
                Some(lease.map_or(0, |lease| lease.lease_transitions.unwrap_or_default().saturating_add(1)));
        }
        claim.holder_identity = Some(self.identity.clone());
        claim.lease_duration_seconds = Some(self.timing.seconds());
        claim.renew_time = now;
        claim
    }
}

/// Who holds it, if anybody does.
pub fn holder(lease: &LeaseSpec) -> Option<&str> {
    lease.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}
