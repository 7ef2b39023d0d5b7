//! The objects that Certificates are made from. Of those that ask for none nothing is kept, but for ListenerSets, for which their
//! Gateway may ask; of the others what is read.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use futures::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    api::ObjectMeta,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event as WatchEvent},
    },
};
use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{Duration, Instant, sleep_until},
};

use super::{
    error::ApiError,
    event::{Event, Recorder},
    hub::{Hub, PAGE},
    key::{Key, Kind, ObjectName},
    namespaces::Namespaces,
    unreadable::note_for_owner,
    watch_rights::WatchRights,
    write::Cluster,
};
use crate::{
    api::{
        Certificate, Source, SourceKind,
        names::{field_manager, label},
        source::Marks,
    },
    measure,
};

/// Whoever may list but not watch gets lists so far apart.
const BETWEEN_LISTS: Duration = Duration::from_secs(30);

/// Which objects ask for certificates, and for which.
#[derive(Default)]
pub struct Sources {
    held: Mutex<Contents>,
}

#[derive(Default)]
struct Contents {
    sources: HashMap<Key, Held>,
    /// Who refers to what.
    index: HashMap<Entry, Vec<Key>>,
    /// The kinds, each in one namespace or in all, of which nothing is heard at present.
    unheard: HashSet<(Kind, Option<String>)>,
}

#[derive(PartialEq, Eq, Hash)]
enum Entry {
    /// Its name is also that of its Certificate.
    Secret(ObjectName),
    Gateway(ObjectName),
}

struct Held {
    source: Arc<Source>,
    /// What was last told of it, so that it is not told again.
    told: Vec<String>,
}

impl Sources {
    pub fn get(&self, key: &Key) -> Option<Arc<Source>> {
        self.with(|held| held.sources.get(key).map(|held| held.source.clone()))
    }

    /// Whether what becomes of the object would be heard. Otherwise it may be gone, and what is made for an owner that is gone is
    /// deleted at once, again and again.
    pub fn is_heard_of(&self, key: &Key) -> bool {
        let namespace = Some(key.object.namespace.clone());
        self.with(|held| [None, namespace].into_iter().all(|place| !held.unheard.contains(&(key.kind, place))))
    }

    /// Notes what is told about an object; gives what is new of it.
    pub fn tell(&self, key: &Key, texts: Vec<String>) -> Vec<String> {
        self.with(|held| {
            let Some(held) = held.sources.get_mut(key) else { return Vec::new() };
            let former = std::mem::replace(&mut held.told, texts);
            held.told.iter().filter(|text| !former.contains(text)).cloned().collect()
        })
    }

    /// Who refers to the Secret of this name.
    pub(super) fn of_secret(&self, secret: &ObjectName) -> Vec<Key> {
        self.indexed(&Entry::Secret(secret.clone()))
    }

    /// Which ListenerSets add to the Gateway of this name.
    fn of_gateway(&self, gateway: &ObjectName) -> Vec<Key> {
        self.indexed(&Entry::Gateway(gateway.clone()))
    }

    fn indexed(&self, entry: &Entry) -> Vec<Key> {
        self.with(|held| held.index.get(entry).cloned().unwrap_or_default())
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.with(|held| held.sources.keys().cloned().collect())
    }

    fn put(&self, key: &Key, source: Source) {
        self.with(|held| {
            let told = held.remove(key).map(|former| former.told).unwrap_or_default();
            for entry in entries(&source) {
                held.index.entry(entry).or_default().push(key.clone());
            }
            held.sources.insert(key.clone(), Held { source: Arc::new(source), told });
        });
    }

    fn remove(&self, key: &Key) {
        self.with(|held| held.remove(key));
    }

