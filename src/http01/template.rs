//! Merges a solver's podTemplate into the Pod's spec.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodSecurityContext, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use crate::api::pod_template::{ContainerResources, PodTemplateSpec};

/// A part of the podTemplate that cannot be a part of a Pod.
#[derive(Debug, Error)]
#[error("the {part} of the solver's podTemplate cannot be used in a Pod: {source}; correct it in the issuer")]
pub struct TemplateError {
    part: &'static str,
    source: serde_json::Error,
}

/// Puts the template's wishes over the spec. Maps are merged key by key, and so is the security context: a user id alone
/// does not turn off the other protections, unlike in cert-manager. Whoever wants that names them.
pub(super) fn merge(spec: &mut PodSpec, template: &PodTemplateSpec) -> Result<(), TemplateError> {
    spec.node_selector.get_or_insert_default().extend(template.node_selector.clone());
    if !template.tolerations.is_empty() {
        spec.tolerations = Some(convert("tolerations", &template.tolerations)?);
    }
    if let Some(affinity) = &template.affinity {
        spec.affinity = Some(convert("affinity", affinity)?);
    }
    if let Some(name) = set(template.priority_class_name.as_ref()) {
        spec.priority_class_name = Some(name.clone());
    }
    if let Some(name) = set(template.service_account_name.as_ref()) {
        spec.service_account_name = Some(name.clone());
    }
    if !template.image_pull_secrets.is_empty() {
        spec.image_pull_secrets = Some(convert("imagePullSecrets", &template.image_pull_secrets)?);
    }
    if let Some(wanted) = &template.security_context {
        spec.security_context = Some(overlaid(spec.security_context.as_ref(), wanted)?);
    }
    if let Some(wanted) = &template.resources {
        spec.containers.iter_mut().for_each(|container| {
            let resources = container.resources.get_or_insert_default();
            merge_resources(&mut resources.limits, &mut resources.requests, wanted);
        });
    }
    Ok(())
}

fn overlaid(
    defaults: Option<&PodSecurityContext>,
    wanted: &crate::api::pod_template::PodSecurityContext,
) -> Result<PodSecurityContext, TemplateError> {
    const PART: &str = "securityContext";
    let mut merged: Value = convert(PART, &defaults)?;
    let wanted: Value = convert(PART, wanted)?;
    if let (Some(merged), Value::Object(wanted)) = (merged.as_object_mut(), wanted) {
        merged.extend(wanted);
    }
    convert(PART, &merged)
}

type Quantities = Option<BTreeMap<String, Quantity>>;

fn merge_resources(limits: &mut Quantities, requests: &mut Quantities, wanted: &ContainerResources) {
    limits.get_or_insert_default().extend(wanted.limits.clone());
    requests.get_or_insert_default().extend(wanted.requests.clone());
}

/// The template's types are those of the Pod on the wire, so the way between them leads over JSON.
fn convert<T: DeserializeOwned>(part: &'static str, from: &impl Serialize) -> Result<T, TemplateError> {
    serde_json::to_value(from).and_then(serde_json::from_value).map_err(|source| TemplateError { part, source })
}

fn set(text: Option<&String>) -> Option<&String> {
    text.filter(|text| !text.is_empty())
}
