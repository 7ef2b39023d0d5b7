#![allow(clippy::unwrap_used)]

use kube::ResourceExt;
use serde_json::{Value, json};

use super::*;
use crate::api::Condition;
use crate::decide::solver::Method;
use crate::decide::{
    Wake,
    hold::{Hold, Reach},
    testing::{acme, at, dying, kinds, now, object, ready, seconds_until, trouble},
};

/// What surrounds one Order.
struct Scene {
    order: Order,
    issuer: Condition,
    acme: AcmeIssuer,
    challenges: Vec<Arc<Challenge>>,
    ca: Option<CaOrder>,
    caa: BeforeOrder,
    turn: Turn,
    trouble: Option<Trouble>,
    tls_alpn_01: Option<&'static str>,
    answerer: Answerer,
    now: Timestamp,
}

fn authorization(name: &str, wildcard: bool, state: &str) -> Value {
    let offered: &[&str] = if wildcard { &["dns-01"] } else { &["http-01", "dns-01", "tls-alpn-01"] };
    let offered: Vec<_> =
        offered.iter().map(|kind| json!({"type": kind, "url": format!("ca/{kind}/{name}"), "token": "tok"})).collect();
    json!({
        "url": format!("ca/authorization/{wildcard}/{name}"), "identifier": name, "wildcard": wildcard,
        "initialState": state, "challenges": offered,
    })
}

impl Scene {
    fn new() -> Self {
        let order = object(json!({
            "metadata": {"name": "web-1-7", "namespace": "shop", "uid": "order-uid", "labels": {"team": "a"}},
            "spec": {"request": "", "issuerRef": {"name": "le"}, "dnsNames": ["www.example.com"]},
        }));
        let (challenges, ca, turn, trouble) = (Vec::new(), None, Turn::Go, None);
        let caa = BeforeOrder::Order(None);
        let tls_alpn_01 = None;
        Self {
            order,
            issuer: ready("True", ""),
            acme: acme(),
            challenges,
            ca,
            caa,
            turn,
            trouble,
            tls_alpn_01,
            answerer: Answerer::Pod,
            now: now(),
        }
    }

    /// The order is placed at the CA and has these authorizations.
    fn placed(authorizations: &[Value]) -> Self {
        let mut scene = Self::new();
        scene.order.status = Some(object(json!({
            "url": "ca/order", "finalizeURL": "ca/finalize", "state": "pending", "authorizations": authorizations,
        })));
        scene
    }

    /// Placed, with a Challenge for each name.
    fn challenged() -> Self {
        let mut scene = Self::placed(&[
            authorization("www.example.com", false, "pending"),
            authorization("example.com", true, "pending"),
        ]);
        assert_eq!(scene.step(), ["CreateChallenge", "CreateChallenge"]);
        scene
    }

    /// Every name is proven.
    fn proven() -> Self {
        let mut scene = Self::challenged();
        scene.tell(0, "valid", None);
        scene.tell(1, "valid", None);
        scene
    }

    fn decide_with(&self, issuer: SeenIssuerOf<'_>) -> Decision<OrderStep> {
        let seen = SeenOrder {
            order: &self.order,
            issuer,
            tls_alpn_01: self.tls_alpn_01,
            answerer: self.answerer,
            challenges: &self.challenges,
            ca: self.ca.as_ref(),
            turn: &self.turn,
            trouble: self.trouble.as_ref(),
            caa: &self.caa,
        };
        decide(&seen, self.now)
    }

    fn decide(&self) -> Decision<OrderStep> {
        self.decide_with(SeenIssuerOf::Acme { ready: Some(&self.issuer), acme: &self.acme })
    }

    fn step(&mut self) -> Vec<String> {
        let decision = self.decide();
        let kinds = kinds(&decision);
        for step in decision.steps {
            match step {
                OrderStep::CreateChallenge(challenge) => self.challenges.push(Arc::new(*challenge)),
                OrderStep::DeleteChallenge(challenge) => self.challenges.retain(|held| *held != challenge),
                OrderStep::WriteStatus(status) => {
                    assert_ne!(self.order.status.as_ref(), Some(&*status), "an equal status is written");
                    self.order.status = Some(*status);
                }
                _ => {}
            }
        }
        kinds
    }

