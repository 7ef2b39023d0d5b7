//! One process of the controller: stores, queue and memory, all lost with it. What a pass does is in [`super::acts`].

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use certwright::{
    api::{Certificate, CertificateRequest, Challenge, Issuer, Order, names::label},
    cluster::{Hub, Key, Kind, ObjectName, Watched},
    decide::{
        Trouble, TroubleClass, Wake, backoff,
        budget::Ledger,
        certificate::{HeldKey, MadeRequest},
        challenge::{CaChallenge, Check, CleanUp, Pending},
        hold::Hold,
        issuer::Registration,
        order::CaOrder,
        renewal_information::Answer,
        revocation::Revoked,
        schedule::Schedule,
        turns::Turns,
    },
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    core::v1::{Pod, Secret, Service},
    networking::v1::Ingress,
};
use kube::ResourceExt;
use serde_json::Value;

use super::{acts, server::kind_of, world::World};

/// As in the controller.
const MOST_ROUNDS: u32 = 20;
const MOST_PUT_RIGHT: usize = 8;
const LONGEST_SILENCE: SignedDuration = SignedDuration::from_mins(1);

pub struct Process {
    pub hub: Arc<Hub>,
    pub memories: HashMap<Key, Memory>,
    pub fresh_orders: HashSet<ObjectName>,
    /// Of the one account, once it was looked at what the former process knew.
    pub ledger: Option<Ledger>,
    pub since: Timestamp,
    pub turns: Turns,
    /// Of the Challenges, once it was looked at what the former process presented.
    pub schedule: Option<Schedule>,
    pub changes: HashMap<Key, DnsChange>,
    /// When the self-checks are over that Challenges have begun. As `controller::self_check`.
    pub self_checks: HashMap<Key, Timestamp>,
}

/// A change at the DNS provider that a Challenge has submitted: the place is found and the change made beside the passes.
pub struct DnsChange {
    pub uid: String,
    pub pending: Pending,
    /// When the provider is asked.
    pub due: Timestamp,
}

#[derive(Default)]
pub struct Memory {
    pub uid: String,
    pub trouble: Option<Trouble>,
    /// With what the trouble came: another issuer, spec or Secret makes it worthless.
    pub trouble_credentials: Option<String>,
    pub write_failures: u32,
    pub overtaken: u32,
    /// When the target Secret was put right, the latest last.
    pub put_right: Vec<Timestamp>,
    /// For which generation of the Certificate that was.
    pub put_right_for: Option<i64>,
    pub held_key: Option<HeldKey>,
    pub made_request: Option<MadeRequest>,
    pub is_leaving: bool,
    pub revoked: Option<Revoked>,
    pub renewal_information: Option<Answer>,
    pub order: Option<CaOrder>,
    pub undelivered: Option<Timestamp>,
    pub looks: u32,
    pub challenge: Option<CaChallenge>,
    pub presented: Option<Timestamp>,
    pub has_asked: bool,
    pub check: Option<Check>,
    pub checked_solver: Option<String>,
    pub checked_since: Option<Timestamp>,
    pub clean_up: CleanUp,
    pub issuer_fingerprint: String,
    pub registration: Option<Registration>,
}

/// What one round came to.
pub enum Round {
    Again,
    Rest(Wake),
}

/// Why a step did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// Somebody else wrote, or the object is gone: the store knows by now.
    Overtaken,
    /// The API server cannot be reached.
    Unavailable,
    /// Something is under way that wakes the object.
    Awaiting,
    Trouble {
        class: TroubleClass,
        message: String,
        retry_after: Option<SignedDuration>,
        hold: Option<Hold>,
    },
    /// The process ends here.
    Crash,
}

/// The process has ended.
pub struct Crashed;

impl Memory {
    /// The memory of this incarnation of the object.
    pub fn of(&mut self, uid: &str) -> &mut Self {
        if self.uid != uid {
            *self = Self { uid: uid.to_owned(), ..Self::default() };
        }
        self
    }

    /// When the target Secret was put right for this generation of the Certificate: what somebody has edited there is no quarrel.
    pub fn put_right(&mut self, generation: Option<i64>) -> Vec<Timestamp> {
        if self.put_right_for != generation {
            self.put_right.clear();
            self.put_right_for = generation;
        }
        self.put_right.clone()
    }

    /// Notes that the target Secret was put right.
    pub fn note_put_right(&mut self, now: Timestamp) {
        if self.put_right.len() >= MOST_PUT_RIGHT {
            self.put_right.remove(0);
        }
        self.put_right.push(now);
    }
}

