#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;
use crate::decide::testing::object;

/// What the API server would hold after the steps, and what was told.
pub(super) struct Cluster {
    pub(super) source: Source,
    pub(super) certificates: Vec<Arc<Certificate>>,
}

impl Cluster {
    pub(super) fn new(source: &Value) -> Self {
        Self { source: object(source.clone()), certificates: Vec::new() }
    }

    pub(super) fn decide(&self, settings: &Settings) -> Vec<ShimStep> {
        let (kind, certificates) = (SourceKind::Ingress, &self.certificates[..]);
        decide(&SeenSource { kind, source: &self.source, parent: None, certificates }, settings).steps
    }

    /// Carries out what is decided, and tells what that was.
    pub(super) fn pass(&mut self, settings: &Settings) -> Vec<String> {
        let steps = self.decide(settings);
        let told = steps.iter().map(|step| note(step).text).collect();
        for step in steps {
            match step {
                ShimStep::Create(certificate) => self.certificates.push(Arc::new(*certificate)),
                ShimStep::Update(held, updated) => {
                    self.certificates.retain(|other| other.name_any() != held.name_any());
                    self.certificates.push(Arc::new(*updated));
                }
                ShimStep::Delete(held) => self.certificates.retain(|other| other.name_any() != held.name_any()),
                ShimStep::Tell(_) => {}
            }
        }
        told
    }

    pub(super) fn get(&self, name: &str) -> Value {
        let found = self.certificates.iter().find(|held| held.name_any() == name).unwrap();
        serde_json::to_value(&**found).unwrap()
    }

    pub(super) fn annotate(&mut self, key: &str, value: Option<&str>) {
        let annotations = self.source.metadata.annotations.get_or_insert_default();
        match value {
            Some(value) => drop(annotations.insert(key.to_owned(), value.to_owned())),
            None => drop(annotations.remove(key)),
        }
    }

    fn edit(&mut self, name: &str, edit: impl Fn(&mut Certificate)) {
        let held = self.certificates.iter_mut().find(|held| held.name_any() == name).unwrap();
        edit(Arc::make_mut(held));
    }
}

fn ingress(tls: &Value) -> Value {
    json!({
        "metadata": {
            "namespace": "shop", "name": "web", "uid": "1",
            "labels": { "app": "web", "applyset.kubernetes.io/part-of": "x" },
            "annotations": { "cert-manager.io/cluster-issuer": "le" },
        },
        "spec": { "tls": tls },
    })
}

fn two() -> Cluster {
    Cluster::new(&ingress(&json!([
        { "hosts": ["a.example.com", "192.0.2.1", "a.example.com"], "secretName": "a" },
        { "hosts": ["b.example.com"], "secretName": "b" },
    ])))
}

fn defaults() -> Settings {
    Settings::default()
}

#[test]
fn a_certificate_is_created_as_cert_manager_creates_it() {
    let mut cluster = two();
    let told = cluster.pass(&defaults());
    assert_eq!(told, ["Successfully created Certificate \"a\"", "Successfully created Certificate \"b\""]);
    assert_eq!(
        cluster.get("a"),
        json!({
            "apiVersion": "cert-manager.io/v1",
            "kind": "Certificate",
            "metadata": {
                "namespace": "shop", "name": "a", "labels": { "app": "web" },
                "ownerReferences": [{
                    "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "web", "uid": "1",
                    "controller": true, "blockOwnerDeletion": true,
                }],
            },
            "spec": {
                "secretName": "a",
                "issuerRef": { "name": "le", "kind": "ClusterIssuer", "group": "cert-manager.io" },
                "dnsNames": ["a.example.com"],
                "ipAddresses": ["192.0.2.1"],
                "usages": ["digital signature", "key encipherment"],
            },
        })
    );
    assert_eq!(cluster.pass(&defaults()), Vec::<String>::new());
}

#[test]
fn nothing_is_done_for_who_asks_for_nothing() {
    let mut cluster = two();
    cluster.pass(&defaults());
    cluster.annotate("cert-manager.io/cluster-issuer", None);
    cluster.source.spec.tls.clear();
    assert_eq!(cluster.decide(&defaults()), []);
    let mut leaving = two();
    leaving.source = crate::decide::testing::dying(&leaving.source);
    assert_eq!(leaving.decide(&defaults()), []);
}

