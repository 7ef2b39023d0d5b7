//! The solver's Pod, as it is wanted.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, Pod, PodSecurityContext, PodSpec, ResourceRequirements, SeccompProfile,
    SecurityContext,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::SOLVER_PORT;
use super::host::HostHeader;
use super::objects::{PORT, SolverOptions, merge_metadata, metadata, pod_template};
use super::template::{self, TemplateError};
use crate::api::Challenge;
use crate::api::names::annotation;

/// The name of the Pod's one container, which is cert-manager's too.
pub(super) const CONTAINER: &str = "acmesolver";

/// The Pod that runs the solver's server.
///
/// It has no readiness probe: without one it counts as ready the moment its container runs, a probe would add at least
/// one period of waiting, and the self-check asks the Pod anyway.
///
/// Fails if the solver's podTemplate cannot be a part of a Pod.
pub fn pod(challenge: &Challenge, name: &str, options: &SolverOptions) -> Result<Pod, TemplateError> {
    let mut metadata = metadata(challenge, name, options);
    let annotations =
        [(annotation::ISTIO_INJECT.into(), "false".into()), (annotation::SAFE_TO_EVICT.into(), "true".into())];
    metadata.annotations = Some(BTreeMap::from(annotations));
    let mut spec = pod_spec(challenge, options);
    if let Some(template) = pod_template(challenge) {
        merge_metadata(&mut metadata, template.metadata.as_ref(), challenge);
        if let Some(wanted) = &template.spec {
            template::merge(&mut spec, wanted)?;
        }
    }
    Ok(Pod { metadata, spec: Some(spec), status: None })
}