    fn tell(&mut self, index: usize, state: &str, reason: Option<&str>) {
        let status = object(json!({"state": state, "reason": reason}));
        Arc::make_mut(&mut self.challenges[index]).status = Some(status);
    }

    fn ca(&mut self, status: &str, next_look: i64) -> &mut CaOrder {
        self.ca.insert(CaOrder {
            status: status.to_owned(),
            problem: None,
            finalized: false,
            next_look: at(next_look),
            expires: None,
            certificate: None,
        })
    }

    fn status(&self) -> OrderStatus {
        self.order.status.clone().unwrap_or_default()
    }

    fn told(&self) -> (String, String) {
        let status = self.status();
        (status.state.unwrap_or_default(), status.reason.unwrap_or_default())
    }
}

/// The ClusterIssuer was corrected, so that the Challenge would wait for its former solver for ever.
#[test]
fn a_challenge_whose_solver_is_gone_ends_the_order() {
    let mut scene = Scene::challenged();
    scene.acme.solvers = vec![object(json!({"dns01": {"rfc2136": {"nameserver": "203.0.113.66"}}}))];
    assert_eq!(scene.step(), Vec::<String>::new(), "an Issuer's Challenges go on with what they were made with");
    scene.order.spec.issuer_ref.kind = Some("ClusterIssuer".to_owned());
    for challenge in &mut scene.challenges {
        Arc::make_mut(challenge).status = Some(object(json!({"presented": true})));
    }
    assert_eq!(scene.step(), Vec::<String>::new(), "what is presented goes on");
    Arc::make_mut(&mut scene.challenges[1]).status = None;
    assert_eq!(scene.step(), ["WriteStatus"]);
    let reason = "DNS-01 challenge for \"*.example.com\" cannot be presented; the issuer has other solvers now";
    assert_eq!(scene.told(), ("errored".to_owned(), reason.to_owned()));
}

#[test]
fn placed_first_then_its_authorizations_read() {
    assert_eq!(Scene::new().decide(), Decision::act(vec![OrderStep::Place]));
    let unread = Scene::placed(&[authorization("www.example.com", false, "pending"), json!({"url": "ca/unread"})]);
    assert_eq!(unread.decide(), Decision::act(vec![OrderStep::ReadAuthorizations]));
    assert_eq!(Scene::placed(&[]).decide(), Decision::act(vec![OrderStep::ReadAuthorizations]));
}

#[test]
fn one_challenge_for_each_name_that_is_not_proven() {
    let mut scene = Scene::placed(&[
        authorization("www.example.com", false, "pending"),
        authorization("example.com", true, "pending"),
        authorization("a.http.example.com", false, "pending"),
        authorization("old.example.com", false, "valid"),
    ]);
    assert_eq!(scene.step(), ["CreateChallenge"; 3]);
    let specs: Vec<_> = scene.challenges.iter().map(|challenge| &challenge.spec).collect();
    let told: Vec<_> = specs.iter().map(|spec| (&*spec.type_, &*spec.dns_name, spec.wildcard, &*spec.url)).collect();
    assert_eq!(
        told,
        [
            ("DNS-01", "www.example.com", false, "ca/dns-01/www.example.com"),
            ("DNS-01", "example.com", true, "ca/dns-01/example.com"),
            ("HTTP-01", "a.http.example.com", false, "ca/http-01/a.http.example.com"),
        ]
    );
    let first = &scene.challenges[0];
    assert_eq!(first.finalizers(), ["acme.cert-manager.io/finalizer"], "nothing is presented without it");
    assert!(is_owned_by(first.meta(), &scene.order));
    assert_eq!((first.spec.token.as_str(), first.namespace().as_deref()), ("tok", Some("shop")));
    assert_eq!(scene.decide(), Decision::rest(), "the Challenges' turn");
}

