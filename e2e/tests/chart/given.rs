//! What the chart makes of flags, wherever they are given: by values of their own, in `config`, or in `extraArgs`.

use serde_json::{Value, json};

use super::{name_of, objects, render};

/// The Secrets that Roles of this name give rights to, with their namespaces.
fn secrets(options: &[&str], role: &str) -> Vec<(String, Value)> {
    let rendered = objects(&render("x", options));
    let roles = rendered.iter().filter(|object| name_of(object) == format!("Role/{role}"));
    let found = roles.map(|role| {
        let namespace = role["metadata"]["namespace"].as_str().unwrap().to_owned();
        let is_bound = rendered.iter().any(|object| {
            object["kind"] == "RoleBinding"
                && object["metadata"]["namespace"] == *namespace
                && object["roleRef"]["name"] == role["metadata"]["name"]
                && object["subjects"][0]["namespace"] == "x"
        });
        assert!(is_bound, "{role}");
        (namespace, role["rules"][0]["resourceNames"].clone())
    });
    found.collect()
}

fn found(options: &[&str], name: &str) -> Value {
    let rendered = objects(&render("x", options));
    rendered.into_iter().find(|object| name_of(object) == name).unwrap_or(Value::Null)
}

fn flags(options: &[&str], deployment: &str) -> Vec<String> {
    let deployment = found(options, &format!("Deployment/{deployment}"));
    serde_json::from_value(deployment["spec"]["template"]["spec"]["containers"][0]["args"].clone()).unwrap()
}

#[test]
#[ignore = "runs inside a testbed"]
fn the_webhook_has_rights_where_its_cas_lie() {
    let own = || ("x".to_owned(), json!(["x-certwright-webhook-ca"]));
    let annotation = "cert-manager.io/inject-ca-from-secret";
    for (options, expected, injected) in [
        (vec!["webhook.extraArgs=null"], vec![own()], "x/x-certwright-webhook-ca"),
        (
            vec![
                "webhook.config.tlsConfig.dynamic.secretNamespace=cas",
                "webhook.config.tlsConfig.dynamic.secretName=a",
            ],
            vec![("cas".to_owned(), json!(["a"]))],
            "cas/a",
        ),
        (
            vec!["webhook.extraArgs={--dynamic-serving-ca-secret-namespace=cas,--dynamic-serving-ca-secret-name,b}"],
            vec![("cas".to_owned(), json!(["b"]))],
            "cas/b",
        ),
        (
            vec![
                "webhook.extraArgs={--metrics-dynamic-serving-ca-secret-namespace=cas,\
                 --metrics-dynamic-serving-ca-secret-name=metrics}",
            ],
            vec![("cas".to_owned(), json!(["metrics"])), own()],
            "x/x-certwright-webhook-ca",
        ),
        (
            vec![
                "webhook.config.metricsTLSConfig.dynamic.secretNamespace=x",
                "webhook.config.metricsTLSConfig.dynamic.secretName=metrics",
            ],
            vec![("x".to_owned(), json!(["x-certwright-webhook-ca", "metrics"]))],
            "x/x-certwright-webhook-ca",
        ),
    ] {
        let set = format!("--set=webhook.enabled=true,{}", options.join(","));
        assert_eq!(secrets(&[&set], "x-certwright-webhook:dynamic-serving"), expected, "{set}");
        let registration = found(&[&set], "ValidatingWebhookConfiguration/x-certwright-webhook");
        assert_eq!(registration["metadata"]["annotations"][annotation], injected, "{set}");
    }
}

/// The program refuses both a CA and files.
#[test]
#[ignore = "runs inside a testbed"]
fn a_webhook_with_files_has_no_ca() {
    let files = "--set=webhook.enabled=true,webhook.extraArgs={--tls-cert-file=/a,--tls-private-key-file=/b}";
    let flags = flags(&[files], "x-certwright-webhook");
    assert!(!flags.iter().any(|flag| flag.starts_with("--dynamic")), "{flags:?}");
    assert_eq!(secrets(&[files], "x-certwright-webhook:dynamic-serving"), []);
    let registration = found(&[files], "ValidatingWebhookConfiguration/x-certwright-webhook");
    assert_eq!(registration["metadata"]["annotations"], Value::Null);
}

