//! What is kept for the next use, and not for ever: beyond a number, what was used least recently goes.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// See the module's description.
pub(super) struct Recent<K, V> {
    most: usize,
    kept: Mutex<Kept<K, V>>,
}

struct Kept<K, V> {
    uses: u64,
    /// With the number of its last use.
    entries: HashMap<K, (V, u64)>,
}

impl<K: Clone + Eq + Hash, V: Clone> Recent<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, kept: Mutex::new(Kept { uses: 0, entries: HashMap::new() }) }
    }

    /// What is kept under this key. That counts as a use.
    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let mut kept = self.lock();
        kept.uses += 1;
        let now = kept.uses;
        let (value, used) = kept.entries.get_mut(key)?;
        *used = now;
        Some(value.clone())
    }

    /// What is kept under this key, or else this, which is kept from now on.
    pub(super) fn get_or_keep(&self, key: K, value: V) -> V {
        let mut kept = self.lock();
        kept.uses += 1;
        let now = kept.uses;
        if let Some((held, used)) = kept.entries.get_mut(&key) {
            *used = now;
            return held.clone();
        }
        if kept.entries.len() >= self.most {
            let oldest = kept.entries.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone());
            oldest.map(|key| kept.entries.remove(&key));
        }
        kept.entries.insert(key, (value.clone(), now));
        value
    }

    pub(super) fn clear(&self) {
        self.lock().entries.clear();
    }

    /// The map is whole at every moment, so that a panic elsewhere while it was locked harms nothing.
    fn lock(&self) -> MutexGuard<'_, Kept<K, V>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_least_recently_goes() {
        let recent = Recent::new(3);
        for number in 0..3 {
            assert_eq!(recent.get_or_keep(number, number * 10), number * 10);
        }
        assert_eq!(recent.get(&0), Some(0));
        assert_eq!(recent.get_or_keep(1, 11), 10, "the one that others have too");
        recent.get_or_keep(3, 30);
        assert_eq!([0, 1, 2, 3].map(|number| recent.get(&number)), [Some(0), Some(10), None, Some(30)]);
        recent.clear();
        assert_eq!(recent.get(&0), None);
    }
}
