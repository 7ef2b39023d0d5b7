//! The endpoints of a Service that leads to the controller itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};

use super::objects::{PORT, SolverOptions, metadata};
use crate::api::Challenge;

/// The label that ties an EndpointSlice to its Service (Kubernetes well-known labels).
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The label by which other controllers know that a slice is not theirs.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// Replicas beyond so many are not needed to answer.
const MOST_ADDRESSES: usize = 100;

/// The EndpointSlice of the Service of the same name, with the addresses at which the controller's replicas answer. They are of one
/// family.
pub fn endpoints(
    challenge: &Challenge,
    name: &str,
    options: &SolverOptions,
    addresses: &BTreeSet<IpAddr>,
) -> EndpointSlice {
    let mut metadata = metadata(challenge, name, options);
    let ties = [(SERVICE_NAME, name), (MANAGED_BY, "certwright.dev")];
    let ties = ties.map(|(key, value)| (key.to_owned(), value.to_owned()));
    metadata.labels.get_or_insert_default().extend(BTreeMap::from(ties));
    let endpoint = |address: &IpAddr| Endpoint {
        addresses: vec![address.to_string()],
        conditions: Some(EndpointConditions { ready: Some(true), serving: Some(true), terminating: Some(false) }),
        ..Endpoint::default()
    };
    EndpointSlice {
        metadata,
        address_type: family(addresses.iter().all(IpAddr::is_ipv4)).into(),
        endpoints: addresses.iter().map(endpoint).collect(),
        ports: Some(vec![EndpointPort {
            name: Some("http".into()),
            port: Some(PORT),
            protocol: Some("TCP".into()),
            app_protocol: None,
        }]),
    }
}

/// The label by which the EndpointSlices of a Service are found.
pub fn of_service(service: &str) -> String {
    format!("{SERVICE_NAME}={service}")
}

/// The own address and those of other replicas of its family that are ready, as the slices of the controller's Service tell them.
pub fn with_replicas(own: IpAddr, slices: &[EndpointSlice]) -> BTreeSet<IpAddr> {
    let same_family = slices.iter().filter(|slice| slice.address_type == family(own.is_ipv4()));
    let mut found: BTreeSet<_> = ready(same_family).take(MOST_ADDRESSES).collect();
    found.insert(own);
    found
}

/// Whether a slice leads to where it is wanted: somebody may have edited it. What others have added is no matter.
pub fn leads_as(held: &EndpointSlice, wanted: &EndpointSlice) -> bool {
    let service = |slice: &EndpointSlice| slice.metadata.labels.as_ref().and_then(|all| all.get(SERVICE_NAME)).cloned();
    let addresses = |slice| ready([slice].into_iter()).collect::<BTreeSet<_>>();
    held.address_type == wanted.address_type
        && addresses(held) == addresses(wanted)
        && held.ports == wanted.ports
        && service(held) == service(wanted)
}

fn ready<'a>(slices: impl Iterator<Item = &'a EndpointSlice>) -> impl Iterator<Item = IpAddr> {
    let is_ready = |endpoint: &&Endpoint| endpoint.conditions.as_ref().is_none_or(|told| told.ready != Some(false));
    let addresses = slices.flat_map(|slice| &slice.endpoints).filter(is_ready).flat_map(|ready| &ready.addresses);
    addresses.filter_map(|address| address.parse().ok())
}

fn family(is_ipv4: bool) -> &'static str {
    if is_ipv4 { "IPv4" } else { "IPv6" }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::super::objects::service;
    use super::super::objects::tests::challenge;
    use super::*;
    use crate::api::names::{annotation, http01_solver};

    fn one(address: &str) -> BTreeSet<IpAddr> {
        BTreeSet::from([address.parse().unwrap()])
    }

    #[test]
    fn ready_replicas_answer_too() {
        let slice = |family: &str, endpoints: serde_json::Value| {
            let value = json!({"addressType": family, "endpoints": endpoints, "metadata": {}});
            serde_json::from_value::<EndpointSlice>(value).unwrap()
        };
        let slices = [
            slice(
                "IPv4",
                json!([
                    {"addresses": ["10.0.0.7"], "conditions": {"ready": false}},
                    {"addresses": ["10.0.0.8"], "conditions": {"ready": true}},
                    {"addresses": ["10.0.0.9"], "conditions": {"ready": false, "serving": true, "terminating": true}},
                    {"addresses": ["10.0.0.10"]},
                ]),
            ),
            slice("IPv6", json!([{"addresses": ["2001:db8::8"]}])),
            slice("FQDN", json!([{"addresses": ["www.example.com"]}])),
        ];
        let found = with_replicas("10.0.0.7".parse().unwrap(), &slices);
        let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["10.0.0.7", "10.0.0.8", "10.0.0.10"]);
        assert_eq!(with_replicas("10.0.0.7".parse().unwrap(), &[]), one("10.0.0.7"));
        let challenge = challenge("example.com", json!({"ingress": {}}));
        let made = endpoints(&challenge, "n", &SolverOptions::default(), &found);
        assert_eq!(ready([made].iter()).collect::<BTreeSet<_>>(), found);
    }

    #[test]
    fn what_somebody_edited_is_seen() {
        let challenge = challenge("example.com", json!({"ingress": {}}));
        let wanted = endpoints(&challenge, "n", &SolverOptions::default(), &one("10.0.0.7"));
        let leads_with = |path: &str, value: serde_json::Value| {
            let mut held = json!(wanted);
            *held.pointer_mut(path).unwrap() = value;
            leads_as(&serde_json::from_value(held).unwrap(), &wanted)
        };
        assert!(leads_as(&wanted, &wanted));
        assert!(leads_with("/metadata/labels/acme.cert-manager.io~1http01-solver", json!("edited")), "no matter here");
        for (path, value) in [
            ("/metadata/labels/kubernetes.io~1service-name", json!("other")),
            ("/ports/0/port", json!(80)),
            ("/ports", json!([])),
            ("/endpoints/0/addresses", json!(["10.0.0.8"])),
            ("/endpoints/0/conditions/ready", json!(false)),
            ("/endpoints", json!([])),
            ("/addressType", json!("IPv6")),
        ] {
            assert!(!leads_with(path, value), "{path}");
        }
    }

    #[test]
    fn they_belong_to_the_service_and_hold_the_own_address() {
        let mut challenge = challenge("example.com", json!({"ingress": {}}));
        let mark = (annotation::HTTP01_SOLVER.to_owned(), http01_solver::CONTROLLER.to_owned());
        challenge.metadata.annotations = Some(BTreeMap::from([mark]));
        let options = SolverOptions::default();
        let service = json!(service(&challenge, "cm-acme-http-solver-1", &options));
        assert_eq!(service["spec"].get("selector"), None);
        let slice = json!(endpoints(&challenge, "cm-acme-http-solver-1", &options, &one("10.0.0.7")));
        assert_eq!(slice["metadata"]["labels"]["kubernetes.io/service-name"], service["metadata"]["name"]);
        assert_eq!(slice["metadata"]["ownerReferences"], service["metadata"]["ownerReferences"]);
        assert_eq!(slice["addressType"], "IPv4");
        assert_eq!(slice["endpoints"][0]["addresses"], json!(["10.0.0.7"]));
        assert_eq!(slice["ports"], json!([{"name": "http", "port": 8089, "protocol": "TCP"}]));
        let slice = json!(endpoints(&challenge, "n", &options, &one("2001:db8::7")));
        assert_eq!(slice["addressType"], "IPv6");
    }
}
