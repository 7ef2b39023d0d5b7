//! What this process remembers about an object between passes. Losing it costs some questions, never a certificate.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use super::dns01::Propagation;
use crate::{
    cluster::{Key, ObjectName},
    decide::{
        Trouble, TroubleClass,
        caa::CaaFindings,
        certificate::{HeldKey, MadeRequest},
        challenge::{CaChallenge, Check, CleanUp},
        hold::Hold,
        issuer::{Outcome, Registration},
        later,
        order::CaOrder,
        renewal_information,
        revocation::Revoked,
        self_check::Addresses,
    },
};

/// What happened before the last so many times does not matter.
const MOST_PUT_RIGHT: usize = 8;

/// See the module's description.
#[derive(Default)]
pub struct Memory {
    /// Which incarnation of the object this is about.
    pub uid: String,
    /// When the last pass over the object began.
    pub last_pass: Option<Timestamp>,
    pub trouble: Option<Trouble>,
    /// The credentials (of a Certificate: spec and Secret) with which the trouble came; other ones make it worthless.
    pub trouble_credentials: Option<String>,
    /// What the API server was last told to refuse, so that it is told of once.
    pub refusal: Option<String>,
    /// The right without which that was, in words.
    pub missing_right: Option<String>,
    /// Failures in a row to write to the API server.
    pub write_failures: u32,
    /// Writes that met another's since the object was last at rest.
    pub overtaken: u32,
    /// Passes in a row that did not come to rest.
    pub restless: u32,
    /// When the target Secret was put right, the latest last; at most [`MOST_PUT_RIGHT`].
    pub put_right: Vec<Timestamp>,
    /// For which generation of the Certificate that was.
    pub put_right_for: Option<i64>,
    /// The next private key, while an issuance is under way that is over at once.
    pub held_key: Option<HeldKey>,
    /// How often the request of the issuance under way was made.
    pub made_request: Option<MadeRequest>,
    /// Whether the Certificate was seen on its way out: trouble from before then says nothing about its last revocation.
    pub is_leaving: bool,
    /// What was revoked, until it is noted in the target Secret.
    pub revoked: Option<Revoked>,
    /// What the CA last said of the renewal.
    pub renewal_information: Option<renewal_information::Answer>,
    pub order: Option<CaOrder>,
    /// How often a chain that may be the preferred one could not be had.
    pub chain_tries: u32,
    /// Since when the CA calls the order valid without handing out its certificate.
    pub undelivered: Option<Timestamp>,
    /// What the CAA records of an Order's names were last found to say.
    pub caa: Option<CaaFindings>,
    /// How often the CA was asked how far an order or a challenge is, since it was last told something.
    pub looks: u32,
    pub challenge: Option<CaChallenge>,
    /// When this process presented the challenge.
    pub presented: Option<Timestamp>,
    pub check: Option<Check>,
    /// The version of the solver pod that the check saw.
    pub checked_solver: Option<String>,
    /// When the first self-check since presenting was made.
    pub checked_since: Option<Timestamp>,
    /// Since when the HTTP-01 solver itself has answered.
    pub solver_since: Option<Timestamp>,
    /// Where the name of an HTTP-01 challenge led.
    pub addresses: Addresses,
    /// How far the TXT record of a challenge has come.
    pub propagation: Propagation,
    pub clean_up: CleanUp,
    /// Whether this process told the CA to validate the challenge, or may have.
    pub has_asked: bool,
    /// Whether this process presented the challenge, or has made good what a former one presented.
    pub is_mine: bool,
    /// What the registration below was made for; another fingerprint makes it worthless.
    pub issuer_fingerprint: String,
    pub registration: Option<Registration>,
    /// Whether the issuer's account is to be looked at again, although its status calls it ready.
    pub is_doubtful: bool,
    /// Since when the issuer's status tells that another replica was refused.
    pub told_doubt: Option<Timestamp>,
    /// What came of the change of the account key that is under way.
    pub roll_over: Option<Outcome>,
}

impl Memory {
    /// Notes that a pass begins. If the clock was set back since the last one, what waits goes back with it: no wait becomes
    /// longer than twice its own length.
    pub fn begin_pass(&mut self, now: Timestamp) {
        let back = self.last_pass.map_or(SignedDuration::ZERO, |last| last.duration_since(now));
        if back.is_positive() {
            self.set_back(SignedDuration::from_secs(back.as_secs().saturating_add(1)));
        }
        self.last_pass = Some(now);
    }

    fn set_back(&mut self, back: SignedDuration) {
        let Self { trouble, order, challenge, check, caa, renewal_information, put_right, .. } = self;
        let hold = trouble.as_mut().and_then(|trouble| trouble.hold.as_mut());
        let times = [
            hold.map(|hold| &mut hold.until),
            order.as_mut().map(|order| &mut order.next_look),
            challenge.as_mut().map(|challenge| &mut challenge.next_look),
            check.as_mut().map(|check| &mut check.next),
            caa.as_mut().map(|caa| &mut caa.at),
            renewal_information.as_mut().map(|answer| &mut answer.at),
            self.undelivered.as_mut(),
            self.presented.as_mut(),
            self.checked_since.as_mut(),
            self.solver_since.as_mut(),
        ];
        for time in times.into_iter().flatten().chain(put_right) {
            *time = later(*time, -back);
        }
        if let Some(trouble) = trouble {
            trouble.at = later(trouble.at, -back);
        }
        if let Some(made) = &mut self.made_request {
            made.set_back(back);
        }
    }

    /// Forgets everything if it is about another incarnation of the object.
    pub fn keep_for(&mut self, uid: &str) {
        if self.uid != uid {
            *self = Self { uid: uid.to_owned(), ..Self::default() };
        }
    }

