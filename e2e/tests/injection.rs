//! CA injection: what asks for a CA by annotation gets it, and nobody else is touched. These run inside a testbed, with a
//! controller of their own: `testbed run -- cargo test -p certwright-e2e --test injection -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use std::fmt::Debug;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certwright::api::{Certificate, Issuer};
use certwright_e2e::audit::Mark;
use certwright_e2e::authority::Authority;
use certwright_e2e::kubernetes::CERTWRIGHT_USER;
use certwright_e2e::scene::PATIENCE;
use certwright_e2e::wait::until;
use certwright_e2e::webhook_solver::{Trust, WebhookSolver};
use certwright_e2e::{Controller, Scene, Testbed};
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::core::v1::{Event, Secret};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Resource;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const FROM: &str = "cert-manager.io/inject-ca-from";
const FROM_SECRET: &str = "cert-manager.io/inject-ca-from-secret";
const OF_API_SERVER: &str = "cert-manager.io/inject-apiserver-ca";
const ALLOWED: &str = "cert-manager.io/allow-direct-injection";

/// Each counts what is written meanwhile.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// As the charts of DNS webhooks do it: a CA of their own, a certificate from it, and an APIService that names that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_dns_webhook_works_without_a_bundle_of_its_own() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let scene = scene("hooked").await;
    scene.create::<Issuer>("self", json!({ "selfSigned": {} })).await.unwrap();
    let authority = json!({
        "secretName": "root", "isCA": true, "commonName": "ca.webhook", "issuerRef": { "name": "self" },
    });
    scene.create::<Certificate>("root", authority).await.unwrap();
    scene.create::<Issuer>("root", json!({ "ca": { "secretName": "root" } })).await.unwrap();
    scene.certificate("serving", "root", &[&WebhookSolver::host(&scene.namespace)]).await.unwrap();
    let issued = scene.issued("serving").await.unwrap();
    let entry = |name: &str| String::from_utf8(issued.secret.data.as_ref().unwrap()[name].0.clone()).unwrap();
    let pair = (entry("tls.crt"), entry("tls.key"));

    let named = format!("{}/serving", scene.namespace);
    // It waits until the API server can talk to it, which takes the bundle.
    let trust = Trust::Certificate(&named);
    let webhook =
        WebhookSolver::start_with(&scene.testbed, &scene.namespace, "bind", (&pair.0, &pair.1), trust).await.unwrap();
    grant(&scene, &webhook.group).await;
    let mut spec = scene.issuer_spec("account").unwrap();
    let solver = json!({ "groupName": webhook.group, "solverName": "bind" });
    spec["acme"]["solvers"] = json!([{ "dns01": { "webhook": solver } }]);
    scene.create::<Issuer>("acme", spec).await.unwrap();
    scene.certificate("www", "acme", &[&scene.dns_name("www")]).await.unwrap();
    scene.issued("www").await.unwrap();
    assert!(webhook.requests().len() >= 2);
}

