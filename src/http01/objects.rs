//! The Pod, Service and Ingress that answer one Challenge, as they are wanted.
//!
//! They are made from the Challenge alone, so they can be compared with what is there and made again at any time. The
//! Pod has no readiness probe: without one it counts as ready the moment its container runs, a probe would add at least
//! one period of waiting, and the self-check asks the Pod anyway.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, Pod, PodSecurityContext, PodSpec, ResourceRequirements, SeccompProfile,
    SecurityContext, Service, ServicePort, ServiceSpec,
};
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec,
    ServiceBackendPort,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Resource;

use super::SOLVER_PORT;
use super::template::{self, TemplateError};
use crate::api::Challenge;
use crate::api::names::{annotation, label};
use crate::api::pod_template::{PodTemplate, TemplateMetadata};
use crate::api::solver::Http01Ingress;

const PORT: i32 = SOLVER_PORT as i32;

/// What the controller's flags say about solvers. The defaults are cert-manager's.
#[derive(Clone, Debug, PartialEq)]
pub struct SolverOptions {
    /// Image of the Pod. The caller fills in the controller's own if no other is wanted: its entry point takes
    /// `acmesolver` as the first argument.
    pub image: String,
    pub image_pull_policy: String,
    pub request_cpu: Quantity,
    pub request_memory: Quantity,
    pub limit_cpu: Quantity,
    pub limit_memory: Quantity,
    pub run_as_non_root: bool,
    /// Labels for all three objects; they cannot replace those by which the objects are found.
    pub extra_labels: BTreeMap<String, String>,
    pub runtime_class_name: Option<String>,
    /// Whether the Ingress says that the path must match exactly; some ingress controllers know only their own way.
    pub exact_path: bool,
}

impl Default for SolverOptions {
    fn default() -> Self {
        Self {
            image: String::new(),
            image_pull_policy: "IfNotPresent".into(),
            request_cpu: Quantity("10m".into()),
            request_memory: Quantity("64Mi".into()),
            limit_cpu: Quantity("100m".into()),
            limit_memory: Quantity("64Mi".into()),
            run_as_non_root: true,
            extra_labels: BTreeMap::new(),
            runtime_class_name: None,
            exact_path: true,
        }
    }
}

/// Why nothing can be made for the Challenge, in one sentence; `None` if [`pod`], [`service`] and [`ingress`] suit it.
pub fn unsupported(challenge: &Challenge) -> Option<String> {
    let Some(solver) = &challenge.spec.solver.http01 else {
        return Some("The solver has no http01 part, so it cannot answer an HTTP-01 challenge.".into());
    };
    if !super::is_token(&challenge.spec.token) {
        return Some("The CA's token has characters that RFC 8555 does not allow, so it is not served.".into());
    }
    if solver.gateway_http_route.is_some() {
        return Some("Solvers with gatewayHTTPRoute are not supported yet; use http01.ingress.".into());
    }
    let Some(ingress) = &solver.ingress else {
        return Some("The solver's http01 part has no ingress.".into());
    };
    if set(ingress.name.as_ref()).is_some() {
        return Some("Solvers with http01.ingress.name are not supported yet; use ingressClassName or class.".into());
    }
    if set(ingress.class.as_ref()).is_some() && set(ingress.ingress_class_name.as_ref()).is_some() {
        return Some("The solver has both class and ingressClassName; an Ingress can have only one.".into());
    }
    None
}

/// The labels by which a Challenge's solver objects are found, in the order of their keys.
pub fn labels(challenge: &Challenge) -> BTreeMap<String, String> {
    let hashed = |text: &str| adler32(text.as_bytes()).to_string();
    BTreeMap::from([
        (label::HTTP_DOMAIN.to_owned(), hashed(&challenge.spec.dns_name)),
        (label::HTTP_TOKEN.to_owned(), hashed(&challenge.spec.token)),
        (label::HTTP01_SOLVER.to_owned(), label::TRUE.to_owned()),
    ])
}

/// The Pod that runs the solver's server. Fails if the solver's podTemplate cannot be a part of a Pod.
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

/// The Service in front of the Pod.
pub fn service(challenge: &Challenge, name: &str, options: &SolverOptions) -> Service {
    let mut metadata = metadata(challenge, name, options);
    metadata.annotations = Some(BTreeMap::from([(annotation::ISTIO_AUTH.into(), "NONE".into())]));
    let service_type = ingress_solver(challenge).and_then(|ingress| set(ingress.service_type.as_ref()));
    let port = ServicePort {
        name: Some("http".into()),
        port: PORT,
        target_port: Some(IntOrString::Int(PORT)),
        ..ServicePort::default()
    };
    let spec = ServiceSpec {
        // A port on every node, for ingress controllers that run outside of the cluster.
        type_: Some(service_type.map_or_else(|| "NodePort".into(), Clone::clone)),
        ports: Some(vec![port]),
        selector: Some(labels(challenge)),
        ..ServiceSpec::default()
    };
    Service { metadata, spec: Some(spec), status: None }
}

