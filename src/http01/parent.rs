//! What the route of a challenge is to hang on: Gateways, and ListenerSets of others that add listeners to a Gateway.

use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::Value;

use super::listener_set::{self, SetKind};
use super::route::gateway;
use super::way::HTTP;
use crate::api::Challenge;
use crate::api::names::GATEWAY_GROUP;

/// So many of a route's parents are looked at.
const MOST_PARENTS: usize = 4;

/// One of them, and which of its listeners are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// None if it is a Gateway.
    pub set: Option<&'static SetKind>,
    pub namespace: String,
    pub name: String,
    /// Name of a listener; all unless set.
    pub section: Option<String>,
    /// Port of the listeners; all unless set.
    pub port: Option<i32>,
}

/// The parents of the challenge's route that are known kinds, in their order.
pub fn parents(challenge: &Challenge) -> Vec<Parent> {
    let listed = gateway(challenge).map(|gateway| gateway.parent_refs.as_slice()).unwrap_or_default();
    let known = listed.iter().filter_map(|parent| {
        let group = parent.group.as_deref().unwrap_or(GATEWAY_GROUP);
        let kind = parent.kind.as_deref().unwrap_or("Gateway");
        let set = listener_set::kind(group, kind);
        (set.is_some() || (group, kind) == (GATEWAY_GROUP, "Gateway")).then(|| Parent {
            set,
            namespace: parent.namespace.clone().or_else(|| challenge.namespace()).unwrap_or_default(),
            name: parent.name.clone(),
            section: parent.section_name.clone(),
            port: parent.port,
        })
    });
    known.take(MOST_PARENTS).collect()
}

impl Parent {
    /// The port of the listeners that are meant, as far as they speak HTTP: the one that CAs ask if it is among them.
    pub fn listener_port(&self, object: &DynamicObject) -> u16 {
        let listeners = object.data.pointer("/spec/listeners").and_then(Value::as_array).into_iter().flatten();
        let port = |listener: &Value| listener["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        let is_meant = |listener: &&Value| {
            listener["protocol"] == "HTTP"
                && self.section.as_ref().is_none_or(|section| listener["name"] == **section)
                && self.port.is_none_or(|wanted| port(listener).map(i32::from) == Some(wanted))
        };
        let ports: Vec<u16> = listeners.filter(is_meant).filter_map(port).collect();
        if ports.contains(&HTTP) { HTTP } else { ports.first().copied().unwrap_or(HTTP) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::super::objects::tests::challenge;
    use super::*;

    fn of(listed: &Value) -> Vec<Parent> {
        parents(&challenge("example.com", json!({ "gatewayHTTPRoute": { "parentRefs": listed } })))
    }

    #[test]
    fn gateways_and_listener_sets_are_known() {
        let found = of(&json!([
            { "name": "a", "group": "example.com", "kind": "Gateway" },
            { "name": "b", "kind": "Service", "group": "" },
            { "name": "c", "namespace": "gateways", "sectionName": "http" },
            { "name": "d", "group": "gateway.networking.k8s.io", "kind": "ListenerSet", "port": 8080 },
            { "name": "e", "group": "gateway.networking.x-k8s.io", "kind": "XListenerSet" },
        ]));
        let told: Vec<_> = found
            .iter()
            .map(|parent| (parent.set.map(|set| set.kind), format!("{}/{}", parent.namespace, parent.name)))
            .collect();
        let expected = [(None, "gateways/c"), (Some("ListenerSet"), "shop/d"), (Some("XListenerSet"), "shop/e")];
        assert_eq!(told, expected.map(|(set, name)| (set, name.to_owned())));
        assert_eq!((found[0].section.as_deref(), found[1].port), (Some("http"), Some(8080)));
        assert_eq!(parents(&challenge("example.com", json!({ "ingress": {} }))), []);
        let many: Vec<_> = (0..9).map(|number| json!({ "name": format!("n{number}") })).collect();
        assert_eq!(of(&json!(many)).len(), MOST_PARENTS);
    }

    #[test]
    fn the_port_is_that_of_the_listeners_that_are_meant() {
        let mut object: DynamicObject = serde_json::from_value(json!({ "metadata": { "name": "edge" } })).unwrap();
        let meant = |object: &DynamicObject, parent: Value| of(&json!([parent]))[0].listener_port(object);
        assert_eq!(meant(&object, json!({ "name": "edge" })), 80, "one that cannot be read");
        object.data = json!({ "spec": { "listeners": [
            { "name": "tls", "port": 443, "protocol": "HTTPS" }, { "name": "other", "port": 8080, "protocol": "HTTP" },
            { "name": "more", "port": 8081, "protocol": "HTTP" },
        ] } });
        for (parent, port) in [
            (json!({ "name": "edge" }), 8080),
            (json!({ "name": "edge", "sectionName": "more" }), 8081),
            (json!({ "name": "edge", "port": 8081 }), 8081),
            (json!({ "name": "edge", "sectionName": "tls" }), 80),
        ] {
            assert_eq!(meant(&object, parent.clone()), port, "{parent}");
        }
        let listeners = object.data["spec"]["listeners"].as_array_mut().unwrap();
        listeners.push(json!({ "name": "usual", "port": 80, "protocol": "HTTP" }));
        assert_eq!(meant(&object, json!({ "name": "edge" })), 80);
        assert_eq!(meant(&object, json!({ "name": "edge", "sectionName": "other" })), 8080);
    }
}
