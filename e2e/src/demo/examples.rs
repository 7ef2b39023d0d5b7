//! The files in `examples/`, with a place's own values in the stead of those that every reader has to replace.

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

/// The domain that the examples use.
const EXAMPLE_DOMAIN: &str = "example.com";

/// What the examples leave to their reader.
pub struct Values {
    /// Namespace of everything that names none.
    pub namespace: String,
    /// Directory URL of the certificate authority.
    pub server: String,
    /// PEM of the authority behind the server's own certificate; `None` for one that everybody trusts.
    pub ca_bundle: Option<Vec<u8>>,
    /// Stands for `example.com`.
    pub domain: String,
    /// For HTTP-01.
    pub ingress_class: Option<String>,
    /// For DNS-01.
    pub name_server: Option<NameServer>,
}

/// A name server that takes updates (RFC 2136) with a TSIG key.
#[derive(Clone)]
pub struct NameServer {
    pub address: String,
    pub key_name: String,
    /// As the API spells it, such as `HMACSHA256`.
    pub algorithm: String,
    /// Base64.
    pub secret: String,
}

/// Gives the documents of `text` (YAML) with `values` filled in, as one JSON list for `kubectl apply`.
pub fn fill_in(text: &str, values: &Values) -> Result<String> {
    let mut items = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let mut item = Value::deserialize(document).context("reading an example")?;
        replace_domain(&mut item, &values.domain);
        adapt(&mut item, values);
        items.push(item);
    }
    Ok(serde_json::to_string(&json!({ "apiVersion": "v1", "kind": "List", "items": items }))?)
}

fn replace_domain(value: &mut Value, domain: &str) {
    match value {
        Value::String(text) => *text = text.replace(EXAMPLE_DOMAIN, domain),
        Value::Array(values) => values.iter_mut().for_each(|value| replace_domain(value, domain)),
        Value::Object(fields) => fields.values_mut().for_each(|value| replace_domain(value, domain)),
        _ => {}
    }
}

fn adapt(item: &mut Value, values: &Values) {
    let kind = item["kind"].as_str().unwrap_or_default().to_owned();
    if kind != "ClusterIssuer" && item["metadata"]["namespace"].is_null() {
        item["metadata"]["namespace"] = json!(values.namespace);
    }
    match (kind.as_str(), &values.name_server) {
        ("Issuer" | "ClusterIssuer", _) if item["spec"]["acme"].is_object() => {
            adapt_issuer(&mut item["spec"]["acme"], values);
        }
        ("Secret", Some(server)) if item["stringData"]["secret"].is_string() => {
            item["stringData"]["secret"] = json!(server.secret);
        }
        _ => {}
    }
}

fn adapt_issuer(acme: &mut Value, values: &Values) {
    acme["server"] = json!(values.server);
    if let Some(pem) = &values.ca_bundle {
        acme["caBundle"] = json!(STANDARD.encode(pem));
    }
    for solver in acme["solvers"].as_array_mut().into_iter().flatten() {
        if let (Some(class), Some(ingress)) = (&values.ingress_class, solver.pointer_mut("/http01/ingress")) {
            ingress["ingressClassName"] = json!(class);
        }
        if let (Some(server), Some(rfc2136)) = (&values.name_server, solver.pointer_mut("/dns01/rfc2136")) {
            rfc2136["nameserver"] = json!(server.address);
            rfc2136["tsigKeyName"] = json!(server.key_name);
            rfc2136["tsigAlgorithm"] = json!(server.algorithm);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_example_without_acme_stays_without() {
        let values = Values {
            namespace: "demo".into(),
            server: "https://ca.test/dir".into(),
            ca_bundle: None,
            domain: "zone.test".into(),
            ingress_class: None,
            name_server: None,
        };
        let filled = fill_in(include_str!("../../../examples/own-ca.yaml"), &values).unwrap();
        assert!(!filled.contains("acme") && filled.contains("internal.zone.test"), "{filled}");
    }

    #[test]
    fn nothing_of_the_readers_values_is_left() {
        let server = NameServer {
            address: "10.0.0.1".into(),
            key_name: "k".into(),
            algorithm: "HMACSHA512".into(),
            secret: "c2VjcmV0".into(),
        };
        let values = Values {
            namespace: "demo".into(),
            server: "https://ca.test/dir".into(),
            ca_bundle: Some(b"pem".to_vec()),
            domain: "zone.test".into(),
            ingress_class: Some("other".into()),
            name_server: Some(server),
        };
        let mut kinds = Vec::new();
        for text in
            [include_str!("../../../examples/http01.yaml"), include_str!("../../../examples/dns01-rfc2136.yaml")]
        {
            let filled = fill_in(text, &values).unwrap();
            for left in [EXAMPLE_DOMAIN, "letsencrypt.org", "nginx", "192.0.2.53", "\"certwright\",\"tsig", "bm90"] {
                assert!(!filled.contains(left), "{left} in {filled}");
            }
            let list: Value = serde_json::from_str(&filled).unwrap();
            for item in list["items"].as_array().unwrap() {
                let namespace = item["metadata"]["namespace"].as_str().unwrap_or("-");
                kinds.push(format!("{} {namespace}", item["kind"].as_str().unwrap()));
            }
            assert!(filled.contains(r#""caBundle":"cGVt""#), "{filled}");
        }
        let expected = [
            "Issuer demo",
            "Certificate demo",
            "Secret certwright",
            "ClusterIssuer -",
            "Certificate demo",
            "Certificate demo",
        ];
        assert_eq!(kinds, expected);
    }
}