    /// Lets go of what a list of this kind, in one namespace or in all, did not have.
    fn retain(&self, kind: Kind, namespace: Option<&str>, listed: &HashSet<Key>) {
        let is_meant =
            |key: &&Key| key.kind == kind && namespace.is_none_or(|namespace| key.object.namespace == namespace);
        self.with(|held| {
            let gone: Vec<Key> =
                held.sources.keys().filter(is_meant).filter(|key| !listed.contains(*key)).cloned().collect();
            for key in &gone {
                held.remove(key);
            }
        });
    }

    fn is_not_heard(&self, kind: Kind, namespace: Option<&str>) {
        self.with(|held| held.unheard.insert((kind, namespace.map(str::to_owned))));
    }

    /// True if it was not until now.
    fn is_heard_again(&self, kind: Kind, namespace: Option<&str>) -> bool {
        self.with(|held| held.unheard.remove(&(kind, namespace.map(str::to_owned))))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Contents) -> T) -> T {
        work(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Contents {
    fn remove(&mut self, key: &Key) -> Option<Held> {
        let held = self.sources.remove(key)?;
        for entry in entries(&held.source) {
            if let Some(keys) = self.index.get_mut(&entry) {
                keys.retain(|known| known != key);
                if keys.is_empty() {
                    self.index.remove(&entry);
                }
            }
        }
        Some(held)
    }
}

fn entries(source: &Source) -> HashSet<Entry> {
    let namespace = source.namespace().unwrap_or_default();
    let secrets = source.secret_names().map(|name| Entry::Secret(ObjectName::new(&namespace, name)));
    let gateway = source.parent_gateway().map(|(namespace, name)| Entry::Gateway(ObjectName::new(namespace, name)));
    secrets.chain(gateway).collect()
}

impl Hub {
    /// Asks for a look at all of them.
    pub(super) fn wake_sources(&self, is_meant: impl Fn(&Key) -> bool) {
        self.sources.keys().iter().filter(|key| is_meant(key)).for_each(|key| self.queue.wake_calmly(key));
    }

    /// Watches these kinds until the process ends, in tasks that are added to `tasks`. Nobody waits for their first lists.
    pub fn watch_sources(
        self: &Arc<Self>,
        client: &Client,
        recorder: &Recorder,
        (kinds, marks): (&[SourceKind], &Marks),
        tasks: &mut JoinSet<()>,
    ) {
        for &kind in kinds {
            for (namespace, api) in apis(&self.namespaces, client, kind) {
                let (hub, recorder, marks) = (self.clone(), recorder.clone(), marks.clone());
                tasks.spawn(Watch { hub, kind, namespace, recorder, marks }.run(api));
            }
        }
    }
}

type GuardedApi = Api<DeserializeGuard<Source>>;

fn apis(namespaces: &Namespaces, client: &Client, kind: SourceKind) -> Vec<(Option<String>, GuardedApi)> {
    match namespaces {
        Namespaces::All => vec![(None, Api::all_with(client.clone(), &kind))],
        Namespaces::Only(names) => {
            names.iter().map(|name| (Some(name.clone()), Api::namespaced_with(client.clone(), name, &kind))).collect()
        }
    }
}

/// The watch of one kind, in one namespace or in all.
struct Watch {
    hub: Arc<Hub>,
    kind: SourceKind,
    namespace: Option<String>,
    recorder: Recorder,
    marks: Marks,
}

impl Watch {
    async fn run(self, api: GuardedApi) {
        // Those of our own solvers ask for nothing.
        let config = watcher::Config::default().page_size(PAGE).labels(&format!("{}!=true", label::HTTP01_SOLVER));
        let begin = || watcher::watcher(api.clone(), config.clone()).default_backoff().boxed();
        let (mut stream, mut begin_anew) = (begin(), Instant::now());
        let (mut listed, mut unreadable) = (HashSet::new(), HashSet::new());
        let (mut rights, mut is_absent) = (WatchRights::default(), false);
        let (kind, name) = (Kind::Source(self.kind), self.name());
        measure::watch_begun(&name);
        while let Some(event) = stream.next().await {
            if !matches!(event, Err(_) | Ok(WatchEvent::Init)) {
                rights.goes_on(&self.hub, &name);
            }
            match event {
                Ok(WatchEvent::Init) => (listed, unreadable) = (HashSet::new(), HashSet::new()),
                Ok(WatchEvent::InitApply(object)) => {
                    unreadable.extend(object.0.as_ref().err().map(|_| ObjectName::of(&object)));
                    listed.extend(self.take_in(object));
                }
                Ok(WatchEvent::InitDone) => {
                    self.know_all(&std::mem::take(&mut listed));
                    self.hub.unreadable.retain(&name, self.namespace.as_deref(), &std::mem::take(&mut unreadable));
                }
                Ok(WatchEvent::Apply(object)) => drop(self.take_in(object)),
                Ok(WatchEvent::Delete(object)) => {
                    let metadata = object.0.map_or_else(|invalid| invalid.metadata, |source| source.metadata);
                    let key = key_of(self.kind, &metadata);
                    self.hub.unreadable.forget(&name, &key.object);
                    self.let_go(&key);
                }
                Err(error) if is_of_absent_kind(&error) => {
                    // They went with their definition, whether the watch told of each or not: what is made for an owner that is
                    // gone is deleted at once, again and again.
                    self.hub.sources.retain(kind, self.namespace.as_deref(), &HashSet::new());
                    if !std::mem::replace(&mut is_absent, true) {
                        tracing::warn!(
                            kind = name,
                            "the API server does not have this kind; it is looked for now and then"
                        );
                    }
                }
                Err(error) if rights.interrupted(&self.hub, &name, &error) => {
                    self.hub.sources.is_not_heard(kind, self.namespace.as_deref());
                    if !matches!(error, watcher::Error::InitialListFailed(_)) {
                        // The same watch would tell only of what changes after it is allowed again.
                        sleep_until(begin_anew).await;
                        (stream, begin_anew) = (begin(), Instant::now() + BETWEEN_LISTS);
                    }
                }
                Err(_) => {}
            }
        }
    }

    /// A list is complete.
    fn know_all(&self, listed: &HashSet<Key>) {
        let (sources, kind, namespace) = (&self.hub.sources, Kind::Source(self.kind), self.namespace.as_deref());
        sources.retain(kind, namespace, listed);
        if sources.is_heard_again(kind, namespace) {
            // A look before this one has found out nothing.
            for key in listed {
                self.hub.queue.wake_calmly(key);
            }
        }
    }

    /// What the watch is called, beside that of the solvers' Ingresses.
    fn name(&self) -> String {
        format!("{} (for Certificates)", self.kind.kind())
    }

    /// Wakes the object if it asks for certificates, and lets go of it otherwise. For a ListenerSet its Gateway may ask.
    fn take_in(&self, object: DeserializeGuard<Source>) -> Option<Key> {
        let source = match object.0 {
            Ok(source) => source,
            Err(invalid) => return self.go_by_former(&invalid.metadata, &invalid.error),
        };
        let key = key_of(self.kind, &source.metadata);
        self.hub.unreadable.forget(&self.name(), &key.object);
        if self.kind != SourceKind::ListenerSet && !self.marks.are_on(self.kind, source.annotations()) {
            self.let_go(&key);
            return None;
        }
        self.hub.sources.put(&key, kept(source, &self.marks));
        self.hub.queue.wake_calmly(&key);
        self.wake_listener_sets(&key);
        Some(key)
    }

    fn let_go(&self, key: &Key) {
        self.hub.sources.remove(key);
        self.wake_listener_sets(key);
    }

    /// Those of this Gateway.
    fn wake_listener_sets(&self, key: &Key) {
        if self.kind == SourceKind::Gateway {
            self.hub.sources.of_gateway(&key.object).iter().for_each(|set| self.hub.queue.wake_calmly(set));
        }
    }

    /// What was read of an object before stays if it cannot be read any more. That is told only if it asks for certificates: nobody else
    /// needs to know.
    fn go_by_former(&self, metadata: &ObjectMeta, error: &str) -> Option<Key> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        let key = key_of(self.kind, metadata);
        let is_meant = self.marks.are_on(self.kind, metadata.annotations.as_ref().unwrap_or(&NONE));
        let held = self.hub.sources.get(&key).filter(|held| held.metadata.uid == metadata.uid);
        let is_known = held.is_some() && (is_meant || self.kind == SourceKind::ListenerSet);
        if !is_known {
            self.let_go(&key);
        }
        if is_meant {
            let note = note_for_owner(error, is_known);
            tracing::warn!(kind = self.kind.kind(), object = %key.object, "{note}");
            self.hub.unreadable.note(&self.name(), key.object.clone());
            self.recorder.publish(Event::warning("UnreadableObject", note).about_source(self.kind, metadata));
        }
        is_known.then_some(key)
    }
}

/// Whether the definition of the kind is missing.
fn is_of_absent_kind(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 404,
        _ => false,
    }
}

