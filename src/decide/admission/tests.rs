use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::{
    decide::testing::key,
    pki::{CertificateRequestTemplate, SubjectAltNames},
};

fn user() -> User {
    User {
        username: "jane".to_owned(),
        uid: "1".to_owned(),
        groups: vec!["a".to_owned(), "b".to_owned()],
        extra: BTreeMap::from([("x".to_owned(), vec!["y".to_owned()])]),
    }
}

fn asked(resource: &str, object: &Value, old: Option<&Value>) -> Findings {
    let complete = |object: &Value| {
        let mut object = object.clone();
        object.as_object_mut().unwrap().entry("metadata").or_insert_with(|| json!({}));
        object
    };
    let (object, old) = (complete(object), old.map(complete));
    judge(&Asked { resource, subresource: "", object: &object, old: old.as_ref(), user: &user() })
}

fn refusal(resource: &str, object: &Value, old: Option<&Value>) -> String {
    sentence(&asked(resource, object, old).problems)
}

/// `base` with these fields in place of its own; null takes one away.
fn with(mut base: Value, changes: &Value) -> Value {
    for (field, value) in changes.as_object().unwrap() {
        base[field] = value.clone();
    }
    base.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    base
}

fn certificate(changes: &Value) -> Value {
    let spec = json!({ "secretName": "a", "issuerRef": { "name": "ca" }, "dnsNames": ["a.test"] });
    json!({ "metadata": { "name": "a" }, "spec": with(spec, changes) })
}

