//! Definitions that come after the controller, and such of an older version.

use std::time::Duration;

use certwright::api::Certificate;
use certwright_e2e::install::{definition_files, install};
use certwright_e2e::scene::PATIENCE;
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Scene};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::{ONE_AT_A_TIME, create_own, log_with, testbed};

const CERTIFICATES: &str = "certificates.cert-manager.io";

fn read(file: &std::path::Path) -> CustomResourceDefinition {
    serde_yaml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// Installs all definitions as they are in `crds/`.
async fn put_back(client: &Client) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in definition_files().unwrap().iter().map(|file| read(file)) {
        let name = definition.metadata.name.clone().unwrap();
        let params = PatchParams::apply("certwright-testbed").force();
        definitions.patch(&name, &params, &Patch::Apply(&definition)).await.unwrap();
    }
}

/// A controller that is there first says what is missing, and begins when it is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn definitions_that_come_later() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let testbed = testbed();
    install(&testbed).await.unwrap();
    let client = testbed.admin().await.unwrap();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in definition_files().unwrap().iter().map(|file| read(file)) {
        let name = definition.metadata.name.unwrap();
        definitions.delete(&name, &DeleteParams::default()).await.unwrap();
        let look = async || definitions.get_opt(&name).await.map(|found| found.is_none().then_some(()));
        until(&format!("{name} to be gone"), PATIENCE, look).await.unwrap();
    }
    let install_later = async {
        log_with(&testbed, "the CustomResourceDefinitions are not installed").await;
        put_back(&client).await;
    };
    let (controller, ()) = tokio::join!(Controller::start(&testbed, &[]), install_later);
    let controller = controller.unwrap();
    let scene = Scene::new(&testbed, controller.log(), "later").await.unwrap();
    create_own(&scene, "web").await;
    scene.issued("web").await.unwrap();
}

/// Fields that the definition in the cluster does not know are dropped by the API server. It is told which, and they are
/// not written for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn definitions_of_an_older_version() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let testbed = testbed();
    let controller = Controller::start(&testbed, &[]).await.unwrap();
    let scene = Scene::new(&testbed, controller.log(), "older").await.unwrap();
    let definitions: Api<CustomResourceDefinition> = Api::all(scene.client.clone());
    let field = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/renewalTime";
    let patch = Patch::Json::<()>(serde_json::from_value(json!([{ "op": "remove", "path": field }])).unwrap());
    definitions.patch(CERTIFICATES, &PatchParams::default(), &patch).await.unwrap();
    create_own(&scene, "probe").await;
    forgets_renewal_times(&scene).await;

    let mark = testbed.mark().unwrap();
    create_own(&scene, "web").await;
    scene.issued("web").await.unwrap();
    // Whatever is written again and again is written within this time.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let writes = testbed.count_writes(mark, "certwright").await.unwrap();
    let of_status = writes.get(&("certificates/status".to_owned(), "patch".to_owned())).copied();
    assert!(of_status.is_some_and(|count| count < 8), "{writes:#?}");
    log_with(&testbed, "status.renewalTime").await;

    put_back(&scene.client).await;
    let knows = async || {
        let annotation = json!({ "metadata": { "annotations": { "touched": jiff::Timestamp::now() } } });
        let certificate: Certificate = scene.patch("web", annotation).await?;
        Ok::<_, anyhow::Error>(certificate.status.and_then(|status| status.renewal_time))
    };
    until("the renewal time to be kept", PATIENCE, knows).await.unwrap();
}

/// Waits until the API server follows the changed definition.
async fn forgets_renewal_times(scene: &Scene) {
    scene.wait_ready::<Certificate>("probe").await.unwrap();
    let look = async || {
        let params = PatchParams::default();
        let status = json!({ "status": { "renewalTime": jiff::Timestamp::now() } });
        let written = scene.api::<Certificate>().patch_status("probe", &params, &Patch::Merge(status)).await?;
        Ok::<_, kube::Error>(written.status.unwrap_or_default().renewal_time.is_none().then_some(()))
    };
    until("the API server to drop renewal times", PATIENCE, look).await.unwrap();
}
