//! The HTTPRoute that leads the CA's questions to a Service, through a Gateway (Gateway API).

use std::collections::BTreeSet;

use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};

use super::SOLVER_PORT;
use super::objects::{SolverOptions, labels, metadata};
use super::question::{Lead, Question};
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

/// So many paths fit into one rule of an HTTPRoute in every version of the Gateway API.
const MOST_MATCHES: usize = 8;

/// The HTTPRoute that leads the questions to the Service of the same name. Its hostnames hold for all paths, which leads no name
/// astray: every token is another, and whoever answers looks at the name too.
pub fn route(lead: &Lead<'_>, options: &SolverOptions, version: &str) -> DynamicObject {
    let mut metadata = metadata(lead.challenge, lead.name, options);
    let gateway = gateway(lead.challenge).cloned().unwrap_or_default();
    let all = metadata.labels.get_or_insert_default();
    all.extend(gateway.labels);
    all.extend(labels(lead.challenge));
    let backend = json!({"name": lead.name, "port": SOLVER_PORT, "weight": 1});
    let matching = |question: &Question| json!({"path": {"type": "Exact", "value": question.path()}});
    let rule = |questions: &[Question]| {
        let matches: Vec<_> = questions.iter().map(matching).collect();
        json!({"matches": matches, "backendRefs": [backend]})
    };
    let rules: Vec<_> = lead.questions.chunks(MOST_MATCHES).map(rule).collect();
    let mut spec = json!({"parentRefs": gateway.parent_refs, "rules": rules});
    // A hostname must be a name; without one the route is for all that the listener takes.
    let hosts: BTreeSet<_> = lead.questions.iter().filter_map(Question::host).collect();
    if !hosts.is_empty() {
        spec["hostnames"] = Value::from_iter(hosts);
    }
    let mut route = DynamicObject::new(lead.name, &resource(version)).data(json!({"spec": spec}));
    route.metadata = metadata;
    route
}

