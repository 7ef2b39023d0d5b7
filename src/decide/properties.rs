//! What holds for every decision, whatever is seen: deciding twice gives the same, a status is not written twice, open
//! work always has a step or a next look, an event always comes with something that happened, and nothing panics.

#![allow(clippy::unwrap_used)]

mod dice;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::Time};
use kube::ResourceExt;
use proptest::prelude::*;
use serde_json::json;

use super::{
    Decision, Trouble, Wake,
    caa::BeforeOrder,
    certificate::{self, CertificateStep, Features, HeldKey, MadeRequest, SeenCertificate, Settings},
    chain::ChosenChain,
    challenge::{self, CaChallenge, ChallengeStep, Check, CleanUp, Pending, SeenChallenge},
    fallback::{Fallback, SeenSpare},
    issuer::{self, AccountKey, IssuerStep, Registration, SeenIssuer},
    keystore::PasswordSecrets,
    order::{self, CaOrder, OrderStep, SeenOrder},
    policy,
    progress::Progress,
    renewal_information::{Answer, SeenRenewalInformation, Source},
    request::{self, RequestStep, SeenRequest},
    schedule::Queued,
    template::CopiedAnnotations,
    testing::{DAY, HOUR, key, now, object},
    turns::Taken,
};
use crate::api::{
    Certificate, CertificateRequest, Challenge, IssuerSpec, Order, find_condition,
    names::{annotation, condition, reason},
};
use crate::pki::{ParsedCertificate, certificate_id};

