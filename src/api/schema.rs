//! Pieces of schema that the types cannot express, and the helpers that keep absent parts off the wire.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::json;

use super::rules;

/// The words that `spec.usages` of Certificates and CertificateRequests accept.
pub(super) const KEY_USAGES: [&str; 23] = [
    "signing",
    "digital signature",
    "content commitment",
    "key encipherment",
    "key agreement",
    "data encipherment",
    "cert sign",
    "crl sign",
    "encipher only",
    "decipher only",
    "any",
    "server auth",
    "client auth",
    "code signing",
    "email protection",
    "s/mime",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "timestamping",
    "ocsp signing",
    "microsoft sgc",
    "netscape sgc",
];

/// The states of Orders, Challenges and authorizations.
pub(super) const ACME_STATES: [&str; 7] = ["valid", "ready", "pending", "processing", "invalid", "expired", "errored"];

// serde's `skip_serializing_if` hands over a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
pub(super) fn is_false(value: &bool) -> bool {
    !value
}

pub(super) fn key_usages(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "string", "enum": KEY_USAGES } })
}

/// A reference to an issuer in what users write, with the rules for it.
pub(super) fn checked_issuer(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = generator.subschema_for::<super::IssuerReference>();
    schema.insert("x-kubernetes-validations".into(), json!(rules::issuer_reference()));
    if let Some(name) = schema.pointer_mut("/properties/name").and_then(|name| name.as_object_mut()) {
        name.insert("x-kubernetes-validations".into(), json!(rules::issuer_name()));
    }
    schema
}

/// More solvers than any issuer has; the API server has to know how often a rule may be asked.
const MOST_SOLVERS: u32 = 200;

/// As of all durations.
const LONGEST_DURATION: u32 = 256;

/// The same for the name servers of a solver, and their length.
const MOST_NAMESERVERS: u32 = 10;
const LONGEST_NAMESERVER: u32 = 256;

/// The solvers of an issuer, with the rules for them.
pub(super) fn checked_solvers(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = generator.subschema_for::<Vec<super::solver::AcmeSolver>>();
    schema.insert("maxItems".into(), json!(MOST_SOLVERS));
    let mut extend = |place: &str, key: &str, value: serde_json::Value| {
        if let Some(part) = schema.pointer_mut(place).and_then(|part| part.as_object_mut()) {
            part.insert(key.into(), value);
        }
    };
    let (http01, dns01) = ("/items/properties/http01", "/items/properties/dns01");
    let wait = "/items/properties/waitInsteadOfSelfCheck";
    extend("/items", RULES, json!(rules::solver()));
    extend(http01, RULES, json!(rules::http01()));
    extend(&format!("{http01}/properties/ingress"), RULES, json!(rules::ingress()));
    extend(&format!("{http01}/properties/gatewayHTTPRoute"), RULES, json!(rules::gateway_route()));
    extend(dns01, RULES, json!(rules::dns01()));
    for (provider, rules) in rules::providers() {
        extend(&format!("{dns01}/properties/{provider}"), RULES, json!(rules));
    }
    let servers = format!("{dns01}/properties/nameservers");
    extend(&servers, "maxItems", json!(MOST_NAMESERVERS));
    let of_ingress = |field: &str| format!("{http01}/properties/ingress/properties/{field}");
    let of_rfc2136 = |field: &str| format!("{dns01}/properties/rfc2136/properties/{field}");
    for (text, longest, rules) in [
        (wait.to_owned(), LONGEST_DURATION, json!(rules::wait())),
        (of_ingress("ingressClassName"), 253, json!(rules::ingress_class_name())),
        (format!("{servers}/items"), LONGEST_NAMESERVER, json!(rules::nameserver())),
        (of_rfc2136("nameserver"), LONGEST_NAMESERVER, json!(rules::update_server())),
        (of_rfc2136("tsigAlgorithm"), 64, json!(rules::tsig_algorithm())),
    ] {
        extend(&text, "maxLength", json!(longest));
        extend(&text, RULES, rules);
    }
    schema
}

const RULES: &str = "x-kubernetes-validations";

/// More names than any certificate has; the API server has to know how often a rule may be asked.
const MOST_NAMES: u32 = 1_500;

/// What Go's `net.ParseIP` reads.
pub(super) fn ip_addresses(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MOST_NAMES,
        "items": { "type": "string", "maxLength": 48, "x-kubernetes-validations": rules::ip_address() },
    })
}

/// What Go's `net.ParseCIDR` reads.
pub(super) fn networks(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "string", "format": "cidr" } })
}

/// What Go's `mail.ParseAddress` reads, without display names, comments and quotes.
pub(super) fn mail_addresses(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MOST_NAMES,
        "items": {
            "type": "string",
            "format": "email",
            "maxLength": 320,
            "x-kubernetes-validations": rules::bare_mail_address(),
        },
    })
}

/// Labels for a Secret.
pub(super) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": {
            "type": "string",
            "maxLength": 63,
            "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$",
        },
        "maxProperties": 1000,
        "x-kubernetes-validations": rules::label_keys(),
    })
}

/// Bytes, which travel in base64.
pub(super) fn bytes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "byte" })
}

/// An object whose fields the API server neither knows nor prunes.
pub(super) fn open_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// Any JSON value at all.
pub(super) fn anything(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
}

/// Conditions without `observedGeneration`, which CertificateRequests do not have.
pub(super) fn request_conditions(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = generator.subschema_for::<Vec<super::Condition>>();
    if let Some(properties) = schema.pointer_mut("/items/properties").and_then(|p| p.as_object_mut()) {
        properties.remove("observedGeneration");
    }
    if let Some(condition) = schema.pointer_mut("/items").and_then(|items| items.as_object_mut()) {
        condition.insert("x-kubernetes-validations".into(), json!(rules::final_approval()));
    }
    schema.insert("x-kubernetes-validations".into(), json!(rules::conditions_of_requests()));
    schema.insert("x-kubernetes-list-type".into(), json!("map"));
    schema.insert("x-kubernetes-list-map-keys".into(), json!(["type"]));
    schema
}

/// Amounts of resources by name, each a number or a string such as `100m` or `64Mi`.
pub(super) fn quantities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": {
            "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
            "x-kubernetes-int-or-string": true,
        },
    })
}

/// A Vault issuer: what must be there is checked, all else is kept as it is.
pub(super) fn vault_issuer(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "required": ["auth", "path", "server"],
        "properties": {
            "server": { "type": "string", "description": "URL of the Vault server." },
            "path": { "type": "string", "description": "Path of the PKI engine's sign endpoint." },
            "auth": {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": true,
                "description": "How to sign in to Vault.",
            },
        },
    })
}

/// A Venafi issuer: what must be there is checked, all else is kept as it is.
pub(super) fn venafi_issuer(_: &mut SchemaGenerator) -> Schema {
    let service = |description| json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true, "description": description });
    json_schema!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "x-kubernetes-validations": [{
            "rule": "[has(self.tpp), has(self.cloud), has(self.ngts)].filter(set, set).size() == 1",
            "message": "exactly one of tpp, cloud and ngts must be set",
        }],
        "required": ["zone"],
        "properties": {
            "zone": { "type": "string", "description": "Zone whose policy applies." },
            "tpp": service("A server of one's own (Trust Protection Platform)."),
            "cloud": service("The cloud service."),
            "ngts": service("Next-Gen Trust Security."),
        },
    })
}
