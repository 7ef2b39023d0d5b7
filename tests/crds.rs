//! The CustomResourceDefinitions: that the committed files are current, that they say what users of cert-manager expect,
//! and that schemas and types agree.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use certwright::api::{self, Certificate, CertificateRequest, Challenge, ClusterIssuer, Issuer, Order};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

#[path = "crds/invent.rs"]
mod invent;
#[path = "crds/validator.rs"]
mod validator;
use invent::{age, made_up};
use validator::violations;

const REFRESH: &str = "refresh them with: UPDATE_CRDS=1 cargo test --test crds, and commit the result";

#[test]
fn committed_files_are_current() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let expected: Vec<(PathBuf, String)> = api::crds()
        .iter()
        .map(|crd| (folder.join(format!("{}.yaml", name(crd))), serde_yaml::to_string(crd).unwrap()))
        .collect();
    if std::env::var_os("UPDATE_CRDS").is_some() {
        for (path, text) in &expected {
            fs::write(path, text).unwrap();
        }
    }

    let files: BTreeSet<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files, expected.iter().map(|(path, _)| path.clone()).collect(), "{REFRESH}");
    for (path, text) in expected {
        assert!(fs::read_to_string(&path).unwrap() == text, "{} is out of date; {REFRESH}", path.display());
    }
}

#[test]
fn the_stream_holds_all_definitions() {
    let text = api::crd::crds_yaml().unwrap();
    let parsed: Vec<CustomResourceDefinition> = serde_yaml::Deserializer::from_str(&text)
        .map(|document| CustomResourceDefinition::deserialize(document).unwrap())
        .collect();
    assert_eq!(parsed, api::crds());
}

/// A client-side `kubectl apply` stores the object a second time as an annotation, of which 256 KiB fit.
#[test]
fn files_are_small_enough_to_apply() {
    for crd in api::crds() {
        let yaml = serde_yaml::to_string(&crd).unwrap().len();
        assert!(yaml < 80_000, "{} has {yaml} bytes", name(&crd));
    }
}

/// Kind, scope, short names, categories, columns (a star marks those of `-o wide`), fields for field selectors.
#[test]
fn definitions_look_like_cert_managers() {
    let ready = r#".status.conditions[?(@.type == "Ready")].status"#;
    let message = r#"*Status=.status.conditions[?(@.type == "Ready")].message"#;
    let by_issuer = [".spec.issuerRef.group", ".spec.issuerRef.kind", ".spec.issuerRef.name"];
    let age = "Age=.metadata.creationTimestamp:date";
    let issuer_columns = json!([format!("Ready={ready}"), message, age]);
    let expected = json!([
        [
            "Certificate",
            "Namespaced",
            ["cert", "certs"],
            ["cert-manager"],
            [
                format!("Ready={ready}"),
                "Secret=.spec.secretName",
                "*Issuer=.spec.issuerRef.name",
                message,
                "*Expiration=.status.notAfter",
                age
            ],
            by_issuer
        ],
        [
            "CertificateRequest",
            "Namespaced",
            ["cr", "crs"],
            ["cert-manager"],
            [
                r#"Approved=.status.conditions[?(@.type == "Approved")].status"#,
                r#"Denied=.status.conditions[?(@.type == "Denied")].status"#,
                format!("Ready={ready}"),
                "Issuer=.spec.issuerRef.name",
                "Requester=.spec.username",
                message,
                age
            ],
            by_issuer
        ],
        ["Issuer", "Namespaced", ["iss"], ["cert-manager"], issuer_columns, []],
        ["ClusterIssuer", "Cluster", ["ciss"], ["cert-manager"], issuer_columns, []],
        [
            "Order",
            "Namespaced",
            [],
            ["cert-manager", "cert-manager-acme"],
            ["State=.status.state", "*Issuer=.spec.issuerRef.name", "*Reason=.status.reason", age],
            by_issuer
        ],
        [
            "Challenge",
            "Namespaced",
            [],
            ["cert-manager", "cert-manager-acme"],
            ["State=.status.state", "Domain=.spec.dnsName", "*Reason=.status.reason", age],
            by_issuer
        ],
    ]);
    let actual: Vec<Value> = api::crds().iter().map(summary).collect();
    assert_eq!(json!(actual), expected);
}

fn summary(crd: &CustomResourceDefinition) -> Value {
    let [version] = crd.spec.versions.as_slice() else { panic!("{} has one version", name(crd)) };
    let columns = version.additional_printer_columns.iter().flatten().map(|column| {
        let wide = if column.priority == Some(1) { "*" } else { "" };
        let type_ = if column.type_ == "string" { String::new() } else { format!(":{}", column.type_) };
        format!("{wide}{}={}{type_}", column.name, column.json_path)
    });
    json!([
        crd.spec.names.kind,
        crd.spec.scope,
        crd.spec.names.short_names.clone().unwrap_or_default(),
        crd.spec.names.categories,
        columns.collect::<Vec<_>>(),
        version.selectable_fields.iter().flatten().map(|field| &field.json_path).collect::<Vec<_>>(),
    ])
}

