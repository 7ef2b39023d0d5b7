//! The leader is killed in the midst of many issuances, and the one that stands by goes on.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use certwright::acme::{Client, Config};
use certwright::api::{CertificateRequest, Challenge, Issuer, Order};
use certwright::pki::{Curve, KeyAlgorithm, PrivateKey};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;

use super::bar::{INSTALL_LEADER_KILL, INSTALL_LEADER_ORDERS, Measured};
use super::burst::{Progress, burst};
use super::certificate::ISSUER;
use super::dns01::small;
use super::issuance::settle;
use crate::audit::{Mark, Write};
use crate::dns;
use crate::kubernetes::CERTWRIGHT_USER;
use crate::replica::{Replica, Replicas};
use crate::scene::Scene;
use crate::testbed::Testbed;
use crate::wait::until;

/// Certificates created at once.
const COUNT: usize = 100;
/// So many are ready when the leader is killed.
const READY: usize = 20;
/// In seconds.
const LEASE_DURATION: u64 = 5;
/// What was sent before the kill is answered within this.
const IN_FLIGHT: SignedDuration = SignedDuration::from_millis(500);
const PATIENCE: Duration = Duration::from_mins(3);

/// Measures the bars.
pub async fn measure(testbed: &Testbed) -> Result<Vec<Measured>> {
    println!(
        "\n==> the leader is killed (SIGKILL) when {READY} of {COUNT} Certificates are ready that were created at once: DNS-01, P-256 \
         keys, lease duration {LEASE_DURATION} s, another controller stands by"
    );
    let mut replicas = Replicas::new(
        testbed,
        &[
            &format!("--leader-election-lease-duration={LEASE_DURATION}s"),
            "--leader-election-renew-deadline=3s",
            "--leader-election-retry-period=1s",
            "--acme-orders-per-window=0",
        ],
    )
    .await?;
    let first = replicas.start().await?;
    first.leads(testbed, PATIENCE).await?;
    let second = replicas.start().await?;
    let scene = Scene::new(testbed, second.log(), "leader").await?;
    scene.issuer(ISSUER).await?;
    settle(&scene).await?;
    let mark = testbed.mark()?;

    let progress = Progress::default();
    let all = burst(&scene, KeyAlgorithm::Ecdsa(Curve::P256), COUNT, &progress);
    let (all, killed) = tokio::try_join!(all, kill(first, &progress))?;
    all.print("with one leader killed")?;
    let resumed = resumed(testbed, mark, killed).await?;
    println!("the other one went on {resumed:.3} s after the kill");
    Ok(vec![Measured::new(INSTALL_LEADER_KILL, resumed), Measured::new(INSTALL_LEADER_ORDERS, too_many(&scene).await?)])
}

async fn kill(mut leader: Replica, progress: &Progress) -> Result<Timestamp> {
    let look = async || anyhow::Ok((progress.load(Ordering::Relaxed) >= READY).then_some(()));
    until("the first Certificates to be ready", PATIENCE, look).await?;
    leader.kill()?;
    let ready = progress.load(Ordering::Relaxed);
    ensure!(ready < COUNT, "all were ready before the leader was killed");
    println!("{ready} were ready when the leader was killed");
    Ok(Timestamp::now())
}

/// Seconds from the kill to the first write after it.
async fn resumed(testbed: &Testbed, mark: Mark, killed: Timestamp) -> Result<f64> {
    let writes = testbed.writes_since(mark).await?;
    let is_ours = |write: &&Write| write.user == CERTWRIGHT_USER && write.resource != "events";
    let times = writes.iter().filter(is_ours).filter_map(|write| write.received.parse::<Timestamp>().ok());
    let first = times.filter(|time| *time > killed + IN_FLIGHT).min().context("nothing was written after the kill")?;
    Ok(first.duration_since(killed).as_secs_f64())
}

/// How many orders and requests there are beyond one for each Certificate. That anything is left behind is an error.
async fn too_many(scene: &Scene) -> Result<f64> {
    let look = async || {
        let left = scene.list::<Challenge>().await?.len();
        let records = dns::challenge_records(scene.testbed.state.dns()?, &scene.namespace)?.len();
        ensure!(left + records == 0, "{left} Challenges and {records} TXT records are left");
        Ok(Some(()))
    };
    until("everything to be cleaned up", PATIENCE, look).await?;
    let (orders, requests) = (scene.list::<Order>().await?.len(), scene.list::<CertificateRequest>().await?.len());
    let at_the_ca = orders_at_the_ca(scene).await?;
    println!("{requests} CertificateRequests, {orders} Orders, {at_the_ca} orders at the CA");
    let most = at_the_ca.max(orders).max(requests);
    ensure!(most >= COUNT, "fewer orders than certificates");
    Ok(small(most - COUNT))
}

async fn orders_at_the_ca(scene: &Scene) -> Result<usize> {
    let ca = scene.testbed.state.acme()?;
    let bundle = std::fs::read(&ca.ca_file)?;
    let config = Config { directory_url: ca.directory_url.clone(), ca_bundle: Some(bundle), ..Config::default() };
    let secret: Secret = scene.api().get(&format!("{ISSUER}-account")).await?;
    let key = secret.data.as_ref().and_then(|data| data.get("tls.key")).context("the account has no key")?;
    let issuer: Issuer = scene.api().get(ISSUER).await?;
    let url = issuer.status.and_then(|status| status.acme?.uri).context("the issuer has no account")?;
    let account = Client::new(&config)?.account(PrivateKey::from_pem(&key.0)?, url);
    Ok(account.orders().await?.context("the CA lists no orders")?.len())
}
