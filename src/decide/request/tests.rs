#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use k8s_openapi::ByteString;
use serde_json::json;

use super::*;
use crate::{
    api::{
        OrderStatus,
        issuer::{CaIssuer, SelfSignedIssuer},
        names::annotation,
    },
    decide::{
        TroubleClass, Wake,
        authority::Authority,
        children,
        renewal_information::Marks,
        template::CopiedAnnotations,
        testing::{
            DAY, HOUR, acme, answer, at, chain, condition as told, dying, key, kinds, lines, now, object, ready,
            trouble,
        },
    },
    pki::ParsedCertificate,
};

const APPROVED: &str = "Approved=True cert-manager.io: Certificate request has been approved by cert-manager.io";

/// What surrounds one CertificateRequest.
struct Scene {
    request: CertificateRequest,
    issuer: Option<Condition>,
    acme: AcmeIssuer,
    order: Option<Order>,
    approves: bool,
    trouble: Option<Trouble>,
}

impl Scene {
    fn new() -> Self {
        Self::of(json!({"dnsNames": ["www.example.com", "shop.example.com"]}))
    }

    /// The request of a Certificate whose spec has these fields.
    fn of(spec: serde_json::Value) -> Self {
        let mut spec = spec;
        spec["issuerRef"] = json!({"name": "le"});
        let certificate = object(json!({
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "c", "labels": {"team": "a"},
                "annotations": {"own.example/x": "1", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
            },
            "spec": spec,
        }));
        let copied = CopiedAnnotations::default();
        let key = ("web-key".to_owned(), key(0));
        let mut request = children::certificate_request(
            &certificate,
            "web-1".into(),
            1,
            key,
            &[],
            (&copied, crate::decide::certificate::Features::default()),
        )
        .unwrap();
        request.metadata.uid = Some("request-uid".into());
        Self {
            request,
            issuer: Some(ready("True", "registered")),
            acme: acme(),
            order: None,
            approves: true,
            trouble: None,
        }
    }

    fn issuer(&self) -> SeenIssuerOf<'_> {
        SeenIssuerOf::Acme { ready: self.issuer.as_ref(), acme: &self.acme }
    }

    fn decide_with(&self, issuer: SeenIssuerOf<'_>) -> Decision<RequestStep> {
        let copied_annotations = &CopiedAnnotations::default();
        let (request, order, trouble) = (&self.request, self.order.as_ref(), self.trouble.as_ref());
        let approves = self.approves;
        decide(&SeenRequest { request, issuer, order, copied_annotations, approves, trouble }, now())
    }

    /// Carries out the decision; deciding again must give nothing.
    fn step_with(&mut self, issuer: SeenIssuerOf<'_>) -> Vec<String> {
        let decision = self.decide_with(issuer);
        assert_eq!(decision.wake, Wake::OnChange);
        let kinds = kinds(&decision);
        for step in decision.steps {
            match step {
                RequestStep::CreateOrder(order) => self.order = Some(*order),
                RequestStep::Sign { not_before, not_after, status } => {
                    let seconds = |time: Timestamp| time.duration_since(now()).as_secs();
                    let certificate = Some(answer(&self.request, seconds(not_before), seconds(not_after)));
                    self.request.status = Some(CertificateRequestStatus { certificate, ..*status });
                }
                RequestStep::WriteStatus(status) => self.request.status = Some(*status),
                RequestStep::Publish(_) => {}
            }
        }
        assert_eq!(self.decide_with(issuer), Decision::rest());
        kinds
    }

    fn step(&mut self) -> Vec<String> {
        let (condition, acme) = (self.issuer.clone(), self.acme.clone());
        self.step_with(SeenIssuerOf::Acme { ready: condition.as_ref(), acme: &acme })
    }

    fn order(&mut self, state: &str, reason: Option<&str>) -> &mut OrderStatus {
        let order = self.order.as_mut().unwrap();
        let (state, reason) = (Some(state.to_owned()), reason.map(str::to_owned));
        order.status.insert(OrderStatus { state, reason, ..OrderStatus::default() })
    }

    fn conditions(&self) -> Vec<String> {
        lines(&self.request.status.clone().unwrap_or_default().conditions)
    }

    fn ready(&self) -> String {
        self.conditions().into_iter().find(|line| line.starts_with("Ready=")).unwrap_or_default()
    }
}

