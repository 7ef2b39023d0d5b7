//! The Secret is kept as the spec wants it, and what is not ours is left alone.

use certwright::api::Certificate;
use certwright::api::names::{annotation, reason};
use certwright_e2e::Scene;
use certwright_e2e::audit::Mark;
use certwright_e2e::scene::{PATIENCE, certificate_spec, is_ready, unreadiness};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::witness::Witness;
use super::{ca_scene, create, entry, issue, of_revision, ready_message, request_names, secret_that};
use crate::support::{mark, settles, unready, writes_during, writes_since};

/// One write of the Secret, one of the status where the spec has changed (its conditions tell which generation they
/// are about), and no new certificate.
async fn only_the_secret_was_written(scene: &Scene, began: Mark, spec_changed: bool) {
    settles(scene).await;
    let writes = writes_since(scene, began).await;
    let mut written: Vec<&str> = writes.iter().map(|write| write.resource.as_str()).collect();
    written.sort_unstable();
    let expected: &[&str] = if spec_changed { &["certificates", "secrets"] } else { &["secrets"] };
    assert_eq!(written, expected, "{writes:#?}");
    assert_eq!(request_names(scene).await, ["web-1"]);
    of_revision(scene, "web", 1).await;
}

async fn foreign_patch(scene: &Scene, patch: Value) {
    let params = PatchParams::apply("somebody");
    scene.api::<Secret>().patch("web-tls", &params, &Patch::Merge(patch)).await.unwrap();
}

/// Labels and annotations of the template come and go; what others wrote stays.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn the_template_of_the_secret() {
    let scene = ca_scene("template").await;
    let template = json!({ "labels": { "app": "web", "old": "yes" }, "annotations": { "example.com/note": "one" } });
    let issued = issue(&scene, "web", json!({ "secretTemplate": template })).await;
    assert_eq!((issued.secret.labels()["app"].as_str(), issued.secret.labels()["old"].as_str()), ("web", "yes"));
    assert_eq!(issued.secret.annotations()["example.com/note"], "one");
    foreign_patch(&scene, json!({ "metadata": { "labels": { "team": "blue" } } })).await;
    settles(&scene).await;

    let began = mark(&scene).await;
    let template = json!({ "labels": { "old": null, "new": "yes" }, "annotations": { "example.com/note": "two" } });
    scene.patch::<Certificate>("web", json!({ "spec": { "secretTemplate": template } })).await.unwrap();
    let secret = secret_that(&scene, "web", "having the new label", |secret| secret.labels().contains_key("new")).await;
    let labels = secret.labels();
    assert!(!labels.contains_key("old") && labels["app"] == "web" && labels["team"] == "blue", "{labels:?}");
    assert_eq!(secret.annotations()["example.com/note"], "two");
    assert_eq!(entry(&secret, "tls.crt"), entry(&issued.secret, "tls.crt"));
    only_the_secret_was_written(&scene, began, true).await;

    let began = mark(&scene).await;
    scene.patch::<Certificate>("web", json!({ "spec": { "secretTemplate": null } })).await.unwrap();
    let is_bare = |secret: &Secret| !secret.labels().contains_key("new") && !secret.labels().contains_key("app");
    let secret = secret_that(&scene, "web", "having lost the template", is_bare).await;
    assert_eq!(secret.labels()["team"], "blue");
    assert!(!secret.annotations().contains_key("example.com/note"));
    only_the_secret_was_written(&scene, began, true).await;
}

/// What somebody does to a field of ours is undone, with one write.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_label_that_somebody_overwrites() {
    let scene = ca_scene("overwrite").await;
    issue(&scene, "web", json!({ "secretTemplate": { "labels": { "app": "web" } } })).await;
    settles(&scene).await;
    let began = mark(&scene).await;
    foreign_patch(
        &scene,
        json!({ "metadata": { "labels": { "app": "mine", "controller.cert-manager.io/fao": null } } }),
    )
    .await;
    let is_right = |secret: &Secret| {
        secret.labels().get("app").is_some_and(|app| app == "web")
            && secret.labels().contains_key("controller.cert-manager.io/fao")
    };
    secret_that(&scene, "web", "being put right", is_right).await;
    only_the_secret_was_written(&scene, began, false).await;
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn further_output_formats() {
    let scene = ca_scene("formats").await;
    let issued = issue(&scene, "web", json!({ "additionalOutputFormats": [{ "type": "DER" }] })).await;
    is_der_of_the_key(&issued.secret);
    settles(&scene).await;
    let began = mark(&scene).await;
    let both = json!({ "spec": { "additionalOutputFormats": [{ "type": "CombinedPEM" }, { "type": "DER" }] } });
    scene.patch::<Certificate>("web", both).await.unwrap();
    let has = |name: &'static str| move |secret: &Secret| secret.data.as_ref().unwrap().contains_key(name);
    let secret = secret_that(&scene, "web", "having both formats", has("tls-combined.pem")).await;
    is_der_of_the_key(&secret);
    let combined = [entry(&secret, "tls.key"), b"\n", entry(&secret, "tls.crt")].concat();
    assert_eq!(entry(&secret, "tls-combined.pem"), combined);
    only_the_secret_was_written(&scene, began, true).await;

    let began = mark(&scene).await;
    scene.patch::<Certificate>("web", json!({ "spec": { "additionalOutputFormats": null } })).await.unwrap();
    let has_none = |secret: &Secret| secret.data.as_ref().unwrap().keys().eq(["ca.crt", "tls.crt", "tls.key"]);
    let secret = secret_that(&scene, "web", "having no further formats", has_none).await;
    assert_eq!(entry(&secret, "tls.crt"), entry(&issued.secret, "tls.crt"));
    only_the_secret_was_written(&scene, began, true).await;
}

