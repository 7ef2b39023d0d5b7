//! A CA that speaks ACME, without the protocol around it.

use std::collections::BTreeMap;

use certwright::pki::{ParsedCertificate, ParsedRequest, certificate_id};
use jiff::{SignedDuration, Timestamp};

#[path = "../support/ca.rs"]
pub mod ca;

/// An answer that is none.
#[derive(Clone, Debug)]
pub struct CaError {
    pub message: String,
    /// Whether the same again would give the same.
    pub is_final: bool,
    /// Whether nobody answered at all.
    pub is_silence: bool,
    pub retry_after: Option<SignedDuration>,
}

#[derive(Clone, Debug)]
pub struct CaOrder {
    pub url: String,
    /// DNS names, sorted.
    pub names: Vec<String>,
    /// Indexes.
    pub authorizations: Vec<usize>,
    pub state: &'static str,
    pub problem: Option<String>,
    pub certificate: Option<String>,
    /// The identifier of the certificate that this one replaces.
    pub replaces: Option<String>,
    request: Option<ParsedRequest>,
    done_at: Timestamp,
}

#[derive(Clone, Debug)]
pub struct CaAuthorization {
    pub url: String,
    /// Without `*.`.
    pub name: String,
    pub is_wildcard: bool,
    pub state: &'static str,
    pub problem: Option<String>,
    pub token: String,
    pub accepted_at: Option<Timestamp>,
}

pub struct Authority {
    pub now: Timestamp,
    pub orders: Vec<CaOrder>,
    pub authorizations: Vec<CaAuthorization>,
    /// Whether an account can list its orders (RFC 8555 section 7.1.2.1).
    pub lists_orders: bool,
    pub retry_after: Option<SignedDuration>,
    /// How long it takes to look at a challenge, and to sign.
    pub work: SignedDuration,
    pub lifetime: SignedDuration,
    /// The operation of this name fails so many times.
    pub failures: BTreeMap<&'static str, (u32, CaError)>,
    pub is_down: bool,
    pub signs_another_key: bool,
    /// Calls orders valid without saying where their certificates are.
    pub withholds: bool,
    /// Why a validation fails.
    pub complaint: &'static str,
    /// No more orders than this are created within such a time; the rest is refused until there is room.
    pub limit: Option<(usize, SignedDuration)>,
    /// When orders were created.
    pub created: Vec<Timestamp>,
    /// Nobody is to ask before.
    pub wants_quiet_until: Option<Timestamp>,
    /// How often somebody did.
    pub disturbed: u32,
    pub calls: BTreeMap<&'static str, u32>,
    /// Serial numbers, in hexadecimal.
    pub revoked: Vec<String>,
    /// When it would have certificates renewed, if it says so at all.
    pub renewals: Option<Suggest>,
}

/// From when until when a certificate should be renewed that lives from the first time to the second.
pub type Suggest = fn(Timestamp, Timestamp) -> (Timestamp, Timestamp);

/// When the CA would have a certificate renewed.
pub struct CaSuggestion {
    pub start: Timestamp,
    pub end: Timestamp,
    pub retry_after: Option<SignedDuration>,
}

impl Authority {
    pub fn new(now: Timestamp) -> Self {
        Self {
            now,
            orders: Vec::new(),
            authorizations: Vec::new(),
            lists_orders: true,
            retry_after: None,
            work: SignedDuration::from_secs(2),
            lifetime: SignedDuration::from_hours(90 * 24),
            failures: BTreeMap::new(),
            is_down: false,
            signs_another_key: false,
            withholds: false,
            complaint: "unauthorized: nothing was found",
            limit: None,
            created: Vec::new(),
            wants_quiet_until: None,
            disturbed: 0,
            calls: BTreeMap::new(),
            revoked: Vec::new(),
            renewals: None,
        }
    }

    /// Once more is as good as once.
    pub fn revoke(&mut self, serial: String) -> Result<(), CaError> {
        self.begin("revoke")?;
        if !self.revoked.contains(&serial) {
            self.revoked.push(serial);
        }
        Ok(())
    }

