//! Objects of kinds that not every cluster has: they are not watched, but created, read and deleted by name.

use std::fmt::Debug;

use kube::{
    Api, Resource, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    error::{ApiError, limited},
    key::ObjectName,
    write::{Cluster, patch_params, post_params},
};

impl Cluster {
    /// The first of these versions in which the API server has the kind; `None` if it has it in none.
    pub async fn served_version<'a>(
        &self,
        group: &str,
        plural: &str,
        versions: &[&'a str],
    ) -> Result<Option<&'a str>, ApiError> {
        for version in versions {
            let what = format!("look for {plural} in {group}/{version}");
            match limited(what, self.client.list_api_group_resources(&format!("{group}/{version}"))).await {
                Ok(list) if list.resources.iter().any(|resource| resource.name == plural) => return Ok(Some(version)),
                Ok(_) | Err(ApiError::Gone { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Creates an object of a fixed name; [`ApiError::Conflict`] if one of that name is there already.
    pub async fn create_unwatched(&self, object: &DynamicObject, kind: &ApiResource) -> Result<(), ApiError> {
        let name = ObjectName::new(object.namespace().unwrap_or_default(), object.name_any());
        let what = format!("create {} {name}", kind.kind);
        limited(what, self.unwatched(&name, kind).create(&post_params(), object)).await.map(drop)
    }

    /// The object, if it is there.
    pub async fn read_unwatched(
        &self,
        name: &ObjectName,
        kind: &ApiResource,
    ) -> Result<Option<DynamicObject>, ApiError> {
        limited(format!("read {} {name}", kind.kind), self.unwatched(name, kind).get_opt(&name.name)).await
    }

    /// Objects of a kind as the parameters select them, of one namespace or of all. Only the first page.
    pub async fn list_unwatched<K>(&self, namespace: Option<&str>, params: &ListParams) -> Result<Vec<K>, ApiError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api: Api<K> = match namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        limited(format!("list {}", K::plural(&())), api.list(params)).await.map(|list| list.items)
    }

    /// Deletes the object; that it is gone already is well.
    pub async fn delete_unwatched(&self, name: &ObjectName, kind: &ApiResource) -> Result<(), ApiError> {
        let params = DeleteParams::background();
        match limited(format!("delete {} {name}", kind.kind), self.unwatched(name, kind).delete(&name.name, &params))
            .await
        {
            Ok(_) | Err(ApiError::Gone { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Replaces one field of exactly the object that was seen; [`ApiError::Conflict`] if somebody has written since. `pointer` is
    /// a JSON pointer (RFC 6901); without a value the field goes.
    pub async fn patch_unwatched(
        &self,
        seen: &DynamicObject,
        kind: &ApiResource,
        pointer: &str,
        value: Option<Value>,
    ) -> Result<(), ApiError> {
        let name = ObjectName::new(seen.namespace().unwrap_or_default(), seen.name_any());
        let mut operations =
            vec![json!({"op": "test", "path": "/metadata/resourceVersion", "value": seen.resource_version()})];
        operations.push(match value {
            Some(value) => json!({"op": "add", "path": pointer, "value": value}),
            None => json!({"op": "remove", "path": pointer}),
        });
        let what = format!("change {pointer} of {} {name}", kind.kind);
        let malformed =
            |error: serde_json::Error| ApiError::Unavailable { what: what.clone(), message: error.to_string() };
        let patch: json_patch::Patch = serde_json::from_value(Value::from(operations)).map_err(malformed)?;
        let api = self.unwatched(&name, kind);
        match limited(what, api.patch(&name.name, &patch_params(), &Patch::Json::<()>(patch))).await {
            // That a test of the patch fails is told as an invalid object.
            Err(ApiError::Refused { what, code: 422, .. }) => Err(ApiError::Conflict { what }),
            other => other.map(drop),
        }
    }

    fn unwatched(&self, name: &ObjectName, kind: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &name.namespace, kind)
    }
}
