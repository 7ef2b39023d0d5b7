//! Fields that the API server does not keep, because the CustomResourceDefinition in the cluster is of an older version.
//!
//! It drops them without a word. Who writes them, and looks whether they are there, would write them for ever.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use serde_json::Value;

/// What was already told of.
#[derive(Default)]
pub(super) struct Dropped {
    told: Mutex<BTreeSet<String>>,
}

impl Dropped {
    /// Whether `kept` lacks a field of `wanted`, the value of the field `within` of objects of this kind. Each is told of once.
    pub(super) fn any(&self, kind: &str, within: &str, wanted: &Value, kept: &Value) -> bool {
        let mut missing = Vec::new();
        add_missing(within, wanted, kept, &mut missing);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for field in &missing {
            if told.insert(format!("{kind} {field}")) {
                tracing::warn!(
                    kind,
                    field,
                    "the CustomResourceDefinition in the cluster does not know this field, so it is lost; bring the \
                     definitions up to date: certwright crds | kubectl apply -f -"
                );
            }
        }
        !missing.is_empty()
    }
}

fn add_missing(path: &str, wanted: &Value, kept: &Value, missing: &mut Vec<String>) {
    match (wanted, kept) {
        (Value::Object(wanted), Value::Object(kept)) => {
            for (key, value) in wanted {
                let path = format!("{path}.{key}");
                match kept.get(key) {
                    Some(kept) => add_missing(&path, value, kept, missing),
                    None => missing.push(path),
                }
            }
        }
        (Value::Array(wanted), Value::Array(kept)) => {
            let path = format!("{path}[]");
            wanted.iter().zip(kept).for_each(|(wanted, kept)| add_missing(&path, wanted, kept, missing));
        }
        // Without any field that it knows, the whole is not there.
        (Value::Object(wanted), Value::Null) if !wanted.is_empty() => missing.push(path.to_owned()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn missing(wanted: &Value, kept: &Value) -> Vec<String> {
        let mut missing = Vec::new();
        add_missing("status", wanted, kept, &mut missing);
        missing
    }

    #[test]
    fn fields_that_are_gone_are_named() {
        let wanted = json!({ "acme": { "ari": { "nextCheck": "x" } }, "revision": 1 });
        assert_eq!(missing(&wanted, &wanted), Vec::<String>::new());
        assert_eq!(missing(&wanted, &json!({ "revision": 1 })), ["status.acme"]);
        assert_eq!(missing(&wanted, &json!({ "acme": {}, "revision": 1 })), ["status.acme.ari"]);
        assert_eq!(missing(&wanted, &Value::Null), ["status"]);
        let list = json!({ "conditions": [{ "type": "Ready" }, { "type": "Issuing", "observedGeneration": 1 }] });
        let kept = json!({ "conditions": [{ "type": "Ready" }, { "type": "Issuing" }] });
        assert_eq!(missing(&list, &kept), ["status.conditions[].observedGeneration"]);
    }

    #[test]
    fn what_the_server_adds_or_spells_otherwise_is_kept() {
        let wanted = json!({ "at": "2026-01-01T00:00:00Z", "list": [] });
        assert_eq!(missing(&wanted, &json!({ "at": "2026-01-01T00:00:00+00:00", "list": [], "more": 1 })), [""; 0]);
        assert_eq!(missing(&json!({}), &Value::Null), [""; 0]);
    }
}
