//! Which values the chart takes, and what it says of others.

use certwright_e2e::helm::{chart, values};
use serde_json::Value;

use super::helm;

#[test]
#[ignore = "runs inside a testbed"]
fn it_passes_lint() {
    let chart = chart().display().to_string();
    helm().run(&["lint", "--strict", &chart]).unwrap();
    for name in ["cert-manager", "everything", "webhook"] {
        helm().run(&["lint", "--strict", &chart, "--values", &values(name).display().to_string()]).unwrap();
    }
}

#[test]
#[ignore = "runs inside a testbed"]
fn wrong_values_are_refused() {
    for (value, expected) in [
        ("replicaCount=two", "at '/replicaCount': got string, want integer"),
        ("replicas=1", "at '': additional properties 'replicas' not allowed"),
        ("image.tags=1", "at '/image': additional properties 'tags' not allowed"),
        ("crds.enabled=yes", "at '/crds/enabled': got string, want boolean"),
        (
            "global.rbac.disableHTTPChallengesRole=yes",
            "at '/global/rbac/disableHTTPChallengesRole': got string, want boolean",
        ),
        ("crds.install=true", "at '/crds': additional properties 'install' not allowed"),
        ("global.logLevel=debug", "at '/global/logLevel': got string, want integer"),
        ("global.logFormat=xml", "at '/global/logFormat': value must be one of 'text', 'json'"),
        ("podAnnotations.scrape=true", "at '/podAnnotations/scrape': got boolean, want string"),
        (
            "image.pullPolicy=Sometimes",
            "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'",
        ),
        ("image.digest=sha256:1", "at '/image/digest': 'sha256:1' does not match pattern"),
        (
            "podDisruptionBudget.minAvailable=half",
            "at '/podDisruptionBudget/minAvailable': 'half' does not match pattern",
        ),
        ("livenessProbe.periodSeconds=0", "at '/livenessProbe/periodSeconds': minimum: got 0, want 1"),
        ("image=null", "at '': missing property 'image'"),
        (
            "podDisruptionBudget.enabled=true,podDisruptionBudget.minAvailable=1,podDisruptionBudget.maxUnavailable=1",
            "podDisruptionBudget: minAvailable and maxUnavailable cannot both be set",
        ),
        (
            "image.repository=quay.io/jetstack/cert-manager-controller",
            "image: quay.io/jetstack/cert-manager-controller:0.1.0 is an image of cert-manager; name certwright's",
        ),
        (
            "acmesolver.image.repository=quay.io/jetstack/cert-manager-acmesolver",
            "acmesolver.image: cert-manager's needs its own tag, which quay.io/jetstack/cert-manager-acmesolver:0.1.0 is not",
        ),
        ("webhook.enabled=true,cainjector.enabled=false", "webhook.enabled needs cainjector.enabled"),
        (
            "webhook.enabled=true,watchNamespaces={a}",
            "webhook.enabled and watchNamespaces (or --namespace) cannot both be set",
        ),
        (
            "webhook.enabled=true,extraArgs={--namespace=a}",
            "webhook.enabled and watchNamespaces (or --namespace) cannot both",
        ),
        (
            "watchNamespaces={a},extraArgs={--namespace=b}",
            "watchNamespaces and --namespace in extraArgs cannot both be set",
        ),
        ("webhook.enabled=true,webhook.url=a", "at '/webhook/url': got string, want null or object"),
        ("webhook.serviceLabels.a=1", "at '/webhook/serviceLabels/a': got number, want string"),
        ("webhook.networkPolicy.enabled=on", "at '/webhook/networkPolicy/enabled': got string, want boolean"),
        (
            "webhook.enabled=true,webhook.podDisruptionBudget.enabled=true,webhook.podDisruptionBudget.minAvailable=1,\
             webhook.podDisruptionBudget.maxUnavailable=1",
            "webhook.podDisruptionBudget: minAvailable and maxUnavailable cannot both be set",
        ),
        ("webhook.replicaCount=many", "at '/webhook/replicaCount': got string, want null or integer"),
        (
            "webhook.enabled=true,prometheus.podmonitor.enabled=true,extraArgs={--metrics-tls-cert-file=a}",
            "prometheus: of controller and webhook one serves metrics over TLS and the other does not",
        ),
        ("acmesolver.image.name=cert-manager-acmesolver", "acmesolver.image: cert-manager's needs its own tag"),
    ] {
        let chart = chart().display().to_string();
        let refusal = helm().run(&["template", "x", &chart, "--set", value]).map(|_| value).unwrap_err().to_string();
        assert!(refusal.contains(expected), "{value}: {refusal}");
    }
}

