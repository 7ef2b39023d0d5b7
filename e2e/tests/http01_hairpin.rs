//! HTTP-01 where the controller's way to the public address is shut, and the CA's is not: its packets are lost, or come past the
//! load balancer to a listener that wants the PROXY protocol. The Service behind that address is asked instead. These run inside a
//! testbed of tier `cluster`: `testbed run --tier cluster -- cargo test -p certwright-e2e --test http01_hairpin -- --include-ignored`.
#![allow(clippy::unwrap_used)]

#[path = "http01_hairpin/proxied.rs"]
mod proxied;

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use certwright::api::names::{annotation, http01_solver};
use certwright::api::{Certificate, Issuer};
use certwright_e2e::controller::binary;
use certwright_e2e::install;
use certwright_e2e::kubectl::Kubectl;
use certwright_e2e::packages::require_program;
use certwright_e2e::scene::{PATIENCE, is_ready};
use certwright_e2e::wait::until;
use certwright_e2e::{Scene, Testbed};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, LogParams, Patch, PatchParams};
use proxied::Proxied;
use serde_json::json;

/// The namespace of the controller.
const NAMESPACE: &str = "certwright";
const ISSUED: Duration = Duration::from_mins(3);

/// One after another, as both change the way of all packets.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn the_service_behind_an_address_that_is_shut_from_within() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run --tier cluster`");
    deploy(&testbed);
    let log = testbed.state.logs().join("kubelet.log");
    let scene = async |prefix| Scene::new(&testbed, &log, prefix).await.unwrap();
    packets_that_are_lost(&scene("hairpin").await).await;
    a_listener_that_wants_the_proxy_protocol(&scene("proxied").await).await;
}

async fn packets_that_are_lost(scene: &Scene) {
    let cluster = scene.testbed.state.cluster().unwrap();
    let public = cluster.ingress_address;
    // What is said of the mode keeps kube-proxy from leading packets for that address past the load balancer.
    load_balancer(scene, public, 8080, "Proxy").await;
    let pod = controller_pod(scene).await;
    let (pod, to) = (pod.status.as_ref().and_then(|status| status.pod_ip.clone()).unwrap(), public.to_string());
    // Before the testbed's own rules lead the port elsewhere.
    let rule = ["-s", &pod, "-d", &to, "-p", "tcp", "--dport", "80", "-j", "DROP"];
    let _lost = Rule::begin("mangle", "PREROUTING", &rule);
    issue(scene, &cluster.ingress_class).await;
    let told = why_the_ca_was_asked(scene).await;
    assert!(told.contains("clear_within=true"), "{told}");
    scene.api::<Service>().delete("edge", &DeleteParams::default()).await.unwrap();
}

/// Who asks within the cluster is led past the load balancer, as kube-proxy does it, and refused for want of a line.
async fn a_listener_that_wants_the_proxy_protocol(scene: &Scene) {
    let public = scene.testbed.state.cluster().unwrap().ingress_address;
    let _proxied = Proxied::start(&scene.testbed, public).await;
    load_balancer(scene, public, proxied::LISTENER, "VIP").await;
    proxied::listens(scene, public).await;
    issue(scene, proxied::CLASS).await;
    let told = why_the_ca_was_asked(scene).await;
    assert!(told.contains("clear_within=true"), "{told}");
    assert!(told.contains("closed the connection before it had answered"), "{told}");
    // Or kube-proxy would lead others astray as well.
    scene.api::<Service>().delete("edge", &DeleteParams::default()).await.unwrap();
}

