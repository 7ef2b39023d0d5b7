//! A webhook behind the API server's aggregation layer.

use certwright::api::ClusterIssuer;
use certwright_e2e::Scene;
use certwright_e2e::kubernetes::CERTWRIGHT_USER;
use certwright_e2e::scene::CLUSTER_RESOURCE_NAMESPACE;
use certwright_e2e::webhook_solver::{WebhookSolver, register_absent};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::{issuer, no_record_is_left, says, scene};

/// Certificate, API server, webhook, DNS server, CA, Secret; an apex and its wildcard share a name and are told apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_webhook_writes_the_records() {
    let scene = scene("webhook").await;
    let webhook = WebhookSolver::start(&scene.testbed, &scene.namespace, "bind").await.unwrap();
    grant(&scene, &webhook.group, "*").await;
    let config = json!({ "region": "north", "keySecretRef": { "name": "absent", "key": "k" } });
    issuer(&scene, "hooked", solver(&webhook.group, "bind", Some(&config))).await;
    let name = scene.dns_name("www");
    scene.certificate("www", "hooked", &[&name, &format!("*.{name}")]).await.unwrap();
    scene.issued("www").await.unwrap();
    no_record_is_left(&scene).await;

    let requests = webhook.requests();
    for action in ["Present", "CleanUp"] {
        let of_action: Vec<&Value> = requests.iter().filter(|request| request["action"] == action).collect();
        let mut keys: Vec<&str> = of_action.iter().map(|request| request["key"].as_str().unwrap()).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 2, "{requests:#?}");
        for request in of_action {
            let wanted = json!({
                "uid": "", "action": action, "type": "dns-01", "dnsName": name, "key": request["key"],
                "resourceNamespace": scene.namespace, "resolvedFQDN": format!("_acme-challenge.{name}."),
                "resolvedZone": "certwright.test.", "allowAmbientCredentials": false, "config": config,
            });
            assert_eq!(*request, wanted);
        }
    }
}

/// A ClusterIssuer's webhook looks for Secrets elsewhere, and may use the credentials of its surroundings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_webhook_of_a_cluster_issuer() {
    let scene = scene("clusterhook").await;
    let webhook = WebhookSolver::start(&scene.testbed, &scene.namespace, "bind").await.unwrap();
    grant(&scene, &webhook.group, "bind").await;
    scene.cluster_issuer().await.unwrap();
    let change = json!({ "spec": { "acme": { "solvers": [{ "dns01": solver(&webhook.group, "bind", None) }] } } });
    let issuers: Api<ClusterIssuer> = Api::all(scene.client.clone());
    issuers.patch(&scene.namespace, &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
    scene.certificate_of_cluster_issuer("www", &[&scene.dns_name("www")]).await.unwrap();
    scene.issued("www").await.unwrap();
    no_record_is_left(&scene).await;
    let request = webhook.requests().remove(0);
    let told = [&request["resourceNamespace"], &request["allowAmbientCredentials"], &request["config"]];
    assert_eq!(told, [&json!(CLUSTER_RESOURCE_NAMESPACE), &json!(true), &json!(null)], "{request}");
}

/// Whatever comes back instead of success stands in the Challenge, and all that helps to put it right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn what_a_webhook_answers_is_told() {
    let scene = scene("answers").await;
    let webhook = WebhookSolver::start(&scene.testbed, &scene.namespace, "bind").await.unwrap();
    let group = webhook.group.as_str();
    let absent = format!("absent.{}.webhooks.test", scene.namespace);
    register_absent(&scene.testbed, &scene.testbed.namespace("absent").await.unwrap(), &absent).await.unwrap();
    for (group, solver) in [(group, "bind"), (group, "other"), (&absent, "bind"), ("nobody.webhooks.test", "bind")] {
        grant(&scene, group, solver).await;
    }
    let answering = |answer: &str| Some(json!({ "answer": answer }));
    let no_right = format!(
        "may not be called by {CERTWRIGHT_USER}; bind it to a ClusterRole with the rule {{apiGroups: [{group}], \
         resources: [locked], verbs: [create]}}"
    );
    let cases = [
        ("failure", solver(group, "bind", answering("the zone is locked").as_ref()), "failed: the zone is locked"),
        ("silence", solver(group, "bind", answering("silence").as_ref()), "answered without a response"),
        ("locked", solver(group, "locked", None), &no_right),
        ("unknown", solver(group, "other", None), "it has no solver other"),
        (
            "nobody",
            solver("nobody.webhooks.test", "bind", None),
            "there is no APIService v1alpha1.nobody.webhooks.test",
        ),
        ("absent", solver(&absent, "bind", None), "kubectl describe apiservice v1alpha1.absent."),
    ];
    for (label, dns01, _) in &cases {
        issuer(&scene, label, dns01.clone()).await;
        scene.certificate(label, label, &[&scene.dns_name(label)]).await.unwrap();
    }
    for (label, _, part) in &cases {
        says(&scene, &scene.dns_name(label), part).await;
    }

    // What was missing is found without anybody telling.
    grant(&scene, group, "locked").await;
    says(&scene, &scene.dns_name("locked"), "it has no solver locked").await;
    no_record_is_left(&scene).await;
}

fn solver(group: &str, solver: &str, config: Option<&Value>) -> Value {
    json!({ "webhook": { "groupName": group, "solverName": solver, "config": config } })
}

/// The right to call a webhook, as its chart gives it.
async fn grant(scene: &Scene, group: &str, solver: &str) {
    let name = format!("{}-{group}-{}", scene.namespace, solver.replace('*', "all"));
    let allowed = json!({ "apiGroups": [group], "resources": [solver], "verbs": ["create"] });
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