#[test]
fn approved_and_ordered_in_one_go_then_issued() {
    let mut scene = Scene::new();
    assert_eq!(scene.step(), ["CreateOrder", "WriteStatus"]);
    let order = scene.order.clone().unwrap();
    assert_eq!(
        scene.conditions(),
        [APPROVED.to_owned(), format!("Ready=False Pending: Created Order resource shop/{}", order.name_any())]
    );
    assert!(is_owned_by(order.meta(), &scene.request));
    assert_eq!(order.spec.dns_names, ["www.example.com", "shop.example.com"]);
    assert_eq!(order.spec.request, scene.request.spec.request);
    assert_eq!(order.labels()["team"], "a");
    assert_eq!(order.annotations()["own.example/x"], "1");
    assert_eq!(order.annotations()[annotation::CERTIFICATE_REVISION], "1");

    scene.order("pending", None);
    assert_eq!(scene.step(), [""; 0]);
    let chain = answer(&scene.request, 0, 90 * DAY);
    scene.order("valid", None).certificate = Some(chain.clone());
    assert_eq!(scene.step(), ["WriteStatus", "Publish"]);
    assert_eq!(scene.ready(), "Ready=True Issued: Certificate fetched from issuer successfully");
    assert_eq!(scene.request.status.as_ref().unwrap().certificate, Some(chain));
    scene.order = None;
    scene.issuer = None;
    assert_eq!(scene.step(), [""; 0], "it has come to its end");
}

#[test]
fn a_request_that_nobody_owns_is_served_too() {
    let mut scene = Scene::new();
    (scene.request.metadata.annotations, scene.request.metadata.labels) = (None, None);
    scene.request.metadata.owner_references = None;
    assert_eq!(scene.step(), ["CreateOrder", "WriteStatus"]);
    let chain = answer(&scene.request, 0, DAY);
    scene.order("valid", None).certificate = Some(chain);
    scene.step();
    assert!(scene.ready().starts_with("Ready=True"));
}

#[test]
fn trouble_of_the_order_comes_and_goes() {
    let mut scene = Scene::new();
    scene.step();
    let usual = scene.ready();
    let name = scene.order.as_ref().unwrap().name_any();
    scene.order("pending", Some("the CA sleeps"));
    assert_eq!(scene.step(), ["WriteStatus"]);
    let text = format!("Waiting on certificate issuance from order shop/{name}: \"pending\": the CA sleeps");
    assert_eq!(scene.ready(), format!("Ready=False Pending: {text}"));
    scene.order("pending", None);
    assert_eq!(scene.step(), ["WriteStatus"]);
    assert_eq!(scene.ready(), usual);
}

#[test]
fn a_failed_order_fails_the_request() {
    for state in ["errored", "invalid", "expired"] {
        let mut scene = Scene::new();
        scene.step();
        let name = scene.order.as_ref().unwrap().name_any();
        scene.order(state, Some("no such name"));
        // The issuer may be gone by then.
        assert_eq!(scene.step_with(SeenIssuerOf::Missing), ["WriteStatus", "Publish"]);
        let text = format!("order is in \"{state}\" state: no such name");
        let text = format!("Failed to wait for order resource {name:?} to become ready: {text}");
        assert_eq!(scene.ready(), format!("Ready=False Failed: {text}"));
        assert_eq!(scene.request.status.as_ref().unwrap().failure_time, Some(Time(now())));
    }
}

#[test]
fn a_certificate_for_another_key_fails_the_request_instead_of_ordering_again() {
    for wrong in [chain(key(1), &["www.example.com"], 0, DAY), "garbage".to_owned(), String::new()] {
        let mut scene = Scene::new();
        scene.step();
        scene.order("valid", None).certificate = Some(ByteString(wrong.into_bytes()));
        assert_eq!(scene.step(), ["WriteStatus", "Publish"]);
        assert!(scene.ready().starts_with("Ready=False Failed: The CA returned a certificate for another key"));
    }
}

#[test]
fn issuers_that_cannot_sign() {
    type Case<'a> = (SeenIssuerOf<'a>, &'a str);
    let (acme, sleeping) = (acme(), ready("False", "it sleeps"));
    let cases: [Case<'_>; 4] = [
        (SeenIssuerOf::Missing, "Referenced Issuer \"le\" not found in namespace \"shop\"; create it or correct"),
        (SeenIssuerOf::Unserved("not of this world"), "not of this world"),
        (SeenIssuerOf::Acme { ready: Some(&sleeping), acme: &acme }, "Waiting for Issuer \"le\": it sleeps"),
        (SeenIssuerOf::Acme { ready: None, acme: &acme }, "Waiting for Issuer \"le\": it was not looked at yet"),
    ];
    for (issuer, text) in cases {
        let mut scene = Scene::new();
        assert_eq!(scene.step_with(issuer), ["WriteStatus", "Publish"]);
        assert_eq!(scene.conditions()[0], APPROVED);
        assert!(scene.ready().starts_with(&format!("Ready=False Pending: {text}")), "{}", scene.ready());
        assert_eq!(scene.step(), ["CreateOrder", "WriteStatus"], "it goes on by itself");
    }
}