fn is_der_of_the_key(secret: &Secret) {
    let witness = Witness::new(&[("der", entry(secret, "key.der")), ("pem", entry(secret, "tls.key"))]);
    let from_der = witness.openssl(&["pkey", "-inform", "DER", "-in", "der", "-outform", "PEM"]);
    assert_eq!(from_der, witness.openssl(&["pkey", "-in", "pem"]));
}

/// By an annotation the Secret goes with its Certificate; without it, it stays.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn the_owner_of_the_secret() {
    let scene = ca_scene("owner").await;
    issue(&scene, "web", json!({})).await;
    settles(&scene).await;
    let began = mark(&scene).await;
    let policy = |value: Value| json!({ "metadata": { "annotations": { annotation::SECRET_POLICY: value } } });
    scene.patch::<Certificate>("web", policy(json!("Delete"))).await.unwrap();
    let secret = secret_that(&scene, "web", "having an owner", |secret| !secret.owner_references().is_empty()).await;
    let certificate: Certificate = scene.api().get("web").await.unwrap();
    let [owner] = secret.owner_references() else { panic!("{:?}", secret.owner_references()) };
    assert_eq!((owner.kind.as_str(), owner.controller), ("Certificate", Some(true)));
    assert_eq!(Some(&owner.uid), certificate.metadata.uid.as_ref());
    only_the_secret_was_written(&scene, began, false).await;

    let began = mark(&scene).await;
    scene.patch::<Certificate>("web", policy(Value::Null)).await.unwrap();
    secret_that(&scene, "web", "having no owner", |secret| secret.owner_references().is_empty()).await;
    only_the_secret_was_written(&scene, began, false).await;
}

/// Annotations of our own that cannot be read are told of, and do not keep the certificate from being good.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn annotations_that_make_no_sense() {
    let scene = ca_scene("nonsense").await;
    let issued = issue(&scene, "web", json!({})).await;
    let wrong = json!({ "metadata": { "annotations": {
        annotation::RENEW_AT: "nonsense",
        annotation::SECRET_POLICY: "delete",
        annotation::MAX_ISSUANCES_PER_DAY: "-1",
    }}});
    scene.patch::<Certificate>("web", wrong).await.unwrap();
    let parts = [
        "certwright.dev/renew-at is ignored, because \"nonsense\" is not a time",
        "certwright.dev/secret-policy is ignored, because \"delete\" is not Delete or Orphan",
        "certwright.dev/max-issuances-per-day is ignored, because \"-1\" is not a whole number",
    ];
    let is_told = |certificate: &Certificate| {
        is_ready(certificate) && parts.iter().all(|part| ready_message(certificate).contains(part))
    };
    scene.wait_for::<Certificate>("web", "telling of its annotations", PATIENCE, is_told).await.unwrap();
    settles(&scene).await;
    let keys = [annotation::RENEW_AT, annotation::SECRET_POLICY, annotation::MAX_ISSUANCES_PER_DAY];
    let none: serde_json::Map<String, Value> = keys.iter().map(|key| ((*key).to_owned(), Value::Null)).collect();
    scene.patch::<Certificate>("web", json!({ "metadata": { "annotations": none } })).await.unwrap();
    let is_quiet = |certificate: &Certificate| !ready_message(certificate).contains("ignored");
    scene.wait_for::<Certificate>("web", "having nothing to tell", PATIENCE, is_quiet).await.unwrap();
    let again = of_revision(&scene, "web", 1).await;
    assert_eq!(entry(&again.secret, "tls.crt"), entry(&issued.secret, "tls.crt"));
}

