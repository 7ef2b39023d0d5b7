//! The objects of one kind, as last seen, with one index.

mod names;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use kube::Resource;

use super::key::ObjectName;
use names::Names;

/// How an object is found besides by its name: each string is one entry of the index.
type IndexFunction<K> = fn(&K) -> Vec<String>;

/// See the module's description. Cheap to read: objects are shared, never copied.
pub struct Store<K> {
    index_of: IndexFunction<K>,
    contents: RwLock<Contents<K>>,
}

struct Contents<K> {
    /// Names are shared with the index.
    objects: HashMap<Arc<ObjectName>, Arc<K>>,
    index: HashMap<Box<str>, Names>,
    /// Identities of objects that we know to be gone although the watch may still tell of them, with their namespaces.
    tombstones: HashMap<String, String>,
}

/// What became of an object offered to the store.
#[derive(Debug)]
pub enum Put<K> {
    /// It was new or newer.
    Stored { former: Option<Arc<K>>, now: Arc<K> },
    /// The store already held this version or a newer one, or knows that the object is gone.
    Stale,
}

impl<K: Resource<DynamicType = ()>> Store<K> {
    /// `index_of` names the entries under which an object is found by [`Store::indexed`].
    pub fn new(index_of: IndexFunction<K>) -> Self {
        let contents = Contents { objects: HashMap::new(), index: HashMap::new(), tombstones: HashMap::new() };
        Self { index_of, contents: RwLock::new(contents) }
    }

    pub fn get(&self, name: &ObjectName) -> Option<Arc<K>> {
        self.read().objects.get(name).cloned()
    }

    /// The objects with this index entry, in the order of their names.
    pub fn indexed(&self, entry: &str) -> Vec<Arc<K>> {
        let contents = self.read();
        let Some(names) = contents.index.get(entry) else { return Vec::new() };
        names.sorted().into_iter().filter_map(|name| contents.objects.get(name).cloned()).collect()
    }

    pub fn all(&self) -> Vec<Arc<K>> {
        self.read().objects.values().cloned().collect()
    }

    pub fn names(&self) -> HashSet<ObjectName> {
        self.read().objects.keys().map(|name| ObjectName::clone(name)).collect()
    }

    /// Takes in what was seen, unless the store knows better.
    pub fn put(&self, object: K) -> Put<K> {
        self.put_unless(object, |offered, held| held.is_some_and(|held| !is_newer(offered, held)))
    }

    /// Takes in what became of an object that the store held when the change was asked for. If it holds it no more, the watch
    /// has told of its end before the answer came.
    pub fn replace(&self, object: K) -> Put<K> {
        self.put_unless(object, |offered, held| held.is_none_or(|held| !is_newer(offered, held)))
    }

    /// The same also for what was made of the version that the store holds.
    pub fn amend(&self, object: K) -> Put<K> {
        self.put_unless(object, |offered, held| held.is_none_or(|held| is_newer(held, offered)))
    }

    fn put_unless(&self, object: K, is_stale: impl Fn(&K, Option<&K>) -> bool) -> Put<K> {
        let name = ObjectName::of(&object);
        let mut contents = self.write();
        if object.meta().uid.as_ref().is_some_and(|uid| contents.tombstones.contains_key(uid)) {
            return Put::Stale;
        }
        if is_stale(&object, contents.objects.get(&name).map(Arc::as_ref)) {
            return Put::Stale;
        }
        let former = contents.remove(&name, self.index_of);
        let now = contents.insert(name, object, self.index_of);
        Put::Stored { former, now }
    }

    /// Takes out what the API server said is gone, before the watch tells of it.
    pub fn bury(&self, name: &ObjectName, uid: &str) -> Option<Arc<K>> {
        let mut contents = self.write();
        let gone = contents.remove_incarnation(name, uid, self.index_of)?;
        // What is not held any more was already taken out by the watch, which will not speak of it again.
        contents.tombstones.insert(uid.to_owned(), name.namespace.clone());
        Some(gone)
    }

    /// Takes out what the watch said is gone.
    pub fn remove(&self, name: &ObjectName, uid: &str) -> Option<Arc<K>> {
        let mut contents = self.write();
        contents.tombstones.remove(uid);
        contents.remove_incarnation(name, uid, self.index_of)
    }

