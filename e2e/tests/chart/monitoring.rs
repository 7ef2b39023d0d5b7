//! That the chart's monitors find what there is to be scraped, once, and ask for it as it is served.

use serde_json::{Value, json};

use super::{name_of, objects, render};

/// Whether a selector, as labels or as expressions with `In`, takes these labels.
fn selects(selector: &Value, labels: &Value) -> bool {
    let by_label = selector["matchLabels"].as_object().into_iter().flatten();
    let by_expression = selector["matchExpressions"].as_array().into_iter().flatten();
    by_label.into_iter().all(|(key, value)| labels[key] == *value)
        && by_expression.into_iter().all(|expression| {
            assert_eq!(expression["operator"], "In");
            let key = expression["key"].as_str().unwrap();
            expression["values"].as_array().unwrap().contains(&labels[key])
        })
}

/// Prometheus looks at all ports of the pods behind each Service, so that a second Service would count everything twice.
#[test]
#[ignore = "runs inside a testbed"]
fn a_monitor_finds_each_pod_by_one_service() {
    for (more, expected) in [
        ("creator=helm", vec!["Service/x-certwright"]),
        ("webhook.enabled=true", vec!["Service/x-certwright", "Service/x-certwright-webhook"]),
    ] {
        let rendered = objects(&render("x", &["--set=prometheus.servicemonitor.enabled=true", "--set", more]));
        let monitor = rendered.iter().find(|object| object["kind"] == "ServiceMonitor").unwrap();
        let services = rendered.iter().filter(|object| object["kind"] == "Service");
        let mut found: Vec<_> = services
            .filter(|service| selects(&monitor["spec"]["selector"], &service["metadata"]["labels"]))
            .map(name_of)
            .collect();
        found.sort();
        assert_eq!(found, expected, "{more}");
    }
}

/// The monitor's only endpoint.
fn endpoint(kind: &str, options: &[&str]) -> Value {
    let rendered = objects(&render("x", options));
    let monitor = rendered.iter().find(|object| object["kind"] == kind).unwrap();
    let of_kind = if kind == "PodMonitor" { "podMetricsEndpoints" } else { "endpoints" };
    let endpoints = monitor["spec"][of_kind].as_array().unwrap();
    assert_eq!(endpoints.len(), 1);
    endpoints[0].clone()
}

const DYNAMIC: &str = "--set-json=config={\"metricsTLSConfig\": {\"dynamic\": \
                       {\"secretName\": \"ca\", \"secretNamespace\": \"x\", \"dnsNames\": [\"metrics\", \"other\"]}}}";

#[test]
#[ignore = "runs inside a testbed"]
fn monitors_ask_as_metrics_are_served() {
    for (kind, value) in [("ServiceMonitor", "servicemonitor"), ("PodMonitor", "podmonitor")] {
        let enabled = format!("--set=prometheus.{value}.enabled=true");
        assert_eq!(endpoint(kind, &[&enabled])["scheme"], Value::Null);

        let secured = endpoint(kind, &[&enabled, DYNAMIC]);
        assert_eq!(secured["scheme"], "https");
        let ca = json!({ "secret": { "name": "ca", "key": "ca.crt" } });
        assert_eq!(secured["tlsConfig"], json!({ "serverName": "metrics", "ca": ca }));

        let elsewhere = format!("--set=prometheus.{value}.namespace=monitoring");
        let secured = endpoint(kind, &[&enabled, DYNAMIC, &elsewhere]);
        assert_eq!(
            (&secured["scheme"], &secured["tlsConfig"]),
            (&json!("https"), &Value::Null),
            "it has no such Secret"
        );

        let own = format!("--set=prometheus.{value}.endpointAdditionalProperties.tlsConfig.insecureSkipVerify=true");
        assert_eq!(endpoint(kind, &[&enabled, DYNAMIC, &own])["tlsConfig"], json!({ "insecureSkipVerify": true }));

        let files = "--set=extraArgs={--metrics-tls-cert-file=/a,--metrics-tls-private-key-file=/b}";
        assert_eq!(endpoint(kind, &[&enabled, files])["scheme"], "https");
    }
}

#[test]
#[ignore = "runs inside a testbed"]
fn annotations_say_how_metrics_are_served() {
    let scheme = |options: &[&str]| {
        let deployment =
            objects(&render("x", &[&["--show-only=templates/deployment.yaml"], options].concat())).remove(0);
        deployment["spec"]["template"]["metadata"]["annotations"]["prometheus.io/scheme"].clone()
    };
    assert_eq!(scheme(&[]), Value::Null);
    assert_eq!(scheme(&[DYNAMIC]), "https");
}
