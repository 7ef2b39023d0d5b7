//! The page as a whole.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;

use super::{AccountBudget, Recorder, Sources, page};
use crate::{
    cluster::{Hub, ObjectName},
    decide::budget::Balance,
    measure,
};

fn sources(hub: Hub) -> Sources {
    Sources {
        hub: Arc::new(hub),
        recorder: Recorder::local(|| measure::pass("orders")),
        budgets: Box::new(|_| {
            let account = |name: &str, most| AccountBudget {
                kind: "ClusterIssuer",
                namespace: String::new(),
                name: name.to_owned(),
                balance: Balance { most, used: 12, waiting: 3 },
            };
            vec![account("le", Some(300)), account("own", None)]
        }),
    }
}

fn certificate(name: &str, status: &serde_json::Value) -> crate::api::Certificate {
    let object = json!({
        "metadata": { "name": name, "namespace": "shop", "uid": name, "resourceVersion": "1" },
        "spec": { "secretName": name, "issuerRef": { "name": "le", "kind": "ClusterIssuer" } },
        "status": status,
    });
    serde_json::from_value(object).unwrap()
}

fn challenge(status: &serde_json::Value) -> crate::api::Challenge {
    let object = json!({
        "metadata": { "name": "web-1", "namespace": "shop", "uid": "3", "resourceVersion": "1" },
        "spec": {
            "url": "", "authorizationURL": "", "dnsName": "web.example.com", "type": "DNS-01", "token": "", "key": "",
            "solver": {}, "issuerRef": { "name": "le" },
        },
        "status": status,
    });
    serde_json::from_value(object).unwrap()
}

fn text(sources: &Sources) -> String {
    page(sources, "2026-03-01T12:00:00Z".parse().unwrap()).collect()
}

