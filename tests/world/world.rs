//! A cluster, a CA and a DNS under virtual time, and one process of the controller in it.

use std::collections::BTreeMap;

use certwright::{
    acme::gate::Gate,
    api::{Certificate, Challenge, Issuer, Order, names::label},
    cluster::{ObjectName, Watched},
    decide::{TroubleClass, budget::Allowance, podless::Answerer, schedule::DEFAULT_MOST},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::{
    acts::limits::guarded,
    authority::{Authority, CaAuthorization, CaError},
    chronicle::Chronicle,
    faults::{Fate, Faults},
    process::{Failure, Process},
    server::{Server, kind_of},
};
use certwright::decide::certificate::Settings;

pub const NAMESPACE: &str = "shop";

/// How long after a crash the next process starts.
const RESTART: i64 = 3;

type Deed = Box<dyn FnOnce(&mut World)>;

pub struct World {
    pub server: Server,
    pub ca: Authority,
    pub faults: Faults,
    /// TXT records and since when they are there, by name and value.
    pub records: BTreeMap<(String, String), Timestamp>,
    /// How long it takes until everybody sees a record, and until a pod has an address.
    pub propagation: SignedDuration,
    /// Writes to the API server by what they do, such as `create Order`; events are not among them.
    pub writes: BTreeMap<String, u32>,
    pub events: Vec<String>,
    /// How often a pass found no rest.
    pub storms: u32,
    pub crashes: u32,
    /// When nobody answered at the address of the controller.
    pub unanswered: Vec<(Timestamp, Timestamp)>,
    /// Who answers HTTP-01 challenges.
    pub answerer: Answerer,
    /// Whether requests that nobody has approved or denied are approved.
    pub approves: bool,
    pub settings: Settings,
    pub chronicle: Chronicle,
    /// Until then the API server takes no target Secret.
    pub refuses_secrets_until: Option<Timestamp>,
    /// What the CA wants to be spared, as the process knows it.
    pub gate: Gate,
    /// How many orders may be created in which time.
    pub allowance: Allowance,
    /// How many Challenges are presented at once.
    pub most_challenges: usize,
    /// How long an effect takes.
    pub latency: SignedDuration,
    /// How long all effects took.
    delay: SignedDuration,
    agenda: Vec<(Timestamp, Deed)>,
    process: Option<Process>,
    began: Instant,
}

impl World {
    /// With an issuer that answers over DNS, and over HTTP below `http.example.com`.
    pub fn new() -> Self {
        let mut world = Self::empty();
        world.create::<Issuer>(&issuer());
        world
    }

    pub fn empty() -> Self {
        let began = start();
        Self {
            server: Server::new(began),
            ca: Authority::new(began),
            faults: Faults::default(),
            records: BTreeMap::new(),
            propagation: SignedDuration::from_secs(1),
            writes: BTreeMap::new(),
            events: Vec::new(),
            storms: 0,
            crashes: 0,
            unanswered: Vec::new(),
            answerer: Answerer::default(),
            approves: true,
            // So that tests can name times.
            settings: Settings { renewal_jitter: false, ..Settings::default() },
            chronicle: Chronicle::default(),
            refuses_secrets_until: None,
            gate: Gate::default(),
            allowance: Allowance::default(),
            most_challenges: DEFAULT_MOST,
            latency: SignedDuration::ZERO,
            delay: SignedDuration::ZERO,
            agenda: Vec::new(),
            process: None,
            began: Instant::now(),
        }
    }

    pub fn now(&self) -> Timestamp {
        start() + SignedDuration::try_from(self.began.elapsed()).expect("a short time") + self.delay
    }

    /// Has something happen so many seconds after the start of the world.
    pub fn at(&mut self, seconds: i64, deed: impl FnOnce(&mut Self) + 'static) {
        self.agenda.push((start() + SignedDuration::from_secs(seconds), Box::new(deed)));
    }

    pub fn create<K: Watched + Serialize>(&mut self, object: &K) -> K {
        self.tick();
        self.server.create(object).expect("a new object")
    }

    pub fn get<K: Watched>(&self, name: &str) -> K {
        self.server.get(&ObjectName::new(NAMESPACE, name)).unwrap_or_else(|| panic!("no {} {name}", kind_of::<K>()))
    }

    pub fn find<K: Watched>(&self, name: &str) -> Option<K> {
        self.server.get(&ObjectName::new(NAMESPACE, name))
    }

    pub fn edit<K: Watched + Serialize>(&mut self, name: &str, change: impl FnOnce(&mut K)) {
        self.tick();
        self.server.edit(&ObjectName::new(NAMESPACE, name), change);
    }

    /// Deletes as a user does.
    pub fn delete<K: Watched>(&mut self, name: &str) {
        self.tick();
        let object: K = self.get(name);
        self.server.delete(&object).expect("it is there");
    }

    /// Lets the controller work for so many seconds.
    pub async fn run(&mut self, seconds: i64) {
        self.run_for(SignedDuration::from_secs(seconds)).await;
    }

    pub async fn run_for(&mut self, time: SignedDuration) {
        let until = self.now() + time;
        let mut process = self.process.take().unwrap_or_else(|| self.start_process());
        while self.live(&mut process, until).await {
            self.crashes += 1;
            let restart = self.now() + SignedDuration::from_secs(RESTART);
            self.unanswered.push((self.now(), restart));
            self.idle_until(restart).await;
            process = self.start_process();
        }
        self.process = Some(process);
    }

    /// The process ends; the next run begins with a new one.
    pub fn kill(&mut self) {
        self.process = None;
    }

    fn start_process(&mut self) -> Process {
        // What the watch would still tell of is in the list.
        self.server.changes.clear();
        self.gate = Gate::default();
        Process::start(self)
    }

    /// The life of one process; true if it crashed.
    async fn live(&mut self, process: &mut Process, until: Timestamp) -> bool {
        loop {
            self.happen(Some(process));
            if self.now() >= until {
                return false;
            }
            let next = self.next_due().map_or(until, |due| due.min(until));
            let hub = process.hub.clone();
            tokio::select! {
                biased;
                key = hub.queue.next() => {
                    self.tick();
                    if process.pass(self, &key).is_err() {
                        return true;
                    }
                }
                () = sleep_until(self, next) => {}
            }
        }
    }

    async fn idle_until(&mut self, until: Timestamp) {
        while self.now() < until {
            let next = self.next_due().map_or(until, |due| due.min(until));
            sleep_until(self, next).await;
            self.happen(None);
        }
    }

    /// What is due: deeds of others, and news for the process.
    fn happen(&mut self, process: Option<&Process>) {
        self.tick();
        let now = self.now();
        let (due, later) = std::mem::take(&mut self.agenda).into_iter().partition(|(at, _)| *at <= now);
        self.agenda = later;
        for (_, deed) in Vec::from_iter::<Vec<(Timestamp, Deed)>>(due) {
            deed(self);
        }
        self.start_pods();
        self.server.collect();
        while self.server.changes.front().is_some_and(|change| change.due <= now) {
            let change = self.server.changes.pop_front().expect("there is one");
            if let Some(process) = process {
                process.take_in(&change.kind, change.object, change.is_gone);
            }
        }
    }

    /// A kubelet gives pods an address after a while.
    fn start_pods(&mut self) {
        let now = self.now();
        for pod in self.waiting_pods().filter(|pod| self.starts_at(pod) <= now).collect::<Vec<_>>() {
            let status = json!({"podIP": "10.0.0.9", "podIPs": [{"ip": "10.0.0.9"}], "phase": "Running"});
            self.edit::<Pod>(&pod.name_any(), |pod| pod.status = Some(object_of(status)));
        }
    }

    fn waiting_pods(&self) -> impl Iterator<Item = Pod> {
        self.server.list::<Pod>().into_iter().filter(|pod| pod.status.is_none())
    }

    fn starts_at(&self, pod: &Pod) -> Timestamp {
        pod.creation_timestamp().map_or(start(), |created| created.0) + self.propagation
    }

    fn next_due(&self) -> Option<Timestamp> {
        let deeds = self.agenda.iter().map(|(at, _)| *at);
        deeds
            .chain(self.waiting_pods().map(|pod| self.starts_at(&pod)))
            .chain(self.server.changes.front().map(|change| change.due))
            .chain(self.server.doomed.front().map(|doomed| doomed.due))
            .min()
    }

    fn tick(&mut self) {
        (self.server.now, self.ca.now) = (self.now(), self.now());
    }

    /// One effect of the process, which may go wrong.
    pub fn effect<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> Result<T, EffectLost> {
        self.delay += self.latency;
        self.tick();
        match self.faults.next() {
            Fate::Done => Ok(act(self)),
            Fate::Lost => Err(EffectLost::Failed),
            Fate::AnswerLost => {
                act(self);
                Err(EffectLost::Failed)
            }
            Fate::Overtaken => {
                self.server.touch_everything();
                Ok(act(self))
            }
            Fate::CrashBefore => Err(EffectLost::Crashed),
            Fate::CrashAfter => {
                act(self);
                Err(EffectLost::Crashed)
            }
        }
    }

    /// A call to the CA.
    pub fn ask<T>(
        &mut self,
        doing: &str,
        call: impl FnOnce(&mut Authority, &dyn Fn(&CaAuthorization) -> bool) -> Result<T, CaError>,
    ) -> Result<T, Failure> {
        self.ask_for(None, doing, call)
    }

    /// A call to the CA that is about these names.
    pub fn ask_for<T>(
        &mut self,
        names: Option<&[String]>,
        doing: &str,
        call: impl FnOnce(&mut Authority, &dyn Fn(&CaAuthorization) -> bool) -> Result<T, CaError>,
    ) -> Result<T, Failure> {
        guarded(self, names, doing, |world| {
            world.effect(|world| {
                let now = world.now();
                let evidence = Evidence::of(world, now);
                call(&mut world.ca, &|known| evidence.is_there(known))
            })
        })
    }

    /// Writes TXT records.
    pub fn dns(
        &mut self,
        change: impl FnOnce(&mut BTreeMap<(String, String), Timestamp>, Timestamp),
    ) -> Result<(), Failure> {
        let done = self.effect(|world| {
            let now = world.now();
            change(&mut world.records, now);
        });
        done.map_err(|lost| match lost {
            EffectLost::Failed => transient("Error presenting challenge: connection lost".to_owned()),
            EffectLost::Crashed => Failure::Crash,
        })
    }

    /// Whether the answer to a challenge can be seen by everybody.
    pub fn can_be_seen(&self, challenge: &Challenge) -> bool {
        let spec = &challenge.spec;
        let evidence = Evidence::of(self, self.now());
        match spec.type_.as_str() {
            "DNS-01" => evidence.records.contains(&(record_name(&spec.dns_name), spec.key.expose().to_owned())),
            // Whoever looks is there.
            _ => evidence.podless.contains(&spec.token) || evidence.is_served(&spec.token),
        }
    }

    /// What an issuance must not leave behind.
    pub fn litter(&self) -> Vec<String> {
        let mut litter: Vec<String> = self.records.keys().map(|(name, _)| format!("record {name}")).collect();
        let name = |object: &dyn Fn() -> String| object();
        litter.extend(self.server.list::<Challenge>().iter().map(|held| format!("Challenge {}", held.name_any())));
        litter.extend(self.server.list::<Pod>().iter().map(|held| format!("Pod {}", held.name_any())));
        let keys =
            self.server.list::<Secret>().into_iter().filter(|held| held.labels().contains_key(label::NEXT_PRIVATE_KEY));
        litter.extend(keys.map(|held| format!("key {}", name(&|| held.name_any()))));
        litter
    }

    pub fn count<K: Watched>(&self) -> usize {
        self.server.list::<K>().len()
    }

    pub fn condition(&self, certificate: &str, type_: &str) -> Option<String> {
        let status = self.get::<Certificate>(certificate).status?;
        let found = status.conditions.into_iter().find(|held| held.type_ == type_)?;
        let (reason, message) = (found.reason.unwrap_or_default(), found.message.unwrap_or_default());
        Some(format!("{} {reason}: {message}", found.status))
    }

    pub fn is_ready(&self, certificate: &str) -> bool {
        self.condition(certificate, "Ready").is_some_and(|ready| ready.starts_with("True"))
    }

    /// The writes since the last call.
    pub fn take_writes(&mut self) -> BTreeMap<String, u32> {
        std::mem::take(&mut self.writes)
    }
}

pub enum EffectLost {
    Failed,
    Crashed,
}

/// What the world sees of the answers to challenges.
struct Evidence {
    records: Vec<(String, String)>,
    pods: Vec<String>,
    /// The tokens for which the process answers.
    podless: Vec<String>,
    unanswered: Vec<(Timestamp, Timestamp)>,
    /// How long after it was told the CA looks.
    work: SignedDuration,
}

impl Evidence {
    fn of(world: &World, now: Timestamp) -> Self {
        let is_old_enough = |since: &Timestamp| *since + world.propagation <= now;
        let pods = world.server.list::<Pod>().into_iter().filter(|pod| {
            pod.metadata.deletion_timestamp.is_none()
                && pod.status.as_ref().is_some_and(|status| status.pod_ip.is_some())
        });
        Self {
            records: world
                .records
                .iter()
                .filter(|(_, since)| is_old_enough(since))
                .map(|(key, _)| key.clone())
                .collect(),
            pods: pods.map(|pod| json!(pod.spec).to_string()).collect(),
            podless: world
                .server
                .list::<Challenge>()
                .into_iter()
                .filter(Challenge::is_podless)
                .map(|challenge| challenge.spec.token)
                .collect(),
            unanswered: world.unanswered.clone(),
            work: world.ca.work,
        }
    }

    fn is_there(&self, known: &CaAuthorization) -> bool {
        let is_unanswered = known.accepted_at.is_some_and(|at| self.is_unanswered(at + self.work));
        self.records.contains(&(record_name(&known.name), dns01_key(&known.token)))
            || (self.podless.contains(&known.token) && !is_unanswered)
            || self.is_served(&known.token)
    }

    fn is_unanswered(&self, at: Timestamp) -> bool {
        self.unanswered.iter().any(|(from, until)| *from <= at && at < *until)
    }

    /// TLS connections to a name lead to one pod: which one is anybody's guess when there are several.
    fn is_served(&self, token: &str) -> bool {
        let domain = |pod: &String| {
            pod.split("--domain=").nth(1).map(|rest| rest.split('"').next().unwrap_or_default().to_owned())
        };
        let is_over_tls = |pod: &&String| pod.contains("--challenge-type=tls-alpn-01");
        let pod = self.pods.iter().find(|pod| pod.contains(token));
        pod.is_some_and(|pod| {
            !is_over_tls(&pod)
                || self.pods.iter().filter(is_over_tls).filter(|other| domain(other) == domain(pod)).count() == 1
        })
    }
}

pub fn record_name(name: &str) -> String {
    format!("_acme-challenge.{name}.")
}

/// Stands for the digest of the key authorization.
pub fn dns01_key(token: &str) -> String {
    format!("{token}.digest")
}

pub fn transient(message: String) -> Failure {
    Failure::Trouble { class: TroubleClass::Transient, message, retry_after: None, hold: None }
}

pub fn is_final(message: String) -> Failure {
    Failure::Trouble { class: TroubleClass::Final, message, retry_after: None, hold: None }
}

/// When every world begins.
pub fn start() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().expect("a time")
}