#[test]
fn an_issuer_that_does_not_serve_the_request() {
    let mut scene = Scene::new();
    assert_eq!(scene.step_with(SeenIssuerOf::Refused("Not you.")), ["WriteStatus", "Publish"]);
    assert_eq!(scene.conditions(), ["Ready=False Failed: Not you."], "it is not approved either");
    assert_eq!(scene.step(), [""; 0], "it is over");
}

#[test]
fn what_was_ordered_already_is_not_refused_any_more() {
    let mut scene = Scene::new();
    scene.step();
    let chain = answer(&scene.request, -HOUR, DAY);
    scene.order("valid", None).certificate = Some(chain);
    scene.step_with(SeenIssuerOf::Refused("Not you."));
    assert!(scene.ready().starts_with("Ready=True Issued"), "{}", scene.ready());
}

#[test]
fn an_issuer_of_another_group_is_left_to_its_controller() {
    let mut scene = Scene::new();
    assert_eq!(scene.step_with(SeenIssuerOf::Foreign), ["WriteStatus"]);
    assert_eq!(scene.conditions(), [APPROVED]);
    let answered = told("Ready", "True", "Issued", "signed elsewhere");
    scene.request.status.as_mut().unwrap().conditions.push(answered);
    assert_eq!(scene.step_with(SeenIssuerOf::Foreign), [""; 0]);
}

#[test]
fn a_denied_request_ends_whoever_would_sign() {
    let mut scene = Scene::new();
    let denied = vec![told("Denied", "True", "Policy", "no")];
    scene.request.status = Some(CertificateRequestStatus { conditions: denied, ..Default::default() });
    assert_eq!(scene.step_with(SeenIssuerOf::Foreign), ["WriteStatus"]);
    assert_eq!(scene.ready(), "Ready=False Denied: The CertificateRequest was denied by an approval controller");
    assert_eq!(scene.request.status.as_ref().unwrap().failure_time, Some(Time(now())));
    assert_eq!(scene.step(), [""; 0]);
}

#[test]
fn what_has_ended_or_is_invalid_or_goes_is_left_alone() {
    for condition in [
        told("InvalidRequest", "True", "Bad", "no"),
        told("Ready", "True", "Issued", ""),
        told("Ready", "False", "Failed", ""),
        told("Ready", "False", "Denied", ""),
    ] {
        let mut scene = Scene::new();
        let conditions = vec![condition];
        scene.request.status = Some(CertificateRequestStatus { conditions, ..Default::default() });
        assert_eq!(scene.decide_with(scene.issuer()), Decision::rest());
    }
    let mut scene = Scene::new();
    scene.request = dying(&scene.request);
    assert_eq!(scene.decide_with(scene.issuer()), Decision::rest());
}

#[test]
fn requests_that_no_acme_ca_would_take() {
    let garbage = |scene: &mut Scene| scene.request.spec.request = ByteString(b"garbage".to_vec());
    let mut cases = [
        (Scene::new(), "RequestParsingError", "Failed to decode CSR in spec.request"),
        (Scene::of(json!({"commonName": "x", "dnsNames": ["www.example.com"]})), "InvalidOrder", "common name \"x\""),
        (
            Scene::of(json!({"emailAddresses": ["a@example.com"]})),
            "InvalidOrder",
            "neither a DNS name nor an IP address",
        ),
        (Scene::of(json!({"dnsNames": ["my_service"]})), "InvalidOrder", "\"my_service\" has the character '_'"),
    ];
    garbage(&mut cases[0].0);
    for (mut scene, event, text) in cases {
        let steps = scene.decide_with(scene.issuer()).steps;
        assert!(matches!(steps.last(), Some(RequestStep::Publish(note)) if note.reason == event && note.warning));
        assert_eq!(scene.step(), ["WriteStatus", "Publish"]);
        assert!(scene.ready().starts_with("Ready=False Failed: ") && scene.ready().contains(text), "{}", scene.ready());
        assert_eq!(scene.order, None);
    }
}

#[test]
fn a_name_without_a_solver_waits_for_one() {
    let mut scene = Scene::new();
    let solver = scene.acme.solvers.remove(0);
    assert_eq!(scene.step(), ["WriteStatus", "Publish"]);
    let text = "Ready=False Pending: Nothing was ordered: no solver for \"www.example.com\"";
    assert!(scene.ready().starts_with(text), "{}", scene.ready());
    assert_eq!(scene.decide_with(scene.issuer()), Decision::rest(), "told once");
    scene.acme.solvers.push(solver);
    assert_eq!(scene.step(), ["CreateOrder", "WriteStatus"]);
}