    /// Begins an operation: counted, and failed if that is planned.
    fn begin(&mut self, operation: &'static str) -> Result<(), CaError> {
        *self.calls.entry(operation).or_default() += 1;
        if self.is_down {
            let message = "cannot reach the CA".to_owned();
            return Err(CaError { message, is_final: false, is_silence: true, retry_after: None });
        }
        if self.wants_quiet_until.is_some_and(|until| self.now < until) {
            self.disturbed += 1;
        }
        match self.failures.get_mut(operation) {
            Some((times, error)) if *times > 0 => {
                *times -= 1;
                let error = error.clone();
                self.ask_for_quiet(&error);
                Err(error)
            }
            _ => Ok(()),
        }
    }

    fn ask_for_quiet(&mut self, error: &CaError) {
        // What is about names only does not concern others.
        if let Some(wish) = error.retry_after.filter(|_| !error.message.contains("exact set")) {
            self.wants_quiet_until = self.wants_quiet_until.max(Some(self.now + wish));
        }
    }

    /// Room for one more order.
    fn check_limit(&mut self) -> Result<(), CaError> {
        let Some((most, window)) = self.limit else { return Ok(()) };
        let index = self.created.len().checked_sub(most);
        let Some(until) = index.map(|index| self.created[index] + window).filter(|until| self.now < *until) else {
            return Ok(());
        };
        // Retry-After counts whole seconds.
        let wait = SignedDuration::from_secs(until.duration_since(self.now).as_secs() + 1);
        let error = overload(Some(wait));
        self.ask_for_quiet(&error);
        Err(error)
    }

    pub fn all_calls(&self) -> u32 {
        self.calls.values().sum()
    }

    pub fn register(&mut self) -> Result<String, CaError> {
        self.begin("register").map(|()| "ca/account/1".to_owned())
    }

    pub fn new_order(&mut self, names: &[String], replaces: Option<&str>) -> Result<CaOrder, CaError> {
        self.begin("new-order")?;
        self.check_limit()?;
        self.created.push(self.now);
        if let Some(id) = replaces {
            self.check_replacement(id)?;
        }
        let number = self.orders.len();
        let mut names = names.to_vec();
        names.sort();
        let first = self.authorizations.len();
        for (index, name) in names.iter().enumerate() {
            let index = first + index;
            self.authorizations.push(CaAuthorization {
                url: format!("ca/authorization/{index}"),
                name: name.strip_prefix("*.").unwrap_or(name).to_owned(),
                is_wildcard: name.starts_with("*."),
                state: "pending",
                problem: None,
                token: format!("token-{index}"),
                accepted_at: None,
            });
        }
        self.orders.push(CaOrder {
            url: format!("ca/order/{number}"),
            authorizations: (first..self.authorizations.len()).collect(),
            names,
            state: "pending",
            problem: None,
            certificate: None,
            replaces: replaces.map(str::to_owned),
            request: None,
            done_at: self.now,
        });
        Ok(self.orders[number].clone())
    }

    /// RFC 9773 section 4.
    pub fn renewal_info(&mut self, id: &str) -> Result<CaSuggestion, CaError> {
        self.begin("renewal-info")?;
        let leaf = self.issued(id).map(|(_, leaf)| leaf).ok_or_else(|| refusal("no such certificate"))?;
        let renewals = self.renewals.ok_or_else(|| refusal("no renewal information"))?;
        let (start, end) = renewals(leaf.not_before, leaf.not_after);
        Ok(CaSuggestion { start, end, retry_after: self.retry_after })
    }

    /// RFC 9773 section 5.
    fn check_replacement(&self, id: &str) -> Result<(), CaError> {
        let (replaced, _) = self.issued(id).ok_or_else(|| refusal("malformed: no such certificate"))?;
        let is_live = |order: &&CaOrder| order.state != "invalid" && order.replaces.as_deref() == Some(id);
        match self.orders.iter().find(is_live) {
            Some(other) => Err(refusal(&format!("alreadyReplaced: {} by {}", replaced.url, other.url))),
            None => Ok(()),
        }
    }

