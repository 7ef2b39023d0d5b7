//! Who may say what about a CertificateRequest: its author, its approval and its annotations. See docs/admission.md.

use std::time::Duration;

use certwright::api::CertificateRequest;
use certwright_e2e::kubernetes::read_kubeconfig;
use certwright_e2e::wait::until;
use certwright_e2e::{Scene, scene::PATIENCE};
use http::{HeaderName, HeaderValue};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::config::{Config, KubeConfigOptions};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::admission::message;
use crate::support::scene;

/// A client of another user, whom the administrator speaks for.
async fn client_of(scene: &Scene, user: &str) -> Client {
    let kubeconfig = read_kubeconfig(&scene.testbed.state.kubernetes().unwrap().admin_kubeconfig).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    for (name, value) in [
        ("impersonate-user", user),
        ("impersonate-uid", "u-1"),
        ("impersonate-group", "testers"),
        ("impersonate-extra-scopes", "some"),
    ] {
        config.headers.push((HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
    }
    Client::try_from(config).unwrap()
}

/// Grants the user everything about CertificateRequests but their approval, and that for the signers of these names.
async fn grant(scene: &Scene, user: &str, signers: &[&str]) {
    let mut rules = vec![json!({
        "apiGroups": ["cert-manager.io"], "resources": ["certificaterequests", "certificaterequests/status"], "verbs": ["*"],
    })];
    if !signers.is_empty() {
        let names = json!({ "resources": ["signers"], "resourceNames": signers, "verbs": ["approve"] });
        rules.push(json!({ "apiGroups": ["cert-manager.io"] }));
        rules[1].as_object_mut().unwrap().extend(names.as_object().unwrap().clone());
    }
    let role: ClusterRole = serde_json::from_value(json!({ "metadata": { "name": user }, "rules": rules })).unwrap();
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": { "name": user },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
    }))
    .unwrap();
    let params = PatchParams::apply("tests").force();
    Api::all(scene.client.clone())
        .patch(user, &params, &Patch::Apply(with_type(&role)))
        .await
        .map(|_: ClusterRole| ())
        .unwrap();
    Api::all(scene.client.clone())
        .patch(user, &params, &Patch::Apply(with_type(&binding)))
        .await
        .map(|_: ClusterRoleBinding| ())
        .unwrap();
}

fn with_type<K: k8s_openapi::Resource + serde::Serialize>(object: &K) -> Value {
    let mut value = json!(object);
    value["apiVersion"] = json!(K::API_VERSION);
    value["kind"] = json!(K::KIND);
    value
}

fn reference(name: &str, kind: &str, group: &str) -> Value {
    json!({ "name": name, "kind": kind, "group": group })
}

fn condition(type_: &str, status: &str, reason: &str) -> Value {
    json!({ "type": type_, "status": status, "reason": reason, "lastTransitionTime": "2026-01-02T03:04:05Z" })
}

/// Creates a CertificateRequest for an issuer of others, which the controller leaves alone until it is approved.
async fn request(api: &Api<CertificateRequest>, name: &str, more: Value) -> Result<CertificateRequest, String> {
    let mut object = json!({
        "metadata": { "name": name },
        "spec": { "issuerRef": reference("x", "Other", "example.com"), "request": "YQ==" },
    });
    for (field, value) in more.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    let object = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.map_err(message)
}

/// Replaces the conditions.
async fn decide(api: &Api<CertificateRequest>, name: &str, conditions: Value) -> Result<(), String> {
    let status = Patch::Merge(json!({ "status": { "conditions": conditions } }));
    api.patch_status(name, &PatchParams::default(), &status).await.map(drop).map_err(message)
}

/// The same without effect: what is let through because the policies are not enforced yet changes nothing.
async fn try_to_decide(api: &Api<CertificateRequest>, name: &str, conditions: Value) -> Result<(), String> {
    let status = Patch::Merge(json!({ "status": { "conditions": conditions } }));
    let params = PatchParams { dry_run: true, ..PatchParams::default() };
    api.patch_status(name, &params, &status).await.map(drop).map_err(message)
}

