//! The HTTPRoute that leads one challenge's path to its Service, through a Gateway (Gateway API).

use std::net::IpAddr;

use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};

use super::SOLVER_PORT;
use super::objects::{SolverOptions, labels, metadata};
use crate::api::Challenge;
use crate::api::names::{GATEWAY_GROUP, KIND_HTTP_ROUTE};
use crate::api::solver::Http01GatewayHttpRoute;

/// Versions of the kinds HTTPRoute and Gateway, the newest first.
pub const VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// How HTTPRoutes of this version are reached.
pub fn resource(version: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GATEWAY_GROUP, version, KIND_HTTP_ROUTE), "httproutes")
}

/// How Gateways of this version are reached.
pub fn gateway_resource(version: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(GATEWAY_GROUP, version, "Gateway"))
}

/// The settings of a solver that leads through a Gateway.
pub fn gateway(challenge: &Challenge) -> Option<&Http01GatewayHttpRoute> {
    challenge.spec.solver.http01.as_ref()?.gateway_http_route.as_ref()
}

/// The HTTPRoute that leads the challenge's path to the Service of the same name.
pub fn route(challenge: &Challenge, name: &str, options: &SolverOptions, version: &str) -> DynamicObject {
    let mut metadata = metadata(challenge, name, options);
    let gateway = gateway(challenge).cloned().unwrap_or_default();
    let all = metadata.labels.get_or_insert_default();
    all.extend(gateway.labels);
    all.extend(labels(challenge));
    let path = json!({"type": "Exact", "value": super::path(&challenge.spec.token)});
    let backend = json!({"name": name, "port": SOLVER_PORT, "weight": 1});
    let mut spec = json!({
        "parentRefs": gateway.parent_refs,
        "rules": [{"matches": [{"path": path}], "backendRefs": [backend]}],
    });
    // A hostname must be a name; without one the route is for all that the listener takes.
    if challenge.spec.dns_name.parse::<IpAddr>().is_err() {
        spec["hostnames"] = Value::from(vec![challenge.spec.dns_name.clone()]);
    }
    let mut route = DynamicObject::new(name, &resource(version)).data(json!({"spec": spec}));
    route.metadata = metadata;
    route
}

/// Why no Gateway takes the route, in words of its controller; `None` if one does, or if none has said anything.
pub fn rejection(route: &DynamicObject) -> Option<String> {
    let parents = route.data["status"]["parents"].as_array()?;
    let mut rejected = None;
    for parent in parents {
        let conditions = parent["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let refusal = conditions.iter().find(|condition| {
            matches!(condition["type"].as_str(), Some("Accepted" | "ResolvedRefs")) && condition["status"] == "False"
        });
        match refusal {
            None if !conditions.is_empty() => return None,
            None => {}
            Some(condition) => {
                let gateway = parent["parentRef"]["name"].as_str().unwrap_or_default();
                let reason = condition["reason"].as_str().unwrap_or("without a reason");
                rejected = rejected.or_else(|| Some(format!("the Gateway {gateway:?} does not take it ({reason})")));
            }
        }
    }
    rejected
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::objects::tests::challenge;
    use super::*;

    fn made(name: &str) -> DynamicObject {
        let parents = json!([{"name": "edge", "namespace": "gateways"}]);
        let solver = json!({"gatewayHTTPRoute": {"labels": {"team": "web"}, "parentRefs": parents}});
        route(&challenge(name, solver), "cm-acme-http-solver-1", &SolverOptions::default(), "v1")
    }

    #[test]
    fn one_path_of_one_name_leads_to_the_service() {
        let route = json!(made("example.com"));
        assert_eq!(route["apiVersion"], "gateway.networking.k8s.io/v1");
        assert_eq!(route["metadata"]["labels"]["team"], "web");
        assert_eq!(route["metadata"]["labels"]["acme.cert-manager.io/http01-solver"], "true");
        assert_eq!(
            route["spec"],
            json!({
                "parentRefs": [{"name": "edge", "namespace": "gateways"}],
                "hostnames": ["example.com"],
                "rules": [{
                    "matches": [{"path": {"type": "Exact", "value": "/.well-known/acme-challenge/tok-en_1"}}],
                    "backendRefs": [{"name": "cm-acme-http-solver-1", "port": 8089, "weight": 1}],
                }],
            })
        );
        assert_eq!(json!(made("192.0.2.7"))["spec"].get("hostnames"), None);
    }

    #[test]
    fn what_gateways_say_of_the_route_is_read() {
        let said = |parents: &Value| {
            let mut route = made("example.com");
            route.data["status"] = json!({"parents": parents});
            rejection(&route)
        };
        let says = |name: &str, type_: &str, status: &str| {
            let condition = json!({"type": type_, "status": status, "reason": "NoMatchingListenerHostname"});
            json!({"parentRef": {"name": name}, "conditions": [condition]})
        };
        let refusal = "the Gateway \"edge\" does not take it (NoMatchingListenerHostname)".to_owned();
        assert_eq!(said(&Value::Null), None);
        assert_eq!(said(&json!([{"parentRef": {"name": "edge"}}])), None);
        assert_eq!(said(&json!([says("edge", "Accepted", "True")])), None);
        assert_eq!(said(&json!([says("edge", "Accepted", "False")])), Some(refusal.clone()));
        assert_eq!(said(&json!([says("edge", "ResolvedRefs", "False")])), Some(refusal.clone()));
        assert_eq!(said(&json!([says("edge", "Accepted", "False"), says("b", "Accepted", "True")])), None);
        assert_eq!(said(&json!([says("edge", "Accepted", "False"), says("b", "Accepted", "False")])), Some(refusal));
    }
}