/// With Helm, null takes a default away.
#[test]
#[ignore = "runs inside a testbed"]
fn defaults_can_be_taken_away() {
    let monitor = "prometheus.servicemonitor.enabled=true,prometheus.servicemonitor.labels=null,\
                   prometheus.rules.enabled=true,prometheus.rules.labels=null";
    for values in [
        "nodeSelector=null,global.nodeSelector=null",
        "webhook.enabled=true,nodeSelector=null,global.nodeSelector=null",
        "podLabels=null,serviceLabels=null",
        "crds.enabled=true,global.commonLabels=null",
        "livenessProbe.initialDelaySeconds=null,readinessProbe.periodSeconds=null",
        "config.metricsTLSConfig=null",
        "config.metricsTLSConfig.dynamic=null,watchNamespaces={a}",
        "webhook.enabled=true,webhook.config.tlsConfig=null,webhook.config.metricsTLSConfig=null",
        "webhook.enabled=true,webhook.serviceAccount=null,webhook.podDisruptionBudget=null,webhook.networkPolicy=null",
        "webhook.enabled=true,webhook.replicaCount=null,webhook.timeoutSeconds=null,webhook.podLabels=null,webhook.extraArgs=null",
        "webhook.enabled=true,securityContext=null,containerSecurityContext=null,resources=null",
        "ingressShim=null,podDnsConfig=null,image.tag=null,image.digest=null,nameOverride=null,http_proxy=null",
        "global.revisionHistoryLimit=null,global.hostUsers=null,global.leaderElection.leaseDuration=null",
        "automountServiceAccountToken=null,podDnsPolicy=null,serviceIPFamilies=null,serviceAccount.annotations=null",
        "podDisruptionBudget.enabled=true,podDisruptionBudget.minAvailable=null",
        "securityContext=null,containerSecurityContext=null,resources=null,config=null,extraArgs=null",
        "prometheus.dashboard.enabled=true,prometheus.dashboard.labels=null",
        monitor,
    ] {
        let rendered = super::objects(&super::render("x", &["--set", values]));
        assert!(rendered.iter().any(|object| object["kind"] == "Deployment"), "{values}");
        for object in &rendered {
            assert!(!has_null(object), "{values}: {object}");
        }
    }
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(fields) => fields.values().any(has_null),
        _ => false,
    }
}

/// What people have in their files for cert-manager's chart, in the types that it takes.
#[test]
#[ignore = "runs inside a testbed"]
fn odd_values_for_cert_managers_chart_are_taken() {
    for values in [
        "global.logLevel=10",
        "podDnsPolicy=",
        "webhook.enabled=true,webhook.serviceType=,webhook.loadBalancerIP=,webhook.url.host=",
        "image.tag=,image.digest=,image.registry=,acmesolver.image.tag=",
        "podDisruptionBudget.enabled=true,podDisruptionBudget.minAvailable=0",
        "prometheus.servicemonitor.enabled=true,prometheus.servicemonitor.targetPort=9402",
        "startupapicheck.enabled=false,startupapicheck.timeout=5m,cainjector.replicaCount=2,cainjector.podDisruptionBudget.enabled=true",
    ] {
        let rendered = super::objects(&super::render("cert-manager", &["--set", values]));
        assert!(rendered.iter().any(|object| object["kind"] == "Deployment"), "{values}");
    }
}

#[test]
#[ignore = "runs inside a testbed"]
fn an_old_cluster_is_refused() {
    let chart = chart().display().to_string();
    let refusal = helm().run(&["template", "x", &chart, "--kube-version=1.29"]).unwrap_err().to_string();
    assert!(refusal.contains("requires kubeVersion: >=1.30.0-0"), "{refusal}");
}