    fn issued(&self, id: &str) -> Option<(&CaOrder, ParsedCertificate)> {
        self.orders.iter().find_map(|order| {
            let chain = ParsedCertificate::from_pem_chain(order.certificate.as_ref()?.as_bytes()).ok()?;
            let leaf = chain.into_iter().next().filter(|leaf| certificate_id(leaf).as_deref() == Some(id))?;
            Some((order, leaf))
        })
    }

    pub fn list_orders(&mut self) -> Result<Option<Vec<String>>, CaError> {
        self.begin("list-orders")?;
        Ok(self.lists_orders.then(|| self.orders.iter().map(|order| order.url.clone()).collect()))
    }

    pub fn order(&mut self, url: &str, evidence: &dyn Fn(&CaAuthorization) -> bool) -> Result<CaOrder, CaError> {
        self.begin("order")?;
        self.work_off(evidence);
        self.orders.iter().find(|order| order.url == url).cloned().ok_or_else(|| refusal("no such order"))
    }

    pub fn authorization(
        &mut self,
        url: &str,
        evidence: &dyn Fn(&CaAuthorization) -> bool,
    ) -> Result<CaAuthorization, CaError> {
        self.begin("authorization")?;
        self.work_off(evidence);
        let found = self.authorizations.iter().find(|known| known.url == url);
        found.cloned().ok_or_else(|| refusal("no such authorization"))
    }

    /// As strict as CAs are: what was accepted before is refused.
    pub fn accept(&mut self, challenge_url: &str) -> Result<(), CaError> {
        self.begin("accept")?;
        let now = self.now;
        let known = self.authorizations.iter_mut().find(|known| challenge_url.starts_with(&format!("{}/", known.url)));
        match known {
            Some(known) if known.state == "pending" && known.accepted_at.is_none() => {
                known.accepted_at = Some(now);
                Ok(())
            }
            Some(_) => Err(refusal("malformed: the authorization must be pending")),
            None => Err(refusal("no such challenge")),
        }
    }

    /// As strict as CAs are: an order is finalized once.
    pub fn finalize(&mut self, url: &str, request: ParsedRequest) -> Result<CaOrder, CaError> {
        self.begin("finalize")?;
        let (now, work) = (self.now, self.work);
        let order = self.orders.iter_mut().find(|order| format!("{}/finalize", order.url) == url);
        let order = order.ok_or_else(|| refusal("no such order"))?;
        if order.state != "ready" {
            return Err(refusal("orderNotReady"));
        }
        (order.state, order.request, order.done_at) = ("processing", Some(request), now + work);
        Ok(order.clone())
    }

    fn work_off(&mut self, evidence: &dyn Fn(&CaAuthorization) -> bool) {
        for known in &mut self.authorizations {
            let is_due = known.accepted_at.is_some_and(|at| self.now >= at + self.work);
            if known.state == "pending" && is_due {
                (known.state, known.problem) =
                    if evidence(known) { ("valid", None) } else { ("invalid", Some(self.complaint.to_owned())) };
            }
        }
        let epoch = self.now;
        for order in &mut self.orders {
            let states: Vec<_> = order.authorizations.iter().map(|index| self.authorizations[*index].state).collect();
            match order.state {
                "pending" if states.iter().all(|state| *state == "valid") => order.state = "ready",
                "pending" if states.contains(&"invalid") => order.state = "invalid",
                "processing" if epoch >= order.done_at => {
                    order.state = "valid";
                    let request = order.request.as_ref().expect("finalized with a request");
                    let mut key = request.public_key_der.clone();
                    if self.signs_another_key {
                        *key.last_mut().expect("a key") ^= 1;
                    }
                    // As public CAs do, an hour back.
                    let from = order.done_at - SignedDuration::from_hours(1);
                    let until = from + self.lifetime;
                    let chain = ca::chain(&key, &request.names.dns_names, from.as_second(), until.as_second());
                    order.certificate = Some(chain).filter(|_| !self.withholds);
                }
                _ => {}
            }
        }
    }
}

pub fn refusal(message: &str) -> CaError {
    CaError { message: message.to_owned(), is_final: true, is_silence: false, retry_after: None }
}

pub fn overload(retry_after: Option<SignedDuration>) -> CaError {
    CaError { message: "rateLimited: too much".to_owned(), is_final: false, is_silence: false, retry_after }
}
