#![allow(clippy::unwrap_used)]

use kube::Resource;
use serde_json::{Value, json};

use super::*;
use crate::{
    api::{Certificate, Challenge, Order},
    decide::{
        certificate::Features,
        children,
        template::CopiedAnnotations,
        testing::{acme, key, object},
    },
};

fn cluster_issuer() -> IssuerReference {
    object(json!({"kind": "ClusterIssuer", "name": "le"}))
}

fn terms<'a>(issuer: &'a IssuerReference, namespaces: Option<&'a str>, names: Option<&'a str>) -> Terms<'a> {
    Terms::of(issuer, |name| match name {
        annotation::ALLOWED_NAMESPACES => namespaces,
        annotation::ALLOWED_NAMES => names,
        _ => None,
    })
}

/// The request of a Certificate in the namespace `shop` whose spec has these fields.
fn request(spec: &Value) -> CertificateRequest {
    let mut spec = spec.clone();
    spec["issuerRef"] = json!({"kind": "ClusterIssuer", "name": "le"});
    let metadata = json!({"name": "web", "namespace": "shop", "uid": "certificate"});
    let certificate: Certificate = object(json!({"metadata": metadata, "spec": spec}));
    let (key, manner) = (("key".to_owned(), key(0)), (&CopiedAnnotations::default(), Features::default()));
    let mut request = children::certificate_request(&certificate, "web-1".into(), 1, key, &[], manner).unwrap();
    request.metadata.uid = Some("request".to_owned());
    request
}

fn order(request: &CertificateRequest) -> Order {
    let mut order: Order = object(json!({
        "metadata": {"name": "web-1-7", "namespace": "shop", "uid": "order"},
        "spec": {"request": "", "issuerRef": {"kind": "ClusterIssuer", "name": "le"}, "dnsNames": ["www.example.com"]},
        "status": {"authorizations": [{
            "url": "ca/authorization", "identifier": "www.example.com", "wildcard": false,
            "challenges": [{"type": "dns-01", "url": "ca/challenge", "token": "token"}],
        }]},
    }));
    order.spec.request = request.spec.request.clone();
    order.metadata.owner_references = request.controller_owner_ref(&()).map(|owner| vec![owner]);
    order
}

fn challenge(order: &Order) -> Challenge {
    let mut challenge: Challenge = object(json!({
        "metadata": {"name": "web-1-7-9", "namespace": "shop", "uid": "challenge"},
        "spec": {
            "authorizationURL": "ca/authorization", "url": "ca/challenge", "dnsName": "www.example.com", "type": "DNS-01",
            "token": "token", "key": "value", "solver": {"dns01": {"rfc2136": {"nameserver": "192.0.2.53"}}},
            "issuerRef": {"kind": "ClusterIssuer", "name": "le"},
        },
    }));
    challenge.metadata.owner_references = order.controller_owner_ref(&()).map(|owner| vec![owner]);
    challenge
}

#[test]
fn an_issuer_without_terms_serves_everybody() {
    let issuer = cluster_issuer();
    let asked = request(&json!({"dnsNames": ["www.example.com"], "emailAddresses": ["a@example.com"], "isCA": true}));
    assert_eq!(of_request(&terms(&issuer, None, None), &asked), None);
}

#[test]
fn namespaces_are_served_that_are_allowed() {
    let issuer = cluster_issuer();
    let asked = request(&json!({"dnsNames": ["www.example.com"]}));
    assert_eq!(of_request(&terms(&issuer, Some("shop, blog"), None), &asked), None);
    assert_eq!(
        of_request(&terms(&issuer, Some("blog"), None), &asked).unwrap(),
        "ClusterIssuer \"le\" does not serve the namespace \"shop\": its annotation certwright.dev/allowed-namespaces does not \
         allow it"
    );
    assert!(of_request(&terms(&issuer, Some(""), None), &asked).is_some(), "nobody");
    let own: IssuerReference = object(json!({"name": "le"}));
    assert_eq!(of_request(&terms(&own, Some("blog"), None), &asked), None, "an Issuer serves its namespace");
}

