//! Certificates from Ingresses and Gateways that name an issuer, with the rights of `deploy/rbac.yaml`. These run inside a testbed,
//! with a controller of their own: `testbed run -- cargo test -p certwright-e2e --test shim -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use certwright::api::{Certificate, ClusterIssuer};
use certwright_e2e::definition::define;
use certwright_e2e::kubernetes::CERTWRIGHT_USER;
use certwright_e2e::scene::PATIENCE;
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Scene, Testbed, audit};
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::ResourceExt;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use serde_json::{Value, json};

/// The ClusterIssuer that signs by itself, also the default of the controller here.
const ISSUER: &str = "shim-self-signed";

/// There is one controller at a time, and one of them takes rights away.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn testbed() -> Testbed {
    Testbed::from_env().unwrap().expect("run this inside `testbed run`")
}

/// A controller with a default issuer, and a place in the cluster.
async fn stage(prefix: &str, flags: &[&str]) -> (Controller, Scene) {
    let testbed = testbed();
    let issuer = format!("--default-issuer-name={ISSUER}");
    let mut all = vec![&*issuer, "--default-issuer-kind=ClusterIssuer"];
    all.extend(flags);
    let controller = Controller::start(&testbed, &all).await.unwrap();
    let scene = Scene::new(&testbed, controller.log(), prefix).await.unwrap();
    let issuer: ClusterIssuer = serde_json::from_value(json!({
        "apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "metadata": { "name": ISSUER },
        "spec": { "selfSigned": {} },
    }))
    .unwrap();
    let params = PatchParams::apply("test").force();
    let issuers: Api<ClusterIssuer> = Api::all(scene.client.clone());
    issuers.patch(ISSUER, &params, &Patch::Apply(&issuer)).await.unwrap();
    (controller, scene)
}

async fn ingress(scene: &Scene, name: &str, annotations: &Value, tls: &Value) {
    let ingress: Ingress = serde_json::from_value(json!({
        "metadata": { "name": name, "labels": { "app": name }, "annotations": annotations },
        "spec": { "tls": tls, "defaultBackend": { "service": { "name": "web", "port": { "number": 80 } } } },
    }))
    .unwrap();
    scene.api::<Ingress>().create(&PostParams::default(), &ingress).await.unwrap();
}

/// Nothing is left for the controllers of other tests to make Certificates from.
async fn leave(scene: &Scene) {
    scene.api::<Ingress>().delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
}

/// The annotations of who wants a certificate, with a key that is made at once.
fn marked() -> Value {
    json!({ "cert-manager.io/cluster-issuer": ISSUER, "cert-manager.io/private-key-algorithm": "ECDSA" })
}

fn block(scene: &Scene, name: &str) -> Value {
    json!({ "hosts": [scene.dns_name(name)], "secretName": name })
}

async fn annotate(scene: &Scene, name: &str, annotations: Value) {
    scene.patch::<Ingress>(name, json!({ "metadata": { "annotations": annotations } })).await.unwrap();
}

/// Waits until an event about the object says this.
async fn told(scene: &Scene, object: &str, reason: &str, part: &str) {
    let look = async || {
        let events = scene.events(object).await?;
        let count = events.iter().filter(|(held, text)| held == reason && text.contains(part)).count();
        anyhow::ensure!(count < 2, "it was told {count} times");
        anyhow::ensure!(count == 1, "the events are {events:?}");
        Ok::<_, anyhow::Error>(Some(()))
    };
    until(&format!("one event {reason} about {object} that says {part:?}"), PATIENCE, look).await.unwrap();
}

