//! One watch and one store per kind, and the queue that every change feeds.

use std::{
    collections::HashSet,
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::StreamExt;
use k8s_openapi::api::{
    core::v1::{Pod, Secret, Service},
    networking::v1::Ingress,
};
use kube::{
    Api, Client, Resource,
    api::ObjectMeta,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event as WatchEvent},
    },
};
use serde::de::DeserializeOwned;
use tokio::{sync::watch, task::JoinSet};

use super::{
    event::{Event, Recorder},
    injection::InjectionTargets,
    keep,
    key::{Key, Kind, ObjectName},
    namespaces::Namespaces,
    queue::Queue,
    rights::Rights,
    sources::Sources,
    store::{Put, Store},
    unreadable::{Unreadable, note_for_owner},
    watch_rights::WatchRights,
};
use crate::{
    api::{Certificate, CertificateRequest, Challenge, ClusterIssuer, Issuer, Order, names},
    measure,
};

/// A kind that is watched and stored.
pub trait Watched: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {
    /// The store of this kind.
    fn store(hub: &Hub) -> &Store<Self>;

    /// Which objects may have something to do when this one appears, changes or goes.
    fn dependents(&self, hub: &Hub) -> Vec<Key>;

    /// Whether nothing waits for a look at it after a start: then those for which something does go first.
    fn is_at_rest(&self) -> bool;

    /// Lets go of what nothing here reads.
    fn let_go(&mut self) {}
}

/// How the objects of each kind are found besides by name; see [`Store::indexed`].
#[derive(Clone, Copy)]
pub struct Indexes {
    pub certificate: fn(&Certificate) -> Vec<String>,
    pub certificate_request: fn(&CertificateRequest) -> Vec<String>,
    pub challenge: fn(&Challenge) -> Vec<String>,
    pub cluster_issuer: fn(&ClusterIssuer) -> Vec<String>,
    pub issuer: fn(&Issuer) -> Vec<String>,
    pub order: fn(&Order) -> Vec<String>,
    pub secret: fn(&Secret) -> Vec<String>,
    pub solver_ingress: fn(&Ingress) -> Vec<String>,
    pub solver_pod: fn(&Pod) -> Vec<String>,
    pub solver_service: fn(&Service) -> Vec<String>,
}

/// So many objects are asked for at once when a store is filled; more would need much memory for a moment, and the
/// allocator gives little of it back.
pub(super) const PAGE: u32 = 100;

/// What the watch of other people's Secrets is called.
const FOREIGN_SECRETS: &str = "Secret (names)";

/// See the module's description.
pub struct Hub {
    pub certificates: Store<Certificate>,
    pub certificate_requests: Store<CertificateRequest>,
    pub challenges: Store<Challenge>,
    pub cluster_issuers: Store<ClusterIssuer>,
    pub issuers: Store<Issuer>,
    pub orders: Store<Order>,
    /// The Secrets that carry certwright's label, with their content. No other Secret is ever stored.
    pub secrets: Store<Secret>,
    pub solver_ingresses: Store<Ingress>,
    pub solver_pods: Store<Pod>,
    pub solver_services: Store<Service>,
    /// What wants a CA's certificate, and whose.
    pub injection_targets: InjectionTargets,
    /// What Certificates are made from.
    pub sources: Sources,
    pub queue: Queue,
    /// What is watched.
    pub namespaces: Namespaces,
    /// What the API server refuses.
    pub rights: Rights,
    /// What cannot be read.
    pub unreadable: Unreadable,
}

impl Hub {
    pub(super) fn with_indexes(indexes: Indexes) -> Self {
        Self {
            certificates: Store::new(indexes.certificate),
            certificate_requests: Store::new(indexes.certificate_request),
            challenges: Store::new(indexes.challenge),
            cluster_issuers: Store::new(indexes.cluster_issuer),
            issuers: Store::new(indexes.issuer),
            orders: Store::new(indexes.order),
            secrets: Store::new(indexes.secret),
            solver_ingresses: Store::new(indexes.solver_ingress),
            solver_pods: Store::new(indexes.solver_pod),
            solver_services: Store::new(indexes.solver_service),
            injection_targets: InjectionTargets::default(),
            sources: Sources::default(),
            queue: Queue::default(),
            namespaces: Namespaces::All,
            rights: Rights::default(),
            unreadable: Unreadable::default(),
        }
    }