#[test]
fn what_is_not_referred_to_any_more_is_deleted() {
    let mut cluster = two();
    cluster.pass(&defaults());
    cluster.source.spec.tls.pop();
    assert_eq!(cluster.pass(&defaults()), ["Successfully deleted unrequired Certificate \"b\""]);
    assert_eq!(cluster.pass(&defaults()), Vec::<String>::new());
    // An entry that cannot be is no reason to delete anything.
    cluster.source.spec.tls[0].hosts.clear();
    assert_eq!(cluster.pass(&defaults()), ["Skipped a TLS block: spec.tls[0].hosts: Required value"]);
    assert_eq!(cluster.certificates.len(), 1);
}

/// Somebody else may have made it in the name of the Ingress.
#[test]
fn a_certificate_of_another_name_stays_for_as_long_as_its_secret_is_referred_to() {
    let mut cluster = two();
    cluster.pass(&defaults());
    let mut other = (*cluster.certificates[1]).clone();
    other.metadata.name = Some("other".to_owned());
    cluster.certificates.push(Arc::new(other));
    assert_eq!(cluster.pass(&defaults()), Vec::<String>::new());
    cluster.source.spec.tls.pop();
    let told = ["b", "other"].map(|name| format!("Successfully deleted unrequired Certificate {name:?}"));
    assert_eq!(cluster.pass(&defaults()), told);
}

#[test]
fn certificates_of_others_are_left_alone() {
    for owners in [json!([]), json!([{ "apiVersion": "v1", "kind": "X", "name": "x", "uid": "2", "controller": true }])]
    {
        let mut cluster = two();
        let theirs: Certificate = object(json!({
            "metadata": { "namespace": "shop", "name": "a", "ownerReferences": owners },
            "spec": { "secretName": "other", "issuerRef": { "name": "ca" } },
        }));
        cluster.certificates.push(Arc::new(theirs.clone()));
        assert_eq!(cluster.pass(&defaults()), ["Successfully created Certificate \"b\""]);
        assert_eq!(*cluster.certificates[0], theirs);
    }
}

#[test]
fn changed_annotations_reach_certificates_that_are_there() {
    let mut cluster = two();
    cluster.pass(&defaults());
    for (key, value, pointer) in [
        ("cert-manager.io/duration", "720h", "/spec/duration"),
        ("cert-manager.io/subject-organizations", "Example", "/spec/subject/organizations/0"),
        ("cert-manager.io/email-sans", "me@example.com", "/spec/emailAddresses/0"),
        ("cert-manager.io/usages", "server auth", "/spec/usages/0"),
        ("cert-manager.io/secret-template", "{\"labels\": {\"x\": \"y\"}}", "/spec/secretTemplate/labels/x"),
        ("cert-manager.io/renew-before-percentage", "20", "/spec/renewBeforePercentage"),
        ("cert-manager.io/alt-names", "c.example.com", "/spec/dnsNames/1"),
        ("cert-manager.io/cluster-issuer", "other", "/spec/issuerRef/name"),
        (
            "acme.cert-manager.io/http01-ingress-class",
            "nginx",
            "/metadata/annotations/acme.cert-manager.io~1http01-override-ingress-class",
        ),
    ] {
        let before = cluster.get("a").pointer(pointer).cloned();
        cluster.annotate(key, Some(value));
        let told = cluster.pass(&defaults());
        assert_eq!(told, ["Successfully updated Certificate \"a\"", "Successfully updated Certificate \"b\""], "{key}");
        assert_ne!(cluster.get("a").pointer(pointer).cloned(), before, "{key}");
        assert_eq!(cluster.pass(&defaults()), Vec::<String>::new(), "{key}");
    }
}

#[test]
fn the_ways_of_a_challenge_exclude_each_other() {
    let (name, class) =
        ("acme.cert-manager.io/http01-override-ingress-name", "acme.cert-manager.io/http01-override-ingress-class");
    let mut cluster = two();
    cluster.annotate("acme.cert-manager.io/http01-edit-in-place", Some("true"));
    cluster.pass(&defaults());
    let annotations = |cluster: &Cluster| cluster.get("a")["metadata"]["annotations"].clone();
    assert_eq!(annotations(&cluster), json!({ name: "web", "cert-manager.io/issue-temporary-certificate": "true" }));
    cluster.annotate("acme.cert-manager.io/http01-edit-in-place", None);
    cluster.annotate("acme.cert-manager.io/http01-ingress-class", Some("nginx"));
    cluster.pass(&defaults());
    assert_eq!(annotations(&cluster), json!({ class: "nginx" }));
    // What somebody set by hand stays.
    cluster.annotate("acme.cert-manager.io/http01-ingress-class", None);
    assert_eq!(cluster.pass(&defaults()), Vec::<String>::new());
}

