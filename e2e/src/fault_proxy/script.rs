//! Which request meets which fault.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::kind::Kind;

/// What can happen to a request or to its answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection ends, and the CA never gets the request.
    CutBefore,
    /// The CA gets the request, and its answer is lost.
    CutAfter,
    /// The answer comes this much later.
    Delay(Duration),
    /// The CA gets the request twice, and its second answer is passed on.
    Repeat,
    /// The CA gets the request, and something else arrives than it answered.
    Garble(Garbling),
    /// The CA does not get the request: somebody before it answers with this status.
    Refuse(u16, RetryAfter),
    /// The same with the problem `badNonce`, and a fresh nonce. A request without a nonce is passed on.
    BadNonce,
    /// The same with a body of so many bytes whose length is not announced.
    Long(u64),
    /// The same with a redirect to this URL.
    Redirect(&'static str),
    /// The CA gets the request, and the body of its answer is changed unless it is a refusal.
    Rewrite(Rewrite),
}

/// What becomes of an answer on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Garbling {
    /// The connection ends in the middle of the body.
    Truncated,
    /// Half of the body, announced as if it were all.
    Halved,
    /// A web page with status 200.
    Page,
    /// The right body under the content type `text/plain`.
    ContentType,
}

/// How a refusal says when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    Unsaid,
    /// In seconds.
    Seconds(u64),
    /// As an HTTP date so many seconds from now.
    Date(u64),
}

impl RetryAfter {
    /// The wait that is asked for.
    pub fn wait(self) -> Option<Duration> {
        match self {
            Self::Unsaid => None,
            Self::Seconds(seconds) | Self::Date(seconds) => Some(Duration::from_secs(seconds)),
        }
    }
}

/// A change of an answer's body, with a name for messages.
#[derive(Clone)]
pub struct Rewrite {
    name: &'static str,
    change: Arc<Change>,
}

type Change = dyn Fn(&[u8]) -> Vec<u8> + Send + Sync;

impl Rewrite {
    pub fn new(name: &'static str, change: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self { name, change: Arc::new(change) }
    }

    /// The changed body.
    pub fn apply(&self, body: &[u8]) -> Vec<u8> {
        (self.change)(body)
    }
}

impl fmt::Debug for Rewrite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

/// Takes the list of orders out of what the CA tells of an account: most CAs keep none (RFC 8555 section 7.1.2.1).
pub fn without_list() -> Rewrite {
    Rewrite::new("without a list of orders", |body| {
        let mut account: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        account.as_object_mut().map(|fields| fields.remove("orders"));
        account.to_string().into_bytes()
    })
}

/// Rules, and how many requests there were since it was armed.
#[derive(Clone, Debug, Default)]
pub struct Script {
    rules: Vec<Rule>,
    chance: Option<Chance>,
    seen: BTreeMap<Kind, usize>,
    all: usize,
}

#[derive(Clone, Debug)]
struct Rule {
    kind: Option<Kind>,
    /// The first request that is meant, counted from 1, and the last.
    first: usize,
    last: usize,
    fault: Fault,
}

#[derive(Clone, Debug)]
struct Chance {
    dice: Dice,
    one_in: u64,
    faults: Vec<Fault>,
    left: usize,
}

impl Script {
    /// No faults.
    pub fn none() -> Self {
        Self::default()
    }

    /// The `number`-th request of a kind from now on, counted from 1.
    #[must_use]
    pub fn at(mut self, kind: Kind, number: usize, fault: Fault) -> Self {
        self.rules.push(Rule { kind: Some(kind), first: number, last: number, fault });
        self
    }

    /// The `number`-th request of all from now on, counted from 1.
    #[must_use]
    pub fn at_any(mut self, number: usize, fault: Fault) -> Self {
        self.rules.push(Rule { kind: None, first: number, last: number, fault });
        self
    }

    /// Every request of a kind.
    #[must_use]
    pub fn always(mut self, kind: Kind, fault: Fault) -> Self {
        self.rules.push(Rule { kind: Some(kind), first: 1, last: usize::MAX, fault });
        self
    }

    /// One in `one_in` requests meets one of `faults`, as the seed has it, until there were `most`.
    pub fn random(seed: u64, one_in: u64, faults: &[Fault], most: usize) -> Self {
        let chance = Chance { dice: Dice(seed), one_in, faults: faults.to_vec(), left: most };
        Self { chance: Some(chance), ..Self::default() }
    }

    /// Counts a request, and gives the fault that it meets.
    pub(super) fn next(&mut self, kind: Kind) -> Option<Fault> {
        self.all += 1;
        let of_kind = self.seen.entry(kind).or_default();
        *of_kind += 1;
        let (of_kind, all) = (*of_kind, self.all);
        let is_meant = |rule: &&Rule| match rule.kind {
            Some(meant) => meant == kind && (rule.first..=rule.last).contains(&of_kind),
            None => (rule.first..=rule.last).contains(&all),
        };
        let ruled = self.rules.iter().find(is_meant).map(|rule| rule.fault.clone());
        ruled.or_else(|| self.chance.as_mut()?.roll())
    }
}

impl Chance {
    fn roll(&mut self) -> Option<Fault> {
        if self.left == 0 || self.dice.below(self.one_in.max(1)) != Some(0) {
            return None;
        }
        self.left -= 1;
        let index = self.dice.below(u64::try_from(self.faults.len()).ok()?)?;
        self.faults.get(usize::try_from(index).ok()?).cloned()
    }
}

/// Numbers that look random and follow from a seed (`SplitMix64`).
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> Option<u64> {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)).checked_rem(limit)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_meets_the_request_it_counts_to() {
        let mut script = Script::none().at(Kind::Order, 2, Fault::CutBefore).at_any(4, Fault::Repeat);
        let mut next = |kind| script.next(kind).map(|fault| format!("{fault:?}"));
        assert_eq!(next(Kind::Order), None);
        assert_eq!(next(Kind::Finalize), None);
        assert_eq!(next(Kind::Order).unwrap(), "CutBefore");
        assert_eq!(next(Kind::Order).unwrap(), "Repeat");
        assert_eq!(next(Kind::Order), None);
    }

    #[test]
    fn chance_follows_from_the_seed_and_ends() {
        let faults = [Fault::CutBefore, Fault::Repeat, Fault::BadNonce];
        let rolled = |seed| {
            let mut script = Script::random(seed, 3, &faults, 5);
            (0..200).map(|_| script.next(Kind::Order).map(|fault| format!("{fault:?}"))).collect::<Vec<_>>()
        };
        assert_eq!(rolled(1), rolled(1));
        assert_ne!(rolled(1), rolled(2));
        assert_eq!(rolled(1).iter().flatten().count(), 5);
    }
}