#[test]
fn a_common_name_is_one_of_the_names_however_it_is_written() {
    for (common_name, names) in [
        ("WWW.Example.com", json!(["www.example.com"])),
        ("b\u{fc}cher.example", json!(["b\u{fc}cher.example"])),
        ("", json!(["a.example"])),
    ] {
        let mut scene = Scene::of(json!({"commonName": common_name, "dnsNames": names}));
        assert_eq!(scene.step(), ["CreateOrder", "WriteStatus"], "{common_name}: {}", scene.ready());
    }
    let mut address = Scene::of(json!({"commonName": "192.0.2.1", "ipAddresses": ["192.0.2.1"]}));
    assert_eq!(address.step(), ["CreateOrder", "WriteStatus"]);
}

#[test]
fn what_the_issuer_says_goes_into_the_order() {
    let mut scene = Scene::of(json!({"dnsNames": ["a.example"], "duration": "48h"}));
    scene.acme.profile = Some("shortlived".into());
    scene.step();
    let spec = scene.order.take().unwrap().spec;
    assert_eq!((spec.duration, spec.profile.as_deref()), (None, Some("shortlived")));
    let own = |scene: &mut Scene, name: &str| {
        scene.request.annotations_mut().insert(annotation::PROFILE.into(), name.into());
        (scene.request.status, scene.order) = (None, None);
        scene.step();
    };
    own(&mut scene, "tlsserver");
    assert_eq!(scene.order.as_ref().unwrap().spec.profile.as_deref(), Some("tlsserver"));
    own(&mut scene, "no name");
    assert!(scene.order.is_none() && scene.ready().contains("certwright.dev/profile is no name of a profile"));
    scene.request.annotations_mut().clear();
    scene.acme.enable_duration_feature = true;
    scene.request.status = None;
    scene.step();
    assert_eq!(scene.order.unwrap().spec.duration, Some("48h".into()));
}

#[test]
fn what_the_certificate_says_of_the_one_before_goes_into_the_order() {
    let mut scene = Scene::new();
    Marks { replaces: Some("a.b".to_owned()), urgent: true }.put_on(&mut scene.request);
    scene.step();
    let order = scene.order.unwrap();
    assert_eq!(order.spec.replaces.as_deref(), Some("a.b"));
    assert_eq!(order.annotations()[annotation::URGENT], "true");

    let mut scene = Scene::new();
    Marks::default().put_on(&mut scene.request);
    scene.step();
    let order = scene.order.unwrap();
    assert_eq!(order.spec.replaces, None);
    assert!(!order.annotations().contains_key(annotation::URGENT));
}

#[test]
fn an_order_of_somebody_else_in_the_way() {
    let mut scene = Scene::new();
    scene.step();
    scene.order.as_mut().unwrap().metadata.owner_references = None;
    let chain = answer(&scene.request, 0, DAY);
    scene.order("valid", None).certificate = Some(chain);
    assert_eq!(scene.step(), ["WriteStatus", "Publish"]);
    assert!(scene.ready().contains("exists but belongs to another object"), "{}", scene.ready());
    scene.order = None;
    assert_eq!(scene.step(), ["CreateOrder", "WriteStatus"]);
}

#[test]
fn an_order_on_its_way_out_is_waited_for() {
    let mut scene = Scene::new();
    scene.step();
    scene.order = Some(dying(scene.order.as_ref().unwrap()));
    assert_eq!(scene.step(), [""; 0]);
    assert_eq!(at(0), now());
}

fn ca() -> (CaIssuer, SeenAuthority) {
    let chain = ParsedCertificate::from_pem_chain(chain(key(1), &["ca"], 0, HOUR).as_bytes()).unwrap();
    let authority = SeenAuthority::Usable(Arc::new(Authority { chain, key: key(1).clone() }));
    (CaIssuer { secret_name: "ca".into(), ..CaIssuer::default() }, authority)
}

#[test]
fn a_ca_signs_in_the_write_that_approves() {
    let (mut scene, (ca, authority), ready) = (Scene::new(), ca(), ready("True", ""));
    let issuer = SeenIssuerOf::Ca { ready: Some(&ready), ca: &ca, authority: &authority };
    let RequestStep::Sign { not_before, not_after, .. } = &scene.decide_with(issuer).steps[0] else { panic!() };
    assert_eq!((*not_before, *not_after), (now(), at(HOUR)), "as long as the CA's own certificate, not 90 days");
    assert_eq!(scene.step_with(issuer), ["Sign", "Publish"]);
    let done = "Ready=True Issued: Certificate fetched from issuer successfully";
    assert_eq!(scene.conditions(), [APPROVED, done]);
}