#[test]
fn a_lost_challenge_is_created_again_and_one_too_many_goes() {
    let mut scene = Scene::challenged();
    let lost = scene.challenges.remove(0);
    let mut extra = (*lost).clone();
    extra.spec.authorization_url = "ca/authorization/other".into();
    scene.challenges.push(Arc::new(extra));
    assert_eq!(scene.step(), ["DeleteChallenge", "CreateChallenge"]);
    assert_eq!(scene.decide(), Decision::rest());

    scene.challenges[0] = Arc::new(dying(&*scene.challenges[0]));
    assert_eq!(scene.decide(), Decision::rest(), "its name is still taken");
}

#[test]
fn challenges_of_another_name_and_solver_are_taken_over() {
    let mut scene = Scene::challenged();
    Arc::make_mut(&mut scene.challenges[0]).metadata.name = Some("made-by-cert-manager".into());
    scene.acme.solvers.clear();
    assert_eq!(scene.decide(), Decision::rest());
}

#[test]
fn the_solver_wishes_of_the_certificate_are_heard() {
    let mut scene = Scene::placed(&[authorization("a.http.example.com", false, "pending")]);
    let wish = [("acme.cert-manager.io/http01-override-ingress-name".to_owned(), "mine".to_owned())];
    scene.order.metadata.annotations = Some(wish.into());
    scene.step();
    let ingress = scene.challenges[0].spec.solver.http01.clone().unwrap().ingress.unwrap();
    assert_eq!(ingress.name.as_deref(), Some("mine"));
}

#[test]
fn without_a_solver_nothing_is_begun() {
    let mut scene = Scene::placed(&[
        authorization("www.example.com", false, "pending"),
        authorization("other.org", false, "pending"),
    ]);
    scene.acme.solvers = object(json!([{"dns01": {}, "selector": {"dnsZones": ["example.com"]}}]));
    assert_eq!(scene.step(), ["WriteStatus", "Publish"]);
    let (state, reason) = scene.told();
    assert_eq!(state, "errored");
    assert!(reason.contains("no solver for \"other.org\""), "{reason}");
    assert_eq!((scene.status().failure_time, scene.challenges.len()), (Some(Time(now())), 0));
    assert_eq!(scene.decide(), Decision::rest());
}

#[test]
fn a_failed_challenge_fails_the_order_and_the_others_go() {
    for state in ["invalid", "expired", "errored"] {
        let mut scene = Scene::challenged();
        scene.tell(1, state, Some("the CA saw nothing"));
        assert_eq!(scene.step(), ["WriteStatus"]);
        let (told, reason) = scene.told();
        assert_eq!(told, state);
        let why = "DNS-01 challenge for \"*.example.com\" failed: the CA saw nothing";
        assert!(reason.starts_with(why), "{reason}");
        assert_eq!(reason.ends_with(EXPIRED_BEFORE_FINISHED), state == "expired", "{reason}");
        assert_eq!(scene.step(), ["DeleteChallenge"]);
        assert_eq!(scene.challenges[0].spec.dns_name, "example.com", "the failed one stays to be looked at");
        assert_eq!(scene.decide(), Decision::rest());
    }
}

#[test]
fn a_challenge_that_is_not_wanted_fails_nothing() {
    let mut scene = Scene::challenged();
    let mut extra = dying(&*scene.challenges[0]);
    extra.spec.authorization_url = "ca/authorization/other".into();
    extra.status = Some(object(json!({"state": "invalid"})));
    scene.challenges.push(Arc::new(extra));
    assert_eq!(scene.decide(), Decision::rest());
    scene.tell(0, "valid", None);
    scene.tell(1, "valid", None);
    assert_eq!(scene.decide(), Decision::act(vec![OrderStep::ReadOrder]));
}