    /// Takes out everything in `before` that is not in `listed`: it vanished while the watch was away. The list is that of one
    /// namespace, or of all.
    pub fn retain_listed(
        &self,
        namespace: Option<&str>,
        before: &HashSet<ObjectName>,
        listed: &HashSet<ObjectName>,
    ) -> Vec<Arc<K>> {
        let mut contents = self.write();
        contents.tombstones.retain(|_, place| namespace.is_some_and(|namespace| place != namespace));
        before.difference(listed).filter_map(|name| contents.remove(name, self.index_of)).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Contents<K>> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Contents<K>> {
        self.contents.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Resource<DynamicType = ()>> Contents<K> {
    fn insert(&mut self, name: ObjectName, object: K, index_of: IndexFunction<K>) -> Arc<K> {
        let name = Arc::new(name);
        for entry in index_of(&object) {
            self.index.entry(entry.into()).or_default().insert(&name);
        }
        let object = Arc::new(object);
        self.objects.insert(name, object.clone());
        object
    }

    fn remove_incarnation(&mut self, name: &ObjectName, uid: &str, index_of: IndexFunction<K>) -> Option<Arc<K>> {
        let same = self.objects.get(name).is_some_and(|held| held.meta().uid.as_deref().unwrap_or_default() == uid);
        if same { self.remove(name, index_of) } else { None }
    }

    fn remove(&mut self, name: &ObjectName, index_of: IndexFunction<K>) -> Option<Arc<K>> {
        let object = self.objects.remove(name)?;
        for entry in index_of(&object) {
            if let Some(names) = self.index.get_mut(&*entry) {
                names.remove(name);
                if names.is_empty() {
                    self.index.remove(&*entry);
                }
            }
        }
        Some(object)
    }
}

/// Whether `offered` is a later version than `held`, or another object of the same name.
///
/// Resource versions of one kind grow in etcd's order, so they are compared as numbers; one that is no number is taken
/// as newer, which costs a needless pass at most.
fn is_newer<K: Resource>(offered: &K, held: &K) -> bool {
    let version = |object: &K| object.meta().resource_version.as_deref().and_then(|text| text.parse::<u64>().ok());
    match (version(offered), version(held)) {
        (Some(offered), Some(held)) => offered > held,
        _ => true,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;

    use super::*;

    fn object(name: &str, uid: &str, version: u64, entry: &str) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                namespace: Some("default".into()),
                name: Some(name.into()),
                uid: Some(uid.into()),
                resource_version: Some(version.to_string()),
                labels: Some([("entry".to_owned(), entry.to_owned())].into()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        }
    }

    fn store() -> Store<ConfigMap> {
        Store::new(|object| object.metadata.labels.iter().flatten().map(|(_, value)| value.clone()).collect())
    }

    fn name(name: &str) -> ObjectName {
        ObjectName::new("default", name)
    }

    #[test]
    fn an_older_version_never_replaces_a_newer_one() {
        let store = store();
        assert!(matches!(store.put(object("a", "1", 5, "x")), Put::Stored { former: None, .. }));
        assert!(matches!(store.put(object("a", "1", 4, "y")), Put::Stale));
        assert!(matches!(store.put(object("a", "1", 5, "y")), Put::Stale));
        assert_eq!(store.indexed("y").len(), 0);
        assert!(matches!(store.put(object("a", "1", 6, "y")), Put::Stored { former: Some(_), .. }));
        assert_eq!((store.indexed("x").len(), store.indexed("y").len()), (0, 1));
    }

    #[test]
    fn what_was_made_of_a_version_takes_its_place_but_not_that_of_a_newer_one() {
        let store = store();
        store.put(object("a", "1", 5, "x"));
        assert!(matches!(store.amend(object("a", "1", 5, "y")), Put::Stored { former: Some(_), .. }));
        assert_eq!((store.indexed("x").len(), store.indexed("y").len()), (0, 1));
        assert!(matches!(store.put(object("a", "1", 5, "x")), Put::Stale), "the watch tells of it later");
        store.put(object("a", "1", 6, "x"));
        assert!(matches!(store.amend(object("a", "1", 5, "y")), Put::Stale));
    }

    #[test]
    fn a_buried_object_does_not_rise_from_a_late_watch_event() {
        let store = store();
        store.put(object("a", "1", 5, "x"));
        assert!(store.bury(&name("a"), "1").is_some());
        assert!(matches!(store.put(object("a", "1", 7, "x")), Put::Stale));
        assert!(store.get(&name("a")).is_none());
        assert!(matches!(store.put(object("a", "2", 8, "x")), Put::Stored { former: None, .. }));
        assert!(store.remove(&name("a"), "1").is_none(), "the end of the former object leaves the new one alone");
        assert!(store.get(&name("a")).is_some());
    }

    #[test]
    fn an_object_that_the_watch_took_out_does_not_rise_from_a_late_answer() {
        let store = store();
        store.put(object("a", "1", 5, "x"));
        assert!(matches!(store.replace(object("a", "1", 6, "x")), Put::Stored { former: Some(_), .. }));
        store.remove(&name("a"), "1");
        assert!(matches!(store.replace(object("a", "1", 7, "x")), Put::Stale));
        assert!(matches!(store.amend(object("a", "1", 7, "x")), Put::Stale));
        assert!(store.get(&name("a")).is_none());
    }

    #[test]
    fn what_vanished_during_a_relist_goes_and_what_came_since_stays() {
        let store = store();
        store.put(object("old", "1", 1, "x"));
        store.put(object("kept", "2", 2, "x"));
        let before = store.names();
        store.put(object("ours", "3", 9, "x"));
        let gone = store.retain_listed(None, &before, &[name("kept")].into());
        assert_eq!(gone.len(), 1);
        assert_eq!(store.indexed("x").len(), 2);
    }
}
