//! Every write to the API server; what comes back goes into the store at once.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
    core::{ClusterResourceScope, NamespaceResourceScope},
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    dropped::Dropped,
    error::{ApiError, limited, written},
    event::{Event, Recorder},
    hub::{Hub, Watched},
    key::ObjectName,
    secret::SecretReader,
};

/// The name under which certwright's writes appear in `metadata.managedFields`, but for the target Secret.
const FIELD_MANAGER: &str = "certwright";

/// An API handle for an object's namespace, or for the whole cluster.
pub trait Scoped: Watched {
    fn api(client: Client, namespace: &str) -> Api<Self>;
}

impl<K: Watched> Scoped for K
where
    K::Scope: Scope<K>,
{
    fn api(client: Client, namespace: &str) -> Api<Self> {
        <K::Scope as Scope<K>>::api(client, namespace)
    }
}

/// How a scope reaches its objects.
pub trait Scope<K> {
    fn api(client: Client, namespace: &str) -> Api<K>;
}

impl<K: Watched + kube::Resource<Scope = NamespaceResourceScope>> Scope<K> for NamespaceResourceScope {
    fn api(client: Client, namespace: &str) -> Api<K> {
        Api::namespaced(client, namespace)
    }
}

impl<K: Watched + kube::Resource<Scope = ClusterResourceScope>> Scope<K> for ClusterResourceScope {
    fn api(client: Client, _: &str) -> Api<K> {
        Api::all(client)
    }
}

/// The cluster as certwright writes to it.
#[derive(Clone)]
pub struct Cluster {
    pub hub: Arc<Hub>,
    pub secrets: SecretReader,
    pub(super) client: Client,
    recorder: Recorder,
    dropped: Arc<Dropped>,
}

impl Cluster {
    pub fn new(client: Client, hub: Arc<Hub>, recorder: Recorder) -> Self {
        Self { secrets: SecretReader::new(client.clone(), hub.clone()), hub, client, recorder, dropped: Arc::default() }
    }

    pub fn publish(&self, event: Event) {
        self.recorder.publish(event);
    }

    /// Creates an object of a fixed name. If one of that name is there already, the store holds it afterwards and the
    /// answer is [`ApiError::Conflict`]: look again.
    pub async fn create<K: Scoped + Serialize>(&self, object: &K) -> Result<Arc<K>, ApiError> {
        self.create_as(object, FIELD_MANAGER).await
    }

