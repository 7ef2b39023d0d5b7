//! The optional webhook in the chart, with cert-manager's values.

use std::collections::BTreeSet;
use std::process::Command;

use certwright_e2e::controller::binary;
use certwright_e2e::helm::values;
use serde_json::{Value, json};

use super::{name_of, objects, render};

#[test]
#[ignore = "runs inside a testbed"]
fn the_webhook_is_there_where_it_is_wanted() {
    let show = "--show-only=templates/webhook.yaml";
    assert!(!render("cert-manager", &[]).contains("kind: ValidatingWebhookConfiguration\n"));
    let rendered = objects(&render("cert-manager", &[show, "--set=webhook.enabled=true,webhook.replicaCount=2"]));
    let names: BTreeSet<_> = rendered.iter().map(name_of).collect();
    let expected = [
        "ClusterRole/cert-manager-webhook:subjectaccessreviews",
        "ClusterRoleBinding/cert-manager-webhook:subjectaccessreviews",
        "Deployment/cert-manager-webhook",
        "MutatingWebhookConfiguration/cert-manager-webhook",
        "Role/cert-manager-webhook:dynamic-serving",
        "RoleBinding/cert-manager-webhook:dynamic-serving",
        "Service/cert-manager-webhook",
        "ServiceAccount/cert-manager-webhook",
        "ValidatingWebhookConfiguration/cert-manager-webhook",
    ];
    assert_eq!(names, expected.map(str::to_owned).into());
    let deployment = rendered.iter().find(|object| object["kind"] == "Deployment").unwrap();
    assert_eq!(deployment["spec"]["replicas"], 2);
    let args = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    let flags: Vec<_> = args.as_array().unwrap().iter().map(|flag| flag.as_str().unwrap()).collect();
    let output = Command::new(binary().unwrap()).args(&flags).arg("--help").output().unwrap();
    assert!(output.status.success(), "{flags:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "runs inside a testbed"]
fn cert_managers_values_for_the_webhook_have_their_effects() {
    let file = format!("--values={}", values("webhook").display());
    let rendered = objects(&render("cert-manager", &[&file]));
    let found = |name: &str| rendered.iter().find(|object| name_of(object) == name).unwrap_or(&Value::Null);
    let account = found("ServiceAccount/cert-manager-webhook");
    assert_eq!(
        (&account["metadata"]["annotations"]["of"], &account["metadata"]["labels"]["of"]),
        (&json!("account"), &json!("account"))
    );
    let service = found("Service/cert-manager-webhook");
    assert_eq!(
        (&service["metadata"]["labels"]["of"], &service["spec"]["type"]),
        (&json!("service"), &json!("LoadBalancer"))
    );
    assert_eq!(service["spec"]["loadBalancerIP"], "192.0.2.7");
    assert_eq!(service["spec"]["ports"][1]["targetPort"], "http-metrics");
    for (kind, path, source) in [
        ("Validating", "validate", json!({ "cert-manager.io/inject-ca-from": "certs/webhook" })),
        (
            "Mutating",
            "mutate",
            json!({ "cert-manager.io/inject-ca-from-secret": "cert-manager/cert-manager-webhook-ca", "of": "registration" }),
        ),
    ] {
        let registration = found(&format!("{kind}WebhookConfiguration/cert-manager-webhook"));
        assert_eq!(registration["metadata"]["annotations"], source);
        let webhook = &registration["webhooks"][0];
        assert_eq!(webhook["clientConfig"], json!({ "url": format!("https://webhook.example.com/{path}") }));
        assert_eq!(webhook["timeoutSeconds"], 10);
    }
    let budget = found("PodDisruptionBudget/cert-manager-webhook");
    assert_eq!(budget["spec"]["maxUnavailable"], 1);
    for (direction, rules) in [("ingress", 3), ("egress", 2)] {
        let policy = found(&format!("NetworkPolicy/cert-manager-webhook-allow-{direction}"));
        assert_eq!(policy["spec"][direction][0]["ports"].as_array().map(Vec::len), Some(rules), "{policy}");
        assert_eq!(policy["spec"]["podSelector"], budget["spec"]["selector"]);
    }
    let monitor = found("ServiceMonitor/cert-manager");
    assert!(monitor["spec"]["selector"].to_string().contains("[\"controller\",\"webhook\"]"), "{monitor}");
    let roles = rendered.iter().filter(|object| name_of(object) == "Role/cert-manager-webhook:dynamic-serving");
    let role = roles.into_iter().find(|role| role["metadata"]["namespace"] == "cert-manager").unwrap();
    // The CA of its metrics lies in another namespace, which has a Role of its own.
    assert_eq!(role["rules"][0]["resourceNames"], json!(["cert-manager-webhook-ca"]));
    let pod = &found("Deployment/cert-manager-webhook")["spec"]["template"];
    assert_eq!((&pod["metadata"]["labels"]["of"], &pod["spec"]["enableServiceLinks"]), (&json!("pod"), &json!(true)));
    let container = &pod["spec"]["containers"][0];
    let ports = container["ports"].as_array().unwrap().iter().map(|port| port["containerPort"].as_u64().unwrap());
    assert_eq!(ports.collect::<Vec<_>>(), [10260, 6090, 9402], "those of the file");
    assert_eq!(container["livenessProbe"]["initialDelaySeconds"], 60);
    let flags: Vec<_> = container["args"].as_array().unwrap().iter().map(|flag| flag.as_str().unwrap()).collect();
    assert!(flags.contains(&"--config=/var/cert-manager/config/config.yaml"), "{flags:?}");
    assert!(!flags.iter().any(|flag| flag.starts_with("--secure-port")), "it is in the file: {flags:?}");
    let output = Command::new(binary().unwrap()).args(&flags).arg("--help").output().unwrap();
    assert!(output.status.success(), "{flags:?}: {}", String::from_utf8_lossy(&output.stderr));

    // What is in the ConfigMap is read by the program, which ends for want of a cluster only.
    let config = found("ConfigMap/cert-manager-webhook")["data"]["config.yaml"].as_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    std::fs::write(&path, config).unwrap();
    let output = Command::new(binary().unwrap())
        .arg("webhook")
        .arg(format!("--config={}", path.display()))
        .arg("--kubeconfig=/nonexistent")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("kubeconfig"), "{said}");
}
