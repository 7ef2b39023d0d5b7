//! An API server: objects with versions, owners and finalizers, and a watch that may lag behind.

use std::collections::{BTreeMap, VecDeque};

use certwright::cluster::{ObjectName, Watched, merge_patch};
use jiff::Timestamp;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::apply;

/// Why a call did not do what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Conflict,
    Gone,
}

/// What the watch tells of.
pub struct Change {
    pub due: Timestamp,
    pub kind: String,
    pub object: Value,
    pub is_gone: bool,
}

/// The garbage collector needs so many seconds to find that an object's owner was gone before it came.
const ORPHANS_STAY: i64 = 2;

/// An object whose owner is gone.
pub struct Doomed {
    pub due: Timestamp,
    kind: String,
    name: ObjectName,
    uid: Value,
}

pub struct Server {
    objects: BTreeMap<(String, ObjectName), Value>,
    version: u64,
    last: String,
    pub now: Timestamp,
    /// How far the server's own clock, by which it dates objects, is before the controller's, in seconds.
    pub ahead: i64,
    /// How far the watch is behind, in seconds.
    pub lag: i64,
    /// How long what an object owned outlives it, in seconds.
    pub collection_lag: i64,
    /// What the garbage collector has yet to take away.
    pub doomed: VecDeque<Doomed>,
    pub changes: VecDeque<Change>,
}

impl Server {
    pub fn new(now: Timestamp) -> Self {
        Self {
            objects: BTreeMap::new(),
            version: 0,
            last: String::new(),
            now,
            ahead: 0,
            lag: 0,
            collection_lag: 0,
            doomed: VecDeque::new(),
            changes: VecDeque::new(),
        }
    }

    /// The object that was written last, and its version.
    pub fn newest(&self) -> String {
        format!("{} {}", self.last, self.version)
    }

    pub fn get<K: Watched>(&self, name: &ObjectName) -> Option<K> {
        let value = self.objects.get(&(kind_of::<K>(), name.clone()))?;
        Some(serde_json::from_value(value.clone()).expect("what was stored can be read"))
    }

    pub fn list<K: Watched>(&self) -> Vec<K> {
        let all = self.objects.iter().filter(|((kind, _), _)| *kind == kind_of::<K>());
        all.map(|(_, value)| serde_json::from_value(value.clone()).expect("what was stored can be read")).collect()
    }

    /// Everything, as a new watch lists it.
    pub fn everything(&self) -> Vec<(String, Value)> {
        self.objects.iter().map(|((kind, _), value)| (kind.clone(), value.clone())).collect()
    }

