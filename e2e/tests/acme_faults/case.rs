//! One certificate behind a proxy of its own, and what must be true of it afterwards.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use certwright::api::names::{KIND_ISSUER, condition};
use certwright::api::{Certificate, CertificateRequest, Challenge, Condition, Issuer, Order, find_condition};
use certwright::pki::{Curve, Encoding, KeyAlgorithm, PrivateKey};
use certwright_e2e::fault_proxy::journal::{orders_made, too_early};
use certwright_e2e::fault_proxy::{FaultProxy, ServerIdentity};
use certwright_e2e::scene::{Conditions as _, Kind, certificate_spec, is_ready};
use certwright_e2e::state::Acme;
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Scene, Testbed, dns};
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde_json::json;

/// How long an issuance with some faults may take on a busy machine, the waits that were asked for included.
pub const PATIENCE: Duration = Duration::from_mins(3);

const ACCOUNT: &str = "account";

/// What all cases of a test have in common.
pub struct Stage {
    pub testbed: Testbed,
    pub acme: Acme,
    pub controller: u32,
    log: PathBuf,
    identity: ServerIdentity,
}

impl Stage {
    /// With the testbed's own CA.
    pub async fn new() -> Self {
        let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
        let controller = Controller::shared(&testbed).await.unwrap();
        let (log, controller) = (controller.log.clone(), controller.process);
        let identity = ServerIdentity::create(&testbed.state).unwrap();
        let acme = testbed.state.acme().unwrap().clone();
        Self { testbed, acme, controller, log, identity }
    }

    /// A namespace with an account key, and a proxy in front of the CA.
    pub async fn case(&self, prefix: &str) -> Result<Case> {
        let scene = Scene::new(&self.testbed, &self.log, prefix).await?;
        let key = PrivateKey::generate(KeyAlgorithm::Ecdsa(Curve::P256))?.to_pem(Encoding::Pkcs8)?;
        scene.put_secret(ACCOUNT, "tls.key", &key).await?;
        Ok(Case { scene, proxy: FaultProxy::start(&self.identity, &self.acme).await? })
    }

    /// Nothing is left in the DNS zones of this program's cases whose prefix this is.
    pub async fn leaves_no_records(&self, prefix: &str) {
        let look = async || {
            let left =
                dns::challenge_records(self.testbed.state.dns()?, &format!(".{prefix}-{}-", std::process::id()))?;
            ensure!(left.is_empty(), "left: {left:#?}");
            Ok(Some(()))
        };
        until("the TXT records to go from both servers", PATIENCE, look).await.unwrap();
    }

    /// The controller has not panicked.
    pub fn has_not_panicked(&self) {
        let log = std::fs::read_to_string(&self.log).unwrap();
        assert!(!log.contains("panicked"), "see {}", self.log.display());
    }
}

/// See the module's description.
pub struct Case {
    pub scene: Scene,
    pub proxy: FaultProxy,
}

/// How an issuance ended.
#[derive(Debug)]
pub enum Outcome {
    Issued,
    /// With what the Certificate says of it.
    Failed(String),
}

impl Case {
    /// Creates the Issuer behind the proxy.
    pub async fn create_issuer(&self) -> Result<()> {
        let mut spec = self.scene.issuer_spec(ACCOUNT)?;
        self.proxy.stand_before(&mut spec);
        self.scene.create::<Issuer>("pebble", spec).await.map(drop)
    }

    /// The same, and waits until it is ready.
    pub async fn issuer(&self) -> Result<()> {
        self.create_issuer().await?;
        self.scene.wait_for::<Issuer>("pebble", "being ready", PATIENCE, is_ready).await.map(drop)
    }

    /// Creates a Certificate for one name, with a key that is quickly made.
    pub async fn create(&self, name: &str) -> Result<()> {
        let mut spec = certificate_spec(name, KIND_ISSUER, "pebble", &[&self.scene.dns_name(name)]);
        spec["privateKey"] = json!({ "algorithm": "ECDSA", "size": 256 });
        self.scene.create::<Certificate>(name, spec).await.map(drop)
    }