/// Every line that is there for an object, sorted.
fn lines<'a>(text: &'a str, part: &str) -> Vec<&'a str> {
    let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && line.contains(part)).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_certificate_has_cert_managers_series() {
    let hub = Hub::new();
    hub.put(certificate(
        "web",
        &json!({
            "conditions": [{ "type": "Ready", "status": "True" }],
            "notBefore": "2026-01-01T00:00:00Z", "notAfter": "2026-04-01T00:00:00Z", "renewalTime": "2026-03-02T00:00:00Z",
        }),
    ));
    let issuer = r#"issuer_name="le",issuer_kind="ClusterIssuer",issuer_group="""#;
    let mut expected: Vec<String> = [
        ("expiration_timestamp_seconds", "1775001600"),
        ("not_after_timestamp_seconds", "1775001600"),
        ("not_before_timestamp_seconds", "1767225600"),
        ("renewal_timestamp_seconds", "1772409600"),
    ]
    .map(|(name, value)| format!(r#"certmanager_certificate_{name}{{name="web",namespace="shop",{issuer}}} {value}"#))
    .to_vec();
    for (condition, value) in [("False", 0), ("True", 1), ("Unknown", 0)] {
        expected.push(format!(
            r#"certmanager_certificate_ready_status{{name="web",namespace="shop",condition="{condition}",{issuer}}} {value}"#
        ));
    }
    expected.sort();
    assert_eq!(lines(&text(&sources(hub)), r#"name="web""#), expected);
}

#[test]
fn what_is_unknown_is_zero_and_what_failed_says_why_and_when() {
    let hub = Hub::new();
    let told = "no; the CA will refuse it again until the spec changes (next attempt at 2026-03-01T13:00:00Z, or when the spec changes)";
    hub.put(certificate("new", &json!({})));
    hub.put(certificate(
        "failed",
        &json!({
            "conditions": [{ "type": "Issuing", "status": "False", "reason": "Failed", "message": told }],
            "failedIssuanceAttempts": 2,
        }),
    ));
    let text = text(&sources(hub));
    let of_new = lines(&text, r#"name="new""#);
    assert_eq!(of_new.len(), 7);
    assert_eq!(of_new.iter().filter(|line| line.ends_with(" 1")).collect::<Vec<_>>().len(), 1, "{of_new:?}");
    assert!(of_new.iter().any(|line| line.contains(r#"condition="Unknown""#) && line.ends_with(" 1")), "{of_new:?}");
    let failed = r#"name="failed",namespace="shop""#;
    let attempts = format!(r#"certwright_certificate_failed_attempts{{{failed},class="spec"}} 2"#);
    let next = format!("certwright_certificate_next_attempt_timestamp_seconds{{{failed}}} 1772370000");
    let of_failed = lines(&text, r#"name="failed""#);
    assert!(of_failed.contains(&&*attempts) && of_failed.contains(&&*next), "{of_failed:?}");
}

#[test]
fn a_challenge_has_a_series_for_each_state_and_its_reason_is_a_class() {
    let hub = Hub::new();
    let reason =
        "Waiting for DNS-01 challenge propagation: ns2.example.com (192.0.2.2) does not have the TXT record yet";
    hub.put(challenge(&json!({ "state": "pending", "processing": true, "reason": reason })));
    let text = text(&sources(hub));
    let found = lines(&text, "certmanager_certificate_challenge_status");
    let line = |status: &str, value: u8| {
        format!(
            "certmanager_certificate_challenge_status{{status=\"{status}\",domain=\"web.example.com\",\
             reason=\"waiting-for-propagation\",processing=\"true\",name=\"web-1\",namespace=\"shop\",type=\"DNS-01\"}} {value}"
        )
    };
    let states = ["", "errored", "expired", "invalid", "pending", "processing", "ready", "valid"];
    let expected: Vec<String> = states.iter().map(|state| line(state, u8::from(*state == "pending"))).collect();
    assert_eq!(found, expected);
}

#[test]
fn issuers_their_accounts_and_the_rest() {
    let hub = Hub::new();
    let metadata = json!({ "name": "le", "namespace": "shop", "uid": "1", "resourceVersion": "1" });
    let ready = json!({ "conditions": [{ "type": "Ready", "status": "False" }] });
    let issuer: crate::api::Issuer =
        serde_json::from_value(json!({ "metadata": metadata, "spec": {}, "status": ready })).unwrap();
    hub.put(issuer);
    let metadata = json!({ "name": "le", "uid": "2", "resourceVersion": "1" });
    let issuer: crate::api::ClusterIssuer =
        serde_json::from_value(json!({ "metadata": metadata, "spec": {} })).unwrap();
    hub.put(issuer);
    let text = text(&sources(hub));
    for line in [
        r#"certmanager_issuer_ready_status{name="le",namespace="shop",condition="False"} 1"#,
        r#"certmanager_clusterissuer_ready_status{name="le",condition="Unknown"} 1"#,
        r#"certwright_acme_orders_allowed{issuer_kind="ClusterIssuer",namespace="",issuer_name="le"} 300"#,
        r#"certwright_acme_orders_left{issuer_kind="ClusterIssuer",namespace="",issuer_name="le"} 288"#,
        r#"certwright_acme_orders_waiting{issuer_kind="ClusterIssuer",namespace="",issuer_name="own"} 3"#,
        "certmanager_clock_time_seconds 1772366400",
        "certmanager_clock_time_seconds_gauge 1772366400",
        r#"certmanager_controller_sync_call_count{controller="orders"} 1"#,
        r#"certwright_queue_waiting{controller="issuers"} 1"#,
    ] {
        assert!(text.lines().any(|held| held == line), "{line}\n{text}");
    }
    assert!(
        !text.contains(r#"certwright_acme_orders_left{issuer_kind="ClusterIssuer",namespace="",issuer_name="own"}"#)
    );
}

#[test]
fn what_is_gone_has_no_series() {
    let hub = Hub::new();
    hub.put(certificate("web", &json!({})));
    let sources = sources(hub);
    assert!(text(&sources).contains(r#"name="web""#));
    sources.hub.bury::<crate::api::Certificate>(&ObjectName::new("shop", "web"), "web");
    assert!(!text(&sources).contains(r#"name="web""#));
}

/// Each family is one block with one head: Prometheus refuses anything else.
#[test]
fn families_are_whole() {
    let hub = Hub::new();
    for number in 0..600 {
        hub.put(certificate(&format!("web-{number}"), &json!({})));
    }
    let text = text(&sources(hub));
    let mut heads = BTreeMap::<&str, usize>::new();
    let mut current = "";
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(head) = line.strip_prefix("# TYPE ") {
            current = head.split(' ').next().unwrap();
            *heads.entry(current).or_default() += 1;
        } else if !line.starts_with('#') {
            assert!(line.starts_with(current), "{line} stands below {current}");
        }
    }
    assert!(heads.values().all(|count| *count == 1), "{heads:?}");
    assert_eq!(text.lines().filter(|line| line.starts_with("certmanager_certificate_ready_status{")).count(), 1800);
}

/// The reference page names all of them.
#[test]
fn every_family_is_documented() {
    let text = text(&sources(Hub::new()));
    let served = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).filter_map(|head| head.split(' ').next());
    let document = include_str!("../../docs/metrics.md");
    let names: Vec<&str> = served.chain(measure::RECORDED.iter().map(|family| family.name)).collect();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        assert!(document.contains(&format!("`{name}`")), "docs/metrics.md does not tell of {name}");
    }
}
