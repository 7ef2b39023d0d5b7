//! The Pod and Service that answer a Challenge, as they are wanted, and what all solver objects have in common.
//!
//! They are made from the Challenge alone, so they can be compared with what is there and made again at any time.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Resource;

use super::SOLVER_PORT;
use super::host::HostHeader;
pub use super::ingress::ingress;
pub use super::pod::pod;
pub use super::pod_state::{pod_address, pod_hindrance, pod_is_spent};
use super::route::gateway;
pub use super::template::TemplateError;
use crate::api::Challenge;
use crate::api::names::{annotation, label};
use crate::api::pod_template::{PodTemplate, TemplateMetadata};
use crate::api::solver::Http01Ingress;

pub(super) const PORT: i32 = SOLVER_PORT as i32;

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
    /// Where solvers expect the name that a request is for.
    pub host_header: HostHeader,
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
            host_header: HostHeader::default(),
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
    if let Some(gateway) = &solver.gateway_http_route {
        let has_parent = !gateway.parent_refs.is_empty();
        return (!has_parent).then(|| {
            "The solver's http01.gatewayHTTPRoute has no parentRefs, so no Gateway would take its route; name one there, or by \
             the annotation acme.cert-manager.io/http01-parentrefname of the Certificate."
                .into()
        });
    }
    let Some(ingress) = &solver.ingress else {
        return Some("The solver's http01 part has neither ingress nor gatewayHTTPRoute.".into());
    };
    let choices = [&ingress.name, &ingress.class, &ingress.ingress_class_name];
    let chosen = choices.into_iter().filter(|choice| set(choice.as_ref()).is_some()).count();
    (chosen > 1).then(|| {
        "The solver has more than one of name, class and ingressClassName, in the issuer or by the annotations \
         acme.cert-manager.io/http01-override-ingress-… of the Certificate; leave only one."
            .into()
    })
}

/// The labels by which a Challenge's solver objects are found, in the order of their keys. Those that several share are about none of
/// them alone.
pub fn labels(challenge: &Challenge) -> BTreeMap<String, String> {
    let solver = (label::HTTP01_SOLVER.to_owned(), label::TRUE.to_owned());
    if challenge.shared_route().is_some() {
        return BTreeMap::from([solver]);
    }
    let hashed = |text: &str| adler32(text.as_bytes()).to_string();
    BTreeMap::from([
        (label::HTTP_DOMAIN.to_owned(), hashed(&challenge.spec.dns_name)),
        (label::HTTP_TOKEN.to_owned(), hashed(&challenge.spec.token)),
        solver,
    ])
}

/// The Service in front of the Pod, or in front of the controller if that answers itself: without a selector, so that the
/// endpoints are those of [`endpoints`](super::endpoints::endpoints).
pub fn service(challenge: &Challenge, name: &str, options: &SolverOptions) -> Service {
    let mut metadata = metadata(challenge, name, options);
    metadata.annotations = Some(BTreeMap::from([(annotation::ISTIO_AUTH.into(), "NONE".into())]));
    let service_type = set(service_type(challenge));
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
        selector: (!challenge.is_podless()).then(|| labels(challenge)),
        ..ServiceSpec::default()
    };
    Service { metadata, spec: Some(spec), status: None }
}

/// Whether the Service leads to where it is wanted: somebody may have edited it. What the API server has added is no matter.
pub fn service_leads_as(held: &Service, wanted: &Service) -> bool {
    let ports = |service: &Service| -> Vec<_> {
        let all = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
        all.map(|port| (port.name.clone(), port.port, port.target_port.clone())).collect()
    };
    let selector = |service: &Service| service.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default();
    ports(held) == ports(wanted) && selector(held) == selector(wanted)
}

/// What the three objects have in common: name, labels and the owner. What Challenges share belongs to their Order.
pub fn metadata(challenge: &Challenge, name: &str, options: &SolverOptions) -> ObjectMeta {
    let mut all = options.extra_labels.clone();
    all.extend(labels(challenge));
    let order = challenge.shared_route().map(|(order, _)| order.clone());
    let owner = order.or_else(|| challenge.controller_owner_ref(&()));
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: challenge.metadata.namespace.clone(),
        labels: Some(all),
        owner_references: owner.map(|owner| vec![blocking(owner)]),
        ..ObjectMeta::default()
    }
}

/// With foreground deletion the owner stays until its solver is gone.
fn blocking(owner: OwnerReference) -> OwnerReference {
    OwnerReference { block_owner_deletion: Some(true), ..owner }
}

