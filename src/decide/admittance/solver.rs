//! Solvers, compared by what they mean.
//!
//! Programs in Go cannot leave out every part that says nothing: in the Challenges that cert-manager has made there is `{name: ""}` for a
//! reference to a Secret that the issuer does not have, and `{}` for the parts of templates. The API server fills in the group and
//! kind of a parent in what is stored, but not in what an annotation of a Certificate adds.

use crate::api::{
    SecretKeySelector,
    names::GATEWAY_GROUP,
    pod_template::{PodTemplate, PodTemplateSpec, TemplateMetadata},
    solver::{AcmeSolver, Http01Solver},
};

/// The solver without the parts that say nothing, and with the defaults of parents.
pub(super) fn plain(solver: &AcmeSolver) -> AcmeSolver {
    let mut solver = solver.clone();
    if let Some(dns01) = &mut solver.dns01 {
        let keys = dns01.route53.as_mut().map(|route53| &mut route53.secret_access_key_secret_ref);
        let tsig = dns01.rfc2136.as_mut().map(|rfc2136| &mut rfc2136.tsig_secret_secret_ref);
        for reference in keys.into_iter().chain(tsig) {
            reference.take_if(|reference| reference.is_unset() && is_without_key(reference));
        }
    }
    solver.http01.iter_mut().for_each(plain_http01);
    solver
}

fn is_without_key(reference: &SecretKeySelector) -> bool {
    reference.key.as_deref().unwrap_or_default().is_empty()
}

fn plain_http01(http01: &mut Http01Solver) {
    if let Some(ingress) = &mut http01.ingress {
        ingress.pod_template.iter_mut().for_each(pod_template);
        if let Some(template) = &mut ingress.ingress_template {
            template.metadata.take_if(|metadata| *metadata == TemplateMetadata::default());
        }
    }
    if let Some(route) = &mut http01.gateway_http_route {
        route.pod_template.iter_mut().for_each(pod_template);
        for parent in &mut route.parent_refs {
            parent.group.get_or_insert_with(|| GATEWAY_GROUP.to_owned());
            parent.kind.get_or_insert_with(|| "Gateway".to_owned());
        }
    }
}

fn pod_template(template: &mut PodTemplate) {
    template.metadata.take_if(|metadata| *metadata == TemplateMetadata::default());
    template.spec.take_if(|spec| *spec == PodTemplateSpec::default());
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
                json!({"dns01": {"route53": {"region": "eu-west-1"}}}),
                json!({"dns01": {"route53": {"region": "eu-west-1", "secretAccessKeySecretRef": {"name": ""}}}}),
            ),
            (
                json!({"dns01": {"rfc2136": {"nameserver": "192.0.2.53"}}}),
                json!({"dns01": {"rfc2136": {"nameserver": "192.0.2.53", "tsigSecretSecretRef": {"name": ""}}}}),
            ),
            (
                json!({"http01": {"ingress": {"podTemplate": {"spec": {"nodeSelector": {"a": "b"}}}}}}),
                json!({"http01": {"ingress": {"podTemplate": {"metadata": {}, "spec": {"nodeSelector": {"a": "b"}}}}}}),
            ),
            (
                json!({"http01": {"ingress": {"ingressTemplate": {}}}}),
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
            assert_eq!(plain(&own), own);
        }
    }

    #[test]
    fn what_says_something_stays() {
        for solver in [
            json!({"dns01": {"route53": {"secretAccessKeySecretRef": {"name": "aws", "key": "secret"}}}}),
            json!({"dns01": {"rfc2136": {"nameserver": "n", "tsigSecretSecretRef": {"name": "tsig"}}}}),
            json!({"http01": {"ingress": {"podTemplate": {"metadata": {"labels": {"a": "b"}}}}}}),
        ] {
            let solver: AcmeSolver = object(solver);
            assert_eq!(plain(&solver), solver);
        }
    }
}