    /// Takes in an object that was seen and wakes whoever depends on it.
    pub fn put<K: Watched>(&self, object: K) {
        self.put_and(Queue::wake, object);
    }

    /// The same for what the first list holds.
    fn put_first<K: Watched>(&self, object: K) {
        self.put_and(if object.is_at_rest() { Queue::wake_calmly } else { Queue::wake }, object);
    }

    fn put_and<K: Watched>(&self, wake: fn(&Queue, &Key), mut object: K) {
        keep::what_is_read(&mut object);
        self.wake_after(wake, K::store(self).put(object));
    }

    /// Takes in what became of an object that was held when the change was asked for.
    pub fn replace<K: Watched>(&self, mut object: K) {
        keep::what_is_read(&mut object);
        self.wake_after(Queue::wake, K::store(self).replace(object));
    }

    fn wake_after<K: Watched>(&self, wake: fn(&Queue, &Key), put: Put<K>) {
        if let Put::Stored { former, now } = put {
            self.wake_dependents(wake, former.as_deref(), Some(&*now));
        }
    }

    /// Asks for a look at every object that is meant, as after a start.
    pub fn wake_all(&self, is_meant: impl Fn(&Key) -> bool) {
        self.wake_each(&self.cluster_issuers, Kind::ClusterIssuer, &is_meant);
        self.wake_each(&self.issuers, Kind::Issuer, &is_meant);
        self.wake_each(&self.certificates, Kind::Certificate, &is_meant);
        self.wake_each(&self.certificate_requests, Kind::CertificateRequest, &is_meant);
        self.wake_each(&self.orders, Kind::Order, &is_meant);
        self.wake_each(&self.challenges, Kind::Challenge, &is_meant);
        self.wake_sources(&is_meant);
        self.wake_injection_targets(&is_meant);
    }

    /// Takes in an object that says more than the API server keeps, in place of what it said of the same version.
    pub fn amend<K: Watched>(&self, mut object: K) {
        keep::what_is_read(&mut object);
        self.wake_after(Queue::wake, K::store(self).amend(object));
    }

    fn wake_each<K: Watched>(&self, store: &Store<K>, kind: Kind, is_meant: &impl Fn(&Key) -> bool) {
        for object in store.all() {
            let key = Key { kind, object: ObjectName::of(&*object) };
            if is_meant(&key) {
                if object.is_at_rest() { self.queue.wake_calmly(&key) } else { self.queue.wake(&key) }
            }
        }
    }

    /// Takes out an object that the API server said is gone, before the watch tells of it.
    pub fn bury<K: Watched>(&self, name: &ObjectName, uid: &str) {
        if let Some(gone) = K::store(self).bury(name, uid) {
            self.wake_dependents(Queue::wake, Some(&*gone), None);
        }
    }

    /// Watches every kind until the process ends. `filled` counts the stores that are filled, up to [`Hub::STORES`]. That
    /// other people's Secrets are watched does not count: those that are needed are read.
    ///
    /// The tasks end only if something is badly wrong; the caller ends the process then.
    pub fn watch(self: &Arc<Self>, client: &Client, recorder: &Recorder, filled: &watch::Sender<usize>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let all = watcher::Config::default().page_size(PAGE);
        let ours = all.clone().labels(&format!("{}=true", names::label::FAO));
        let foreign = all.clone().labels(&format!("{}!=true", names::label::FAO));
        let solver = all.clone().labels(&format!("{}=true", names::label::HTTP01_SOLVER));
        let optional = true;
        macro_rules! watch {
            ($kind:ty, $config:expr, $apis:expr, $optional:expr) => {
                let apis: Vec<(Option<String>, Api<DeserializeGuard<$kind>>)> = $apis;
                let filling = Filling::new(apis.len(), filled);
                for (namespace, api) in apis {
                    let watch = Watch {
                        hub: self.clone(),
                        namespace,
                        recorder: recorder.clone(),
                        filling: filling.clone(),
                        is_optional: $optional,
                    };
                    tasks.spawn(watch.run::<$kind>(api, $config.clone()));
                }
            };
            ($kind:ty, $config:expr) => {
                watch!($kind, $config, self.namespaces.apis(client), false)
            };
        }
        watch!(Issuer, all);
        let everywhere = if self.namespaces.is_limited() { Vec::new() } else { vec![(None, Api::all(client.clone()))] };
        watch!(ClusterIssuer, all, everywhere, false);
        watch!(Certificate, all);
        watch!(CertificateRequest, all);
        watch!(Order, all);
        watch!(Challenge, all);
        watch!(Secret, ours);
        watch!(Pod, solver, self.namespaces.apis(client), optional);
        watch!(Service, solver, self.namespaces.apis(client), optional);
        watch!(Ingress, solver, self.namespaces.apis(client), optional);
        for (_, api) in self.namespaces.apis(client) {
            tasks.spawn(watch_foreign_secrets(self.clone(), api, foreign.clone()));
        }
        tasks
    }