/// Waits until the Certificate's specification has this at the place.
async fn has(scene: &Scene, name: &str, pointer: &str, value: Value) {
    let wanted =
        |held: &Certificate| serde_json::to_value(held).unwrap().pointer(pointer).is_some_and(|held| *held == value);
    scene.wait_for::<Certificate>(name, &format!("having {value} at {pointer}"), PATIENCE, wanted).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn an_annotated_ingress_has_its_certificates() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let (_controller, scene) = stage("shim", &[]).await;
    let theirs = json!({
        "secretName": "theirs", "dnsNames": [scene.dns_name("other")], "privateKey": { "algorithm": "ECDSA" },
        "issuerRef": { "name": ISSUER, "kind": "ClusterIssuer" },
    });
    scene.create::<Certificate>("theirs", theirs).await.unwrap();
    let blocks =
        json!([block(&scene, "one"), block(&scene, "two"), block(&scene, "theirs"), { "secretName": "three" }]);
    let mark = scene.testbed.mark().unwrap();
    ingress(&scene, "plain", &json!({ "note": "none" }), &json!([block(&scene, "plain")])).await;
    ingress(&scene, "web", &marked(), &blocks).await;

    let issued = scene.issued("one").await.unwrap();
    assert_eq!(issued.leaf().names.dns_names, [scene.dns_name("one")]);
    scene.issued("two").await.unwrap();
    told(&scene, "web", "CreateCertificate", "Successfully created Certificate \"one\"").await;
    told(&scene, "web", "BadConfig", "Skipped a TLS block: spec.tls[3].hosts: Required value").await;
    let owner = issued.certificate.owner_references()[0].clone();
    assert_eq!(
        (&*owner.kind, &*owner.name, owner.controller, owner.block_owner_deletion),
        ("Ingress", "web", Some(true), Some(true))
    );
    assert_eq!(issued.certificate.labels()["app"], "web");
    let managers: Vec<_> =
        issued.certificate.managed_fields().iter().filter_map(|entry| entry.manager.clone()).collect();
    assert!(managers.contains(&"cert-manager-ingress-shim".to_owned()), "{managers:?}");

    annotate(
        &scene,
        "web",
        json!({
            "cert-manager.io/duration": "720h", "acme.cert-manager.io/http01-edit-in-place": "true",
            "cert-manager.io/secret-template": "{\"labels\": {\"team\": \"web\"}}",
        }),
    )
    .await;
    has(&scene, "two", "/spec/duration", json!("720h0m0s")).await;
    let override_name = "/metadata/annotations/acme.cert-manager.io~1http01-override-ingress-name";
    has(&scene, "two", override_name, json!("web")).await;
    has(&scene, "two", "/spec/secretTemplate/labels/team", json!("web")).await;
    told(&scene, "web", "UpdateCertificate", "Successfully updated Certificate \"two\"").await;

    scene.api::<Certificate>().delete("one", &DeleteParams::background()).await.unwrap();
    let remade = |held: &Certificate| held.uid() != issued.certificate.uid();
    scene.wait_for::<Certificate>("one", "being made anew", PATIENCE, remade).await.unwrap();
    scene
        .patch::<Ingress>("web", json!({ "spec": { "tls": [block(&scene, "one"), block(&scene, "theirs")] } }))
        .await
        .unwrap();
    scene.wait_gone::<Certificate>("two").await.unwrap();
    told(&scene, "web", "DeleteCertificate", "Successfully deleted unrequired Certificate \"two\"").await;

    // Who asks no more keeps what is there.
    annotate(&scene, "web", json!({ "cert-manager.io/cluster-issuer": null })).await;
    scene.patch::<Ingress>("web", json!({ "spec": { "tls": [] } })).await.unwrap();
    // Whatever is done for the other one comes after that.
    ingress(&scene, "last", &marked(), &json!([block(&scene, "last")])).await;
    scene.issued("last").await.unwrap();
    let names: Vec<_> = scene.list::<Certificate>().await.unwrap().iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["last", "one", "theirs"]);
    let theirs = scene.issued("theirs").await.unwrap();
    assert_eq!(theirs.leaf().names.dns_names, [scene.dns_name("other")]);
    assert_eq!(theirs.certificate.owner_references(), []);

    let mut writes = scene.testbed.writes_since(mark).await.unwrap();
    // One that is lost to a write of the status is made anew.
    writes.retain(|write| {
        write.user == CERTWRIGHT_USER
            && write.namespace == scene.namespace
            && (write.resource.as_str(), write.subresource.as_str()) == ("certificates", "")
            && write.code < 300
    });
    let of = |verb: &str| writes.iter().filter(|write| write.verb == verb).count();
    assert_eq!(["create", "patch", "delete", "update"].map(of), [4, 2, 1, 0], "{writes:?}");
    leave(&scene).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn what_is_wrong_with_an_ingress_is_told_once_and_can_be_put_right() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let (_controller, scene) = stage("shim-told", &[]).await;
    let one = json!([block(&scene, "one")]);
    let bad = json!({
        "cert-manager.io/cluster-issuer": ISSUER, "cert-manager.io/duration": "90d",
        "cert-manager.io/private-key-algorithm": "ECDSA",
    });
    ingress(&scene, "web", &bad, &one).await;
    told(&scene, "web", "BadConfig", "cert-manager.io/duration: \"90d\" is not a duration").await;
    ingress(&scene, "torn", &json!({ "cert-manager.io/issuer": "a", "cert-manager.io/cluster-issuer": "b" }), &one)
        .await;
    told(&scene, "torn", "BadConfig", "Could not determine issuer for ingress due to bad annotations: both").await;
    annotate(&scene, "web", json!({ "cert-manager.io/duration": "2160h" })).await;
    scene.issued("one").await.unwrap();
    told(&scene, "web", "BadConfig", "is not a duration").await;

    // As many an old Helm chart has it.
    let acme = json!({ "kubernetes.io/tls-acme": "true", "cert-manager.io/private-key-algorithm": "ECDSA" });
    ingress(&scene, "old", &acme, &json!([block(&scene, "old")])).await;
    let signer = scene.issued("old").await.unwrap().certificate.spec.issuer_ref;
    assert_eq!((&*signer.name, signer.kind.as_deref()), (ISSUER, Some("ClusterIssuer")));
    leave(&scene).await;
}

