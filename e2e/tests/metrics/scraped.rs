//! What a real Prometheus finds, and what the alerts and the dashboard make of it.

use std::collections::BTreeSet;

use certwright::api::{Certificate, Issuer};
use certwright_e2e::Scene;
use certwright_e2e::audit::Mark;
use certwright_e2e::helm::chart;
use certwright_e2e::scene::PATIENCE;
use certwright_e2e::wait::until;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::page::{series, sum};
use crate::prometheus::{Prometheus, rules};
use crate::stage::Stage;

/// cert-manager's families: name, type, labels.
const CONTRACT: [(&str, &str, &[&str]); 14] = [
    ("certmanager_clock_time_seconds", "counter", &[]),
    ("certmanager_clock_time_seconds_gauge", "gauge", &[]),
    (
        "certmanager_certificate_ready_status",
        "gauge",
        &["condition", "issuer_group", "issuer_kind", "issuer_name", "name", "namespace"],
    ),
    ("certmanager_certificate_not_after_timestamp_seconds", "gauge", OF_A_CERTIFICATE),
    ("certmanager_certificate_not_before_timestamp_seconds", "gauge", OF_A_CERTIFICATE),
    ("certmanager_certificate_expiration_timestamp_seconds", "gauge", OF_A_CERTIFICATE),
    ("certmanager_certificate_renewal_timestamp_seconds", "gauge", OF_A_CERTIFICATE),
    (
        "certmanager_certificate_challenge_status",
        "gauge",
        &["domain", "name", "namespace", "processing", "reason", "status", "type"],
    ),
    ("certmanager_issuer_ready_status", "gauge", &["condition", "name", "namespace"]),
    ("certmanager_clusterissuer_ready_status", "gauge", &["condition", "name"]),
    ("certmanager_http_acme_client_request_count", "counter", &["action", "host", "method", "scheme", "status"]),
    (
        "certmanager_http_acme_client_request_duration_seconds",
        "summary",
        &["action", "host", "method", "quantile", "scheme", "status"],
    ),
    ("certmanager_controller_sync_call_count", "counter", &["controller"]),
    ("certmanager_controller_sync_error_count", "counter", &["controller"]),
];

/// A label that is empty is none to Prometheus, so the group that nobody wrote is not among them.
const OF_A_CERTIFICATE: &[&str] = &["issuer_group", "issuer_kind", "issuer_name", "name", "namespace"];

