//! Through a listener that a ListenerSet adds to a Gateway, once that admits it. The test is the Gateway's controller.

use certwright::api::names::GATEWAY_EXPERIMENTAL_GROUP;
use certwright::http01::{listener_set, route};
use certwright_e2e::Scene;
use certwright_e2e::definition::define;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::front::Front;
use super::{WITHIN, issuer, nothing_is_left, says};

/// Of the added listener. The world asks at port 80.
pub const PORT: u16 = 8080;

pub async fn a_gateway_that_has_to_admit_it(scene: &Scene, listener: &Front) {
    let (gateways, sets) = (route::gateway_resource("v1"), set_resource());
    for kind in [&route::resource("v1"), &gateways, &sets] {
        define(&scene.client, kind).await.unwrap();
    }
    let parent =
        json!({ "group": GATEWAY_EXPERIMENTAL_GROUP, "kind": sets.kind, "name": "shop", "sectionName": "http" });
    issuer(scene, json!({ "gatewayHTTPRoute": { "parentRefs": [parent] } })).await;
    let name = scene.dns_name("www");
    scene.certificate("web", "pebble", &[&name]).await.unwrap();
    says(scene, &format!("within the cluster the XListenerSet {}/shop does not exist", scene.namespace)).await;

    create(scene, &gateways, "public", json!({ "listeners": [] })).await;
    let listeners = json!([{ "name": "http", "port": PORT, "protocol": "HTTP" }]);
    create(scene, &sets, "shop", json!({ "parentRef": { "name": "public" }, "listeners": listeners })).await;
    let refusal = format!(
        "the Gateway {0}/public does not take the XListenerSet {0}/shop (NotAllowed); its allowedListeners must admit the \
         namespace {0:?}",
        scene.namespace
    );
    says(scene, &refusal).await;

    let api = objects(scene, &gateways);
    let address = json!({ "status": { "addresses": [{ "type": "IPAddress", "value": WITHIN }] } });
    api.patch_status("public", &PatchParams::default(), &Patch::Merge(address)).await.unwrap();
    let admitted = json!({ "spec": { "allowedListeners": { "namespaces": { "from": "Same" } } } });
    api.patch("public", &PatchParams::default(), &Patch::Merge(admitted)).await.unwrap();
    scene.issued("web").await.unwrap();
    assert!(listener.has_met_controller(&name), "the added listener was not asked");
    nothing_is_left(scene).await;
}

fn set_resource() -> ApiResource {
    let kind = listener_set::kind(GATEWAY_EXPERIMENTAL_GROUP, "XListenerSet").unwrap();
    kind.resource(kind.versions[0])
}

fn objects(scene: &Scene, kind: &ApiResource) -> Api<DynamicObject> {
    Api::namespaced_with(scene.client.clone(), &scene.namespace, kind)
}

async fn create(scene: &Scene, kind: &ApiResource, name: &str, spec: Value) {
    let object = DynamicObject::new(name, kind).data(json!({ "spec": spec }));
    objects(scene, kind).create(&PostParams::default(), &object).await.unwrap();
}