/// The Ingress that leads the challenge's path to the Service of the same name.
pub fn ingress(challenge: &Challenge, name: &str, options: &SolverOptions) -> Ingress {
    let solver = ingress_solver(challenge);
    let mut metadata = metadata(challenge, name, options);
    metadata.annotations = Some(ingress_annotations(solver));
    let template = solver.and_then(|solver| solver.ingress_template.as_ref());
    merge_metadata(&mut metadata, template.and_then(|template| template.metadata.as_ref()), challenge);
    let is_address = challenge.spec.dns_name.parse::<IpAddr>().is_ok();
    let rule = IngressRule {
        // A host must be a name; without one the rule is for all hosts, and the server looks at the address itself.
        host: (!is_address).then(|| challenge.spec.dns_name.clone()),
        http: Some(HTTPIngressRuleValue { paths: vec![ingress_path(challenge, name, options)] }),
    };
    let spec = IngressSpec {
        ingress_class_name: solver.and_then(|solver| set(solver.ingress_class_name.as_ref())).cloned(),
        rules: Some(vec![rule]),
        ..IngressSpec::default()
    };
    Ingress { metadata, spec: Some(spec), status: None }
}

/// Where the Pod can be asked, once it has an address.
pub fn pod_address(pod: &Pod) -> Option<SocketAddr> {
    let address: IpAddr = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    Some(SocketAddr::new(address, SOLVER_PORT))
}

/// Whether the Pod will never answer again (evicted, preempted, its container stopped for good): it is to be replaced.
pub fn pod_is_spent(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded"))
}

fn metadata(challenge: &Challenge, name: &str, options: &SolverOptions) -> ObjectMeta {
    let mut all = options.extra_labels.clone();
    all.extend(labels(challenge));
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: challenge.metadata.namespace.clone(),
        labels: Some(all),
        owner_references: challenge.controller_owner_ref(&()).map(|owner| vec![blocking(owner)]),
        ..ObjectMeta::default()
    }
}

/// With foreground deletion the Challenge stays until its solver is gone.
fn blocking(owner: OwnerReference) -> OwnerReference {
    OwnerReference { block_owner_deletion: Some(true), ..owner }
}

/// Adds what a template wants; the labels by which we find the objects stay as they are.
fn merge_metadata(metadata: &mut ObjectMeta, template: Option<&TemplateMetadata>, challenge: &Challenge) {
    let Some(template) = template else { return };
    metadata.annotations.get_or_insert_default().extend(template.annotations.clone());
    let all = metadata.labels.get_or_insert_default();
    all.extend(template.labels.clone());
    all.extend(labels(challenge));
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

fn container(challenge: &Challenge, options: &SolverOptions) -> Container {
    let spec = &challenge.spec;
    let resources = |cpu: &Quantity, memory: &Quantity| {
        Some(BTreeMap::from([("cpu".to_owned(), cpu.clone()), ("memory".to_owned(), memory.clone())]))
    };
    Container {
        name: "acmesolver".into(),
        image: Some(options.image.clone()),
        image_pull_policy: Some(options.image_pull_policy.clone()),
        // The image's entry point is the certwright binary. cert-manager's solver image ignores the first argument, so
        // either image may be set. The key is readable in the Pod's spec, as it is in the Challenge: whoever may read
        // Pods learns what the CA will fetch in the open anyway, and nothing that helps without the account's key.
        args: Some(vec![
            "acmesolver".into(),
            format!("--listen-port={SOLVER_PORT}"),
            format!("--domain={}", spec.dns_name),
            format!("--token={}", spec.token),
            format!("--key={}", spec.key.expose()),
        ]),
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

fn ingress_annotations(solver: Option<&Http01Ingress>) -> BTreeMap<String, String> {
    let template = solver.and_then(|solver| solver.ingress_template.as_ref()?.metadata.as_ref());
    let has_own_range = template.is_some_and(|template| {
        template
            .annotations
            .keys()
            .any(|key| key.rsplit_once('/').is_some_and(|(_, end)| end == "whitelist-source-range"))
    });
    let mut annotations = BTreeMap::new();
    if !has_own_range {
        // CAs ask from anywhere, whatever the ingress controller's own default is.
        annotations.insert(annotation::NGINX_WHITELIST_SOURCE_RANGE.into(), "0.0.0.0/0,::/0".into());
    }
    if let Some(class) = solver.and_then(|solver| set(solver.class.as_ref())) {
        annotations.insert(annotation::INGRESS_CLASS.into(), class.clone());
    }
    annotations
}

fn ingress_path(challenge: &Challenge, service: &str, options: &SolverOptions) -> HTTPIngressPath {
    HTTPIngressPath {
        path: Some(super::path(&challenge.spec.token)),
        path_type: if options.exact_path { "Exact" } else { "ImplementationSpecific" }.into(),
        backend: IngressBackend {
            service: Some(IngressServiceBackend {
                name: service.to_owned(),
                port: Some(ServiceBackendPort { number: Some(PORT), name: None }),
            }),
            resource: None,
        },
    }
}

fn ingress_solver(challenge: &Challenge) -> Option<&Http01Ingress> {
    challenge.spec.solver.http01.as_ref()?.ingress.as_ref()
}

fn pod_template(challenge: &Challenge) -> Option<&PodTemplate> {
    ingress_solver(challenge)?.pod_template.as_ref()
}

/// In the API an empty text means the same as none.
fn set(text: Option<&String>) -> Option<&String> {
    text.filter(|text| !text.is_empty())
}

/// The Adler-32 checksum (RFC 1950 section 8.2), which makes a label value of anything. It need not tell objects apart
/// for sure: their owner does.
fn adler32(bytes: &[u8]) -> u32 {
    const MODULUS: u32 = 65_521;
    let (low, high) = bytes.iter().fold((1_u32, 0_u32), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % MODULUS;
        (low, (high + low) % MODULUS)
    });
    high << 16 | low
}
