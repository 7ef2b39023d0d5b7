//! The Ingress that leads the CA's questions to a solver.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec,
    ServiceBackendPort,
};

use super::objects::{PORT, SolverOptions, ingress_solver, merge_metadata, metadata, set};
use super::question::{Lead, Question};
use crate::api::Challenge;
use crate::api::names::annotation;
use crate::api::solver::Http01Ingress;

/// The Ingress that leads the challenge's path to the Service of the same name.
pub fn ingress(challenge: &Challenge, name: &str, options: &SolverOptions) -> Ingress {
    ingress_for(&Lead::alone(challenge, name, options), options)
}

/// The same for several questions: one rule for each name.
pub fn ingress_for(lead: &Lead<'_>, options: &SolverOptions) -> Ingress {
    let solver = ingress_solver(lead.challenge);
    let mut metadata = metadata(lead.challenge, lead.name, options);
    metadata.annotations = Some(ingress_annotations(solver));
    let template = solver.and_then(|solver| solver.ingress_template.as_ref());
    merge_metadata(&mut metadata, template.and_then(|template| template.metadata.as_ref()), lead.challenge);
    let spec = IngressSpec {
        ingress_class_name: solver.and_then(|solver| set(solver.ingress_class_name.as_ref())).cloned(),
        rules: Some(rules(lead)),
        ..IngressSpec::default()
    };
    Ingress { metadata, spec: Some(spec), status: None }
}

/// One rule for each host, in the order of the questions.
pub fn rules(lead: &Lead<'_>) -> Vec<IngressRule> {
    let mut rules: Vec<IngressRule> = Vec::new();
    for question in &lead.questions {
        let host = question.host().map(str::to_owned);
        let path = ingress_path(lead, question);
        match rules.iter_mut().find(|rule| rule.host == host) {
            Some(rule) => rule.http.get_or_insert_default().paths.push(path),
            None => rules.push(IngressRule { host, http: Some(HTTPIngressRuleValue { paths: vec![path] }) }),
        }
    }
    rules
}

/// Whether the rules lead this question to the Service, whatever type the path has.
pub fn leads(rules: &[IngressRule], service: &str, question: &Question) -> bool {
    let own = question.path();
    let is_own = |path: &HTTPIngressPath| path.path.as_ref() == Some(&own) && is_to(path, service) && is_to_port(path);
    rules.iter().any(|rule| rule.host.as_deref() == question.host() && paths(rule).iter().any(is_own))
}

/// Whether the rules lead exactly these questions to the Service.
pub fn leads_exactly(rules: &[IngressRule], lead: &Lead<'_>) -> bool {
    let own = rules.iter().flat_map(paths).filter(|path| is_to(path, lead.name)).count();
    own == lead.questions.len() && lead.questions.iter().all(|question| leads(rules, lead.name, question))
}

/// What may be wrong with an Ingress that no ingress controller says it serves; `None` if one has given it an address. Not all do.
pub fn hint(ingress: &Ingress) -> Option<String> {
    let status = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
    if status.is_some_and(|addresses| !addresses.is_empty()) {
        return None;
    }
    let by_spec = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_ref());
    let by_annotation = || ingress.metadata.annotations.as_ref()?.get(annotation::INGRESS_CLASS);
    let remedy = match by_spec.or_else(by_annotation) {
        Some(class) => format!("if none serves the class {class:?}, correct that in the issuer's solver"),
        None => "it has no class, so unless one serves such, set ingressClassName in the issuer's solver".to_owned(),
    };
    Some(format!("no ingress controller has given it an address; {remedy}"))
}

pub(super) fn ingress_path(lead: &Lead<'_>, question: &Question) -> HTTPIngressPath {
    HTTPIngressPath {
        path: Some(question.path()),
        path_type: lead.path_type.as_str().into(),
        backend: IngressBackend {
            service: Some(IngressServiceBackend {
                name: lead.name.to_owned(),
                port: Some(ServiceBackendPort { number: Some(PORT), name: None }),
            }),
            resource: None,
        },
    }
}

pub(super) fn is_to(path: &HTTPIngressPath, service: &str) -> bool {
    path.backend.service.as_ref().is_some_and(|backend| backend.name == service)
}

fn is_to_port(path: &HTTPIngressPath) -> bool {
    let port = path.backend.service.as_ref().and_then(|backend| backend.port.as_ref()?.number);
    port == Some(PORT)
}

