//! Which fields of the target Secret are ours, as the API server has noted it for server-side apply.
//!
//! What somebody else has put into the Secret stays; what we have put there and do not want any more goes. The note is
//! `metadata.managedFields` under the name that cert-manager uses, so that either can take over from the other.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Secret;
use serde_json::{Map, Value};

use crate::api::names::field_manager;

/// See the module's description. Names of labels, annotations and data entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnedFields {
    pub labels: BTreeSet<String>,
    pub annotations: BTreeSet<String>,
    pub data: BTreeSet<String>,
    pub owner_references: bool,
}

impl OwnedFields {
    /// What the Secret's metadata says; nothing if it says nothing that can be read.
    pub fn of(secret: &Secret) -> Self {
        let entries = secret.metadata.managed_fields.iter().flatten();
        let ours = entries.filter(|entry| entry.manager.as_deref() == Some(field_manager::ISSUING));
        let mut owned = Self::default();
        for fields in ours.filter_map(|entry| entry.fields_v1.as_ref()) {
            match &fields.0 {
                Value::Object(fields) => owned.add(fields),
                // The stores hold the note as text, which needs a tenth of the memory.
                Value::String(text) => {
                    if let Ok(Value::Object(fields)) = serde_json::from_str(text) {
                        owned.add(&fields);
                    }
                }
                _ => {}
            }
        }
        owned
    }

    fn add(&mut self, fields: &Map<String, Value>) {
        let metadata = fields.get("f:metadata").and_then(Value::as_object);
        let within = |parent: Option<&Map<String, Value>>, field: &str| {
            let children = parent.and_then(|parent| parent.get(field)?.as_object());
            children.into_iter().flatten().filter_map(|(key, _)| Some(key.strip_prefix("f:")?.to_owned())).collect()
        };
        let add = |set: &mut BTreeSet<String>, more: Vec<String>| set.extend(more);
        add(&mut self.labels, within(metadata, "f:labels"));
        add(&mut self.annotations, within(metadata, "f:annotations"));
        add(&mut self.data, within(Some(fields), "f:data"));
        self.owner_references |= metadata.is_some_and(|metadata| metadata.contains_key("f:ownerReferences"));
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_our_manager_has_applied_is_ours() {
        let ours = json!({
            "f:data": {".": {}, "f:tls.crt": {}},
            "f:metadata": {
                "f:annotations": {"f:a/b": {}},
                "f:labels": {"f:x": {}},
                "f:ownerReferences": {"k:{\"uid\":\"1\"}": {}},
            },
        });
        let entry = |manager: &str, fields: Value| ManagedFieldsEntry {
            manager: Some(manager.to_owned()),
            fields_v1: Some(FieldsV1(fields)),
            ..ManagedFieldsEntry::default()
        };
        let mut secret = Secret::default();
        secret.metadata.managed_fields = Some(vec![
            entry(field_manager::ISSUING, ours.clone()),
            entry("kubectl", json!({"f:metadata": {"f:labels": {"f:theirs": {}}}})),
        ]);
        let owned = OwnedFields::of(&secret);
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let expected = OwnedFields {
            labels: set(&["x"]),
            annotations: set(&["a/b"]),
            data: set(&["tls.crt"]),
            owner_references: true,
        };
        assert_eq!(owned, expected);
        secret.metadata.managed_fields = Some(vec![entry(field_manager::ISSUING, Value::String(ours.to_string()))]);
        assert_eq!(OwnedFields::of(&secret), expected);
        secret.metadata.managed_fields = Some(vec![entry(field_manager::ISSUING, json!([1]))]);
        assert_eq!(OwnedFields::of(&secret), OwnedFields::default());
    }
}
