//! The node runs pods and answers for them. These run inside a testbed of tier `cluster`:
//! `testbed run --tier cluster -- cargo test -p certwright-e2e --test testbed_cluster -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use certwright_e2e::Testbed;
use certwright_e2e::image::BUSYBOX;
use certwright_e2e::wait::until;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::networking::v1::Ingress;
use kube::Client;
use kube::api::{Api, LogParams, PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_mins(2);

fn testbed() -> Testbed {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run --tier cluster`");
    testbed.state.cluster().unwrap();
    testbed
}

async fn create<K>(client: &Client, namespace: &str, object: Value)
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + serde::Serialize,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}

fn web_pod() -> Value {
    let script = "mkdir /tmp/www && echo 'hello from a pod' > /tmp/www/index.html && echo serving && \
                  exec /bin/busybox httpd -f -p 8080 -h /tmp/www";
    json!({
        "metadata": { "name": "web", "labels": { "app": "web" } },
        "spec": { "containers": [{
            "name": "web", "image": BUSYBOX, "imagePullPolicy": "Never",
            "command": ["/bin/busybox", "sh", "-c", format!("PATH=/bin; alias mkdir='busybox mkdir'; {script}")],
            "readinessProbe": { "httpGet": { "path": "/", "port": 8080 }, "periodSeconds": 1 },
        }]},
    })
}

/// What `http://host/` answers at `address`.
async fn fetch(host: &str, address: SocketAddr) -> anyhow::Result<String> {
    let client =
        reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).resolve(host, address).build()?;
    let answer = client.get(format!("http://{host}:{}/", address.port())).send().await?.error_for_status()?;
    Ok(answer.text().await?)
}

async fn greeting(what: &str, host: &str, address: SocketAddr) {
    let look = async || fetch(host, address).await.map(|text| (text == "hello from a pod\n").then_some(()));
    until(what, PATIENCE, look).await.unwrap();
}

#[tokio::test]
#[ignore = "runs inside a testbed of tier cluster"]
async fn a_pod_runs_and_answers_through_service_and_ingress() {
    let testbed = testbed();
    let cluster = testbed.state.cluster().unwrap();
    let client = testbed.admin().await.unwrap();
    let namespace = testbed.namespace("web").await.unwrap();
    create::<Pod>(&client, &namespace, web_pod()).await;
    let ports = json!([{ "port": 80, "targetPort": 8080 }]);
    let service = json!({ "metadata": { "name": "web" }, "spec": { "selector": { "app": "web" }, "ports": ports } });
    create::<Service>(&client, &namespace, service).await;
    let host = format!("{namespace}.certwright.test");
    let backend = json!({ "service": { "name": "web", "port": { "number": 80 } } });
    let rule =
        json!({ "host": host, "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] } });
    let spec = json!({ "ingressClassName": cluster.ingress_class, "rules": [rule] });
    create::<Ingress>(&client, &namespace, json!({ "metadata": { "name": "web" }, "spec": spec })).await;

    let services: Api<Service> = Api::namespaced(client.clone(), &namespace);
    let address = services.get("web").await.unwrap().spec.unwrap().cluster_ip.unwrap();
    greeting("the Service", "web.invalid", SocketAddr::new(address.parse().unwrap(), 80)).await;
    greeting("the Ingress", &host, (cluster.ingress_address, 80).into()).await;

    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let log = pods.logs("web", &LogParams::default()).await.unwrap();
    assert!(log.contains("serving"), "{log}");
}

#[tokio::test]
#[ignore = "runs inside a testbed of tier cluster"]
async fn pods_resolve_services_and_the_zones() {
    let testbed = testbed();
    let client = testbed.admin().await.unwrap();
    let namespace = testbed.namespace("names").await.unwrap();
    let script = "/bin/busybox nslookup kubernetes.default.svc.cluster.local && /bin/busybox nslookup x.other.test";
    let container = json!({
        "name": "look", "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["/bin/busybox", "sh", "-c", script],
    });
    let pod =
        json!({ "metadata": { "name": "look" }, "spec": { "restartPolicy": "Never", "containers": [container] } });
    create::<Pod>(&client, &namespace, pod).await;
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let look = async || {
        let phase = pods.get("look").await?.status.and_then(|status| status.phase).context("no phase")?;
        Ok::<_, anyhow::Error>((phase == "Succeeded" || phase == "Failed").then_some(phase))
    };
    let phase = until("the pod to end", PATIENCE, look).await.unwrap();
    let log = pods.logs("look", &LogParams::default()).await.unwrap();
    assert_eq!(phase, "Succeeded", "{log}");
    assert!(log.contains("10.96.0.1") && log.contains("10.77.0.1"), "{log}");
}