/// The API server's refusal holds until somebody changes the rule, so it is asked ever less often, and the log tells of it once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_refusal_is_told_once_and_tried_ever_less_often() {
    const POLICY: &str = "no-shim-certificates";
    let _alone = ONE_AT_A_TIME.lock().await;
    let (controller, scene) = stage("shim-refused", &[]).await;
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(scene.client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(scene.client.clone());
    let policy = json!({ "metadata": { "name": POLICY }, "spec": {
        "matchConstraints": { "resourceRules": [{
            "apiGroups": ["cert-manager.io"], "apiVersions": ["*"], "resources": ["certificates"], "operations": ["CREATE"],
        }] },
        "validations": [{ "expression": "false", "message": "no Certificates here" }],
    } });
    let binding = json!({ "metadata": { "name": POLICY }, "spec": {
        "policyName": POLICY, "validationActions": ["Deny"],
        "matchResources": {
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": scene.namespace } },
        },
    } });
    policies.create(&PostParams::default(), &serde_json::from_value(policy).unwrap()).await.unwrap();
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    let probe: Certificate = serde_json::from_value(json!({
        "metadata": { "name": "probe" }, "spec": { "secretName": "probe", "issuerRef": { "name": "none" }, "dnsNames": ["a"] },
    }))
    .unwrap();
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let is_in_force = async || {
        Ok::<_, anyhow::Error>(scene.api::<Certificate>().create(&dry_run, &probe).await.is_err().then_some(()))
    };
    until("the rule to be in force", PATIENCE, is_in_force).await.unwrap();

    let begin = testbed().mark().unwrap();
    ingress(&scene, "web", &marked(), &json!([block(&scene, "web")])).await;
    let refusals = async || {
        let log = testbed().state.kubernetes().unwrap().audit_log.clone();
        let mut tried = audit::requests_since(&log, begin)?;
        tried.retain(|one| one.user == CERTWRIGHT_USER && one.resource == "certificates" && one.code == 422);
        Ok::<_, anyhow::Error>((tried.len() >= 3).then_some(()))
    };
    until("it to be tried several times", PATIENCE, refusals).await.unwrap();
    told(&scene, "web", "RefusedByAPIServer", "no Certificates here").await;
    let log = std::fs::read_to_string(controller.log()).unwrap();
    let lines = log.lines().filter(|line| line.contains("WARN") && line.contains("no Certificates here"));
    assert_eq!(lines.count(), 1, "{log}");

    bindings.delete(POLICY, &DeleteParams::default()).await.unwrap();
    policies.delete(POLICY, &DeleteParams::default()).await.unwrap();
    scene.issued("web").await.unwrap();
    leave(&scene).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn without_the_right_to_ingresses_the_rest_goes_on() {
    const ROLE: &str = "certwright-controller-challenges";
    let _alone = ONE_AT_A_TIME.lock().await;
    let testbed = testbed();
    certwright_e2e::install::install(&testbed).await.unwrap();
    let roles: Api<ClusterRole> = Api::all(testbed.admin().await.unwrap());
    let whole = roles.get(ROLE).await.unwrap();
    let mut fewer = whole.clone();
    for rule in fewer.rules.iter_mut().flatten() {
        rule.resources
            .iter_mut()
            .flatten()
            .filter(|name| *name == "ingresses")
            .for_each(|name| "none".clone_into(name));
    }
    let change = |role: &ClusterRole| Patch::Merge(json!({ "rules": role.rules }));
    roles.patch(ROLE, &PatchParams::default(), &change(&fewer)).await.unwrap();
    let ingresses: Api<Ingress> = Api::all(testbed.certwright().await.unwrap());
    let is_gone = async || Ok::<_, anyhow::Error>(ingresses.list(&ListParams::default()).await.is_err().then_some(()));
    until("the right to go", PATIENCE, is_gone).await.unwrap();

    let (controller, scene) = stage("shim-rights", &[]).await;
    let spec = json!({
        "secretName": "own", "dnsNames": [scene.dns_name("own")], "privateKey": { "algorithm": "ECDSA" },
        "issuerRef": { "name": ISSUER, "kind": "ClusterIssuer" },
    });
    scene.create::<Certificate>("own", spec).await.unwrap();
    scene.issued("own").await.unwrap();
    let log = std::fs::read_to_string(controller.log()).unwrap();
    assert_eq!(log.matches("no right to list ingresses.networking.k8s.io in the whole cluster").count(), 1, "{log}");
    ingress(&scene, "web", &marked(), &json!([block(&scene, "web")])).await;
    roles.patch(ROLE, &PatchParams::default(), &change(&whole)).await.unwrap();
    scene.issued("web").await.unwrap();
    leave(&scene).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_gateway_has_its_certificates_where_that_is_turned_on() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let gateways = ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "Gateway"));
    let sets = ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "ListenerSet"));
    for kind in [&gateways, &sets] {
        define(&testbed().admin().await.unwrap(), kind).await.unwrap();
    }
    let flags = ["--enable-gateway-api", "--enable-gateway-api-listenerset", "--controllers=*,-ingress-shim"];
    let (_controller, scene) = stage("shim-gateway", &flags).await;
    ingress(&scene, "web", &marked(), &json!([block(&scene, "web")])).await;
    let listener = |name: &str, secret: &str| {
        json!({
            "name": name, "hostname": scene.dns_name(name), "port": 443, "protocol": "HTTPS",
            "tls": { "mode": "Terminate", "certificateRefs": [{ "name": secret }] },
        })
    };
    let listeners = json!([listener("a", "shared"), listener("b", "shared"), { "name": "c", "protocol": "TLS" }]);
    let gateway: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": { "name": "gate", "annotations": marked() }, "spec": { "listeners": listeners },
    }))
    .unwrap();
    let api: Api<DynamicObject> = Api::namespaced_with(scene.client.clone(), &scene.namespace, &gateways);
    api.create(&PostParams::default(), &gateway).await.unwrap();
    let issued = scene.issued("shared").await.unwrap();
    assert_eq!(issued.leaf().names.dns_names, [scene.dns_name("a"), scene.dns_name("b")]);
    assert_eq!(issued.certificate.owner_references()[0].kind, "Gateway");
    assert_eq!(issued.certificate.annotations()["acme.cert-manager.io/http01-parentrefname"], "gate");
    told(&scene, "gate", "BadConfig", "Skipped a listener block: spec.listeners[2].hostname: Required value").await;

    // It names no issuer, so that of its Gateway counts.
    let set: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "ListenerSet",
        "metadata": { "name": "set", "annotations": { "cert-manager.io/private-key-algorithm": "ECDSA" } },
        "spec": { "parentRef": { "name": "gate" }, "listeners": [listener("d", "added")] },
    }))
    .unwrap();
    let api: Api<DynamicObject> = Api::namespaced_with(scene.client.clone(), &scene.namespace, &sets);
    api.create(&PostParams::default(), &set).await.unwrap();
    let added = scene.issued("added").await.unwrap().certificate;
    assert_eq!((&*added.spec.issuer_ref.name, &*added.owner_references()[0].kind), (ISSUER, "ListenerSet"));
    let names: Vec<_> = scene.list::<Certificate>().await.unwrap().iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["added", "shared"], "nothing is made from Ingresses here");
    leave(&scene).await;
}
