//! The controller reaches CAs through the proxy that its environment names, and past it where that says so. These run inside a
//! testbed, with controllers of their own: `testbed run -- cargo test -p certwright-e2e --test proxy -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use certwright::api::Issuer;
use certwright_e2e::{Controller, Scene, Testbed};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// The longest request for a tunnel, in bytes.
const LONGEST_REQUEST: u64 = 4096;

/// A proxy that makes tunnels (RFC 9110 section 9.3.6) to the testbed's own address, whatever name they are asked for.
struct TunnelProxy {
    address: SocketAddr,
    /// `HOST:PORT` of every tunnel.
    targets: Arc<Mutex<BTreeSet<String>>>,
}

impl TunnelProxy {
    async fn start(node: Ipv4Addr) -> Self {
        let listener = TcpListener::bind((node, 0)).await.unwrap();
        let (address, targets) = (listener.local_addr().unwrap(), Arc::default());
        let seen: Arc<Mutex<BTreeSet<String>>> = Arc::clone(&targets);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(tunnel(stream, node, Arc::clone(&seen)));
            }
        });
        Self { address, targets }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn targets(&self) -> BTreeSet<String> {
        self.targets.lock().unwrap().clone()
    }
}

async fn tunnel(mut client: TcpStream, node: Ipv4Addr, seen: Arc<Mutex<BTreeSet<String>>>) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let read = (&mut client).take(LONGEST_REQUEST).read_buf(&mut request).await?;
        if read == 0 || request.len() as u64 > LONGEST_REQUEST {
            return Ok(());
        }
    }
    let request = String::from_utf8_lossy(&request);
    let Some(target) = request.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()) else {
        return client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n").await;
    };
    seen.lock().unwrap().insert(target.to_owned());
    let port: u16 = target.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_default();
    let mut server = TcpStream::connect((node, port)).await?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

/// Creates an issuer for the testbed's CA under this name of its host, and waits until it is ready.
async fn issuer(scene: &Scene, name: &str, host: &str) {
    let node = scene.testbed.state.node_address.to_string();
    let mut spec = scene.issuer_spec(&format!("{name}-account")).unwrap();
    spec["acme"]["server"] = spec["acme"]["server"].as_str().unwrap().replace(&node, host).into();
    scene.create::<Issuer>(name, spec).await.unwrap();
    scene.wait_ready::<Issuer>(name).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn the_ca_is_reached_through_the_proxy() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
    let node = testbed.state.node_address;
    let proxy = TunnelProxy::start(node).await;
    let controller = Controller::start_in(&testbed, &[], &[("HTTPS_PROXY", &proxy.url())]).await.unwrap();
    let scene = Scene::new(&testbed, controller.log(), "proxy").await.unwrap();
    issuer(&scene, "pebble", &node.to_string()).await;
    scene.certificate("www", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    scene.issued("www").await.unwrap();
    // Issuers that others have left here may be among them.
    let targets = proxy.targets();
    assert!(targets.contains(&format!("{node}:14000")), "{targets:?}");
    assert!(!targets.contains(&format!("{node}:6443")), "the API server needs none: {targets:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn what_needs_no_proxy_goes_past_it() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
    let node = testbed.state.node_address;
    let proxy = TunnelProxy::start(node).await;
    let environment = [("HTTPS_PROXY", &*proxy.url()), ("NO_PROXY", &format!("localhost,{node},.svc"))];
    let controller = Controller::start_in(&testbed, &[], &environment).await.unwrap();
    let scene = Scene::new(&testbed, controller.log(), "noproxy").await.unwrap();
    issuer(&scene, "direct", &node.to_string()).await;
    scene.certificate("www", "direct", &[&scene.dns_name("www")]).await.unwrap();
    scene.issued("www").await.unwrap();
    // Challenges that others have left here may have providers elsewhere.
    let to_the_ca = || -> Vec<_> { proxy.targets().into_iter().filter(|target| target.ends_with(":14000")).collect() };
    assert_eq!(to_the_ca(), Vec::<String>::new());
    issuer(&scene, "tunnelled", "pebble.certwright.test").await;
    assert_eq!(to_the_ca(), ["pebble.certwright.test:14000"]);
}
