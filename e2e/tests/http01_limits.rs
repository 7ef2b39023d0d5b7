//! HTTP-01 in namespaces that do not admit every pod: Pod Security, ResourceQuota, LimitRange; and pods that do not live
//! long. Admission is a part of the API server, so no node is needed. These run inside a testbed:
//! `testbed run -- cargo test -p certwright-e2e --test http01_limits -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use certwright::api::{Challenge, Issuer};
use certwright_e2e::nodeless::Nodeless;
use certwright_e2e::scene::PATIENCE;
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Scene, Testbed};
use k8s_openapi::api::core::v1::{LimitRange, Namespace, Pod, ResourceQuota, Service};
use k8s_openapi::api::networking::v1::Ingress;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// There is one network.
static NETWORK: Mutex<()> = Mutex::const_new(());

async fn scene(prefix: &str, template: Value) -> Scene {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
    let controller = Controller::shared(&testbed).await.unwrap();
    let scene = Scene::new(&testbed, &controller.log, prefix).await.unwrap();
    let mut spec = scene.issuer_spec("pebble-account").unwrap();
    let ingress = json!({ "ingressClassName": "any", "podTemplate": { "spec": template } });
    spec["acme"]["solvers"] = json!([{ "http01": { "ingress": ingress } }]);
    scene.create::<Issuer>("pebble", spec).await.unwrap();
    scene.wait_ready::<Issuer>("pebble").await.unwrap();
    scene
}

async fn nodeless(scene: &Scene) -> Nodeless {
    Nodeless::start(&scene.testbed).await.unwrap()
}

/// Waits until the one Challenge says all of this.
async fn says(scene: &Scene, words: &[&str]) {
    let look = async || {
        let challenges: Vec<Challenge> = scene.list().await?;
        let reason = challenges.first().and_then(|held| held.status.clone()?.reason).unwrap_or_default();
        anyhow::ensure!(words.iter().all(|word| reason.contains(word)), "the Challenge says {reason:?}");
        Ok(Some(()))
    };
    until(&format!("the Challenge to say {words:?}"), PATIENCE, look).await.unwrap();
}

/// The same of a refusal; nothing is there yet that would lead to a pod.
async fn refused(scene: &Scene, words: &[&str]) {
    says(scene, words).await;
    let objects = (
        scene.list::<Pod>().await.unwrap().len(),
        scene.list::<Service>().await.unwrap().len(),
        scene.list::<Ingress>().await.unwrap().len(),
    );
    assert_eq!(objects, (0, 0, 0));
}

/// Others are not held up.
async fn others_go_on(scene: &Scene) {
    let other = self::scene("others", json!({})).await;
    other.certificate("www", "pebble", &[&other.dns_name("www")]).await.unwrap();
    other.issued("www").await.unwrap();
    assert!(!scene.list::<Challenge>().await.unwrap().is_empty());
}

async fn admit_restricted_only(scene: &Scene) {
    let namespaces: Api<Namespace> = Api::all(scene.client.clone());
    let label = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "restricted" } } });
    namespaces.patch(&scene.namespace, &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
    is_enforced(scene, json!({})).await;
}

