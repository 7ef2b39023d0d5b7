//! A second ingress controller whose listener takes connections only behind the PROXY protocol: Contour drives an Envoy, and HAProxy
//! is the load balancer in front of it. kube-proxy leads whoever asks from within past the load balancer, straight to the listener.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use certwright_e2e::packages::require_program;
use certwright_e2e::process::Process;
use certwright_e2e::scene::PATIENCE;
use certwright_e2e::wait::{until, until_ready};
use certwright_e2e::{Scene, Testbed};
use k8s_openapi::api::networking::v1::Ingress;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Rule;

/// The class of its Ingresses.
pub const CLASS: &str = "proxied";
/// Where Envoy listens.
pub const LISTENER: u16 = 8091;
/// Where HAProxy listens, in place of port 80.
const LOAD_BALANCER: u16 = 8092;
/// Where Contour tells Envoy what to do.
const CONTOUR: u16 = 8093;

/// They end when it is dropped.
pub struct Proxied {
    _led: Rule,
    _processes: [Process; 3],
}

impl Proxied {
    /// What the node asks on port 80 of `public`, as the CA does, goes through HAProxy from now on.
    pub async fn start(testbed: &Testbed, public: Ipv4Addr) -> Self {
        let folder = testbed.state.folder.join("proxied");
        std::fs::create_dir_all(&folder).unwrap();
        let contour = contour(testbed, public).await;
        let envoy = envoy(testbed, &folder);
        let load_balancer = load_balancer(testbed, &folder, public).await;
        let (address, place) = (public.to_string(), format!("{public}:{LOAD_BALANCER}"));
        let led =
            Rule::begin("nat", "OUTPUT", &["-d", &address, "-p", "tcp", "--dport", "80", "-j", "DNAT", "--to", &place]);
        Self { _led: led, _processes: [contour, envoy, load_balancer] }
    }
}

/// Contour lets Envoy listen only while some route leads there: this one does until the namespace goes. What comes without a line is
/// refused.
pub async fn listens(scene: &Scene, public: Ipv4Addr) {
    let backend = json!({ "service": { "name": "edge", "port": { "number": 80 } } });
    let paths = json!({ "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] });
    let rules = json!([{ "host": format!("alive.{CLASS}.test"), "http": paths }]);
    scene.create::<Ingress>("alive", json!({ "ingressClassName": CLASS, "rules": rules })).await.unwrap();
    let look = async || TcpStream::connect((public, LISTENER)).await.map(Some);
    let mut stream = until("Envoy to listen", PATIENCE, look).await.unwrap();
    // It may be reset as well as closed, even before it was asked.
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: alive.proxied.test\r\n\r\n").await;
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok() && answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
}

async fn contour(testbed: &Testbed, public: Ipv4Addr) -> Process {
    let mut command = Command::new(testbed.state.program("contour"));
    command.arg("serve").arg("--kubeconfig").arg(&testbed.state.kubernetes().unwrap().admin_kubeconfig);
    command.args(["--insecure", "--disable-leader-election", "--use-proxy-protocol"]);
    command.args([format!("--ingress-class-name={CLASS}"), format!("--ingress-status-address={public}")]);
    command.args([format!("--envoy-service-http-address={public}"), format!("--envoy-service-http-port={LISTENER}")]);
    command.args(["--xds-address=127.0.0.1".to_owned(), format!("--xds-port={CONTOUR}")]);
    // Those of the testbed's own Contour are taken.
    command.args(["--http-port=8094", "--health-port=8094", "--stats-port=8095", "--debug-http-port=8096"]);
    command.args(["--http-address=127.0.0.1", "--health-address=127.0.0.1", "--stats-address=127.0.0.1"]);
    listening(testbed.start("contour-proxied", command).unwrap(), Ipv4Addr::LOCALHOST, CONTOUR).await
}

fn envoy(testbed: &Testbed, folder: &Path) -> Process {
    let bootstrap = folder.join("envoy.json");
    let mut command = Command::new(testbed.state.program("contour"));
    command.arg("bootstrap").arg(&bootstrap).arg("--admin-address").arg(folder.join("admin.sock"));
    command.args(["--xds-address=127.0.0.1".to_owned(), format!("--xds-port={CONTOUR}")]);
    assert!(command.status().unwrap().success(), "contour bootstrap");
    // Envoy ends with its parent, so that must be one that stays.
    let mut command = Command::new(require_program("sh").unwrap());
    command.args(["-c", "\"$0\" \"$@\"; exit $?"]).arg(testbed.state.program("envoy"));
    command.arg("--config-path").arg(bootstrap).args(["--use-dynamic-base-id", "--concurrency", "1"]);
    command.args(["--service-cluster", CLASS, "--service-node", CLASS, "--log-level", "warn"]);
    testbed.start("envoy-proxied", command).unwrap()
}

async fn load_balancer(testbed: &Testbed, folder: &Path, public: Ipv4Addr) -> Process {
    let file = folder.join("haproxy.cfg");
    let text = format!(
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\nlisten public\n  \
         bind {public}:{LOAD_BALANCER}\n  server envoy {public}:{LISTENER} send-proxy-v2\n"
    );
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(require_program("haproxy").unwrap());
    command.arg("-db").arg("-f").arg(file);
    listening(testbed.start("haproxy", command).unwrap(), public, LOAD_BALANCER).await
}

async fn listening(mut process: Process, address: Ipv4Addr, port: u16) -> Process {
    let look = async || TcpStream::connect((address, port)).await.map(drop);
    until_ready(&mut process, &format!("a listener on port {port}"), PATIENCE, look).await.unwrap();
    process
}