fn key_of(kind: SourceKind, metadata: &ObjectMeta) -> Key {
    let (namespace, name) = (metadata.namespace.clone(), metadata.name.clone());
    Key::new(Kind::Source(kind), namespace.unwrap_or_default(), name.unwrap_or_default())
}

/// The object without what nothing here reads.
fn kept(source: Source, marks: &Marks) -> Source {
    let Source { metadata, mut spec } = source;
    let mut annotations = metadata.annotations.unwrap_or_default();
    annotations.retain(|key, _| marks.is_read(key));
    spec.tls.shrink_to_fit();
    spec.listeners.shrink_to_fit();
    let metadata = ObjectMeta {
        namespace: metadata.namespace,
        name: metadata.name,
        uid: metadata.uid,
        labels: metadata.labels,
        annotations: Some(annotations),
        deletion_timestamp: metadata.deletion_timestamp,
        ..ObjectMeta::default()
    };
    Source { metadata, spec }
}

impl Cluster {
    /// Creates a Certificate that was made from an object of this kind.
    pub async fn create_from_source(&self, kind: SourceKind, certificate: &Certificate) -> Result<(), ApiError> {
        self.create_as(certificate, manager(kind)).await.map(drop)
    }

    /// Changes a part of one, a merge patch (RFC 7396), of exactly the version that was seen.
    pub async fn write_from_source(&self, kind: SourceKind, seen: &Certificate, part: Value) -> Result<(), ApiError> {
        self.write_part_as(seen, part, manager(kind)).await
    }
}

