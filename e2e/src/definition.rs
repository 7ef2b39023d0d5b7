//! Kinds of the Gateway API as far as tests of tier `api` need them: there no Gateway's controller brings them.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use crate::wait::until;

const SERVED: Duration = Duration::from_mins(3);

/// Has the API server serve the kind, with any fields and a status, and waits until it does.
pub async fn define(client: &Client, kind: &ApiResource) -> Result<()> {
    let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let definition: CustomResourceDefinition = serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{}.{}", kind.plural, kind.group),
            "annotations": { "api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api" },
        },
        "spec": {
            "group": kind.group, "scope": "Namespaced",
            "names": {
                "kind": kind.kind, "plural": kind.plural, "singular": kind.kind.to_lowercase(),
                "listKind": format!("{}List", kind.kind),
            },
            "versions": [{
                "name": kind.version, "served": true, "storage": true, "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": schema },
            }],
        },
    }))?;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let params = PatchParams::apply("test").force();
    definitions.patch(&definition.name_any(), &params, &Patch::Apply(&definition)).await?;
    let objects: Api<DynamicObject> = Api::all_with(client.clone(), kind);
    let look = async || objects.list(&ListParams::default()).await.map(|_| Some(()));
    until(&format!("{} to be served", kind.plural), SERVED, look).await
}
