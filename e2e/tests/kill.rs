//! The controller is killed at every step of an issuance, and its servers are taken away: afterwards the certificate is
//! there, nothing was ordered twice and nothing is left behind. These run inside a testbed, with a controller of their
//! own: `testbed run -- cargo test -p certwright-e2e --test kill -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use certwright::acme::{Client, Config};
use certwright::api::{CertificateRequest, Challenge, Issuer, Order};
use certwright::pki::PrivateKey;
use certwright_e2e::audit::{Mark, writes_since};
use certwright_e2e::scene::PATIENCE;
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Scene, Testbed, dns};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;

/// More writes than an issuance has; the loop ends by itself when there is nothing left to kill at.
const MOST_WRITES: usize = 40;

fn testbed() -> Testbed {
    Testbed::from_env().unwrap().expect("run this inside `testbed run`")
}

/// Killed right after its first, second, … write was answered, until the issuance is through before the kill.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn killed_after_each_write() {
    let testbed = testbed();
    let mut controller = Controller::start(&testbed, &[]).await.unwrap();
    let mut steps = 0;
    for number in 1..=MOST_WRITES {
        let issuance = Issuance::begin(&controller, &testbed, &format!("write{number}")).await;
        if !issuance.kill_after_write(&mut controller, number).await {
            break;
        }
        issuance.ends_well(&controller).await;
        steps = number;
    }
    println!("killed after each of {steps} writes");
    assert!((10..MOST_WRITES).contains(&steps), "{steps}");
}

/// Killed after a time, in steps that fall between the writes too: while it talks to the CA or to the DNS server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn killed_after_a_time() {
    const STEP: Duration = Duration::from_millis(17);
    let testbed = testbed();
    let mut controller = Controller::start(&testbed, &[]).await.unwrap();
    for number in 0..24 {
        let issuance = Issuance::begin(&controller, &testbed, &format!("time{number}")).await;
        tokio::time::sleep(STEP * number).await;
        controller.kill().unwrap();
        controller.restart().unwrap();
        issuance.ends_well(&controller).await;
    }
}

/// Killed again and again in the same issuance: it goes on from where it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn killed_many_times_in_one_issuance() {
    let testbed = testbed();
    let mut controller = Controller::start(&testbed, &[]).await.unwrap();
    let issuance = Issuance::begin(&controller, &testbed, "many").await;
    for _ in 0..8 {
        if !issuance.kill_after_write(&mut controller, issuance.count() + 3).await {
            break;
        }
    }
    issuance.ends_well(&controller).await;
}

/// One Certificate on its way, of an account of its own.
struct Issuance {
    scene: Scene,
    mark: Mark,
}

impl Issuance {
    async fn begin(controller: &Controller, testbed: &Testbed, prefix: &str) -> Self {
        let scene = Scene::new(testbed, controller.log(), prefix).await.unwrap();
        scene.issuer("pebble").await.unwrap();
        let mark = testbed.mark().unwrap();
        testbed.writes_since(mark).await.unwrap();
        let mark = testbed.mark().unwrap();
        scene.certificate("www", "pebble", &[&scene.dns_name("www")]).await.unwrap();
        Self { scene, mark }
    }

    /// Kills the controller once it has written `number` times since the beginning, and starts it again. False, without a kill,
    /// if the certificate is there and nothing is written any more.
    async fn kill_after_write(&self, controller: &mut Controller, number: usize) -> bool {
        const QUIET: Duration = Duration::from_secs(4);
        let mut last = (0, Instant::now());
        loop {
            let count = self.count();
            if count >= number {
                controller.kill().unwrap();
                controller.restart().unwrap();
                return true;
            }
            if count != last.0 {
                last = (count, Instant::now());
            }
            if last.1.elapsed() > QUIET && self.scene.list::<Challenge>().await.unwrap().is_empty() {
                self.scene.issued("www").await.unwrap();
                return false;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn count(&self) -> usize {
        let log = &self.scene.testbed.state.kubernetes().unwrap().audit_log;
        let writes = writes_since(log, self.mark).unwrap();
        writes.iter().filter(|write| write.user == "certwright" && write.namespace == self.scene.namespace).count()
    }

    async fn ends_well(&self, controller: &Controller) {
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
        let log = std::fs::read_to_string(controller.log()).unwrap();
        assert!(!log.contains("panicked"), "see {}", controller.log().display());
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
