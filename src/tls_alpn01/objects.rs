//! The Pod, Service and TLSRoute that answer one Challenge, as they are wanted.
//!
//! Pod and Service are those of HTTP-01 with the same labels, port and settings, so that network policies and templates
//! made for the one fit the other. Only the label of the token differs, which keeps cert-manager from taking the Pod for
//! one that answers over HTTP.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerPort, Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::json;

use super::{PORT, server_name};
use crate::api::Challenge;
use crate::api::names::{GATEWAY_GROUP, KIND_TLS_ROUTE, challenge_type};
use crate::api::solver::{Http01GatewayHttpRoute, Http01Ingress};
pub use crate::http01::objects::{SolverOptions, TemplateError};
use crate::http01::route::hangs_and_leads_as;
pub use crate::http01::route::rejection;
use crate::http01::{SOLVER_PORT, objects as http01};

/// Versions of the TLSRoute kind, the newest first. Clusters serve one or two of them: the first since Gateway API 1.5,
/// the last up to that.
pub const ROUTE_VERSIONS: [&str; 3] = ["v1", "v1alpha3", "v1alpha2"];

/// Name of the port in Pod and Service.
const PORT_NAME: &str = "tls";

/// How TLSRoutes of this version are reached.
pub fn route_resource(version: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GATEWAY_GROUP, version, KIND_TLS_ROUTE), "tlsroutes")
}

/// Why nothing can be made for the Challenge, in one sentence; `None` if [`pod`], [`service`] and [`route`] suit it.
pub fn unsupported(challenge: &Challenge) -> Option<String> {
    let has_gateway = gateway(challenge).is_some_and(|gateway| !gateway.parent_refs.is_empty());
    (!has_gateway).then(|| {
        "The solver has no http01.gatewayHTTPRoute with parentRefs, so nothing can lead the CA to its TLS server."
            .into()
    })
}

/// The Pod that runs the solver's server.
///
/// Fails if the solver's podTemplate cannot be a part of a Pod.
pub fn pod(challenge: &Challenge, name: &str, options: &SolverOptions) -> Result<Pod, TemplateError> {
    let mut pod = http01::pod(&over_http(challenge), name, options)?;
    for container in pod.spec.iter_mut().flat_map(|spec| &mut spec.containers) {
        container.args = Some(vec![
            "acmesolver".into(),
            format!("--challenge-type={}", challenge_type::ACME_TLS_ALPN01),
            format!("--listen-port={SOLVER_PORT}"),
            format!("--domain={}", challenge.spec.dns_name),
            format!("--token={}", challenge.spec.token),
            format!("--key={}", challenge.spec.key.expose()),
        ]);
        container.ports = Some(vec![ContainerPort {
            name: Some(PORT_NAME.into()),
            container_port: SOLVER_PORT.into(),
            ..ContainerPort::default()
        }]);
    }
    Ok(pod)
}

/// The Service in front of the Pod, on the port that CAs ask.
pub fn service(challenge: &Challenge, name: &str, options: &SolverOptions) -> Service {
    let mut service = http01::service(&over_http(challenge), name, options);
    if let Some(spec) = &mut service.spec {
        spec.ports = Some(vec![ServicePort {
            name: Some(PORT_NAME.into()),
            port: PORT.into(),
            target_port: Some(IntOrString::Int(SOLVER_PORT.into())),
            ..ServicePort::default()
        }]);
    }
    service
}

/// The TLSRoute that leads handshakes for the name to the Service of the same name, unopened.
pub fn route(challenge: &Challenge, name: &str, options: &SolverOptions, version: &str) -> DynamicObject {
    let mut metadata = http01::metadata(&over_http(challenge), name, options);
    let found_by = http01::labels(&over_http(challenge));
    let gateway = gateway(challenge).cloned().unwrap_or_default();
    let labels = metadata.labels.get_or_insert_default();
    labels.extend(gateway.labels);
    labels.extend(found_by);
    let backend = json!({"name": name, "port": PORT});
    let spec = json!({
        "parentRefs": gateway.parent_refs,
        "hostnames": [server_name(&challenge.spec.dns_name)],
        "rules": [{"backendRefs": [backend]}],
    });
    let mut route = DynamicObject::new(name, &route_resource(version)).data(json!({"spec": spec}));
    route.metadata = metadata;
    route
}

