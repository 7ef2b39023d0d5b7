//! An existing Ingress that gets a path more while a challenge is answered, and is as before afterwards.

use k8s_openapi::api::networking::v1::{HTTPIngressPath, HTTPIngressRuleValue, IngressRule};

use super::ingress::{ingress_path, is_to, leads, paths};
use super::objects::{ingress_solver, set};
use super::question::{Lead, Question};
use crate::api::Challenge;
use crate::api::names::HTTP01_SOLVER_NAME_PREFIX;

/// The name of the Ingress to edit, in the Challenge's namespace; `None` if the solver makes one of its own.
pub fn ingress_name(challenge: &Challenge) -> Option<&str> {
    ingress_solver(challenge).and_then(|ingress| set(ingress.name.as_ref())).map(String::as_str)
}

/// The rules with the paths of the questions in front of others of their hosts; `None` if all are there already.
pub fn with_paths(rules: &[IngressRule], lead: &Lead<'_>) -> Option<Vec<IngressRule>> {
    let mut after = rules.to_vec();
    for question in lead.questions.iter().filter(|question| !leads(rules, lead.name, question)) {
        add(&mut after, question.host(), ingress_path(lead, question));
    }
    (after != rules).then_some(after)
}

/// The rules without the paths that lead to the Service, or for this path to another solver's, which cert-manager left behind in the
/// midst; `None` if there are none.
pub fn without_paths(rules: &[IngressRule], service: &str, question: &Question) -> Option<Vec<IngressRule>> {
    let asked = question.path();
    let is_own = |path: &HTTPIngressPath| {
        is_to(path, service) || (path.path.as_ref() == Some(&asked) && is_to_some_solver(path))
    };
    let has_own = |rule: &IngressRule| paths(rule).iter().any(is_own);
    if !rules.iter().any(has_own) {
        return None;
    }
    let mut left = Vec::new();
    for rule in rules {
        let mut kept = rule.clone();
        if has_own(rule) {
            let paths = &mut kept.http.get_or_insert_default().paths;
            paths.retain(|path| !is_own(path));
            if paths.is_empty() {
                continue;
            }
        }
        left.push(kept);
    }
    Some(left)
}

fn is_to_some_solver(path: &HTTPIngressPath) -> bool {
    let service = path.backend.service.as_ref();
    service.is_some_and(|service| service.name.starts_with(HTTP01_SOLVER_NAME_PREFIX))
}

