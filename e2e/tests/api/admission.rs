//! Bad input is refused where it is written, by rules of the definitions. See docs/admission.md.

use certwright::api::{Certificate, CertificateRequest, Challenge, Order};
use certwright_e2e::Scene;
use certwright_e2e::scene::Kind;
use kube::Resource;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, NamespaceResourceScope};
use serde_json::{Value, json};

use crate::malformed::store;
use crate::support::scene;

/// Tries to create an object; the answer is what the API server refuses it for.
pub async fn try_out<K>(scene: &Scene, spec: &Value) -> Result<(), String>
where
    K: Kind + Resource<Scope = NamespaceResourceScope>,
{
    let api: Api<DynamicObject> =
        Api::namespaced_with(scene.client.clone(), &scene.namespace, &ApiResource::erase::<K>(&()));
    let mut object = DynamicObject::new("tried", &ApiResource::erase::<K>(&()));
    object.data = json!({ "spec": spec });
    let params = PostParams { dry_run: true, ..PostParams::default() };
    api.create(&params, &object).await.map(drop).map_err(message)
}

/// Changes an object or its status by a merge patch; the answer is what the API server refuses it for.
async fn try_change<K>(scene: &Scene, name: &str, change: &Value) -> Result<(), String>
where
    K: Kind + Resource<Scope = NamespaceResourceScope>,
{
    let (api, params) = (scene.api::<K>(), PatchParams::default());
    let changed = if change["status"].is_null() && change.get("status").is_none() {
        api.patch(name, &params, &Patch::Merge(change)).await
    } else {
        api.patch_status(name, &params, &Patch::Merge(change)).await
    };
    changed.map(drop).map_err(message)
}

pub fn message(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => panic!("{other}"),
    }
}

/// `base` with these fields in place of its own; null takes one away.
pub fn with(mut base: Value, changes: &Value) -> Value {
    for (field, value) in changes.as_object().unwrap() {
        base[field] = value.clone();
    }
    base.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    base
}