/// Whether the route, as it was read, leads to where it is wanted: somebody may have edited it. What others have added is no matter.
pub fn leads_as(route: &DynamicObject, wanted: &DynamicObject) -> bool {
    route.data["spec"]["hostnames"] == wanted.data["spec"]["hostnames"] && hangs_and_leads_as(route, wanted)
}

/// Since when a Challenge with these solver Pods is being answered; `None` if it is not, or not any more.
pub fn begun(pods: &[Arc<Pod>]) -> Option<Timestamp> {
    let staying = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    staying.filter_map(|pod| pod.metadata.creation_timestamp.as_ref()).map(|at| at.0).min()
}

fn gateway(challenge: &Challenge) -> Option<&Http01GatewayHttpRoute> {
    challenge.spec.solver.http01.as_ref()?.gateway_http_route.as_ref()
}

/// The same Challenge as the makers of HTTP-01's objects understand it: with the settings where those look for them, and
/// with another token, from which a label is made.
fn over_http(challenge: &Challenge) -> Challenge {
    let mut stand_in = challenge.clone();
    let gateway = gateway(challenge).cloned().unwrap_or_default();
    stand_in.spec.token = format!("{}/{}", challenge_type::ACME_TLS_ALPN01, challenge.spec.token);
    stand_in.spec.solver.http01.get_or_insert_default().ingress = Some(Http01Ingress {
        service_type: gateway.service_type,
        pod_template: gateway.pod_template,
        ..Http01Ingress::default()
    });
    stand_in
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::api::ChallengeSpec;

    fn challenge(dns_name: &str, gateway: &Value) -> Challenge {
        let spec = ChallengeSpec {
            dns_name: dns_name.into(),
            token: "tok-en_1".into(),
            key: "tok-en_1.print".into(),
            type_: "HTTP-01".into(),
            solver: serde_json::from_value(json!({"http01": {"gatewayHTTPRoute": gateway}})).unwrap(),
            ..ChallengeSpec::default()
        };
        let mut challenge = Challenge::new("www-1-2", spec);
        challenge.metadata.namespace = Some("shop".into());
        challenge.metadata.uid = Some("0f1e".into());
        challenge
    }

    fn plain() -> Challenge {
        challenge("www.example.com", &json!({"parentRefs": [{"name": "edge", "namespace": "gateways"}]}))
    }

    fn made(challenge: &Challenge) -> (Value, Value, Value) {
        let options = SolverOptions { image: "registry.example/certwright:1".into(), ..SolverOptions::default() };
        let name = "cm-acme-http-solver-1";
        let pod = pod(challenge, name, &options).unwrap();
        let service = service(challenge, name, &options);
        (json!(pod), json!(service), json!(route(challenge, name, &options, "v1")))
    }

    #[test]
    fn the_pod_differs_from_that_of_http01_in_mode_and_label() {
        let (pod, _, _) = made(&plain());
        let options = SolverOptions { image: "registry.example/certwright:1".into(), ..SolverOptions::default() };
        let mut wanted = json!(http01::pod(&plain(), "cm-acme-http-solver-1", &options).unwrap());
        wanted["spec"]["containers"][0]["args"] = json!([
            "acmesolver",
            "--challenge-type=tls-alpn-01",
            "--listen-port=8089",
            "--domain=www.example.com",
            "--token=tok-en_1",
            "--key=tok-en_1.print",
        ]);
        wanted["spec"]["containers"][0]["ports"] = json!([{"name": "tls", "containerPort": 8089}]);
        let token = &pod["metadata"]["labels"]["acme.cert-manager.io/http-token"];
        let theirs = &mut wanted["metadata"]["labels"]["acme.cert-manager.io/http-token"];
        assert_ne!(token, theirs);
        *theirs = token.clone();
        assert_eq!(pod, wanted);
    }

    #[test]
    fn service_and_route_lead_to_the_pod() {
        let (pod, service, route) = made(&plain());
        assert_eq!(service["spec"]["selector"], pod["metadata"]["labels"]);
        assert_eq!(service["spec"]["ports"], json!([{"name": "tls", "port": 443, "targetPort": 8089}]));
        assert_eq!(service["spec"]["type"], "NodePort");
        let spec = json!({
            "parentRefs": [{"name": "edge", "namespace": "gateways"}],
            "hostnames": ["www.example.com"],
            "rules": [{"backendRefs": [{"name": service["metadata"]["name"], "port": 443}]}],
        });
        assert_eq!(route["spec"], spec);
        assert_eq!(
            (&route["apiVersion"], &route["kind"]),
            (&json!("gateway.networking.k8s.io/v1"), &json!("TLSRoute"))
        );
        for object in [&service, &route] {
            assert_eq!(object["metadata"]["ownerReferences"], pod["metadata"]["ownerReferences"]);
            assert_eq!(object["metadata"]["labels"], pod["metadata"]["labels"]);
        }
    }

    #[test]
    fn settings_reach_the_objects() {
        let (pod, service, route) = made(&challenge(
            "192.0.2.7",
            &json!({
                "serviceType": "ClusterIP",
                "labels": {"team": "web", "acme.cert-manager.io/http01-solver": "false"},
                "parentRefs": [{"name": "edge", "sectionName": "tls", "port": 443}],
                "podTemplate": {"metadata": {"labels": {"zone": "a"}}, "spec": {"priorityClassName": "high"}},
            }),
        ));
        assert_eq!(
            (&pod["metadata"]["labels"]["zone"], &pod["spec"]["priorityClassName"]),
            (&json!("a"), &json!("high"))
        );
        assert_eq!(service["spec"]["type"], "ClusterIP");
        assert_eq!(route["metadata"]["labels"]["team"], "web");
        assert_eq!(route["metadata"]["labels"]["acme.cert-manager.io/http01-solver"], "true");
        assert_eq!(route["spec"]["parentRefs"], json!([{"name": "edge", "sectionName": "tls", "port": 443}]));
        assert_eq!(route["spec"]["hostnames"], json!(["7.2.0.192.in-addr.arpa"]));
    }

    #[test]
    fn a_route_that_somebody_edited_is_seen() {
        let wanted = route(&plain(), "n", &SolverOptions::default(), "v1");
        let leads_with = |path: &str, value: Value| {
            let mut held = wanted.clone();
            held.data["spec"]["rules"][0]["backendRefs"][0]["weight"] = json!(1);
            *held.data.pointer_mut(path).unwrap() = value;
            leads_as(&held, &wanted)
        };
        assert!(leads_with("/spec/rules/0/backendRefs/0/weight", json!(5)));
        for (path, value) in [
            ("/spec/hostnames", json!(["other.example.com"])),
            ("/spec/parentRefs/0/name", json!("other")),
            ("/spec/rules/0/backendRefs/0/name", json!("other")),
            ("/spec/rules/0/backendRefs/0/port", json!(8443)),
        ] {
            assert!(!leads_with(path, value), "{path}");
        }
    }

    #[test]
    fn what_cannot_be_made_is_said() {
        assert_eq!(unsupported(&plain()), None);
        let mut by_ingress = plain();
        by_ingress.spec.solver = serde_json::from_value(json!({"http01": {"ingress": {}}})).unwrap();
        for other in [challenge("a.example", &json!({"parentRefs": []})), by_ingress] {
            assert!(unsupported(&other).unwrap().contains("parentRefs"));
        }
    }
}
