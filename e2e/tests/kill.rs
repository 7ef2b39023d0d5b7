//! The controller is killed at every step of an issuance, and its servers are taken away: afterwards the certificate is
//! there, nothing was ordered twice and nothing is left behind. These run inside a testbed, with a controller of their
//! own: `testbed run -- cargo test -p certwright-e2e --test kill -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use certwright::acme::{Client, Config};
use certwright::api::{Certificate, CertificateRequest, Challenge, Issuer, Order};
use certwright::pki::PrivateKey;
use certwright_e2e::audit::{Mark, read_on};
use certwright_e2e::process::Identity;
use certwright_e2e::scene::{PATIENCE, is_ready};
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Scene, Testbed, dns};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use rustix::process::Signal;

/// More writes than an issuance has.
const MOST_WRITES: usize = 32;

fn testbed() -> Testbed {
    Testbed::from_env().unwrap().expect("run this inside `testbed run`")
}

/// Killed right after the first, second, … write of an issuance was answered, until one is through before the kill. The
/// former ones are on their way meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn killed_after_each_write() {
    let testbed = testbed();
    let mut controller = Controller::start(&testbed, &[]).await.unwrap();
    let scenes = scenes(&testbed, &controller, "write", MOST_WRITES).await;
    let mut begun = Vec::new();
    for scene in scenes {
        let mut issuance = Issuance::begin(scene).await;
        if !issuance.kill_after_write(&mut controller, begun.len() + 1).await {
            break;
        }
        begun.push(issuance);
    }
    println!("killed after each of {} writes", begun.len());
    assert!((10..MOST_WRITES).contains(&begun.len()), "{}", begun.len());
    all_end_well(&begun, &controller).await;
}

/// Killed after a time, in steps that fall between the writes too: while it talks to the CA or to the DNS server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn killed_after_a_time() {
    const STEP: Duration = Duration::from_millis(17);
    let testbed = testbed();
    let mut controller = Controller::start(&testbed, &[]).await.unwrap();
    let mut begun = Vec::new();
    for (scene, number) in scenes(&testbed, &controller, "time", 24).await.into_iter().zip(0..) {
        controller.ready().await.unwrap();
        begun.push(Issuance::begin(scene).await);
        tokio::time::sleep(STEP * number).await;
        controller.kill().unwrap();
        controller.restart().unwrap();
    }
    all_end_well(&begun, &controller).await;
}

/// Killed again and again in the same issuance: it goes on from where it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn killed_many_times_in_one_issuance() {
    let testbed = testbed();
    let mut controller = Controller::start(&testbed, &[]).await.unwrap();
    let mut issuance = Issuance::begin(scenes(&testbed, &controller, "many", 1).await.remove(0)).await;
    for _ in 0..8 {
        if !issuance.kill_after_write(&mut controller, 3).await {
            break;
        }
    }
    all_end_well(&[issuance], &controller).await;
}

/// Everything that the controller talks to, and the controller itself, stands still for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn others_that_stand_still() {
    let testbed = testbed();
    let controller = Controller::start(&testbed, &[]).await.unwrap();
    let mut begun = Vec::new();
    let mut scenes = scenes(&testbed, &controller, "still", 15).await.into_iter();
    for name in ["controller", "dns-primary", "etcd", "kube-apiserver", "pebble"] {
        let identity = match testbed.state.processes.iter().find(|process| process.name == name) {
            Some(process) => process.identity,
            None => Identity::of(controller.id()).unwrap(),
        };
        for (millis, scene) in [20, 100, 300].into_iter().zip(scenes.by_ref()) {
            begun.push(Issuance::begin(scene).await);
            tokio::time::sleep(Duration::from_millis(millis)).await;
            assert!(identity.signal(Signal::STOP), "{name} is gone");
            tokio::time::sleep(Duration::from_millis(1500)).await;
            assert!(identity.signal(Signal::CONT), "{name} is gone");
        }
    }
    assert_eq!(begun.len(), 15);
    all_end_well(&begun, &controller).await;
}

/// Namespaces with an Issuer each, so that each has an account and a list of orders of its own.
async fn scenes(testbed: &Testbed, controller: &Controller, prefix: &str, count: usize) -> Vec<Scene> {
    let one = async |number| {
        let scene = Scene::new(testbed, controller.log(), &format!("{prefix}{number}")).await?;
        scene.issuer("pebble").await?;
        Ok::<_, anyhow::Error>(scene)
    };
    futures::future::try_join_all((1..=count).map(one)).await.unwrap()
}