impl Process {
    /// Starts with a list of everything.
    pub fn start(world: &World) -> Self {
        let process = Self {
            hub: Arc::default(),
            memories: HashMap::new(),
            fresh_orders: HashSet::new(),
            ledger: None,
            since: world.now(),
            turns: Turns::default(),
            schedule: None,
            changes: HashMap::new(),
            self_checks: HashMap::new(),
        };
        for (kind, object) in world.server.everything() {
            process.take_in(&kind, object, false);
        }
        process
    }

    /// Takes in what the watch tells of.
    pub fn take_in(&self, kind: &str, object: Value, is_gone: bool) {
        macro_rules! take_in {
            ($($kind:ty),*) => {
                match kind {
                    $(_ if kind == kind_of::<$kind>() => self.take_in_as::<$kind>(object, is_gone),)*
                    _ => panic!("{kind} is not watched"),
                }
            };
        }
        take_in!(Certificate, CertificateRequest, Challenge, Issuer, Order, Secret, Pod, Service, Ingress);
    }

    fn take_in_as<K: Watched>(&self, object: Value, is_gone: bool) {
        let object: K = serde_json::from_value(object).expect("what was stored can be read");
        let name = ObjectName::of(&object);
        let is_foreign = kind_of::<K>() == "Secret" && !object.labels().contains_key(label::FAO);
        if is_foreign {
            // A Secret without the label has left the watch of those that have it.
            K::store(&self.hub).remove(&name, object.meta().uid.as_deref().unwrap_or_default());
            self.hub.wake_for_secret(&name);
        } else if is_gone {
            self.hub.bury::<K>(&name, object.meta().uid.as_deref().unwrap_or_default());
        } else {
            self.hub.put(object);
        }
    }

    /// Works on one object until nothing is left to do.
    pub fn pass(&mut self, world: &mut World, key: &Key) -> Result<(), Crashed> {
        let mut memory = self.memories.remove(key).unwrap_or_default();
        let wake = self.rounds(world, key, &mut memory)?;
        if !memory.uid.is_empty() {
            self.memories.insert(key.clone(), memory);
        }
        self.hub.queue.done(key, wake.time(), world.now());
        Ok(())
    }

    fn rounds(&mut self, world: &mut World, key: &Key, memory: &mut Memory) -> Result<Wake, Crashed> {
        for _ in 0..MOST_ROUNDS {
            match self.round(world, key, memory) {
                Ok(Round::Again) => {}
                Err(Failure::Overtaken) => {
                    memory.overtaken = memory.overtaken.saturating_add(1);
                    if memory.overtaken > MOST_ROUNDS {
                        break;
                    }
                }
                Ok(Round::Rest(wake)) => {
                    memory.write_failures = 0;
                    memory.overtaken = 0;
                    return Ok(wake);
                }
                Err(Failure::Trouble { class, message, retry_after, hold }) => {
                    let failures = memory.trouble.as_ref().map_or(0, |former| former.failures).saturating_add(1);
                    memory.trouble = Some(Trouble { message, class, failures, at: world.now(), retry_after, hold });
                    memory.trouble_credentials = None;
                }
                Err(Failure::Awaiting) => return Ok(Wake::At(world.now() + LONGEST_SILENCE)),
                Err(Failure::Unavailable) => return Ok(after_failure(world, memory)),
                Err(Failure::Crash) => return Err(Crashed),
            }
        }
        world.storms += 1;
        Ok(after_failure(world, memory))
    }

    fn round(&mut self, world: &mut World, key: &Key, memory: &mut Memory) -> Result<Round, Failure> {
        match key.kind {
            Kind::Certificate => acts::certificate::round(self, world, key, memory),
            Kind::CertificateRequest => acts::request::round(self, world, key, memory),
            Kind::Challenge => acts::challenge::round(self, world, key, memory),
            Kind::Issuer | Kind::ClusterIssuer => acts::issuer::round(self, world, key, memory),
            Kind::Order => acts::order::round(self, world, key, memory),
            // Nobody asks for a CA in here, and no Certificate is made from anything.
            Kind::Source(_) | Kind::Target(_) => Ok(Round::Rest(Wake::OnChange)),
        }
    }
}

fn after_failure(world: &World, memory: &mut Memory) -> Wake {
    memory.write_failures = memory.write_failures.saturating_add(1);
    Wake::At(world.now() + backoff::after_failures(memory.write_failures))
}