#[test]
fn certificates_that_make_no_sense() {
    let window = |window: Value| json!({ "renewal": { "policy": "RenewBefore", "windows": [window] } });
    let twice = json!([{ "type": "DER" }, { "type": "DER" }]);
    for (changes, text) in [
        (json!({ "secretName": "" }), "spec.secretName: Required value: must be specified"),
        (json!({ "secretName": "A_b" }), "spec.secretName: Invalid value: \"A_b\": must be a name for a Secret"),
        (json!({ "issuerRef": {} }), "spec.issuerRef.name: Required value: must be specified"),
        (
            json!({ "issuerRef": { "name": "a", "kind": "Other" } }),
            "spec.issuerRef.kind: Invalid value: \"Other\": must be one of Issuer or ClusterIssuer (did you forget",
        ),
        (
            json!({ "issuerRef": { "name": "a", "kind": "Other", "group": "cert-manager.io" } }),
            "spec.issuerRef.kind: Invalid value: \"Other\": must be one of Issuer or ClusterIssuer",
        ),
        (
            json!({ "literalSubject": "CN=a", "commonName": "a" }),
            "spec.commonName: Invalid value: \"a\": When providing",
        ),
        (json!({ "literalSubject": "CN=a", "subject": { "countries": ["DE"] } }), "spec.subject: Forbidden: "),
        (json!({ "literalSubject": "nonsense" }), "spec.literalSubject: Invalid value: \"nonsense\": "),
        (json!({ "dnsNames": [] }), "spec: Invalid value: \"\": at least one of commonName"),
        (json!({ "dnsNames": [], "literalSubject": "O=a" }), "spec: Invalid value: \"\": at least one of commonName"),
        (json!({ "commonName": "a".repeat(65) }), "spec.commonName: Too long: may not be more than 64 bytes"),
        (
            json!({ "ipAddresses": ["::1", "1.2.3"] }),
            "spec.ipAddresses[1]: Invalid value: \"1.2.3\": invalid IP address",
        ),
        (json!({ "emailAddresses": ["Jane <j@a.test>"] }), "spec.emailAddresses[0]: Invalid value: "),
        (json!({ "otherNames": [{ "utf8Value": "a" }] }), "spec.otherNames[0].oid: Required value: "),
        (
            json!({ "otherNames": [{ "oid": "1.x", "utf8Value": "a" }] }),
            "spec.otherNames[0].oid: Invalid value: \"1.x\"",
        ),
        (json!({ "otherNames": [{ "oid": "1.2" }] }), "spec.otherNames[0].utf8Value: Required value: "),
        (
            json!({ "privateKey": { "size": 1024 } }),
            "spec.privateKey.size: Invalid value: 1024: must be between 2048 and 8192",
        ),
        (
            json!({ "privateKey": { "algorithm": "ECDSA", "size": 2048 } }),
            "spec.privateKey.size: Unsupported value: \"2048\": supported values: \"256\", \"384\", \"521\"",
        ),
        (json!({ "privateKey": { "algorithm": "DSA" } }), "spec.privateKey.algorithm: Unsupported value: \"DSA\""),
        (
            json!({ "signatureAlgorithm": "PureEd25519" }),
            "spec.signatureAlgorithm: Invalid value: \"PureEd25519\": for key algorithm RSA",
        ),
        (
            json!({ "duration": "59m" }),
            "spec.duration: Invalid value: \"59m\": certificate duration must be greater than",
        ),
        (json!({ "duration": "soon" }), "spec.duration: Invalid value: \"soon\": "),
        (
            json!({ "renewBefore": "4m" }),
            "spec.renewBefore: Invalid value: \"4m\": certificate renewBefore must be greater",
        ),
        (
            json!({ "duration": "2h", "renewBefore": "2h" }),
            "spec.renewBefore: Invalid value: \"2h\": certificate duration must be greater than renewBefore",
        ),
        (
            json!({ "renewBefore": "1h", "renewBeforePercentage": 5 }),
            "spec.renewBefore: Invalid value: \"1h\": renewBefore and renewBeforePercentage",
        ),
        (json!({ "renewBeforePercentage": 100 }), "spec.renewBeforePercentage: Invalid value: 100: "),
        (json!({ "revisionHistoryLimit": 0 }), "spec.revisionHistoryLimit: Invalid value: 0: "),
        (json!({ "usages": ["any", "other"] }), "spec.usages[1]: Invalid value: \"other\": unknown keyusage"),
        (
            json!({ "secretTemplate": { "labels": { "a b": "c" } } }),
            "spec.secretTemplate.labels: Invalid value: \"a b\"",
        ),
        (
            json!({ "secretTemplate": { "annotations": { "cert-manager.io/x": "" } } }),
            "spec.secretTemplate.annotations: Invalid value: \"cert-manager.io/x\": ",
        ),
        (json!({ "nameConstraints": { "permitted": {} } }), "spec.nameConstraints: Invalid value: "),
        (json!({ "nameConstraints": {}, "isCA": true }), "spec.nameConstraints: Invalid value: "),
        (json!({ "additionalOutputFormats": twice }), "spec.additionalOutputFormats[1].type: Duplicate value: \"DER\""),
        (
            json!({ "keystores": { "jks": { "create": false } } }),
            "spec.keystores.jks: Forbidden: must set exactly one of",
        ),
        (
            json!({ "keystores": { "pkcs12": { "password": "" } } }),
            "spec.keystores.pkcs12.password: Forbidden: password must not be empty",
        ),
        (
            json!({ "keystores": { "jks": { "password": "hunter2", "passwordSecretRef": { "name": "a" } } } }),
            "spec.keystores.jks: Forbidden: exactly one of",
        ),
        (
            json!({ "renewal": {} }),
            "spec.renewal.policy: Unsupported value: \"\": supported values: \"RenewBefore\", \"Disabled\"",
        ),
        (
            json!({ "renewal": { "policy": "Disabled", "windows": [{ "cron": "@daily", "windowDuration": "1h" }] } }),
            "spec.renewal.windows: Forbidden: ",
        ),
        (
            window(json!({ "cron": "61 * * * *", "windowDuration": "1h" })),
            "spec.renewal.windows[0].cron: Invalid value: \"61 * * * *\": ",
        ),
        (
            window(json!({ "cron": "@daily", "windowDuration": "1h", "timezone": "Mars/Olympus" })),
            "spec.renewal.windows[0].timezone: Invalid value: \"Mars/Olympus\": ",
        ),
        (window(json!({ "cron": "@daily" })), "spec.renewal.windows[0].windowDuration: Required value: "),
    ] {
        let object = certificate(&changes);
        let said = refusal("certificates", &object, None);
        assert!(said.starts_with(text) && !said.contains("hunter2"), "{changes}: {said}");
    }
}

