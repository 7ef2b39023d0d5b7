//! Objects that cannot be read, for whoever looks after the whole: their owners are told by an event, which does not last.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Mutex, PoisonError},
};

use super::ObjectName;

/// How many are told by their names.
const MOST_NAMED: usize = 10;

/// See the module's description. Kinds are told as `Certificate`.
#[derive(Debug, Default)]
pub struct Unreadable {
    objects: Mutex<BTreeMap<String, BTreeSet<ObjectName>>>,
}

impl Unreadable {
    /// The object as it is now cannot be read.
    pub(super) fn note(&self, kind: &str, name: ObjectName) {
        self.with(|objects| objects.entry(kind.to_owned()).or_default().insert(name));
    }

    /// The object can be read, or is gone.
    pub(super) fn forget(&self, kind: &str, name: &ObjectName) {
        self.with(|objects| objects.get_mut(kind).is_some_and(|names| names.remove(name)));
    }

    /// Of this kind, in one namespace or in all, there are only these.
    pub(super) fn retain(&self, kind: &str, namespace: Option<&str>, listed: &HashSet<ObjectName>) {
        let is_elsewhere = |name: &ObjectName| namespace.is_some_and(|namespace| name.namespace != namespace);
        self.with(|objects| {
            if let Some(names) = objects.get_mut(kind) {
                names.retain(|name| is_elsewhere(name) || listed.contains(name));
            }
        });
    }

    /// How many of each kind there are; none of those that never had one.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        self.with(|objects| objects.iter().map(|(kind, names)| (kind.clone(), names.len())).collect())
    }

    /// The first of them, as in `Certificate shop/web`.
    pub fn named(&self) -> Vec<String> {
        self.with(|objects| {
            let all = objects.iter().flat_map(|(kind, names)| names.iter().map(move |name| format!("{kind} {name}")));
            all.take(MOST_NAMED).collect()
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, BTreeSet<ObjectName>>) -> T) -> T {
        work(&mut self.objects.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the owner is told. What was read of the object before is still in force.
pub(super) fn note_for_owner(error: &str, is_known: bool) -> String {
    let meanwhile = if is_known { "goes by what it read of it before" } else { "leaves it alone" };
    format!("certwright cannot read this object, and {meanwhile} until that is mended: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_or_is_gone_is_told_no_more() {
        let unreadable = Unreadable::default();
        let name = |namespace: &str, name: &str| ObjectName::new(namespace, name);
        for (namespace, of) in [("shop", "a"), ("shop", "b"), ("blog", "c")] {
            unreadable.note("Order", name(namespace, of));
        }
        unreadable.note("Order", name("shop", "a"));
        assert_eq!(unreadable.named(), ["Order blog/c", "Order shop/a", "Order shop/b"]);
        unreadable.forget("Order", &name("shop", "a"));
        unreadable.forget("Certificate", &name("shop", "b"));
        assert_eq!(unreadable.counts(), [("Order".to_owned(), 2)].into());
        unreadable.retain("Order", Some("shop"), &HashSet::new());
        assert_eq!(unreadable.named(), ["Order blog/c"]);
        unreadable.retain("Order", None, &[name("blog", "c")].into());
        assert_eq!(unreadable.named(), ["Order blog/c"]);
        unreadable.retain("Order", None, &HashSet::new());
        assert_eq!(unreadable.counts(), [("Order".to_owned(), 0)].into());
        (0..20).for_each(|number| unreadable.note("Order", name("shop", &number.to_string())));
        assert_eq!(unreadable.named().len(), 10);
    }
}