    pub fn create<K: Watched + Serialize>(&mut self, object: &K) -> Result<K, Refusal> {
        let name = ObjectName::of(object);
        if self.objects.contains_key(&(kind_of::<K>(), name.clone())) {
            return Err(Refusal::Conflict);
        }
        let mut value = json!(object);
        value["metadata"]["uid"] = json!(format!("uid-{}", self.version + 1));
        value["metadata"]["generation"] = json!(1);
        value["metadata"]["creationTimestamp"] = json!(self.second());
        let owners = value["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
        let is_there = |owner: &Value| self.objects.values().any(|held| held["metadata"]["uid"] == owner["uid"]);
        let is_orphan = owners.iter().any(|owner| !is_there(owner));
        self.store(&kind_of::<K>(), &name, value);
        if is_orphan {
            self.doom(kind_of::<K>(), name.clone(), ORPHANS_STAY);
        }
        Ok(self.get(&name).expect("just created"))
    }

    /// The garbage collector has noticed that the owner is gone.
    fn doom(&mut self, kind: String, name: ObjectName, least: i64) {
        let uid = self.objects[&(kind.clone(), name.clone())]["metadata"]["uid"].clone();
        let due = self.now + jiff::SignedDuration::from_secs(self.collection_lag.max(least));
        let due = self.doomed.back().map_or(due, |last| last.due.max(due));
        self.doomed.push_back(Doomed { due, kind, name, uid });
    }

    /// Applies a merge patch to the status, if `seen` is the newest version.
    pub fn patch_status<K: Watched>(&mut self, seen: &K, difference: &Value) -> Result<K, Refusal> {
        let name = ObjectName::of(seen);
        let value = self.objects.get(&(kind_of::<K>(), name.clone())).cloned().ok_or(Refusal::Gone)?;
        if value["metadata"]["resourceVersion"].as_str() != seen.resource_version().as_deref() {
            return Err(Refusal::Conflict);
        }
        let mut patched = value.clone();
        merge(&mut patched, json!({ "status": difference }));
        if patched != value {
            self.store(&kind_of::<K>(), &name, patched);
        }
        Ok(self.get(&name).expect("just written"))
    }

    /// Replaces the finalizers, if they are still those of `seen`; an object that is being deleted goes with its last.
    pub fn set_finalizers<K: Watched>(&mut self, seen: &K, finalizers: &[String]) -> Result<Option<K>, Refusal> {
        let name = ObjectName::of(seen);
        let mut value = self.objects.get(&(kind_of::<K>(), name.clone())).cloned().ok_or(Refusal::Gone)?;
        let held = value["metadata"]["finalizers"].clone();
        let held: Vec<String> = serde_json::from_value(held).unwrap_or_default();
        if value["metadata"]["uid"].as_str() != seen.uid().as_deref() || held != seen.finalizers() {
            return Err(Refusal::Conflict);
        }
        value["metadata"]["finalizers"] = json!(finalizers);
        let is_dying = value["metadata"]["deletionTimestamp"].is_string();
        self.store(&kind_of::<K>(), &name, value);
        if is_dying && finalizers.is_empty() {
            self.remove(&kind_of::<K>(), &name);
            return Ok(None);
        }
        Ok(self.get(&name))
    }

    /// Server-side apply by our manager: what it has applied before and does not name any more goes, what others have
    /// put there stays.
    pub fn apply<K: Watched + Serialize>(&mut self, object: &K) -> K {
        let (kind, name, wanted) = (kind_of::<K>(), ObjectName::of(object), json!(object));
        let held = self.objects.get(&(kind.clone(), name.clone())).cloned();
        let mut value = held.clone().unwrap_or_else(|| self.blank(&wanted));
        assert_eq!(value["type"], wanted["type"], "the type of {name} cannot be changed");
        apply::take_back(&mut value, &wanted);
        apply::put(&mut value, &wanted);
        if held.as_ref() != Some(&value) {
            self.store(&kind, &name, value);
        }
        self.get(&name).expect("just written")
    }

    /// An object that is about to be created, with nothing in it.
    fn blank(&self, wanted: &Value) -> Value {
        json!({
            "apiVersion": wanted["apiVersion"], "kind": wanted["kind"], "type": wanted["type"],
            "metadata": {
                "name": wanted["metadata"]["name"], "namespace": wanted["metadata"]["namespace"],
                "uid": format!("uid-{}", self.version + 1), "generation": 1, "creationTimestamp": self.second(),
            },
        })
    }

    /// Deletes the object that was seen. What is left is an object with finalizers.
    pub fn delete<K: Watched>(&mut self, seen: &K) -> Result<Option<K>, Refusal> {
        let name = ObjectName::of(seen);
        match self.get::<K>(&name) {
            None => return Err(Refusal::Gone),
            Some(held) if held.uid() != seen.uid() => return Err(Refusal::Conflict),
            Some(_) => self.delete_named(&kind_of::<K>(), &name),
        }
        Ok(self.get(&name))
    }

    /// What a user does to an object; a changed spec counts as a new generation.
    pub fn edit<K: Watched + Serialize>(&mut self, name: &ObjectName, change: impl FnOnce(&mut K)) {
        let mut object: K = self.get(name).expect("there is one to edit");
        let before = json!(object);
        change(&mut object);
        let mut value = json!(object);
        if before["spec"] != value["spec"] {
            let generation = before["metadata"]["generation"].as_i64().unwrap_or_default();
            value["metadata"]["generation"] = json!(generation + 1);
        }
        apply::lose(&before, &mut value);
        self.store(&kind_of::<K>(), name, value);
    }

    /// Somebody writes something of no importance into every object.
    pub fn touch_everything(&mut self) {
        for ((kind, name), mut value) in self.objects.clone() {
            value["metadata"]["annotations"]["example.com/touched"] = json!(self.version.to_string());
            self.store(&kind, &name, value);
        }
    }

    fn delete_named(&mut self, kind: &str, name: &ObjectName) {
        let Some(mut value) = self.objects.get(&(kind.to_owned(), name.clone())).cloned() else { return };
        let has_finalizers = value["metadata"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
        if !has_finalizers {
            return self.remove(kind, name);
        }
        if !value["metadata"]["deletionTimestamp"].is_string() {
            value["metadata"]["deletionTimestamp"] = json!(self.second());
            self.store(kind, name, value);
        }
    }

    /// Takes the object away, and then what it owned.
    fn remove(&mut self, kind: &str, name: &ObjectName) {
        let Some(mut gone) = self.objects.remove(&(kind.to_owned(), name.clone())) else { return };
        self.version += 1;
        gone["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let uid = gone["metadata"]["uid"].clone();
        self.tell(kind, gone, true);
        let is_owned = |value: &Value| {
            let owners = value["metadata"]["ownerReferences"].as_array();
            owners.is_some_and(|owners| owners.iter().any(|owner| owner["uid"] == uid))
        };
        let owned: Vec<_> =
            self.objects.iter().filter(|(_, value)| is_owned(value)).map(|(key, _)| key.clone()).collect();
        for (kind, name) in owned {
            self.doom(kind, name, 0);
        }
        self.collect();
    }

    /// The garbage collector takes away what is due.
    pub fn collect(&mut self) {
        while self.doomed.front().is_some_and(|doomed| doomed.due <= self.now) {
            let Some(Doomed { kind, name, uid, .. }) = self.doomed.pop_front() else { return };
            let held = self.objects.get(&(kind.clone(), name.clone()));
            if held.is_some_and(|held| held["metadata"]["uid"] == uid) {
                self.delete_named(&kind, &name);
            }
        }
    }

    fn store(&mut self, kind: &str, name: &ObjectName, mut value: Value) {
        self.version += 1;
        self.last = format!("{kind} {}", name.name);
        value["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert((kind.to_owned(), name.clone()), value.clone());
        self.tell(kind, value, false);
    }

    fn tell(&mut self, kind: &str, object: Value, is_gone: bool) {
        let due = self.now + jiff::SignedDuration::from_secs(self.lag);
        let due = self.changes.back().map_or(due, |last| last.due.max(due));
        self.changes.push_back(Change { due, kind: kind.to_owned(), object, is_gone });
    }

    /// Times in Kubernetes are whole seconds.
    fn second(&self) -> String {
        Timestamp::from_second(self.now.as_second() + self.ahead).expect("a time").to_string()
    }
}

/// The difference between two statuses as it is sent.
pub fn difference<S: Serialize>(former: &S, status: &S) -> Option<Value> {
    merge_patch(&json!(former), &json!(status))
}

pub fn kind_of<K: Resource<DynamicType = ()>>() -> String {
    K::kind(&()).into_owned()
}

/// RFC 7396.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().expect("an object").remove(&key);
        } else {
            merge(&mut target[key], value);
        }
    }
}