/// That of cert-manager's controller for the kind.
fn manager(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Ingress => field_manager::INGRESS_SHIM,
        SourceKind::Gateway => field_manager::GATEWAY_SHIM,
        SourceKind::ListenerSet => field_manager::LISTENER_SET_SHIM,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::{Router, extract::Request, http::StatusCode};
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;
    use crate::api::names::annotation;

    fn source(name: &str, secrets: &[&str]) -> (Key, Source) {
        let tls: Vec<_> = secrets.iter().map(|secret| json!({ "secretName": secret, "hosts": ["a"] })).collect();
        let source: Source = serde_json::from_value(json!({
            "metadata": {
                "namespace": "shop", "name": name,
                "annotations": { annotation::CLUSTER_ISSUER: "le", "other": "x" },
                "managedFields": [{ "manager": "kubectl" }],
            },
            "spec": { "tls": tls },
        }))
        .unwrap();
        (key_of(SourceKind::Ingress, &source.metadata), source)
    }

    #[tokio::test]
    async fn what_was_read_stays_while_the_object_is_unreadable() {
        let client = Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
        let (recorder, _sender) = Recorder::start(client);
        let (hub, marks) = (Arc::new(Hub::new()), Marks::default());
        let watch = Watch { hub: hub.clone(), kind: SourceKind::Ingress, namespace: None, recorder, marks };
        let object = |spec: Value, uid: &str, annotation: &str| {
            let metadata = json!({ "namespace": "shop", "name": "a", "uid": uid, "annotations": { annotation: "le" } });
            serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap()
        };
        let (key, _) = source("a", &[]);
        let odd = || json!({ "tls": "odd" });
        assert_eq!(watch.take_in(object(odd(), "1", annotation::CLUSTER_ISSUER)), None, "nothing was read of it");
        assert_eq!(hub.unreadable.named(), ["Ingress (for Certificates) shop/a"]);
        assert_eq!(watch.take_in(object(json!({}), "1", annotation::CLUSTER_ISSUER)), Some(key.clone()));
        assert_eq!(hub.unreadable.named(), [""; 0]);
        assert_eq!(watch.take_in(object(odd(), "1", annotation::CLUSTER_ISSUER)), Some(key.clone()));
        assert_eq!(watch.take_in(object(odd(), "2", annotation::CLUSTER_ISSUER)), None, "it is another one");
        watch.take_in(object(json!({}), "2", annotation::CLUSTER_ISSUER));
        assert_eq!(watch.take_in(object(odd(), "2", "other")), None, "it asks for nothing any more");
        assert!(hub.sources.get(&key).is_none());
    }

    /// An API server that tells of one Gateway, and then that there is no such kind.
    async fn absent_after_a_list(request: Request) -> (StatusCode, String) {
        if request.uri().query().unwrap_or_default().contains("watch=") {
            let status = json!({ "kind": "Status", "status": "Failure", "message": "404 page not found", "code": 404 });
            return (StatusCode::NOT_FOUND, status.to_string());
        }
        one_gateway()
    }

    fn one_gateway() -> (StatusCode, String) {
        let gateway = json!({ "metadata": {
            "namespace": "shop", "name": "edge", "uid": "1", "resourceVersion": "4",
            "annotations": { annotation::CLUSTER_ISSUER: "le" },
        } });
        let metadata = json!({ "resourceVersion": "5" });
        let list = json!({ "kind": "GatewayList", "metadata": metadata, "items": [gateway] });
        (StatusCode::OK, list.to_string())
    }

    /// Watches the Gateways of this API server.
    async fn watched(server: Router) -> (Arc<Hub>, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let client = Client::try_from(kube::Config::new(address)).unwrap();
        let (hub, (recorder, _sender)) = (Arc::new(Hub::new()), Recorder::start(client.clone()));
        let mut tasks = JoinSet::new();
        tasks.spawn(async { axum::serve(listener, server).await.unwrap() });
        hub.watch_sources(&client, &recorder, (&[SourceKind::Gateway], &Marks::default()), &mut tasks);
        (hub, tasks)
    }

    async fn until(is_so: impl Fn() -> bool) {
        let waiting = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap();
    }

    #[tokio::test]
    async fn what_was_of_a_kind_that_is_gone_is_gone_too() {
        let (hub, _tasks) = watched(Router::new().fallback(absent_after_a_list)).await;
        let key = tokio::time::timeout(Duration::from_secs(30), hub.queue.next()).await.unwrap();
        assert_eq!(key.object, ObjectName::new("shop", "edge"));
        until(|| hub.sources.get(&key).is_none()).await;
    }

    /// Lists are allowed at first and in the end, watches only in the end.
    #[tokio::test]
    async fn without_the_right_to_watch_nothing_is_taken_for_there_until_it_is_listed_again() {
        let phase = Arc::new(AtomicUsize::new(0));
        let asked = phase.clone();
        let answer = async move |request: Request| {
            let is_watch = request.uri().query().unwrap_or_default().contains("watch=");
            match (asked.load(Ordering::SeqCst), is_watch) {
                (0 | 2, false) => one_gateway(),
                (2, true) => std::future::pending().await,
                (_, is_watch) => {
                    asked.store(1, Ordering::SeqCst);
                    let verb = if is_watch { "watch" } else { "list" };
                    let message = format!(
                        "gateways is forbidden: User \"u\" cannot {verb} resource \"gateways\" in API group \"g\" at the cluster scope"
                    );
                    let status = json!({ "kind": "Status", "status": "Failure", "message": message, "code": 403 });
                    (StatusCode::FORBIDDEN, status.to_string())
                }
            }
        };
        let (hub, _tasks) = watched(Router::new().fallback(answer)).await;
        let next = || tokio::time::timeout(Duration::from_secs(30), hub.queue.next());
        let key = next().await.unwrap();
        let missing = || hub.rights.missing(jiff::Timestamp::now());
        until(|| !hub.sources.is_heard_of(&key) && missing() == ["list gateways.g in the whole cluster"]).await;
        hub.queue.done(&key, None, jiff::Timestamp::now());
        phase.store(2, Ordering::SeqCst);
        assert_eq!(next().await.unwrap(), key);
        until(|| hub.sources.is_heard_of(&key) && missing().is_empty()).await;
    }

    #[test]
    fn they_are_found_by_the_secrets_that_they_refer_to_now() {
        let (sources, secret) = (Sources::default(), |name: &str| ObjectName::new("shop", name));
        let (one, object) = source("one", &["a", "b", "b"]);
        sources.put(&one, object);
        let (two, object) = source("two", &["b"]);
        sources.put(&two, object);
        assert_eq!(sources.of_secret(&secret("b")), [one.clone(), two.clone()]);
        sources.put(&one, source("one", &["c"]).1);
        assert_eq!(sources.of_secret(&secret("a")), []);
        assert_eq!(sources.of_secret(&secret("b")), std::slice::from_ref(&two));
        assert_eq!(sources.of_secret(&secret("c")), std::slice::from_ref(&one));
        sources.retain(one.kind, Some("other"), &HashSet::new());
        sources.retain(one.kind, Some("shop"), &[two.clone()].into());
        assert_eq!((sources.of_secret(&secret("c")), sources.keys()), (vec![], vec![two]));
    }

    #[test]
    fn listener_sets_are_found_by_their_gateway() {
        let sources = Sources::default();
        let set: Source = serde_json::from_value(json!({
            "metadata": { "namespace": "shop", "name": "set" },
            "spec": { "parentRef": { "name": "gate", "namespace": "infra" } },
        }))
        .unwrap();
        let key = key_of(SourceKind::ListenerSet, &set.metadata);
        sources.put(&key, set);
        assert_eq!(sources.of_gateway(&ObjectName::new("infra", "gate")), std::slice::from_ref(&key));
        assert_eq!(sources.of_gateway(&ObjectName::new("shop", "gate")), []);
        sources.remove(&key);
        assert_eq!(sources.of_gateway(&ObjectName::new("infra", "gate")), []);
    }

    #[test]
    fn the_same_is_told_once() {
        let (sources, text) = (Sources::default(), |text: &str| vec![text.to_owned()]);
        let (key, object) = source("one", &[]);
        assert_eq!(sources.tell(&key, text("a")), Vec::<String>::new());
        sources.put(&key, object.clone());
        assert_eq!(sources.tell(&key, text("a")), ["a"]);
        sources.put(&key, object);
        assert_eq!(sources.tell(&key, vec!["a".to_owned(), "b".to_owned()]), ["b"]);
        assert_eq!(sources.tell(&key, Vec::new()), Vec::<String>::new());
        assert_eq!(sources.tell(&key, text("a")), ["a"]);
    }

    #[test]
    fn only_what_is_read_is_kept() {
        let kept = kept(source("one", &["a"]).1, &Marks::default());
        assert_eq!(kept.annotations().keys().collect::<Vec<_>>(), [annotation::CLUSTER_ISSUER]);
        assert_eq!((kept.metadata.managed_fields, kept.spec.tls.len()), (None, 1));
    }
}