#[test]
fn from_proven_names_to_the_certificate() {
    let mut scene = Scene::proven();
    assert_eq!(scene.decide(), Decision::act(vec![OrderStep::ReadOrder]));
    scene.ca("pending", 3);
    assert_eq!(scene.decide(), Decision::rest_until(at(3)), "the CA's wish");
    scene.now = at(3);
    assert_eq!(scene.decide(), Decision::act(vec![OrderStep::ReadOrder]));
    scene.ca("ready", 9);
    assert_eq!(scene.decide(), Decision::act(vec![OrderStep::Finalize]));
    scene.ca("processing", 8).finalized = true;
    assert_eq!(scene.decide(), Decision::rest_until(at(8)));
    scene.ca("valid", 9);
    assert_eq!(scene.decide(), Decision::act(vec![OrderStep::Download]));
    scene.ca("valid", 9).certificate = Some(ChosenChain { pem: b"chain".to_vec(), warning: None });
    assert_eq!(scene.step(), ["WriteStatus", "Publish"]);
    let status = scene.status();
    assert_eq!((status.state.as_deref(), status.certificate), (Some("valid"), Some(ByteString(b"chain".to_vec()))));
    assert_eq!(scene.step(), ["DeleteChallenge"; 2]);
    assert_eq!(scene.decide(), Decision::rest());
}

#[test]
fn names_that_were_proven_before_need_no_challenge() {
    let scene = Scene::placed(&[authorization("www.example.com", false, "valid")]);
    assert_eq!(scene.decide(), Decision::act(vec![OrderStep::ReadOrder]));
}

#[test]
fn a_ca_that_stays_ready_after_finalizing_is_not_pressed() {
    let mut scene = Scene::proven();
    scene.ca("ready", 5).finalized = true;
    assert_eq!(scene.decide(), Decision::rest_until(at(5)));
    scene.now = at(5);
    assert_eq!(scene.decide(), Decision::act(vec![OrderStep::ReadOrder]));
}

#[test]
fn a_valid_order_is_fetched_again_whatever_has_become_of_its_challenges() {
    let mut scene = Scene::proven();
    scene.order.status.as_mut().unwrap().state = Some("valid".into());
    scene.challenges.clear();
    assert_eq!(scene.decide(), Decision::act(vec![OrderStep::ReadOrder]));
    scene.ca("valid", 9);
    assert_eq!(scene.decide(), Decision::act(vec![OrderStep::Download]));
    scene.ca("valid", 9).certificate = Some(ChosenChain { pem: b"chain".to_vec(), warning: Some("another".into()) });
    let steps = scene.decide().steps;
    let [OrderStep::WriteStatus(_), OrderStep::Publish(done), OrderStep::Publish(warning)] = &steps[..] else {
        panic!("{steps:?}")
    };
    assert_eq!((done.warning, done.reason.as_str()), (false, "Complete"));
    assert_eq!((warning.warning, warning.reason.as_str(), &*warning.text), (true, "PreferredChainNotFound", "another"));
}

#[test]
fn an_order_whose_time_is_over_has_expired() {
    for state in ["pending", "ready", "invalid"] {
        let mut scene = Scene::proven();
        scene.ca(state, 9).expires = Some(at(5));
        scene.now = at(4);
        let before = kinds(&scene.decide());
        scene.now = at(5);
        assert_eq!(scene.step(), ["WriteStatus"]);
        let (told, reason) = scene.told();
        assert_eq!(told, "expired", "{state} and {before:?} before");
        assert!(reason.ends_with("; it expired before it was finished"), "{reason}");
    }
    // A CA may take its time once it has the request, or the certificate.
    for state in ["processing", "valid"] {
        let mut scene = Scene::proven();
        scene.ca(state, 9).expires = Some(at(-1));
        assert_ne!(kinds(&scene.decide()), ["WriteStatus"], "{state}");
    }
    let mut scene = Scene::proven();
    scene.ca("processing", 9).expires = Some(at(-24 * 3600));
    scene.step();
    assert_eq!(scene.told().0, "expired", "not for ever");
    let mut scene = Scene::challenged();
    scene.tell(0, "expired", Some("the authorization is expired"));
    scene.step();
    let (told, reason) = scene.told();
    assert_eq!(told, "expired");
    assert!(reason.ends_with("failed: the authorization is expired; it expired before it was finished"), "{reason}");
    // The CA does not know it any more.
    let mut scene = Scene::challenged();
    let message = format!("Failed to retrieve Order resource: 404{EXPIRED_BEFORE_FINISHED}");
    scene.trouble = Some(Trouble { message, ..trouble(TroubleClass::Final, 1) });
    scene.step();
    assert_eq!(scene.told().0, "expired");
}

