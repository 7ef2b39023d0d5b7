//! The manifests in the documentation and in `examples/`.

use std::fs;

use serde::Deserialize as _;
use serde_json::{Value, json};

use super::pages::{pages, root};

/// Where they are, and what they are.
pub fn manifests() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for page in pages() {
        for (number, block) in blocks(&page.text) {
            found.extend(documents(&format!("{}:{number}", page.name()), &block));
        }
    }
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        found.extend(documents(&path.display().to_string(), &fs::read_to_string(&path).unwrap()));
    }
    assert!(found.len() > 40, "{}", found.len());
    found
}

/// A part of an issuer becomes a whole one; what is whole already, and parts of objects of others, stay.
pub fn complete(object: Value) -> Value {
    let acme = if object["kind"].is_string() {
        return object;
    } else if object["solvers"].is_array() {
        object
    } else if object["http01"].is_object() {
        json!({ "solvers": [object] })
    } else if object["spec"]["acme"].is_object() {
        object["spec"]["acme"].clone()
    } else if object["listeners"].is_array() {
        return json!({ "kind": "Gateway" });
    } else {
        return object;
    };
    let mut whole = json!({ "server": "https://ca.example.com", "privateKeySecretRef": { "name": "account" } });
    whole.as_object_mut().unwrap().extend(acme.as_object().unwrap().clone());
    json!({ "apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": {}, "spec": { "acme": whole } })
}

/// The blocks that are marked as YAML, with the number of their first line.
fn blocks(text: &str) -> Vec<(usize, String)> {
    let mut blocks: Vec<(usize, String)> = Vec::new();
    let mut margin = None;
    for (number, line) in text.lines().enumerate() {
        match (margin, line.trim_start()) {
            (None, "```yaml") => {
                margin = Some(line.len() - line.trim_start().len());
                blocks.push((number + 2, String::new()));
            }
            (Some(_), "```") => margin = None,
            (Some(margin), _) => {
                let block = &mut blocks.last_mut().unwrap().1;
                block.push_str(line.get(margin..).unwrap_or_default());
                block.push('\n');
            }
            _ => {}
        }
    }
    blocks
}

fn documents(place: &str, text: &str) -> Vec<(String, Value)> {
    let read = |document| Value::deserialize(document).unwrap_or_else(|error| panic!("{place}: {error}"));
    serde_yaml::Deserializer::from_str(text).map(|document| (place.to_owned(), read(document))).collect()
}