use dice::{Dice, Issuer};

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
        let (approves, trouble) = (!dice.chance(4), dice.trouble());
        let mut scene = (request, order, issuer);
        let decision = settled(&mut scene, |(request, order, issuer)| {
            let copied_annotations = &CopiedAnnotations::default();
            let (issuer, order, approves, trouble) = (issuer.seen(), order.as_ref(), approves, trouble.as_ref());
            let seen = SeenRequest { request, issuer, order, copied_annotations, approves, trouble };
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
            expires: dice.maybe(Dice::time),
            certificate: dice.maybe(|dice| ChosenChain { pem: dice.text().into_bytes(), warning: dice.maybe(Dice::text) }),
        });
        let (trouble, issuer, now, turn) = (dice.trouble(), dice.issuer(), dice.soon(), dice.turn());
        let mut order = order;
        let decision = settled(&mut order, |order| {
            let (ca, trouble) = (ca.as_ref(), trouble.as_ref());
            let (issuer, tls_alpn_01, challenges, turn, caa) = (issuer.seen(), None, &challenges[..], &turn, &BeforeOrder::Order(None));
            let answerer = super::podless::Answerer::Pod;
            order::decide(&SeenOrder { order, issuer, tls_alpn_01, answerer, challenges, ca, turn, trouble, caa }, now)
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
        let check = dice.maybe(|dice| Check {
            passed: dice.chance(2),
            summary: dice.text(),
            next: dice.time(),
            is_lost: dice.chance(2),
        });
        let ca = dice.maybe(|dice| CaChallenge {
            status: dice.state(),
            accepted: dice.chance(2),
            problem: dice.maybe(Dice::text),
            next_look: dice.time(),
        });
        let clean_up = *dice.pick(&[CleanUp::Untried, CleanUp::Tried, CleanUp::Done]);
        let (has_open_siblings, trouble, issuer) = (dice.chance(2), dice.trouble(), dice.issuer());
        let was_asked_here = dice.chance(2);
        let queued = dice.maybe(|dice| Queued { since: dice.time(), most: dice.below(3) });
        let taken = dice.maybe(|dice| Taken { by: dice.text(), until: dice.time() });
        let (presented, awaited_until) = (dice.maybe(Dice::time), dice.maybe(Dice::time));
        let pending = dice.maybe(|dice| Pending { since: dice.time(), removes: dice.chance(2), reason: dice.text() });
        let now = dice.soon();
        let decision = settled(&mut scene, |challenge| {
            let (issuer, check, ca, trouble) = (issuer.seen(), check.as_ref(), ca.as_ref(), trouble.as_ref());
            let (queued, taken, pending) = (queued.as_ref(), taken.as_ref(), pending.as_ref());
            let seen = SeenChallenge {
                challenge, issuer, has_open_siblings, awaited_until, queued, taken, presented, check, ca, was_asked_here,
                clean_up, pending, trouble,
            };
            challenge::decide(&seen, now)
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
        let registration = dice.maybe(|dice| Registration {
            uri: dice.text(),
            email: dice.text(),
            agreed_terms: dice.maybe(Dice::text),
        });
        let (trouble, deleting, generation) = (dice.trouble(), dice.chance(9), dice.maybe(Dice::number));
        let status = dice.maybe(|dice| object(json!({
            "conditions": dice.conditions(&["Ready"]),
            "acme": {"uri": dice.text(), "lastRegisteredEmail": dice.text(), "lastPrivateKeyHash": dice.text()},
        })));
        let authority = dice.maybe(Dice::authority);
        let now = dice.soon();
        let mut scene: Option<crate::api::IssuerStatus> = status;
        let decision = settled(&mut scene, |status| {
            let (registration, trouble) = (registration.as_ref(), trouble.as_ref());
            let (account_key, status) = (&account_key, status.as_ref());
            let (spec, authority) = (&spec, authority.as_ref());
            let seen =
                SeenIssuer {
                    generation,
                    deleting,
                    spec,
                    tls_alpn_01: None,
                    dns01_verification: None,
                    caa: None,
                    new_orders: None,
                    answerer_problem: None,
                    status,
                    account_key,
                    authority,
                    registration,
                    is_doubtful: false,
                    roll_over: None,
                    trouble,
                };
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
    held_key: Option<HeldKey>,
    made_request: Option<MadeRequest>,
    requests: Vec<Arc<CertificateRequest>>,
    namesake: Option<Arc<CertificateRequest>>,
    rivals: Vec<Arc<Certificate>>,
    passwords: PasswordSecrets,
    account_key_of: Option<String>,
    issuer_is_acme: bool,
    issuer_is_prompt: bool,
    issuer_needs_no_key: bool,
    spares: Vec<SeenSpare>,
    issuer_revokes: bool,
    put_right: Vec<Timestamp>,
    source: Source,
    answer: Option<Answer>,
    since: Timestamp,
    settings: Settings,
    trouble: Option<Trouble>,
    now: Timestamp,
}

impl CertificateScene {
    fn random(dice: &mut Dice) -> Self {
        let mut certificate = dice.certificate();
        for (key, value) in [
            (annotation::FALLBACK_ISSUERS, "Issuer/ca, ClusterIssuer/x"),
            (annotation::REVOKE, "keyCompromise"),
            (annotation::REVOKE_ON_DELETE, "superseded"),
        ] {
            if dice.chance(6) {
                certificate.annotations_mut().insert(key.to_owned(), value.to_owned());
            }
        }
        let next_keys: Vec<_> = (0..dice.below(3)).map(|_| Arc::new(dice.next_key(&certificate))).collect();
        if let (Some(status), Some(next), true) = (&mut certificate.status, next_keys.first(), dice.chance(2)) {
            status.next_private_key_secret_name = Some(next.name_any());
        }
        let wait = |dice: &mut Dice| SignedDuration::from_secs(*dice.pick(&[1, HOUR, DAY, i64::MAX]));
        let mut scene = Self {
            secret: dice.maybe(Dice::secret),
            next_keys,
            held_key: dice.maybe(|dice| HeldKey::new(key(dice.below(2)).clone(), dice.soon())),
            made_request: dice.maybe(|dice| {
                let (generation, last) = (certificate.metadata.generation, dice.soon());
                let once = MadeRequest::once_more(None, generation, last);
                (0..dice.below(9)).fold(once, |made, _| MadeRequest::once_more(Some(&made), generation, last))
            }),
            requests: (0..dice.below(4)).map(|_| dice.request(&certificate)).collect(),
            namesake: dice.maybe(|dice| dice.request(&certificate)),
            rivals: (0..dice.below(8).saturating_sub(5)).map(|_| Arc::new(dice.certificate())).collect(),
            passwords: dice
                .maybe(|dice| ("passwords".to_owned(), Arc::new(dice.password_secret())))
                .into_iter()
                .collect(),
            account_key_of: dice.chance(9).then(|| dice.text()),
            issuer_is_acme: dice.chance(2),
            issuer_is_prompt: dice.chance(3),
            issuer_needs_no_key: dice.chance(2),
            spares: Fallback::of(&certificate)
                .spares
                .into_iter()
                .map(|reference| SeenSpare { reference, is_usable: dice.chance(2) })
                .collect(),
            issuer_revokes: dice.chance(2),
            put_right: (0..dice.below(9)).map(|_| dice.soon()).collect(),
            source: *dice.pick(&[Source::Ca, Source::Ca, Source::Off, Source::Unknown, Source::Nobody]),
            answer: None,
            since: dice.time(),
            settings: Settings {
                owner_reference: dice.chance(2),
                least_wait: wait(dice),
                most_wait: wait(dice),
                renewal_jitter: dice.chance(2),
                features: Features::default(),
            },
            trouble: dice.trouble(),
            now: dice.soon(),
            certificate,
        };
        let leaf = scene.secret.as_ref().and_then(policy::leaf_of);
        if let (Some(leaf), true) = (&leaf, dice.chance(2)) {
            scene.make_at_home(leaf);
        }
        scene.answer = leaf.as_ref().and_then(certificate_id).filter(|_| !dice.chance(3)).map(|id| dice.answer(id));
        scene
    }

    /// The certificate came from the issuer, and the status is about it.
    fn make_at_home(&mut self, leaf: &ParsedCertificate) {
        let issuer = self.certificate.spec.issuer_ref.clone();
        let (kind, group) = (issuer.kind.unwrap_or_default(), issuer.group.unwrap_or_default());
        let noted = [
            (annotation::ISSUER_NAME, issuer.name),
            (annotation::ISSUER_KIND, kind),
            (annotation::ISSUER_GROUP, group),
        ];
        let noted = noted.map(|(key, value)| (key.to_owned(), value)).into();
        self.secret.as_mut().unwrap().metadata.annotations = Some(noted);
        let status = self.certificate.status.get_or_insert_default();
        (status.not_before, status.not_after) = (Some(Time(leaf.not_before)), Some(Time(leaf.not_after)));
    }

    fn decide(&self) -> Decision<CertificateStep> {
        let seen = SeenCertificate {
            certificate: &self.certificate,
            secret: self.secret.as_ref(),
            next_keys: &self.next_keys,
            held_key: self.held_key.as_ref(),
            made_request: self.made_request.as_ref(),
            requests: &self.requests,
            namesake: self.namesake.as_deref(),
            rivals: &self.rivals,
            passwords: &self.passwords,
            account_key_of: self.account_key_of.clone(),
            issuer_is_acme: self.issuer_is_acme,
            issuer_is_prompt: self.issuer_is_prompt,
            issuer_needs_no_key: self.issuer_needs_no_key,
            spares: &self.spares,
            issuer_revokes: self.issuer_revokes,
            revoked: None,
            put_right: &self.put_right,
            renewal_information: SeenRenewalInformation {
                source: self.source,
                answer: self.answer.as_ref(),
                since: self.since,
            },
            settings: &self.settings,
            trouble: self.trouble.as_ref(),
        };
        certificate::decide(&seen, self.now)
    }

    /// Where nothing is done and no time set, there is somebody else to wait for, and no key lies in memory for ever.
    fn check_rest(&self, decision: &Decision<CertificateStep>) {
        assert!(*decision != Decision::rest() || self.held_key.is_none(), "{:?}", self.certificate);
        if *decision != Decision::rest() || self.certificate.metadata.deletion_timestamp.is_some() {
            return;
        }
        let status = self.certificate.status.clone().unwrap_or_default();
        let ready = find_condition(&status.conditions, condition::READY).unwrap();
        if [reason::INVALID_SPEC, reason::INCORRECT_CERTIFICATE, reason::SECRET_OF_ANOTHER]
            .contains(&ready.reason.as_deref().unwrap())
        {
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

#[test]
fn the_check_for_a_rest_can_fail() {
    let failed = std::panic::catch_unwind(|| {
        settled(&mut 0, |_| Decision { steps: vec!["WriteStatus"], wake: Wake::OnChange }, |_, _| Some(false))
    });
    assert!(failed.is_err());
}
