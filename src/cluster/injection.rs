//! The objects into which a CA's certificate is injected: watched as metadata only, and read one by one when there is
//! something to do. Of those without our annotations nothing is kept.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use futures::StreamExt;
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject, ObjectMeta, Patch, PatchParams},
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event as WatchEvent},
    },
};
use serde_json::Value;
use tokio::task::JoinSet;

use super::{
    error::{ApiError, limited, written},
    hub::{Hub, PAGE},
    key::{Key, Kind, ObjectName},
    write::Cluster,
};
use crate::api::{CaSource, Certificate, InjectionTarget, names::field_manager};

/// Which objects want a CA's certificate, and whose.
#[derive(Default)]
pub struct InjectionTargets {
    held: Mutex<HashMap<Key, Held>>,
}

struct Held {
    source: CaSource,
    /// What was last told of it, so that it is not told again.
    told: Option<String>,
}

impl InjectionTargets {
    /// Who wants what lies in this Secret, which `certificates` are kept in.
    pub(super) fn of_secret(&self, secret: &ObjectName, certificates: &[Arc<Certificate>]) -> Vec<Key> {
        let names: Vec<ObjectName> = certificates.iter().map(|held| ObjectName::of(&**held)).collect();
        let is_meant = |source: &CaSource| match source {
            CaSource::Secret { namespace, name } => *namespace == secret.namespace && *name == secret.name,
            CaSource::Certificate { namespace, name } => {
                names.iter().any(|held| *namespace == held.namespace && *name == held.name)
            }
            CaSource::ApiServer | CaSource::Unreadable(_) => false,
        };
        self.with_source(is_meant)
    }

    /// Who wants the CA of the Secret of this Certificate.
    pub(super) fn of_certificate(&self, certificate: &ObjectName) -> Vec<Key> {
        let is_meant = |source: &CaSource| {
            matches!(source, CaSource::Certificate { namespace, name }
                if *namespace == certificate.namespace && *name == certificate.name)
        };
        self.with_source(is_meant)
    }

    fn with_source(&self, is_meant: impl Fn(&CaSource) -> bool) -> Vec<Key> {
        self.with(|held| held.iter().filter(|(_, held)| is_meant(&held.source)).map(|(key, _)| key.clone()).collect())
    }

    /// Notes what was told about an object; whether it is new.
    pub fn tell(&self, key: &Key, text: Option<&str>) -> bool {
        self.with(|held| {
            let Some(held) = held.get_mut(key) else { return false };
            let is_new = held.told.as_deref() != text;
            held.told = text.map(str::to_owned);
            is_new
        })
    }

    /// Takes in an object; whether it wants something.
    fn take_in(&self, key: &Key, metadata: &ObjectMeta) -> bool {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        let source = CaSource::of(metadata.annotations.as_ref().unwrap_or(&NONE));
        self.with(|held| {
            let Some(source) = source else {
                held.remove(key);
                return false;
            };
            let told = held.remove(key).and_then(|former| former.told);
            held.insert(key.clone(), Held { source, told });
            true
        })
    }

    fn remove(&self, key: &Key) {
        self.with(|held| held.remove(key));
    }

    fn retain(&self, kind: Kind, listed: &HashSet<Key>) {
        self.with(|held| held.retain(|key, _| key.kind != kind || listed.contains(key)));
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<Key, Held>) -> T) -> T {
        work(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Hub {
    /// Asks for a look at all of them.
    pub(super) fn wake_injection_targets(&self, is_meant: impl Fn(&Key) -> bool) {
        let keys: Vec<Key> = self.injection_targets.with(|held| held.keys().cloned().collect());
        keys.iter().filter(|key| is_meant(key)).for_each(|key| self.queue.wake_calmly(key));
    }

    /// Watches these kinds until the process ends, in tasks that are added to `tasks`. Nobody waits for their first lists.
    pub fn watch_injection_targets(
        self: &Arc<Self>,
        client: &Client,
        kinds: &[InjectionTarget],
        tasks: &mut JoinSet<()>,
    ) {
        for &target in kinds {
            tasks.spawn(watch(self.clone(), api(client, target), target));
        }
    }
}

async fn watch(hub: Arc<Hub>, api: Api<PartialObjectMeta<DynamicObject>>, target: InjectionTarget) {
    let kind = Kind::Target(target);
    let config = watcher::Config::default().page_size(PAGE);
    let mut stream = watcher::watcher(api, config).default_backoff().boxed();
    let mut listed = HashSet::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(WatchEvent::Init) => listed = HashSet::new(),
            Ok(WatchEvent::InitApply(object)) => {
                if let Some(key) = take_in(&hub, kind, &object.metadata) {
                    listed.insert(key);
                }
            }
            Ok(WatchEvent::InitDone) => hub.injection_targets.retain(kind, &std::mem::take(&mut listed)),
            Ok(WatchEvent::Apply(object)) => drop(take_in(&hub, kind, &object.metadata)),
            Ok(WatchEvent::Delete(object)) => hub.injection_targets.remove(&key_of(kind, &object.metadata)),
            Err(error) => tracing::warn!(kind = target.kind(), %error, "watch interrupted; it is taken up again"),
        }
    }
}