    /// Waits until the issuance has come to an end, this or that way. What is in the Secret is what was asked for.
    pub async fn outcome(&self, name: &str) -> Result<Outcome> {
        let is_over = |certificate: &Certificate| is_ready(certificate) || failure_of(certificate).is_some();
        let certificate = self.scene.wait_for(name, "having come to an end", PATIENCE, is_over).await?;
        if let Some(failure) = failure_of(&certificate) {
            ensure!(self.secret(name).await?.is_none(), "the issuance failed, but there is a Secret");
            return Ok(Outcome::Failed(failure));
        }
        let issued = self.scene.issued(name).await?;
        ensure!(issued.leaf().names.dns_names == [self.scene.dns_name(name)], "it is for {:?}", issued.leaf().names);
        Ok(Outcome::Issued)
    }

    /// The Secret that the Certificate `name` is to fill.
    pub async fn secret(&self, name: &str) -> Result<Option<Secret>> {
        Ok(self.scene.api().get_opt(&format!("{name}-tls")).await?)
    }

    /// What is promised however an issuance ends: the CA was asked for no more orders than `most`, never before it
    /// allowed it, no nonce was used twice, no Challenge stays in the way, and no private key is told to anybody.
    pub async fn keeps_its_promises(&self, most: usize) -> Result<()> {
        let journal = self.proxy.journal();
        let orders = orders_made(&journal);
        ensure!(orders <= most, "{orders} orders were made");
        if let Some((wish, request)) = too_early(&journal).first() {
            let after = request.received.duration_since(wish.answered).as_secs_f64();
            bail!("after \"{wish}\" there was \"{request}\" within {after:.3} s");
        }
        let mut nonces = BTreeSet::new();
        let again = journal.iter().find(|exchange| exchange.nonce.as_ref().is_some_and(|nonce| !nonces.insert(nonce)));
        if let Some(again) = again {
            bail!("a nonce was used again by \"{again}\"");
        }
        self.has_no_open_challenge().await?;
        self.tells_no_secrets().await
    }

    async fn has_no_open_challenge(&self) -> Result<()> {
        let look = async || {
            let left: Vec<Challenge> = self.scene.list().await?;
            let held = left.iter().filter(|left| left.metadata.finalizers.iter().flatten().next().is_some()).count();
            ensure!(held == 0, "{held} are held by their finalizers");
            Ok(Some(()))
        };
        until("the Challenges to be cleaned up", PATIENCE, look).await
    }

    async fn tells_no_secrets(&self) -> Result<()> {
        let mut texts = vec![std::fs::read_to_string(&self.scene.controller_log)?];
        self.add_texts::<Certificate>(&mut texts).await?;
        self.add_texts::<CertificateRequest>(&mut texts).await?;
        self.add_texts::<Order>(&mut texts).await?;
        self.add_texts::<Challenge>(&mut texts).await?;
        self.add_texts::<Issuer>(&mut texts).await?;
        self.add_texts::<Event>(&mut texts).await?;
        for secret in self.scene.list::<Secret>().await? {
            let key = secret.data.and_then(|mut data| data.remove("tls.key")).map(|key| key.0).unwrap_or_default();
            let key = String::from_utf8(key)?;
            // The first line of the key itself; all of it is random but for a short beginning.
            let Some(line) = key.lines().nth(1) else { continue };
            ensure!(!texts.iter().any(|text| text.contains(line)), "a private key is written somewhere");
        }
        Ok(())
    }

    async fn add_texts<K>(&self, texts: &mut Vec<String>) -> Result<()>
    where
        K: Kind + Resource<Scope = NamespaceResourceScope>,
    {
        texts.push(serde_json::to_string(&self.scene.list::<K>().await?)?);
        Ok(())
    }
}

/// What the condition Issuing says of an issuance that failed.
pub fn failure_of(certificate: &Certificate) -> Option<String> {
    let issuing: &Condition = find_condition(certificate.conditions(), condition::ISSUING)?;
    issuing.is_false().then(|| issuing.message.clone().unwrap_or_default())
}
