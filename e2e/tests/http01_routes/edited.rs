//! What somebody edits while a challenge is answered, so that it leads elsewhere.

use certwright_e2e::Scene;
use certwright_e2e::scene::Kind;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use crate::support::{certificate, controller, edge, names, nothing_is_left, says, scene, testbed, there};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn what_somebody_edits_is_put_right() {
    let testbed = testbed();
    let controller = controller(&testbed, &[]).await;
    let scene = scene(&testbed, &controller, json!({ "ingress": { "class": "nobodys" } }), "controller").await;
    certificate(&scene, &names(&scene, 1)).await;
    says(&scene, "no ingress controller has given it an address").await;
    put_right::<EndpointSlice>(&scene, "/ports/0/port", json!(80)).await;
    put_right::<Service>(&scene, "/spec/ports/0/targetPort", json!(80)).await;
    put_right::<Ingress>(&scene, "/spec/rules/0/http/paths/0/backend/service/port/number", json!(80)).await;
    let _edge = edge(testbed.state.node_address).await;
    scene.issued("web").await.unwrap();
    nothing_is_left(&scene).await;
}

/// Gives this part of the one object of the kind another value, and waits until it has the former one again.
async fn put_right<K: Kind + Resource<Scope = NamespaceResourceScope>>(scene: &Scene, part: &str, other: Value) {
    let value = |object: &K| json!(object).pointer(part).cloned();
    let found = there::<K>(scene, |_| true).await;
    let mut edited = json!(found);
    edited["metadata"] = json!({});
    *edited.pointer_mut(part).unwrap() = other;
    let patched = scene.patch::<K>(&found.name_any(), edited).await.unwrap();
    assert_ne!(value(&patched), value(&found));
    there::<K>(scene, |again| value(again) == value(&found)).await;
}
