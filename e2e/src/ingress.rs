//! The cluster's DNS (CoreDNS), and its ingress and Gateway API controller (Contour, which drives Envoy).

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::authority::Authority;
use crate::kubernetes::{kubeconfig, kubectl_cache as cache};
use crate::launcher::{Launcher, without_proxies};
use crate::network::{CLUSTER_DNS_SERVER, NODE, run};
use crate::node::{self, CLUSTER_DNS};
use crate::packages::require_program;
use crate::process::{Process, tail};
use crate::state::{Cluster, State};
use crate::wait::{until, until_ready};
use crate::{catalogue, image};

const NAMESPACE: &str = "testbed-ingress";
const GATEWAY: &str = "testbed";
/// The names whose TLS connections the Gateway hands on unopened.
const PASSED_THROUGH: &str = "*.tls.certwright.test";
const CLASS: &str = "contour";
/// Contour lets Envoy listen on a port only while some route leads there: this one always does.
const ALIVE: &str = "alive.certwright.test";
const READY: Duration = Duration::from_mins(3);

/// Starts CoreDNS and makes it the cluster's DNS Service.
pub async fn start_cluster_dns(launcher: &mut Launcher, authority: &Authority) -> Result<()> {
    let folder = launcher.state.folder.join("cluster-dns");
    fs::create_dir_all(&folder)?;
    let config = kubeconfig(&folder, authority, "coredns", "testbed-coredns", Some("system:masters"))?;
    // No cache: a look-up in a pod shows at once what a test has changed.
    let text = format!(
        ".:53 {{\n  bind {CLUSTER_DNS_SERVER}\n  errors\n  kubernetes cluster.local in-addr.arpa {{\n    \
         kubeconfig {} testbed\n    ttl 1\n  }}\n  forward . {NODE}\n}}\n",
        config.display()
    );
    fs::write(folder.join("Corefile"), text)?;
    apply(&launcher.state, "cluster-dns", &cluster_dns_objects())?;
    let mut command = Launcher::command(&launcher.state.program("coredns"))?;
    command.arg("-conf").arg(folder.join("Corefile"));
    let process = launcher.start("coredns", command)?;
    let look = async || resolves("kubernetes.default.svc.cluster.local");
    until_ready(process, "the cluster's DNS", READY, look).await
}

/// Hands Contour's resource definitions to the API server, which takes a while: others can go on meanwhile.
pub fn begin(launcher: &Launcher) -> Result<Process> {
    let manifests = catalogue::module("contour")?.folder()?.join("manifests").display().to_string();
    let command = kubectl_command(&launcher.state, &["apply", "--server-side", "-f", &manifests])?;
    Process::start("resource-definitions", command, &launcher.state.logs().join("resource-definitions.log"))
}

/// Starts Contour and Envoy, which answer on the node's address on ports 80 and 443; the state's last part.
pub async fn start(launcher: &mut Launcher, authority: &Authority, mut definitions: Process) -> Result<()> {
    let folder = launcher.state.folder.join("ingress");
    fs::create_dir_all(&folder)?;
    let look = async || definitions.exited();
    let status = until("the resource definitions", READY, look).await?;
    ensure!(status.success(), "the resource definitions were refused: {}", tail(definitions.log(), 20));
    kubectl(&launcher.state, &["wait", "--for=condition=Established", "crd", "--all", "--timeout=180s"])?;
    // kubectl hears of new kinds a moment after they are established.
    let objects = objects(authority)?;
    let look = async || apply(&launcher.state, "ingress", &objects).map(Some);
    until("the objects of the ingress", READY, look).await?;
    start_contour(launcher, authority, &folder).await?;
    start_envoy(launcher, &folder)?;
    redirect_ports()?;
    wait_for_gateway(&launcher.state).await?;
    launcher.state.cluster = Some(Cluster {
        node_name: node::NAME.into(),
        ingress_address: NODE,
        ingress_class: CLASS.into(),
        gateway_class: CLASS.into(),
        gateway_namespace: NAMESPACE.into(),
        gateway_name: GATEWAY.into(),
        containerd_socket: image::socket(&launcher.state.folder),
        control_group: node::control_group(&launcher.state),
        cluster_dns: CLUSTER_DNS,
    });
    Ok(())
}

