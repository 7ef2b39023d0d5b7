//! How many values of ours are at each name, so that not more are added than Route 53 answers with.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::{Action, Change};
use super::plan::{MOST_ANSWERED, shown};

/// Beyond this all is forgotten, which costs nothing but the care for crowded names.
const MOST_NAMES: usize = 10_000;

/// What this process put where. Nothing breaks if it is not known: it only decides whether the records are read first.
#[derive(Default)]
pub(super) struct Placed(Mutex<HashMap<String, BTreeSet<String>>>);

impl Placed {
    /// Whether the names have room for the changes, as far as is known.
    pub(super) fn have_room(&self, changes: &[Change]) -> bool {
        let placed = self.lock();
        changes.iter().filter(|change| change.action == Action::Add).all(|change| {
            let name = shown(&change.record.name);
            let mut values: BTreeSet<&str> = placed.get(&name).into_iter().flatten().map(String::as_str).collect();
            let here = changes.iter().filter(|other| shown(&other.record.name) == name);
            values.extend(here.filter(|other| other.action == Action::Add).map(|other| other.record.value.as_str()));
            values.len() <= MOST_ANSWERED
        })
    }

    /// The changes were made.
    pub(super) fn note(&self, changes: &[Change]) {
        let mut placed = self.lock();
        for change in changes {
            let (name, value) = (shown(&change.record.name), &change.record.value);
            match change.action {
                Action::Add => drop(placed.entry(name).or_default().insert(value.clone())),
                Action::Remove => {
                    if let Some(values) = placed.get_mut(&name) {
                        values.remove(value);
                    }
                }
            }
        }
        placed.retain(|_, values| !values.is_empty());
        if placed.len() > MOST_NAMES {
            placed.clear();
        }
    }

    /// The value is whole at every moment, so that a panic elsewhere while it was locked harms nothing.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, BTreeSet<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