/// A certificate, answered by the controller through Ingresses of the class.
async fn issue(scene: &Scene, class: &str) {
    let mut spec = scene.issuer_spec("pebble-account").unwrap();
    spec["acme"]["solvers"] = json!([{ "http01": { "ingress": { "ingressClassName": class } } }]);
    scene.create::<Issuer>("pebble", spec).await.unwrap();
    let wish = json!({ "metadata": { "annotations": { (annotation::HTTP01_SOLVER): http01_solver::CONTROLLER } } });
    scene.patch::<Issuer>("pebble", wish).await.unwrap();
    scene.wait_ready::<Issuer>("pebble").await.unwrap();
    scene.certificate("web", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    // The controller lists the load balancers every half minute.
    scene.wait_for::<Certificate>("web", "being ready", ISSUED, is_ready).await.unwrap();
}

/// The controller's log about the scene's name.
async fn why_the_ca_was_asked(scene: &Scene) -> String {
    let pods: Api<Pod> = Api::namespaced(scene.client.clone(), NAMESPACE);
    let pod = controller_pod(scene).await.name_any();
    let is_it = |line: &&str| line.contains("the CA is asked although") && line.contains(&scene.dns_name("www"));
    let look = async || {
        let log = pods.logs(&pod, &LogParams::default()).await?;
        let found = log.lines().find(is_it).map(str::to_owned);
        anyhow::ensure!(found.is_some(), "nothing is told of it:\n{log}");
        Ok(found)
    };
    until("the log to tell why the CA was asked", PATIENCE, look).await.unwrap()
}

fn deploy(testbed: &Testbed) {
    let kubectl = Kubectl::of(&testbed.state).unwrap();
    install::definitions(&kubectl).unwrap();
    install::deploy(&testbed.state, &kubectl, &binary().unwrap()).unwrap();
}

async fn controller_pod(scene: &Scene) -> Pod {
    let pods: Api<Pod> = Api::namespaced(scene.client.clone(), NAMESPACE);
    let labelled = ListParams::default().labels("app.kubernetes.io/name=certwright");
    let look = async || {
        let found = pods.list(&labelled).await?.items;
        Ok::<_, kube::Error>(if found.len() == 1 { found.into_iter().next() } else { None })
    };
    until("the one pod of the controller", PATIENCE, look).await.unwrap()
}

/// A Service in front of an ingress controller that listens on `port` of the node, with the load balancer's address that its
/// Ingresses tell.
async fn load_balancer(scene: &Scene, address: Ipv4Addr, port: u16, mode: &str) {
    let ports = json!([{ "name": "http", "port": 80, "targetPort": port, "protocol": "TCP" }]);
    scene.create::<Service>("edge", json!({ "type": "LoadBalancer", "ports": ports })).await.unwrap();
    let slice: EndpointSlice = serde_json::from_value(json!({
        "metadata": { "name": "edge", "labels": { "kubernetes.io/service-name": "edge" } },
        "addressType": "IPv4", "ports": [{ "name": "http", "port": port, "protocol": "TCP" }],
        "endpoints": [{ "addresses": [address.to_string()], "conditions": { "ready": true } }],
    }))
    .unwrap();
    scene.api::<EndpointSlice>().create(&kube::api::PostParams::default(), &slice).await.unwrap();
    let place = json!({ "ip": address.to_string(), "ipMode": mode });
    let status = json!({ "status": { "loadBalancer": { "ingress": [place] } } });
    scene.api::<Service>().patch_status("edge", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

/// A rule for packets that goes before all others of its chain, until it is dropped.
struct Rule {
    table: &'static str,
    chain: &'static str,
    arguments: Vec<String>,
}

impl Rule {
    fn begin(table: &'static str, chain: &'static str, rule: &[&str]) -> Self {
        let rule = Self { table, chain, arguments: rule.iter().map(|&part| part.to_owned()).collect() };
        assert!(rule.change("-I"), "iptables refuses the rule");
        rule
    }

    fn change(&self, how: &str) -> bool {
        let mut iptables = Command::new(require_program("iptables").unwrap());
        iptables.args(["-w", "-t", self.table, how, self.chain]).args(&self.arguments);
        iptables.status().unwrap().success()
    }
}

impl Drop for Rule {
    fn drop(&mut self) {
        self.change("-D");
    }
}
