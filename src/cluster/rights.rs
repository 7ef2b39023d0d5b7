//! Which rights the API server has lately said are missing, for whoever looks after the whole rather than after one object.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use crate::api::MissingRight;

/// What is missing is tried again within half of this; what nobody misses any more is forgotten after it.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(11);

/// More of them are not remembered: one is missing in each of many namespaces.
const MOST: usize = 100;

/// See the module's description.
#[derive(Debug, Default)]
pub struct Rights {
    missing: Mutex<BTreeMap<String, Timestamp>>,
}

impl Rights {
    /// Notes that the right was missing at this time. True if that is news.
    pub fn note_missing(&self, right: &MissingRight, now: Timestamp) -> bool {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.retain(|_, at| now.duration_since(*at) < REMEMBERED);
        let right = right.to_string();
        if missing.len() >= MOST && !missing.contains_key(&right) {
            return false;
        }
        missing.insert(right, now).is_none()
    }

    /// Notes that the right of these words is there. True if it was missing until now.
    pub fn note_granted(&self, right: &str) -> bool {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).remove(right).is_some()
    }

    /// Those to list or watch one of these kinds in this namespace, or in all, that were missed lately. A kind is told as `pods` or
    /// `ingresses.networking.k8s.io`.
    pub fn missing_watches(&self, kinds: &[&str], namespace: &str, now: Timestamp) -> Vec<String> {
        let of_others = |right: &str| {
            right.split_once(" in namespace ").is_some_and(|(_, place)| place != format!("{namespace:?}"))
        };
        let mut missing = self.missing(now);
        missing.retain(|right| {
            let mut words = right.split(' ');
            words.next().is_some_and(|verb| verb == "list" || verb == "watch")
                && words.next().is_some_and(|kind| kinds.contains(&kind))
                && !of_others(right)
        });
        missing
    }

    /// Those that were missed lately, in words.
    pub fn missing(&self, now: Timestamp) -> Vec<String> {
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = missing.iter().filter(|(_, at)| now.duration_since(**at) < REMEMBERED);
        lately.map(|(right, _)| right.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(verb: &str) -> MissingRight {
        MissingRight {
            user: "u".to_owned(),
            verb: verb.to_owned(),
            resource: "pods".to_owned(),
            group: String::new(),
            namespace: None,
        }
    }

    #[test]
    fn each_is_news_once_until_it_is_granted_or_forgotten() {
        let (rights, now) = (Rights::default(), Timestamp::UNIX_EPOCH);
        assert!(rights.note_missing(&right("list"), now) && rights.note_missing(&right("create"), now));
        assert!(!rights.note_missing(&right("list"), now));
        assert_eq!(rights.missing(now), ["create pods in the whole cluster", "list pods in the whole cluster"]);
        assert_eq!(rights.missing_watches(&["pods"], "shop", now), ["list pods in the whole cluster"]);
        assert_eq!(rights.missing_watches(&["services"], "shop", now), Vec::<String>::new());
        assert!(rights.note_granted("list pods in the whole cluster"));
        assert!(!rights.note_granted("list pods in the whole cluster"));
        assert!(rights.note_missing(&right("list"), now));
        assert_eq!(rights.missing(now + REMEMBERED), Vec::<String>::new());
        assert!(rights.note_missing(&right("list"), now + REMEMBERED));
    }

    #[test]
    fn what_is_missing_in_one_namespace_is_no_matter_in_others() {
        let (rights, now) = (Rights::default(), Timestamp::UNIX_EPOCH);
        rights.note_missing(&MissingRight { namespace: Some("shop".to_owned()), ..right("list") }, now);
        assert_eq!(rights.missing_watches(&["pods"], "shop", now), ["list pods in namespace \"shop\""]);
        assert_eq!(rights.missing_watches(&["pods"], "sho", now), Vec::<String>::new());
    }

    #[test]
    fn there_are_not_too_many() {
        let (rights, now) = (Rights::default(), Timestamp::UNIX_EPOCH);
        for number in 0..2 * MOST {
            rights.note_missing(&right(&number.to_string()), now);
        }
        assert_eq!(rights.missing(now).len(), MOST);
    }
}
