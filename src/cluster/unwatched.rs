//! Objects of kinds that not every cluster has: they are not watched, but created, read and deleted by name.

use std::fmt::Debug;

use kube::{
    Api, Resource, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, Preconditions},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    error::{ApiError, limited, written},
    key::ObjectName,
    write::{Cluster, of_version, patch_params, post_params},
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

    /// Creates an object of a fixed name, and tells which that is; [`ApiError::Conflict`] if one of that name is there already.
    pub async fn create_unwatched(&self, object: &DynamicObject, kind: &ApiResource) -> Result<ObjectMeta, ApiError> {
        let name = ObjectName::new(object.namespace().unwrap_or_default(), object.name_any());
        let what = format!("create {} {name}", kind.kind);
        let api = self.unwatched(&name, kind);
        let created = written(((&*kind.kind).into(), "create"), what, api.create(&post_params(), object)).await?;
        let ObjectMeta { namespace, name, uid, .. } = created.metadata;
        Ok(ObjectMeta { namespace, name, uid, ..ObjectMeta::default() })
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

    /// Deletes exactly the object that was seen or created, of which namespace, name and uid are read; that it is gone already is
    /// well.
    pub async fn delete_unwatched(&self, seen: &ObjectMeta, kind: &ApiResource) -> Result<(), ApiError> {
        let name = ObjectName::new(seen.namespace.clone().unwrap_or_default(), seen.name.clone().unwrap_or_default());
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: seen.uid.clone(), resource_version: None }),
            ..DeleteParams::background()
        };
        let (what, api) = (format!("delete {} {name}", kind.kind), self.unwatched(&name, kind));
        match written(((&*kind.kind).into(), "delete"), what, api.delete(&name.name, &params)).await {
            // A conflict means that another object took the name.
            Ok(_) | Err(ApiError::Gone { .. } | ApiError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Changes what `part` names, a merge patch (RFC 7396), of exactly the version that was seen; [`ApiError::Conflict`] if somebody
    /// has written since.
    pub async fn patch_unwatched(&self, seen: &DynamicObject, kind: &ApiResource, part: Value) -> Result<(), ApiError> {
        let name = ObjectName::new(seen.namespace().unwrap_or_default(), seen.name_any());
        let patch = Patch::Merge(of_version(part, seen.resource_version()));
        let what = format!("change {} {name}", kind.kind);
        let (api, params) = (self.unwatched(&name, kind), patch_params());
        written(((&*kind.kind).into(), "patch"), what, api.patch(&name.name, &params, &patch)).await.map(drop)
    }

    fn unwatched(&self, name: &ObjectName, kind: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &name.namespace, kind)
    }
}