#[test]
fn several_problems_stand_in_one_message() {
    let said = refusal("certificates", &certificate(&json!({ "secretName": "", "usages": ["x", "x"] })), None);
    assert_eq!(
        said,
        "[spec.secretName: Required value: must be specified, spec.usages[0]: Invalid value: \"x\": unknown keyusage, \
         spec.usages[1]: Invalid value: \"x\": unknown keyusage]"
    );
}

#[test]
fn certificates_that_are_well_or_were_stored_so_are_let_through() {
    for changes in [
        json!({}),
        json!({ "duration": "1h", "renewBefore": "5m", "usages": ["server auth", "signing"] }),
        json!({ "dnsNames": [], "literalSubject": "O=a,CN=b" }),
        json!({ "issuerRef": { "name": "a", "kind": "AWSPCAIssuer", "group": "awspca.cert-manager.io" } }),
        json!({ "keystores": { "jks": { "create": true, "password": "a", "passwordSecretRef": { "name": "" } } } }),
    ] {
        assert_eq!(asked("certificates", &certificate(&changes), None), Findings::default(), "{changes}");
    }
    let old = certificate(&json!({ "secretName": "A_b" }));
    let labelled = with(old.clone(), &json!({ "metadata": { "name": "a", "labels": { "b": "c" } } }));
    assert_eq!(asked("certificates", &labelled, Some(&old)), Findings::default());
    let changed = certificate(&json!({ "secretName": "A_b", "isCA": true }));
    assert!(refusal("certificates", &changed, Some(&old)).starts_with("spec.secretName: "));
}

/// cert-manager lets them through as well, and no CA does.
#[test]
fn what_would_not_be_issued_is_warned_of() {
    let findings = asked("certificates", &certificate(&json!({ "dnsNames": ["not a name"] })), None);
    assert_eq!(findings.problems, []);
    assert!(findings.warnings.len() == 1 && findings.warnings[0].starts_with("spec.dnsNames"), "{findings:?}");
}

/// In base64; the same each time, because signatures differ.
fn signing_request() -> &'static str {
    use base64::Engine as _;
    static REQUEST: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        let names = SubjectAltNames { dns_names: vec!["a.test".to_owned()], ..SubjectAltNames::default() };
        let template =
            CertificateRequestTemplate { names, encode_usages: true, ..CertificateRequestTemplate::default() };
        let pem = crate::pki::pem::encode("CERTIFICATE REQUEST", &template.build(key(0)).unwrap());
        base64::engine::general_purpose::STANDARD.encode(pem)
    });
    &REQUEST
}

fn request(changes: &Value) -> Value {
    let spec = json!({
        "issuerRef": { "name": "ca" }, "request": signing_request(),
        "username": "jane", "uid": "1", "groups": ["b", "a"], "extra": { "x": ["y"] },
    });
    json!({ "metadata": { "namespace": "shop", "name": "a" }, "spec": with(spec, changes) })
}

#[test]
fn new_requests() {
    assert_eq!(asked("certificaterequests", &request(&json!({})), None), Findings::default());
    for (changes, text) in [
        (json!({ "username": "joe" }), "spec.username: Forbidden: username identity must be that of the requester"),
        (json!({ "username": null }), "spec.username: Forbidden: "),
        (json!({ "uid": "2" }), "spec.uid: Forbidden: "),
        (json!({ "groups": ["a"] }), "spec.groups: Forbidden: "),
        (json!({ "extra": {} }), "spec.extra: Forbidden: "),
        (json!({ "issuerRef": { "name": "" } }), "spec.issuerRef.name: Required value"),
        (json!({ "request": "" }), "spec.request: Required value: must be specified"),
        (json!({ "request": "YQ==" }), "spec.request: Invalid value: \"a\": failed to decode csr: "),
        (json!({ "usages": ["client auth"] }), "spec.request: Invalid value: \"-----BEGIN"),
        (json!({ "usages": ["none"] }), "spec.usages[0]: Invalid value: \"none\": unknown keyusage"),
    ] {
        let said = refusal("certificaterequests", &request(&changes), None);
        assert!(said.starts_with(text), "{changes}: {said}");
    }
}