#[test]
fn an_order_that_the_ca_gave_up() {
    let mut scene = Scene::proven();
    scene.ca("invalid", 5).problem = Some("urn:ietf:params:acme:error:caa: forbidden".into());
    assert_eq!(scene.step(), ["WriteStatus"]);
    let reason = "The CA declared the order invalid: urn:ietf:params:acme:error:caa: forbidden";
    assert_eq!(scene.told(), ("invalid".to_owned(), reason.to_owned()));
}

#[test]
fn an_order_waits_for_its_turn_and_says_why_once() {
    let mut scene = Scene::new();
    assert_eq!(scene.step(), ["Place"]);
    scene.turn = Turn::Wait { until: at(60), why: Some("too many".into()) };
    let decision = scene.decide();
    assert_eq!((kinds(&decision), seconds_until(decision.wake)), (vec!["WriteStatus".to_owned()], Some(60)));
    scene.step();
    assert_eq!(scene.told().1, "too many");
    assert_eq!(scene.decide(), Decision::rest_until(at(60)));
    scene.turn = Turn::Wait { until: at(90), why: None };
    assert_eq!(scene.decide(), Decision::rest_until(at(90)), "nothing new is no reason to write");
    scene.turn = Turn::Go;
    assert_eq!(scene.step(), ["Place"]);
}

#[test]
fn a_wish_of_the_ca_is_told_with_its_time() {
    let mut scene = Scene::challenged();
    let hold = Hold { until: at(7200), reach: Reach::Account, is_wish: true };
    scene.trouble = Some(Trouble { hold: Some(hold), ..trouble(TroubleClass::Transient, 1) });
    assert_eq!(seconds_until(scene.decide().wake), Some(7200));
    scene.step();
    let told = "Failed to try: the other side was out; all orders of this account wait; next try at";
    assert_eq!(scene.told().1, format!("{told} {}", at(7200)));
    scene.now = at(7199);
    assert_eq!(scene.decide(), Decision::rest_until(at(7200)), "told once");
}

#[test]
fn trouble_that_time_may_cure_is_told_and_taken_back() {
    let mut scene = Scene::challenged();
    scene.trouble = Some(trouble(TroubleClass::Transient, 3));
    let decision = scene.decide();
    assert_eq!((kinds(&decision), seconds_until(decision.wake)), (vec!["WriteStatus".to_owned()], Some(15)));
    scene.step();
    assert_eq!(scene.told().1, "Failed to try: the other side was out; next try after 15 s");
    assert_eq!(scene.decide(), Decision::rest_until(at(15)), "told once");
    scene.trouble = None;
    assert_eq!(scene.step(), ["WriteStatus"]);
    assert_eq!(scene.told(), ("pending".to_owned(), String::new()));

    scene.trouble =
        Some(Trouble { retry_after: Some(jiff::SignedDuration::from_hours(1)), ..trouble(TroubleClass::Transient, 1) });
    assert_eq!(seconds_until(scene.decide().wake), Some(3600), "the CA's wish counts");
    scene.trouble =
        Some(Trouble { retry_after: Some(jiff::SignedDuration::MAX), ..trouble(TroubleClass::Transient, 1) });
    assert_eq!(scene.decide().wake, Wake::At(Timestamp::MAX));
}

