//! What the spec says of subject, names, usages and times stands in request and certificate.

use certwright::api::CertificateRequest;
use certwright::api::names::annotation;
use certwright_e2e::Scene;
use certwright_e2e::scene::Issued;
use jiff::SignedDuration;
use kube::ResourceExt;
use serde_json::json;

use super::chain::verifies;
use super::witness::Witness;
use super::{ca_scene, entry, issue, of_revision};
use crate::support::settles;

fn certificate_text(issued: &Issued, more: &[&str]) -> String {
    let arguments = [&["x509", "-in", "tls.crt", "-noout"], more].concat();
    Witness::new(&[("tls.crt", entry(&issued.secret, "tls.crt"))]).openssl(&arguments)
}

/// What the CSR of the first issuance says.
async fn request_text(scene: &Scene, name: &str) -> String {
    let request: CertificateRequest = scene.api().get(&format!("{name}-1")).await.unwrap();
    Witness::new(&[("csr", &request.spec.request.0)]).openssl(&["req", "-in", "csr", "-verify", "-noout", "-text"])
}

fn has_all(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn every_attribute_of_the_subject() {
    let scene = ca_scene("subject").await;
    let subject = json!({
        "organizations": ["Example, Inc.", "Second"],
        "organizationalUnits": ["Web", "Mail"],
        "countries": ["DE", "FR"],
        "localities": ["Köln"],
        "provinces": ["NRW"],
        "streetAddresses": ["Domkloster 4"],
        "postalCodes": ["50667"],
        "serialNumber": "SN 7",
    });
    let issued = issue(&scene, "web", json!({ "subject": subject, "commonName": "web.example.com" })).await;
    let text = certificate_text(&issued, &["-subject", "-nameopt", "multiline,utf8,-esc_msb"]);
    has_all(
        &text,
        &[
            "commonName                = web.example.com",
            "organizationName          = Example, Inc.",
            "organizationName          = Second",
            "organizationalUnitName    = Web",
            "organizationalUnitName    = Mail",
            "countryName               = DE",
            "countryName               = FR",
            "localityName              = Köln",
            "stateOrProvinceName       = NRW",
            "streetAddress             = Domkloster 4",
            "postalCode                = 50667",
            "serialNumber              = SN 7",
        ],
    );
    let annotations = issued.secret.annotations();
    assert_eq!(annotations[annotation::COMMON_NAME], "web.example.com");
    // In the order of the certificate, where DER puts the shorter value of a set first.
    assert_eq!(annotations[annotation::SUBJECT_ORGANIZATIONS], "Second,\"Example, Inc.\"");
    assert_eq!(annotations[annotation::SUBJECT_COUNTRIES], "DE,FR");
    assert_eq!(annotations[annotation::SUBJECT_SERIAL_NUMBER], "SN 7");
    verifies(&issued.secret);
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_subject_in_one_line() {
    let scene = ca_scene("literal").await;
    let literal = "CN=web+UID=7,OU=Web,OU=Mail,O=Example\\, Inc.,DC=example,DC=com";
    let issued = issue(&scene, "web", json!({ "literalSubject": literal })).await;
    let text = certificate_text(&issued, &["-subject", "-nameopt", "RFC2253"]);
    let rdns = text.trim().strip_prefix("subject=").unwrap();
    let (first, rest) = rdns.split_once(',').unwrap();
    // The order within a multi-valued RDN is that of its encoding (X.690 section 11.6).
    assert!(["CN=web+UID=7", "UID=7+CN=web"].contains(&first), "{text}");
    assert_eq!(rest, "OU=Web,OU=Mail,O=Example\\, Inc.,DC=example,DC=com");
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn every_kind_of_name() {
    let scene = ca_scene("names").await;
    let (web, wildcard) = (scene.dns_name("web"), scene.dns_name("*"));
    let more = json!({
        "dnsNames": [web, wildcard],
        "ipAddresses": ["192.0.2.1", "2001:db8::1"],
        "uris": ["spiffe://cluster.local/ns/a/sa/b", "https://example.com/x?y=z"],
        "emailAddresses": ["admin@example.com"],
        "otherNames": [{ "oid": "1.3.6.1.4.1.311.20.2.3", "utf8Value": "jürgen@example.com" }],
    });
    let issued = issue(&scene, "web", more).await;
    let parts = [
        &format!("DNS:{web}"),
        &format!("DNS:{wildcard}"),
        "IP Address:192.0.2.1",
        "IP Address:2001:DB8:0:0:0:0:0:1",
        "URI:spiffe://cluster.local/ns/a/sa/b",
        "URI:https://example.com/x?y=z",
        "email:admin@example.com",
        "othername:",
    ];
    has_all(&certificate_text(&issued, &["-ext", "subjectAltName"]), &parts);
    has_all(&request_text(&scene, "web").await, &parts);
    let other = &issued.leaf().names.other_names;
    assert_eq!(other.len(), 1, "{other:?}");
    assert_eq!(other[0].oid, "1.3.6.1.4.1.311.20.2.3");
    let annotations = issued.secret.annotations();
    assert_eq!(annotations[annotation::IP_SANS], "192.0.2.1,2001:db8::1");
    assert_eq!(annotations[annotation::URI_SANS], "spiffe://cluster.local/ns/a/sa/b,https://example.com/x?y=z");
    assert_eq!(annotations[annotation::EMAIL_SANS], "admin@example.com");
    verifies(&issued.secret);
}

/// Without a subject, the names are what counts, so their extension is critical (RFC 5280 section 4.2.1.6).
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn names_alone() {
    let scene = ca_scene("alone").await;
    let issued = issue(&scene, "web", json!({ "dnsNames": null, "uris": ["spiffe://example.com/x"] })).await;
    has_all(&certificate_text(&issued, &["-text"]), &["X509v3 Subject Alternative Name: critical"]);
    verifies(&issued.secret);
}

/// A private CA certifies names that no public one would, as with cert-manager.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn names_of_no_host() {
    let scene = ca_scene("nohost").await;
    let names = ["my_service.local", "*.*.example.com", "www.example.com.", "192.0.2.1", "*"];
    let issued = issue(&scene, "web", json!({ "dnsNames": names })).await;
    assert_eq!(issued.leaf().names.dns_names, names);
    verifies(&issued.secret);
    settles(&scene).await;
    of_revision(&scene, "web", 1).await;
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn usages() {
    let scene = ca_scene("usages").await;
    let asked = json!(["digital signature", "content commitment", "server auth", "client auth", "code signing"]);
    let parts = [
        "Digital Signature, Non Repudiation",
        "TLS Web Server Authentication",
        "TLS Web Client Authentication",
        "Code Signing",
    ];
    let issued = issue(&scene, "web", json!({ "usages": asked })).await;
    has_all(&certificate_text(&issued, &["-ext", "keyUsage,extendedKeyUsage"]), &parts);
    has_all(&request_text(&scene, "web").await, &parts);

    let issued = issue(&scene, "plain", json!({ "usages": asked, "encodeUsagesInRequest": false })).await;
    has_all(&certificate_text(&issued, &["-ext", "keyUsage,extendedKeyUsage"]), &parts);
    let request = request_text(&scene, "plain").await;
    assert!(!request.contains("Key Usage"), "{request}");

    let issued = issue(&scene, "default", json!({})).await;
    let text = certificate_text(&issued, &["-text"]);
    has_all(&text, &["Digital Signature, Key Encipherment", "CA:FALSE"]);
    assert!(!text.contains("Extended Key Usage"), "{text}");
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_ca_that_may_not_sign_for_everybody() {
    let scene = ca_scene("constraints").await;
    let constraints = json!({
        "critical": true,
        "permitted": { "dnsDomains": ["certwright.test"], "ipRanges": ["192.0.2.0/24"] },
        "excluded": { "dnsDomains": ["secret.certwright.test"], "emailAddresses": [".example.com"] },
    });
    let more = json!({ "isCA": true, "commonName": "narrow CA", "dnsNames": null, "nameConstraints": constraints });
    let issued = issue(&scene, "narrow", more).await;
    let parts = [
        "X509v3 Name Constraints: critical",
        "Permitted:\n",
        "DNS:certwright.test",
        "IP:192.0.2.0/255.255.255.0",
        "Excluded:\n",
        "DNS:secret.certwright.test",
        "email:.example.com",
    ];
    let text = certificate_text(&issued, &["-text"]);
    has_all(&text, &parts);
    has_all(&text, &["CA:TRUE", "Certificate Sign"]);
    has_all(&request_text(&scene, "narrow").await, &parts);

    // openssl holds the CA to it.
    scene.create::<certwright::api::Issuer>("narrow", json!({ "ca": { "secretName": "narrow-tls" } })).await.unwrap();
    let good = issue(&scene, "good", json!({ "issuerRef": { "name": "narrow" } })).await;
    verifies(&good.secret);
    let more = json!({ "issuerRef": { "name": "narrow" }, "dnsNames": ["elsewhere.test"] });
    let bad = issue(&scene, "bad", more).await;
    let witness = Witness::new(&[("crt", entry(&bad.secret, "tls.crt")), ("ca", entry(&bad.secret, "ca.crt"))]);
    let printed = witness.run("openssl", &["verify", "-CAfile", "ca", "-untrusted", "crt", "crt"]).unwrap_err();
    assert!(printed.contains("permitted subtree violation"), "{printed}");
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn durations() {
    let scene = ca_scene("durations").await;
    for (name, more, expected) in [
        ("default", json!({}), SignedDuration::from_hours(90 * 24)),
        ("short", json!({ "duration": "26h30m" }), SignedDuration::from_mins(26 * 60 + 30)),
    ] {
        // The CA lives for 90 days too, so the longest lifetime ends with it.
        let issued = issue(&scene, name, more).await;
        let leaf = issued.leaf();
        let lifetime = leaf.not_after.duration_since(leaf.not_before);
        let slack = SignedDuration::from_mins(2);
        assert!(lifetime <= expected && lifetime > expected - slack, "{name}: {lifetime:#}");
    }
    let request: CertificateRequest = scene.api().get("short-1").await.unwrap();
    let duration = request.spec.duration.unwrap().to_duration().unwrap();
    assert_eq!(duration, SignedDuration::from_mins(26 * 60 + 30));
}