async fn all_end_well(begun: &[Issuance], controller: &Controller) {
    for issuance in begun {
        issuance.ends_well().await;
    }
    let log = std::fs::read_to_string(controller.log()).unwrap();
    assert!(!log.contains("panicked"), "see {}", controller.log().display());
}

/// One Certificate on its way, of an account of its own.
struct Issuance {
    scene: Scene,
    mark: Mark,
}

impl Issuance {
    async fn begin(scene: Scene) -> Self {
        let mark = scene.testbed.mark().unwrap();
        scene.certificate("www", "pebble", &[&scene.dns_name("www")]).await.unwrap();
        Self { scene, mark }
    }

    /// Kills the controller once it has written `number` times from now on, and starts it again. False, without a kill,
    /// if the certificate is there and nothing is written any more.
    async fn kill_after_write(&mut self, controller: &mut Controller, number: usize) -> bool {
        const QUIET: Duration = Duration::from_secs(3);
        let mut count = 0;
        let mut last = Instant::now();
        loop {
            let written = self.count_on();
            count += written;
            if count >= number {
                controller.kill().unwrap();
                controller.restart().unwrap();
                return true;
            }
            if written > 0 {
                last = Instant::now();
            }
            if last.elapsed() > QUIET && self.is_through().await {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }

    async fn is_through(&self) -> bool {
        let certificate: Certificate = self.scene.api().get("www").await.unwrap();
        is_ready(&certificate) && self.scene.list::<Challenge>().await.unwrap().is_empty()
    }

    /// How often the controller has written since this was last asked.
    fn count_on(&mut self) -> usize {
        let log = &self.scene.testbed.state.kubernetes().unwrap().audit_log;
        let writes = read_on(log, &mut self.mark).unwrap();
        writes.iter().filter(|write| write.user == "certwright" && write.namespace == self.scene.namespace).count()
    }

    async fn ends_well(&self) {
        let scene = &self.scene;
        let issued = scene.issued("www").await.unwrap();
        assert_eq!(issued.leaf().names.dns_names, [scene.dns_name("www")]);
        let look = async || Ok::<_, anyhow::Error>(self.leftovers().await?.is_empty().then_some(()));
        if let Err(error) = until("everything to be cleaned up", PATIENCE, look).await {
            panic!("{error:#}: {:#?}", self.leftovers().await.unwrap());
        }
        let status = issued.certificate.status.unwrap();
        assert_eq!((status.revision, status.failed_issuance_attempts), (Some(1), None));
        assert_eq!(scene.list::<CertificateRequest>().await.unwrap().len(), 1);
        let orders: Vec<Order> = scene.list().await.unwrap();
        assert_eq!(orders.len(), 1, "{orders:#?}");
        assert_eq!(self.orders_at_the_ca().await.len(), 1, "ordered more than once");
    }

    /// What should not be there once the certificate is.
    async fn leftovers(&self) -> anyhow::Result<Vec<String>> {
        let scene = &self.scene;
        let mut left = dns::challenge_records(scene.testbed.state.dns()?, &scene.namespace)?;
        left.extend(
            scene.list::<Challenge>().await?.iter().map(|challenge| format!("Challenge {}", challenge.name_any())),
        );
        let secrets = scene.list::<Secret>().await?;
        let others = secrets.iter().map(kube::ResourceExt::name_any);
        left.extend(others.filter(|name| !["pebble-account", "tsig", "www-tls"].contains(&name.as_str())));
        Ok(left)
    }

    /// The URLs of all orders that the account ever made.
    async fn orders_at_the_ca(&self) -> Vec<String> {
        let scene = &self.scene;
        let ca = scene.testbed.state.acme().unwrap();
        let bundle = std::fs::read(&ca.ca_file).unwrap();
        let config = Config { directory_url: ca.directory_url.clone(), ca_bundle: Some(bundle), ..Config::default() };
        let secret: Secret = scene.api().get("pebble-account").await.unwrap();
        let key = PrivateKey::from_pem(&secret.data.unwrap()["tls.key"].0).unwrap();
        let issuer: Issuer = scene.api().get("pebble").await.unwrap();
        let url = issuer.status.unwrap().acme.unwrap().uri.unwrap();
        let account = Client::new(&config).unwrap().account(key, url);
        account.orders().await.unwrap().expect("Pebble lists orders")
    }
}
