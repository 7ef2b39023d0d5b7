//! What one issuance and one renewal write to the Kubernetes API.

use std::time::Duration;

use anyhow::{Context, Result};
use certwright::api::Certificate;
use certwright::api::names::KIND_ISSUER;
use certwright::pki::{Curve, KeyAlgorithm};
use kube::api::DeleteParams;
use serde_json::json;

use super::bar::{FIRST_WRITES, Measured, RENEWAL_WRITES};
use super::certificate::{ISSUER, key_spec};
use super::dns01::small;
use super::issuance::{Writes, most_writes, total};
use super::{ISSUANCES, bar::summarize};
use crate::kubernetes::CERTWRIGHT_USER;
use crate::scene::{PATIENCE, Scene, certificate_spec, is_ready};

/// From an issuance to the renewal, by the spec alone: nobody else has to write anything. The shortest duration that is
/// admitted is an hour.
const DURATION: &str = "1h";
const RENEW_BEFORE: &str = "59m54s";
/// After Ready; events may be sent a moment later than what they tell of. The next renewal is still to come then.
const SETTLED: Duration = Duration::from_secs(2);

/// Measures both with several Certificates one after the other.
pub async fn measure(scene: &Scene) -> Result<Vec<Measured>> {
    println!(
        "\n==> Writes of {ISSUANCES} single issuances from the CA issuer, and of their renewals some seconds later \
         (duration {DURATION}, renewBefore {RENEW_BEFORE})"
    );
    let (mut first, mut renewals, mut seconds) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=ISSUANCES {
        let name = format!("single-{number}");
        let mark = scene.testbed.mark()?;
        seconds.push(create(scene, &name).await?);
        first.push(counted(scene, mark).await?);
        let mark = scene.testbed.mark()?;
        let is_renewed =
            |certificate: &Certificate| is_ready(certificate) && revision(certificate).is_some_and(|held| held > 1);
        scene.wait_for::<Certificate>(&name, "being renewed", PATIENCE, is_renewed).await?;
        renewals.push(counted(scene, mark).await?);
        scene.api::<Certificate>().delete(&name, &DeleteParams::default()).await?;
        let counts = first.last().zip(renewals.last()).context("nothing was counted")?;
        println!("{number:4} first {} writes, renewal {} writes", total(counts.0), total(counts.1));
    }
    summarize("First issuance from the CA issuer, P-256", &seconds)?;
    let first = most_writes("First issuance", &first)?;
    let renewal = most_writes("Renewal", &renewals)?;
    Ok(vec![Measured::new(FIRST_WRITES, small(first)), Measured::new(RENEWAL_WRITES, small(renewal))])
}

/// Creates the Certificate and waits until it is ready; gives the seconds.
async fn create(scene: &Scene, name: &str) -> Result<f64> {
    let mut spec = certificate_spec(name, KIND_ISSUER, ISSUER, &[&scene.dns_name(name)]);
    spec["privateKey"] = key_spec(KeyAlgorithm::Ecdsa(Curve::P256));
    spec["duration"] = json!(DURATION);
    spec["renewBefore"] = json!(RENEW_BEFORE);
    let start = std::time::Instant::now();
    scene.create::<Certificate>(name, spec).await?;
    let certificate = scene.wait_ready::<Certificate>(name).await?;
    anyhow::ensure!(revision(&certificate) == Some(1), "{name} was renewed before it could be looked at");
    Ok(start.elapsed().as_secs_f64())
}

async fn counted(scene: &Scene, mark: crate::audit::Mark) -> Result<Writes> {
    tokio::time::sleep(SETTLED).await;
    scene.testbed.count_writes(mark, CERTWRIGHT_USER).await
}

fn revision(certificate: &Certificate) -> Option<i64> {
    certificate.status.as_ref()?.revision
}
