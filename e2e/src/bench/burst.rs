//! Many Certificates at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use certwright::api::Certificate;
use certwright::api::names::KIND_ISSUER;
use certwright::pki::{KeyAlgorithm, ParsedCertificate, PrivateKey};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::runtime::watcher::{self, Event};
use serde_json::Value;

use super::certificate::{ISSUER, key_spec};
use super::dns01::small;
use crate::scene::{Scene, certificate_spec, is_ready};

/// So many creations are sent before the first of them was answered.
const CREATES_AT_ONCE: usize = 50;
const PATIENCE: Duration = Duration::from_mins(5);

/// How many of a burst are ready by now.
pub type Progress = Arc<AtomicUsize>;

/// What came of a burst.
pub struct Burst {
    pub count: usize,
    /// Seconds from the first creation to the answer to the last one.
    created: f64,
    /// Seconds from the first creation to when the watch told of each Ready, in order.
    ready: Vec<f64>,
}

impl Burst {
    /// Certificates per second, from the first creation to the last Ready.
    pub fn per_second(&self) -> Result<f64> {
        Ok(small(self.count) / self.ready.last().context("nothing became ready")?)
    }

    /// Prints what it took.
    pub fn print(&self, what: &str) -> Result<()> {
        let last = self.ready.last().context("nothing became ready")?;
        let half = self.ready.get(self.ready.len() / 2).context("nothing became ready")?;
        let pause = self.ready.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        println!(
            "{what}: {} created within {:.2} s, half ready after {half:.2} s, all after {last:.2} s, {:.1} per second; \
             longest pause between two {pause:.2} s",
            self.count,
            self.created,
            self.per_second()?
        );
        Ok(())
    }
}

/// Creates `count` Certificates of [`ISSUER`] with keys of this algorithm at once, and waits until a watch has told that
/// every one is ready.
pub async fn burst(scene: &Scene, algorithm: KeyAlgorithm, count: usize, progress: &Progress) -> Result<Burst> {
    let mut watch = watcher::watcher(scene.api::<Certificate>(), watcher::Config::default()).boxed();
    while !matches!(watch.next().await.context("the watch ended")??, Event::InitDone) {}
    let start = Instant::now();
    let seen = async {
        let (mut names, mut ready) = (BTreeSet::new(), Vec::new());
        while ready.len() < count {
            if let Event::Apply(certificate) | Event::InitApply(certificate) =
                watch.next().await.context("the watch ended")??
                && is_ready(&certificate)
                && names.insert(certificate.name_any())
            {
                ready.push(start.elapsed().as_secs_f64());
                progress.store(ready.len(), Ordering::Relaxed);
            }
        }
        anyhow::Ok(ready)
    };
    let created = async {
        create_all(scene, algorithm, count).await?;
        anyhow::Ok(start.elapsed().as_secs_f64())
    };
    let both = async { tokio::try_join!(created, seen) };
    let Ok(both) = tokio::time::timeout(PATIENCE, both).await else {
        bail!("{} of {count} were ready after {} s", progress.load(Ordering::Relaxed), PATIENCE.as_secs());
    };
    let (created, ready) = both?;
    Ok(Burst { count, created, ready })
}

async fn create_all(scene: &Scene, algorithm: KeyAlgorithm, count: usize) -> Result<()> {
    let key = key_spec(algorithm);
    let creations = (0..count).map(|number| {
        let name = format!("burst-{number}");
        let spec = spec(scene, &name, &key);
        async move { scene.create::<Certificate>(&name, spec).await.map(drop) }
    });
    futures::stream::iter(creations).buffer_unordered(CREATES_AT_ONCE).try_collect().await
}

fn spec(scene: &Scene, name: &str, key: &Value) -> Value {
    let mut spec = certificate_spec(name, KIND_ISSUER, ISSUER, &[&scene.dns_name(name)]);
    spec["privateKey"] = key.clone();
    spec
}

/// Makes sure that every Secret of a burst holds what was asked for, signed by `ca`, and that no two are alike.
pub async fn check(scene: &Scene, ca: &ParsedCertificate, algorithm: KeyAlgorithm, count: usize) -> Result<()> {
    let secrets: Vec<Secret> = scene.list().await?;
    let mut keys = BTreeSet::new();
    for number in 0..count {
        let name = format!("burst-{number}");
        let secret = secrets.iter().find(|secret| secret.name_any() == format!("{name}-tls"));
        let secret = secret.with_context(|| format!("{name} has no Secret"))?;
        let leaf = sound_leaf(secret, ca, algorithm).with_context(|| format!("the Secret of {name}"))?;
        ensure!(leaf.names.dns_names == [scene.dns_name(&name)], "{name} is for {:?}", leaf.names);
        ensure!(keys.insert(leaf.public_key_der), "{name} has the key of another one");
    }
    println!("all {count} Secrets hold a certificate for their own name and key, signed by the CA");
    Ok(())
}

fn sound_leaf(secret: &Secret, ca: &ParsedCertificate, algorithm: KeyAlgorithm) -> Result<ParsedCertificate> {
    let data = secret.data.as_ref().context("it is empty")?;
    let entry = |name: &str| data.get(name).map(|value| &value.0[..]).with_context(|| format!("it has no {name}"));
    let leaf = ParsedCertificate::from_pem_chain(entry("tls.crt")?)?.into_iter().next().context("no certificate")?;
    let key = PrivateKey::from_pem(entry("tls.key")?)?;
    ensure!(key.algorithm() == algorithm, "its key is {:?}", key.algorithm());
    ensure!(leaf.matches_key(&key), "key and certificate do not belong together");
    leaf.verify_issued_by(ca)?;
    let above = ParsedCertificate::from_pem_chain(entry("ca.crt")?)?;
    ensure!(above.first().is_some_and(|above| above.der == ca.der), "ca.crt is not the CA");
    Ok(leaf)
}