#[test]
fn of_what_is_set_by_hand_only_what_cert_manager_compares_is_put_right() {
    let mut cluster = two();
    cluster.pass(&defaults());
    cluster.edit("a", |certificate| {
        certificate.spec.secret_template = Some(object(json!({ "labels": { "x": "y" } })));
        certificate.spec.keystores = Some(object(json!({ "jks": { "create": true } })));
        certificate.annotations_mut().insert("note".to_owned(), "mine".to_owned());
        certificate.spec.usages.push("client auth".to_owned());
    });
    assert_eq!(cluster.pass(&defaults()), Vec::<String>::new());
    cluster.edit("a", |certificate| {
        certificate.spec.revision_history_limit = Some(5);
        certificate.labels_mut().insert("z".to_owned(), "z".to_owned());
    });
    assert_eq!(cluster.pass(&defaults()), ["Successfully updated Certificate \"a\""]);
    let certificate = cluster.get("a");
    assert_eq!(certificate["metadata"]["labels"], json!({ "app": "web" }));
    assert_eq!(certificate["metadata"]["annotations"], json!({ "note": "mine" }));
    assert_eq!(
        (&certificate["spec"]["revisionHistoryLimit"], &certificate["spec"]["secretTemplate"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(certificate["spec"]["keystores"]["jks"]["create"], true, "no annotation can say it");
}

#[test]
fn the_same_in_other_words_is_no_change() {
    let mut cluster = two();
    for (key, value) in [("duration", "720h"), ("private-key-algorithm", "RSA")] {
        cluster.annotate(&format!("cert-manager.io/{key}"), Some(value));
    }
    cluster.pass(&defaults());
    cluster.edit("a", |certificate| {
        certificate.spec.duration = Some("43200m".into());
        certificate.spec.common_name = Some(String::new());
        certificate.spec.private_key = Some(object(json!({ "algorithm": "RSA", "size": 0, "encoding": "" })));
        certificate.spec.subject = Some(object(json!({})));
    });
    assert_eq!(cluster.pass(&defaults()), Vec::<String>::new());
}

#[test]
fn a_bad_annotation_is_told_and_changes_nothing() {
    let mut cluster = two();
    cluster.annotate("cert-manager.io/duration", Some("90d"));
    let told = cluster.pass(&defaults());
    assert!(
        told.len() == 1 && told[0].starts_with("Could not read annotations: cert-manager.io/duration: "),
        "{told:?}"
    );
    assert_eq!(cluster.certificates.len(), 0);
    cluster.annotate("cert-manager.io/duration", None);
    cluster.pass(&defaults());
    cluster.annotate("cert-manager.io/duration", Some("90d"));
    cluster.source.spec.tls.pop();
    assert_eq!(cluster.pass(&defaults())[1..], ["Successfully deleted unrequired Certificate \"b\""]);
    assert_eq!(cluster.get("a")["spec"]["duration"], Value::Null);
}

#[test]
fn what_makes_no_sense_together_is_told_for_its_block_and_the_others_go_on() {
    let mut cluster = two();
    cluster.source.spec.tls[0].hosts.push("not a name".to_owned());
    let told = cluster.pass(&defaults());
    assert!(told[0].starts_with("Skipped a TLS block: spec.tls[0]: spec.dnsNames[1]: "), "{told:?}");
    assert_eq!(told[1..], ["Successfully created Certificate \"b\""]);
    for (key, value) in [("duration", "2h"), ("renew-before", "3h")] {
        cluster.annotate(&format!("cert-manager.io/{key}"), Some(value));
    }
    let told = cluster.pass(&defaults());
    assert!(told[1].starts_with("Skipped a TLS block: spec.tls[1]: spec.renewBefore: must be less"), "{told:?}");
    let size = [("private-key-algorithm", "ECDSA"), ("private-key-size", "2048"), ("renew-before", "1h")];
    for (key, value) in size {
        cluster.annotate(&format!("cert-manager.io/{key}"), Some(value));
    }
    assert!(cluster.pass(&defaults())[1].contains("spec.privateKey"));
}

#[test]
fn an_issuer_that_cannot_be_determined_is_told() {
    let mut cluster = two();
    cluster.annotate("cert-manager.io/issuer", Some("ca"));
    let told = cluster.pass(&defaults());
    let text = "Could not determine issuer for ingress due to bad annotations: both \"cert-manager.io/issuer\" and \
                \"cert-manager.io/cluster-issuer\" may not be set";
    assert_eq!(told, [text]);
}

#[test]
fn the_default_issuer_serves_whom_an_annotation_marks() {
    let mut cluster = two();
    cluster.annotate("cert-manager.io/cluster-issuer", None);
    cluster.annotate("kubernetes.io/tls-acme", Some("true"));
    cluster.annotate("team", Some("web"));
    assert!(cluster.pass(&defaults())[0].contains("no issuer is named"));
    let mut settings = defaults();
    settings.default_issuer.name = "internal".to_owned();
    settings.marks.copied = vec!["team".to_owned(), "absent".to_owned()];
    cluster.pass(&settings);
    let certificate = cluster.get("b");
    assert_eq!(
        certificate["spec"]["issuerRef"],
        json!({ "name": "internal", "kind": "Issuer", "group": "cert-manager.io" })
    );
    assert_eq!(certificate["metadata"]["annotations"], json!({ "team": "web" }));
}

#[test]
fn a_listener_set_leads_to_itself_or_to_its_gateway() {
    let listener_set = |fallback: &str| -> Source {
        object(json!({
            "metadata": {
                "namespace": "shop", "name": "set", "uid": "1",
                "annotations": { "acme.cert-manager.io/http01-parentreffallback": fallback },
            },
            "spec": {
                "parentRef": { "name": "gate", "namespace": "infra" },
                "listeners": [{
                    "name": "a", "hostname": "a.example.com", "port": 443, "protocol": "TLS",
                    "tls": { "mode": "Terminate", "certificateRefs": [{ "name": "a" }] },
                }],
            },
        }))
    };
    let of_gateway = [("cert-manager.io/issuer".to_owned(), "ca".to_owned())].into();
    for (fallback, expected) in [
        ("true", json!({ "parentrefkind": "Gateway", "parentrefname": "gate", "parentrefnamespace": "infra" })),
        ("false", json!({ "parentrefkind": "ListenerSet", "parentrefname": "set" })),
    ] {
        let source = listener_set(fallback);
        let mut seen =
            SeenSource { kind: SourceKind::ListenerSet, source: &source, parent: Some(&of_gateway), certificates: &[] };
        let steps = decide(&seen, &defaults()).steps;
        let [ShimStep::Create(certificate)] = &steps[..] else { panic!("{steps:?}") };
        let annotations = certificate.metadata.annotations.iter().flatten();
        let short = annotations.map(|(key, value)| (key.replace("acme.cert-manager.io/http01-", ""), json!(value)));
        assert_eq!((&*certificate.spec.issuer_ref.name, Value::Object(short.collect())), ("ca", expected));
        seen.parent = None;
        assert_eq!(decide(&seen, &defaults()).steps, []);
    }
}

#[test]
fn a_gateway_is_named_as_the_way_of_its_challenges() {
    let gateway = object(json!({
        "metadata": {
            "namespace": "shop", "name": "web", "uid": "1", "annotations": { "cert-manager.io/issuer": "ca" },
        },
        "spec": { "listeners": [{
            "name": "a", "hostname": "a.example.com", "port": 443, "protocol": "HTTPS",
            "tls": { "mode": "Terminate", "certificateRefs": [{ "name": "a" }] },
        }] },
    }));
    let seen = SeenSource { kind: SourceKind::Gateway, source: &gateway, parent: None, certificates: &[] };
    let of_sets_only = Settings { kinds: vec![SourceKind::ListenerSet], ..defaults() };
    assert_eq!(decide(&seen, &of_sets_only).steps, []);
    let steps = decide(&seen, &defaults()).steps;
    let [ShimStep::Create(certificate)] = &steps[..] else { panic!("{steps:?}") };
    let kind = certificate.metadata.owner_references.as_ref().unwrap()[0].kind.clone();
    assert_eq!((&*kind, certificate.spec.dns_names.join(" ")), ("Gateway", "a.example.com".to_owned()));
    assert_eq!(
        serde_json::to_value(&certificate.metadata.annotations).unwrap(),
        json!({ "acme.cert-manager.io/http01-parentrefkind": "Gateway", "acme.cert-manager.io/http01-parentrefname": "web" })
    );
}