async fn start_contour(launcher: &mut Launcher, authority: &Authority, folder: &Path) -> Result<()> {
    let config = kubeconfig(folder, authority, "contour", "testbed-contour", Some("system:masters"))?;
    let settings = json!({
        "kubeconfig": config, "ingress-status-address": NODE,
        "gateway": { "gatewayRef": { "namespace": NAMESPACE, "name": GATEWAY } },
    });
    let file = folder.join("contour.json");
    fs::write(&file, serde_json::to_vec_pretty(&settings)?)?;
    let mut command = Launcher::command(&launcher.state.program("contour"))?;
    command.arg("serve").arg("--config-path").arg(file).args(["--insecure", "--disable-leader-election"]);
    command.args(["--xds-address=127.0.0.1", "--xds-port=8001"]);
    command.args(["--http-address=127.0.0.1", "--health-address=127.0.0.1", "--stats-address=127.0.0.1"]);
    let process = launcher.start("contour", command)?;
    let look = async || tokio::net::TcpStream::connect("127.0.0.1:8001").await.map(drop);
    until_ready(process, "Contour", READY, look).await
}

fn start_envoy(launcher: &mut Launcher, folder: &Path) -> Result<()> {
    let bootstrap = folder.join("envoy.json");
    let mut command = Command::new(launcher.state.program("contour"));
    command.arg("bootstrap").arg(&bootstrap).args(["--xds-address=127.0.0.1", "--xds-port=8001"]);
    run(command.arg("--admin-address").arg(folder.join("envoy-admin.sock")))?;
    // Envoy asks the kernel for SIGTERM when its parent dies. The shell lives on as its parent.
    let mut command = Launcher::command(&require_program("sh")?)?;
    command
        .args(["-c", "\"$0\" \"$@\"; exit $?"])
        .arg(launcher.state.program("envoy"))
        .arg("--config-path")
        .arg(bootstrap)
        .args(["--use-dynamic-base-id", "--concurrency", "1"]);
    command.args(["--service-cluster", "testbed", "--service-node", "testbed", "--log-level", "warn"]);
    launcher.start("envoy", command)?;
    Ok(())
}

/// Contour lets Envoy listen on a Gateway's port + 8000; the world calls on 80 and 443.
fn redirect_ports() -> Result<()> {
    let iptables = require_program("iptables")?;
    for chain in ["PREROUTING", "OUTPUT"] {
        for (from, to) in [("80", "8080"), ("443", "8443")] {
            let target = format!("{NODE}:{to}");
            let address = NODE.to_string();
            let rule = ["-w", "-t", "nat", "-A", chain, "-d", &address, "-p", "tcp", "--dport", from];
            run(Command::new(&iptables).args(rule).args(["-j", "DNAT", "--to-destination", &target]))?;
        }
    }
    Ok(())
}

async fn wait_for_gateway(state: &State) -> Result<()> {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    // The machine's resolver does not know the testbed's names.
    let client = client.resolve(ALIVE, (NODE, 80).into()).build()?;
    let url = format!("http://{ALIVE}/");
    let look = async || Ok::<_, reqwest::Error>((client.get(&url).send().await?.status() == 302).then_some(()));
    until("Envoy on port 80", READY, look).await?;
    let look = async || tokio::net::TcpStream::connect((NODE, 443)).await.map(|_| Some(()));
    until("Envoy on port 443", READY, look).await?;
    let gateway = format!("gateway/{GATEWAY}");
    kubectl(state, &["wait", "--for=condition=Programmed", &gateway, "-n", NAMESPACE, "--timeout=180s"])
}