    /// Whether nothing would be lost with it. Most objects are at rest, and a thousand memories of nothing take a megabyte.
    fn is_blank(&self) -> bool {
        let Self {
            uid: _,
            last_pass: _,
            trouble,
            trouble_credentials,
            refusal,
            missing_right,
            write_failures,
            overtaken,
            restless,
            put_right,
            put_right_for: _,
            held_key,
            made_request,
            is_leaving: _,
            revoked,
            renewal_information,
            order,
            chain_tries,
            undelivered,
            caa,
            looks,
            challenge,
            presented,
            check,
            checked_solver,
            checked_since,
            solver_since,
            addresses,
            propagation,
            clean_up,
            has_asked,
            is_mine,
            issuer_fingerprint,
            registration,
            is_doubtful,
            told_doubt,
            roll_over,
        } = self;
        let is_refused = refusal.is_some() || missing_right.is_some();
        let has_failed = trouble.is_some()
            || trouble_credentials.is_some()
            || is_refused
            || (*write_failures, *overtaken, *restless) != (0, 0, 0);
        let of_certificate = !put_right.is_empty()
            || held_key.is_some()
            || made_request.is_some()
            || revoked.is_some()
            || renewal_information.is_some();
        let of_order = order.is_some() || *chain_tries != 0 || undelivered.is_some() || caa.is_some() || *looks != 0;
        let of_challenge = challenge.is_some()
            || presented.is_some()
            || check.is_some()
            || checked_solver.is_some()
            || checked_since.is_some()
            || solver_since.is_some()
            || !addresses.is_blank()
            || !propagation.is_blank()
            || *clean_up != CleanUp::Untried
            || *has_asked
            || *is_mine;
        let of_issuer = !issuer_fingerprint.is_empty()
            || registration.is_some()
            || *is_doubtful
            || told_doubt.is_some()
            || roll_over.is_some();
        !(has_failed || of_certificate || of_order || of_challenge || of_issuer)
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

    /// Notes a failed effect.
    pub fn failed(
        &mut self,
        class: TroubleClass,
        message: String,
        (retry_after, hold): (Option<jiff::SignedDuration>, Option<Hold>),
        now: Timestamp,
    ) {
        let failures = self.trouble.as_ref().map_or(0, |former| former.failures).saturating_add(1);
        self.trouble_credentials = None;
        self.trouble = Some(Trouble { message, class, failures, at: now, retry_after, hold });
    }
}

/// The memories of all objects. A pass takes its own out and puts it back, so none is ever shared.
#[derive(Default)]
pub struct Memories {
    held: Mutex<HashMap<Key, Box<Memory>>>,
    /// Orders that this process has created and that nobody has placed at the CA yet.
    fresh_orders: Mutex<HashSet<ObjectName>>,
}

/// Forgetting costs a question to the CA, so the set is simply emptied before it grows beyond this.
const MOST_FRESH_ORDERS: usize = 10_000;

impl Memories {
    pub fn take(&self, key: &Key) -> Memory {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        held.map(|memory| *memory).unwrap_or_default()
    }

    pub fn put(&self, key: &Key, memory: Memory) {
        // An object that is gone has no identity any more, and nothing worth remembering.
        if !memory.uid.is_empty() && !memory.is_blank() {
            self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), Box::new(memory));
        }
    }

    /// Notes that this process is about to create this Order.
    pub fn note_fresh(&self, order: ObjectName) {
        let mut fresh = self.fresh_orders.lock().unwrap_or_else(PoisonError::into_inner);
        if fresh.len() >= MOST_FRESH_ORDERS {
            fresh.clear();
        }
        fresh.insert(order);
    }

    /// Whether [`Memories::note_fresh`] was called for this Order, once.
    pub fn take_fresh(&self, order: &ObjectName) -> bool {
        self.fresh_orders.lock().unwrap_or_else(PoisonError::into_inner).remove(order)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cluster::Kind;

    #[test]
    fn a_clock_that_is_set_back_makes_no_wait_longer() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut memory = Memory { uid: "1".into(), ..Memory::default() };
        memory.begin_pass(at(7200));
        for _ in 0..9 {
            memory.failed(TroubleClass::Transient, "away".into(), (None, None), at(7200));
        }
        let order = CaOrder {
            status: "processing".into(),
            problem: None,
            finalized: true,
            next_look: at(7500),
            expires: Some(at(9000)),
            certificate: None,
        };
        memory.order = Some(order);
        let told = |memory: &Memory| {
            let order = memory.order.as_ref().unwrap();
            [memory.trouble.as_ref().unwrap().next_try(), order.next_look, order.expires.unwrap()]
        };
        memory.begin_pass(at(7201));
        assert_eq!(told(&memory), [at(7500), at(7500), at(9000)]);
        memory.begin_pass(at(3601));
        assert_eq!(told(&memory), [at(3899), at(3899), at(9000)], "the CA's own times stay");
    }

    #[test]
    fn only_what_is_worth_it_is_remembered() {
        let (memories, key) = (Memories::default(), Key::new(Kind::Certificate, "shop", "web"));
        memories.put(&key, Memory { uid: "1".into(), ..Memory::default() });
        assert!(memories.held.lock().unwrap().is_empty());
        memories.put(&key, Memory { uid: "1".into(), looks: 3, ..Memory::default() });
        assert_eq!(memories.take(&key).looks, 3);
        memories.put(&key, Memory { looks: 3, ..Memory::default() });
        assert_eq!(memories.take(&key).looks, 0, "it is gone");
    }
}
