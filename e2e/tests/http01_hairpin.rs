//! HTTP-01 where the controller's packets to the public address are lost, and the CA's are not: the Service behind that address is
//! asked instead. These run inside a testbed of tier `cluster`:
//! `testbed run --tier cluster -- cargo test -p certwright-e2e --test http01_hairpin -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;
use std::process::Command;

use certwright::api::Issuer;
use certwright::api::names::{annotation, http01_solver};
use certwright_e2e::controller::binary;
use certwright_e2e::install;
use certwright_e2e::kubectl::Kubectl;
use certwright_e2e::packages::require_program;
use certwright_e2e::scene::PATIENCE;
use certwright_e2e::wait::until;
use certwright_e2e::{Scene, Testbed};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::{Api, ListParams, LogParams, Patch, PatchParams};
use serde_json::json;

/// The namespace of the controller.
const NAMESPACE: &str = "certwright";

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn the_service_behind_an_address_that_is_shut_from_within() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run --tier cluster`");
    deploy(&testbed);
    let scene = Scene::new(&testbed, &testbed.state.logs().join("kubelet.log"), "hairpin").await.unwrap();
    let cluster = testbed.state.cluster().unwrap();
    load_balancer(&scene, cluster.ingress_address).await;
    let pod = controller_pod(&scene).await;
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone()).unwrap();
    let _lost = Lost::begin(&address, cluster.ingress_address);

    let mut spec = scene.issuer_spec("pebble-account").unwrap();
    spec["acme"]["solvers"] = json!([{ "http01": { "ingress": { "ingressClassName": cluster.ingress_class } } }]);
    scene.create::<Issuer>("pebble", spec).await.unwrap();
    let wish = json!({ "metadata": { "annotations": { (annotation::HTTP01_SOLVER): http01_solver::CONTROLLER } } });
    scene.patch::<Issuer>("pebble", wish).await.unwrap();
    scene.wait_ready::<Issuer>("pebble").await.unwrap();
    scene.certificate("web", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    scene.issued("web").await.unwrap();

    let pods: Api<Pod> = Api::namespaced(scene.client.clone(), NAMESPACE);
    let log = pods.logs(&pod.name_any(), &LogParams::default()).await.unwrap();
    let told = log.lines().find(|line| line.contains("the CA is asked although")).unwrap();
    assert!(told.contains("clear_within=true"), "{told}");
}

fn deploy(testbed: &Testbed) {
    let kubeconfig = testbed.state.kubernetes().unwrap().admin_kubeconfig.clone();
    let kubectl = Kubectl { program: testbed.state.program("kubectl"), kubeconfig, is_local: true };
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

/// A Service in front of the ingress controller, with the load balancer's address that its Ingresses tell. What is said of the
/// mode keeps kube-proxy from leading packets for that address past the load balancer.
async fn load_balancer(scene: &Scene, address: Ipv4Addr) {
    let port = json!({ "name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP" });
    scene.create::<Service>("edge", json!({ "type": "LoadBalancer", "ports": [port] })).await.unwrap();
    let slice: EndpointSlice = serde_json::from_value(json!({
        "metadata": { "name": "edge", "labels": { "kubernetes.io/service-name": "edge" } },
        "addressType": "IPv4", "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
        "endpoints": [{ "addresses": [address.to_string()], "conditions": { "ready": true } }],
    }))
    .unwrap();
    scene.api::<EndpointSlice>().create(&kube::api::PostParams::default(), &slice).await.unwrap();
    let place = json!({ "ip": address.to_string(), "ipMode": "Proxy" });
    let status = json!({ "status": { "loadBalancer": { "ingress": [place] } } });
    scene.api::<Service>().patch_status("edge", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

/// Packets of the pod to the public address are lost, until it is dropped.
struct Lost(Vec<String>);

impl Lost {
    fn begin(pod: &str, public: Ipv4Addr) -> Self {
        let public = public.to_string();
        let rule = ["-s", pod, "-d", &public, "-p", "tcp", "--dport", "80", "-j", "DROP"].map(str::to_owned);
        let lost = Self(rule.into());
        assert!(lost.change("-I"), "iptables refuses the rule");
        lost
    }

    fn change(&self, how: &str) -> bool {
        let mut iptables = Command::new(require_program("iptables").unwrap());
        // Before the testbed's own rules lead the port elsewhere.
        iptables.args(["-w", "-t", "mangle", how, "PREROUTING"]).args(&self.0);
        iptables.status().unwrap().success()
    }
}

impl Drop for Lost {
    fn drop(&mut self) {
        self.change("-D");
    }
}
