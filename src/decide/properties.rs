//! What holds for every decision, whatever is seen: deciding twice gives the same, a status is not written twice, open
//! work always has a step or a next look, an event always comes with something that happened, and nothing panics.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::Time};
use kube::{Resource, ResourceExt};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Decision, Trouble, TroubleClass, Wake,
    certificate::{self, CertificateStep, SeenCertificate, Settings},
    challenge::{self, CaChallenge, ChallengeStep, Check, CleanUp, SeenChallenge},
    children,
    issuer::{self, AccountKey, IssuerStep, Registration, SeenIssuer},
    issuer_of::SeenIssuerOf,
    order::{self, CaOrder, OrderStep, SeenOrder},
    progress::Progress,
    request::{self, RequestStep, SeenRequest},
    template::CopiedAnnotations,
    testing::{DAY, HOUR, acme, chain, key, now, object, pem},
};
use crate::api::{
    Certificate, CertificateRequest, Challenge, Condition, IssuerSpec, Order, find_condition,
    issuer::AcmeIssuer,
    names::{condition, reason},
};

/// After this many status writes without anything else happening, a decision must have come to rest.
const MOST_WRITES: usize = 4;

/// With keys and certificates to be read in each case.
const CASES: u32 = 600;

/// Without.
const MANY_CASES: u32 = 8000;

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn certificates(seed: u64) {
        let dice = &mut Dice(seed);
        let mut scene = CertificateScene::random(dice);
        let decision = settled(&mut scene, CertificateScene::decide, |scene, steps| {
            let status = steps.iter().find_map(|step| match step {
                CertificateStep::WriteStatus(status) => Some((**status).clone()),
                _ => None,
            })?;
            Some(scene.certificate.status.replace(status.clone()) == Some(status))
        });
        scene.check_rest(&decision);
    }

    #[test]
    fn requests(seed: u64) {
        let dice = &mut Dice(seed);
        let certificate: Certificate = dice.certificate();
        let request = (*dice.request(&certificate)).clone();
        let order = dice.maybe(|dice| dice.order(&request));
        let issuer = dice.issuer();
        let mut scene = (request, order, issuer);
        let decision = settled(&mut scene, |(request, order, issuer)| {
            let copied_annotations = &CopiedAnnotations::default();
            let seen = SeenRequest { request, issuer: issuer.seen(), order: order.as_ref(), copied_annotations };
            request::decide(&seen, now())
        }, |scene, steps| {
            let status = steps.iter().find_map(|step| match step {
                RequestStep::WriteStatus(status) => Some((**status).clone()),
                _ => None,
            })?;
            Some(scene.0.status.replace(status.clone()) == Some(status))
        });
        if decision == Decision::rest() {
            let status = scene.0.status.clone().unwrap_or_default();
            let has = |type_: &str| find_condition(&status.conditions, type_).is_some();
            let waits_for_nobody = scene.0.metadata.deletion_timestamp.is_some()
                || matches!(scene.2, Issuer::Foreign)
                || has(condition::READY)
                || has(condition::INVALID_REQUEST)
                || scene.1.as_ref().is_some_and(|order| Progress::of(order) == Progress::Valid);
            prop_assert!(waits_for_nobody, "{:?}", scene.0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: MANY_CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn orders(seed: u64) {
        let dice = &mut Dice(seed);
        let order = dice.order(&CertificateRequest::default());
        let challenges: Vec<_> = (0..dice.below(4)).map(|_| Arc::new(dice.challenge(&order))).collect();
        let ca = dice.maybe(|dice| CaOrder {
            status: dice.state(),
            problem: dice.maybe(Dice::text),
            finalized: dice.chance(2),
            next_look: dice.time(),
            certificate: dice.maybe(|dice| dice.text().into_bytes()),
        });
        let (trouble, issuer, now) = (dice.trouble(), dice.issuer(), dice.soon());
        let mut order = order;
        let decision = settled(&mut order, |order| {
            let (ca, trouble) = (ca.as_ref(), trouble.as_ref());
            order::decide(&SeenOrder { order, issuer: issuer.seen(), challenges: &challenges, ca, trouble }, now)
        }, |order, steps| {
            let status = steps.iter().find_map(|step| match step {
                OrderStep::WriteStatus(status) => Some((**status).clone()),
                _ => None,
            })?;
            Some(order.status.replace(status.clone()) == Some(status))
        });
        if decision == Decision::rest() {
            let status = order.status.clone().unwrap_or_default();
            let has_ended = match Progress::of(&order) {
                Progress::Failed => true,
                Progress::Valid => status.certificate.is_some(),
                Progress::Open => false,
            };
            let is_open = |held: &Arc<Challenge>| {
                let state = held.status.as_ref().and_then(|status| status.state.as_deref());
                Progress::of_word(state) == Progress::Open
            };
            let is_gone = order.metadata.deletion_timestamp.is_some();
            prop_assert!(has_ended || is_gone || status.reason.is_some() || challenges.iter().any(is_open), "{order:?}");
        }
    }

    #[test]
    fn challenges(seed: u64) {
        let dice = &mut Dice(seed);
        let mut scene = dice.challenge(&Order::default());
        let check = dice.maybe(|dice| Check { passed: dice.chance(2), summary: dice.text(), next: dice.time() });
        let ca = dice.maybe(|dice| CaChallenge {
            status: dice.state(),
            accepted: dice.chance(2),
            problem: dice.maybe(Dice::text),
            next_look: dice.time(),
        });
        let clean_up = *dice.pick(&[CleanUp::Untried, CleanUp::Tried, CleanUp::Done]);
        let (has_open_siblings, trouble, issuer) = (dice.chance(2), dice.trouble(), dice.issuer());
        let now = dice.soon();
        let decision = settled(&mut scene, |challenge| {
            let (issuer, check, ca, trouble) = (issuer.seen(), check.as_ref(), ca.as_ref(), trouble.as_ref());
            challenge::decide(&SeenChallenge { challenge, issuer, has_open_siblings, check, ca, clean_up, trouble }, now)
        }, |challenge, steps| {
            let status = steps.iter().find_map(|step| match step {
                ChallengeStep::WriteStatus(status) => Some((**status).clone()),
                _ => None,
            })?;
            Some(challenge.status.replace(status.clone()) == Some(status))
        });
        if decision == Decision::rest() {
            let status = scene.status.clone().unwrap_or_default();
            let is_open = Progress::of_word(status.state.as_deref()) == Progress::Open;
            let is_gone = scene.metadata.deletion_timestamp.is_some() && !challenge::has_finalizer(&scene);
            prop_assert!(!is_open || is_gone || status.reason.is_some(), "{scene:?}");
            prop_assert!(is_open || !challenge::has_finalizer(&scene), "never cleaned up: {scene:?}");
        }
    }

    #[test]
    fn issuers(seed: u64) {
        let dice = &mut Dice(seed);
        let spec: IssuerSpec = dice.issuer_spec();
        let account_key = match dice.below(3) {
            0 => AccountKey::Missing,
            1 => AccountKey::Unusable(dice.text()),
            _ => AccountKey::Usable { hash: dice.text() },
        };
        let registration = dice.maybe(|dice| Registration { uri: dice.text(), email: dice.text() });
        let (trouble, deleting, generation) = (dice.trouble(), dice.chance(9), dice.maybe(Dice::number));
        let status = dice.maybe(|dice| object(json!({
            "conditions": dice.conditions(&["Ready"]),
            "acme": {"uri": dice.text(), "lastRegisteredEmail": dice.text(), "lastPrivateKeyHash": dice.text()},
        })));
        let now = dice.soon();
        let mut scene: Option<crate::api::IssuerStatus> = status;
        let decision = settled(&mut scene, |status| {
            let (registration, trouble) = (registration.as_ref(), trouble.as_ref());
            let (account_key, status) = (&account_key, status.as_ref());
            let seen = SeenIssuer { generation, deleting, spec: &spec, status, account_key, registration, trouble };
            issuer::decide(&seen, now)
        }, |held, steps| {
            let status = steps.iter().find_map(|step| match step {
                IssuerStep::WriteStatus(status) => Some((**status).clone()),
                _ => None,
            })?;
            Some(held.replace(status.clone()) == Some(status))
        });
        if decision == Decision::rest() && !deleting {
            prop_assert!(find_condition(&scene.unwrap().conditions, condition::READY).is_some());
        }
    }
}

/// Decides and lets only the status writes happen, until there are none; what is decided then. `write` takes a status
/// out of the steps into the scene and says whether an equal one was there.
fn settled<T, S: PartialEq + std::fmt::Debug>(
    scene: &mut T,
    decide: impl Fn(&T) -> Decision<S>,
    write: impl Fn(&mut T, &[S]) -> Option<bool>,
) -> Decision<S> {
    for _ in 0..=MOST_WRITES {
        let decision = decide(scene);
        assert_eq!(decision, decide(scene), "deciding twice");
        let is_event = |step: &S| format!("{step:?}").starts_with("Publish");
        assert!(decision.steps.is_empty() || !decision.steps.iter().all(is_event), "an event alone: {decision:?}");
        let writes = decision.steps.iter().filter(|step| format!("{step:?}").starts_with("WriteStatus")).count();
        assert!(writes <= 1, "two statuses at once: {decision:?}");
        match write(scene, &decision.steps) {
            Some(was_equal) => assert!(!was_equal, "an equal status is written: {decision:?}"),
            None => return decision,
        }
    }
    panic!("no rest: {:?}", decide(scene));
}

struct CertificateScene {
    certificate: Certificate,
    secret: Option<Secret>,
    next_keys: Vec<Arc<Secret>>,
    requests: Vec<Arc<CertificateRequest>>,
    namesake: Option<Arc<CertificateRequest>>,
    rivals: Vec<Arc<Certificate>>,
    settings: Settings,
    trouble: Option<Trouble>,
    now: Timestamp,
}

impl CertificateScene {
    fn random(dice: &mut Dice) -> Self {
        let mut certificate = dice.certificate();
        let next_keys: Vec<_> = (0..dice.below(3)).map(|_| Arc::new(dice.next_key(&certificate))).collect();
        if let (Some(status), Some(next), true) = (&mut certificate.status, next_keys.first(), dice.chance(2)) {
            status.next_private_key_secret_name = Some(next.name_any());
        }
        let wait = |dice: &mut Dice| SignedDuration::from_secs(*dice.pick(&[1, HOUR, DAY, i64::MAX]));
        Self {
            secret: dice.maybe(Dice::secret),
            next_keys,
            requests: (0..dice.below(4)).map(|_| dice.request(&certificate)).collect(),
            namesake: dice.maybe(|dice| dice.request(&certificate)),
            rivals: (0..dice.below(8).saturating_sub(5)).map(|_| Arc::new(dice.certificate())).collect(),
            settings: Settings { owner_reference: dice.chance(2), least_wait: wait(dice), most_wait: wait(dice) },
            trouble: dice.trouble(),
            now: dice.soon(),
            certificate,
        }
    }

    fn decide(&self) -> Decision<CertificateStep> {
        let seen = SeenCertificate {
            certificate: &self.certificate,
            secret: self.secret.as_ref(),
            next_keys: &self.next_keys,
            requests: &self.requests,
            namesake: self.namesake.as_deref(),
            rivals: &self.rivals,
            settings: &self.settings,
            trouble: self.trouble.as_ref(),
        };
        certificate::decide(&seen, self.now)
    }

    /// Where nothing is done and no time set, there is somebody else to wait for.
    fn check_rest(&self, decision: &Decision<CertificateStep>) {
        if *decision != Decision::rest() || self.certificate.metadata.deletion_timestamp.is_some() {
            return;
        }
        let status = self.certificate.status.clone().unwrap_or_default();
        let ready = find_condition(&status.conditions, condition::READY).unwrap();
        if [reason::INVALID_SPEC, reason::INCORRECT_CERTIFICATE].contains(&ready.reason.as_deref().unwrap()) {
            return;
        }
        let issuing = find_condition(&status.conditions, condition::ISSUING);
        let issuing =
            issuing.filter(|issuing| issuing.is_true()).unwrap_or_else(|| panic!("idle for ever: {status:?}"));
        let is_dying = |secret: &Arc<Secret>| secret.metadata.deletion_timestamp.is_some();
        let is_held_up = issuing.message.as_ref().is_some_and(|text| text.contains("; held up: "));
        assert!(!self.requests.is_empty() || is_held_up || self.next_keys.iter().any(is_dying), "{status:?}");
    }
}

/// An issuer as other objects see it.
enum Issuer {
    Acme(Box<AcmeIssuer>, Option<Condition>),
    Missing,
    Unserved,
    Foreign,
}

impl Issuer {
    fn seen(&self) -> SeenIssuerOf<'_> {
        match self {
            Self::Acme(acme, ready) => SeenIssuerOf::Acme { ready: ready.as_ref(), acme },
            Self::Missing => SeenIssuerOf::Missing,
            Self::Unserved => SeenIssuerOf::Unserved("not of this world"),
            Self::Foreign => SeenIssuerOf::Foreign,
        }
    }
}

/// Random things, half of them sensible, so that every branch is reached.
struct Dice(u64);

impl Dice {
    /// SplitMix64.
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(limit).unwrap()).unwrap()
    }

    /// True once in so many times.
    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (!self.chance(3)).then(|| make(self))
    }

    fn text(&mut self) -> String {
        let long = "x".repeat(300);
        let odd =
            ["", "a", "web", "-", ".", "*.", "a b", "\u{0}", "b\u{fc}cher", "{}", "'\"", "; held up: ", "\n", &long];
        (*self.pick(&odd)).to_owned()
    }

    fn number(&mut self) -> i64 {
        *self.pick(&[0, 1, 1, 2, 7, -1, 100, i64::from(i32::MAX), i64::MAX, i64::MIN])
    }

    fn time(&mut self) -> Timestamp {
        match self.below(5) {
            0 => Timestamp::MIN,
            1 => Timestamp::MAX,
            2 => now(),
            _ => self.soon(),
        }
    }

    fn soon(&mut self) -> Timestamp {
        now() + SignedDuration::from_secs(*self.pick(&[0, 1, -1, 60, HOUR, -HOUR, DAY, -DAY, 90 * DAY, 200 * DAY]))
    }

    fn state(&mut self) -> String {
        let known = ["pending", "ready", "processing", "valid", "invalid", "expired", "errored", "", "odd"];
        (*self.pick(&known)).to_owned()
    }

    fn trouble(&mut self) -> Option<Trouble> {
        self.maybe(|dice| Trouble {
            message: dice.text(),
            class: *dice.pick(&[TroubleClass::Final, TroubleClass::Transient]),
            failures: *dice.pick(&[0, 1, 2, 8, u32::MAX]),
            at: dice.time(),
            retry_after: dice
                .maybe(|dice| *dice.pick(&[SignedDuration::ZERO, SignedDuration::MAX, SignedDuration::MIN])),
        })
        .filter(|_| self.chance(2))
    }

    fn conditions(&mut self, types: &[&str]) -> Vec<Value> {
        let mut conditions = Vec::new();
        for type_ in types {
            let reasons = ["Pending", "Failed", "Issued", "Denied", "Ready", "DoesNotExist", "InvalidSpec", ""];
            let (reason, status) = (*self.pick(&reasons), *self.pick(&["True", "False", "Unknown", ""]));
            let (message, time) = (self.maybe(Self::text), self.maybe(Self::time).map(|time| time.to_string()));
            if self.chance(2) {
                conditions.push(json!({
                    "type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": time,
                }));
            }
        }
        conditions
    }

    fn metadata<K: Resource>(&mut self, object: &mut K) {
        let metadata = object.meta_mut();
        metadata.name = Some(if self.chance(3) { self.text() } else { "web".to_owned() });
        metadata.namespace = self.maybe(|_| "shop".to_owned());
        metadata.uid = self.maybe(Self::text);
        metadata.generation = self.maybe(Self::number);
        metadata.creation_timestamp = self.maybe(Self::time).map(Time);
        metadata.deletion_timestamp = self.chance(12).then(|| Time(self.time()));
    }

    fn certificate(&mut self) -> Certificate {
        let mut spec = json!({
            "secretName": "web-tls", "dnsNames": ["www.example.com"], "issuerRef": {"name": "le"},
            "privateKey": {"algorithm": "ECDSA", "rotationPolicy": *self.pick(&["Always", "Never", "", "odd"])},
        });
        if self.chance(2) {
            let odd: Value = match self.below(12) {
                0 => json!({"secretName": ""}),
                1 => json!({"dnsNames": [self.text()]}),
                2 => json!({"issuerRef": {"name": self.text(), "kind": self.text(), "group": self.text()}}),
                3 => json!({"privateKey": {"algorithm": self.text(), "size": self.number()}}),
                4 => json!({"duration": self.text(), "renewBefore": "2562047h"}),
                5 => json!({"renewBeforePercentage": *self.pick(&[0, 1, 99, 100, -1, i32::MIN])}),
                6 => json!({"usages": [self.text()]}),
                7 => json!({"literalSubject": self.text(), "commonName": self.text()}),
                8 => json!({"ipAddresses": [self.text()], "uris": [self.text()], "emailAddresses": [self.text()]}),
                9 => json!({"revisionHistoryLimit": *self.pick(&[0, 1, -5, i32::MAX])}),
                10 => json!({"otherNames": [{"oid": self.text(), "utf8Value": self.text()}], "isCA": true}),
                _ => json!({"privateKey": {"algorithm": "ECDSA", "size": 384}, "signatureAlgorithm": self.text()}),
            };
            spec.as_object_mut().unwrap().extend(odd.as_object().unwrap().clone());
        }
        let status = self.maybe(|dice| {
            json!({
                "conditions": dice.conditions(&["Ready", "Issuing"]),
                "lastFailureTime": dice.maybe(Self::time).map(|time| time.to_string()),
                "failedIssuanceAttempts": dice.maybe(Self::number),
                "notAfter": dice.maybe(Self::time).map(|time| time.to_string()),
                "revision": dice.maybe(Self::number),
                "nextPrivateKeySecretName": dice.maybe(Self::text),
            })
        });
        let mut certificate = object(json!({"metadata": {}, "spec": spec, "status": status}));
        self.metadata(&mut certificate);
        certificate
    }

    fn chain(&mut self) -> Vec<u8> {
        let names = [*self.pick(&["www.example.com", "other.example.com"])];
        match self.below(6) {
            0 => self.text().into_bytes(),
            1 => chain(key(1), &names, 0, 90 * DAY).into_bytes(),
            2 => chain(key(0), &names, -90 * DAY, -DAY).into_bytes(),
            _ => chain(key(0), &names, -DAY, 90 * DAY).into_bytes(),
        }
    }

    fn key_pem(&mut self) -> Vec<u8> {
        match self.below(6) {
            0 => self.text().into_bytes(),
            1 => pem(key(1)).into_bytes(),
            _ => pem(key(0)).into_bytes(),
        }
    }

    fn secret(&mut self) -> Secret {
        let mut secret = Secret::default();
        self.metadata(&mut secret);
        secret.type_ = self.maybe(Self::text);
        let data =
            [("tls.crt".to_owned(), ByteString(self.chain())), ("tls.key".to_owned(), ByteString(self.key_pem()))];
        secret.data = self.maybe(|_| data.into());
        if self.chance(3) {
            let names = ["certificate-name", "issuer-name", "issuer-kind", "issuer-group"];
            let name = format!("cert-manager.io/{}", self.pick(&names));
            secret.metadata.annotations = Some([(name, self.text())].into());
        }
        secret
    }

    fn next_key(&mut self, certificate: &Certificate) -> Secret {
        let (name, pem) = (self.text(), String::from_utf8(self.key_pem()).unwrap());
        let mut secret = children::next_key_secret(certificate, &name, pem);
        secret.metadata.deletion_timestamp = self.chance(5).then(|| Time(now()));
        secret
    }

    fn request(&mut self, certificate: &Certificate) -> Arc<CertificateRequest> {
        let revision = if self.chance(2) { self.number() } else { 1 };
        let current = certificate.status.as_ref().and_then(|status| status.revision).unwrap_or_default();
        let revision = if self.chance(2) { current.saturating_add(1) } else { revision };
        let key = key(usize::from(self.chance(4)));
        let (copied, name) = (CopiedAnnotations::default(), format!("web-{revision}"));
        let made = children::certificate_request(certificate, name, revision, (String::new(), key), &copied);
        let mut request = made.unwrap_or_default();
        if self.chance(6) {
            request.spec.request = ByteString(self.text().into_bytes());
        }
        let (name, annotations) = (request.metadata.name.clone(), request.metadata.annotations.clone());
        self.metadata(&mut request);
        if !self.chance(5) {
            (request.metadata.name, request.metadata.annotations) = (name, annotations);
        }
        request.status = self.maybe(|dice| {
            let mut status = json!({"conditions": dice.conditions(&["Ready", "Approved", "Denied", "InvalidRequest"])});
            status["failureTime"] = json!(dice.maybe(Self::time).map(|time| time.to_string()));
            let mut status: crate::api::CertificateRequestStatus = object(status);
            status.certificate = dice.maybe(|dice| ByteString(dice.chain()));
            status
        });
        Arc::new(request)
    }

    fn issuer_spec(&mut self) -> IssuerSpec {
        match self.below(6) {
            0 => object(json!({"ca": {}})),
            1 => object(json!({"venafi": {}, "vault": {}})),
            2 => IssuerSpec::default(),
            _ => {
                let mut acme = acme();
                acme.server = self.text();
                acme.email = self.maybe(Self::text);
                acme.disable_account_key_generation = self.chance(2);
                IssuerSpec { acme: Some(acme), ..IssuerSpec::default() }
            }
        }
    }

    fn issuer(&mut self) -> Issuer {
        match self.below(9) {
            0 => Issuer::Missing,
            1 => Issuer::Unserved,
            2 => Issuer::Foreign,
            number => {
                let mut acme = acme();
                if self.chance(4) {
                    acme.solvers.truncate(self.below(2));
                }
                let ready = json!({"type": "Ready", "status": if number == 3 { "False" } else { "True" }});
                Issuer::Acme(Box::new(acme), self.maybe(|_| object(ready)))
            }
        }
    }

    fn order(&mut self, request: &CertificateRequest) -> Order {
        let mut order: Order = object(json!({
            "metadata": {}, "spec": {"request": "", "issuerRef": {"name": "le"}, "dnsNames": ["www.example.com"]},
        }));
        self.metadata(&mut order);
        if !self.chance(4) {
            order.metadata.owner_references = request.controller_owner_ref(&()).map(|owner| vec![owner]);
        }
        order.status = self.maybe(|dice| {
            let authorizations: Vec<_> = (0..dice.below(4)).map(|index| dice.authorization(index)).collect();
            let mut status: crate::api::OrderStatus = object(json!({
                "url": dice.maybe(Self::text), "state": dice.maybe(Self::state), "reason": dice.maybe(Self::text),
                "authorizations": authorizations,
            }));
            status.certificate = if dice.chance(3) { Some(ByteString(dice.chain())) } else { None };
            status
        });
        order
    }

    fn authorization(&mut self, index: usize) -> Value {
        let offered = [*self.pick(&["dns-01", "http-01", "odd"]), "dns-01"].map(|kind| json!({"type": kind}));
        json!({
            "url": format!("ca/authorization/{index}"), "identifier": self.maybe(Self::text),
            "wildcard": self.maybe(|dice| dice.chance(2)), "initialState": self.maybe(Self::state),
            "challenges": self.maybe(|_| offered).map_or(Vec::new(), Vec::from),
        })
    }

    fn challenge(&mut self, order: &Order) -> Challenge {
        let mut challenge: Challenge = object(json!({
            "metadata": {},
            "spec": {
                "authorizationURL": format!("ca/authorization/{}", self.below(3)), "dnsName": self.text(),
                "type": *self.pick(&["DNS-01", "HTTP-01", "odd"]), "issuerRef": {"name": "le"},
                "solver": {"waitInsteadOfSelfCheck": self.maybe(|dice| *dice.pick(&["5s", "", "2562047h", "-1h"]))},
            },
        }));
        self.metadata(&mut challenge);
        challenge.metadata.owner_references = order.controller_owner_ref(&()).map(|owner| vec![owner]);
        challenge.metadata.finalizers =
            self.maybe(|dice| vec![(*dice.pick(&["acme.cert-manager.io/finalizer", "x"])).to_owned()]);
        challenge.status = self.maybe(|dice| {
            object(json!({
                "processing": dice.chance(2), "presented": dice.chance(2), "reason": dice.maybe(Self::text),
                "presentedAt": dice.maybe(Self::time).map(|time| time.to_string()), "state": dice.maybe(Self::state),
            }))
        });
        challenge
    }
}

#[test]
fn the_check_for_a_rest_can_fail() {
    let failed = std::panic::catch_unwind(|| {
        settled(&mut 0, |_| Decision { steps: vec!["WriteStatus"], wake: Wake::OnChange }, |_, _| Some(false))
    });
    assert!(failed.is_err());
}
