//! What the chart renders.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use certwright_e2e::controller::binary;
use certwright_e2e::helm::{chart, values};
use certwright_e2e::install::{definition_files, repository};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{helm, name_of, objects, render};

/// The bars, in bytes.
const ALL_BUT_DEFINITIONS: usize = 40_000;
const DEFINITIONS: usize = 400_000;
const DEFINITION: usize = 128 * 1024;

#[test]
#[ignore = "runs inside a testbed"]
fn what_is_rendered_from_the_chart_has_not_drifted() {
    let fresh = tempfile::tempdir().unwrap();
    let script = repository().join("scripts/manifests");
    let status = Command::new(script).arg(fresh.path()).env("HELM", helm().program).status().unwrap();
    assert!(status.success());
    let files = files_below(fresh.path());
    assert_eq!(files.len(), 10, "{files:?}");
    for file in files {
        let name = file.strip_prefix(fresh.path()).unwrap();
        let committed = std::fs::read_to_string(repository().join(name)).unwrap();
        let rendered = std::fs::read_to_string(&file).unwrap();
        assert!(rendered == committed, "run `make manifests`: {} is not as the chart has it", name.display());
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
#[ignore = "runs inside a testbed"]
fn its_versions_are_those_of_the_program() {
    let file = std::fs::read_to_string(chart().join("Chart.yaml")).unwrap();
    let about: Value = serde_yaml::from_str(&file).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!((about["version"].as_str(), about["appVersion"].as_str()), (Some(version), Some(version)));
}

#[test]
#[ignore = "runs inside a testbed"]
fn it_is_small() {
    let rendered = render("certwright", &[]);
    assert!(rendered.len() < ALL_BUT_DEFINITIONS, "{} bytes", rendered.len());
    let with_definitions = render("certwright", &["--set=crds.enabled=true"]);
    assert!(with_definitions.len() - rendered.len() < DEFINITIONS, "{} bytes", with_definitions.len());
    for definition in with_definitions.split("\n---\n").filter(|text| text.contains("kind: CustomResourceDefinition")) {
        assert!(definition.len() < DEFINITION, "{} bytes", definition.len());
    }
}

#[test]
#[ignore = "runs inside a testbed"]
fn a_release_called_cert_manager_has_its_names() {
    let names: BTreeSet<_> = objects(&render("cert-manager", &[])).iter().map(name_of).collect();
    let mut expected: BTreeSet<_> = [
        "Deployment/cert-manager",
        "Service/cert-manager",
        "ServiceAccount/cert-manager",
        "Role/cert-manager:leaderelection",
        "RoleBinding/cert-manager:leaderelection",
        "Service/cert-manager-http01",
        "Role/cert-manager-replicas",
        "RoleBinding/cert-manager-replicas",
        "Role/cert-manager-wind-down",
        "RoleBinding/cert-manager-wind-down",
        "Job/cert-manager-wind-down",
        "ClusterRole/cert-manager-cluster-view",
        "ClusterRole/cert-manager-view",
        "ClusterRole/cert-manager-edit",
        "ClusterRole/cert-manager-cainjector",
        "ClusterRoleBinding/cert-manager-cainjector",
        "MutatingAdmissionPolicy/cert-manager-request-requester",
        "MutatingAdmissionPolicyBinding/cert-manager-request-requester",
    ]
    .map(str::to_owned)
    .into();
    for part in
        ["issuers", "clusterissuers", "certificates", "orders", "challenges", "ingress-shim", "approve:cert-manager-io"]
    {
        expected.insert(format!("ClusterRole/cert-manager-controller-{part}"));
        expected.insert(format!("ClusterRoleBinding/cert-manager-controller-{part}"));
    }
    for policy in ["annotations", "approval", "requester"] {
        expected.insert(format!("ValidatingAdmissionPolicy/cert-manager-request-{policy}"));
        expected.insert(format!("ValidatingAdmissionPolicyBinding/cert-manager-request-{policy}"));
    }
    assert_eq!(names, expected);
}

#[test]
#[ignore = "runs inside a testbed"]
fn names_follow_the_release_and_the_overrides() {
    for (release, options, expected) in [
        ("certwright", "", "certwright"),
        ("my-cert-manager", "", "my-cert-manager"),
        ("prod", "", "prod-certwright"),
        ("prod", "--set=nameOverride=cert-manager", "prod-cert-manager"),
        ("prod", "--set=fullnameOverride=tls", "tls"),
    ] {
        let options: Vec<_> =
            ["--show-only=templates/deployment.yaml", options].into_iter().filter(|o| !o.is_empty()).collect();
        let deployment = objects(&render(release, &options)).remove(0);
        assert_eq!(deployment["metadata"]["name"], expected, "{release} {options:?}");
    }
}

/// As many as a Service may have; a release has up to 53.
#[test]
#[ignore = "runs inside a testbed"]
fn a_long_name_leaves_room_for_what_is_added() {
    let release = "r".repeat(53);
    let objects = objects(&render(&release, &["--set=webhook.enabled=true"]));
    for object in objects.iter().filter(|object| ["Service", "Job"].contains(&object["kind"].as_str().unwrap())) {
        let name = object["metadata"]["name"].as_str().unwrap();
        assert!(name.len() <= 63 && !name.ends_with('-'), "{name}");
    }
    let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
    let env = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    let service = env.iter().find(|one| one["name"] == "CERTWRIGHT_SERVICE").unwrap()["value"].as_str().unwrap();
    let names: Vec<_> = objects.iter().map(name_of).collect();
    let name = service.rsplit('/').next().unwrap();
    assert!(names.contains(&format!("Service/{name}")), "{service} {names:?}");
}

#[test]
#[ignore = "runs inside a testbed"]
fn the_definitions_are_those_of_the_sources() {
    let mut sources = Vec::new();
    for file in definition_files().unwrap() {
        sources.push(definition(serde_yaml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()));
    }
    let mut kept = sources.clone();
    for definition in &mut kept {
        definition.annotations_mut().insert("helm.sh/resource-policy".to_owned(), "keep".to_owned());
    }
    assert_eq!(kept.len(), 6);
    for (options, expected) in [
        ("crds.enabled=false", Vec::new()),
        ("crds.enabled=true", kept.clone()),
        ("installCRDs=true", kept),
        ("crds.enabled=true,crds.keep=false", sources),
    ] {
        let rendered = objects(&render("certwright", &["--set", options]));
        let rendered = rendered.into_iter().filter(|object| object["kind"] == "CustomResourceDefinition");
        let mut rendered: Vec<_> = rendered.map(definition).collect();
        rendered.sort_by_key(ResourceExt::name_any);
        assert!(
            rendered == expected,
            "with {options}: {:?}",
            rendered.iter().map(ResourceExt::name_any).collect::<Vec<_>>()
        );
    }
}

fn definition(object: Value) -> CustomResourceDefinition {
    serde_json::from_value(object).unwrap()
}

#[test]
#[ignore = "runs inside a testbed"]
fn the_program_knows_the_flags() {
    for file in ["cert-manager", "everything"] {
        let file = format!("--values={}", values(file).display());
        let rendered = objects(&render("x", &[&file, "--set=windDown.enabled=true"]));
        for kind in ["Deployment", "Job"] {
            let object = rendered.iter().find(|object| object["kind"] == kind).unwrap();
            let args = &object["spec"]["template"]["spec"]["containers"][0]["args"];
            // As the kubelet expands them.
            let expanded = |flag: &Value| flag.as_str().unwrap().replace("$(POD_NAMESPACE)", "x");
            let flags: Vec<_> = args.as_array().unwrap().iter().map(expanded).collect();
            assert!(flags.len() > 5, "{flags:?}");
            // What comes before --help is read first.
            let output = Command::new(binary().unwrap()).args(&flags).arg("--help").output().unwrap();
            assert!(output.status.success(), "{flags:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// It does the controller's work with the controller's settings, and nobody but Helm's hooks makes it.
#[test]
#[ignore = "runs inside a testbed"]
fn an_uninstallation_begins_with_a_job_like_the_controller() {
    let file = format!("--values={}", values("everything").display());
    let rendered = objects(&render("x", &[&file, "--set=windDown.enabled=true"]));
    let of_kind = |kind: &str| rendered.iter().find(|object| object["kind"] == kind).unwrap();
    let (job, deployment) = (of_kind("Job"), of_kind("Deployment"));
    assert_eq!(job["metadata"]["annotations"]["helm.sh/hook"], "pre-delete");
    let (pod, other) = (&job["spec"]["template"]["spec"], &deployment["spec"]["template"]["spec"]);
    for field in ["serviceAccountName", "nodeSelector", "tolerations", "securityContext", "volumes", "imagePullSecrets"]
    {
        assert_eq!(pod[field], other[field], "{field}");
    }
    assert_eq!(pod["containers"].as_array().unwrap().len(), 1, "sidecars would keep it from ending");
    let (container, other) = (&pod["containers"][0], &other["containers"][0]);
    for field in ["image", "env", "volumeMounts", "securityContext"] {
        assert_eq!(container[field], other[field], "{field}");
    }
    let args = container["args"].as_array().unwrap();
    assert_eq!(args[0], "wind-down");
    assert_eq!(args[2..], other["args"].as_array().unwrap()[1..]);
    let namespace = deployment["metadata"]["namespace"].as_str().unwrap();
    let name = deployment["metadata"]["name"].as_str().unwrap();
    assert_eq!(args[1], format!("--deployment={namespace}/{name}"));
    // Services and disruption budgets do not find it.
    let selector = &deployment["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"];
    assert_ne!(&job["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"], selector);
    for without in ["windDown.enabled=false", "global.rbac.create=false"] {
        assert!(!render("x", &["--set", without]).contains("wind-down"), "{without}");
    }
}

#[test]
#[ignore = "runs inside a testbed"]
fn flags_of_extra_args_go_before_those_of_other_values() {
    let options = ["--show-only=templates/deployment.yaml", "--set=global.logLevel=4,extraArgs={--log-level=warn}"];
    let deployment = objects(&render("x", &options)).remove(0);
    let flags = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    assert_eq!(*flags, json!(["controller", "--cluster-resource-namespace=$(POD_NAMESPACE)", "--log-level=warn"]));
}

#[test]
#[ignore = "runs inside a testbed"]
fn the_policy_for_kubernetes_1_36_is_left_out_before() {
    let has_it = |options: &[&str]| render("x", options).contains("kind: MutatingAdmissionPolicy\n");
    assert!(has_it(&["--kube-version=1.36"]));
    assert!(!has_it(&["--kube-version=1.35"]));
    assert!(has_it(&["--kube-version=1.35", "--set=admissionPolicies.setRequester=true"]));
    assert!(!has_it(&["--kube-version=1.36", "--set=admissionPolicies.setRequester=false"]));
    assert!(!render("x", &["--set=admissionPolicies.enabled=false"]).contains("AdmissionPolicy"));
}

#[test]
#[ignore = "runs inside a testbed"]
fn a_packed_chart_has_the_definitions() {
    let folder = tempfile::tempdir().unwrap();
    let (chart, target) = (chart().display().to_string(), folder.path().display().to_string());
    helm().run(&["package", &chart, "--destination", &target]).unwrap();
    let packed = folder.path().join(format!("certwright-{}.tgz", env!("CARGO_PKG_VERSION"))).display().to_string();
    let rendered = helm().run(&["template", "x", &packed, "--namespace=x", "--set=crds.enabled=true"]).unwrap();
    assert_eq!(rendered, render("x", &["--set=crds.enabled=true"]));
    assert_eq!(rendered.matches("\nkind: CustomResourceDefinition\n").count(), 6);
}

#[test]
#[ignore = "runs inside a testbed"]
fn the_right_to_approve_follows_the_values() {
    let right = |values: &str| -> Option<Value> {
        let rendered = objects(&render("x", &["--show-only=templates/rbac.yaml", "--set", values]));
        let mut rules = rendered.iter().flat_map(|object| object["rules"].as_array().into_iter().flatten());
        rules.find(|rule| rule["verbs"] == json!(["approve"])).map(|rule| rule["resourceNames"].clone())
    };
    let all_of_ours = json!(["issuers.cert-manager.io/*", "clusterissuers.cert-manager.io/*"]);
    assert_eq!(right("disableAutoApproval=false"), Some(all_of_ours));
    let one = json!(["issuers.cert-manager.io/shop.ca"]);
    assert_eq!(right("approveSignerNames={issuers.cert-manager.io/shop.ca}"), Some(one));
    assert_eq!(right("approveSignerNames=null"), Some(Value::Null), "any");
    assert_eq!(right("disableAutoApproval=true"), None);
}

/// Nothing of what solvers are made of; Ingresses that ask for certificates are looked at all the same.
#[test]
#[ignore = "runs inside a testbed"]
fn the_rights_of_solvers_can_be_left_out() {
    let rights = |disabled: bool, namespaces: &str| -> BTreeSet<String> {
        let disabled = format!("--set=global.rbac.disableHTTPChallengesRole={disabled}");
        let rendered = objects(&render("x", &["--show-only=templates/rbac.yaml", &disabled, "--set", namespaces]));
        let controllers = rendered.iter().filter(|object| name_of(object).contains("-controller-"));
        let rules = controllers.flat_map(|object| object["rules"].as_array().cloned().unwrap_or_default());
        let texts = |list: &Value| -> Vec<String> { serde_json::from_value(list.clone()).unwrap() };
        let of_rule = |rule: Value| {
            let (resources, verbs) = (texts(&rule["resources"]), texts(&rule["verbs"]));
            resources
                .into_iter()
                .flat_map(move |resource| verbs.clone().into_iter().map(move |verb| format!("{verb} {resource}")))
        };
        rules.flat_map(of_rule).collect()
    };
    for namespaces in ["watchNamespaces=null", "watchNamespaces={shop}"] {
        let (with, without) = (rights(false, namespaces), rights(true, namespaces));
        assert_eq!(without.difference(&with).collect::<Vec<_>>(), Vec::<&String>::new());
        let gone: BTreeSet<_> = with.difference(&without).filter_map(|right| right.split_once(' ')).collect();
        let resources: BTreeSet<_> = gone.iter().map(|(_, resource)| *resource).collect();
        let expected = [
            "endpointslices",
            "gateways",
            "httproutes",
            "ingresses",
            "listenersets",
            "pods",
            "routes/custom-host",
            "services",
            "tlsroutes",
            "xlistenersets",
        ];
        assert_eq!(resources, BTreeSet::from(expected));
        for resource in ["ingresses", "gateways", "listenersets"] {
            let kept: Vec<_> = without.iter().filter(|right| right.ends_with(&format!(" {resource}"))).collect();
            assert_eq!(kept, [&format!("list {resource}"), &format!("watch {resource}")], "for certificates");
        }
        assert!(without.contains("patch challenges") && without.contains("create challenges"));
    }
}

/// Whoever installs it so needs no rights in the cluster as a whole either.
#[test]
#[ignore = "runs inside a testbed"]
fn limited_to_namespaces_it_has_rights_there_only() {
    let rendered = |policies: bool| {
        let policies = format!("--set=admissionPolicies.enabled={policies}");
        objects(&render("x", &["--set=watchNamespaces={shop,blog}", &policies]))
    };
    let is_cluster_wide = |object: &Value| object["metadata"]["namespace"].is_null();
    assert_eq!(
        rendered(false).iter().filter(|object| is_cluster_wide(object)).map(name_of).collect::<Vec<_>>(),
        [""; 0]
    );
    let wide: BTreeSet<_> = rendered(true).iter().filter(|object| is_cluster_wide(object)).map(name_of).collect();
    let wide: Vec<_> = wide.iter().filter(|name| !name.contains("Admission")).collect();
    let approval = "x-certwright-controller-approve:cert-manager-io";
    assert_eq!(wide, [&format!("ClusterRole/{approval}"), &format!("ClusterRoleBinding/{approval}")]);
    let roles: BTreeSet<_> = rendered(false)
        .iter()
        .filter(|object| object["kind"] == "Role")
        .map(|role| format!("{} {}", role["metadata"]["namespace"].as_str().unwrap(), name_of(role)))
        .collect();
    // Where the controller itself is, it finds its replicas, holds its Lease, and is stopped before the end.
    let own = ["x Role/x-certwright-replicas", "x Role/x-certwright:leaderelection", "x Role/x-certwright-wind-down"];
    let mut expected = BTreeSet::from(own.map(str::to_owned));
    for part in ["issuers", "certificates", "orders", "challenges", "ingress-shim"] {
        for namespace in ["shop", "blog"] {
            expected.insert(format!("{namespace} Role/x-certwright-controller-{part}"));
        }
    }
    assert_eq!(roles, expected);
    let deployment = rendered(false).into_iter().find(|object| object["kind"] == "Deployment").unwrap();
    let flags = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap().clone();
    assert!(flags.contains(&json!("--namespace=shop,blog")), "{flags:?}");
    assert!(flags.contains(&json!("--leader-election-namespace=x")), "{flags:?}");
}

/// With rights in the whole cluster it has those for the CA of its metrics too.
#[test]
#[ignore = "runs inside a testbed"]
fn limited_to_namespaces_it_has_the_right_to_the_ca_of_its_metrics() {
    let role = |namespaces: &str| {
        let ca =
            "config.metricsTLSConfig.dynamic.secretNamespace=x,config.metricsTLSConfig.dynamic.secretName=metrics-ca";
        let rendered = objects(&render("x", &["--set", ca, "--set", namespaces]));
        rendered.into_iter().find(|object| name_of(object) == "Role/x-certwright:metrics-dynamic-serving")
    };
    assert_eq!(role("creator=helm"), None);
    assert_eq!(role("watchNamespaces={x}"), None, "it has it by its other roles");
    let role = role("watchNamespaces={shop}").unwrap();
    assert_eq!(
        (&role["metadata"]["namespace"], &role["rules"][0]["resourceNames"]),
        (&json!("x"), &json!(["metrics-ca"]))
    );
}

#[test]
#[ignore = "runs inside a testbed"]
fn the_right_to_inject_goes_with_the_work() {
    let with = |values: &str| render("x", &["--set", values]);
    assert!(with("cainjector.enabled=true").contains("name: x-certwright-cainjector\n"));
    let without = with("cainjector.enabled=false");
    assert!(!without.contains("cainjector") && !without.contains("apiregistration.k8s.io"));
    assert!(without.contains("--enable-apiservices-injectable=false"));
}

#[test]
#[ignore = "runs inside a testbed"]
fn metrics_have_a_service_or_a_monitor_and_alerts_if_wished() {
    let kinds = |options: &str| -> BTreeSet<String> {
        let wanted = ["Service", "ServiceMonitor", "PodMonitor", "PrometheusRule", "ConfigMap"];
        let rendered = objects(&render("x", &["--set", options]));
        // The other Service is for HTTP-01.
        let rendered = rendered.iter().filter(|object| object["metadata"]["name"] != "x-certwright-http01");
        let kinds = rendered.map(|object| object["kind"].as_str().unwrap().to_owned());
        kinds.filter(|kind| wanted.contains(&kind.as_str())).collect()
    };
    let set = |kinds: &[&str]| kinds.iter().map(|&kind| kind.to_owned()).collect::<BTreeSet<String>>();
    assert_eq!(kinds("prometheus.enabled=true"), set(&["Service"]));
    assert_eq!(kinds("prometheus.servicemonitor.enabled=true"), set(&["Service", "ServiceMonitor"]));
    assert_eq!(kinds("prometheus.podmonitor.enabled=true"), set(&["PodMonitor"]));
    let both = "prometheus.rules.enabled=true,prometheus.dashboard.enabled=true";
    assert_eq!(kinds(both), set(&["ConfigMap", "PrometheusRule", "Service"]));
    assert_eq!(kinds(&format!("prometheus.enabled=false,{both}")), set(&[]));

    let deployment =
        |options: &str| objects(&render("x", &["--show-only=templates/deployment.yaml", "--set", options])).remove(0);
    let annotations = |options: &str| deployment(options)["spec"]["template"]["metadata"]["annotations"].clone();
    assert_eq!(annotations("prometheus.enabled=true")["prometheus.io/port"], "9402");
    assert_eq!(annotations("prometheus.servicemonitor.enabled=true"), Value::Null);
    let container = deployment("prometheus.enabled=false")["spec"]["template"]["spec"]["containers"][0].clone();
    assert!(container["args"].as_array().unwrap().contains(&json!("--metrics-listen-address=0")), "{container}");
    assert_eq!(container["ports"].as_array().unwrap().len(), 2, "{container}");
}

/// Nothing of the files is taken for a template, and nothing is lost on the way.
#[test]
#[ignore = "runs inside a testbed"]
fn alerts_and_dashboard_are_those_of_the_files() {
    let options = ["--set=prometheus.rules.enabled=true,prometheus.dashboard.enabled=true"];
    let rendered = objects(&render("x", &options));
    let of_kind = |kind: &str| rendered.iter().find(|object| object["kind"] == kind).unwrap();
    let file = |name: &str| std::fs::read_to_string(chart().join("files").join(name)).unwrap();
    let rules: Value = serde_yaml::from_str(&file("rules.yaml")).unwrap();
    assert_eq!(of_kind("PrometheusRule")["spec"], rules);
    let told = of_kind("ConfigMap")["data"]["certwright.json"].as_str().unwrap();
    let (told, dashboard): (Value, Value) =
        (serde_json::from_str(told).unwrap(), serde_json::from_str(&file("dashboard.json")).unwrap());
    assert_eq!(told, dashboard);
}