#[test]
fn definitions_are_named_versioned_and_labelled() {
    for crd in api::crds() {
        let names = &crd.spec.names;
        assert_eq!(name(&crd), format!("{}.{}", names.plural, crd.spec.group));
        assert_eq!(names.plural, format!("{}s", names.kind.to_lowercase()));
        assert_eq!(names.list_kind, Some(format!("{}List", names.kind)));

        let labels = crd.metadata.labels.as_ref().unwrap();
        assert_eq!(labels["app.kubernetes.io/version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(labels["app.kubernetes.io/name"], "cert-manager");

        let version = &crd.spec.versions[0];
        assert_eq!((version.name.as_str(), version.served, version.storage), ("v1", true, true));
        assert!(version.subresources.as_ref().unwrap().status.is_some());
    }
}

#[test]
fn every_field_is_described() {
    for crd in api::crds() {
        for_each_schema(&schema(&crd), name(&crd), &mut |path, schema| {
            let is_entry = path.ends_with("[]") || path.ends_with("{}");
            let is_root_metadata = path == format!("{}.metadata", name(&crd));
            let description = schema["description"].as_str().unwrap_or_default();
            if !is_entry && !is_root_metadata {
                assert!(description.len() > 8 && description.ends_with('.'), "{path}: {description:?}");
                assert!(!description.contains('\n'), "{path}: {description:?}");
            }
        });
    }
}

/// What the API server demands of a structural schema, and what tells our types from Go's.
#[test]
fn schemas_are_structural() {
    for crd in api::crds() {
        for_each_schema(&schema(&crd), name(&crd), &mut |path, schema| {
            let open = schema["x-kubernetes-preserve-unknown-fields"] == true;
            let number_or_text = schema["x-kubernetes-int-or-string"] == true;
            assert!(schema["type"].is_string() || open || number_or_text, "{path} has no type");
            for absent in ["nullable", "title", "anyOf", "oneOf", "allOf", "not", "$ref", "examples"] {
                assert!(schema[absent].is_null(), "{path} has {absent}");
            }
            if let Some(format) = schema["format"].as_str() {
                assert!(
                    ["byte", "cidr", "date-time", "email", "int32", "int64"].contains(&format),
                    "{path} has the format {format}"
                );
            }
            for required in schema["required"].as_array().into_iter().flatten() {
                let known = &schema["properties"][required.as_str().unwrap()];
                assert!(known.is_object(), "{path} requires the unknown {required}");
            }
            if schema["x-kubernetes-list-type"] == "map" {
                let item = &schema["items"];
                for key in schema["x-kubernetes-list-map-keys"].as_array().unwrap() {
                    let defaulted = !item["properties"][key.as_str().unwrap()]["default"].is_null();
                    assert!(defaulted || item["required"].as_array().unwrap().contains(key), "{path} may lack {key}");
                }
            }
        });
    }
}

/// Defaults in the schema are written into stored objects, so there must be no accidental ones.
#[test]
fn only_the_intended_defaults_are_stored() {
    let mut defaults = BTreeSet::new();
    for_each_schema(schema_of("Issuer"), "", &mut |path, schema| {
        if !schema["default"].is_null() {
            defaults.insert(format!("{path}={}", schema["default"]));
        }
    });
    let solver = ".spec.acme.solvers[].http01";
    assert_eq!(
        defaults,
        BTreeSet::from([
            ".spec.acme.renewalInformationSource=\"ARI\"".to_owned(),
            format!("{solver}.gatewayHTTPRoute.parentRefs[].group=\"gateway.networking.k8s.io\""),
            format!("{solver}.gatewayHTTPRoute.parentRefs[].kind=\"Gateway\""),
            format!("{solver}.gatewayHTTPRoute.podTemplate.spec.imagePullSecrets[].name=\"\""),
            format!("{solver}.ingress.podTemplate.spec.imagePullSecrets[].name=\"\""),
        ])
    );
    for kind in ["Certificate", "CertificateRequest", "Order"] {
        for_each_schema(schema_of(kind), kind, &mut |path, schema| {
            assert!(schema["default"].is_null(), "{path} has a default");
        });
    }
}

#[test]
fn full_and_odd_objects_are_accepted() {
    for object in manifests("full.yaml").into_iter().chain(manifests("accepted.yaml")) {
        assert_eq!(violations(schema_of(kind(&object)), &object), [""; 0], "{}", id(&object));
    }
}

#[test]
fn wrong_objects_are_refused() {
    let objects = manifests("refused.yaml");
    assert!(objects.len() > 70);
    for object in objects {
        let expected = object["metadata"]["annotations"]["refused-at"].as_str().unwrap();
        assert_eq!(violations(schema_of(kind(&object)), &object), [expected], "{}", id(&object));
    }
}

/// Every field that the hand-written manifests name comes back under the same name, with the same value.
#[test]
fn full_objects_survive_decoding() {
    for object in manifests("full.yaml") {
        assert_eq!(decode_and_encode(&object).unwrap(), object, "{}", id(&object));
    }
}

/// Every field that the schemas know is set in the full manifests, or in an object made up from the schema.
#[test]
fn no_field_of_the_schema_is_lost() {
    for crd in api::crds() {
        let mut object = made_up(&schema(&crd), "");
        object["apiVersion"] = json!(format!("{}/v1", crd.spec.group));
        object["kind"] = json!(crd.spec.names.kind);
        object["metadata"] = json!({ "name": "made-up" });
        assert_eq!(violations(&schema(&crd), &object), [""; 0], "{}", name(&crd));
        assert_eq!(decode_and_encode(&object).unwrap(), object, "{}", name(&crd));
    }
}

/// What the schema lets through must decode, whatever the values are.
#[test]
fn accepted_objects_decode() {
    for object in manifests("accepted.yaml") {
        decode_and_encode(&object).unwrap_or_else(|error| panic!("{}: {error}", id(&object)));
    }
}

/// Newer versions and objects from before a rule existed: new fields, new words, missing parts. None may stop a watch.
#[test]
fn objects_of_other_versions_decode() {
    for mut object in manifests("full.yaml") {
        age(&mut object);
        decode_and_encode(&object).unwrap_or_else(|error| panic!("{}: {error}", id(&object)));
    }
    for kind in ["Certificate", "CertificateRequest", "Issuer", "ClusterIssuer", "Order", "Challenge"] {
        let object = json!({ "kind": kind, "metadata": {}, "spec": {}, "status": {} });
        decode_and_encode(&object).unwrap_or_else(|error| panic!("{kind}: {error}"));
    }
}

#[test]
fn secrets_are_not_printed() {
    for object in manifests("full.yaml") {
        let printed = match kind(&object) {
            "Certificate" => format!("{:?}", serde_json::from_value::<Certificate>(object).unwrap()),
            "Challenge" => format!("{:?}", serde_json::from_value::<Challenge>(object).unwrap()),
            "Issuer" => format!("{:?}", serde_json::from_value::<Issuer>(object).unwrap()),
            _ => continue,
        };
        for secret in ["changeit", "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0", "retries"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
}

fn decode_and_encode(object: &Value) -> Result<Value, serde_json::Error> {
    fn through<K: DeserializeOwned + serde::Serialize>(object: &Value) -> Result<Value, serde_json::Error> {
        serde_json::to_value(K::deserialize(object)?)
    }
    match kind(object) {
        "Certificate" => through::<Certificate>(object),
        "CertificateRequest" => through::<CertificateRequest>(object),
        "Issuer" => through::<Issuer>(object),
        "ClusterIssuer" => through::<ClusterIssuer>(object),
        "Order" => through::<Order>(object),
        "Challenge" => through::<Challenge>(object),
        other => panic!("no type for {other}"),
    }
}

fn for_each_schema(schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        for_each_schema(property, &format!("{path}.{name}"), visit);
    }
    if schema["items"].is_object() {
        for_each_schema(&schema["items"], &format!("{path}[]"), visit);
    }
    if schema["additionalProperties"].is_object() {
        for_each_schema(&schema["additionalProperties"], &format!("{path}{{}}"), visit);
    }
}

fn manifests(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crds").join(file);
    let text = fs::read_to_string(path).unwrap();
    serde_yaml::Deserializer::from_str(&text).map(|document| Value::deserialize(document).unwrap()).collect()
}

fn schema_of(kind: &str) -> &'static Value {
    // Making the definitions takes a noticeable while without optimisation.
    static SCHEMAS: LazyLock<BTreeMap<String, Value>> =
        LazyLock::new(|| api::crds().iter().map(|crd| (crd.spec.names.kind.clone(), schema(crd))).collect());
    &SCHEMAS[kind]
}

fn schema(crd: &CustomResourceDefinition) -> Value {
    json!(crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema)
}

fn name(crd: &CustomResourceDefinition) -> &str {
    crd.metadata.name.as_deref().unwrap()
}

fn kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap()
}

fn id(object: &Value) -> String {
    format!("{} {}", kind(object), object["metadata"]["name"])
}