#[test]
fn what_keeps_a_challenge_is_told_and_taken_back() {
    let mut scene = Scene::challenged();
    for usual in ["", "Waiting for DNS-01 challenge propagation", "Waiting 5 s before …, as the solver asks"] {
        scene.tell(1, "pending", Some(usual));
        assert_eq!(scene.decide(), Decision::rest(), "{usual}");
    }
    scene.tell(1, "pending", Some("ns1 has nothing"));
    assert_eq!(scene.step(), ["WriteStatus"]);
    assert_eq!(scene.told().1, "DNS-01 challenge for \"*.example.com\": ns1 has nothing");
    assert_eq!(scene.decide(), Decision::rest());
    scene.tell(1, "valid", Some("Successfully authorized domain"));
    assert_eq!(scene.step(), ["WriteStatus"]);
    assert_eq!(scene.told().1, "");
}

#[test]
fn trouble_for_good_fails_the_order() {
    for mut scene in [Scene::new(), Scene::challenged(), Scene::proven()] {
        scene.trouble = Some(trouble(TroubleClass::Final, 1));
        assert_eq!(scene.step(), ["WriteStatus"]);
        assert_eq!(scene.told(), ("errored".to_owned(), "Failed to try: the other side was out".to_owned()));
        assert!(scene.status().failure_time.is_some());
        let _ = scene.step();
        assert_eq!(scene.challenges.iter().filter(|held| state_of(held) == Progress::Open).count(), 0);
    }
}

#[test]
fn without_a_usable_issuer_it_says_so_and_waits() {
    let (acme, sleeping) = (acme(), ready("False", "it sleeps"));
    for (issuer, text) in [
        (SeenIssuerOf::Missing, "Waiting for Issuer \"le\", which does not exist"),
        (SeenIssuerOf::Unserved("not of this world"), "not of this world"),
        (SeenIssuerOf::Foreign, "Issuer \"le\" is no ACME issuer of the group cert-manager.io"),
        (SeenIssuerOf::Acme { ready: Some(&sleeping), acme: &acme }, "Waiting for Issuer \"le\": it sleeps"),
        (SeenIssuerOf::Acme { ready: None, acme: &acme }, "Waiting for Issuer \"le\": it was not looked at yet"),
    ] {
        let mut scene = Scene::challenged();
        let steps = scene.decide_with(issuer).steps;
        let [OrderStep::WriteStatus(status)] = &steps[..] else { panic!("{steps:?}") };
        assert_eq!(status.reason.as_deref(), Some(text));
        scene.order.status = Some((**status).clone());
        assert_eq!(scene.decide_with(issuer), Decision::rest());
        scene.step();
        assert_eq!(scene.told().1, "", "taken back when it is usable again");
    }
}

#[test]
fn what_ended_or_goes_needs_no_issuer() {
    let mut valid = Scene::proven();
    valid.order.status.as_mut().unwrap().state = Some("valid".into());
    valid.order.status.as_mut().unwrap().certificate = Some(ByteString(b"chain".to_vec()));
    assert_eq!(kinds(&valid.decide_with(SeenIssuerOf::Missing)), ["DeleteChallenge"; 2]);
    let mut going = Scene::challenged();
    going.order = dying(&going.order);
    assert_eq!(going.decide(), Decision::rest());
}

#[test]
fn a_valid_order_whose_certificate_was_not_stored_is_asked_for_it() {
    let mut scene = Scene::proven();
    scene.order.status.as_mut().unwrap().state = Some("valid".into());
    assert_eq!(scene.decide(), Decision::act(vec![OrderStep::ReadOrder]));
}

#[test]
fn what_the_domains_forbid_is_not_ordered() {
    let mut scene = Scene::new();
    scene.caa = BeforeOrder::LookUp;
    assert_eq!(kinds(&scene.decide()), ["LookUpCaa"]);
    scene.caa = BeforeOrder::Wait { until: at(300), reason: "Nothing was ordered: they allow nobody".to_owned() };
    assert_eq!(scene.step(), ["WriteStatus"]);
    assert_eq!(scene.decide(), Decision::rest_until(at(300)), "told once");
    scene.caa = BeforeOrder::Order(Some(Note::warning(event::CAA, "they allow nobody")));
    assert_eq!(kinds(&scene.decide()), ["Place", "Publish"]);
}