/// Every kind and every source; a former CA stays beside its successor, what its owner resets is put right, and when all is
/// well nothing is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn every_kind_gets_its_bundle() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let scene = scene("kinds").await;
    let (first, second) = (ca("first"), ca("second"));
    let began = scene.testbed.mark().unwrap();
    put_ca(&scene, "ca", &json!({ ALLOWED: "true" }), &first).await;
    let from_secret = json!({ FROM_SECRET: format!("{}/ca", scene.namespace) });
    let name = &scene.namespace;
    make::<MutatingWebhookConfiguration>(&scene, name, &from_secret, &webhooks(&scene, 2)).await;
    make::<ValidatingWebhookConfiguration>(&scene, name, &from_secret, &webhooks(&scene, 1)).await;
    let (service, definition) = (format!("v1.{name}.test"), format!("widgets.{name}.test"));
    make::<APIService>(&scene, &service, &from_secret, &api_service(name)).await;
    make::<CustomResourceDefinition>(&scene, &definition, &from_secret, &converted(name)).await;
    let of_server = format!("{name}-server");
    make::<ValidatingWebhookConfiguration>(&scene, &of_server, &json!({ OF_API_SERVER: "true" }), &webhooks(&scene, 1))
        .await;
    let untouched = format!("{name}-untouched");
    make::<ValidatingWebhookConfiguration>(&scene, &untouched, &json!({}), &webhooks(&scene, 1)).await;

    let two = ["/webhooks/0/clientConfig", "/webhooks/1/clientConfig"];
    let conversion = ["/spec/conversion/webhook/clientConfig"];
    bundle::<MutatingWebhookConfiguration>(&scene, name, &two, &first).await;
    bundle::<ValidatingWebhookConfiguration>(&scene, name, &two[..1], &first).await;
    bundle::<APIService>(&scene, &service, &["/spec"], &first).await;
    bundle::<CustomResourceDefinition>(&scene, &definition, &conversion, &first).await;
    let kubeconfig = std::fs::read_to_string(scene.testbed.state.folder.join("kubernetes/kubernetes-ca.crt")).unwrap();
    bundle::<ValidatingWebhookConfiguration>(&scene, &of_server, &two[..1], &kubeconfig).await;

    put_ca(&scene, "ca", &json!({ ALLOWED: "true" }), &second).await;
    let both = format!("{first}{second}");
    bundle::<MutatingWebhookConfiguration>(&scene, name, &two, &both).await;
    bundle::<ValidatingWebhookConfiguration>(&scene, name, &two[..1], &both).await;
    bundle::<APIService>(&scene, &service, &["/spec"], &both).await;
    bundle::<CustomResourceDefinition>(&scene, &definition, &conversion, &both).await;

    // What is written is there to be read before it is answered, and only then in the log.
    patches(&scene, began, [2, 3, 2, 2]).await;
    let mark = scene.testbed.mark().unwrap();
    // As an upgrade of its chart does, which knows nothing of the bundle.
    let reset = json!({ "webhooks": webhooks(&scene, 2)["webhooks"] });
    change::<MutatingWebhookConfiguration>(&scene, name, &reset).await;
    bundle::<MutatingWebhookConfiguration>(&scene, name, &two, &second).await;
    // The Secret is written without a change of its CA: this is looked at, and nothing is done.
    put_ca(&scene, "ca", &json!({ ALLOWED: "true", "note": "1" }), &second).await;
    // Whatever is written for the other one comes after that.
    put_ca(&scene, "late", &json!({ ALLOWED: "true" }), &first).await;
    let late = format!("{name}-late");
    let from_late = json!({ FROM_SECRET: format!("{name}/late") });
    make::<ValidatingWebhookConfiguration>(&scene, &late, &from_late, &webhooks(&scene, 1)).await;
    bundle::<ValidatingWebhookConfiguration>(&scene, &late, &two[..1], &first).await;
    assert_eq!(patches(&scene, mark, [1, 1, 0, 0]).await, [1, 1, 0, 0]);
    let left: ValidatingWebhookConfiguration = Api::all(scene.client.clone()).get(&untouched).await.unwrap();
    assert!(left.webhooks.unwrap()[0].client_config.ca_bundle.is_none());
    // Its registration would hold up the deletion of the namespace.
    Api::<APIService>::all(scene.client.clone()).delete(&service, &kube::api::DeleteParams::default()).await.unwrap();
}

/// Waits until the log has at least as many patches of each kind as are certain; gives how many there are.
async fn patches(scene: &Scene, mark: Mark, least: [usize; 4]) -> [usize; 4] {
    let kinds = [
        "mutatingwebhookconfigurations",
        "validatingwebhookconfigurations",
        "apiservices",
        "customresourcedefinitions",
    ];
    let look = async || {
        let writes = scene.testbed.count_writes(mark, CERTWRIGHT_USER).await?;
        let of = |kind: &str| writes.get(&(kind.to_owned(), "patch".to_owned())).copied().unwrap_or_default();
        let counts = kinds.map(of);
        anyhow::ensure!(counts.iter().zip(least).all(|(count, least)| *count >= least), "{writes:?}");
        Ok(Some(counts))
    };
    until("the patches in the audit log", PATIENCE, look).await.unwrap()
}

/// Why there is no bundle stands in an event; when the reason is gone, the bundle comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn what_cannot_be_injected_is_told_of() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let scene = scene("told").await;
    let name = &scene.namespace;
    let annotations = json!({ FROM_SECRET: format!("{name}/ca") });
    make::<ValidatingWebhookConfiguration>(&scene, name, &annotations, &webhooks(&scene, 1)).await;
    told(&scene, name, &format!("the Secret {name}/ca does not exist")).await;
    let authority = ca("told");
    put_ca(&scene, "ca", &json!({}), &authority).await;
    told(&scene, name, &format!("the Secret {name}/ca does not allow it")).await;
    put_ca(&scene, "ca", &json!({ ALLOWED: "true" }), &authority).await;
    bundle::<ValidatingWebhookConfiguration>(&scene, name, &["/webhooks/0/clientConfig"], &authority).await;

    let other = format!("{name}-other");
    let annotations = json!({ FROM: format!("{name}/absent") });
    make::<MutatingWebhookConfiguration>(&scene, &other, &annotations, &webhooks(&scene, 1)).await;
    told(&scene, &other, &format!("the Certificate {name}/absent does not exist")).await;
}

async fn scene(prefix: &str) -> Scene {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
    let controller = Controller::shared(&testbed).await.unwrap();
    Scene::new(&testbed, &controller.log, prefix).await.unwrap()
}

