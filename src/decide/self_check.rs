//! When what the self-check of HTTP-01 found is enough for the CA to be asked.
//!
//! The CA asks from outside, and this is seen from inside: where addresses do not lead back in (hairpin NAT), load balancers
//! speak the PROXY protocol, or DNS has two views, the public way can be shut from here and open for the CA. So it never
//! holds up an issuance for ever. What it says is waited for nevertheless, because CAs count validations that fail.

use std::net::IpAddr;

use jiff::SignedDuration;

/// From the moment on that the solver itself answers, this long for others to see the same, if the way within the cluster is
/// clear and the public name answers otherwise.
const CLEAR_INSIDE: SignedDuration = SignedDuration::from_secs(10);
/// The same if the way within the cluster cannot be asked or is not clear.
const SOLVER_ONLY: SignedDuration = SignedDuration::from_mins(1);
/// The same if the public name does not exist: whoever makes its record, such as external-dns, needs minutes.
const NO_SUCH_NAME: SignedDuration = SignedDuration::from_mins(5);

/// Where a name leads is told until it has changed so often.
const MOST_CHANGES: u8 = 2;

/// What came of asking in one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Finding {
    #[default]
    NotAsked,
    /// The key came back.
    Passed,
    /// No answer could be had from here.
    OutOfReach,
    /// The name does not exist.
    NoSuchName,
    /// Something else than the key came back.
    Otherwise,
    /// The objects on the way tell that it leads nowhere, for whoever asks.
    NoWay,
}

/// What one round found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The solver pod or the controller, asked by its address.
    pub solver: Finding,
    /// The Ingress or Gateway, asked within the cluster.
    pub inside: Finding,
    /// The public name.
    pub public: Finding,
}

/// Whether the CA may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Enough,
    /// So long after the solver itself first answered it is, even if nothing else changes.
    EnoughAfter(SignedDuration),
    /// The solver has to answer first, or whoever owns the way has to open it.
    NotYet,
}

impl Findings {
    /// `since_solver` is the time since the solver itself was first seen to answer, without a gap.
    pub fn verdict(self, since_solver: SignedDuration) -> Verdict {
        if self.public == Finding::Passed {
            return Verdict::Enough;
        }
        if self.solver != Finding::Passed || self.inside == Finding::NoWay {
            return Verdict::NotYet;
        }
        let patience = match (self.public, self.inside) {
            (Finding::NoSuchName, _) => NO_SUCH_NAME,
            (Finding::Otherwise, Finding::Passed) => CLEAR_INSIDE,
            (_, Finding::Passed) => SignedDuration::ZERO,
            _ => SOLVER_ONLY,
        };
        if since_solver >= patience { Verdict::Enough } else { Verdict::EnoughAfter(patience) }
    }
}

/// Where a name led when it was last looked at, and how often that has changed.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    last: Option<Vec<IpAddr>>,
    changes: u8,
}

impl Addresses {
    /// Takes note of where it leads now. Someone may put it right and right again; what changes more often is likely to go on so.
    pub fn are_steady(&mut self, found: &[IpAddr]) -> bool {
        if self.last.as_deref().is_some_and(|last| last != found) {
            self.changes = self.changes.saturating_add(1);
        }
        self.last = Some(found.to_vec());
        self.changes <= MOST_CHANGES
    }

    /// Whether nothing is known.
    pub fn is_blank(&self) -> bool {
        self.last.is_none()
    }
}

#[cfg(test)]
mod tests {
    use Finding::{NoSuchName, NoWay, NotAsked, Otherwise, OutOfReach, Passed};

    use super::*;

    fn verdict(solver: Finding, inside: Finding, public: Finding, seconds: i64) -> Verdict {
        Findings { solver, inside, public }.verdict(SignedDuration::from_secs(seconds))
    }

    #[test]
    fn the_public_way_is_enough_alone() {
        for solver in [NotAsked, Passed, OutOfReach, Otherwise] {
            assert_eq!(verdict(solver, NotAsked, Passed, 0), Verdict::Enough);
        }
    }

    #[test]
    fn a_solver_that_does_not_answer_is_waited_for() {
        for solver in [NotAsked, OutOfReach, Otherwise] {
            for inside in [NotAsked, Passed, Otherwise] {
                assert_eq!(verdict(solver, inside, OutOfReach, 100_000), Verdict::NotYet);
            }
        }
    }

    #[test]
    fn a_way_that_leads_nowhere_is_waited_for() {
        for public in [OutOfReach, NoSuchName, Otherwise] {
            assert_eq!(verdict(Passed, NoWay, public, 100_000), Verdict::NotYet);
        }
        assert_eq!(verdict(Passed, NoWay, Passed, 0), Verdict::Enough);
    }

    #[test]
    fn what_is_clear_inside_waits_only_for_what_speaks_against_it() {
        assert_eq!(verdict(Passed, Passed, OutOfReach, 0), Verdict::Enough);
        for (public, seconds) in [(Otherwise, 10), (NoSuchName, 300)] {
            let patience = SignedDuration::from_secs(seconds);
            assert_eq!(verdict(Passed, Passed, public, seconds - 1), Verdict::EnoughAfter(patience));
            assert_eq!(verdict(Passed, Passed, public, seconds), Verdict::Enough);
        }
    }

    #[test]
    fn nothing_holds_a_solver_that_answers_for_ever() {
        for inside in [NotAsked, OutOfReach, NoSuchName, Otherwise] {
            for (public, seconds) in [(OutOfReach, 60), (Otherwise, 60), (NoSuchName, 300)] {
                let patience = SignedDuration::from_secs(seconds);
                assert_eq!(verdict(Passed, inside, public, seconds - 1), Verdict::EnoughAfter(patience));
                assert_eq!(verdict(Passed, inside, public, seconds), Verdict::Enough);
            }
        }
    }
}