/// Waits until the API server enforces what the first look at the policies may miss.
async fn eventually_refused(what: &str, part: &str, mut attempt: impl AsyncFnMut() -> Result<(), String>) -> String {
    let look = async || match attempt().await {
        Err(refusal) if refusal.contains(part) => Ok(Some(refusal)),
        other => Err(anyhow::anyhow!("got {other:?}")),
    };
    until(&format!("{what} to be refused"), PATIENCE, look).await.unwrap()
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn an_approval_is_final() {
    let scene = scene("final").await;
    let api = scene.api::<CertificateRequest>();
    for (name, conditions, words) in [
        ("false", json!([condition("Approved", "False", "a")]), "status.conditions[0].status: Invalid value"),
        (
            "unknown",
            json!([condition("Denied", "Unknown", "a")]),
            "must be True for the conditions Approved and Denied",
        ),
        (
            "both",
            json!([condition("Approved", "True", "a"), condition("Denied", "True", "a")]),
            "status.conditions: Forbidden: Approved and Denied are mutually exclusive",
        ),
        ("twice", json!([condition("Denied", "True", "a"), condition("Denied", "True", "a")]), "Duplicate value"),
    ] {
        // Where the controller has approved already, the attempt is refused for that.
        request(&api, name, json!({})).await.unwrap();
        let refusal = decide(&api, name, conditions).await.unwrap_err();
        assert!(refusal.contains(words) || refusal.contains("once they are set"), "{refusal}");
    }

    request(&api, "denied", json!({})).await.unwrap();
    let denied = condition("Denied", "True", "NotToday");
    if let Err(refusal) = decide(&api, "denied", json!([denied])).await {
        panic!("{refusal}");
    }
    let other = json!({ "type": "Ready", "status": "False" });
    for (conditions, words) in [
        (
            json!([condition("Denied", "True", "Other")]),
            "the conditions Approved and Denied cannot be changed once they are set",
        ),
        (json!([denied, condition("Approved", "True", "a")]), "mutually exclusive"),
        (json!([other]), "status.conditions: Forbidden: the conditions Approved and Denied cannot be removed"),
        (json!([]), "cannot be removed once they are set"),
        (Value::Null, "cannot be removed once they are set"),
    ] {
        let refusal = decide(&api, "denied", conditions).await.unwrap_err();
        assert!(refusal.contains(words), "{refusal}");
    }
    assert_eq!(decide(&api, "denied", json!([other, denied])).await, Ok(()));
    let status = Patch::Merge(json!({ "status": null }));
    let refusal = api.patch_status("denied", &PatchParams::default(), &status).await.unwrap_err();
    assert!(message(refusal).contains("cannot be removed once they are set"));
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn approval_takes_the_right_to_it() {
    let scene = scene("signers").await;
    let (namespace, user) = (scene.namespace.clone(), format!("{}-approver", scene.namespace));
    let api: Api<CertificateRequest> = Api::namespaced(client_of(&scene, &user).await, &namespace);
    let issuers = [
        ("one", reference("x", "Other", "example.com"), format!("others.example.com/{namespace}.x")),
        ("cluster", reference("x", "OtherClusterIssuer", "example.com"), "otherclusterissuers.example.com/x".into()),
        ("every", reference("y.z", "Third", "example.com"), "thirds.example.com/*".into()),
    ];
    grant(&scene, &user, &[]).await;
    let created = async || {
        request(&api, "one", json!({})).await.map(drop).map_or(Ok(None), |()| Ok::<_, anyhow::Error>(Some(())))
    };
    until("the right to make requests", PATIENCE, created).await.unwrap();
    for (name, issuer, _) in &issuers[1..] {
        request(&api, name, json!({ "issuerRef": issuer })).await.unwrap();
    }
    let approval = json!([condition("Approved", "True", "byhand")]);
    for (name, _, signer) in &issuers {
        let attempt = async || try_to_decide(&api, name, approval.clone()).await;
        let refusal = eventually_refused("the approval", "does not have permissions", attempt).await;
        assert!(refusal.contains("status.conditions: Forbidden: user") && refusal.contains(&user), "{refusal}");
        let resource = signer.split('/').next().unwrap();
        assert!(refusal.contains(resource), "{refusal}");
    }
    // Whatever is not about the approval takes no such right.
    assert_eq!(decide(&api, "one", json!([{ "type": "Ready", "status": "False" }])).await, Ok(()));

    // Neither the same issuer in another namespace nor another kind will do.
    grant(&scene, &user, &["others.example.com/elsewhere.x", "others.example.com/x", "issuers.example.com/*"]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(decide(&api, "one", approval.clone()).await.unwrap_err().contains("does not have permissions"));

    let names: Vec<&str> = issuers.iter().map(|(_, _, signer)| signer.as_str()).collect();
    grant(&scene, &user, &names).await;
    for (name, ..) in &issuers {
        let look = async || match decide(&api, name, approval.clone()).await {
            Ok(()) => Ok(Some(())),
            Err(refusal) => Err(anyhow::anyhow!(refusal)),
        };
        until(&format!("the approval of {name}"), PATIENCE, look).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn requests_tell_who_made_them() {
    let scene = scene("requester").await;
    let user = format!("{}-author", scene.namespace);
    let api: Api<CertificateRequest> = Api::namespaced(client_of(&scene, &user).await, &scene.namespace);
    grant(&scene, &user, &[]).await;
    let forged = json!({
        "username": "admin", "uid": "1", "groups": ["system:masters"], "extra": { "a": ["b"], "c": [] },
    });
    let mut count = 0;
    let look = async || {
        count += 1;
        let made = request(&api, &format!("forged{count}"), forged.clone()).await.map_err(anyhow::Error::msg)?;
        anyhow::ensure!(made.spec.username.as_ref() == Some(&user), "made by {:?}", made.spec.username);
        Ok(Some(made))
    };
    let made = until("the author to be filled in", PATIENCE, look).await.unwrap();
    assert_eq!(made.spec.uid.as_deref(), Some("u-1"));
    assert_eq!(made.spec.extra, [("scopes".to_owned(), vec!["some".to_owned()])].into());
    assert_eq!(made.spec.groups, ["testers", "system:authenticated"]);

    // The controller's own tell the same.
    scene.issuer("pebble").await.unwrap();
    scene.certificate("www", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    scene.issued("www").await.unwrap();
    let ours = scene.api::<CertificateRequest>().get("www-1").await.unwrap();
    assert_eq!(ours.spec.username.as_deref(), Some("certwright"));
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn annotations_of_requests_stay() {
    let scene = scene("annotations").await;
    let api = scene.api::<CertificateRequest>();
    let object: CertificateRequest = serde_json::from_value(json!({
        "metadata": {
            "name": "r", "annotations": { "cert-manager.io/certificate-name": "www", "example.com/a": "b" },
        },
        "spec": { "issuerRef": reference("x", "Other", "example.com"), "request": "YQ==" },
    }))
    .unwrap();
    let object = api.create(&PostParams::default(), &object).await.unwrap();
    let annotate = async |change: Value, dry_run: bool| {
        let patch = Patch::Merge(json!({ "metadata": { "annotations": change } }));
        let params = PatchParams { dry_run, ..PatchParams::default() };
        api.patch(&object.name_any(), &params, &patch).await.map(drop).map_err(message)
    };
    for change in [
        json!({ "cert-manager.io/certificate-name": "api" }),
        json!({ "cert-manager.io/certificate-name": null }),
        json!({ "cert-manager.io/x": "" }),
        json!({ "cert-manager.iolike": "" }),
        json!({ "acme.cert-manager.io/x": "" }),
    ] {
        let key = change.as_object().unwrap().keys().next().unwrap().clone();
        let attempt = async || annotate(change.clone(), true).await;
        let refusal = eventually_refused("the annotation", "cannot be added, changed or removed", attempt).await;
        assert!(refusal.contains("metadata.annotations: Forbidden") && refusal.contains(&key), "{refusal}");
    }
    for change in [
        json!({ "example.com/a": null }),
        json!({ "venafi.cert-manager.io/x": "1" }),
        json!({ "venafi.cert-manager.io/x": "2", "cert-manager.io/certificate-name": "www" }),
    ] {
        assert_eq!(annotate(change.clone(), false).await, Ok(()), "{change}");
    }
    let look = async || Ok::<_, anyhow::Error>(Some(api.get("r").await?));
    let kept = until("the request", PATIENCE, look).await.unwrap();
    assert_eq!(kept.annotations()["cert-manager.io/certificate-name"], "www");
}
