//! That what the chart renders is what the API server stores. Argo CD and Flux compare the two again and again, and lists as wholes: a
//! default that the API server adds within one is a difference for ever.

use certwright_e2e::helm::values;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::Value;

use super::{name_of, objects, render, testbed};

/// Lists whose items are compared one by one, because each has a key.
const KEYED: [&str; 7] = ["containers", "env", "imagePullSecrets", "ports", "volumeMounts", "volumes", "webhooks"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn the_api_server_adds_nothing_to_a_list() {
    let testbed = testbed();
    let client = testbed.admin().await.unwrap();
    let namespace = testbed.namespace("settled").await.unwrap();
    let here = format!(
        "--set=namespace={namespace},prometheus.rules.enabled=false,prometheus.podmonitor.enabled=false,\
                        prometheus.servicemonitor.enabled=false,prometheus.dashboard.namespace={namespace},\
                        webhook.config.metricsTLSConfig.dynamic.secretNamespace={namespace}"
    );
    // There is no IPv6 in the testbed, and no rule may come to nothing.
    let webhook =
        ["--set-json=webhook.serviceIPFamilies=[\"IPv4\"]", "--set=webhook.serviceIPFamilyPolicy=SingleStack"];
    let everything = ["--set=networkPolicy.ingress=null", "--set=admissionPolicies.setRequester=true"];
    let of = |name: &str| format!("--values={}", values(name).display());
    for options in [
        vec!["--set=crds.enabled=true"],
        [vec![&*of("webhook")], webhook.to_vec()].concat(),
        [vec![&*of("everything")], everything.to_vec()].concat(),
    ] {
        let rendered = objects(&render("settled", &[options, vec![&here]].concat()));
        assert!(rendered.len() > 20, "{}", rendered.len());
        let mut differences = Vec::new();
        for object in &rendered {
            compare(object, &stored(&client, object).await, &name_of(object), &mut differences);
        }
        assert!(differences.is_empty(), "{differences:#?}");
    }
}

#[test]
#[ignore = "runs inside a testbed"]
fn nothing_is_made_up_anew_at_each_rendering() {
    let options = [format!("--values={}", values("everything").display())];
    let render = || render("settled", &[&options[0]]);
    assert_eq!(render(), render());
}

/// The object as the API server would store it, who answers without doing so.
async fn stored(client: &Client, object: &Value) -> Value {
    let applied: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    let kind = ApiResource::from_gvk(&GroupVersionKind::try_from(applied.types.as_ref().unwrap()).unwrap());
    let api: Api<DynamicObject> = match applied.namespace() {
        Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &kind),
        None => Api::all_with(client.clone(), &kind),
    };
    let params = PatchParams { dry_run: true, ..PatchParams::apply("argocd-controller").force() };
    let stored = api.patch(&applied.name_any(), &params, &Patch::Apply(&applied)).await;
    serde_json::to_value(stored.unwrap_or_else(|error| panic!("{}: {error}", name_of(object)))).unwrap()
}

/// What is wanted and not there, or different. What is there besides is of no concern, but in lists.
fn compare(wanted: &Value, stored: &Value, place: &str, differences: &mut Vec<String>) {
    match (wanted, stored) {
        (Value::Object(fields), Value::Object(_)) => {
            for (name, value) in fields {
                compare(value, &stored[name], &format!("{place}.{name}"), differences);
            }
        }
        (Value::Array(items), Value::Array(others)) if items.len() == others.len() && is_keyed(place) => {
            for (index, (item, other)) in items.iter().zip(others).enumerate() {
                compare(item, other, &format!("{place}[{index}]"), differences);
            }
        }
        _ if wanted == stored => {}
        _ => differences.push(format!("{place}: {wanted} is stored as {stored}")),
    }
}

fn is_keyed(place: &str) -> bool {
    KEYED.iter().any(|list| place.rsplit('.').next() == Some(list))
}
