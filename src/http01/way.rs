//! What objects say of the places that lead to a solver within the cluster.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::Value;

use super::check::Way;

/// The label on what a Gateway's controller makes for it (Gateway API, GEP-1762).
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
/// Where CAs ask.
pub const HTTP: u16 = 80;

/// Selects what was made for the Gateway.
pub fn gateway_selector(name: &str) -> String {
    format!("{GATEWAY_NAME}={name}")
}

/// The addresses that a Gateway has: IP addresses and host names.
pub fn gateway_addresses(gateway: &DynamicObject) -> Vec<String> {
    let listed = gateway.data.pointer("/status/addresses").and_then(Value::as_array).into_iter().flatten();
    listed.filter_map(|address| address["value"].as_str()).map(str::to_owned).collect()
}

/// The same of an Ingress, given as its fields.
pub fn ingress_addresses(ingress: &Value) -> Vec<String> {
    let listed = ingress.pointer("/status/loadBalancer/ingress").and_then(Value::as_array).into_iter().flatten();
    listed.filter_map(|place| place["ip"].as_str().or(place["hostname"].as_str())).map(str::to_owned).collect()
}

/// Whether one of these addresses is that of the Service's load balancer.
pub fn is_behind(service: &Service, addresses: &[String]) -> bool {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let mut places = status.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    places.any(|place| [&place.ip, &place.hostname].into_iter().flatten().any(|own| addresses.contains(own)))
}

/// The Service by its address within the cluster, if it takes what CAs ask, or else what comes for the listener at `port`.
pub fn of_service(service: &Service, port: u16) -> Option<Way> {
    let spec = service.spec.as_ref()?;
    let has = |wanted: &u16| spec.ports.iter().flatten().any(|port| port.port == i32::from(*wanted));
    let port = [HTTP, port].into_iter().find(has)?;
    let address: IpAddr = spec.cluster_ip.as_ref()?.parse().ok()?;
    let name = format!("the Service {}/{}", service.namespace().unwrap_or_default(), service.name_any());
    Some(Way { address, port, name })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(cluster_ip: &str, port: i32) -> Service {
        serde_json::from_value(json!({
            "metadata": { "namespace": "edge", "name": "envoy" },
            "spec": { "clusterIP": cluster_ip, "ports": [{ "port": 443 }, { "port": port }] },
            "status": { "loadBalancer": { "ingress": [{ "ip": "203.0.113.7" }, { "hostname": "lb.example" }] } },
        }))
        .unwrap()
    }

    #[test]
    fn a_service_behind_an_address_is_asked_by_its_own() {
        let way = |port| Some(Way { address: [10, 96, 0, 7].into(), port, name: "the Service edge/envoy".into() });
        // Listeners may have another port within than the one at which the world asks.
        for (port, listener, expected) in
            [(80, 80, way(80)), (80, 8080, way(80)), (8080, 8080, way(8080)), (8080, 80, None)]
        {
            assert_eq!(of_service(&service("10.96.0.7", port), listener), expected, "{port} {listener}");
        }
        for cluster_ip in ["None", ""] {
            assert_eq!(of_service(&service(cluster_ip, 80), 80), None, "{cluster_ip}");
        }
        for (address, is_its) in [("203.0.113.7", true), ("lb.example", true), ("203.0.113.70", false)] {
            assert_eq!(is_behind(&service("10.96.0.7", 80), &[address.into()]), is_its, "{address}");
        }
        assert!(!is_behind(&Service::default(), &["203.0.113.7".into()]));
    }

    #[test]
    fn addresses_are_read_from_the_status() {
        let ingress = json!({ "status": { "loadBalancer": { "ingress": [
            { "ip": "203.0.113.7" }, { "hostname": "lb.example" }, { "ports": [] },
        ] } } });
        assert_eq!(ingress_addresses(&ingress), ["203.0.113.7", "lb.example"]);
        assert_eq!(ingress_addresses(&json!({ "status": {} })), [""; 0]);
        let mut gateway: DynamicObject = serde_json::from_value(json!({ "metadata": { "name": "edge" } })).unwrap();
        assert_eq!(gateway_addresses(&gateway), [""; 0]);
        gateway.data = json!({ "status": { "addresses": [
            { "type": "IPAddress", "value": "203.0.113.7" }, { "type": "Hostname", "value": "lb.example" },
        ] } });
        assert_eq!(gateway_addresses(&gateway), ["203.0.113.7", "lb.example"]);
    }
}
