//! The specs of Orders and Challenges, which may not change once they are written.
//!
//! Programs in Go write an object back as their types have it: with `false` and `{}` where there was nothing, and without what is
//! empty. cert-manager does so when it takes the finalizer from a Challenge that certwright has made, and has to be let.

use super::Rule;
use super::request::unchanged;

/// The spec of an Order, compared by what it means.
pub fn frozen_order_spec() -> [Rule; 1] {
    let mut terms: Vec<String> = vec![
        "self.request == oldSelf.request".to_owned(),
        "self.issuerRef.name == oldSelf.issuerRef.name".to_owned(),
        "has(self.duration) == has(oldSelf.duration)".to_owned(),
        "(!has(self.duration) || self.duration == oldSelf.duration || duration(self.duration) == duration(oldSelf.duration))"
            .to_owned(),
    ];
    terms.extend(["issuerRef.kind", "issuerRef.group", "commonName", "profile", "replaces"].map(text));
    terms.extend(["dnsNames", "ipAddresses"].map(unchanged));
    [frozen(&all(&terms))]
}

/// The spec of a Challenge, compared by what it means. Of its solver everything counts that could lead elsewhere, or make another Pod
/// or Ingress. The server takes only so much for each rule, so there are several.
pub fn frozen_challenge_spec() -> [Rule; 4] {
    let mut terms: Vec<String> = ["url", "authorizationURL", "dnsName", "type", "token", "key", "issuerRef.name"]
        .map(|field| format!("self.{field} == oldSelf.{field}"))
        .into();
    terms.push("(has(self.wildcard) && self.wildcard) == (has(oldSelf.wildcard) && oldSelf.wildcard)".to_owned());
    terms.extend(["issuerRef.kind", "issuerRef.group"].map(text));
    [
        frozen(&all(&terms)),
        frozen(&part("solver.dns01", &dns01())),
        frozen(&part("solver.http01", &[part("solver.http01.ingress", &ingress("solver.http01.ingress"))])),
        frozen(&part(
            "solver.http01",
            &[part("solver.http01.gatewayHTTPRoute", &route("solver.http01.gatewayHTTPRoute"))],
        )),
    ]
}

/// The whole is compared first, so that writing the status of an object that somehow lacks a field is no error.
fn frozen(term: &str) -> Rule {
    Rule::new(format!("self == oldSelf || {term}"), "cannot be changed").forbidden()
}

fn dns01() -> Vec<String> {
    let whole = ["acmeDNS", "akamai", "azureDNS", "cloudDNS", "cloudflare", "digitalocean", "webhook"];
    let mut terms: Vec<String> = whole.map(|provider| same(&format!("solver.dns01.{provider}"))).into();
    let within = |provider: &str, fields: &[&str], make: fn(&str) -> String| -> Vec<String> {
        fields.iter().map(|field| make(&format!("solver.dns01.{provider}.{field}"))).collect()
    };
    let mut route53 = within("route53", &["accessKeyID", "hostedZoneID", "region", "role"], text);
    route53.extend(within("route53", &["auth", "accessKeyIDSecretRef"], same));
    route53.extend(within("route53", &["secretAccessKeySecretRef"], reference));
    let mut rfc2136 = within("rfc2136", &["nameserver", "protocol", "tsigAlgorithm", "tsigKeyName"], text);
    rfc2136.extend(within("rfc2136", &["tsigSecretSecretRef"], reference));
    terms.push(part("solver.dns01.route53", &route53));
    terms.push(part("solver.dns01.rfc2136", &rfc2136));
    terms.push(text("solver.dns01.cnameStrategy"));
    terms.push(unchanged("solver.dns01.nameservers"));
    terms
}

fn ingress(path: &str) -> Vec<String> {
    let mut terms: Vec<String> =
        ["class", "ingressClassName", "name", "serviceType"].map(|field| text(&format!("{path}.{field}"))).into();
    terms.push(pod_template(&format!("{path}.podTemplate")));
    terms.push(part(&format!("{path}.ingressTemplate"), &[metadata(&format!("{path}.ingressTemplate.metadata"))]));
    terms
}