    /// How many stores there are.
    pub const STORES: usize = 10;

    fn wake_dependents<K: Watched>(&self, wake: fn(&Queue, &Key), former: Option<&K>, now: Option<&K>) {
        let keys: HashSet<Key> = former.into_iter().chain(now).flat_map(|object| object.dependents(self)).collect();
        for key in keys {
            wake(&self.queue, &key);
        }
    }

    fn remove<K: Watched>(&self, name: &ObjectName, metadata: &ObjectMeta) {
        if let Some(gone) = K::store(self).remove(name, metadata.uid.as_deref().unwrap_or_default()) {
            self.wake_dependents(Queue::wake, Some(&*gone), None);
        }
    }

    fn retain_listed<K: Watched>(
        &self,
        namespace: Option<&str>,
        before: &HashSet<ObjectName>,
        listed: &HashSet<ObjectName>,
    ) {
        for gone in K::store(self).retain_listed(namespace, before, listed) {
            self.wake_dependents(Queue::wake, Some(&*gone), None);
        }
    }
}

/// Counts a store as filled once, when all watches that feed it have had their first list.
#[derive(Clone)]
struct Filling {
    open: Arc<AtomicUsize>,
    filled: watch::Sender<usize>,
}

impl Filling {
    fn new(watches: usize, filled: &watch::Sender<usize>) -> Self {
        if watches == 0 {
            filled.send_modify(|count| *count += 1);
        }
        Self { open: Arc::new(AtomicUsize::new(watches)), filled: filled.clone() }
    }

    fn one_is_done(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.filled.send_modify(|count| *count += 1);
        }
    }
}

/// The watch of one kind, in one namespace or in all.
struct Watch {
    hub: Arc<Hub>,
    namespace: Option<String>,
    recorder: Recorder,
    filling: Filling,
    /// Whether much can be done without: the start does not wait for the right to it.
    is_optional: bool,
}

impl Watch {
    async fn run<K: Watched>(self, api: Api<DeserializeGuard<K>>, config: watcher::Config) {
        let kind = K::kind(&()).into_owned();
        let hub = &self.hub;
        let mut stream = watcher::watcher(api, config).default_backoff().boxed();
        let mut listing: Option<(HashSet<ObjectName>, HashSet<ObjectName>)> = None;
        let mut first = true;
        let mut rights = WatchRights::default();
        measure::watch_begun(&kind);
        while let Some(event) = stream.next().await {
            if !matches!(event, Err(_) | Ok(WatchEvent::Init)) {
                rights.goes_on(hub, &kind);
            }
            match event {
                Ok(WatchEvent::Init) => listing = Some((self.names::<K>(), HashSet::new())),
                Ok(WatchEvent::InitApply(object)) => {
                    if let Some((_, listed)) = &mut listing {
                        listed.insert(ObjectName::of(&object));
                    }
                    take_in(hub, object, &self.recorder, first);
                }
                Ok(WatchEvent::InitDone) => {
                    if let Some((before, listed)) = listing.take() {
                        hub.retain_listed::<K>(self.namespace.as_deref(), &before, &listed);
                        hub.unreadable.retain(&kind, self.namespace.as_deref(), &listed);
                    }
                    if std::mem::take(&mut first) {
                        self.filling.one_is_done();
                    }
                }
                Ok(WatchEvent::Apply(object)) => take_in(hub, object, &self.recorder, false),
                // It may be one that could be read once.
                Ok(WatchEvent::Delete(object)) => {
                    let name = ObjectName::of(&object);
                    hub.unreadable.forget(&kind, &name);
                    hub.remove::<K>(&name, object.meta());
                }
                Err(error) => {
                    let is_refused = rights.interrupted(hub, &kind, &error);
                    if is_refused && self.is_optional && std::mem::take(&mut first) {
                        self.filling.one_is_done();
                    }
                }
            }
        }
    }

