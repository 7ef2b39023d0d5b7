//! What the HTTPRoute of a challenge hangs on: a Gateway that is missing, or of which nobody speaks.

use certwright::http01::route::{gateway_resource, resource};
use certwright_e2e::definition::define;
use certwright_e2e::scene::PATIENCE;
use certwright_e2e::wait::until;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::route;
use super::support::{certificate, controller, edge, names, nothing_is_left, routes, says, scene, testbed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_gateway_that_is_missing_or_that_nobody_drives_is_told() {
    let testbed = testbed();
    let controller = controller(&testbed, &[]).await;
    let solver = json!({ "gatewayHTTPRoute": { "parentRefs": [{ "name": "edge" }] } });
    let scene = scene(&testbed, &controller, solver, "controller").await;
    for kind in [resource("v1"), gateway_resource("v1")] {
        define(&scene.client, &kind).await.unwrap();
    }
    certificate(&scene, &names(&scene, 1)).await;
    let missing =
        format!("within the cluster the Gateway {}/edge does not exist; create it or correct", scene.namespace);
    says(&scene, &missing).await;

    let gateway = DynamicObject::new("edge", &gateway_resource("v1")).data(json!({ "spec": { "listeners": [] } }));
    let gateways: Api<DynamicObject> =
        Api::namespaced_with(scene.client.clone(), &scene.namespace, &gateway_resource("v1"));
    gateways.create(&PostParams::default(), &gateway).await.unwrap();
    let told = says(&scene, "no Gateway's controller has said whether it takes it").await;
    assert!(!told.contains("does not exist"), "{told}");

    // Somebody leads it astray in the midst.
    let wanted = route(&scene, None).await;
    for part in [json!({ "parentRefs": [{ "name": "other" }] }), rules_to(&wanted, "other")] {
        let patch = Patch::Merge(json!({ "spec": part }));
        routes(&scene).patch(&wanted.name_any(), &PatchParams::default(), &patch).await.unwrap();
        let look = async || {
            let found = routes(&scene).get(&wanted.name_any()).await?;
            anyhow::Ok((found.data["spec"] == wanted.data["spec"]).then_some(()))
        };
        until("the HTTPRoute to be as before", PATIENCE, look).await.unwrap();
    }
    let _edge = edge(testbed.state.node_address).await;
    scene.issued("web").await.unwrap();
    nothing_is_left(&scene).await;
}

/// Its rules with another Service.
fn rules_to(route: &DynamicObject, service: &str) -> Value {
    let mut rules = route.data["spec"]["rules"].clone();
    rules[0]["backendRefs"][0]["name"] = json!(service);
    json!({ "rules": rules })
}