pub(super) fn paths(rule: &IngressRule) -> &[HTTPIngressPath] {
    rule.http.as_ref().map(|http| http.paths.as_slice()).unwrap_or_default()
}

fn ingress_annotations(solver: Option<&Http01Ingress>) -> BTreeMap<String, String> {
    let template = solver.and_then(|solver| solver.ingress_template.as_ref()?.metadata.as_ref());
    let has_own_range = template.is_some_and(|template| {
        template
            .annotations
            .keys()
            .any(|key| key.rsplit_once('/').is_some_and(|(_, end)| end == "whitelist-source-range"))
    });
    let mut annotations = BTreeMap::new();
    if !has_own_range {
        // CAs ask from anywhere, whatever the ingress controller's own default is.
        annotations.insert(annotation::NGINX_WHITELIST_SOURCE_RANGE.into(), "0.0.0.0/0,::/0".into());
    }
    if let Some(class) = solver.and_then(|solver| set(solver.class.as_ref())) {
        annotations.insert(annotation::INGRESS_CLASS.into(), class.clone());
    }
    annotations
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::super::objects::tests::challenge;
    use super::super::path_type::PathType;
    use super::*;

    const NAME: &str = "cm-acme-http-solver-1";

    fn question(name: &str, token: &str) -> Question {
        Question { name: name.into(), token: token.into() }
    }

    fn lead<'a>(challenge: &'a Challenge, questions: &[(&str, &str)]) -> Lead<'a> {
        let questions = questions.iter().map(|(name, token)| question(name, token)).collect();
        Lead { challenge, name: NAME, questions, path_type: PathType::Exact }
    }

    #[test]
    fn many_names_have_one_rule_each() {
        let challenge = challenge("a.example.com", json!({"ingress": {}}));
        let asked = [("192.0.2.7", "3"), ("2001:db8::7", "4"), ("a.example.com", "1"), ("b.example.com", "2")];
        let made = rules(&lead(&challenge, &asked));
        let hosts: Vec<_> = made.iter().map(|rule| (rule.host.as_deref(), paths(rule).len())).collect();
        assert_eq!(hosts, [(None, 2), (Some("a.example.com"), 1), (Some("b.example.com"), 1)]);
        for (name, token) in asked {
            assert!(leads(&made, NAME, &question(name, token)), "{name}");
            assert!(!leads(&made, "other", &question(name, token)), "{name}");
        }
        assert!(!leads(&made, NAME, &question("a.example.com", "2")), "the token of another name");
    }

    #[test]
    fn who_may_not_serve_it_is_told() {
        let hint_of = |http01| {
            let challenge = challenge("a.example.com", http01);
            let mut made = ingress(&challenge, NAME, &SolverOptions::default());
            let hint = hint(&made).unwrap();
            made.status = serde_json::from_value(json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}})).unwrap();
            assert_eq!(super::hint(&made), None);
            hint
        };
        assert!(hint_of(json!({"ingress": {"class": "edge"}})).contains("serves the class \"edge\""));
        assert!(hint_of(json!({"ingress": {"ingressClassName": "edge"}})).contains("serves the class \"edge\""));
        assert!(hint_of(json!({"ingress": {}})).contains("it has no class"));
    }

    #[test]
    fn what_is_too_much_is_seen() {
        let challenge = challenge("a.example.com", json!({"ingress": {}}));
        let one = lead(&challenge, &[("a.example.com", "1")]);
        let two = lead(&challenge, &[("a.example.com", "1"), ("b.example.com", "2")]);
        assert!(leads_exactly(&rules(&one), &one) && leads_exactly(&rules(&two), &two));
        assert!(!leads_exactly(&rules(&two), &one) && !leads_exactly(&rules(&one), &two));
        let other_type = Lead { path_type: PathType::Prefix, ..one.clone() };
        assert!(leads_exactly(&rules(&other_type), &one), "whatever type the path has");
        let mut edited = rules(&one);
        let backend = &mut edited[0].http.as_mut().unwrap().paths[0].backend;
        backend.service.as_mut().unwrap().port = Some(ServiceBackendPort { number: Some(80), name: None });
        assert!(!leads_exactly(&edited, &one), "the port is of the Service");
    }
}
