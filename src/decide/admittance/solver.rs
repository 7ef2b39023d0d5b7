//! Solvers, compared by what they mean.
//!
//! Programs in Go leave out texts, lists and maps that are empty, and cannot leave out every part that says nothing: in the Challenges
//! that cert-manager has made there is `{name: ""}` for a reference to a Secret that the issuer does not have, and `{}` for the parts
//! of templates. The API server fills in the group and kind of a parent in what is stored, but not in what an annotation of a
//! Certificate adds.

use serde_json::Value;

use crate::api::{names::GATEWAY_GROUP, solver::AcmeSolver};

/// Of these every entry counts, whatever is in it.
const WHOLE: [&str; 4] = ["annotations", "config", "labels", "nodeSelector"];

/// The solver as JSON without the parts that say nothing, and with the defaults of parents. What is under `dns01` or `http01` says
/// nothing either if it is not there.
pub(in crate::decide) fn plain(solver: &AcmeSolver) -> Value {
    let mut solver = solver.clone();
    let route = solver.http01.as_mut().and_then(|http01| http01.gateway_http_route.as_mut());
    for parent in route.into_iter().flat_map(|route| &mut route.parent_refs) {
        parent.group.get_or_insert_with(|| GATEWAY_GROUP.to_owned());
        parent.kind.get_or_insert_with(|| "Gateway".to_owned());
    }
    let mut solver = serde_json::to_value(solver).unwrap_or_default();
    says_something(&mut solver);
    solver
}

/// Takes out what says nothing; whether anything is left. An entry of a list stays.
fn says_something(value: &mut Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => {
            for entry in list.iter_mut() {
                says_something(entry);
            }
            !list.is_empty()
        }
        Value::Object(fields) => {
            fields.retain(|name, part| match part {
                Value::Object(entries) if WHOLE.contains(&name.as_str()) => !entries.is_empty(),
                part => WHOLE.contains(&name.as_str()) || says_something(part),
            });
            !fields.is_empty()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decide::testing::object;

    #[test]
    fn what_says_nothing_makes_no_difference() {
        for (written, stored) in [
            (
                json!({"dns01": {"route53": {"region": "eu-west-1", "hostedZoneID": "", "role": ""}}}),
                json!({"dns01": {"route53": {"region": "eu-west-1", "secretAccessKeySecretRef": {"name": ""}}}}),
            ),
            (
                json!({"dns01": {"rfc2136": {"nameserver": "192.0.2.53"}}}),
                json!({"dns01": {"rfc2136": {"nameserver": "192.0.2.53", "tsigSecretSecretRef": {"name": ""}}}}),
            ),
            (
                json!({"dns01": {"cloudflare": {"email": "", "apiTokenSecretRef": {"name": "a", "key": ""}}}}),
                json!({"dns01": {"cloudflare": {"apiTokenSecretRef": {"name": "a"}}}}),
            ),
            (
                json!({"http01": {"ingress": {"podTemplate": {"spec": {"nodeSelector": {"a": "b"}}}}}}),
                json!({"http01": {"ingress": {"podTemplate": {"metadata": {}, "spec": {"nodeSelector": {"a": "b"}}}}}}),
            ),
            (
                json!({"http01": {"ingress": {"serviceType": "", "ingressTemplate": {}}}}),
                json!({"http01": {"ingress": {"ingressTemplate": {"metadata": {}}}}}),
            ),
            (
                json!({"http01": {"gatewayHTTPRoute": {"podTemplate": {"metadata": {"labels": {"a": "b"}}}}}}),
                json!({"http01": {"gatewayHTTPRoute": {"podTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {}}}}}),
            ),
        ] {
            let (own, other): (AcmeSolver, AcmeSolver) = (object(written), object(stored));
            assert_ne!(own, other);
            assert_eq!(plain(&own), plain(&other));
        }
    }

    #[test]
    fn what_says_something_stays() {
        let pod = |spec: Value| json!({"http01": {"ingress": {"podTemplate": {"spec": spec}}}});
        let webhook =
            |config: Value| json!({"dns01": {"webhook": {"groupName": "a", "solverName": "b", "config": config}}});
        for (one, other) in [
            (
                json!({"dns01": {"route53": {"secretAccessKeySecretRef": {"name": "aws", "key": "secret"}}}}),
                json!({"dns01": {"route53": {"secretAccessKeySecretRef": {"name": "other", "key": "secret"}}}}),
            ),
            (json!({"dns01": {"rfc2136": {"nameserver": "n"}}}), json!({"dns01": {"rfc2136": {"nameserver": "m"}}})),
            (pod(json!({"nodeSelector": {"a": ""}})), pod(json!({}))),
            (pod(json!({"securityContext": {"runAsNonRoot": false}})), pod(json!({"securityContext": {}}))),
            (webhook(json!({"zone": ""})), webhook(json!({}))),
            (webhook(json!("")), webhook(json!({}))),
        ] {
            let (one, other): (AcmeSolver, AcmeSolver) = (object(one), object(other));
            assert_ne!(plain(&one), plain(&other));
        }
    }
}