#[test]
#[ignore = "runs inside a testbed"]
fn the_ca_of_the_metrics_may_be_given_by_flags() {
    let ca = |namespace: &str| {
        format!(
            "--set=prometheus.servicemonitor.enabled=true,extraArgs={{--metrics-dynamic-serving-ca-secret-namespace={namespace},\
             --metrics-dynamic-serving-ca-secret-name=ca,--metrics-dynamic-serving-dns-names=metrics}}"
        )
    };
    let role = "x-certwright:metrics-dynamic-serving";
    let elsewhere = ca("cas");
    assert_eq!(secrets(&[&elsewhere], role), [], "it has rights everywhere");
    assert_eq!(secrets(&[&elsewhere, "--set=watchNamespaces={shop}"], role), [("cas".to_owned(), json!(["ca"]))]);
    let own = ca("$(POD_NAMESPACE)");
    assert_eq!(secrets(&[&own, "--set=watchNamespaces={shop}"], role), [("x".to_owned(), json!(["ca"]))]);
    let endpoint = found(&[&own], "ServiceMonitor/x-certwright")["spec"]["endpoints"][0].clone();
    assert_eq!((&endpoint["scheme"], &endpoint["tlsConfig"]["serverName"]), (&json!("https"), &json!("metrics")));
}

#[test]
#[ignore = "runs inside a testbed"]
fn the_right_to_leases_follows_the_flags() {
    let leases = |set: &str| {
        let role = found(&["--set", set], "Role/x-certwright:leaderelection");
        (role["metadata"]["namespace"].clone(), role["rules"][0]["resourceNames"].as_array().unwrap().len())
    };
    assert_eq!(leases("extraArgs={--leader-election-namespace,leases}"), (json!("leases"), 1));
    assert_eq!(leases("extraArgs={--shards=3}"), (json!("kube-system"), 3));
    assert_eq!(leases("config.certwright.shards=2"), (json!("kube-system"), 2));
    // As in cert-manager's chart, or the two would not keep from working at once.
    let in_file = "config.leaderElectionConfig.namespace=leases";
    assert_eq!(leases(in_file), (json!("kube-system"), 1));
    let flags = flags(&["--set", in_file], "x-certwright");
    assert!(flags.contains(&"--leader-election-namespace=kube-system".to_owned()), "{flags:?}");
}

#[test]
#[ignore = "runs inside a testbed"]
fn lists_of_values_and_extra_args_grow() {
    let lists = ["--controllers", "--feature-gates", "--dns01-recursive-nameservers"];
    let values = "--set=disableAutoApproval=true,featureGates=OtherNames=false,dns01RecursiveNameservers=192.0.2.1:53,\
                  global.logLevel=4";
    let arguments = "--set-json=extraArgs=[\"--controllers=*,-ingress-shim\", \"--feature-gates=NameConstraints=false\", \
                     \"--dns01-recursive-nameservers=192.0.2.2:53\", \"-v=5\"]";
    let flags = flags(&[values, arguments], "x-certwright");
    for list in lists {
        let count = flags.iter().filter(|flag| flag.starts_with(list)).count();
        assert_eq!(count, 2, "{list}: {flags:?}");
    }
    assert!(flags.contains(&"--controllers=-certificaterequests-approver".to_owned()), "{flags:?}");
    assert!(!flags.iter().any(|flag| flag.starts_with("--log-level")), "it would go before -v: {flags:?}");
    let in_file = "--set=disableAutoApproval=true,config.controllers={*,-gateway-shim}";
    let flags = self::flags(&[in_file], "x-certwright");
    assert!(flags.contains(&"--controllers=*,-gateway-shim,-certificaterequests-approver".to_owned()), "{flags:?}");
}

#[test]
#[ignore = "runs inside a testbed"]
fn ports_follow_the_flags() {
    let ports = |deployment: &str, set: &str| -> Vec<u64> {
        let deployment = found(&["--set=webhook.enabled=true", set], &format!("Deployment/{deployment}"));
        let ports = deployment["spec"]["template"]["spec"]["containers"][0]["ports"].as_array().unwrap().clone();
        ports.iter().map(|port| port["containerPort"].as_u64().unwrap()).collect()
    };
    assert_eq!(ports("x-certwright", "--set=config.metricsListenAddress=:9500"), [9403, 8089, 9500]);
    let both = "--set=extraArgs={--metrics-listen-address=0.0.0.0:9501,--internal-healthz-listen-address=:9600}";
    assert_eq!(ports("x-certwright", both), [9600, 8089, 9501]);
    let webhook = "--set-json=webhook.extraArgs=[\"--secure-port=8443\", \"--healthz-port\", \"6090\", \"--metrics-listen-address=:1\"]";
    assert_eq!(ports("x-certwright-webhook", webhook), [8443, 6090, 1]);
    let pod = found(&[both], "Deployment/x-certwright")["spec"]["template"].clone();
    assert_eq!(pod["metadata"]["annotations"]["prometheus.io/port"], "9501");
}