    /// The objects that this watch has told of.
    fn names<K: Watched>(&self) -> HashSet<ObjectName> {
        let mut names = K::store(&self.hub).names();
        if let Some(namespace) = &self.namespace {
            names.retain(|name| name.namespace == *namespace);
        }
        names
    }
}

/// An object that cannot be read is left out, with a word to its owner; the others go on.
fn take_in<K: Watched>(hub: &Hub, object: DeserializeGuard<K>, recorder: &Recorder, first: bool) {
    let (kind, name) = (K::kind(&()), ObjectName::of(&object));
    match object.0 {
        Ok(object) => {
            hub.unreadable.forget(&kind, &name);
            if first { hub.put_first(object) } else { hub.put(object) }
        }
        Err(invalid) => {
            let held = K::store(hub).get(&name).filter(|held| held.meta().uid == invalid.metadata.uid);
            let note = note_for_owner(&invalid.error, held.is_some());
            tracing::warn!(%kind, object = %name, "{note}");
            hub.unreadable.note(&kind, name);
            recorder.publish(Event::warning("UnreadableObject", note).about_metadata::<K>(&invalid.metadata));
        }
    }
}

/// Other people's Secrets are only heard of: that one changed wakes who refers to it; nothing of it is kept.
async fn watch_foreign_secrets(hub: Arc<Hub>, api: Api<PartialObjectMeta<Secret>>, config: watcher::Config) {
    let mut stream = watcher::watcher(api, config).default_backoff().boxed();
    let mut rights = WatchRights::default();
    measure::watch_begun(FOREIGN_SECRETS);
    while let Some(event) = stream.next().await {
        if !matches!(event, Err(_) | Ok(WatchEvent::Init)) {
            rights.goes_on(&hub, FOREIGN_SECRETS);
        }
        match event {
            // What is listed may have changed since somebody read it.
            Ok(WatchEvent::Apply(secret) | WatchEvent::InitApply(secret) | WatchEvent::Delete(secret)) => {
                hub.wake_for_secret(&ObjectName::of(&secret));
            }
            Ok(_) => {}
            Err(error) => drop(rights.interrupted(&hub, FOREIGN_SECRETS, &error)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::{Router, extract::Request};
    use serde_json::json;
    use tokio::{net::TcpListener, time};

    use super::*;

    /// An API server that tells of one Certificate, and then that it was deleted, and how it was at the end.
    async fn unreadable_at_the_end(request: Request) -> String {
        let is_watch = request.uri().query().unwrap_or_default().contains("watch=");
        let is_meant = request.uri().path().ends_with("/certificates");
        let spec = if is_watch { json!("odd") } else { json!({ "secretName": "web", "issuerRef": { "name": "ca" } }) };
        let metadata = json!({ "namespace": "shop", "name": "web", "uid": "1", "resourceVersion": "4" });
        let certificate = json!({ "metadata": metadata, "spec": spec });
        match (is_watch, is_meant) {
            (true, true) => json!({ "type": "DELETED", "object": certificate }).to_string() + "\n",
            (true, false) => std::future::pending().await,
            (false, _) => {
                let items = if is_meant { vec![certificate] } else { Vec::new() };
                json!({ "kind": "List", "metadata": { "resourceVersion": "5" }, "items": items }).to_string()
            }
        }
    }

    #[tokio::test]
    async fn what_could_not_be_read_any_more_is_gone_when_it_is_deleted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let server = tokio::spawn(axum::serve(listener, Router::new().fallback(unreadable_at_the_end)).into_future());
        let client = Client::try_from(kube::Config::new(address)).unwrap();
        let (hub, (recorder, _sender)) = (Arc::new(Hub::new()), Recorder::start(client.clone()));
        let _tasks = hub.watch(&client, &recorder, &watch::Sender::new(0));
        let gone = async {
            let key = hub.queue.next().await;
            assert_eq!(key.object, ObjectName::new("shop", "web"));
            while !hub.certificates.all().is_empty() {
                time::sleep(time::Duration::from_millis(5)).await;
            }
        };
        time::timeout(time::Duration::from_secs(30), gone).await.unwrap();
        server.abort();
    }
}
