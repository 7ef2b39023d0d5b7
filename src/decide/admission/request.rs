//! CertificateRequests: whose they are, what they ask for, and that they stay as they are.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use serde_json::{Value, json};

use super::{ApprovalAsked, Findings, Problem, User, certificate::usages, issuer_reference};
use crate::{
    api::{
        CertificateRequest, CertificateRequestSpec, Condition, find_condition,
        names::{ACME_GROUP, GROUP, condition},
    },
    pki::{ParsedRequest, Usages},
};

const APPROVAL: [&str; 2] = [condition::APPROVED, condition::DENIED];

pub fn findings(new: &CertificateRequest, old: Option<&CertificateRequest>, user: &User) -> Findings {
    let mut problems = match old {
        None => [requester(&new.spec, user), content(&new.spec)].concat(),
        Some(old) => changes(new, old),
    };
    let (now, before) = (conditions(Some(new)), conditions(old));
    problems.extend(approval(now, before));
    let is_new = |type_: &&str| find_condition(now, type_).is_some() && find_condition(before, type_).is_none();
    let is_asked = APPROVAL.iter().any(is_new);
    let approval = (old.is_some() && is_asked).then(|| ApprovalAsked::of(new));
    Findings { problems, warnings: Vec::new(), approval }
}

/// A JSON patch (RFC 6902) that makes the request say who made it, whatever its author wrote.
pub fn requester_patch(object: &Value, user: &User) -> Vec<Value> {
    let fields = [
        ("username", json!(user.username), user.username.is_empty()),
        ("uid", json!(user.uid), user.uid.is_empty()),
        ("groups", json!(user.groups), user.groups.is_empty()),
        ("extra", json!(user.extra), user.extra.is_empty()),
    ];
    let operation = |(name, value, is_empty): (&str, Value, bool)| {
        let path = format!("/spec/{name}");
        let held = &object["spec"][name];
        match (is_empty, held.is_null()) {
            (true, true) => None,
            (true, false) => Some(json!({ "op": "remove", "path": path })),
            (false, _) if *held == value => None,
            // Replaces what is there.
            (false, _) => Some(json!({ "op": "add", "path": path, "value": value })),
        }
    };
    // Without a spec the schema refuses the object, and says so better.
    if !object["spec"].is_object() {
        return Vec::new();
    }
    fields.into_iter().filter_map(operation).collect()
}

fn conditions(request: Option<&CertificateRequest>) -> &[Condition] {
    request.and_then(|request| request.status.as_ref()).map(|status| &status.conditions[..]).unwrap_or_default()
}

fn requester(spec: &CertificateRequestSpec, user: &User) -> Vec<Problem> {
    let mut problems = Vec::new();
    let given = spec.username.as_deref().unwrap_or_default();
    if given != user.username {
        let detail = format!("username identity must be that of the requester: {:?}", user.username);
        problems.push(Problem::forbidden("spec.username", &detail));
    }
    if spec.uid.as_deref().unwrap_or_default() != user.uid {
        problems.push(Problem::forbidden("spec.uid", "uid identity must be that of the requester"));
    }
    let set = |groups: &[String]| -> BTreeSet<String> { groups.iter().cloned().collect() };
    if set(&spec.groups) != set(&user.groups) {
        problems.push(Problem::forbidden("spec.groups", "groups identity must be that of the requester"));
    }
    let sets = |extra: &BTreeMap<String, Vec<String>>| -> BTreeMap<String, BTreeSet<String>> {
        extra.iter().map(|(key, values)| (key.clone(), set(values))).collect()
    };
    if sets(&spec.extra) != sets(&user.extra) {
        problems.push(Problem::forbidden("spec.extra", "extra identity must be that of the requester"));
    }
    problems
}

fn content(spec: &CertificateRequestSpec) -> Vec<Problem> {
    let mut problems = [issuer_reference(&spec.issuer_ref), usages(&spec.usages)].concat();
    let path = "spec.request";
    if spec.request.0.is_empty() {
        problems.push(Problem::required(path, "must be specified"));
        return problems;
    }
    let text = String::from_utf8_lossy(&spec.request.0);
    match ParsedRequest::from_pem(&spec.request.0) {
        Err(error) => problems.push(Problem::invalid(path, text, &format!("failed to decode csr: {error}"))),
        Ok(request) => {
            let agrees = Usages::from_spec(&spec.usages, spec.is_ca)
                .and_then(|usages| request.check_agrees(&usages, spec.is_ca));
            if let (Err(error), true) = (agrees, problems.is_empty()) {
                problems.push(Problem::invalid(path, text, &error.to_string()));
            }
        }
    }
    problems
}

fn changes(new: &CertificateRequest, old: &CertificateRequest) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !is_same(&new.spec, &old.spec) {
        problems.push(Problem::forbidden("spec", "cannot change spec after creation"));
    }
    let (now, before) = (new.annotations(), old.annotations());
    let keys: BTreeSet<&String> = now.keys().chain(before.keys()).collect();
    // As with cert-manager, the prefix is one of the key, not of its domain.
    let is_ours = |key: &&&String| key.starts_with(GROUP) || key.starts_with(ACME_GROUP);
    for key in keys.iter().filter(is_ours).filter(|key| now.get(**key) != before.get(**key)) {
        let detail = "cannot change cert-manager annotation after creation";
        problems.push(Problem::forbidden(format!("metadata.annotations.{key}"), detail));
    }
    problems
}

/// By what the fields mean: other writers leave out `false`, and write `2160h` as `2160h0m0s`.
fn is_same(new: &CertificateRequestSpec, old: &CertificateRequestSpec) -> bool {
    let length = |spec: &CertificateRequestSpec| spec.duration.as_ref().map(|text| text.to_duration().ok());
    let normal = |spec: &CertificateRequestSpec| {
        let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let mut spec = spec.clone();
        spec.duration = None;
        spec.username = text(&spec.username);
        spec.uid = text(&spec.uid);
        spec.issuer_ref.kind = text(&spec.issuer_ref.kind);
        spec.issuer_ref.group = text(&spec.issuer_ref.group);
        spec
    };
    normal(new) == normal(old) && (new.duration == old.duration || length(new) == length(old))
}

fn approval(now: &[Condition], before: &[Condition]) -> Vec<Problem> {
    let path = "status.conditions";
    let mut problems = Vec::new();
    for type_ in APPROVAL {
        let of_type: Vec<&Condition> = now.iter().filter(|held| held.type_ == type_).collect();
        if of_type.len() > 1 {
            problems.push(Problem::forbidden(path, &format!("multiple {type_:?} conditions present")));
        }
        if let Some(held) = of_type.first()
            && held.status != condition::TRUE
        {
            let detail = format!("{type_:?} condition may only be set to True");
            problems.push(Problem::invalid(path, &held.status, &detail));
        }
        if let Some(former) = find_condition(before, type_)
            && find_condition(now, type_) != Some(former)
        {
            problems.push(Problem::forbidden(path, &format!("{type_:?} condition may not be modified once set")));
        }
    }
    if APPROVAL.iter().all(|type_| find_condition(now, type_).is_some()) {
        problems.push(Problem::forbidden(path, "both 'Denied' and 'Approved' conditions cannot coexist"));
    }
    problems
}
