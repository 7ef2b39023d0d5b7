//! Objects that no schema would let in, written straight into etcd: no panic, and the others go on.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certwright::api::{Certificate, CertificateRequest, Challenge, Issuer, Order};
use certwright_e2e::scene::PATIENCE;
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Scene};
use kube::Resource;
use serde_json::{Value, json};

use crate::support::{scene, writes_during};

/// Stores an object as the API server does, but unseen by it.
pub async fn store<K: Resource<DynamicType = ()>>(scene: &Scene, name: &str, mut object: Value) {
    object["apiVersion"] = json!(K::api_version(&()));
    object["kind"] = json!(K::kind(&()));
    let metadata = object.as_object_mut().unwrap().entry("metadata").or_insert_with(|| json!({}));
    metadata["name"] = json!(name);
    metadata["namespace"] = json!(scene.namespace);
    metadata["uid"] = json!(format!("{}-{name}", scene.namespace));
    metadata["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    metadata["generation"] = json!(1);
    let key = format!("/registry/{}/{}/{}/{name}", K::group(&()), K::plural(&()), scene.namespace);
    let put = json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(object.to_string()) });
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.post("http://127.0.0.1:2379/v3/kv/put").body(put.to_string()).send().await.unwrap();
    answer.error_for_status().unwrap();
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn objects_that_make_no_sense() {
    let scene = scene("malformed").await;
    let controller = Controller::shared(&scene.testbed).await.unwrap();
    scene.issuer("pebble").await.unwrap();

    let mut count = 0;
    for (index, spec) in specs().into_iter().enumerate() {
        let name = format!("m{index}");
        store::<Certificate>(&scene, &name, spec.clone()).await;
        store::<CertificateRequest>(&scene, &name, spec.clone()).await;
        store::<Order>(&scene, &name, spec.clone()).await;
        store::<Challenge>(&scene, &name, spec.clone()).await;
        store::<Issuer>(&scene, &name, spec).await;
        count += 5;
    }
    println!("{count} malformed objects");

    let name = scene.dns_name("www");
    scene.certificate("www", "pebble", &[&name]).await.unwrap();
    scene.issued("www").await.unwrap();
    assert!(certwright_e2e::process::Identity::of(controller.process).is_some(), "the controller ended");
    let log = std::fs::read_to_string(&controller.log).unwrap();
    let panics: Vec<_> = log.lines().filter(|line| line.contains("panicked") || line.contains("defect")).collect();
    assert!(panics.is_empty(), "{panics:#?}");

    // Whose spec cannot be read at all is told by an event.
    let look = async || {
        let events = scene.events("m0").await?;
        Ok::<_, anyhow::Error>(events.into_iter().find(|(reason, _)| reason == "UnreadableObject"))
    };
    let (_, note) = until("an event about an unreadable object", PATIENCE, look).await.unwrap();
    assert!(note.contains("cannot read"), "{note}");
    // Events do not last; whoever looks after the whole is told for as long as they are there.
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ready = client.get("http://127.0.0.1:9403/readyz").send().await.unwrap().text().await.unwrap();
    let named = format!("\nunreadable: Certificate {}/m0\n", scene.namespace);
    assert!(ready.starts_with("ok") && ready.contains(&named), "{ready}");
    let settled = async || {
        let writes = writes_during(&scene, Duration::from_secs(2)).await;
        Ok::<_, anyhow::Error>((writes.len() <= 2).then_some(()))
    };
    until("the writes about these to end", PATIENCE, settled).await.unwrap();
}