/// So many seconds after the start.
pub fn after(seconds: i64) -> Timestamp {
    start() + SignedDuration::from_secs(seconds)
}

pub fn object_of<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("a valid object")
}

pub fn issuer() -> Issuer {
    object_of(json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Issuer",
        "metadata": {"name": "le", "namespace": NAMESPACE},
        "spec": {"acme": {
            "server": "https://ca.example/directory",
            "privateKeySecretRef": {"name": "account"},
            "solvers": [
                {"dns01": {"rfc2136": {"nameserver": "192.0.2.53"}}},
                {"http01": {"ingress": {}}, "selector": {"dnsZones": ["http.example.com"]}},
            ],
        }},
    }))
}

pub fn certificate(name: &str, dns_names: &[&str]) -> Certificate {
    object_of(json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Certificate",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "secretName": format!("{name}-tls"), "dnsNames": dns_names, "issuerRef": {"name": "le"},
            "privateKey": {"algorithm": "ECDSA"},
        },
    }))
}

/// The one object of a kind.
pub fn only<K: Watched>(world: &World) -> K {
    let mut all = world.server.list::<K>();
    assert_eq!(all.len(), 1, "{} objects of kind {}", all.len(), kind_of::<K>());
    all.remove(0)
}

/// The state and the reason of the one Order.
pub fn order_told(world: &World) -> (String, String) {
    let status = only::<Order>(world).status.unwrap_or_default();
    (status.state.unwrap_or_default(), status.reason.unwrap_or_default())
}

async fn sleep_until(world: &World, at: Timestamp) {
    let wait = at.duration_since(world.now());
    // A timer has a millisecond's grain; a moment more makes sure that it is over.
    let wait = Duration::try_from(wait).unwrap_or_default() + Duration::from_millis(1);
    tokio::time::sleep(wait).await;
}
