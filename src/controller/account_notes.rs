//! What this process found out about accounts, or is doing with them, that the issuers' statuses do not tell.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use crate::cluster::{Key, ObjectName};

/// More than this are never kept; forgetting costs a question.
const MOST_KEPT: usize = 4096;

/// How long an account that was looked at is not looked at again, whatever the CA says of it: a CA that makes an account
/// and does not know it afterwards would be asked to make another for ever.
const PAUSE: SignedDuration = SignedDuration::from_mins(10);

/// How long after a key was changed requests may still come back that were signed with the former one: the longest time
/// that a pass takes.
const AFTERMATH: SignedDuration = SignedDuration::from_mins(3);

/// A change that takes longer may be taken over by another issuer.
const LONGEST_CHANGE: SignedDuration = SignedDuration::from_mins(10);

/// See the module's description.
#[derive(Default)]
pub struct AccountNotes {
    doubts: Mutex<HashMap<Key, Doubt>>,
    /// By the Secret of the account key, which several issuers may share.
    changes: Mutex<HashMap<ObjectName, Change>>,
}

#[derive(Default)]
struct Doubt {
    /// The account that the CA refused.
    url: Option<String>,
    last_look: Option<Timestamp>,
}

struct Change {
    owner: Key,
    begun: Timestamp,
    ended: Option<Timestamp>,
    /// The CA was asked and knows the account by the present key; it will be told of the next one later.
    postponed: bool,
}

impl AccountNotes {
    /// The CA refused a request in the name of this account of an issuer. Whether the issuer is to be looked at now.
    pub fn doubt(&self, issuer: &Key, url: &str, now: Timestamp) -> bool {
        let mut doubts = lock(&self.doubts);
        if doubts.len() >= MOST_KEPT {
            doubts.clear();
        }
        let doubt = doubts.entry(issuer.clone()).or_default();
        if doubt.last_look.is_some_and(|look| is_within(PAUSE, look, now)) {
            return false;
        }
        doubt.url = Some(url.to_owned());
        true
    }

    /// Whether the issuer's account is in doubt. Each doubt is told once.
    pub fn take_doubt(&self, issuer: &Key, url: &str, now: Timestamp) -> bool {
        let mut doubts = lock(&self.doubts);
        let Some(doubt) = doubts.get_mut(issuer).filter(|doubt| doubt.url.as_deref() == Some(url)) else {
            return false;
        };
        *doubt = Doubt { url: None, last_look: Some(now) };
        true
    }

    /// Reserves the Secret for an issuer that is about to change its key. False if another one is at it.
    pub fn begin_change(&self, secret: &ObjectName, owner: &Key, now: Timestamp) -> bool {
        let mut changes = lock(&self.changes);
        let is_taken = |change: &Change| change.owner != *owner && change.is_under_way(now);
        if changes.get(secret).is_some_and(is_taken) {
            return false;
        }
        changes.retain(|_, change| change.matters(now));
        changes.insert(secret.clone(), Change { owner: owner.clone(), begun: now, ended: None, postponed: false });
        true
    }

    /// The CA knows the account by the present key, and it may be used for now.
    pub fn postpone_change(&self, secret: &ObjectName) {
        if let Some(change) = lock(&self.changes).get_mut(secret) {
            change.postponed = true;
        }
    }

    /// Whether the present key may be used although the Secret holds a next one.
    pub fn is_postponed(&self, secret: &ObjectName) -> bool {
        lock(&self.changes).get(secret).is_some_and(|change| change.postponed)
    }

    /// The Secret holds the one key again that the CA knows.
    pub fn end_change(&self, secret: &ObjectName, now: Timestamp) {
        if let Some(change) = lock(&self.changes).get_mut(secret) {
            change.ended = Some(now);
        }
    }

    /// The issuer is gone, and whatever change it was at: whoever has the Secret finds out what it holds.
    pub fn abandon(&self, owner: &Key, now: Timestamp) {
        lock(&self.doubts).remove(owner);
        let mut changes = lock(&self.changes);
        changes.retain(|_, change| change.matters(now));
        for change in changes.values_mut().filter(|change| change.owner == *owner) {
            change.ended.get_or_insert(now);
        }
    }

    /// Whether it is not known at the moment which key the CA knows the account by.
    pub fn is_changing(&self, secret: &ObjectName, now: Timestamp) -> bool {
        let is_open = |change: &Change| change.is_under_way(now) && !change.postponed;
        lock(&self.changes).get(secret).is_some_and(is_open)
    }

    /// Whether a request that was refused may have been signed with a former key.
    pub fn was_changing(&self, secret: &ObjectName, now: Timestamp) -> bool {
        let may_be = |change: &Change| !change.postponed && change.matters(now);
        lock(&self.changes).get(secret).is_some_and(may_be)
    }
}