/// Waits until a pod with these resources is refused: the API server looks at what it knows of the rules.
async fn is_enforced(scene: &Scene, resources: Value) {
    let container = json!({ "name": "tried", "image": "tried", "resources": resources });
    let tried = json!({ "metadata": { "name": "tried" }, "spec": { "containers": [container] } });
    let (tried, dry_run) =
        (serde_json::from_value(tried).unwrap(), PostParams { dry_run: true, ..PostParams::default() });
    let look = async || anyhow::Ok(scene.api::<Pod>().create(&dry_run, &tried).await.is_err().then_some(()));
    until("the rule to be enforced", PATIENCE, look).await.unwrap();
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn pod_security_admits_the_usual_pod_and_refuses_others_with_advice() {
    let _network = NETWORK.lock().await;
    let scene = scene("security", json!({})).await;
    let _nodeless = nodeless(&scene).await;
    admit_restricted_only(&scene).await;
    scene.certificate("www", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    scene.issued("www").await.unwrap();

    let scene = self::scene("lax", json!({ "securityContext": { "runAsNonRoot": false } })).await;
    admit_restricted_only(&scene).await;
    scene.certificate("www", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    refused(&scene, &["violates PodSecurity \"restricted:latest\"", "runAsNonRoot", "ask for less", "without a pod"])
        .await;
    others_go_on(&scene).await;
}

/// As the controller for quotas does, which is not there in this tier.
async fn quota(scene: &Scene, pods: u32) {
    let hard = json!({ "pods": pods.to_string() });
    let quotas = scene.api::<ResourceQuota>();
    if quotas.get_opt("small").await.unwrap().is_none() {
        scene.create::<ResourceQuota>("small", json!({ "hard": hard })).await.unwrap();
    }
    scene.patch::<ResourceQuota>("small", json!({ "spec": { "hard": hard } })).await.unwrap();
    let status = json!({ "status": { "hard": hard, "used": { "pods": "0" } } });
    quotas.patch_status("small", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn an_exhausted_quota_is_told_and_waited_for() {
    let _network = NETWORK.lock().await;
    let scene = scene("quota", json!({})).await;
    let _nodeless = nodeless(&scene).await;
    quota(&scene, 0).await;
    is_enforced(&scene, json!({})).await;
    scene.certificate("www", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    let words = ["exceeded quota: small, requested: pods=1, limited: pods=0;", "ResourceQuota", "without a pod"];
    refused(&scene, &words).await;
    others_go_on(&scene).await;
    quota(&scene, 5).await;
    scene.issued("www").await.unwrap();
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_limit_range_that_the_pod_exceeds_is_told() {
    let _network = NETWORK.lock().await;
    let scene = scene("range", json!({})).await;
    let _nodeless = nodeless(&scene).await;
    let limits = json!({ "limits": [{ "type": "Container", "max": { "memory": "32Mi" } }] });
    scene.create::<LimitRange>("small", limits).await.unwrap();
    is_enforced(&scene, json!({ "limits": { "memory": "64Mi" } })).await;
    scene.certificate("www", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    refused(&scene, &["maximum memory usage per Container is 32Mi", "podTemplate.spec.resources", "LimitRange"]).await;
    others_go_on(&scene).await;
    scene.api::<LimitRange>().delete("small", &DeleteParams::default()).await.unwrap();
    scene.issued("www").await.unwrap();
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn an_evicted_pod_is_replaced() {
    let _network = NETWORK.lock().await;
    let scene = scene("evicted", json!({})).await;
    scene.certificate("www", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    let first = solver_pod(&scene, None).await;
    let status =
        json!({ "status": { "phase": "Failed", "reason": "Evicted", "message": "The node was low on memory." } });
    let pods = scene.api::<Pod>();
    pods.patch_status(&first.name_any(), &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    solver_pod(&scene, first.uid()).await;
    is_issued_and_no_pod_is_left(&scene).await;
}

/// Whoever drains or deletes a node leaves such pods behind, and nobody on the node says that they are gone.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_pod_on_a_node_that_is_gone_is_replaced() {
    let _network = NETWORK.lock().await;
    let scene = scene("lost", json!({})).await;
    scene.certificate("www", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    let first = solver_pod(&scene, None).await;
    let (pods, name) = (scene.api::<Pod>(), first.name_any());
    let binding =
        json!({ "metadata": { "name": name }, "target": { "apiVersion": "v1", "kind": "Node", "name": "gone" } });
    let _: Value = pods.create_subresource("binding", &name, &PostParams::default(), &binding).await.unwrap();
    pods.delete(&name, &DeleteParams::default()).await.unwrap();
    solver_pod(&scene, first.uid()).await;
    is_issued_and_no_pod_is_left(&scene).await;
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_pod_that_does_not_start_is_told() {
    let _network = NETWORK.lock().await;
    let scene = scene("stuck", json!({ "nodeSelector": { "disk": "none" } })).await;
    scene.certificate("www", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    let pod = solver_pod(&scene, None).await;
    let condition =
        json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes" });
    tell(&scene, &pod, json!({ "conditions": [condition] })).await;
    says(&scene, &["no node takes the solver pod", "nodeSelector", "looked at again within 10 s"]).await;
    let scheduled = json!({ "type": "PodScheduled", "status": "True" });
    let state = json!({ "waiting": { "reason": "ImagePullBackOff", "message": "Back-off pulling image" } });
    let container = json!({
        "name": "acmesolver", "image": "registry.example/none:1", "imageID": "", "ready": false, "restartCount": 0, "state": state,
    });
    tell(&scene, &pod, json!({ "conditions": [scheduled], "containerStatuses": [container] })).await;
    says(&scene, &["the image \"registry.example/none:1\" of the solver pod cannot be pulled", "imagePullSecrets"])
        .await;
    tell(&scene, &pod, json!({ "containerStatuses": null })).await;
    is_issued_and_no_pod_is_left(&scene).await;
}

/// As the scheduler and the kubelet do.
async fn tell(scene: &Scene, pod: &Pod, status: Value) {
    let (pods, patch) = (scene.api::<Pod>(), Patch::Merge(json!({ "status": status })));
    pods.patch_status(&pod.name_any(), &PatchParams::default(), &patch).await.unwrap();
}

/// The solver's pod, if it is another than that.
async fn solver_pod(scene: &Scene, former: Option<String>) -> Pod {
    let look = async || anyhow::Ok(scene.list::<Pod>().await?.pop().filter(|pod| pod.uid() != former));
    until("another solver pod", PATIENCE, look).await.unwrap()
}

/// From now on pods run.
async fn is_issued_and_no_pod_is_left(scene: &Scene) {
    let _nodeless = nodeless(scene).await;
    scene.issued("www").await.unwrap();
    let gone = async || anyhow::Ok(scene.list::<Pod>().await?.is_empty().then_some(()));
    until("the pod to be gone", PATIENCE, gone).await.unwrap();
}