/// Wakes the object if it wants something.
fn take_in(hub: &Hub, kind: Kind, metadata: &ObjectMeta) -> Option<Key> {
    let key = key_of(kind, metadata);
    hub.injection_targets.take_in(&key, metadata).then(|| {
        hub.queue.wake_calmly(&key);
        key
    })
}

fn key_of(kind: Kind, metadata: &ObjectMeta) -> Key {
    Key::new(kind, "", metadata.name.clone().unwrap_or_default())
}

impl Cluster {
    /// The object, if it is there.
    pub async fn read_injection_target(
        &self,
        target: InjectionTarget,
        name: &str,
    ) -> Result<Option<DynamicObject>, ApiError> {
        limited(format!("read {} {name}", target.kind()), api::<DynamicObject>(&self.client, target).get_opt(name))
            .await
    }

    /// Applies a part of an object, by server-side apply. The part names the version of the object that it is for, so that
    /// none is created, and nothing is written over what somebody else has written since.
    pub async fn apply_injection(&self, target: InjectionTarget, name: &str, part: &Value) -> Result<(), ApiError> {
        let params = PatchParams::apply(field_manager::CA_INJECTOR).force();
        let what = format!("write the CA bundle of {} {name}", target.kind());
        let (api, patch) = (api::<DynamicObject>(&self.client, target), Patch::Apply(part));
        written((target.kind().into(), "patch"), what, api.patch(name, &params, &patch)).await.map(drop)
    }
}

fn api<K: Resource<DynamicType = ApiResource>>(client: &Client, target: InjectionTarget) -> Api<K> {
    Api::all_with(
        client.clone(),
        &ApiResource {
            group: target.group().to_owned(),
            version: target.version().to_owned(),
            api_version: format!("{}/{}", target.group(), target.version()),
            kind: target.kind().to_owned(),
            plural: target.plural().to_owned(),
        },
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{api::names::annotation, cluster::hub::Watched as _};

    fn target(name: &str, annotations: &Value) -> (Key, ObjectMeta) {
        let metadata = serde_json::from_value(json!({ "name": name, "annotations": annotations })).unwrap();
        (key_of(Kind::Target(InjectionTarget::ApiService), &metadata), metadata)
    }

    #[test]
    fn targets_are_found_by_the_secret_and_by_the_certificate_in_it() {
        let targets = InjectionTargets::default();
        let (by_secret, metadata) = target("a", &json!({ annotation::INJECT_CA_FROM_SECRET: "shop/ca" }));
        assert!(targets.take_in(&by_secret, &metadata));
        let (by_certificate, metadata) = target("b", &json!({ annotation::INJECT_CA_FROM: "shop/web" }));
        assert!(targets.take_in(&by_certificate, &metadata));
        let (plain, metadata) = target("c", &json!({ "other": "shop/ca" }));
        assert!(!targets.take_in(&plain, &metadata));

        let secret = ObjectName::new("shop", "ca");
        assert_eq!(targets.of_secret(&secret, &[]), std::slice::from_ref(&by_secret));
        let mut certificate = Certificate::default();
        certificate.metadata.namespace = Some("shop".to_owned());
        certificate.metadata.name = Some("web".to_owned());
        let mut found = targets.of_secret(&secret, &[Arc::new(certificate.clone())]);
        found.sort();
        assert_eq!(found, [by_secret, by_certificate]);
        certificate.metadata.namespace = Some("other".to_owned());
        assert_eq!(targets.of_secret(&ObjectName::new("other", "ca"), &[Arc::new(certificate)]), []);
    }

    /// Its Secret may be there already, from a Certificate that was deleted, so that nothing is written to it.
    #[test]
    fn a_certificate_that_comes_or_takes_another_secret_is_looked_at() {
        let hub = Hub::default();
        let (key, metadata) = target("a", &json!({ annotation::INJECT_CA_FROM: "shop/web" }));
        hub.injection_targets.take_in(&key, &metadata);
        let certificate = |name: &str, secret: &str| {
            serde_json::from_value::<Certificate>(json!({
                "metadata": { "name": name, "namespace": "shop", "uid": name, "resourceVersion": "1" },
                "spec": { "secretName": secret, "issuerRef": { "name": "ca" } },
            }))
            .unwrap()
        };
        let other = certificate("other", "b").dependents(&hub);
        assert!(!other.contains(&key), "{other:?}");
        let own = certificate("web", "b").dependents(&hub);
        assert!(own.contains(&key), "{own:?}");
    }

    #[test]
    fn who_loses_the_annotation_is_forgotten_and_the_same_is_told_once() {
        let targets = InjectionTargets::default();
        let (key, metadata) = target("a", &json!({ annotation::INJECT_CA_FROM_SECRET: "shop/ca" }));
        assert!(!targets.tell(&key, Some("unknown")));
        targets.take_in(&key, &metadata);
        assert!(targets.tell(&key, Some("missing")));
        targets.take_in(&key, &metadata);
        assert!(!targets.tell(&key, Some("missing")));
        assert!(targets.tell(&key, None));
        assert!(targets.tell(&key, Some("missing")));
        targets.take_in(&key, &target("a", &json!({})).1);
        assert_eq!(targets.of_secret(&ObjectName::new("shop", "ca"), &[]), []);
    }
}