/// Whether the route, as it was read, leads exactly these questions.
pub fn leads_exactly(route: &DynamicObject, lead: &Lead<'_>) -> bool {
    let texts = |list: &Value| -> BTreeSet<String> {
        list.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let rules = route.data["spec"]["rules"].as_array().into_iter().flatten();
    let matches = rules.flat_map(|rule| rule["matches"].as_array().into_iter().flatten());
    let paths: BTreeSet<_> = matches.filter_map(|one| one["path"]["value"].as_str().map(str::to_owned)).collect();
    let hosts: BTreeSet<_> = lead.questions.iter().filter_map(|question| question.host().map(str::to_owned)).collect();
    paths == lead.questions.iter().map(Question::path).collect() && texts(&route.data["spec"]["hostnames"]) == hosts
}

/// Whether the route still hangs on all that are wanted, and leads to no other Service: somebody may have edited it. What the API
/// server or others have added is no matter.
pub fn hangs_and_leads_as(route: &DynamicObject, wanted: &DynamicObject) -> bool {
    let list = |object: &Value| object.as_array().cloned().unwrap_or_default();
    let parents = list(&route.data["spec"]["parentRefs"]);
    // Where the definition of HTTPRoutes knows no port, the API server drops it.
    let has_no_port = parents.iter().all(|parent| parent.get("port").is_none());
    let hangs_on = |parent: &Value| {
        let mut parent = parent.clone();
        if let (true, Some(fields)) = (has_no_port, parent.as_object_mut()) {
            fields.remove("port");
        }
        parents.iter().any(|found| has_all(found, &parent))
    };
    let mut rules = list(&route.data["spec"]["rules"]).into_iter();
    let backend = &wanted.data["spec"]["rules"][0]["backendRefs"][0];
    let leads = |rule: Value| matches!(&*list(&rule["backendRefs"]), [only] if has_all(only, backend));
    list(&wanted.data["spec"]["parentRefs"]).iter().all(hangs_on) && rules.all(leads)
}

fn has_all(found: &Value, wanted: &Value) -> bool {
    wanted.as_object().into_iter().flatten().all(|(key, value)| found.get(key) == Some(value))
}

/// Says that no controller has said anything of the route, if that is so: most likely nobody is responsible for its Gateway.
pub fn silence(route: &DynamicObject) -> Option<String> {
    let parents = route.data["status"]["parents"].as_array().map(Vec::as_slice).unwrap_or_default();
    let says = |parent: &Value| parent["conditions"].as_array().is_some_and(|conditions| !conditions.is_empty());
    (!parents.iter().any(says)).then(|| {
        "no Gateway's controller has said whether it takes it; unless one will, correct parentRefs of the solver or the \
         Gateway's class"
            .to_owned()
    })
}

/// Why no Gateway or ListenerSet takes the route, in words of its controller; `None` if one does, or if none has said anything.
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
                let kind = parent["parentRef"]["kind"].as_str().unwrap_or("Gateway");
                let name = parent["parentRef"]["name"].as_str().unwrap_or_default();
                let reason = condition["reason"].as_str().unwrap_or("without a reason");
                rejected = rejected.or_else(|| Some(format!("the {kind} {name:?} does not take it ({reason})")));
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

    fn asked(name: &str, parents: &Value) -> Challenge {
        challenge(name, json!({"gatewayHTTPRoute": {"labels": {"team": "web"}, "parentRefs": parents}}))
    }

    fn made(name: &str) -> DynamicObject {
        let challenge = asked(name, &json!([{"name": "edge", "namespace": "gateways"}]));
        let options = SolverOptions::default();
        route(&Lead::alone(&challenge, "cm-acme-http-solver-1", &options), &options, "v1")
    }

    #[test]
    fn many_names_share_a_route() {
        let challenge = asked("n00.example.com", &json!([{"name": "edge"}]));
        let options = SolverOptions::default();
        let question = |number| Question { name: format!("n{number:02}.example.com"), token: format!("t{number}") };
        let of =
            |count| Lead { questions: (0..count).map(question).collect(), ..Lead::alone(&challenge, "n", &options) };
        let made = route(&of(16), &options, "v1");
        let rules = made.data["spec"]["rules"].as_array().unwrap();
        let matches: Vec<_> = rules.iter().map(|rule| rule["matches"].as_array().unwrap().len()).collect();
        assert_eq!((matches, made.data["spec"]["hostnames"].as_array().unwrap().len()), (vec![8, 8], 16));
        assert!(leads_exactly(&made, &of(16)));
        assert!(!leads_exactly(&made, &of(15)) && !leads_exactly(&route(&of(15), &options, "v1"), &of(16)));
    }

    #[test]
    fn a_listener_set_is_a_parent_like_any_other() {
        let parent = json!({
            "group": "gateway.networking.x-k8s.io", "kind": "XListenerSet", "name": "shop", "namespace": "web", "sectionName": "http",
        });
        let challenge = asked("example.com", &json!([parent]));
        let options = SolverOptions::default();
        let mut route = route(&Lead::alone(&challenge, "n", &options), &options, "v1");
        assert_eq!(route.data["spec"]["parentRefs"], json!([parent]));
        let condition = json!({"type": "Accepted", "status": "False", "reason": "NotAllowedByListeners"});
        route.data["status"] = json!({"parents": [{"parentRef": parent, "conditions": [condition]}]});
        assert_eq!(rejection(&route).unwrap(), "the XListenerSet \"shop\" does not take it (NotAllowedByListeners)");
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
    fn what_somebody_edited_is_seen() {
        let wanted = made("example.com");
        let with = |path: &str, value: Value| {
            let mut route = made("example.com");
            *route.data.pointer_mut(path).unwrap() = value;
            hangs_and_leads_as(&route, &wanted)
        };
        let parent =
            json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge", "namespace": "gateways"});
        assert!(with("/spec/parentRefs", json!([{"name": "more"}, parent])), "defaults and additions are no matter");
        assert!(!with("/spec/parentRefs", json!([{"name": "edge", "namespace": "other"}])));
        assert!(!with("/spec/parentRefs", json!([])));
        let backend = |name: &str| json!([{"group": "", "kind": "Service", "name": name, "port": 8089, "weight": 1}]);
        assert!(with("/spec/rules/0/backendRefs", backend("cm-acme-http-solver-1")));
        assert!(!with("/spec/rules/0/backendRefs", backend("other")));
        assert!(!with("/spec/rules/0/backendRefs", json!([])));
    }

    #[test]
    fn the_port_of_a_parent_counts_where_the_definition_has_one() {
        let of = |parents: Value| {
            let mut route = made("example.com");
            route.data["spec"]["parentRefs"] = parents;
            route
        };
        let wanted = of(json!([{"name": "edge", "port": 80}]));
        assert!(hangs_and_leads_as(&of(json!([{"name": "edge", "port": 80}])), &wanted));
        assert!(hangs_and_leads_as(&of(json!([{"name": "edge"}])), &wanted), "it was dropped");
        assert!(!hangs_and_leads_as(&of(json!([{"name": "edge", "port": 81}])), &wanted));
        assert!(!hangs_and_leads_as(&of(json!([{"name": "other"}])), &wanted));
    }

    #[test]
    fn a_route_of_which_nobody_says_anything_is_told() {
        let told = |status: Value| {
            let mut route = made("example.com");
            route.data["status"] = status;
            silence(&route)
        };
        let parent = json!({"parentRef": {"name": "edge"}, "conditions": []});
        for silent in [Value::Null, json!({"parents": []}), json!({"parents": [parent]})] {
            assert!(told(silent).unwrap().contains("correct parentRefs"));
        }
        let condition = json!({"type": "Accepted", "status": "False", "reason": "NoMatchingParent"});
        assert_eq!(told(json!({"parents": [{"parentRef": {"name": "edge"}, "conditions": [condition]}]})), None);
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