    /// The same with another field manager.
    pub(super) async fn create_as<K: Scoped + Serialize>(&self, object: &K, manager: &str) -> Result<Arc<K>, ApiError> {
        let name = ObjectName::of(object);
        let api = K::api(self.client.clone(), &name.namespace);
        let what = format!("create {} {name}", K::kind(&()));
        let params = post_params_as(manager);
        let call = api.create(&params, object);
        match written((K::kind(&()), "create"), what, call).await.map_err(ApiError::of_creation) {
            Ok(created) => {
                if is_ours::<K>() {
                    let (wanted, kept) = (to_value(object), to_value(&created));
                    self.dropped.any(&K::kind(&()), "spec", &wanted["spec"], &kept["spec"]);
                }
                Ok(self.take_in(created))
            }
            Err(conflict @ ApiError::Conflict { .. }) => {
                self.refresh::<K>(&api, &name).await?;
                Err(conflict)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes what differs between `former` and `status`, provided that `seen` is still the newest version. What the
    /// definition in the cluster does not know is kept in the store, until somebody else changes the object.
    pub async fn write_status<K: Scoped + Serialize, S: Serialize>(
        &self,
        seen: &K,
        former: &S,
        status: &S,
    ) -> Result<(), ApiError> {
        let Some(difference) = merge_patch(&to_value(former), &to_value(status)) else { return Ok(()) };
        let patch = serde_json::json!({
            "metadata": { "resourceVersion": seen.resource_version() },
            "status": difference,
        });
        let name = ObjectName::of(seen);
        let api = K::api(self.client.clone(), &name.namespace);
        let what = format!("write the status of {} {name}", K::kind(&()));
        let (params, patch) = (patch_params(), Patch::Merge(patch));
        let call = api.patch_status(&name.name, &params, &patch);
        let outcome = written((K::kind(&()), "patch"), what, call).await.map_err(ApiError::of_status);
        if let Ok(kept) = &outcome
            && let Some(whole) = self.with_dropped::<K>(kept, &to_value(status))
        {
            self.hub.amend(whole);
            return Ok(());
        }
        self.settle::<K>(&api, &name, seen, outcome).await
    }

    /// Replaces the finalizers, provided that they are still those of `seen`. Whatever else has changed in the object
    /// meanwhile, such as that it was deleted, does not matter.
    pub async fn write_finalizers<K: Scoped>(&self, seen: &K, finalizers: &[String]) -> Result<(), ApiError> {
        let name = ObjectName::of(seen);
        let api = K::api(self.client.clone(), &name.namespace);
        let what = format!("write the finalizers of {} {name}", K::kind(&()));
        let patch = Patch::Json::<()>(finalizers_patch(seen, finalizers));
        let params = patch_params();
        let call = api.patch(&name.name, &params, &patch);
        let outcome = match written((K::kind(&()), "patch"), what, call).await {
            // That a test of the patch fails is told as an invalid object.
            Err(ApiError::Refused { what, code: 422, .. }) => Err(ApiError::Conflict { what }),
            other => other,
        };
        self.settle::<K>(&api, &name, seen, outcome).await
    }

    /// Sets one annotation of exactly the object that was seen, and gives the object as it is then.
    pub async fn write_annotation<K: Scoped>(&self, seen: &K, name: &str, value: &str) -> Result<Arc<K>, ApiError> {
        let object = ObjectName::of(seen);
        let api = K::api(self.client.clone(), &object.namespace);
        let what = format!("annotate {} {object}", K::kind(&()));
        let patch = serde_json::json!({ "metadata": { "uid": seen.meta().uid, "annotations": { name: value } } });
        let (params, patch) = (patch_params(), Patch::Merge(patch));
        let annotated = written((K::kind(&()), "patch"), what, api.patch(&object.name, &params, &patch)).await?;
        Ok(self.take_in(annotated))
    }

    /// Changes what `part` names, a merge patch (RFC 7396), of exactly the version that was seen.
    pub async fn write_part<K: Scoped>(&self, seen: &K, part: Value) -> Result<(), ApiError> {
        self.write_part_as(seen, part, FIELD_MANAGER).await
    }

    /// The same with another field manager.
    pub(super) async fn write_part_as<K: Scoped>(&self, seen: &K, part: Value, manager: &str) -> Result<(), ApiError> {
        let name = ObjectName::of(seen);
        let api = K::api(self.client.clone(), &name.namespace);
        let what = format!("change {} {name}", K::kind(&()));
        let patch = Patch::Merge(of_version(part, seen.resource_version()));
        let params = patch_params_as(manager);
        let outcome = written((K::kind(&()), "patch"), what, api.patch(&name.name, &params, &patch)).await;
        self.settle::<K>(&api, &name, seen, outcome).await
    }

    /// Server-side apply with the given field manager, taking over fields of others.
    pub async fn apply<K: Scoped + Serialize>(&self, object: &K, manager: &str) -> Result<Arc<K>, ApiError> {
        let name = ObjectName::of(object);
        let api = K::api(self.client.clone(), &name.namespace);
        let params = PatchParams::apply(manager).force();
        let what = format!("apply {} {name}", K::kind(&()));
        let patch = Patch::Apply(object);
        let applied = written((K::kind(&()), "patch"), what, api.patch(&name.name, &params, &patch)).await;
        Ok(self.take_in(applied.map_err(ApiError::of_creation)?))
    }

    /// Deletes exactly the object that was seen; that it is gone already is well.
    pub async fn delete<K: Scoped>(&self, seen: &K) -> Result<(), ApiError> {
        self.delete_within(seen, None).await
    }

    /// The same for a Pod that has nothing to bring to an end: it is gone at once, also when its node is not there any more, and
    /// the kubelet, which ends its container all the same, has nothing to report.
    pub async fn delete_at_once(&self, seen: &Pod) -> Result<(), ApiError> {
        self.delete_within(seen, Some(0)).await
    }

    async fn delete_within<K: Scoped>(&self, seen: &K, grace_seconds: Option<u32>) -> Result<(), ApiError> {
        let name = ObjectName::of(seen);
        let uid = seen.meta().uid.clone().unwrap_or_default();
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: Some(uid.clone()), resource_version: None }),
            propagation_policy: Some(PropagationPolicy::Background),
            grace_period_seconds: grace_seconds,
            ..DeleteParams::default()
        };
        let api = K::api(self.client.clone(), &name.namespace);
        let what = format!("delete {} {name}", K::kind(&()));
        match written((K::kind(&()), "delete"), what, api.delete(&name.name, &params)).await {
            Ok(answer) => match answer.left() {
                Some(object) if stays_for_now(&object) => self.hub.replace(object),
                _ => self.hub.bury::<K>(&name, &uid),
            },
            // A conflict means that another object took the name: ours is gone.
            Err(ApiError::Gone { .. } | ApiError::Conflict { .. }) => self.hub.bury::<K>(&name, &uid),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn settle<K: Scoped>(
        &self,
        api: &Api<K>,
        name: &ObjectName,
        seen: &K,
        written: Result<K, ApiError>,
    ) -> Result<(), ApiError> {
        match written {
            // The answer to the change that took the last finalizer of an object whose deletion was asked for, also by somebody
            // else and after it was seen, shows it a last time.
            Ok(object) if object.meta().deletion_timestamp.is_some() && !stays_for_now(&object) => {
                self.hub.bury::<K>(name, object.meta().uid.as_deref().unwrap_or_default());
                Ok(())
            }
            Ok(object) => {
                self.hub.replace(object);
                Ok(())
            }
            Err(gone @ ApiError::Gone { .. }) => {
                self.hub.bury::<K>(name, seen.meta().uid.as_deref().unwrap_or_default());
                Err(gone)
            }
            Err(conflict @ ApiError::Conflict { .. }) => {
                self.refresh::<K>(api, name).await?;
                Err(conflict)
            }
            Err(error) => Err(error),
        }
    }

    /// The object with the whole of this status, if the API server has kept a part of it only.
    fn with_dropped<K: Scoped + Serialize>(&self, kept: &K, status: &Value) -> Option<K> {
        let mut object = to_value(kept);
        if !self.dropped.any(&K::kind(&()), "status", status, &object["status"]) {
            return None;
        }
        object["status"] = status.clone();
        serde_json::from_value(object).ok()
    }

    /// Reads the object anew, so that the next look sees what caused a conflict.
    async fn refresh<K: Scoped>(&self, api: &Api<K>, name: &ObjectName) -> Result<(), ApiError> {
        let what = format!("read {} {name}", K::kind(&()));
        if let Some(object) = limited(what, api.get_opt(&name.name)).await? {
            self.hub.put(object);
        }
        Ok(())
    }

    fn take_in<K: Watched>(&self, object: K) -> Arc<K> {
        self.hub.put(object.clone());
        Arc::new(object)
    }
}

/// Whether the kind comes with definitions that may be of another version.
fn is_ours<K: Watched>() -> bool {
    K::group(&()).ends_with("cert-manager.io")
}

fn finalizers_patch<K: Watched>(seen: &K, finalizers: &[String]) -> json_patch::Patch {
    let mut operations = vec![operation("test", "/metadata/uid", &seen.meta().uid)];
    match &seen.meta().finalizers {
        Some(held) if !held.is_empty() => {
            operations.push(operation("test", "/metadata/finalizers", held));
            operations.push(operation("replace", "/metadata/finalizers", finalizers));
        }
        _ => operations.push(operation("add", "/metadata/finalizers", finalizers)),
    }
    json_patch::Patch(operations)
}

fn operation<V: Serialize + ?Sized>(name: &str, path: &str, value: &V) -> json_patch::PatchOperation {
    let path = json_patch::jsonptr::PointerBuf::parse(path).unwrap_or_default();
    let value = serde_json::to_value(value).unwrap_or_default();
    match name {
        "test" => json_patch::PatchOperation::Test(json_patch::TestOperation { path, value }),
        "replace" => json_patch::PatchOperation::Replace(json_patch::ReplaceOperation { path, value }),
        _ => json_patch::PatchOperation::Add(json_patch::AddOperation { path, value }),
    }
}

/// The merge patch, for exactly this version of the object: otherwise the API server answers with a conflict.
pub(super) fn of_version(mut part: Value, version: Option<String>) -> Value {
    part["metadata"]["resourceVersion"] = version.into();
    part
}

/// An object with finalizers or a grace period is still there after its deletion was accepted.
fn stays_for_now<K: Watched>(object: &K) -> bool {
    let metadata = object.meta();
    metadata.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty())
        || metadata.deletion_grace_period_seconds.is_some_and(|seconds| seconds > 0)
}

pub(super) fn post_params() -> PostParams {
    post_params_as(FIELD_MANAGER)
}

fn post_params_as(manager: &str) -> PostParams {
    PostParams { field_manager: Some(manager.to_owned()), ..PostParams::default() }
}

pub(super) fn patch_params() -> PatchParams {
    patch_params_as(FIELD_MANAGER)
}

fn patch_params_as(manager: &str) -> PatchParams {
    PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() }
}

fn to_value<S: Serialize>(value: &S) -> Value {
    match serde_json::to_value(value) {
        Ok(Value::Null) | Err(_) => Value::Object(Map::new()),
        Ok(value) => value,
    }
}

/// The JSON merge patch (RFC 7396) that turns `former` into `wanted`; none if they are equal.
pub fn merge_patch(former: &Value, wanted: &Value) -> Option<Value> {
    let (Value::Object(before), Value::Object(after)) = (former, wanted) else {
        return (former != wanted).then(|| wanted.clone());
    };
    let mut patch = Map::new();
    for (key, value) in after {
        match before.get(key) {
            Some(held) => {
                if let Some(difference) = merge_patch(held, value) {
                    patch.insert(key.clone(), difference);
                }
            }
            None => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_patch_names_only_what_differs() {
        let former = json!({"a": 1, "b": {"c": 2, "d": 3}, "e": [1, 2], "f": 4});
        let wanted = json!({"a": 1, "b": {"c": 5}, "e": [1], "g": 6});
        assert_eq!(merge_patch(&former, &wanted), Some(json!({"b": {"c": 5, "d": null}, "e": [1], "f": null, "g": 6})));
        assert_eq!(merge_patch(&wanted, &wanted), None);
    }
}