/// Adds what a template wants; the labels by which we find the objects stay as they are.
pub(super) fn merge_metadata(metadata: &mut ObjectMeta, template: Option<&TemplateMetadata>, challenge: &Challenge) {
    let Some(template) = template else { return };
    metadata.annotations.get_or_insert_default().extend(template.annotations.clone());
    let all = metadata.labels.get_or_insert_default();
    all.extend(template.labels.clone());
    all.extend(labels(challenge));
}

/// The solver's podTemplate, whichever way leads to the Pod.
pub(super) fn pod_template(challenge: &Challenge) -> Option<&PodTemplate> {
    match (ingress_solver(challenge), gateway(challenge)) {
        (Some(ingress), _) => ingress.pod_template.as_ref(),
        (None, gateway) => gateway?.pod_template.as_ref(),
    }
}

fn service_type(challenge: &Challenge) -> Option<&String> {
    match (ingress_solver(challenge), gateway(challenge)) {
        (Some(ingress), _) => ingress.service_type.as_ref(),
        (None, gateway) => gateway?.service_type.as_ref(),
    }
}

pub(super) fn ingress_solver(challenge: &Challenge) -> Option<&Http01Ingress> {
    challenge.spec.solver.http01.as_ref()?.ingress.as_ref()
}

/// In the API an empty text means the same as none.
pub(super) fn set(text: Option<&String>) -> Option<&String> {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::ChallengeSpec;

    /// A Challenge for the name whose http01 solver is as given.
    pub(in crate::http01) fn challenge(dns_name: &str, http01: Value) -> Challenge {
        let solver = serde_json::from_value(Value::from_iter([("http01", http01)])).unwrap();
        let spec = ChallengeSpec {
            dns_name: dns_name.into(),
            token: "tok-en_1".into(),
            key: "tok-en_1.print".into(),
            type_: "HTTP-01".into(),
            solver,
            ..ChallengeSpec::default()
        };
        let mut challenge = Challenge::new("www-1-2", spec);
        challenge.metadata.namespace = Some("shop".into());
        challenge.metadata.uid = Some("0f1e".into());
        challenge
    }

    /// What every solver object of `challenge("example.com", …)` has.
    pub(in crate::http01) fn common_metadata(annotations: &Value) -> Value {
        json!({
            "name": "cm-acme-http-solver-1",
            "namespace": "shop",
            "labels": {
                "acme.cert-manager.io/http-domain": "446694490",
                "acme.cert-manager.io/http-token": "232850143",
                "acme.cert-manager.io/http01-solver": "true",
            },
            "annotations": annotations,
            "ownerReferences": [{
                "apiVersion": "acme.cert-manager.io/v1",
                "kind": "Challenge",
                "name": "www-1-2",
                "uid": "0f1e",
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        })
    }

    fn made(challenge: &Challenge) -> (Value, Value) {
        let options = SolverOptions::default();
        let service = service(challenge, "cm-acme-http-solver-1", &options);
        let ingress = ingress(challenge, "cm-acme-http-solver-1", &options);
        (json!(service), json!(ingress))
    }

    #[test]
    fn checksums_are_those_of_adler() {
        // "Wikipedia" is the well-known example; the others are from zlib.
        for (text, sum) in [("", 1), ("Wikipedia", 0x11E6_0398), ("example.com", 446_694_490)] {
            assert_eq!(adler32(text.as_bytes()), sum, "{text}");
        }
        assert_eq!(adler32(&vec![0xff; 100_000]), 345_649_196);
    }

    #[test]
    fn service_and_ingress_without_settings() {
        let (service, ingress) = made(&challenge("example.com", json!({"ingress": {}})));
        let selector = json!({
            "acme.cert-manager.io/http-domain": "446694490",
            "acme.cert-manager.io/http-token": "232850143",
            "acme.cert-manager.io/http01-solver": "true",
        });
        assert_eq!(
            service,
            json!({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": common_metadata(&json!({"auth.istio.io/8089": "NONE"})),
                "spec": {
                    "type": "NodePort",
                    "ports": [{"name": "http", "port": 8089, "targetPort": 8089}],
                    "selector": selector,
                },
            })
        );
        let backend = json!({"service": {"name": "cm-acme-http-solver-1", "port": {"number": 8089}}});
        let path = json!({"path": "/.well-known/acme-challenge/tok-en_1", "pathType": "Exact", "backend": backend});
        let range = json!({"nginx.ingress.kubernetes.io/whitelist-source-range": "0.0.0.0/0,::/0"});
        assert_eq!(
            ingress,
            json!({
                "apiVersion": "networking.k8s.io/v1",
                "kind": "Ingress",
                "metadata": common_metadata(&range),
                "spec": {"rules": [{"host": "example.com", "http": {"paths": [path]}}]},
            })
        );
    }

    #[test]
    fn settings_reach_service_and_ingress() {
        let (service, ingress) = made(&challenge(
            "example.com",
            json!({"ingress": {
                "serviceType": "ClusterIP",
                "class": "nginx",
                "ingressTemplate": {"metadata": {
                    "labels": {"team": "web", "acme.cert-manager.io/http01-solver": "false"},
                    "annotations": {"haproxy.org/whitelist-source-range": "10.0.0.0/8", "team": "web"},
                }},
            }}),
        ));
        assert_eq!(service["spec"]["type"], "ClusterIP");
        assert_eq!(service["metadata"]["labels"].get("team"), None);
        let annotations = json!({
            "kubernetes.io/ingress.class": "nginx",
            "haproxy.org/whitelist-source-range": "10.0.0.0/8",
            "team": "web",
        });
        assert_eq!(ingress["metadata"]["annotations"], annotations);
        assert_eq!(ingress["metadata"]["labels"]["team"], "web");
        assert_eq!(ingress["metadata"]["labels"]["acme.cert-manager.io/http01-solver"], "true");
        assert_eq!(ingress["spec"].get("ingressClassName"), None);

        let (service, ingress) = made(&challenge(
            "example.com",
            json!({"ingress": {"serviceType": "", "class": "", "ingressClassName": "traefik"}}),
        ));
        assert_eq!(service["spec"]["type"], "NodePort");
        assert_eq!(ingress["spec"]["ingressClassName"], "traefik");
        assert_eq!(ingress["metadata"]["annotations"].get("kubernetes.io/ingress.class"), None);
    }

    #[test]
    fn a_service_that_somebody_edited_is_seen() {
        let wanted = service(&challenge("example.com", json!({"ingress": {}})), "n", &SolverOptions::default());
        let leads_with = |path: &str, value: Value| {
            let mut held = json!(wanted);
            held["spec"]["clusterIP"] = json!("10.96.0.7");
            held["spec"]["ports"][0]["protocol"] = json!("TCP");
            *held.pointer_mut(path).unwrap() = value;
            service_leads_as(&serde_json::from_value(held).unwrap(), &wanted)
        };
        assert!(leads_with("/spec/type", json!("LoadBalancer")));
        for (path, value) in [
            ("/spec/selector", json!({"app": "web"})),
            ("/spec/selector", Value::Null),
            ("/spec/ports/0/port", json!(80)),
            ("/spec/ports/0/targetPort", json!("http")),
            ("/spec/ports", json!([])),
        ] {
            assert!(!leads_with(path, value), "{path}");
        }
    }

    #[test]
    fn addresses_have_no_host() {
        for address in ["192.0.2.7", "2001:db8::7"] {
            let (_, ingress) = made(&challenge(address, json!({"ingress": {}})));
            assert_eq!(ingress["spec"]["rules"][0].get("host"), None, "{address}");
        }
    }

    #[test]
    fn flags_reach_the_objects() {
        let extra = [("team", "web"), ("acme.cert-manager.io/http-token", "7")];
        let options = SolverOptions {
            extra_labels: extra.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            exact_path: false,
            ..SolverOptions::default()
        };
        let challenge = challenge("example.com", json!({"ingress": {}}));
        let ingress = json!(ingress(&challenge, "n", &options));
        assert_eq!(ingress["spec"]["rules"][0]["http"]["paths"][0]["pathType"], "ImplementationSpecific");
        for labels in [&ingress["metadata"]["labels"], &json!(service(&challenge, "n", &options))["metadata"]["labels"]]
        {
            assert_eq!(labels["team"], "web");
            assert_eq!(labels["acme.cert-manager.io/http-token"], "232850143");
        }
    }

    #[test]
    fn what_cannot_be_made_is_said() {
        for (http01, part) in [
            (Value::Null, "no http01 part"),
            (json!({}), "neither ingress nor gatewayHTTPRoute"),
            (json!({"gatewayHTTPRoute": {}}), "no parentRefs"),
            (json!({"ingress": {"class": "a", "ingressClassName": "b"}}), "more than one of"),
            (json!({"ingress": {"name": "www", "ingressClassName": "b"}}), "more than one of"),
        ] {
            let sentence = unsupported(&challenge("example.com", http01)).unwrap();
            assert!(sentence.contains(part) && sentence.ends_with('.'), "{sentence}");
        }
        for http01 in [
            json!({"ingress": {}}),
            json!({"gatewayHTTPRoute": {"parentRefs": [{"name": "edge"}]}}),
            json!({"ingress": {"name": "", "class": "", "ingressClassName": "b"}}),
        ] {
            assert_eq!(unsupported(&challenge("example.com", http01)), None);
        }
        let mut odd = challenge("example.com", json!({"ingress": {}}));
        odd.spec.token = "../admin".into();
        assert!(unsupported(&odd).unwrap().contains("token"));
    }
}