fn ca(name: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    Authority::create(folder.path(), name).unwrap().certificate_pem().to_owned()
}

async fn put_ca(scene: &Scene, name: &str, annotations: &Value, pem: &str) {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "annotations": annotations },
        "stringData": { "ca.crt": pem },
    });
    let params = PatchParams::apply("test").force();
    scene.api::<Secret>().patch(name, &params, &Patch::Apply(secret)).await.unwrap();
}

/// Webhooks that nothing is sent to.
fn webhooks(scene: &Scene, count: usize) -> Value {
    let webhook = |number: usize| {
        json!({
            "name": format!("hook{number}.{}.test", scene.namespace),
            "clientConfig": { "service": { "name": "absent", "namespace": scene.namespace } },
            "rules": [{ "apiGroups": ["nobody.test"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["nothings"] }],
            "sideEffects": "None", "admissionReviewVersions": ["v1"],
        })
    };
    json!({ "webhooks": (0..count).map(webhook).collect::<Vec<_>>() })
}

fn api_service(namespace: &str) -> Value {
    json!({ "spec": {
        "group": format!("{namespace}.test"), "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 15,
        "service": { "name": "absent", "namespace": namespace },
    }})
}

fn converted(namespace: &str) -> Value {
    let schema = json!({ "openAPIV3Schema": { "type": "object" } });
    let version =
        |name: &str, storage: bool| json!({ "name": name, "served": true, "storage": storage, "schema": schema });
    let client = json!({ "service": { "name": "absent", "namespace": namespace } });
    json!({ "spec": {
        "group": format!("{namespace}.test"), "scope": "Namespaced",
        "names": { "kind": "Widget", "plural": "widgets" }, "versions": [version("v1", true), version("v2", false)],
        "conversion": { "strategy": "Webhook", "webhook": { "clientConfig": client, "conversionReviewVersions": ["v1"] } },
    }})
}

trait Target: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize {}
impl<K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize> Target for K {}

async fn make<K: Target>(scene: &Scene, name: &str, annotations: &Value, rest: &Value) {
    let mut object = rest.clone();
    object["metadata"] = json!({ "name": name, "annotations": annotations });
    let object: K = serde_json::from_value(object).unwrap();
    Api::<K>::all(scene.client.clone()).create(&PostParams::default(), &object).await.unwrap();
}

async fn change<K: Target>(scene: &Scene, name: &str, change: &Value) {
    let api: Api<K> = Api::all(scene.client.clone());
    api.patch(name, &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
}

/// Waits until the bundles at all places are this.
async fn bundle<K: Target>(scene: &Scene, name: &str, places: &[&str], pem: &str) {
    let api: Api<K> = Api::all(scene.client.clone());
    let look = async || {
        let object = serde_json::to_value(api.get(name).await?)?;
        for place in places {
            let held = object.pointer(&format!("{place}/caBundle")).and_then(Value::as_str).unwrap_or_default();
            let held = String::from_utf8(STANDARD.decode(held)?)?;
            anyhow::ensure!(held == pem, "at {place} it has {} certificates", held.matches("BEGIN").count());
        }
        Ok::<_, anyhow::Error>(Some(()))
    };
    until(&format!("the bundle of {} {name}", K::kind(&())), PATIENCE, look).await.unwrap();
}

async fn told(scene: &Scene, name: &str, part: &str) {
    let events: Api<Event> = Api::namespaced(scene.client.clone(), "default");
    let look = async || {
        let found = events.list(&kube::api::ListParams::default()).await?.items.into_iter().filter(|event| {
            event.involved_object.name.as_deref() == Some(name)
                && event.reason.as_deref() == Some("CANotInjected")
                && event.message.as_deref().is_some_and(|message| message.contains(part))
        });
        let count = found.count();
        anyhow::ensure!(count < 2, "it was told {count} times");
        Ok::<_, anyhow::Error>((count == 1).then_some(()))
    };
    until(&format!("an event about {name} that says {part:?}"), PATIENCE, look).await.unwrap();
}

async fn grant(scene: &Scene, group: &str) {
    let name = format!("{}-webhook", scene.namespace);
    let allowed = json!({ "apiGroups": [group], "resources": ["*"], "verbs": ["create"] });
    let role: ClusterRole =
        serde_json::from_value(json!({ "metadata": { "name": name }, "rules": [allowed] })).unwrap();
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
        "subjects": [{ "kind": "User", "name": CERTWRIGHT_USER, "apiGroup": "rbac.authorization.k8s.io" }],
    }))
    .unwrap();
    Api::all(scene.client.clone()).create(&PostParams::default(), &role).await.unwrap();
    Api::all(scene.client.clone()).create(&PostParams::default(), &binding).await.unwrap();
}