/// Parts that are missing, of another type than they should be, or beyond all bounds. Each is tried with every kind.
fn specs() -> Vec<Value> {
    let issuer = json!({ "name": "pebble" });
    let reference = |value: Value| json!({ "spec": { "secretName": "s", "dnsNames": ["a.test"], "issuerRef": value } });
    vec![
        json!({ "spec": "text", "status": "text" }),
        json!({}),
        json!({ "spec": {} }),
        json!({ "spec": { "acme": [], "solver": "text", "issuerRef": issuer, "secretName": 5 } }),
        json!({ "spec": { "acme": {}, "solver": {}, "issuerRef": issuer, "secretName": "s", "request": 42 } }),
        json!({ "spec": { "acme": { "server": 5 } } }),
        json!({ "spec": { "acme": { "server": "https://10.77.0.1:14000/dir", "privateKeySecretRef": "text" } } }),
        json!({ "spec": { "acme": {
            "server": "https://10.77.0.1:14000/dir", "privateKeySecretRef": { "name": "" }, "caBundle": "%%%",
        } } }),
        json!({ "spec": { "acme": {
            "server": "https://10.77.0.1:14000/dir", "privateKeySecretRef": { "name": "a/b/c" }, "skipTLSVerify": true,
        } } }),
        json!({ "spec": { "issuerRef": issuer, "request": "%%%", "dnsNames": 5, "solver": { "dns01": { "rfc2136": 7 } } } }),
        json!({ "spec": { "issuerRef": issuer, "secretName": "../../x", "dnsNames": ["a.test"], "type": "TLS-ALPN-01" } }),
        json!({ "spec": {
            "issuerRef": issuer, "secretName": "s2", "dnsNames": ["b.test"], "duration": "-9999999h",
            "renewBefore": "99999999999999999h", "renewBeforePercentage": -5, "revisionHistoryLimit": -3,
            "privateKey": { "algorithm": "Kyber", "size": 99_999_999_999_i64, "rotationPolicy": "Sometimes" },
        } }),
        json!({ "spec": {
            "issuerRef": issuer, "secretName": "s3", "dnsNames": ["c.test"],
            "privateKey": { "algorithm": "RSA", "size": 1_000_000 },
        } }),
        json!({
            "spec": { "issuerRef": issuer, "secretName": "s4", "dnsNames": ["d.blocked.certwright.test"], "type": "DNS-01" },
            "status": {
                "conditions": "none", "revision": 9_223_372_036_854_775_807_i64, "failedIssuanceAttempts": -1,
                "lastFailureTime": "yesterday", "notAfter": 5, "state": 7, "authorizations": {},
            },
        }),
        json!({
            "spec": { "issuerRef": issuer, "secretName": "s5", "dnsNames": ["e.blocked.certwright.test"], "solver": {} },
            "status": {
                "conditions": [{}, { "type": "Ready" }, { "type": "Issuing", "status": "True" }, { "type": 5 }],
                "revision": 9_223_372_036_854_775_807_i64, "nextPrivateKeySecretName": "tsig", "state": "valid",
                "certificate": "bm90aGluZw==", "presented": true, "processing": true, "url": "x", "finalizeURL": "y",
                "authorizations": [{}, { "url": "z", "challenges": [{}] }],
            },
        }),
        json!({
            "metadata": {
                "finalizers": ["acme.cert-manager.io/finalizer"], "deletionTimestamp": "2026-01-01T00:00:00Z",
                "ownerReferences": [{}],
            },
            "spec": { "issuerRef": {}, "type": "DNS-01", "dnsName": "", "solver": { "dns01": { "rfc2136": {} } } },
        }),
        json!({
            "metadata": { "finalizers": ["acme.cert-manager.io/finalizer"], "labels": { "a": "b" } },
            "spec": {
                "issuerRef": issuer, "type": "HTTP-01", "dnsName": "not a name", "token": "../..", "key": "",
                "solver": { "http01": { "ingress": { "podTemplate": { "spec": "text" } } } }, "url": "not a url",
            },
            "status": { "state": "ready", "presented": true, "presentedAt": "never" },
        }),
        reference(json!({ "name": "", "kind": "", "group": "" })),
        reference(json!({ "name": "x", "kind": "Unknown" })),
        reference(json!("text")),
        reference(json!({ "name": "a".repeat(5000) })),
    ]
}
