//! An issuance during which the controller is killed, and what must be true afterwards.

use std::time::{Duration, Instant};

use certwright::acme::{Client, Config};
use certwright::api::names::KIND_ISSUER;
use certwright::api::{Certificate, CertificateRequest, Challenge, Issuer, Order};
use certwright::pki::{Curve, Encoding, KeyAlgorithm, PrivateKey};
use certwright_e2e::audit::{Mark, read_on};
use certwright_e2e::scene::{PATIENCE, certificate_spec, is_ready};
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Scene, Testbed, dns};
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use k8s_openapi::api::networking::v1::Ingress;
use kube::ResourceExt as _;
use serde_json::{Value, json};

/// Namespaces with an Issuer each, so that each has an account and a list of orders of its own. `solver` takes the place
/// of the usual one. All keys are such as are made at once: on a busy machine a minute would be spent with two dozen others.
pub async fn scenes(
    testbed: &Testbed,
    controller: &Controller,
    prefix: &str,
    count: usize,
    solver: Option<&Value>,
) -> Vec<Scene> {
    let one = async |number| {
        let scene = Scene::new(testbed, controller.log(), &format!("{prefix}{number}")).await?;
        let key = PrivateKey::generate(KeyAlgorithm::Ecdsa(Curve::P256))?.to_pem(Encoding::Pkcs8)?;
        scene.put_secret("pebble-account", "tls.key", &key).await?;
        let mut spec = scene.issuer_spec("pebble-account")?;
        if let Some(solver) = solver {
            spec["acme"]["solvers"][0] = solver.clone();
        }
        scene.create::<Issuer>("pebble", spec).await?;
        scene.wait_ready::<Issuer>("pebble").await?;
        Ok::<_, anyhow::Error>(scene)
    };
    futures::future::try_join_all((1..=count).map(one)).await.unwrap()
}

/// Checks every issuance, and that the controller never panicked.
pub async fn all_end_well(begun: &[Issuance], controller: &Controller) {
    for issuance in begun {
        issuance.ends_well().await;
    }
    let log = std::fs::read_to_string(controller.log()).unwrap();
    assert!(!log.contains("panicked"), "see {}", controller.log().display());
}

/// One Certificate on its way, of an account of its own.
pub struct Issuance {
    scene: Scene,
    mark: Mark,
}

impl Issuance {
    pub async fn begin(scene: Scene) -> Self {
        let mark = scene.testbed.mark().unwrap();
        let mut spec = certificate_spec("www", KIND_ISSUER, "pebble", &[&scene.dns_name("www")]);
        spec["privateKey"] = json!({ "algorithm": "ECDSA", "size": 256 });
        scene.create::<Certificate>("www", spec).await.unwrap();
        Self { scene, mark }
    }

    /// Kills the controller once it has written `number` times from now on, and starts it again. False, without a kill,
    /// if the certificate is there and nothing is written any more.
    pub async fn kill_after_write(&mut self, controller: &mut Controller, number: usize) -> bool {
        const QUIET: Duration = Duration::from_secs(3);
        let mut count = 0;
        let (began, mut last) = (Instant::now(), Instant::now());
        loop {
            assert!(began.elapsed() < 3 * PATIENCE, "{count} writes, and no end: see {}", controller.log().display());
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
        left.extend(scene.list::<Pod>().await?.iter().map(|pod| format!("Pod {}", pod.name_any())));
        left.extend(scene.list::<Service>().await?.iter().map(|service| format!("Service {}", service.name_any())));
        left.extend(scene.list::<Ingress>().await?.iter().map(|ingress| format!("Ingress {}", ingress.name_any())));
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
