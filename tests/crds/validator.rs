//! The part of the API server's validation that our schemas use, so that manifests can be judged without a server.
//!
//! Rules in CEL are left out. The same manifests are given to a real API server in the end-to-end tests.

use regex::Regex;
use serde_json::Value;

/// Paths of all fields of `object` that violate `schema`.
pub fn violations(schema: &Value, object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    visit(schema, object, "", &mut found);
    found
}

fn visit(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    if !has_type(schema, value) || !in_enumeration(schema, value) || !in_bounds(schema, value) {
        found.push(path.to_owned());
        return;
    }
    match value {
        Value::Object(fields) => visit_fields(schema, fields, path, found),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                visit(&schema["items"], item, &format!("{path}[{index}]"), found);
            }
        }
        Value::String(text) if !text_fits(schema, text) => found.push(path.to_owned()),
        _ => {}
    }
}

fn visit_fields(schema: &Value, fields: &serde_json::Map<String, Value>, path: &str, found: &mut Vec<String>) {
    let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(required) && schema["properties"][required]["default"].is_null() {
            found.push(join(required));
        }
    }
    // The API server knows these of every object.
    let ambient = |name: &str| path.is_empty() && ["apiVersion", "kind", "metadata"].contains(&name);
    for (name, value) in fields.iter().filter(|(name, _)| !ambient(name)) {
        let known = [&schema["properties"][name], &schema["additionalProperties"]].into_iter().find(|s| !s.is_null());
        match known {
            Some(schema) => visit(schema, value, &join(name), found),
            None if is_open(schema) => {}
            None => found.push(format!("{} (unknown field)", join(name))),
        }
    }
}

fn is_open(schema: &Value) -> bool {
    schema["x-kubernetes-preserve-unknown-fields"] == true
}

fn has_type(schema: &Value, value: &Value) -> bool {
    if schema["x-kubernetes-int-or-string"] == true {
        return value.is_string() || value.is_i64() || value.is_u64();
    }
    match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        None => is_open(schema),
        Some(other) => panic!("the schemas are not expected to use the type {other}"),
    }
}

fn in_enumeration(schema: &Value, value: &Value) -> bool {
    schema["enum"].as_array().is_none_or(|allowed| allowed.contains(value))
}

fn in_bounds(schema: &Value, value: &Value) -> bool {
    let Some(number) = value.as_f64() else { return true };
    schema["minimum"].as_f64().is_none_or(|least| least <= number)
        && schema["maximum"].as_f64().is_none_or(|most| number <= most)
}

fn text_fits(schema: &Value, text: &str) -> bool {
    let length = text.chars().count() as u64;
    schema["minLength"].as_u64().is_none_or(|least| least <= length)
        && schema["maxLength"].as_u64().is_none_or(|most| length <= most)
        && schema["pattern"].as_str().is_none_or(|p| Regex::new(p).expect("a pattern").is_match(text))
        && format_fits(schema["format"].as_str(), text)
}

fn format_fits(format: Option<&str>, text: &str) -> bool {
    match format {
        Some("byte") => !text.is_empty() && serde_json::from_value::<k8s_openapi::ByteString>(text.into()).is_ok(),
        Some("cidr") => is_network(text),
        // Enough for the mistakes in the manifests; the API server reads it by RFC 5322.
        Some("email") => text.contains('@'),
        Some("date-time") => text.parse::<jiff::Timestamp>().is_ok(),
        _ => true,
    }
}

fn is_network(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, length)| {
        address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|a| length.parse().is_ok_and(|bits: u8| bits <= if a.is_ipv4() { 32 } else { 128 }))
    })
}