fn route(path: &str) -> Vec<String> {
    vec![
        text(&format!("{path}.serviceType")),
        unchanged(&format!("{path}.labels")),
        unchanged(&format!("{path}.parentRefs")),
        pod_template(&format!("{path}.podTemplate")),
    ]
}

fn pod_template(path: &str) -> String {
    let fields = [
        "affinity",
        "imagePullSecrets",
        "nodeSelector",
        "priorityClassName",
        "resources",
        "securityContext",
        "serviceAccountName",
        "tolerations",
    ];
    part(path, &[metadata(&format!("{path}.metadata")), or_blank(&format!("{path}.spec"), &fields)])
}

fn metadata(path: &str) -> String {
    or_blank(path, &["annotations", "labels"])
}

/// Of an object: the same, or there before or after only, without any of these fields.
fn or_blank(path: &str, fields: &[&str]) -> String {
    let blank = |object: &str| {
        let none: Vec<String> = fields.iter().map(|field| format!("!has({object}.{path}.{field})")).collect();
        format!("(!has({object}.{path}) || ({}))", none.join(" && "))
    };
    let same = format!("(has(self.{path}) && has(oldSelf.{path}) && self.{path} == oldSelf.{path})");
    format!("({same} || ({} && {}))", blank("self"), blank("oldSelf"))
}

/// Of an object that has its say by being there: there before and after, and these hold within, or neither.
fn part(path: &str, terms: &[String]) -> String {
    format!("(has(self.{path}) ? has(oldSelf.{path}) && {} : !has(oldSelf.{path}))", all(terms))
}

fn same(path: &str) -> String {
    part(path, &[format!("self.{path} == oldSelf.{path}")])
}

/// Of a text: the same, where none is as good as an empty one.
fn text(path: &str) -> String {
    let of = |object: &str| format!("(has({object}.{path}) ? {object}.{path} : '')");
    format!("{} == {}", of("self"), of("oldSelf"))
}

/// Of a reference to a Secret: the same, where none is as good as an empty one.
fn reference(path: &str) -> String {
    let name = |object: &str| format!("(has({object}.{path}) ? {object}.{path}.name : '')");
    let key = |object: &str| format!("(has({object}.{path}) && has({object}.{path}.key) ? {object}.{path}.key : '')");
    format!("{} == {} && {} == {}", name("self"), name("oldSelf"), key("self"), key("oldSelf"))
}

fn all(terms: &[String]) -> String {
    format!("({})", terms.join(" && "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use kube::CustomResourceExt as _;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::{Challenge, Order};

    /// What leads nowhere else; an older cert-manager drops the second.
    const FREE: [&str; 2] = ["solver.selector", "solver.waitInsteadOfSelfCheck"];

    fn spec(crd: &Value) -> &Value {
        &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    }

    /// Most fields are compared one by one, so none may be forgotten: each is in the rules, or something that it is a part of.
    #[test]
    fn every_field_is_frozen() {
        for (crd, rules) in [
            (json!(Order::crd()), Vec::from(frozen_order_spec())),
            (json!(Challenge::crd()), Vec::from(frozen_challenge_spec())),
        ] {
            let texts: String = rules.iter().map(|rule| rule.expression.as_str()).collect();
            let mut leaves = 0;
            look(spec(&crd), "", &texts, &mut leaves);
            assert!(leaves >= 10, "{leaves}");
        }
    }

    fn look(schema: &Value, path: &str, rules: &str, leaves: &mut usize) {
        if FREE.contains(&path) || rules.contains(&format!("self.{path} == oldSelf.{path}")) {
            *leaves += 1;
            return;
        }
        if let Some(fields) = schema["properties"].as_object() {
            let dot = if path.is_empty() { "" } else { "." };
            fields.iter().for_each(|(name, inner)| look(inner, &format!("{path}{dot}{name}"), rules, leaves));
            return;
        }
        let is_told = rules.contains(&format!("? oldSelf.{path} : ''")) || path == "wildcard";
        assert!(is_told, "{path}");
        *leaves += 1;
    }
}
