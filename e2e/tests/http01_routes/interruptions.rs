//! Controllers that end while the CA asks them.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use certwright::api::{Certificate, Order};
use certwright_e2e::port::listen;
use certwright_e2e::process::Identity;
use certwright_e2e::replica::Replicas;
use certwright_e2e::scene::is_ready;
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Scene, Testbed};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use rustix::process::Signal;
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::support::{certificate, controller, edge, issuer_with, names, testbed, there};

/// The next attempt comes after a minute.
const SOON: Duration = Duration::from_mins(3);

/// A certificate that is being issued: the CA has connected to port 80, and its question waits there.
struct Asked {
    scene: Scene,
    listener: TcpListener,
    question: TcpStream,
}

impl Asked {
    /// The controller has the CA look without looking itself, so that whoever connects is the CA.
    async fn begin(testbed: &Testbed, log: &Path) -> Self {
        let scene = Scene::new(testbed, log, "interrupted").await.unwrap();
        let mut spec = scene.issuer_spec("pebble-account").unwrap();
        spec["acme"]["solvers"] = json!([{ "http01": { "ingress": {} }, "waitInsteadOfSelfCheck": "1s" }]);
        issuer_with(&scene, spec, "controller").await;
        let listener = listen((testbed.state.node_address, 80)).await.unwrap();
        certificate(&scene, &names(&scene, 1)).await;
        let (question, _) = timeout(SOON, listener.accept()).await.expect("the CA does not ask").unwrap();
        Self { scene, listener, question }
    }
}

/// It is issued, and the CA has never said no.
async fn issued_at_the_first_attempt(scene: &Scene) {
    scene.issued("web").await.unwrap();
    let certificate: Certificate = scene.api().get("web").await.unwrap();
    assert_eq!(failures(&certificate), None);
    assert_eq!(scene.list::<Order>().await.unwrap().len(), 1, "the first order was good");
}

/// Once the former process has ended with all its threads, of which each holds the ports.
async fn again(controller: &mut Controller) {
    controller.kill().unwrap();
    controller.restart().unwrap();
    controller.ready().await.unwrap();
}

/// Leads the question that was held, and all further ones, to the controller. A CA may ask several at once, so nothing that waits at
/// the listener is lost. It ends when the handle is dropped.
fn let_through(testbed: &Testbed, listener: TcpListener, question: TcpStream) -> JoinSet<()> {
    let own = testbed.state.node_address;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        tokio::spawn(lead(question, own));
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(lead(near, own));
        }
    });
    tasks
}

async fn lead(mut near: TcpStream, own: Ipv4Addr) -> std::io::Result<()> {
    let mut far = TcpStream::connect((own, 8089)).await?;
    copy_bidirectional(&mut near, &mut far).await.map(drop)
}

fn failures(certificate: &Certificate) -> Option<i64> {
    certificate.status.as_ref()?.failed_issuance_attempts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn what_a_killed_controller_left_unanswered_is_tried_again_soon() {
    let testbed = testbed();
    let mut controller = controller(&testbed, &[]).await;
    let Asked { scene, listener, question } = Asked::begin(&testbed, controller.log()).await;
    controller.kill().unwrap();
    drop((question, listener));
    again(&mut controller).await;
    let told = |certificate: &Certificate| {
        let conditions = certificate.status.iter().flat_map(|status| &status.conditions);
        let words = |message: &String| message.contains("was replaced meanwhile (next attempt at ");
        let mut messages = conditions.filter(|held| held.type_ == "Issuing").filter_map(|held| held.message.as_ref());
        messages.any(words) && failures(certificate) == Some(1)
    };
    scene.wait_for::<Certificate>("web", "telling of the interruption", SOON, told).await.unwrap();
    let _edge = edge(testbed.state.node_address).await;
    scene.wait_for::<Certificate>("web", "being ready", SOON, is_ready).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_controller_that_is_stopped_answers_first() {
    let testbed = testbed();
    let mut controller = controller(&testbed, &[]).await;
    let Asked { scene, listener, question } = Asked::begin(&testbed, controller.log()).await;
    let process = Identity::of(controller.id()).unwrap();
    assert!(process.signal(Signal::TERM));
    let look = async || {
        let log = std::fs::read_to_string(controller.log())?;
        anyhow::Ok(log.contains("going on answering challenges").then_some(()))
    };
    until("the controller to stop working", SOON, look).await.unwrap();
    let _edge = let_through(&testbed, listener, question);
    let ended = async || anyhow::Ok((Identity::of(process.pid) != Some(process)).then_some(()));
    until("the controller to end", SOON, ended).await.unwrap();
    again(&mut controller).await;
    issued_at_the_first_attempt(&scene).await;
}

/// As in a rolling update: the next one leads already while the former still answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn the_next_controller_can_be_found_before_the_former_is_gone() {
    let testbed = testbed();
    let (own, next) = (testbed.state.node_address.to_string(), testbed.state.spare_addresses[0].to_string());
    let mut replicas = Replicas::new(&testbed, &[]).await.unwrap();
    let mut former = replicas.start_with(&["--pod-ip", &own]).await.unwrap();
    former.leads(&testbed, SOON).await.unwrap();
    let _follower = replicas.start_with(&["--pod-ip", &next]).await.unwrap();
    let Asked { scene, listener, question } = Asked::begin(&testbed, former.log()).await;
    assert!(former.process().unwrap().signal(Signal::TERM));
    let leads_to = |slice: &EndpointSlice| slice.endpoints.iter().any(|endpoint| endpoint.addresses.contains(&next));
    there::<EndpointSlice>(&scene, leads_to).await;
    // Nothing answers at the former's address once it is gone.
    let _edge = let_through(&testbed, listener, question);
    issued_at_the_first_attempt(&scene).await;
}