#[test]
fn a_ca_that_cannot_sign_is_waited_for() {
    let (ca, good) = ca();
    let (is_ready, is_not) = (ready("True", ""), ready("False", "no key"));
    let cases = [
        (&is_not, good, "Waiting for Issuer \"le\": no key"),
        (
            &is_ready,
            SeenAuthority::Missing("The Secret shop/ca".into()),
            "The Secret shop/ca with the CA's key pair does",
        ),
        (
            &is_ready,
            SeenAuthority::Unusable("it has no tls.key".into()),
            "The issuer's Secret holds no usable CA: it has",
        ),
    ];
    for (ready, authority, text) in cases {
        let mut scene = Scene::new();
        let issuer = SeenIssuerOf::Ca { ready: Some(ready), ca: &ca, authority: &authority };
        assert_eq!(scene.step_with(issuer), ["WriteStatus", "Publish"]);
        assert!(scene.ready().starts_with(&format!("Ready=False Pending: {text}")), "{}", scene.ready());
    }
}

#[test]
fn what_cannot_be_signed_fails() {
    let (mut scene, (ca, authority), ready) = (Scene::new(), ca(), ready("True", ""));
    scene.trouble = Some(trouble(TroubleClass::Final, 1));
    let issuer = SeenIssuerOf::Ca { ready: Some(&ready), ca: &ca, authority: &authority };
    assert_eq!(scene.step_with(issuer), ["WriteStatus", "Publish"]);
    assert_eq!(scene.ready(), "Ready=False Failed: Failed to try: the other side was out");
}

#[test]
fn a_self_signed_certificate_is_signed_with_its_own_key() {
    let (self_signed, ready) = (SelfSignedIssuer::default(), ready("True", ""));
    for (seen, text) in [
        (SeenKey::Usable(key(0).clone()), "Ready=True Issued"),
        (
            SeenKey::Usable(key(1).clone()),
            "Ready=False Failed: The private key in the Secret that the request names is not",
        ),
        (
            SeenKey::Unnamed,
            "Ready=False Failed: A self-signed certificate is signed with its own key, but the annotation",
        ),
        (
            SeenKey::Missing("The Secret shop/k".into()),
            "Ready=False Pending: The Secret shop/k with the private key does",
        ),
        (SeenKey::Unusable("garbage".into()), "Ready=False Pending: garbage"),
    ] {
        let mut scene = Scene::new();
        scene.step_with(SeenIssuerOf::SelfSigned { ready: Some(&ready), self_signed: &self_signed, key: &seen });
        assert!(scene.ready().starts_with(text), "{}", scene.ready());
    }
}

#[test]
fn a_certificate_without_issuer_name_is_warned_of() {
    let (self_signed, ready, own) = (SelfSignedIssuer::default(), ready("True", ""), SeenKey::Usable(key(0).clone()));
    let issuer = SeenIssuerOf::SelfSigned { ready: Some(&ready), self_signed: &self_signed, key: &own };
    let warned = |scene: &Scene| format!("{:?}", scene.decide_with(issuer)).contains("BadConfig");
    assert!(warned(&Scene::new()));
    assert!(!warned(&Scene::of(json!({"commonName": "a", "dnsNames": ["a"]}))));
}

#[test]
fn without_the_built_in_approver_somebody_else_approves() {
    let mut scene = Scene { approves: false, ..Scene::new() };
    assert_eq!(scene.step(), ["WriteStatus", "Publish"]);
    assert_eq!(scene.conditions(), ["Ready=False Pending: Not signing CertificateRequest until it is Approved"]);
    let approved = told("Approved", "True", "by-hand", "fine");
    set_condition(&mut scene.request.status.as_mut().unwrap().conditions, approved, now());
    assert_eq!(scene.step(), ["CreateOrder", "WriteStatus"]);
    let mut foreign = Scene { approves: false, ..Scene::new() };
    assert_eq!(foreign.step_with(SeenIssuerOf::Foreign), [""; 0], "an external issuer's conditions are its own");
}

#[test]
fn a_csr_that_contradicts_its_request_is_not_ordered() {
    let mut scene = Scene::new();
    scene.request.spec.usages = vec!["client auth".into()];
    assert_eq!(scene.step(), ["WriteStatus", "Publish"]);
    assert!(scene.ready().starts_with("Ready=False Failed: spec.usages and spec.isCA do not fit"), "{}", scene.ready());
}