/// Those that there is nothing to tell of in a run in which only one thing fails.
const MAY_BE_EMPTY: [&str; 7] =
    ["< time()", "[459]..", r#"outcome!="ok""#, r#"outcome="failed""#, "> 5", "> 300", "challenge_status"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn prometheus_finds_what_it_should() {
    let stage = Stage::new("watched", &[]).await;
    let (before, mark) = beginning(&stage).await;
    let prometheus = Prometheus::start(&stage.scene.testbed).await;
    stage.scene.cluster_issuer().await.unwrap();
    certificate_with_a_long_challenge(&stage.scene).await;
    stage.run().await;
    stage.scene.issued("slow").await.unwrap();
    prometheus.wait_for("last_over_time(certmanager_certificate_challenge_status[5m])").await;
    prometheus.wait_for(r#"rate(certmanager_controller_sync_call_count{controller="orders"}[5m]) > 0"#).await;

    as_promised(&prometheus).await;
    the_numbers_are_right(&stage, &before, mark).await;
    expressions_give_something(&prometheus).await;
    alerts_are_evaluated(&prometheus, &stage).await;
    what_is_gone_is_told_no_more(&stage).await;
}

/// A Challenge that is there for several scrapes: others may come and go between two.
async fn certificate_with_a_long_challenge(scene: &Scene) {
    let mut spec = scene.issuer_spec("slow-account").unwrap();
    spec["acme"]["solvers"][0]["waitInsteadOfSelfCheck"] = json!("5s");
    scene.create::<Issuer>("slow", spec).await.unwrap();
    scene.wait_ready::<Issuer>("slow").await.unwrap();
    scene.certificate("slow", "slow", &[&scene.dns_name("slow")]).await.unwrap();
}

async fn as_promised(prometheus: &Prometheus) {
    let types = prometheus.types().await;
    for (name, type_, labels) in CONTRACT {
        assert_eq!(types.get(name).map(String::as_str), Some(type_), "{name}");
        let found = prometheus.labels(name).await;
        let wanted: BTreeSet<String> = labels.iter().map(|&label| label.to_owned()).collect();
        let unwanted: Vec<_> = found.difference(&wanted).collect();
        assert!(unwanted.is_empty(), "{name} has labels that cert-manager's has not: {unwanted:?}");
        let missing: Vec<_> = wanted.difference(&found).filter(|label| *label != "issuer_group").collect();
        assert!(missing.is_empty(), "{name} has no {missing:?}");
    }
}

/// A page and the place in the API server's log that belongs to it: the controller may still write about what a former test left.
async fn beginning(stage: &Stage) -> (String, Mark) {
    let look = async || {
        let before = stage.page().await;
        let mark = stage.scene.testbed.mark()?;
        let written = |page: &str| sum(page, "certwright_api_writes_total", "").to_string();
        Ok::<_, anyhow::Error>((written(&before) == written(&stage.page().await)).then_some((before, mark)))
    };
    until("the controller to rest", PATIENCE, look).await.unwrap()
}

/// Series of the page against the objects and the API server's own log.
async fn the_numbers_are_right(stage: &Stage, before: &str, mark: Mark) {
    let namespace = &stage.scene.namespace;
    // The page tells what the controller's watches have told it, which may be later than here.
    let look = async || {
        let page = stage.page().await;
        let ready = |name: &str| {
            let is_ready = format!(r#"name="{name}",namespace="{namespace}",condition="True""#);
            sum(&page, "certmanager_certificate_ready_status", &is_ready) > 0.0
        };
        let failed = format!(r#"name="refused",namespace="{namespace}",class="spec""#);
        let is_told = ["by-update", "by-http", "by-api", "by-bound"].into_iter().all(ready)
            && sum(&page, "certwright_certificate_failed_attempts", &failed) > 0.0;
        Ok::<_, String>(is_told.then_some(page))
    };
    let page = until("the page to tell how it ended", PATIENCE, look).await.unwrap();
    let found = series(&page);
    for name in ["by-update", "by-http", "by-api", "by-bound"] {
        let certificate = stage.scene.api::<Certificate>().get(name).await.unwrap();
        let issuer = &certificate.spec.issuer_ref;
        let issuer = format!(r#"issuer_name="{}",issuer_kind="Issuer",issuer_group="""#, issuer.name);
        let own = format!(r#"name="{name}",namespace="{namespace}""#);
        let ready = format!(r#"certmanager_certificate_ready_status{{{own},condition="True",{issuer}}}"#);
        assert_eq!(found.get(&*ready), Some(&1.0), "{ready}");
        let status = certificate.status.unwrap();
        for (family, time) in [("expiration", status.not_after), ("renewal", status.renewal_time)] {
            let line = format!("certmanager_certificate_{family}_timestamp_seconds{{{own},{issuer}}}");
            #[allow(clippy::cast_precision_loss)]
            let wanted = time.unwrap().0.as_second() as f64;
            assert_eq!(found.get(&*line), Some(&wanted), "{line}");
        }
    }
    let failed =
        format!(r#"certwright_certificate_failed_attempts{{name="refused",namespace="{namespace}",class="spec"}}"#);
    assert_eq!(found.get(&*failed), Some(&1.0), "{failed}\n{page}");
    let next =
        format!(r#"certwright_certificate_next_attempt_timestamp_seconds{{name="refused",namespace="{namespace}"}}"#);
    assert!(found.contains_key(&*next), "{next}\n{page}");
    for (family, label) in [
        ("certmanager_http_acme_client_request_count", r#"action="authorize_order",method="POST",status="201""#),
        ("certmanager_http_acme_client_request_count", r#"action="discover""#),
        ("certwright_self_check_duration_seconds_count", r#"type="HTTP-01",layer="public",outcome="passed""#),
        ("certwright_self_check_duration_seconds_count", r#"type="DNS-01",layer="dns",outcome="passed""#),
        ("certwright_dns_provider_call_duration_seconds_count", r#"provider="rfc2136",call="apply",outcome="ok""#),
        ("certwright_dns_provider_call_duration_seconds_count", r#"provider="digitalocean",call="apply",outcome="ok""#),
        ("certwright_acme_orders_left", r#"issuer_name="bound""#),
    ] {
        assert!(sum(&page, family, label) > 0.0, "{family} {label}\n{page}");
    }
    assert_eq!(found["certwright_leader"].to_string(), "1");
    writes_are_all_counted(stage, before, mark).await;
}

/// Other test programs write in their time, but this one has the only controller.
async fn writes_are_all_counted(stage: &Stage, before: &str, mark: Mark) {
    let look = async || {
        let (page, writes) = (stage.page().await, stage.scene.testbed.writes_since(mark).await?);
        for kind in ["Certificate", "CertificateRequest", "Order", "Challenge", "Secret"] {
            let (label, resource) = (format!(r#"kind="{kind}","#), format!("{}s", kind.to_lowercase()));
            let family = "certwright_api_writes_total";
            let counted = sum(&page, family, &label) - sum(before, family, &label);
            let logged = writes.iter().filter(|write| write.user == "certwright" && write.resource == resource).count();
            anyhow::ensure!(
                logged > 0 && counted.to_string() == logged.to_string(),
                "{counted} writes of {kind} were counted, {logged} are in the API server's log"
            );
        }
        Ok(Some(()))
    };
    until("the counts to be those of the API server", PATIENCE, look).await.unwrap();
}

async fn expressions_give_something(prometheus: &Prometheus) {
    let expressions = [dashboard(), alerts()].concat();
    assert!(expressions.len() > 40, "{}", expressions.len());
    let names = prometheus.names().await;
    let pattern = regex::Regex::new(r"\b(certmanager|certwright|process)_[a-z0-9_]+").unwrap();
    for expression in &expressions {
        for name in pattern.find_iter(expression) {
            assert!(names.contains(name.as_str()), "nobody has scraped {}: {expression}", name.as_str());
        }
        prometheus.query(expression).await;
        // An alert is an expression that gives nothing as long as all is well.
        let may_be_empty = expression.contains("for_an_alert");
        if !may_be_empty && !MAY_BE_EMPTY.iter().any(|part| expression.contains(part)) {
            // A rate needs two scrapes.
            prometheus.wait_for(expression).await;
        }
    }
}

/// Every expression of the dashboard, as Grafana would send it.
fn dashboard() -> Vec<String> {
    let file = std::fs::read_to_string(chart().join("files/dashboard.json")).unwrap();
    let mut found = Vec::new();
    collect(&serde_json::from_str(&file).unwrap(), "expr", &mut found);
    found.iter().map(|text| text.replace("$job", ".*").replace("$__rate_interval", "5m")).collect()
}

fn alerts() -> Vec<String> {
    let file = std::fs::read_to_string(rules()).unwrap();
    let mut found = Vec::new();
    collect(&serde_yaml::from_str(&file).unwrap(), "expr", &mut found);
    // A comment is as good as nothing to Prometheus.
    found.iter().map(|text| format!("{text}\n# for_an_alert")).collect()
}

fn collect(value: &Value, key: &str, found: &mut Vec<String>) {
    match value {
        Value::Array(all) => all.iter().for_each(|value| collect(value, key, found)),
        Value::Object(all) => {
            found.extend(all.get(key).and_then(Value::as_str).map(str::to_owned));
            all.values().for_each(|value| collect(value, key, found));
        }
        _ => {}
    }
}

async fn alerts_are_evaluated(prometheus: &Prometheus, stage: &Stage) {
    let rules = prometheus.ask("rules", &[]).await.unwrap();
    let rules: Vec<&Value> =
        rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert_eq!(rules.len(), alerts().len());
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    for alert in ["CertificateNotReady", "CertificateNeedsAnotherSpec"] {
        let told = format!(r#"ALERTS{{alertname="{alert}",name="refused",namespace="{}"}}"#, stage.scene.namespace);
        prometheus.wait_for(&told).await;
    }
    let others = prometheus.query(r#"ALERTS{alertname=~"Certwright.*|AcmeBudget.*"}"#).await;
    assert!(others.is_empty(), "{others:?}");
}

async fn what_is_gone_is_told_no_more(stage: &Stage) {
    let own = format!(r#"name="by-http",namespace="{}""#, stage.scene.namespace);
    assert!(stage.page().await.contains(&own));
    stage.scene.api::<Certificate>().delete("by-http", &DeleteParams::default()).await.unwrap();
    let look = async || Ok::<_, String>((!stage.page().await.contains(&own)).then_some(()));
    until("the series to be gone", PATIENCE, look).await.unwrap();
}