/// Hands objects to the API server through `kubectl apply`.
fn apply(state: &State, name: &str, objects: &[Value]) -> Result<()> {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    let file = state.folder.join(format!("{name}.objects.json"));
    fs::write(&file, serde_json::to_vec_pretty(&list)?).with_context(|| format!("writing {}", file.display()))?;
    kubectl(state, &["apply", "--server-side", "-f", &file.display().to_string()])
}

fn kubectl(state: &State, arguments: &[&str]) -> Result<()> {
    run(&mut kubectl_command(state, arguments)?)
}

fn kubectl_command(state: &State, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(state.program("kubectl"));
    command.env("KUBECACHEDIR", cache(state)).arg("--kubeconfig").arg(&state.kubernetes()?.admin_kubeconfig);
    without_proxies(&mut command);
    command.args(arguments);
    Ok(command)
}

fn resolves(name: &str) -> Result<()> {
    let mut dig = Command::new(require_program("dig")?);
    dig.args([&format!("@{CLUSTER_DNS}"), name, "A", "+short", "+time=1", "+tries=1"]);
    let output = dig.output().context("starting dig")?;
    let answer = String::from_utf8_lossy(&output.stdout);
    ensure!(
        answer.trim().parse::<std::net::Ipv4Addr>().is_ok(),
        "{CLUSTER_DNS} does not know {name}: {}",
        answer.trim()
    );
    Ok(())
}

fn cluster_dns_objects() -> Vec<Value> {
    let port = |protocol: &str| json!({ "name": protocol.to_lowercase(), "protocol": protocol, "port": 53 });
    let ports = [port("UDP"), port("TCP")];
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "kube-dns", "namespace": "kube-system" },
        "spec": { "clusterIP": CLUSTER_DNS, "ports": ports },
    });
    let endpoints = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns", "namespace": "kube-system", "labels": { "kubernetes.io/service-name": "kube-dns" },
        },
        "addressType": "IPv4", "ports": ports,
        "endpoints": [{ "addresses": [CLUSTER_DNS_SERVER], "conditions": { "ready": true } }],
    });
    vec![service, endpoints]
}

fn objects(authority: &Authority) -> Result<Vec<Value>> {
    let signed = authority.server("gateway", &["*.certwright.test", "*.other.test"])?;
    let from_all = json!({ "namespaces": { "from": "All" } });
    let certificate = json!({ "certificateRefs": [{ "name": "gateway" }] });
    Ok(vec![
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } }),
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": { "name": "gateway", "namespace": NAMESPACE },
            "data": {
                "tls.crt": STANDARD.encode(signed.certificate_pem), "tls.key": STANDARD.encode(signed.key_pem),
            },
        }),
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": { "name": CLASS },
            "spec": { "controller": "projectcontour.io/contour" },
        }),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": { "name": CLASS },
            "spec": { "controllerName": "projectcontour.io/gateway-controller" },
        }),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": { "name": GATEWAY, "namespace": NAMESPACE },
            "spec": {
                "gatewayClassName": CLASS,
                "listeners": [
                    { "name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": from_all },
                    { "name": "https", "port": 443, "protocol": "HTTPS", "allowedRoutes": from_all, "tls": certificate },
                    {
                        "name": "tls", "port": 443, "protocol": "TLS", "hostname": PASSED_THROUGH,
                        "allowedRoutes": from_all, "tls": { "mode": "Passthrough" },
                    },
                ],
            },
        }),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": { "name": "alive", "namespace": NAMESPACE },
            "spec": {
                "parentRefs": [{ "name": GATEWAY }], "hostnames": [ALIVE],
                "rules": [{ "filters": [{
                    "type": "RequestRedirect", "requestRedirect": { "hostname": "redirected.invalid", "statusCode": 302 },
                }]}],
            },
        }),
    ])
}