fn add(rules: &mut Vec<IngressRule>, host: Option<&str>, path: HTTPIngressPath) {
    // A rule without paths means something else than one with a path, so it is left alone.
    let of_host = |rule: &&mut IngressRule| rule.host.as_deref() == host && !paths(rule).is_empty();
    if let Some(rule) = rules.iter_mut().find(of_host) {
        rule.http.get_or_insert_default().paths.insert(0, path);
        return;
    }
    let http = Some(HTTPIngressRuleValue { paths: vec![path] });
    rules.push(IngressRule { host: host.map(str::to_owned), http });
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::objects::SolverOptions;
    use super::super::objects::tests::challenge;
    use super::*;

    const SERVICE: &str = "cm-acme-http-solver-1";

    fn rules(value: serde_json::Value) -> Vec<IngressRule> {
        serde_json::from_value(value).unwrap()
    }

    fn path(path: &str) -> serde_json::Value {
        json!({"path": path, "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}})
    }

    fn added_for(name: &str, before: &[IngressRule]) -> Option<Vec<IngressRule>> {
        with_paths(before, &Lead::alone(&asked(name), SERVICE, &SolverOptions::default()))
    }

    fn added(before: &[IngressRule]) -> Option<Vec<IngressRule>> {
        added_for("example.com", before)
    }

    fn asked(name: &str) -> Challenge {
        challenge(name, json!({"ingress": {"name": "www"}}))
    }

    #[test]
    fn the_path_goes_in_front_of_others_of_its_host() {
        let before = rules(json!([
            {"host": "example.org", "http": {"paths": [path("/")]}},
            {"host": "example.com", "http": {"paths": [path("/")]}},
        ]));
        let after = added(&before).unwrap();
        assert_eq!((after.len(), &after[0]), (2, &before[0]));
        let paths: Vec<_> = paths(&after[1]).iter().map(|path| path.path.clone().unwrap()).collect();
        assert_eq!(paths, ["/.well-known/acme-challenge/tok-en_1", "/"]);
        assert_eq!(added(&after), None, "once is enough");
    }

    #[test]
    fn a_host_without_paths_gets_a_rule_of_its_own() {
        for before in [json!([]), json!([{"host": "example.com"}]), json!([{"http": {"paths": [path("/")]}}])] {
            let before = rules(before);
            let after = added(&before).unwrap();
            assert_eq!(after[..before.len()], before);
            assert_eq!(after.last().unwrap().host.as_deref(), Some("example.com"));
        }
        let address = added_for("192.0.2.7", &[]).unwrap();
        assert_eq!(address[0].host, None);
    }

    fn removed(before: &[IngressRule]) -> Option<Vec<IngressRule>> {
        without_paths(before, SERVICE, &Question::of(&asked("example.com")))
    }

    #[test]
    fn the_paths_of_others_stay() {
        let to = |token: &str, service: &str| {
            let backend = json!({"service": {"name": service, "port": {"number": 8089}}});
            let own = json!({"path": format!("/.well-known/acme-challenge/{token}"), "pathType": "Exact", "backend": backend});
            rules(json!([{"host": "example.com", "http": {"paths": [own]}}]))
        };
        assert_eq!(removed(&to("tok-en_1", "somebody")), None);
        assert_eq!(removed(&to("tok-en_2", "cm-acme-http-solver-x2z4k")), None, "another Challenge's");
        assert_eq!(
            removed(&to("tok-en_1", "cm-acme-http-solver-x2z4k")),
            Some(Vec::new()),
            "cert-manager's for this one"
        );
    }

    #[test]
    fn what_somebody_edits_in_the_midst_stays() {
        let before = rules(json!([{"host": "example.com", "http": {"paths": [path("/")]}}]));
        let mut edited = serde_json::to_value(added(&before).unwrap()).unwrap();
        let paths = edited[0]["http"]["paths"].as_array_mut().unwrap();
        paths.insert(0, path("/first"));
        paths.push(path("/last"));
        paths.remove(2);
        edited.as_array_mut().unwrap().push(json!({"host": "example.org", "http": {"paths": [path("/")]}}));
        let wanted = json!([
            {"host": "example.com", "http": {"paths": [path("/first"), path("/last")]}},
            {"host": "example.org", "http": {"paths": [path("/")]}},
        ]);
        assert_eq!(removed(&rules(edited)), Some(rules(wanted)));
    }

    proptest! {
        #[test]
        fn it_is_as_before_afterwards(hosts in proptest::collection::vec((0usize..3, proptest::option::of(1usize..3)), 0..5)) {
            let names = [json!("example.com"), json!("example.org"), json!(null)];
            let made = hosts.iter().map(|(host, paths)| {
                let paths = paths.map(|count| (0..count).map(|number| path(&format!("/{number}"))).collect::<Vec<_>>());
                json!({"host": names[*host], "http": paths.map(|paths| json!({"paths": paths}))})
            });
            let before = rules(made.collect());
            let asked = asked("example.com");
            let questions = ["example.com", "www.example.com", "192.0.2.7"].map(|name| Question { name: name.into(), token: "t".into() });
            let lead = Lead { questions: questions.into(), ..Lead::alone(&asked, SERVICE, &SolverOptions::default()) };
            let after = with_paths(&before, &lead).unwrap();
            prop_assert!(lead.questions.iter().all(|question| leads(&after, SERVICE, question)));
            prop_assert_eq!(with_paths(&after, &lead), None);
            prop_assert_eq!(removed(&after), Some(before));
        }
    }
}