#[test]
fn names_are_certified_that_are_allowed() {
    let issuer = cluster_issuer();
    let terms = terms(&issuer, None, Some(".example.com, 192.0.2.0/24"));
    for (spec, refused) in [
        (json!({"dnsNames": ["www.example.com", "*.example.com"]}), None),
        (json!({"dnsNames": ["www.example.com"], "ipAddresses": ["192.0.2.7"]}), None),
        (json!({"dnsNames": ["www.example.com"], "commonName": "www.example.com"}), None),
        (json!({"dnsNames": ["www.example.com", "example.com"]}), Some("the name \"example.com\"")),
        (json!({"dnsNames": ["www.example.com"], "commonName": "bank.example"}), Some("the name \"bank.example\"")),
        (json!({"literalSubject": "CN=bank.example,CN=www.example.com"}), Some("the name \"bank.example\"")),
        (json!({"ipAddresses": ["198.51.100.1"]}), Some("the name \"198.51.100.1\"")),
        (json!({"emailAddresses": ["a@www.example.com"]}), Some("e-mail addresses")),
        (json!({"uris": ["spiffe://example.com/a"]}), Some("URIs")),
        (json!({"otherNames": [{"oid": "1.2.3", "utf8Value": "a"}]}), Some("names of other kinds than DNS names")),
        (json!({"dnsNames": ["www.example.com"], "isCA": true}), Some("other CAs, which could certify any name")),
    ] {
        let answer = of_request(&terms, &request(&spec));
        let Some(refused) = refused else {
            assert_eq!(answer, None, "{spec}");
            continue;
        };
        let answer = answer.unwrap();
        assert!(answer.starts_with(&format!("ClusterIssuer \"le\" does not certify {refused}")), "{spec}: {answer}");
    }
}

#[test]
fn an_order_is_held_to_the_terms_too() {
    let issuer = cluster_issuer();
    let request = request(&json!({"dnsNames": ["www.example.com"]}));
    let order = order(&request);
    let answer = |namespaces, names| of_order(&terms(&issuer, namespaces, names), &order, Some(&request), true);
    assert_eq!(answer(Some("shop"), Some("*.example.com")), None);
    assert!(answer(Some("blog"), None).unwrap().contains("does not serve the namespace \"shop\""));
    assert!(answer(None, Some("example.com")).unwrap().contains("does not certify the name \"www.example.com\""));
}

/// Changes an object, and what is said of it then.
type Case<'a, K> = (&'a dyn Fn(&mut K), &'a str);

#[test]
fn a_cluster_issuer_is_not_used_for_an_order_of_somebody_else() {
    let issuer = cluster_issuer();
    let terms = terms(&issuer, None, None);
    let request = request(&json!({"dnsNames": ["www.example.com"]}));
    let whole = order(&request);
    assert_eq!(of_order(&terms, &whole, Some(&request), true), None);
    let cases: [Case<'_, Order>; 5] = [
        (&|order| order.metadata.owner_references = None, "it belongs to no CertificateRequest"),
        (
            &|order| order.metadata.owner_references.as_mut().unwrap()[0].uid = "former".into(),
            "it belongs to no CertificateRequest",
        ),
        (&|order| order.spec.request.0.push(b'\n'), "its CertificateRequest asks for something else"),
        (&|order| order.spec.issuer_ref.name = "other".into(), "its CertificateRequest asks for something else"),
        (&|order| order.spec.dns_names.push("bank.example".into()), "it has names that are not in its CSR"),
    ];
    for (change, why) in cases {
        let mut order = whole.clone();
        change(&mut order);
        let answer = of_order(&terms, &order, Some(&request), true).unwrap();
        assert_eq!(answer, format!("ClusterIssuer \"le\" is not used for this Order, because {why}"));
    }
    assert!(of_order(&terms, &whole, None, true).unwrap().ends_with("it belongs to no CertificateRequest"));
    let own: IssuerReference = object(json!({"name": "le"}));
    assert_eq!(of_order(&self::terms(&own, None, None), &whole, None, true), None, "an Issuer is the namespace's own");
}

#[test]
fn an_order_needs_an_approved_request() {
    let issuer = cluster_issuer();
    let terms = terms(&issuer, None, None);
    let mut request = request(&json!({"dnsNames": ["www.example.com"]}));
    let order = order(&request);
    let answer = |request: &CertificateRequest, approves| of_order(&terms, &order, Some(request), approves).is_none();
    assert!(answer(&request, true), "its approval is about to be written");
    assert!(!answer(&request, false));
    let condition = |type_| json!({"conditions": [{"type": type_, "status": "True"}]});
    request.status = object(condition("Approved"));
    assert!(answer(&request, false));
    request.status = object(condition("Denied"));
    assert!(!answer(&request, true) && !answer(&request, false));
}