#[test]
fn requests_stay_as_they_are() {
    let old = request(&json!({ "duration": "2160h", "username": "joe" }));
    let same = request(&json!({ "duration": "2160h0m0s", "username": "joe", "isCA": false }));
    assert_eq!(asked("certificaterequests", &same, Some(&old)), Findings::default());
    for changes in [
        json!({ "username": "jane" }),
        json!({ "duration": "1h", "username": "joe" }),
        json!({ "isCA": true, "username": "joe", "duration": "2160h" }),
    ] {
        let said = refusal("certificaterequests", &request(&changes), Some(&old));
        assert_eq!(said, "spec: Forbidden: cannot change spec after creation", "{changes}");
    }
    let annotated = |annotations: Value| {
        let mut object = old.clone();
        object["metadata"]["annotations"] = annotations;
        object
    };
    let before = annotated(json!({ "cert-manager.io/a": "1", "b": "1", "venafi.cert-manager.io/c": "1" }));
    let free = annotated(json!({ "cert-manager.io/a": "1", "b": "2" }));
    assert_eq!(asked("certificaterequests", &free, Some(&before)), Findings::default());
    for changed in [
        json!({}),
        json!({ "cert-manager.io/a": "2" }),
        json!({ "cert-manager.io/a": "1", "acme.cert-manager.io/n": "1" }),
    ] {
        let said = refusal("certificaterequests", &annotated(changed), Some(&before));
        assert!(said.contains("Forbidden: cannot change cert-manager annotation after creation"), "{said}");
    }
}

