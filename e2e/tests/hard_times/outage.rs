//! An API server that is gone: connections are cut and further ones refused, for [`OUTAGE`] seconds or as many as the environment
//! variable `HARD_TIMES_OUTAGE` says.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use certwright::api::Certificate;
use certwright_e2e::port::listen;
use certwright_e2e::replica::{Replica, Replicas};
use certwright_e2e::scene::certificate_spec;
use certwright_e2e::{Scene, Testbed};
use kube::config::Kubeconfig;
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::{ONE_AT_A_TIME, all_end_well, create_own, testbed};

/// Longer than a lease is held without being renewed.
const OUTAGE: u64 = 20;
/// Lines of the log for each minute, and for the beginning and the end together.
const MOST_LINES: (u64, u64) = (150, 300);
/// For the process, in KiB.
const MOST_GROWTH: u64 = 16 * 1024;
const COUNT: usize = 8;
/// Below those that the kernel gives to whoever connects: one of them, taken while the line is cut, could not be had again, and
/// who connects from it to itself would meet nobody but itself.
const PORT: u16 = 16_443;

fn outage() -> Duration {
    let seconds = std::env::var("HARD_TIMES_OUTAGE").ok().map(|text| text.parse().unwrap());
    Duration::from_secs(seconds.unwrap_or(OUTAGE))
}

/// What stands between the controller and the API server.
struct Line {
    near: SocketAddr,
    far: SocketAddr,
    traffic: JoinHandle<()>,
}

impl Line {
    async fn open(far: SocketAddr) -> Self {
        let near = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
        let listener = listen(near).await.unwrap();
        Self { near, far, traffic: tokio::spawn(carry(listener, far)) }
    }

    /// Cuts all connections; further ones are refused.
    async fn cut(&mut self) {
        self.traffic.abort();
        let _ = (&mut self.traffic).await;
    }

    async fn mend(&mut self) {
        let listener = listen(self.near).await.unwrap();
        self.traffic = tokio::spawn(carry(listener, self.far));
    }
}

async fn carry(listener: TcpListener, far: SocketAddr) {
    let mut connections = JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        connections.spawn(async move {
            let Ok(mut far) = TcpStream::connect(far).await else { return };
            let _ = copy_bidirectional(&mut near, &mut far).await;
        });
    }
}

/// The testbed as seen by a controller at the other end of the line.
async fn behind_a_line(testbed: &Testbed) -> (Testbed, Line) {
    let mut testbed = testbed.clone();
    let folder = testbed.state.folder.clone();
    let kubernetes = testbed.state.kubernetes.as_mut().unwrap();
    let server = kubernetes.server.trim_start_matches("https://").parse().unwrap();
    let line = Line::open(server).await;
    let mut kubeconfig = Kubeconfig::read_from(&kubernetes.certwright_kubeconfig).unwrap();
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|cluster| cluster.cluster.as_mut()) {
        cluster.server = Some(format!("https://{}", line.near));
    }
    let file = folder.join("line.kubeconfig");
    std::fs::write(&file, serde_yaml::to_string(&kubeconfig).unwrap()).unwrap();
    kubernetes.certwright_kubeconfig = file;
    (testbed, line)
}

/// The memory of the process that is its own, in KiB.
fn memory(replica: &mut Replica) -> u64 {
    let id = replica.process().unwrap().pid;
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn lines(replica: &Replica) -> u64 {
    u64::try_from(replica.read_log().unwrap().lines().count()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn an_api_server_that_is_gone() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let testbed = testbed();
    let (behind, mut line) = behind_a_line(&testbed).await;
    let mut replicas = Replicas::new(&behind, &[]).await.unwrap();
    let mut replica = replicas.start().await.unwrap();
    replica.leads(&testbed, Duration::from_secs(30)).await.unwrap();
    let scene = Scene::new(&testbed, replica.log(), "gone").await.unwrap();
    scene.issuer("pebble").await.unwrap();
    let mut names: Vec<_> = (0..COUNT).map(|number| format!("n{number}")).collect();
    for name in &names {
        let mut spec = certificate_spec(name, "Issuer", "pebble", &[&scene.dns_name(name)]);
        spec["privateKey"] = json!({ "algorithm": "ECDSA", "size": 256 });
        scene.create::<Certificate>(name, spec).await.unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    let (memory_before, lines_before) = (memory(&mut replica), lines(&replica));
    line.cut().await;
    create_own(&scene, "meanwhile").await;
    names.push("meanwhile".to_owned());

    let (began, outage) = (Instant::now(), outage());
    let mut most_memory = 0;
    while began.elapsed() < outage {
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(replica.probe("/livez").await.unwrap(), 200, "after {:?}", began.elapsed());
        assert_eq!(replica.probe("/readyz").await.unwrap(), 200, "after {:?}", began.elapsed());
        most_memory = memory(&mut replica).max(most_memory);
    }
    let logged = lines(&replica) - lines_before;
    println!("memory: {memory_before} KiB before, {most_memory} KiB at most; {logged} lines in {outage:?}");
    line.mend().await;
    replica.leads(&testbed, Duration::from_mins(1)).await.unwrap();
    all_end_well(&scene, &names).await;
    println!("at work again, {:?} after the cut", began.elapsed());
    assert!(most_memory < memory_before + MOST_GROWTH, "{memory_before} KiB before, {most_memory} KiB at most");
    let allowed = MOST_LINES.0 * outage.as_secs().div_ceil(60) + MOST_LINES.1;
    assert!(logged < allowed, "{logged} lines, see {}", replica.log().display());
    assert!(!replica.read_log().unwrap().contains("panicked"), "see {}", replica.log().display());
}
