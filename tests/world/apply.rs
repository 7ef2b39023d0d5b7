//! Who owns which field of an object, as the API server notes it for server-side apply; only of our manager, and only
//! of labels, annotations, data and owners.

use certwright::api::names::field_manager;
use serde_json::{Map, Value, json};

/// Where the fields lie, and where the note about them lies in `fieldsV1`.
const FIELDS: [(&str, &str); 3] = [
    ("/metadata/labels", "/f:metadata/f:labels"),
    ("/metadata/annotations", "/f:metadata/f:annotations"),
    ("/data", "/f:data"),
];

/// Takes out of the object what our manager has applied before and does not want any more.
pub fn take_back(value: &mut Value, wanted: &Value) {
    let owned = owned(value);
    for (fields, note) in FIELDS {
        let Some(held) = value.pointer_mut(fields).and_then(Value::as_object_mut) else { continue };
        for name in names(&owned, note) {
            if wanted.pointer(fields).and_then(|wanted| wanted.get(&name)).is_none() {
                held.remove(&name);
            }
        }
    }
    let uids = owned.pointer("/f:metadata/f:ownerReferences").and_then(Value::as_object).cloned().unwrap_or_default();
    if let Some(owners) = value.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut) {
        owners.retain(|owner| !uids.contains_key(&owner_note(owner)));
    }
}

/// Puts what is wanted into the object, and notes that it is our manager's.
pub fn put(value: &mut Value, wanted: &Value) {
    let mut note = json!({});
    for (fields, _) in FIELDS {
        let Some(wanted) = wanted.pointer(fields).and_then(Value::as_object) else { continue };
        let noted: Map<String, Value> = wanted.keys().map(|name| (format!("f:{name}"), json!({}))).collect();
        for (name, field) in wanted {
            *at(value, fields, name) = field.clone();
        }
        match fields.rsplit_once('/').expect("a path") {
            ("/metadata", last) => note["f:metadata"][format!("f:{last}")] = Value::Object(noted),
            (_, last) => note[format!("f:{last}")] = Value::Object(noted),
        }
    }
    let owners = wanted["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
    for owner in owners {
        note["f:metadata"]["f:ownerReferences"][owner_note(&owner)] = json!({});
        let held = &mut value["metadata"]["ownerReferences"];
        if held.is_null() {
            *held = json!([]);
        }
        let held = held.as_array_mut().expect("a list");
        held.retain(|other| other["uid"] != owner["uid"]);
        held.push(owner);
    }
    value["metadata"]["managedFields"] = json!([{
        "manager": field_manager::ISSUING, "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "fieldsV1": note,
    }]);
}

/// Whoever changes or removes a field by an ordinary write takes it from its owners.
pub fn lose(before: &Value, after: &mut Value) {
    let owned = owned(before);
    for (fields, note) in FIELDS {
        for name in names(&owned, note) {
            let of = |value: &Value| value.pointer(fields).and_then(|fields| fields.get(&name)).cloned();
            if of(before) == of(after) {
                continue;
            }
            if let Some(Value::Object(noted)) = after.pointer_mut(&format!("/metadata/managedFields/0/fieldsV1{note}"))
            {
                noted.remove(&format!("f:{name}"));
            }
        }
    }
}

fn owned(value: &Value) -> Value {
    value.pointer("/metadata/managedFields/0/fieldsV1").cloned().unwrap_or_default()
}

fn names(owned: &Value, note: &str) -> Vec<String> {
    let noted = owned.pointer(note).and_then(Value::as_object).into_iter().flatten();
    noted.filter_map(|(name, _)| Some(name.strip_prefix("f:")?.to_owned())).collect()
}

fn owner_note(owner: &Value) -> String {
    format!("k:{}", json!({"uid": owner["uid"]}))
}

fn at<'a>(value: &'a mut Value, fields: &str, name: &str) -> &'a mut Value {
    let parent = fields.split('/').skip(1).fold(value, |value, part| &mut value[part]);
    &mut parent[name]
}