/// A Secret that somebody else's software reads, or that keeps an ACME account, is never written.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_secret_of_something_else() {
    let scene = ca_scene("stranger").await;
    scene.issuer("pebble").await.unwrap();
    let basic = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "login" },
        "type": "kubernetes.io/basic-auth", "stringData": { "username": "me", "password": "secret" },
    });
    let secrets = scene.api::<Secret>();
    secrets.create(&kube::api::PostParams::default(), &serde_json::from_value(basic).unwrap()).await.unwrap();
    let versions = |secrets: kube::Api<Secret>| async move {
        let login = secrets.get("login").await.unwrap().resource_version();
        (login, secrets.get("pebble-account").await.unwrap().resource_version())
    };
    let before = versions(secrets.clone()).await;
    create(&scene, "basic", json!({ "secretName": "login" })).await;
    create(&scene, "account", json!({ "secretName": "pebble-account" })).await;
    for (name, words) in [
        ("basic", ["\"login\"", "kubernetes.io/basic-auth", "another spec.secretName"]),
        ("account", ["\"pebble-account\"", "ACME account key of the Issuer \"pebble\"", "another spec.secretName"]),
    ] {
        unready::<Certificate>(&scene, name, &words).await;
        let certificate: Certificate = scene.api().get(name).await.unwrap();
        assert_eq!(unreadiness(&certificate).unwrap().0, reason::SECRET_OF_ANOTHER);
    }
    settles(&scene).await;
    assert_eq!(versions(secrets).await, before);
    assert!(request_names(&scene).await.is_empty());
    let other = json!({ "spec": { "secretName": "own-tls" } });
    scene.patch::<Certificate>("basic", other).await.unwrap();
    scene.issued("basic").await.unwrap();
}

/// Of two Certificates with one Secret, the older one has it; the other one says so and is heard once it is alone.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn two_certificates_for_one_secret() {
    let scene = ca_scene("two").await;
    let issued = issue(&scene, "first", json!({})).await;
    let mut spec = certificate_spec("first", "Issuer", super::CA, &[&scene.dns_name("second")]);
    spec["privateKey"] = json!({ "algorithm": "ECDSA" });
    scene.create::<Certificate>("second", spec).await.unwrap();
    unready::<Certificate>(&scene, "second", &["\"first-tls\"", "belongs to the Certificate \"first\""]).await;
    let second: Certificate = scene.api().get("second").await.unwrap();
    assert_eq!(unreadiness(&second).unwrap().0, reason::INCORRECT_CERTIFICATE);
    settles(&scene).await;
    let writes = writes_during(&scene, std::time::Duration::from_secs(3)).await;
    assert_eq!(writes, []);
    let first = of_revision(&scene, "first", 1).await;
    assert_eq!(entry(&first.secret, "tls.crt"), entry(&issued.secret, "tls.crt"));
    assert_eq!(request_names(&scene).await, ["first-1"]);

    scene.api::<Certificate>().delete("first", &kube::api::DeleteParams::default()).await.unwrap();
    let issued = scene.issued("second").await.unwrap();
    assert_eq!(issued.leaf().names.dns_names, [scene.dns_name("second")]);
    assert_eq!(issued.secret.annotations()[annotation::CERTIFICATE_NAME], "second");
}

/// Nobody can write into an immutable Secret: that is told until it is gone, and tried ever less often, not at every wake.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn an_immutable_secret() {
    let scene = ca_scene("immutable").await;
    for name in ["web", "other"] {
        issue(&scene, name, json!({})).await;
        let params = PatchParams::default();
        scene
            .api::<Secret>()
            .patch(&format!("{name}-tls"), &params, &Patch::Merge(json!({ "immutable": true })))
            .await
            .unwrap();
    }
    settles(&scene).await;

    let began = mark(&scene).await;
    let formats = json!({ "spec": { "additionalOutputFormats": [{ "type": "DER" }] } });
    scene.patch::<Certificate>("other", formats).await.unwrap();
    let names = json!({ "spec": { "dnsNames": [scene.dns_name("new")] } });
    scene.patch::<Certificate>("web", names).await.unwrap();
    let is_told = |certificate: &Certificate| ready_message(certificate).ends_with("; next try after 15 s");
    scene.wait_for::<Certificate>("web", "telling of the third refusal", PATIENCE, is_told).await.unwrap();
    let writes = writes_since(&scene, began).await;
    let refused = |name: &str| writes.iter().filter(|write| write.code == 422 && write.name == name).count();
    assert_eq!(refused("web-tls"), 3, "{writes:#?}");
    assert!((2..=4).contains(&refused("other-tls")), "{writes:#?}");
    let told: Vec<_> = writes.iter().filter(|write| write.name == "other" && write.subresource == "status").collect();
    assert!(told.len() <= 2, "the new generation, then why the Secret is not written: {told:#?}");

    for name in ["web", "other"] {
        scene.api::<Secret>().delete(&format!("{name}-tls"), &DeleteParams::default()).await.unwrap();
        of_revision(&scene, name, 2).await;
    }
}
