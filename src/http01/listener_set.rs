//! ListenerSets: listeners that others than its owner add to a Gateway (Gateway API, GEP-1713).

use kube::ResourceExt;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value;

use super::check::NoWay;
use crate::api::names::{GATEWAY_EXPERIMENTAL_GROUP, GATEWAY_GROUP};

/// One of the kinds that ListenerSets have had.
#[derive(Debug, PartialEq, Eq)]
pub struct SetKind {
    pub group: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    /// Its versions, the newest first.
    pub versions: &'static [&'static str],
}

const KINDS: [SetKind; 2] = [
    SetKind { group: GATEWAY_GROUP, kind: "ListenerSet", plural: "listenersets", versions: &["v1"] },
    SetKind {
        group: GATEWAY_EXPERIMENTAL_GROUP,
        kind: "XListenerSet",
        plural: "xlistenersets",
        versions: &["v1alpha1"],
    },
];

/// The kind of ListenerSet that this is; `None` if it is another kind.
pub fn kind(group: &str, kind: &str) -> Option<&'static SetKind> {
    KINDS.iter().find(|known| (known.group, known.kind) == (group, kind))
}

impl SetKind {
    /// How objects of this version are reached.
    pub fn resource(&self, version: &str) -> ApiResource {
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(self.group, version, self.kind), self.plural)
    }
}

/// The namespace and name of the Gateway that the ListenerSet adds to.
pub fn gateway_name(set: &DynamicObject) -> Option<(String, String)> {
    let parent = set.data.pointer("/spec/parentRef")?;
    let namespace = parent["namespace"].as_str().map(str::to_owned).or_else(|| set.namespace())?;
    Some((namespace, parent["name"].as_str()?.to_owned()))
}

/// Why nothing comes through the ListenerSet, in words of its status, or by the Gateway's own rules as long as that says nothing.
/// `called` is what messages call the ListenerSet.
pub fn refusal(set: &DynamicObject, gateway: &DynamicObject, called: &str) -> Option<NoWay> {
    let place = format!("the Gateway {}/{}", gateway.namespace().unwrap_or_default(), gateway.name_any());
    let rejected = |reason: &str| {
        let advice = if reason == NOT_ALLOWED {
            format!("; its allowedListeners must admit the namespace {:?}", set.namespace().unwrap_or_default())
        } else {
            String::new()
        };
        NoWay { place: place.clone(), why: format!("does not take {called} ({reason}){advice}") }
    };
    let conditions = set.data.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let accepted = conditions.into_iter().find(|condition| condition["type"] == "Accepted");
    match accepted.and_then(|condition| condition["status"].as_str()) {
        Some("True") => None,
        Some("False") => Some(rejected(accepted.and_then(|it| it["reason"].as_str()).unwrap_or("without a reason"))),
        _ => (!may_admit(gateway, set)).then(|| rejected(NOT_ALLOWED)),
    }
}

/// The reason that Gateways' controllers give.
const NOT_ALLOWED: &str = "NotAllowed";

/// Whether the Gateway's rules leave it open that it admits the ListenerSet: labels of namespaces are not known here.
fn may_admit(gateway: &DynamicObject, set: &DynamicObject) -> bool {
    match gateway.data.pointer("/spec/allowedListeners/namespaces/from").and_then(Value::as_str) {
        None | Some("None") => false,
        Some("Same") => gateway.namespace() == set.namespace(),
        Some(_) => true,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(data: Value) -> DynamicObject {
        let metadata = json!({ "namespace": "shop", "name": "web" });
        let mut object: DynamicObject = serde_json::from_value(json!({ "metadata": metadata })).unwrap();
        object.data = data;
        object
    }

    fn gateway(from: Option<&str>, namespace: &str) -> DynamicObject {
        let metadata = json!({ "namespace": namespace, "name": "public" });
        let mut object: DynamicObject = serde_json::from_value(json!({ "metadata": metadata })).unwrap();
        object.data = match from {
            Some(from) => json!({ "spec": { "allowedListeners": { "namespaces": { "from": from } } } }),
            None => json!({ "spec": {} }),
        };
        object
    }

    #[test]
    fn both_kinds_are_reached_by_their_own_names() {
        let plural = |group, name| kind(group, name).map(|kind| kind.resource(kind.versions[0]).plural);
        assert_eq!(plural("gateway.networking.k8s.io", "ListenerSet").as_deref(), Some("listenersets"));
        assert_eq!(plural("gateway.networking.x-k8s.io", "XListenerSet").as_deref(), Some("xlistenersets"));
        assert_eq!(plural("gateway.networking.k8s.io", "XListenerSet"), None);
        assert_eq!(plural("gateway.networking.k8s.io", "Gateway"), None);
    }

    #[test]
    fn the_gateway_lies_in_the_same_namespace_unless_it_says_otherwise() {
        let of = |parent: Value| gateway_name(&set(json!({ "spec": { "parentRef": parent } })));
        assert_eq!(of(json!({ "name": "public" })), Some(("shop".into(), "public".into())));
        assert_eq!(of(json!({ "name": "public", "namespace": "edge" })), Some(("edge".into(), "public".into())));
        assert_eq!(gateway_name(&set(json!({}))), None);
    }

    #[test]
    fn what_its_status_says_goes_before_the_rules_of_the_gateway() {
        let says = |status: &str, reason: &str, from| {
            let condition = json!({ "type": "Accepted", "status": status, "reason": reason });
            let set =
                set(json!({ "status": { "conditions": [{ "type": "Programmed", "status": "False" }, condition] } }));
            refusal(&set, &gateway(from, "edge"), "the ListenerSet shop/web")
                .map(|no| format!("{} {}", no.place, no.why))
        };
        assert_eq!(says("True", "Accepted", None), None);
        assert_eq!(
            says("False", "ParentNotAccepted", Some("All")).unwrap(),
            "the Gateway edge/public does not take the ListenerSet shop/web (ParentNotAccepted)"
        );
        let not_allowed = "the Gateway edge/public does not take the ListenerSet shop/web (NotAllowed); its allowedListeners must \
                           admit the namespace \"shop\"";
        assert_eq!(says("False", "NotAllowed", Some("Selector")).unwrap(), not_allowed);
        assert_eq!(says("Unknown", "Pending", Some("None")).unwrap(), not_allowed);
        assert_eq!(says("Unknown", "Pending", Some("All")), None);
    }

    #[test]
    fn gateways_admit_none_unless_they_say_so() {
        for (from, namespace, is_refused) in [
            (None, "shop", true),
            (Some("None"), "shop", true),
            (Some("Same"), "edge", true),
            (Some("Same"), "shop", false),
            (Some("All"), "edge", false),
            (Some("Selector"), "edge", false),
        ] {
            let refusal = refusal(&set(json!({})), &gateway(from, namespace), "it");
            assert_eq!(refusal.is_some(), is_refused, "{from:?} {namespace}");
        }
    }
}
