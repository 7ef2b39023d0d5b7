//! The names under one entry of an index.

use std::{collections::BTreeSet, sync::Arc};

use crate::cluster::key::ObjectName;

/// Nearly every entry has one name, and there are several entries for each object, so that one must be small.
#[derive(Default)]
pub(super) enum Names {
    #[default]
    None,
    One(Arc<ObjectName>),
    Many(BTreeSet<Arc<ObjectName>>),
}

impl Names {
    pub(super) fn insert(&mut self, name: &Arc<ObjectName>) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(name.clone()),
            Self::One(held) if held == *name => Self::One(held),
            Self::One(held) => Self::Many([held, name.clone()].into()),
            Self::Many(mut held) => {
                held.insert(name.clone());
                Self::Many(held)
            }
        };
    }

    pub(super) fn remove(&mut self, name: &ObjectName) {
        match self {
            Self::One(held) if **held == *name => *self = Self::None,
            Self::Many(held) => {
                held.remove(name);
                if held.is_empty() {
                    *self = Self::None;
                }
            }
            _ => {}
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    pub(super) fn sorted(&self) -> Vec<&ObjectName> {
        match self {
            Self::None => Vec::new(),
            Self::One(name) => vec![name],
            Self::Many(names) => names.iter().map(AsRef::as_ref).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Arc<ObjectName> {
        Arc::new(ObjectName::new("shop", name))
    }

    #[test]
    fn each_name_is_there_once_until_it_is_removed() {
        let mut names = Names::default();
        for one in ["b", "b", "c", "a", "c"] {
            names.insert(&name(one));
        }
        let held = |names: &Names| names.sorted().iter().map(|name| name.name.clone()).collect::<Vec<_>>();
        assert_eq!(held(&names), ["a", "b", "c"]);
        for one in ["b", "d", "a"] {
            names.remove(&name(one));
        }
        assert_eq!((held(&names), names.is_empty()), (vec!["c".to_owned()], false));
        names.remove(&name("c"));
        assert!(names.is_empty() && held(&names).is_empty());
        names.insert(&name("e"));
        names.remove(&name("f"));
        assert_eq!(held(&names), ["e"]);
        names.remove(&name("e"));
        assert!(names.is_empty());
    }
}
