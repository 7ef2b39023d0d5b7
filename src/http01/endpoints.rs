//! The endpoints of a Service that leads to the controller itself.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};

use super::objects::{PORT, SolverOptions, metadata};
use crate::api::Challenge;

/// The label that ties an EndpointSlice to its Service (Kubernetes well-known labels).
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The label by which other controllers know that a slice is not theirs.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// The EndpointSlice of the Service of the same name, with the controller's own address.
pub fn endpoints(challenge: &Challenge, name: &str, options: &SolverOptions, own: IpAddr) -> EndpointSlice {
    let mut metadata = metadata(challenge, name, options);
    let ties = [(SERVICE_NAME, name), (MANAGED_BY, "certwright.dev")];
    let ties = ties.map(|(key, value)| (key.to_owned(), value.to_owned()));
    metadata.labels.get_or_insert_default().extend(BTreeMap::from(ties));
    let conditions = EndpointConditions { ready: Some(true), serving: Some(true), terminating: Some(false) };
    EndpointSlice {
        metadata,
        address_type: if own.is_ipv4() { "IPv4" } else { "IPv6" }.into(),
        endpoints: vec![Endpoint {
            addresses: vec![own.to_string()],
            conditions: Some(conditions),
            ..Endpoint::default()
        }],
        ports: Some(vec![EndpointPort {
            name: Some("http".into()),
            port: Some(PORT),
            protocol: Some("TCP".into()),
            app_protocol: None,
        }]),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::super::objects::service;
    use super::super::objects::tests::challenge;
    use super::*;
    use crate::api::names::{annotation, http01_solver};

    #[test]
    fn they_belong_to_the_service_and_hold_the_own_address() {
        let mut challenge = challenge("example.com", json!({"ingress": {}}));
        let mark = (annotation::HTTP01_SOLVER.to_owned(), http01_solver::CONTROLLER.to_owned());
        challenge.metadata.annotations = Some(BTreeMap::from([mark]));
        let options = SolverOptions::default();
        let service = json!(service(&challenge, "cm-acme-http-solver-1", &options));
        assert_eq!(service["spec"].get("selector"), None);
        let slice = json!(endpoints(&challenge, "cm-acme-http-solver-1", &options, "10.0.0.7".parse().unwrap()));
        assert_eq!(slice["metadata"]["labels"]["kubernetes.io/service-name"], service["metadata"]["name"]);
        assert_eq!(slice["metadata"]["ownerReferences"], service["metadata"]["ownerReferences"]);
        assert_eq!(slice["addressType"], "IPv4");
        assert_eq!(slice["endpoints"][0]["addresses"], json!(["10.0.0.7"]));
        assert_eq!(slice["ports"], json!([{"name": "http", "port": 8089, "protocol": "TCP"}]));
        let slice = json!(endpoints(&challenge, "n", &options, "2001:db8::7".parse().unwrap()));
        assert_eq!(slice["addressType"], "IPv6");
    }
}
