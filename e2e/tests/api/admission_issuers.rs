//! Issuers that make no sense are refused where they are written, by rules of the definitions. See docs/admission.md.

use certwright::api::Issuer;
use serde_json::{Value, json};

use crate::admission::{try_out, with};
use crate::malformed::store;
use crate::support::scene;

fn acme(changes: &Value) -> Value {
    let sound = json!({
        "server": "https://ca.test/directory", "privateKeySecretRef": { "name": "account" },
        "solvers": [{ "http01": { "ingress": {} } }],
    });
    json!({ "acme": with(sound, changes) })
}

fn solver(solver: &Value) -> Value {
    acme(&json!({ "solvers": [solver] }))
}

fn dns01(provider: &str, config: &Value) -> Value {
    solver(&json!({ "dns01": { provider: config } }))
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn issuers_that_make_no_sense() {
    let scene = scene("issuer-rules").await;
    let mut wrong = Vec::new();
    for (spec, place, part) in refused() {
        let answer = try_out::<Issuer>(&scene, &spec).await;
        let refusal = answer.as_ref().err().map_or("accepted", String::as_str);
        println!("{refusal}");
        if !refusal.contains(&format!("{place}: ")) || !refusal.contains(part) {
            wrong.push(format!("{spec}: wanted {place} {part:?}, got {refusal}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A spec, the field that the refusal must be about, and what it says.
#[rustfmt::skip]
fn refused() -> Vec<(Value, &'static str, &'static str)> {
    let key = || json!({ "name": "a", "key": "k" });
    let binding = |binding: Value| acme(&json!({ "externalAccountBinding": binding }));
    let azure = |more: Value| dns01("azureDNS", &with(json!({ "subscriptionID": "s", "resourceGroupName": "g" }), &more));
    let ingress = |more: Value| solver(&json!({ "http01": { "ingress": more } }));
    let of = "spec.acme.solvers[0]";
    vec![
        (json!({}), "spec", "exactly one of acme, ca, selfSigned, vault and venafi must be set"),
        (json!({ "ca": { "secretName": "a" }, "selfSigned": {} }), "spec", "exactly one of"),
        (json!({ "ca": { "secretName": "" } }), "spec.ca.secretName", "Required value: must be specified"),
        (json!({ "ca": { "secretName": "a", "ocspServers": [""] } }), "spec.ca.ocspServers[0]", "at least 1 chars"),
        (json!({ "ca": { "secretName": "a", "issuingCertificateURLs": ["u", ""] } }), "spec.ca.issuingCertificateURLs[1]", "at least 1 chars"),
        (acme(&json!({ "server": "" })), "spec.acme.server", "Required value: must be specified"),
        (acme(&json!({ "privateKeySecretRef": { "name": "" } })), "spec.acme.privateKeySecretRef", "Required value: the name"),
        (acme(&json!({ "skipTLSVerify": true, "caBundle": "YQ==" })), "spec.acme.caBundle", "Forbidden: must not be set together with skipTLSVerify"),
        (binding(json!({ "keyID": "", "keySecretRef": key() })), "spec.acme.externalAccountBinding.keyID", "Required value"),
        (binding(json!({ "keyID": "i", "keySecretRef": { "name": "a" } })), "spec.acme.externalAccountBinding.keySecretRef.key", "Required value"),
        (binding(json!({ "keyID": "i", "keySecretRef": { "name": "", "key": "k" } })), "spec.acme.externalAccountBinding.keySecretRef", "the name"),
        (solver(&json!({})), of, "exactly one of http01 and dns01 must be set"),
        (solver(&json!({ "http01": { "ingress": {} }, "dns01": { "webhook": { "groupName": "g", "solverName": "s" } } })), of, "exactly one of http01 and dns01"),
        (solver(&json!({ "http01": {} })), "spec.acme.solvers[0].http01", "exactly one of ingress and gatewayHTTPRoute"),
        (ingress(json!({ "class": "a", "name": "b" })), "spec.acme.solvers[0].http01.ingress", "Forbidden: only one of class, ingressClassName and name"),
        (ingress(json!({ "serviceType": "LoadBalancer" })), "spec.acme.solvers[0].http01.ingress.serviceType", "must be ClusterIP or NodePort"),
        (ingress(json!({ "ingressClassName": "Nginx_1" })), "spec.acme.solvers[0].http01.ingress.ingressClassName", "must be the name of an IngressClass"),
        (solver(&json!({ "http01": { "ingress": {} }, "waitInsteadOfSelfCheck": "-1s" })), "spec.acme.solvers[0].waitInsteadOfSelfCheck", "must not be negative"),
        (solver(&json!({ "http01": { "ingress": {} }, "waitInsteadOfSelfCheck": "soon" })), "spec.acme.solvers[0].waitInsteadOfSelfCheck", "must be a duration"),
        (solver(&json!({ "dns01": { "route53": {}, "nameservers": ["192.0.2.1:53", "192.0.2.1:dns"] } })), "spec.acme.solvers[0].dns01.nameservers[1]", "must be a host or host:port"),
        (solver(&json!({ "dns01": { "route53": {}, "nameservers": [""] } })), "spec.acme.solvers[0].dns01.nameservers[0]", "must be a host or host:port"),
        (solver(&json!({ "dns01": { "route53": {}, "nameservers": ["http://ns.test/"] } })), "spec.acme.solvers[0].dns01.nameservers[0]", "must be a host or host:port"),
        (solver(&json!({ "dns01": {} })), "spec.acme.solvers[0].dns01", "exactly one provider must be set"),
        (solver(&json!({ "dns01": { "route53": {}, "digitalocean": { "tokenSecretRef": key() } } })), "spec.acme.solvers[0].dns01", "exactly one provider"),
        (dns01("acmeDNS", &json!({ "host": "", "accountSecretRef": key() })), "spec.acme.solvers[0].dns01.acmeDNS.host", "Required value"),
        (dns01("akamai", &json!({ "serviceConsumerDomain": "d", "clientTokenSecretRef": key(), "clientSecretSecretRef": key(), "accessTokenSecretRef": { "name": "a" } })), "spec.acme.solvers[0].dns01.akamai.accessTokenSecretRef", "the key"),
        (dns01("cloudDNS", &json!({ "project": "" })), "spec.acme.solvers[0].dns01.cloudDNS.project", "Required value"),
        (dns01("cloudDNS", &json!({ "project": "p", "serviceAccountSecretRef": { "name": "a" } })), "spec.acme.solvers[0].dns01.cloudDNS.serviceAccountSecretRef", "the key"),
        (dns01("cloudflare", &json!({})), "spec.acme.solvers[0].dns01.cloudflare", "exactly one of apiKeySecretRef and apiTokenSecretRef"),
        (dns01("cloudflare", &json!({ "apiKeySecretRef": key(), "apiTokenSecretRef": key(), "email": "e" })), "spec.acme.solvers[0].dns01.cloudflare", "exactly one of"),
        (dns01("cloudflare", &json!({ "apiKeySecretRef": key() })), "spec.acme.solvers[0].dns01.cloudflare.email", "Required value"),
        (dns01("digitalocean", &json!({ "tokenSecretRef": { "name": "a" } })), "spec.acme.solvers[0].dns01.digitalocean.tokenSecretRef", "the key"),
        (dns01("route53", &json!({ "accessKeyID": "a", "accessKeyIDSecretRef": key() })), "spec.acme.solvers[0].dns01.route53.accessKeyIDSecretRef", "Forbidden"),
        (azure(json!({ "subscriptionID": "" })), "spec.acme.solvers[0].dns01.azureDNS.subscriptionID", "Required value"),
        (azure(json!({ "clientID": "c", "tenantID": "t" })), "spec.acme.solvers[0].dns01.azureDNS.clientSecretSecretRef", "must be set where"),
        (azure(json!({ "clientID": "c", "tenantID": "t", "clientSecretSecretRef": key(), "managedIdentity": {} })), "spec.acme.solvers[0].dns01.azureDNS.managedIdentity", "Forbidden"),
        (azure(json!({ "managedIdentity": { "clientID": "c", "resourceID": "r" } })), "spec.acme.solvers[0].dns01.azureDNS.managedIdentity", "mutually exclusive"),
        (azure(json!({ "managedIdentity": { "tenantID": "t" } })), "spec.acme.solvers[0].dns01.azureDNS.managedIdentity", "tenantID needs clientID"),
        (dns01("rfc2136", &json!({ "nameserver": "" })), "spec.acme.solvers[0].dns01.rfc2136.nameserver", "Required value"),
        (dns01("rfc2136", &json!({ "nameserver": "[2001:db8::1" })), "spec.acme.solvers[0].dns01.rfc2136.nameserver", "IPv6 addresses in brackets"),
        (dns01("rfc2136", &json!({ "nameserver": "n", "tsigAlgorithm": "SHA256" })), "spec.acme.solvers[0].dns01.rfc2136.tsigAlgorithm", "must be HMACMD5"),
        (dns01("rfc2136", &json!({ "nameserver": "n", "tsigKeyName": "k" })), "spec.acme.solvers[0].dns01.rfc2136.tsigKeyName", "must be set together"),
        (dns01("rfc2136", &json!({ "nameserver": "n", "tsigKeyName": "k", "tsigSecretSecretRef": { "name": "" } })), "spec.acme.solvers[0].dns01.rfc2136.tsigKeyName", "must be set together"),
        (dns01("rfc2136", &json!({ "nameserver": "n", "tsigSecretSecretRef": key() })), "spec.acme.solvers[0].dns01.rfc2136.tsigKeyName", "must be set together"),
        (dns01("rfc2136", &json!({ "nameserver": "n", "tsigKeyName": "k", "tsigSecretSecretRef": { "name": "a" } })), "spec.acme.solvers[0].dns01.rfc2136.tsigSecretSecretRef", "the key"),
        (dns01("webhook", &json!({ "groupName": "g", "solverName": "" })), "spec.acme.solvers[0].dns01.webhook.solverName", "Required value"),
    ]
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn issuers_at_the_edge_of_what_is_allowed() {
    let scene = scene("issuer-edges").await;
    let key = || json!({ "name": "a", "key": "k" });
    let azure =
        |more: Value| dns01("azureDNS", &with(json!({ "subscriptionID": "s", "resourceGroupName": "g" }), &more));
    for spec in [
        acme(&json!({ "solvers": null })),
        acme(&json!({ "skipTLSVerify": true, "caBundle": null })),
        acme(&json!({ "skipTLSVerify": false, "caBundle": "YQ==" })),
        solver(&json!({ "http01": { "ingress": { "class": "", "name": "a", "serviceType": "" } } })),
        solver(&json!({ "http01": { "gatewayHTTPRoute": { "serviceType": "NodePort" } } })),
        dns01("route53", &json!({})),
        dns01("route53", &json!({ "accessKeyID": "", "accessKeyIDSecretRef": key() })),
        dns01("cloudflare", &json!({ "apiKeySecretRef": key(), "email": "e" })),
        dns01("rfc2136", &json!({ "nameserver": "n", "tsigKeyName": "", "tsigAlgorithm": "HMACSHA384" })),
        dns01("rfc2136", &json!({ "nameserver": "[2001:db8::1]:53", "tsigAlgorithm": "hmac-md5.sig-alg.reg.int." })),
        dns01("rfc2136", &json!({ "nameserver": " ns.example.com:53 ", "tsigAlgorithm": "" })),
        dns01("rfc2136", &json!({ "nameserver": "2001:db8::1" })),
        dns01("rfc2136", &json!({ "nameserver": "n", "tsigSecretSecretRef": { "name": "" } })),
        dns01("rfc2136", &json!({ "nameserver": "n", "tsigKeyName": "k", "tsigSecretSecretRef": key() })),
        solver(
            &json!({ "dns01": { "route53": {}, "nameservers": ["192.0.2.1", "TCP://ns_1.test:53", "tls://192.0.2.1#ns.test", "https://ns.test/dns-query{?dns}"] } }),
        ),
        solver(
            &json!({ "http01": { "ingress": { "ingressClassName": "nginx.internal-1" } }, "waitInsteadOfSelfCheck": "0s" }),
        ),
        solver(&json!({ "http01": { "ingress": { "ingressClassName": "" } }, "waitInsteadOfSelfCheck": "1m30s" })),
        azure(json!({})),
        azure(json!({ "managedIdentity": { "clientID": "c", "tenantID": "t" } })),
        azure(json!({ "clientID": "c", "tenantID": "t", "clientSecretSecretRef": key() })),
    ] {
        assert_eq!(try_out::<Issuer>(&scene, &spec).await, Ok(()), "{spec}");
    }
    let spec = solver(&json!({ "http01": {}, "dns01": { "cloudflare": {} } }));
    store::<Issuer>(&scene, "old", json!({ "spec": spec })).await;
    let label = json!({ "metadata": { "labels": { "a": "b" } } });
    scene.patch::<Issuer>("old", label).await.expect("what was stored before can be worked on");
}