#[test]
fn a_cluster_issuer_is_not_used_for_a_challenge_of_somebody_else() {
    let (issuer, acme) = (cluster_issuer(), acme());
    let terms = terms(&issuer, None, None);
    let request = request(&json!({"dnsNames": ["www.example.com"]}));
    let order = order(&request);
    let whole = challenge(&order);
    let answer = |challenge: &Challenge, order: Option<&Order>| {
        of_challenge(&terms, challenge, (order, Some(&request)), (Some(&acme), true))
    };
    assert_eq!(answer(&whole, Some(&order)), None);
    let elsewhere = |challenge: &mut Challenge| {
        challenge.spec.solver = object(json!({"dns01": {"rfc2136": {"nameserver": "203.0.113.66"}}}));
    };
    let cases: [Case<'_, Challenge>; 7] = [
        (&|challenge| challenge.metadata.owner_references = None, "it belongs to no Order"),
        (&|challenge| challenge.spec.dns_name = "bank.example".into(), "its Order has no such authorization"),
        (&|challenge| challenge.spec.wildcard = true, "its Order has no such authorization"),
        (&|challenge| challenge.spec.authorization_url = "ca/other".into(), "its Order has no such authorization"),
        (&|challenge| challenge.spec.token = "other".into(), "its Order has no such authorization"),
        (&elsewhere, "its solver is none of the issuer's"),
        (&|challenge| challenge.spec.issuer_ref.name = "other".into(), "its Order has another issuer"),
    ];
    for (change, why) in cases {
        let mut challenge = whole.clone();
        change(&mut challenge);
        let told = answer(&challenge, Some(&order)).unwrap();
        assert_eq!(told, format!("ClusterIssuer \"le\" is not used for this Challenge, because {why}"));
    }
    assert!(answer(&whole, None).unwrap().ends_with("it belongs to no Order"));
    let mut orphan = order.clone();
    orphan.metadata.owner_references = None;
    assert!(
        answer(&whole, Some(&orphan)).unwrap().ends_with("it belongs to no CertificateRequest"),
        "nor may its Order"
    );
}

#[test]
fn a_challenge_as_cert_manager_writes_it_is_of_the_same_solver() {
    let (issuer, mut acme) = (cluster_issuer(), acme());
    let terms = terms(&issuer, None, None);
    let request = request(&json!({"dnsNames": ["www.example.com"]}));
    let order = order(&request);
    let mut challenge = challenge(&order);
    acme.solvers = vec![object(json!({"dns01": {"route53": {"region": "eu-west-1"}}}))];
    challenge.spec.solver =
        object(json!({"dns01": {"route53": {"region": "eu-west-1", "secretAccessKeySecretRef": {"name": ""}}}}));
    let answer = of_challenge(&terms, &challenge, (Some(&order), Some(&request)), (Some(&acme), true));
    assert_eq!(answer, None);
    assert!(challenge_is_ours_to_end(&terms, &challenge, Some(&acme)));
}

#[test]
fn solvers_for_http_may_be_changed_by_annotations() {
    let (issuer, acme) = (cluster_issuer(), acme());
    let terms = terms(&issuer, None, None);
    let request = request(&json!({"dnsNames": ["www.example.com"]}));
    let mut order = order(&request);
    let mut challenge = challenge(&order);
    challenge.spec.type_ = "HTTP-01".into();
    challenge.spec.solver = object(json!({"http01": {"ingress": {"ingressClassName": "own"}}}));
    let answer = |order: &Order| of_challenge(&terms, &challenge, (Some(order), Some(&request)), (Some(&acme), true));
    assert!(answer(&order).unwrap().ends_with("its solver is none of the issuer's"));
    order.metadata.annotations =
        Some([("acme.cert-manager.io/http01-override-ingress-ingressclassname".to_owned(), "own".to_owned())].into());
    assert_eq!(answer(&order), None);
}

/// As Certificates that are made from Gateways have it. The API server fills in the group.
#[test]
fn a_gateway_may_be_added_by_annotations() {
    let (issuer, mut acme) = (cluster_issuer(), acme());
    let terms = terms(&issuer, None, None);
    let request = request(&json!({"dnsNames": ["www.example.com"]}));
    let mut order = order(&request);
    let mut challenge = challenge(&order);
    let route = |parents: Value| json!({"http01": {"gatewayHTTPRoute": {"parentRefs": parents}}});
    acme.solvers = vec![object(route(json!([])))];
    challenge.spec.type_ = "HTTP-01".into();
    let parent = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gate", "namespace": "shop"});
    challenge.spec.solver = object(route(json!([parent])));
    let answer = |order: &Order| of_challenge(&terms, &challenge, (Some(order), Some(&request)), (Some(&acme), true));
    assert!(answer(&order).unwrap().ends_with("its solver is none of the issuer's"));
    let wish = [("name", "gate"), ("kind", "Gateway")]
        .map(|(part, value)| (format!("acme.cert-manager.io/http01-parentref{part}"), value.to_owned()));
    order.metadata.annotations = Some(wish.into());
    assert_eq!(answer(&order), None);
}

#[test]
fn what_was_presented_is_taken_away_with_or_without_an_order() {
    let (issuer, acme) = (cluster_issuer(), acme());
    let terms = terms(&issuer, None, None);
    let mut challenge = challenge(&order(&request(&json!({"dnsNames": ["www.example.com"]}))));
    challenge.metadata.owner_references = None;
    assert!(challenge_is_ours_to_end(&terms, &challenge, Some(&acme)));
    challenge.spec.solver = object(json!({"dns01": {"rfc2136": {"nameserver": "203.0.113.66"}}}));
    assert!(!challenge_is_ours_to_end(&terms, &challenge, Some(&acme)), "credentials would go to a stranger");
    challenge.status = object(json!({"presented": true}));
    assert!(challenge_is_ours_to_end(&terms, &challenge, Some(&acme)), "the issuer was changed since");
}