fn sound() -> Value {
    json!({ "secretName": "a", "issuerRef": { "name": "ca" }, "dnsNames": ["a.test"] })
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn certificates_that_make_no_sense() {
    let scene = scene("rules").await;
    let mut wrong = Vec::new();
    for (changes, place, part) in refused() {
        let answer = try_out::<Certificate>(&scene, &with(sound(), &changes)).await;
        let refusal = answer.as_ref().err().map_or("accepted", String::as_str);
        let fields = refusal.replace("specified", "");
        let only_one = fields.matches("spec").count() == fields.matches(place).count();
        println!("{refusal}");
        if !refusal.contains(&format!("{place}: ")) || !refusal.contains(part) || !only_one {
            wrong.push(format!("{changes}: wanted {place} {part:?}, got {refusal}"));
        }
        assert!(!refusal.contains("hunter2"), "a password is shown: {refusal}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What is changed in a sound spec, which field the refusal must be about (and no other), and what it says.
#[rustfmt::skip]
fn refused() -> Vec<(Value, &'static str, &'static str)> {
    let key = |algorithm: &str, size: i64| json!({ "privateKey": { "algorithm": algorithm, "size": size } });
    let signature = |key: Value, name: &str| json!({ "privateKey": key, "signatureAlgorithm": name });
    let jks = |store: Value| json!({ "keystores": { "jks": store } });
    let window = |cron: &str| json!({ "renewal": { "policy": "RenewBefore", "windows": [{ "cron": cron, "windowDuration": "1h" }] } });
    vec![
        (json!({ "secretName": "" }), "spec.secretName", "Required value: must be specified"),
        (json!({ "secretName": "A_b" }), "spec.secretName", "Invalid value: \"A_b\": must be a name for a Secret"),
        (json!({ "secretName": "a..b" }), "spec.secretName", "RFC 1123"),
        (json!({ "issuerRef": { "name": "" } }), "spec.issuerRef.name", "Required value: must be specified"),
        (json!({ "issuerRef": { "name": "a", "kind": "AWSPCAIssuer" } }), "spec.issuerRef.kind", "must be one of Issuer or ClusterIssuer (if"),
        (json!({ "issuerRef": { "name": "a", "kind": "issuer", "group": "cert-manager.io" } }), "spec.issuerRef.kind", "must be one of Issuer or ClusterIssuer"),
        (json!({ "literalSubject": "CN=a", "commonName": "a" }), "spec.commonName", "Forbidden: must not be set together with literalSubject"),
        (json!({ "literalSubject": "CN=a", "subject": { "countries": ["DE"] } }), "spec.subject", "Forbidden: must not be set together with literalSubject"),
        (json!({ "dnsNames": null }), "spec", "at least one of commonName"),
        (json!({ "dnsNames": [], "commonName": "", "literalSubject": "O=CN" }), "spec", "at least one of commonName"),
        (json!({ "commonName": "a".repeat(65) }), "spec.commonName", "Too long: may not be more than 64"),
        (json!({ "commonName": "ä".repeat(33) }), "spec.commonName", "must be 64 bytes of UTF-8 or less"),
        (json!({ "emailAddresses": ["a.test"] }), "spec.emailAddresses[0]", "must be of type email"),
        (json!({ "emailAddresses": ["a@a.test", "A <a@a.test>"] }), "spec.emailAddresses[1]", "must be a bare mail address"),
        (json!({ "otherNames": [{ "utf8Value": "a" }] }), "spec.otherNames[0].oid", "Required value"),
        (json!({ "otherNames": [{ "oid": "1.2.3" }] }), "spec.otherNames[0].utf8Value", "Required value"),
        (json!({ "otherNames": [{ "oid": "1.2.a", "utf8Value": "a" }] }), "spec.otherNames[0].oid", "dotted numbers"),
        (key("RSA", 1024), "spec.privateKey.size", "must be between 2048 and 8192 for RSA keys"),
        (json!({ "privateKey": { "size": 8193 } }), "spec.privateKey.size", "must be between 2048 and 8192 for RSA keys"),
        (key("RSA", -1), "spec.privateKey.size", "must be between 2048 and 8192 for RSA keys"),
        (key("ECDSA", 255), "spec.privateKey.size", "must be 256, 384 or 521 for ECDSA keys"),
        (signature(json!({}), "ECDSAWithSHA256"), "spec.signatureAlgorithm", "for RSA keys"),
        (signature(json!({ "algorithm": "ECDSA" }), "SHA256WithRSA"), "spec.signatureAlgorithm", "for ECDSA keys"),
        (signature(json!({ "algorithm": "Ed25519" }), "ECDSAWithSHA256"), "spec.signatureAlgorithm", "must be PureEd25519 for Ed25519 keys"),
        (json!({ "duration": "59m" }), "spec.duration", "Invalid value: \"59m\": must be 1h or more"),
        (json!({ "duration": "-2h" }), "spec.duration", "must be 1h or more"),
        (json!({ "duration": "90 days" }), "spec.duration", "must be a duration"),
        (json!({ "duration": "" }), "spec.duration", "must be a duration"),
        (json!({ "renewBefore": "299s" }), "spec.renewBefore", "must be 5m or more"),
        (json!({ "renewBefore": "soon" }), "spec.renewBefore", "must be a duration"),
        (json!({ "renewBefore": "2160h" }), "spec.renewBefore", "must be less than duration, which is 2160h unless set"),
        (json!({ "duration": "2h", "renewBefore": "120m" }), "spec.renewBefore", "must be less than duration"),
        (json!({ "renewBefore": "1h", "renewBeforePercentage": 20 }), "spec.renewBefore", "mutually exclusive"),
        (json!({ "renewBeforePercentage": 0 }), "spec.renewBeforePercentage", "greater than or equal to 1"),
        (json!({ "renewBeforePercentage": 100 }), "spec.renewBeforePercentage", "less than or equal to 99"),
        (json!({ "revisionHistoryLimit": 0 }), "spec.revisionHistoryLimit", "greater than or equal to 1"),
        (json!({ "usages": ["tls"] }), "spec.usages[0]", "Unsupported value"),
        (json!({ "secretTemplate": { "labels": { "-a": "" } } }), "spec.secretTemplate.labels", "keys must be names"),
        (json!({ "secretTemplate": { "labels": { "A.b/a": "" } } }), "spec.secretTemplate.labels", "keys must be names"),
        (json!({ "secretTemplate": { "labels": { "a": "b c" } } }), "spec.secretTemplate.labels.a", "should match"),
        (json!({ "secretTemplate": { "annotations": { "a/b/c": "" } } }), "spec.secretTemplate.annotations", "keys must be names"),
        (json!({ "secretTemplate": { "annotations": { "cert-manager.io/x": "" } } }), "spec.secretTemplate.annotations", "must not begin with cert-manager.io/"),
        (json!({ "nameConstraints": { "critical": true, "permitted": {} } }), "spec.nameConstraints", "Forbidden: is allowed only where isCA is true"),
        (json!({ "isCA": true, "nameConstraints": { "critical": true } }), "spec.nameConstraints", "permitted or excluded must be set"),
        (json!({ "isCA": true, "nameConstraints": { "excluded": { "ipRanges": ["192.0.2.0/33"] } } }), "spec.nameConstraints.excluded.ipRanges[0]", "must be of type cidr"),
        (json!({ "additionalOutputFormats": [{ "type": "DER" }, { "type": "DER" }] }), "spec.additionalOutputFormats", "each type may be listed only once"),
        (jks(json!({ "create": false })), "spec.keystores.jks.passwordSecretRef", "Required value: password or passwordSecretRef.name must be set"),
        (jks(json!({ "create": true, "passwordSecretRef": { "name": "" } })), "spec.keystores.jks.passwordSecretRef", "Required value"),
        (jks(json!({ "create": true, "password": "" })), "spec.keystores.jks.password", "Forbidden: must not be empty"),
        (json!({ "keystores": { "pkcs12": { "create": true, "password": "hunter2", "passwordSecretRef": { "name": "a" } } } }), "spec.keystores.pkcs12.password", "Forbidden: must not be set together with passwordSecretRef.name"),
        (json!({ "renewal": {} }), "spec.renewal.policy", "Required value: must be RenewBefore or Disabled"),
        (json!({ "renewal": { "policy": "Disabled", "windows": [{ "cron": "@daily", "windowDuration": "1h" }] } }), "spec.renewal.windows", "Forbidden: must not be set where policy is Disabled"),
        (window("0 2 * *"), "spec.renewal.windows[0].cron", "must be a cron expression of five fields"),
        (window("@every 5h"), "spec.renewal.windows[0].cron", "or a word such as @daily"),
        (window("@often"), "spec.renewal.windows[0].cron", "must be a cron expression of five fields"),
    ]
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn certificates_at_the_edge_of_what_is_allowed() {
    let scene = scene("edges").await;
    let accepted = [
        json!({ "dnsNames": null, "commonName": "ä".repeat(32) }),
        json!({ "dnsNames": null, "literalSubject": "O=a,CN=b", "commonName": "", "subject": { "countries": [] } }),
        json!({ "dnsNames": null, "literalSubject": "2.5.4.3=b" }),
        json!({ "dnsNames": null, "otherNames": [{ "oid": "1.2.3", "utf8Value": "a" }] }),
        json!({ "dnsNames": ["not a name", ""] }),
        json!({ "issuerRef": { "name": "a", "kind": "", "group": "" } }),
        json!({ "issuerRef": { "name": "a", "kind": "AWSPCAIssuer", "group": "awspca.cert-manager.io" } }),
        json!({ "secretName": format!("{0}.{0}.{0}.{1}", "a".repeat(63), "a".repeat(61)) }),
        json!({ "privateKey": { "size": 0 } }),
        json!({ "privateKey": { "size": 8192 }, "signatureAlgorithm": "SHA512WithRSA" }),
        json!({ "privateKey": { "algorithm": "ECDSA", "size": 521 }, "signatureAlgorithm": "ECDSAWithSHA256" }),
        json!({ "privateKey": { "algorithm": "Ed25519", "size": 1 }, "signatureAlgorithm": "PureEd25519" }),
        json!({ "duration": "1h", "renewBefore": "5m" }),
        json!({ "duration": "60m0.5s", "renewBeforePercentage": 1 }),
        json!({ "renewBefore": "2159h59m59s" }),
        json!({ "renewBeforePercentage": 99 }),
        json!({ "secretTemplate": { "annotations": { "cert-manager.io/allow-direct-injection": "true", "A.b/c": "" } } }),
        json!({ "isCA": true, "nameConstraints": { "permitted": {} } }),
        json!({ "additionalOutputFormats": [{ "type": "DER" }, { "type": "CombinedPEM" }] }),
        json!({ "keystores": { "jks": { "create": true, "password": "a", "passwordSecretRef": { "name": "" } } } }),
        json!({ "renewal": { "policy": "Disabled", "windows": [] } }),
    ];
    for changes in accepted {
        assert_eq!(try_out::<Certificate>(&scene, &with(sound(), &changes)).await, Ok(()), "{changes}");
    }
}

/// IP addresses are read by a rule of our own: it must agree with the standard library on each.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn ip_addresses() {
    let scene = scene("addresses").await;
    let texts = [
        "192.0.2.1",
        "0.0.0.0",
        "255.255.255.255",
        "256.0.2.1",
        "192.0.2",
        "192.0.2.1.1",
        "192.0.02.1",
        "192.0.2.1/24",
        "::",
        "::1",
        "1::",
        "1:2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7::",
        "::2:3:4:5:6:7:8",
        "1:2:3:4::6:7:8",
        "1:2:3:4:5:6:7:8::",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:",
        ":2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7:8:",
        "1::2::3",
        ":::",
        "1:2:3:4:5:6:7:8:9",
        "1::2:3:4:5:6:7:8",
        "12345::",
        "G::",
        "fe80::1%eth0",
        "[::1]",
        "::ffff:192.0.2.1",
        "::192.0.2.1",
        "1:2:3:4:5:6:192.0.2.1",
        "1:2:3:4:5:6:7:192.0.2.1",
        "1:2:3:4:5:192.0.2.1",
        "1::192.0.2.1:2",
        "::ffff:192.0.2.256",
        "ABCD:ef01::",
        ":",
        "",
        " ::1",
        "2001:db8::1 ",
    ];
    for text in texts {
        let answer = try_out::<Certificate>(&scene, &with(sound(), &json!({ "ipAddresses": [text] }))).await;
        assert_eq!(answer.is_ok(), text.parse::<std::net::IpAddr>().is_ok(), "{text:?}: {answer:?}");
        let Err(refusal) = answer else { continue };
        let says = format!("spec.ipAddresses[0]: Invalid value: {text:?}: must be an IP address");
        assert!(refusal.contains(&says), "{refusal}");
    }
}

/// Whatever was stored before a rule existed can still be worked on, as long as that part stays as it is.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn objects_from_before_the_rules() {
    let scene = scene("stored").await;
    let spec = json!({
        "secretName": "A_b", "issuerRef": { "name": "", "kind": "Unknown" }, "duration": "1m", "renewBefore": "",
        "privateKey": { "algorithm": "FutureDSA", "size": 3 }, "usages": ["future use"], "renewal": {},
        "keystores": { "jks": { "create": true } }, "nameConstraints": {}, "signatureAlgorithm": "FutureDSAWithSHA3",
        "additionalOutputFormats": [{ "type": "DER" }, { "type": "DER" }], "ipAddresses": ["a"],
    });
    store::<Certificate>(&scene, "old", json!({ "spec": spec })).await;
    let status = json!({ "status": { "revision": 1, "conditions": [{ "type": "Other", "status": "True" }] } });
    assert_eq!(try_change::<Certificate>(&scene, "old", &status).await, Ok(()));
    let label = json!({ "metadata": { "labels": { "a": "b" } } });
    assert_eq!(try_change::<Certificate>(&scene, "old", &label).await, Ok(()));
    let refusal = try_change::<Certificate>(&scene, "old", &json!({ "spec": { "duration": "2m" } })).await.unwrap_err();
    assert!(refusal.contains("spec.duration: Invalid value: \"2m\": must be 1h or more"), "{refusal}");
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn requests_cannot_be_changed() {
    let scene = scene("frozen").await;
    let wrong = [
        (json!({ "issuerRef": { "name": "" }, "request": "YQ==" }), "spec.issuerRef.name: Required value"),
        (
            json!({ "issuerRef": { "name": "a", "kind": "Kind" }, "request": "YQ==" }),
            "spec.issuerRef.kind: Invalid value",
        ),
        (json!({ "issuerRef": { "name": "a" }, "request": "" }), "spec.request: Invalid value"),
        (json!({ "issuerRef": { "name": "a" }, "request": "YQ==", "duration": "a" }), "spec.duration: Invalid value"),
        (json!({ "issuerRef": { "name": "a" }, "request": "YQ==", "usages": ["a"] }), "spec.usages[0]: Unsupported"),
    ];
    for (spec, words) in wrong {
        let refusal = try_out::<CertificateRequest>(&scene, &spec).await.unwrap_err();
        assert!(refusal.contains(words), "{refusal}");
    }

    let reference = json!({ "name": "x", "kind": "Other", "group": "example.com" });
    let spec = json!({ "issuerRef": reference, "request": "YQ==", "duration": "2160h", "isCA": false, "usages": [] });
    scene.create::<CertificateRequest>("frozen", spec).await.unwrap();
    for same in [
        json!({ "duration": "2160h0m0s", "isCA": null, "usages": null }),
        json!({ "duration": "2160h", "isCA": false, "usages": [], "uid": "" }),
    ] {
        let change = json!({ "spec": same });
        assert_eq!(try_change::<CertificateRequest>(&scene, "frozen", &change).await, Ok(()), "{same}");
    }
    for other in [
        json!({ "request": "Yg==" }),
        json!({ "issuerRef": { "name": "y" } }),
        json!({ "issuerRef": { "kind": null } }),
        json!({ "issuerRef": { "group": "example.org" } }),
        json!({ "duration": null }),
        json!({ "duration": "2160h1s" }),
        json!({ "isCA": true }),
        json!({ "usages": ["any"] }),
        json!({ "username": "somebody" }),
        json!({ "username": null }),
        json!({ "uid": "a" }),
        json!({ "groups": ["a"] }),
        json!({ "extra": { "a": ["b"] } }),
    ] {
        let change = json!({ "spec": other });
        let refusal = try_change::<CertificateRequest>(&scene, "frozen", &change).await.expect_err(&other.to_string());
        assert!(refusal.contains("spec: Forbidden: cannot be changed"), "{refusal}");
    }
}

/// What cert-manager adds to an object of ours, or leaves out, because its types have it so.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn what_programs_in_go_add_to_orders_and_challenges_is_no_change() {
    let scene = scene("roundtrip").await;
    let issuer = json!({ "name": "absent", "group": "example.com", "kind": "Other" });
    let order =
        json!({ "issuerRef": issuer, "request": "YQ==", "dnsNames": ["a.test"], "duration": "2160h", "profile": "" });
    scene.create::<Order>("order", order).await.unwrap();
    let same = json!({ "duration": "2160h0m0s", "profile": null, "commonName": "", "ipAddresses": [] });
    assert_eq!(try_change::<Order>(&scene, "order", &json!({ "spec": same })).await, Ok(()));

    let pod_template = json!({ "podTemplate": { "spec": { "serviceAccountName": "a" } }, "ingressTemplate": {} });
    for (number, (written, same, other)) in [
        (
            json!({ "dns01": { "route53": { "region": "a", "hostedZoneID": "" } } }),
            json!({ "dns01": { "route53": { "secretAccessKeySecretRef": { "name": "" }, "hostedZoneID": null } } }),
            json!({ "dns01": { "route53": { "secretAccessKeySecretRef": { "name": "b" } } } }),
        ),
        (
            json!({ "dns01": { "rfc2136": { "nameserver": "a" } }, "waitInsteadOfSelfCheck": "60s" }),
            json!({ "dns01": { "rfc2136": { "tsigSecretSecretRef": { "name": "" } } }, "waitInsteadOfSelfCheck": null }),
            json!({ "dns01": { "rfc2136": { "nameserver": "b" } } }),
        ),
        (
            json!({ "dns01": { "acmeDNS": { "host": "a", "accountSecretRef": { "name": "a" } } } }),
            json!({ "selector": {} }),
            json!({ "dns01": { "acmeDNS": { "host": "b" } } }),
        ),
        (
            json!({ "http01": { "ingress": pod_template } }),
            json!({ "http01": { "ingress": { "podTemplate": { "metadata": {} }, "ingressTemplate": { "metadata": {} } } } }),
            json!({ "http01": { "ingress": { "podTemplate": { "spec": { "serviceAccountName": "b" } } } } }),
        ),
        (
            json!({ "http01": { "ingress": {} } }),
            json!({ "http01": { "ingress": { "serviceType": "" } } }),
            json!({ "http01": { "ingress": { "class": "b" } } }),
        ),
        (
            json!({ "http01": { "gatewayHTTPRoute": { "parentRefs": [{ "name": "a" }], "podTemplate": {} } } }),
            json!({ "http01": { "gatewayHTTPRoute": { "labels": {}, "podTemplate": { "metadata": {}, "spec": {} } } } }),
            json!({ "http01": { "gatewayHTTPRoute": { "parentRefs": [{ "name": "b" }] } } }),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("challenge-{number}");
        let challenge = json!({
            "url": "u", "authorizationURL": "a", "dnsName": "a.test", "type": "DNS-01", "token": "t", "key": "k",
            "issuerRef": issuer, "solver": written,
        });
        scene.create::<Challenge>(&name, challenge).await.unwrap();
        let same = json!({ "spec": { "wildcard": false, "solver": same } });
        assert_eq!(try_change::<Challenge>(&scene, &name, &same).await, Ok(()), "{same}");
        for other in [other, json!({ "dns01": { "digitalocean": { "tokenSecretRef": { "name": "b" } } } })] {
            let other = json!({ "spec": { "solver": other } });
            let refusal = try_change::<Challenge>(&scene, &name, &other).await.expect_err(&other.to_string());
            assert!(refusal.contains("spec: Forbidden: cannot be changed"), "{refusal}");
        }
    }
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn orders_and_challenges_cannot_be_changed() {
    let scene = scene("immutable").await;
    let issuer = json!({ "name": "absent", "group": "example.com", "kind": "Other" });
    scene
        .create::<Order>("order", json!({ "issuerRef": issuer, "request": "YQ==", "dnsNames": ["a.test"] }))
        .await
        .unwrap();
    let solver = json!({ "dns01": { "webhook": { "groupName": "a", "solverName": "b", "config": { "a": [1] } } } });
    let challenge = json!({
        "url": "u", "authorizationURL": "a", "dnsName": "a.test", "type": "DNS-01", "token": "t", "key": "k",
        "issuerRef": issuer, "solver": solver,
    });
    scene.create::<Challenge>("challenge", challenge).await.unwrap();
    for change in [json!({ "request": "Yg==" }), json!({ "dnsNames": ["b.test"] }), json!({ "profile": "p" })] {
        let refusal = try_change::<Order>(&scene, "order", &json!({ "spec": change })).await.unwrap_err();
        assert!(refusal.contains("spec: Forbidden: cannot be changed"), "{refusal}");
    }
    for change in [json!({ "key": "l" }), json!({ "solver": { "dns01": { "webhook": { "config": 5 } } } })] {
        let refusal = try_change::<Challenge>(&scene, "challenge", &json!({ "spec": change })).await.unwrap_err();
        assert!(refusal.contains("spec: Forbidden: cannot be changed"), "{refusal}");
    }
    let labels = json!({ "metadata": { "labels": { "a": "b" } } });
    assert_eq!(try_change::<Order>(&scene, "order", &labels).await, Ok(()));
    assert_eq!(try_change::<Challenge>(&scene, "challenge", &labels).await, Ok(()));

    let unread = json!([{ "url": "1" }, { "url": "2" }]);
    let read = json!([{ "url": "1", "identifier": "a.test" }, { "url": "2", "identifier": "b.test" }]);
    for step in [
        json!({ "url": "", "authorizations": [] }),
        json!({ "url": "u", "finalizeURL": "f", "authorizations": unread, "state": "pending" }),
        json!({ "authorizations": read }),
        json!({ "certificate": "YQ==", "state": "valid" }),
    ] {
        assert_eq!(try_change::<Order>(&scene, "order", &json!({ "status": step })).await, Ok(()), "{step}");
    }
    for (change, place) in [
        (json!({ "url": "v" }), "status.url"),
        (json!({ "url": "" }), "status.url"),
        (json!({ "finalizeURL": "v" }), "status.finalizeURL"),
        (json!({ "certificate": "Yg==" }), "status.certificate"),
        (json!({ "authorizations": unread }), "status.authorizations"),
        (json!({ "url": null }), "status"),
        (json!({ "certificate": null }), "status"),
        (json!({ "authorizations": null }), "status"),
    ] {
        let refusal = try_change::<Order>(&scene, "order", &json!({ "status": change })).await.expect_err(place);
        assert!(refusal.contains(&format!("{place}: Forbidden: ")), "{change}: {refusal}");
    }
}