#[test]
fn a_challenge_without_a_pod_is_marked_as_such() {
    for (answerer, solver, is_podless) in [
        (Answerer::Pod, json!({"http01": {"ingress": {}}}), false),
        (Answerer::Controller, json!({"http01": {"ingress": {}}}), true),
        (Answerer::Controller, json!({"dns01": {"rfc2136": {"nameserver": "192.0.2.53"}}}), false),
        (Answerer::Controller, json!({"http01": {"gatewayHTTPRoute": {"parentRefs": [{"name": "edge"}]}}}), true),
    ] {
        let mut scene = Scene::placed(&[authorization("www.example.com", false, "pending")]);
        scene.acme.solvers = object(json!([solver]));
        scene.answerer = answerer;
        scene.step();
        assert_eq!(scene.challenges[0].is_podless(), is_podless, "{answerer:?} {solver}");
    }
}

#[test]
fn a_challenge_over_tls_is_marked_as_such() {
    let mut scene = Scene::placed(&[authorization("www.example.com", false, "pending")]);
    scene.acme.solvers = object(json!([{"http01": {"gatewayHTTPRoute": {"parentRefs": [{"name": "edge"}]}}}]));
    scene.tls_alpn_01 = Some("true");
    assert_eq!(scene.step(), ["CreateChallenge"]);
    let challenge = &scene.challenges[0];
    assert_eq!(Method::of(challenge), Some(Method::TlsAlpn01));
    assert_eq!(
        (challenge.spec.url.as_str(), challenge.spec.type_.as_str()),
        ("ca/tls-alpn-01/www.example.com", "HTTP-01")
    );
    scene.tell(0, "invalid", Some("the CA says no"));
    scene.step();
    assert_eq!(scene.told().1, "TLS-ALPN-01 challenge for \"www.example.com\" failed: the CA says no");
    // Without the annotation the same solver answers by HTTP-01, and nothing marks the Challenge.
    let mut plain = Scene::placed(&[authorization("www.example.com", false, "pending")]);
    plain.acme.solvers = scene.acme.solvers.clone();
    plain.step();
    assert_eq!(plain.challenges[0].metadata.annotations, None);
    assert_eq!(Method::of(&plain.challenges[0]), Some(Method::Http01));
}

#[test]
fn names_of_an_order_share_the_way_to_the_controller() {
    let names = ["a.example.com", "b.example.com"];
    let mut scene = Scene::placed(&names.map(|name| authorization(name, false, "pending")));
    scene.acme.solvers = object(json!([{"http01": {"ingress": {}}}]));
    scene.answerer = Answerer::Controller;
    let wishes = Wishes {
        order: &scene.order.clone(),
        acme: &scene.acme.clone(),
        tls_alpn_01: None,
        answerer: Answerer::Controller,
    };
    scene.step();
    // What is to come is known before it is there.
    let told = wanted_child::challenges(&wishes);
    let held: Vec<_> = scene.challenges.iter().map(|challenge| challenge.name_any()).collect();
    assert_eq!(told.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), held);
    let route = |challenge: &Challenge| {
        let (order, route) = challenge.shared_route().unwrap();
        (order.uid.clone(), route.to_owned(), crate::decide::fixed_name::http01_solver_of(challenge))
    };
    assert_eq!(route(&scene.challenges[0]), route(&scene.challenges[1]));
    assert_eq!(route(&told[0]), route(&scene.challenges[0]));
    // Another's Order has other objects, whatever the annotation says.
    let mut other = (*scene.challenges[0]).clone();
    other.metadata.owner_references.as_mut().unwrap()[0].uid = "other".to_owned();
    assert_ne!(route(&other).2, route(&scene.challenges[0]).2);
}
