//! The CustomResourceDefinitions of all kinds, made from the types of this module.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use super::rules;
use super::{Certificate, CertificateRequest, Challenge, ClusterIssuer, Issuer, Order};

/// All six CustomResourceDefinitions, as they are installed.
pub fn crds() -> Vec<CustomResourceDefinition> {
    [
        Certificate::crd(),
        with_kept_approval(CertificateRequest::crd()),
        Issuer::crd(),
        ClusterIssuer::crd(),
        with_required_metadata(Order::crd()),
        with_required_metadata(Challenge::crd()),
    ]
    .map(finish)
    .into()
}

/// All of them as one YAML stream.
pub fn crds_yaml() -> Result<String, serde_yaml::Error> {
    crds().iter().map(|crd| Ok(format!("---\n{}", serde_yaml::to_string(crd)?))).collect()
}

fn finish(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    crd.metadata.labels = Some(labels());
    crd.spec.names.list_kind = Some(format!("{}List", crd.spec.names.kind));
    if let Some(root) = root_schema(&mut crd) {
        tidy(root);
        describe(root, "spec", "What is wanted.");
        describe(root, "status", "What was found out and done. Written by the controller.");
    }
    crd
}

/// Tools look for the version label on the Certificate definition to tell which release is installed.
fn labels() -> BTreeMap<String, String> {
    [
        ("app", "cert-manager"),
        ("app.kubernetes.io/component", "crds"),
        ("app.kubernetes.io/name", "cert-manager"),
        ("app.kubernetes.io/version", env!("CARGO_PKG_VERSION")),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// Orders and Challenges without metadata are refused by the client already.
fn with_required_metadata(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    if let Some(root) = root_schema(&mut crd) {
        let metadata = JSONSchemaProps { type_: Some("object".into()), ..JSONSchemaProps::default() };
        root.properties.get_or_insert_default().insert("metadata".into(), metadata);
        root.required.get_or_insert_default().insert(0, "metadata".into());
    }
    crd
}

fn with_kept_approval(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    if let Some(root) = root_schema(&mut crd) {
        root.x_kubernetes_validations = serde_json::from_value(serde_json::json!(rules::kept_approval())).ok();
    }
    crd
}

fn root_schema(crd: &mut CustomResourceDefinition) -> Option<&mut JSONSchemaProps> {
    crd.spec.versions.first_mut()?.schema.as_mut()?.open_api_v3_schema.as_mut()
}

fn describe(root: &mut JSONSchemaProps, property: &str, description: &str) {
    if let Some(schema) = root.properties.as_mut().and_then(|p| p.get_mut(property)) {
        schema.description = Some(description.into());
    }
}

/// Removes what Rust's types bring in but the API does not have: explicit nulls (without the mark the API server drops
/// them, which is what clients written in Go expect), titles, and line breaks within descriptions.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.title = None;
    if let Some(description) = &mut schema.description {
        *description = description.replace('\n', " ");
    }
    for property in schema.properties.iter_mut().flat_map(BTreeMap::values_mut) {
        tidy(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        items.description = None;
        tidy(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy(values);
    }
}