impl Change {
    /// Not for longer than it may take: whoever was at it may be gone, or want another Secret.
    fn is_under_way(&self, now: Timestamp) -> bool {
        self.ended.is_none() && is_within(LONGEST_CHANGE, self.begun, now)
    }

    /// Whether requests may come back that were signed with the former key.
    fn matters(&self, now: Timestamp) -> bool {
        match self.ended {
            Some(ended) => is_within(AFTERMATH, ended, now),
            None => is_within(LONGEST_CHANGE + AFTERMATH, self.begun, now),
        }
    }
}

/// Whether this time is not over yet. A clock that was set back makes it end, not last longer.
fn is_within(span: SignedDuration, since: Timestamp, now: Timestamp) -> bool {
    since <= now && now < since + span
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cluster::Kind;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_doubt_is_told_once_and_not_soon_again() {
        let (notes, issuer) = (AccountNotes::default(), Key::new(Kind::Issuer, "shop", "le"));
        assert!(!notes.take_doubt(&issuer, "ca/1", at(0)));
        assert!(notes.doubt(&issuer, "ca/1", at(0)));
        assert!(!notes.take_doubt(&issuer, "ca/2", at(0)), "the status tells of another account by now");
        assert!(notes.take_doubt(&issuer, "ca/1", at(0)));
        assert!(!notes.take_doubt(&issuer, "ca/1", at(0)));
        assert!(!notes.doubt(&issuer, "ca/2", at(599)) && notes.doubt(&issuer, "ca/2", at(600)));
    }

    #[test]
    fn one_issuer_at_a_time_changes_a_key() {
        let (one, other) = (Key::new(Kind::Issuer, "shop", "one"), Key::new(Kind::Issuer, "shop", "other"));
        let (notes, secret) = (AccountNotes::default(), ObjectName::new("shop", "account"));
        assert!(!notes.is_changing(&secret, at(0)) && !notes.was_changing(&secret, at(0)));
        assert!(notes.begin_change(&secret, &one, at(0)) && notes.begin_change(&secret, &one, at(1)));
        assert!(!notes.begin_change(&secret, &other, at(2)), "the first is at it");
        assert!(notes.is_changing(&secret, at(2)) && notes.was_changing(&secret, at(2)));
        notes.end_change(&secret, at(3));
        assert!(!notes.is_changing(&secret, at(182)) && notes.was_changing(&secret, at(182)));
        assert!(!notes.was_changing(&secret, at(183)));
        assert!(notes.begin_change(&secret, &other, at(3)));
        assert!(notes.begin_change(&secret, &one, at(603)), "the other one does not come to an end");
    }

    #[test]
    fn a_change_of_which_nobody_tells_the_end_is_over_in_time() {
        let one = Key::new(Kind::Issuer, "shop", "one");
        let (notes, secret) = (AccountNotes::default(), ObjectName::new("shop", "account"));
        assert!(notes.begin_change(&secret, &one, at(0)));
        assert!(!notes.is_changing(&secret, at(600)) && notes.was_changing(&secret, at(779)));
        assert!(!notes.was_changing(&secret, at(780)), "its issuer wants another Secret by now");
        assert!(!notes.is_changing(&secret, at(-3600)), "the clock was set back");
        assert!(notes.begin_change(&ObjectName::new("shop", "other"), &one, at(780)));
        assert_eq!(lock(&notes.changes).len(), 1);
    }

    #[test]
    fn with_its_issuer_a_change_ends() {
        let (one, other) = (Key::new(Kind::Issuer, "shop", "one"), Key::new(Kind::Issuer, "shop", "other"));
        let (notes, secret) = (AccountNotes::default(), ObjectName::new("shop", "account"));
        assert!(notes.doubt(&one, "ca/1", at(0)) && notes.begin_change(&secret, &one, at(0)));
        notes.abandon(&other, at(1));
        assert!(notes.is_changing(&secret, at(1)));
        notes.abandon(&one, at(1));
        assert!(!notes.is_changing(&secret, at(1)) && notes.was_changing(&secret, at(180)));
        assert!(!notes.was_changing(&secret, at(181)) && !notes.take_doubt(&one, "ca/1", at(181)));
        assert!(notes.begin_change(&secret, &other, at(2)));
    }

    #[test]
    fn the_present_key_may_be_used_while_a_change_is_postponed() {
        let one = Key::new(Kind::Issuer, "shop", "one");
        let (notes, secret) = (AccountNotes::default(), ObjectName::new("shop", "account"));
        assert!(!notes.is_postponed(&secret) && notes.begin_change(&secret, &one, at(0)));
        notes.postpone_change(&secret);
        assert!(
            notes.is_postponed(&secret) && !notes.is_changing(&secret, at(1)) && !notes.was_changing(&secret, at(1))
        );
        assert!(notes.begin_change(&secret, &one, at(5)));
        assert!(!notes.is_postponed(&secret) && notes.is_changing(&secret, at(5)));
    }
}