#[test]
fn approval_is_asked_for_once_and_stays() {
    let condition = |type_: &str, status: &str, message: &str| {
        json!({
            "type": type_, "status": status, "message": message, "reason": "r", "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    let with_conditions = |conditions: Value| {
        let mut object = request(&json!({ "issuerRef": { "name": "ca", "kind": "ClusterIssuer" } }));
        object["status"] = json!({ "conditions": conditions });
        object
    };
    let (none, approved) = (with_conditions(json!([])), with_conditions(json!([condition("Approved", "True", "m")])));
    let findings = asked("certificaterequests", &approved, Some(&none));
    let signer = findings.approval.unwrap();
    assert_eq!((findings.problems.len(), signer.known()), (0, Some(("clusterissuers", false))));
    assert_eq!(
        signer_names(&signer, "clusterissuers", false),
        ["clusterissuers.cert-manager.io/*", "clusterissuers.cert-manager.io/ca"]
    );
    assert_eq!(signer_names(&signer, "issuers", true)[1], "issuers.cert-manager.io/shop.ca");
    assert_eq!(asked("certificaterequests", &approved, Some(&approved)).approval, None);
    for (now, before, text) in [
        (json!([condition("Approved", "False", "m")]), &none, "\"Approved\" condition may only be set to True"),
        (json!([condition("Approved", "True", "n")]), &approved, "\"Approved\" condition may not be modified once set"),
        (json!([]), &approved, "\"Approved\" condition may not be modified once set"),
        (
            json!([condition("Approved", "True", "m"), condition("Denied", "True", "m")]),
            &approved,
            "both 'Denied' and 'Approved'",
        ),
    ] {
        let said = refusal("certificaterequests", &with_conditions(now), Some(before));
        assert!(said.starts_with("status.conditions: ") && said.contains(text), "{said}");
    }
}

#[test]
fn the_requester_is_written_whatever_is_there() {
    let patched = |spec: Value, user: &User| requester_patch(&json!({ "spec": spec }), user);
    let all = patched(json!({ "username": "joe" }), &user());
    let paths: Vec<_> = all.iter().map(|operation| (operation["op"].clone(), operation["path"].clone())).collect();
    let add = |field: &str| (json!("add"), json!(format!("/spec/{field}")));
    assert_eq!(paths, ["username", "uid", "groups", "extra"].map(add));
    assert_eq!(all[0]["value"], "jane");
    let nobody = User { username: "joe".to_owned(), ..User::default() };
    let rest = patched(json!({ "username": "joe", "uid": "7", "groups": ["system:masters"] }), &nobody);
    assert_eq!(
        json!(rest),
        json!([{ "op": "remove", "path": "/spec/uid" }, { "op": "remove", "path": "/spec/groups" }])
    );
    assert_eq!(requester_patch(&json!({}), &user()), [json!(null); 0]);
}

fn acme(changes: &Value) -> Value {
    let acme = json!({ "server": "https://ca.test", "privateKeySecretRef": { "name": "a" }, "solvers": [{ "http01": { "ingress": {} } }] });
    json!({ "spec": { "acme": with(acme, changes) } })
}

#[test]
fn issuers() {
    let solver = |solver: Value| acme(&json!({ "solvers": [solver] }));
    let dns01 = |dns01: Value| solver(json!({ "dns01": dns01 }));
    let key = json!({ "name": "a", "key": "b" });
    assert_eq!(asked("issuers", &acme(&json!({})), None), Findings::default());
    assert_eq!(asked("clusterissuers", &json!({ "spec": { "selfSigned": {} } }), None), Findings::default());
    let of = "spec.acme.solvers[0]";
    for (object, text) in [
        (json!({ "spec": {} }), "spec: Required value: at least one issuer must be configured".to_owned()),
        (
            json!({ "spec": { "ca": { "secretName": "a" }, "selfSigned": {} } }),
            "spec.selfSigned: Forbidden: may not specify more than one".to_owned(),
        ),
        (json!({ "spec": { "ca": {} } }), "spec.ca.secretName: Required value".to_owned()),
        (acme(&json!({ "server": null })), "spec.acme.server: Required value".to_owned()),
        (acme(&json!({ "privateKeySecretRef": {} })), "spec.acme.privateKeySecretRef.name: Required value".to_owned()),
        (
            acme(&json!({ "caBundle": "YQ==" })),
            "spec.acme.caBundle: Invalid value: \"\": the CA bundle holds no PEM block".to_owned(),
        ),
        (
            acme(&json!({ "caBundle": "YQ==", "skipTLSVerify": true })),
            "[spec.acme.caBundle: Invalid value: \"\": caBundle and skipTLSVerify".to_owned(),
        ),
        (
            acme(&json!({ "externalAccountBinding": { "keyID": "a", "keySecretRef": { "name": "a" } } })),
            "spec.acme.externalAccountBinding.keySecretRef.key: Required".to_owned(),
        ),
        (solver(json!({})), format!("{of}: Required value: no solver type")),
        (solver(json!({ "http01": { "ingress": {} }, "dns01": {} })), format!("{of}.dns01: Forbidden: ")),
        (solver(json!({ "http01": {} })), format!("{of}.http01: Required value")),
        (
            solver(json!({ "http01": { "ingress": { "class": "a", "name": "b" } } })),
            format!("{of}.http01.ingress: Forbidden: "),
        ),
        (
            solver(json!({ "http01": { "ingress": { "ingressClassName": "A" } } })),
            format!("{of}.http01.ingress.ingressClassName: Invalid"),
        ),
        (
            solver(json!({ "http01": { "ingress": { "serviceType": "LoadBalancer" } } })),
            format!("{of}.http01.ingress.serviceType: Invalid"),
        ),
        (
            solver(json!({ "http01": { "ingress": {} }, "waitInsteadOfSelfCheck": "-1s" })),
            format!("{of}.waitInsteadOfSelfCheck: Invalid"),
        ),
        (dns01(json!({})), format!("{of}.dns01: Required value: no DNS01 provider")),
        (dns01(json!({ "route53": {}, "cloudDNS": { "project": "p" } })), format!("{of}.dns01: Forbidden: ")),
        (
            dns01(json!({ "cloudflare": { "apiKeySecretRef": key } })),
            format!("{of}.dns01.cloudflare.email: Required value"),
        ),
        (
            dns01(json!({ "cloudflare": { "apiKeySecretRef": key, "apiTokenSecretRef": key, "email": "e" } })),
            format!("{of}.dns01.cloudflare: Forbidden"),
        ),
        (
            dns01(json!({ "digitalocean": { "tokenSecretRef": { "name": "a" } } })),
            format!("{of}.dns01.digitalocean.tokenSecretRef.key: Required"),
        ),
        (
            dns01(json!({ "route53": { "accessKeyID": "a", "accessKeyIDSecretRef": key } })),
            format!("{of}.dns01.route53.accessKeyID: "),
        ),
        (
            dns01(json!({ "rfc2136": { "nameserver": "a", "tsigKeyName": "k" } })),
            format!("{of}.dns01.rfc2136.tsigSecretSecretRef: Required"),
        ),
        (
            dns01(
                json!({ "azureDNS": { "subscriptionID": "s", "resourceGroupName": "g", "clientID": "c", "tenantID": "t" } }),
            ),
            format!("{of}.dns01.azureDNS.clientSecretSecretRef: Required"),
        ),
        (dns01(json!({ "webhook": { "groupName": "g" } })), format!("{of}.dns01.webhook.solverName: Required")),
    ] {
        let said = refusal("issuers", &object, None);
        assert!(said.starts_with(&text), "{object}: {said}");
    }
    let without_key = dns01(json!({ "rfc2136": { "nameserver": "a", "tsigSecretSecretRef": { "name": "" } } }));
    assert_eq!(asked("issuers", &without_key, None), Findings::default(), "as Go writes it");
    let warned =
        acme(&json!({ "externalAccountBinding": { "keyID": "a", "keySecretRef": key, "keyAlgorithm": "HS256" } }));
    let findings = asked("issuers", &warned, None);
    assert_eq!((findings.problems.len(), findings.warnings.len()), (0, 1));
}

#[test]
fn orders_and_challenges() {
    let order = |spec: Value, status: Value| json!({ "spec": spec, "status": status });
    let spec = json!({ "request": "YQ==", "issuerRef": { "name": "a" } });
    let unread = json!([{ "url": "1" }]);
    let old = order(spec.clone(), json!({ "url": "u", "authorizations": unread }));
    let read = json!([{ "url": "1", "identifier": "a.test" }]);
    let next = order(spec.clone(), json!({ "url": "u", "finalizeURL": "f", "authorizations": read }));
    assert_eq!(asked("orders", &next, Some(&old)), Findings::default());
    assert_eq!(asked("orders", &old, None), Findings::default());
    for (object, text) in [
        (
            order(json!({ "request": "Yg==", "issuerRef": { "name": "a" } }), next["status"].clone()),
            "spec.request: Forbidden: ",
        ),
        (order(spec.clone(), with(next["status"].clone(), &json!({ "url": "v" }))), "status.url: Forbidden: "),
        (
            order(spec.clone(), with(next["status"].clone(), &json!({ "finalizeURL": null }))),
            "status.finalizeURL: Forbidden: ",
        ),
        (
            order(spec.clone(), with(next["status"].clone(), &json!({ "authorizations": unread }))),
            "status.authorizations: Forbidden: ",
        ),
    ] {
        let said = refusal("orders", &object, Some(&next));
        assert!(said.starts_with(text), "{said}");
    }
    let challenge = |token: &str| json!({ "spec": { "token": token } });
    assert_eq!(asked("challenges", &challenge("a"), Some(&challenge("a"))), Findings::default());
    assert!(refusal("challenges", &challenge("b"), Some(&challenge("a"))).starts_with("spec: Forbidden: "));
    let solved_by = |route53: Value| json!({ "spec": { "token": "a", "solver": { "dns01": { "route53": route53 } } } });
    let written = solved_by(json!({ "region": "a", "role": "" }));
    let again = solved_by(json!({ "region": "a", "secretAccessKeySecretRef": { "name": "" } }));
    assert_eq!(asked("challenges", &again, Some(&written)), Findings::default());
    let other = solved_by(json!({ "region": "a", "role": "b" }));
    assert!(refusal("challenges", &other, Some(&written)).starts_with("spec: Forbidden: "));
}

#[test]
fn nothing_is_said_of_what_is_not_ours() {
    assert_eq!(asked("widgets", &json!({ "spec": 5 }), None), Findings::default());
    let said = refusal("certificates", &json!({ "spec": 5 }), None);
    assert!(said.starts_with("the object cannot be read: "), "{said}");
}
