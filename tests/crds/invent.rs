//! Objects that nobody wrote: made up from a schema, or changed as a later version might.

use serde_json::{Value, json};

/// An object in which every field of the schema is set.
pub fn made_up(schema: &Value, path: &str) -> Value {
    if schema["type"].is_null() && schema["x-kubernetes-int-or-string"] != true {
        return json!({ "any": [1, "thing"] });
    }
    if let Some(words) = schema["enum"].as_array() {
        return words[words.len() - 1].clone();
    }
    match schema["type"].as_str() {
        Some("object") if schema["properties"].is_object() => {
            let properties = schema["properties"].as_object().unwrap();
            let fields = properties.iter().map(|(name, s)| (name.clone(), made_up(s, &format!("{path}.{name}"))));
            fields.collect::<serde_json::Map<_, _>>().into()
        }
        Some("object") if schema["additionalProperties"].is_object() => {
            json!({ "key": made_up(&schema["additionalProperties"], path) })
        }
        Some("object") => json!({ "any": { "thing": true } }),
        Some("array") => json!([made_up(&schema["items"], path)]),
        Some("boolean") => json!(true),
        Some("integer") => json!(42),
        _ if schema["format"] == "byte" => json!("Ynl0ZXM="),
        _ if schema["format"] == "date-time" => json!("2026-01-02T03:04:05Z"),
        _ if schema["x-kubernetes-int-or-string"] == true => json!("100m"),
        _ if schema["format"] == "cidr" => json!("192.0.2.0/24"),
        _ if schema["format"] == "email" => json!("a@example.com"),
        _ if path.ends_with(".windowDuration") => json!("1h30m"),
        _ if path.ends_with("otherNames.oid") => json!("1.2.3"),
        _ => json!("text"),
    }
}

/// Adds a field to each object, and puts an unknown word wherever the schema lists words.
pub fn age(object: &mut Value) {
    match object {
        Value::Object(fields) => {
            fields.values_mut().for_each(age);
            // Elsewhere maps hold strings only.
            if fields.contains_key("name") || fields.contains_key("type") || fields.contains_key("issuerRef") {
                fields.insert("addedLater".into(), json!({ "deep": [1] }));
            }
            for word in ["algorithm", "profile", "state", "type", "status", "cnameStrategy", "policy"] {
                if let Some(Value::String(text)) = fields.get_mut(word) {
                    *text = "InventedLater".into();
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(age),
        _ => {}
    }
}
