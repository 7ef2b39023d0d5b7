//! What holds for all Ingresses, whatever their annotations say and whatever somebody has done to their Certificates.

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::json;

use super::{tests::Cluster, *};
use crate::decide::testing::object;

/// Annotations with values that are right and wrong.
const ANNOTATIONS: [(&str, &[&str]); 17] = [
    ("cert-manager.io/common-name", &["a.example.com", ""]),
    ("cert-manager.io/alt-names", &["b.example.com,a.example.com", " ", "not a name"]),
    ("cert-manager.io/ip-sans", &["192.0.2.1", "x"]),
    ("cert-manager.io/email-sans", &["me@example.com", "me"]),
    ("cert-manager.io/subject-organizations", &["\"Example, Inc.\",b", "\"", ""]),
    ("cert-manager.io/subject-serialnumber", &["7", ""]),
    ("cert-manager.io/duration", &["720h", "2h", "43200m", "never"]),
    ("cert-manager.io/renew-before", &["5m", "3h"]),
    ("cert-manager.io/renew-before-percentage", &["20", "100"]),
    ("cert-manager.io/usages", &["server auth", "digital signature,key encipherment", ""]),
    ("cert-manager.io/revision-history-limit", &["2", "-1"]),
    ("cert-manager.io/private-key-algorithm", &["ECDSA", "RSA"]),
    ("cert-manager.io/private-key-size", &["256", "2048", "1"]),
    ("cert-manager.io/secret-template", &["{\"labels\":{\"a\":\"b\"}}", "{}", "["]),
    ("acme.cert-manager.io/http01-edit-in-place", &["true", "false"]),
    ("acme.cert-manager.io/http01-ingress-class", &["nginx"]),
    ("cert-manager.io/cluster-issuer", &["le", "other"]),
];

/// What somebody does to a Certificate.
const EDITS: [&str; 8] = [
    r#"{"spec": {"duration": "100h"}}"#,
    r#"{"spec": {"usages": []}}"#,
    r#"{"spec": {"secretTemplate": {"labels": {"x": "y"}}, "subject": {"countries": ["DE"]}}}"#,
    r#"{"spec": {"dnsNames": ["z.example.com"], "issuerRef": {"name": "z"}}}"#,
    r#"{"spec": {"isCA": true, "emailAddresses": ["z@example.com"], "renewBeforePercentage": 50}}"#,
    r#"{"spec": {"secretName": "other"}}"#,
    r#"{"metadata": {"labels": {"x": "y"}, "annotations": {"x": "y"}}}"#,
    r#"{"metadata": {"annotations": {"acme.cert-manager.io/http01-override-ingress-name": "web"}}}"#,
];

#[derive(Clone, Debug)]
enum Change {
    Annotate(&'static str, Option<&'static str>),
    Edit(&'static str),
    Blocks(Vec<(&'static str, Vec<&'static str>)>),
}

fn change() -> impl Strategy<Value = Change> {
    let annotation = select(&ANNOTATIONS[..]).prop_flat_map(|(key, values)| {
        proptest::option::weighted(0.8, select(values)).prop_map(move |value| Change::Annotate(key, value))
    });
    let hosts = vec(select(&["a.example.com", "b.example.com", "192.0.2.1", "not a name"][..]), 0..3);
    let blocks = vec((select(&["a", "b", "c", ""][..]), hosts), 0..4).prop_map(Change::Blocks);
    prop_oneof![4 => annotation, 2 => select(&EDITS[..]).prop_map(Change::Edit), 1 => blocks]
}

fn apply(cluster: &mut Cluster, change: &Change) {
    match change {
        Change::Annotate(key, value) => cluster.annotate(key, *value),
        Change::Edit(edit) => {
            if let Some(held) = cluster.certificates.first_mut() {
                let mut value = serde_json::to_value(&**held).unwrap_or_default();
                json_patch::merge(&mut value, &serde_json::from_str(edit).unwrap_or_default());
                *held = Arc::new(object(value));
            }
        }
        Change::Blocks(blocks) => {
            let tls: Vec<_> =
                blocks.iter().map(|(secret, hosts)| json!({ "secretName": secret, "hosts": hosts })).collect();
            cluster.source.spec = object(json!({ "tls": tls }));
        }
    }
}

proptest! {
    #[test]
    fn one_pass_comes_to_rest(changes in vec(change(), 1..12)) {
        let settings = Settings::default();
        let mut cluster = Cluster::new(&json!({
            "metadata": {
                "namespace": "shop", "name": "web", "uid": "1", "annotations": { "cert-manager.io/cluster-issuer": "le" },
            },
            "spec": { "tls": [{ "hosts": ["a.example.com"], "secretName": "a" }] },
        }));
        for change in &changes {
            apply(&mut cluster, change);
            cluster.pass(&settings);
            let left = cluster.decide(&settings);
            prop_assert!(left.iter().all(|step| matches!(step, ShimStep::Tell(_))), "{change:?}: {left:?}");
            // Whatever is there is referred to, or was not to be touched.
            let is_marked = cluster.source.annotations().contains_key("cert-manager.io/cluster-issuer");
            let names: Vec<&str> = cluster.source.secret_names().collect();
            let is_referred_to = |held: &Arc<Certificate>| names.contains(&&*held.name_any());
            prop_assert!(!is_marked || cluster.certificates.iter().all(is_referred_to), "{change:?}");
        }
    }
}
