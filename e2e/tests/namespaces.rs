//! A controller that is limited to namespaces, with the rights that the chart gives it there and no others. These run inside a
//! testbed, with controllers of their own: `testbed run -- cargo test -p certwright-e2e --test namespaces -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use certwright::api::{Certificate, CertificateRequest, Issuer};
use certwright_e2e::helm::{Helm, chart};
use certwright_e2e::kubernetes::read_kubeconfig;
use certwright_e2e::scene::{PATIENCE, unreadiness};
use certwright_e2e::{Controller, Scene, Testbed, install};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde::Deserialize as _;
use serde_json::json;

/// Installs what the chart has for a controller in the first of these namespaces that serves them all, but for the Deployment.
async fn install_chart(testbed: &Testbed, release: &str, namespaces: &[&str]) -> Client {
    let client = testbed.admin().await.unwrap();
    let (chart, home) = (chart().display().to_string(), namespaces[0]);
    let watched = format!("watchNamespaces={{{}}}", namespaces.join(","));
    let mut arguments = vec!["template", release, &chart, "--namespace", home, "--set", &watched];
    arguments.extend(["--show-only=templates/rbac.yaml", "--show-only=templates/serviceaccount.yaml"]);
    let rendered = Helm::of(&testbed.state).unwrap().run(&arguments).unwrap();
    for document in serde_yaml::Deserializer::from_str(&rendered) {
        let object = DynamicObject::deserialize(document).unwrap();
        let kind = ApiResource::from_gvk(&GroupVersionKind::try_from(object.types.as_ref().unwrap()).unwrap());
        let api: Api<DynamicObject> = match object.namespace() {
            Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &kind),
            None => Api::all_with(client.clone(), &kind),
        };
        let params = PatchParams::apply("tests").force();
        api.patch(&object.name_any(), &params, &Patch::Apply(&object)).await.unwrap();
    }
    client
}

/// A kubeconfig for a ServiceAccount.
async fn kubeconfig_of(testbed: &Testbed, client: &Client, namespace: &str, name: &str) -> PathBuf {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let spec = TokenRequestSpec { expiration_seconds: Some(3600), ..TokenRequestSpec::default() };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let token =
        accounts.create_token_request(name, &PostParams::default(), &request).await.unwrap().status.unwrap().token;
    let admin = &testbed.state.kubernetes().unwrap().admin_kubeconfig;
    let mut config = json!(read_kubeconfig(admin).unwrap());
    config["users"][0]["user"] = json!({ "token": token });
    let file = testbed.state.folder.join(format!("{namespace}.kubeconfig"));
    std::fs::write(&file, config.to_string()).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn rights_in_two_namespaces_are_enough_for_them() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
    // The definitions and the policies are there before, as an administrator installs them.
    install::install(&testbed).await.unwrap();
    let unknown = PathBuf::new();
    let mut scenes = Vec::new();
    for prefix in ["home", "guest", "foreign"] {
        scenes.push(Scene::new(&testbed, &unknown, prefix).await.unwrap());
    }
    let (home, guest) = (scenes[0].namespace.clone(), scenes[1].namespace.clone());
    let release = format!("limited-{home}");
    let client = install_chart(&testbed, &release, &[&home, &guest]).await;
    let account = format!("{release}-certwright");
    let kubeconfig = kubeconfig_of(&testbed, &client, &home, &account).await;
    let mark = testbed.mark().unwrap();
    let served = format!("{home},{guest}");
    let flags = ["--kubeconfig", kubeconfig.to_str().unwrap(), "--namespace", &served];
    let controller = Controller::start(&testbed, &flags).await.unwrap();
    for scene in &mut scenes {
        scene.controller_log = controller.log().to_owned();
    }
    let foreign = scenes.pop().unwrap();
    foreign.create::<Issuer>("pebble", foreign.issuer_spec("pebble-account").unwrap()).await.unwrap();
    foreign.certificate("www", "pebble", &[&foreign.dns_name("www")]).await.unwrap();
    for scene in &scenes {
        scene.issuer("pebble").await.unwrap();
        scene.certificate("www", "pebble", &[&scene.dns_name("www")]).await.unwrap();
        scene.issued("www").await.unwrap();
    }

    let home_scene = &scenes[0];
    home_scene.certificate_of_cluster_issuer("wide", &[&home_scene.dns_name("wide")]).await.unwrap();
    let says_why = |request: &CertificateRequest| {
        unreadiness(request).is_some_and(|(_, message)| message.contains("limited to namespaces by --namespace"))
    };
    home_scene.wait_for::<CertificateRequest>("wide-1", "saying why", PATIENCE, says_why).await.unwrap();

    let untouched = foreign.api::<Certificate>().get("www").await.unwrap();
    assert!(untouched.status.is_none(), "{untouched:?}");
    let user = format!("system:serviceaccount:{home}:{account}");
    let writes: Vec<_> =
        testbed.writes_since(mark).await.unwrap().into_iter().filter(|write| write.user == user).collect();
    let places: BTreeSet<_> = writes.iter().map(|write| write.namespace.clone()).collect();
    assert_eq!(places, [home, guest].into());
    let refused: Vec<_> = writes.iter().filter(|write| write.code == 403).collect();
    assert!(refused.is_empty(), "{refused:?}");
}