fn pod_spec(challenge: &Challenge, options: &SolverOptions) -> PodSpec {
    PodSpec {
        containers: vec![container(challenge, options)],
        restart_policy: Some("OnFailure".into()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        node_selector: Some(BTreeMap::from([("kubernetes.io/os".into(), "linux".into())])),
        runtime_class_name: options.runtime_class_name.clone().filter(|name| !name.is_empty()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(options.run_as_non_root),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    }
}

/// The image's entry point is the certwright binary. cert-manager's solver image ignores the first argument, so either image
/// may be set, as long as the last one is not wished for. The key is readable in the Pod's spec, as it is in the Challenge:
/// whoever may read Pods learns what the CA will fetch in the open anyway, and nothing that helps without the account's key.
fn arguments(challenge: &Challenge, options: &SolverOptions) -> Vec<String> {
    let spec = &challenge.spec;
    let mut arguments = vec![
        "acmesolver".into(),
        format!("--listen-port={SOLVER_PORT}"),
        format!("--domain={}", spec.dns_name),
        format!("--token={}", spec.token),
        format!("--key={}", spec.key.expose()),
    ];
    if options.host_header != HostHeader::Host {
        arguments.push(format!("--host-header={}", options.host_header));
    }
    arguments
}

fn container(challenge: &Challenge, options: &SolverOptions) -> Container {
    let resources = |cpu: &Quantity, memory: &Quantity| {
        Some(BTreeMap::from([("cpu".to_owned(), cpu.clone()), ("memory".to_owned(), memory.clone())]))
    };
    Container {
        name: CONTAINER.into(),
        image: Some(options.image.clone()),
        image_pull_policy: Some(options.image_pull_policy.clone()),
        args: Some(arguments(challenge, options)),
        ports: Some(vec![ContainerPort {
            name: Some("http".into()),
            container_port: PORT,
            ..ContainerPort::default()
        }]),
        resources: Some(ResourceRequirements {
            requests: resources(&options.request_cpu, &options.request_memory),
            limits: resources(&options.limit_cpu, &options.limit_memory),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), ..Capabilities::default() }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::super::objects::tests::{challenge, common_metadata};
    use super::*;

    fn options() -> SolverOptions {
        SolverOptions { image: "registry.example/certwright:1".into(), ..SolverOptions::default() }
    }

    fn made(template: &Value, options: &SolverOptions) -> Result<Value, TemplateError> {
        let challenge = challenge("example.com", json!({"ingress": {"podTemplate": template}}));
        pod(&challenge, "cm-acme-http-solver-1", options).map(|pod| json!(pod))
    }

    #[test]
    fn the_pod_is_told_where_proxies_put_the_host() {
        let host_header = "Forwarded".parse().unwrap();
        let pod = made(&json!({}), &SolverOptions { host_header, ..options() }).unwrap();
        let arguments = pod["spec"]["containers"][0]["args"].as_array().unwrap();
        assert_eq!(arguments.last(), Some(&json!("--host-header=forwarded")));
        assert_eq!(arguments.len(), 6);
    }

    #[test]
    fn the_pod_without_settings() {
        let resources = json!({
            "requests": {"cpu": "10m", "memory": "64Mi"},
            "limits": {"cpu": "100m", "memory": "64Mi"},
        });
        let container = json!({
            "name": "acmesolver",
            "image": "registry.example/certwright:1",
            "imagePullPolicy": "IfNotPresent",
            "args": [
                "acmesolver",
                "--listen-port=8089",
                "--domain=example.com",
                "--token=tok-en_1",
                "--key=tok-en_1.print",
            ],
            "ports": [{"name": "http", "containerPort": 8089}],
            "resources": resources,
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": true,
            },
        });
        let annotations = json!({
            "sidecar.istio.io/inject": "false",
            "cluster-autoscaler.kubernetes.io/safe-to-evict": "true",
        });
        assert_eq!(
            made(&Value::Null, &options()).unwrap(),
            json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": common_metadata(&annotations),
                "spec": {
                    "containers": [container],
                    "restartPolicy": "OnFailure",
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "nodeSelector": {"kubernetes.io/os": "linux"},
                    "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                },
            })
        );
    }

    #[test]
    fn the_template_is_merged_over_the_defaults() {
        let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}],
        }}});
        let tolerations = json!([{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}]);
        let template = json!({
            "metadata": {
                "labels": {"team": "web", "acme.cert-manager.io/http-domain": "0"},
                "annotations": {"sidecar.istio.io/inject": "true", "team": "web"},
            },
            "spec": {
                "nodeSelector": {"disk": "ssd", "kubernetes.io/os": "other"},
                "affinity": affinity,
                "tolerations": tolerations,
                "priorityClassName": "high",
                "serviceAccountName": "solver",
                "imagePullSecrets": [{"name": "registry"}],
                "securityContext": {"runAsUser": 1000, "supplementalGroups": [5], "seLinuxOptions": {"level": "s0"}},
                "resources": {"limits": {"memory": "128Mi"}, "requests": {"ephemeral-storage": "1Mi"}},
            },
        });
        let pod = made(&template, &options()).unwrap();
        assert_eq!(pod["metadata"]["labels"]["team"], "web");
        assert_eq!(pod["metadata"]["labels"]["acme.cert-manager.io/http-domain"], "446694490");
        let annotations = json!({
            "sidecar.istio.io/inject": "true",
            "cluster-autoscaler.kubernetes.io/safe-to-evict": "true",
            "team": "web",
        });
        assert_eq!(pod["metadata"]["annotations"], annotations);
        let spec = &pod["spec"];
        assert_eq!(spec["nodeSelector"], json!({"disk": "ssd", "kubernetes.io/os": "other"}));
        assert_eq!((&spec["affinity"], &spec["tolerations"]), (&affinity, &tolerations));
        assert_eq!((&spec["priorityClassName"], &spec["serviceAccountName"]), (&json!("high"), &json!("solver")));
        assert_eq!(spec["imagePullSecrets"], json!([{"name": "registry"}]));
        let security = json!({
            "runAsNonRoot": true,
            "seccompProfile": {"type": "RuntimeDefault"},
            "runAsUser": 1000,
            "supplementalGroups": [5],
            "seLinuxOptions": {"level": "s0"},
        });
        assert_eq!(spec["securityContext"], security);
        let resources = json!({
            "requests": {"cpu": "10m", "memory": "64Mi", "ephemeral-storage": "1Mi"},
            "limits": {"cpu": "100m", "memory": "128Mi"},
        });
        assert_eq!(spec["containers"][0]["resources"], resources);
    }

    #[test]
    fn protections_can_be_turned_off_by_name() {
        let wanted = json!({"runAsNonRoot": false, "seccompProfile": {"type": "Unconfined"}});
        let pod = made(&json!({"spec": {"securityContext": wanted}}), &options()).unwrap();
        assert_eq!(pod["spec"]["securityContext"], wanted);
        let flags = SolverOptions { run_as_non_root: false, runtime_class_name: Some("gvisor".into()), ..options() };
        let pod = made(&Value::Null, &flags).unwrap();
        assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"], false);
        assert_eq!(pod["spec"]["runtimeClassName"], "gvisor");
    }

    #[test]
    fn an_impossible_affinity_is_said() {
        let error = made(&json!({"spec": {"affinity": {"nodeAffinity": "here"}}}), &options()).unwrap_err().to_string();
        assert!(error.starts_with("the affinity of the solver's podTemplate cannot be used in a Pod: "), "{error}");
    }
}
