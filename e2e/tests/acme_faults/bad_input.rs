//! What answers is no CA, or a bad one. The objects say so, and nothing of it gets into a Secret.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use certwright::api::Issuer;
use certwright::pki::ParsedCertificate;
use certwright_e2e::bench::resources::resident_mebibytes;
use certwright_e2e::fault_proxy::{Fault, Kind, Rewrite, Script};
use certwright_e2e::scene::{is_ready, unreadiness};
use futures::future::try_join_all;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData,
};
use serde_json::Value;

use crate::case::{Case, Outcome, PATIENCE, Stage};

const ELSEWHERE: &str = "https://elsewhere.certwright.test/dir";
/// Bytes of an answer that is too long by far.
const LONG: u64 = 100 << 20;
/// So many of them at once.
const LONG_ANSWERS: usize = 8;
/// By how much the controller, which has the work of the other tests besides, may grow in all that: less than one of these answers.
const MOST_GROWTH: f64 = 80.0;

/// There is no account without a directory; once it is as it should be, there is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn directories_that_are_none() {
    let stage = Stage::new().await;
    let incomplete = Rewrite::new("without newOrder", |body| {
        let mut directory: Value = serde_json::from_slice(body).unwrap_or_default();
        directory.as_object_mut().map(|fields| fields.remove("newOrder"));
        directory.to_string().into_bytes()
    });
    let cases = [
        (Fault::Rewrite(incomplete), "missing field `newOrder`"),
        (Fault::Redirect(ELSEWHERE), "(redirect to https://elsewhere.certwright.test/dir)"),
        (Fault::Long(LONG), "is longer than 1048576 bytes"),
    ];
    let one = async |(fault, words): (Fault, &'static str)| {
        let case = stage.case("directory").await?;
        case.proxy.arm(Script::none().always(Kind::Directory, fault));
        case.create_issuer().await?;
        let says = |issuer: &Issuer| unreadiness(issuer).is_some_and(|(_, message)| message.contains(words));
        let issuer: Issuer = case.scene.wait_for("pebble", &format!("telling of {words:?}"), PATIENCE, says).await?;
        println!("{}", unreadiness(&issuer).map(|(_, message)| message).unwrap_or_default());
        case.proxy.arm(Script::none());
        case.scene.wait_for::<Issuer>("pebble", "being ready after all", PATIENCE, is_ready).await?;
        anyhow::Ok(())
    };
    try_join_all(cases.map(one)).await.unwrap();
    stage.has_not_panicked();
}

/// Certificates that are not what was asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn certificates_of_somebody_else() {
    let stage = Stage::new().await;
    let later = Duration::from_hours(1);
    let other_names = Rewrite::new("other names", move |body| forged(body, false, later, &["other.certwright.test"]));
    let other_key = Rewrite::new("another key", move |body| forged(body, true, later, &[]));
    let expired = Rewrite::new("expired", |body| forged(body, false, Duration::ZERO, &[]));
    let alien = Rewrite::new("another chain", |body| {
        let mut pem = first(body).to_pem();
        pem.push_str(&authority().map(|authority| authority.pem()).unwrap_or_default());
        pem.into_bytes()
    });
    let nothing = Rewrite::new("nothing", |_| Vec::new());
    let cases = [
        (other_names, "returned a certificate without the name www."),
        (other_key, "returned a certificate for another key"),
        (expired, "returned a certificate that expired at "),
        (alien, "returned a broken chain: "),
        (nothing, "a certificate chain in PEM was expected"),
    ];
    let one = async |(rewrite, words): (Rewrite, &'static str)| {
        let case = issued_by(&stage, Fault::Rewrite(rewrite), Kind::Certificate).await?;
        println!("{}", refused(&case, words).await?);
        anyhow::Ok(())
    };
    try_join_all(cases.map(one)).await.unwrap();
    stage.leaves_no_records("bad").await;
    stage.has_not_panicked();
}

/// Answers without end are read to a bound only, several at once too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn answers_without_end() {
    let stage = Stage::new().await;
    let before = resident_mebibytes(stage.controller).unwrap();
    let kinds = [Kind::NewOrder, Kind::Certificate].into_iter().cycle().take(LONG_ANSWERS);
    let one = async |kind| {
        let case = issued_by(&stage, Fault::Long(LONG), kind).await?;
        refused(&case, "is longer than").await.with_context(|| kind.to_string())
    };
    let told = try_join_all(kinds.map(one)).await.unwrap();
    let after = resident_mebibytes(stage.controller).unwrap();
    println!("{LONG_ANSWERS} answers of {} MiB: VmRSS from {before:.1} to {after:.1} MiB; {}", LONG >> 20, told[0]);
    assert!(after - before < MOST_GROWTH, "from {before:.1} to {after:.1} MiB");
    stage.has_not_panicked();
}

/// A Certificate whose CA always answers so to requests of this kind.
async fn issued_by(stage: &Stage, fault: Fault, kind: Kind) -> Result<Case> {
    let case = stage.case("bad").await?;
    case.issuer().await?;
    case.proxy.arm(Script::none().always(kind, fault));
    case.create("www").await?;
    Ok(case)
}

/// The issuance fails with these words; gives all of them.
async fn refused(case: &Case, words: &str) -> Result<String> {
    let outcome = case.outcome("www").await?;
    let Outcome::Failed(why) = outcome else { anyhow::bail!("it was issued in spite of {words:?}") };
    ensure!(why.contains(words), "{words:?} is not in: {why}");
    case.keeps_its_promises(1).await?;
    Ok(why)
}

/// A chain like the one in `body`, but from an authority that nobody knows: with other names if there are any, for
/// another key if `is_rekeyed`, and valid for `lifetime` from now on.
fn forged(body: &[u8], is_rekeyed: bool, lifetime: Duration, names: &[&str]) -> Vec<u8> {
    let original = first(body);
    let names = if names.is_empty() {
        original.names.dns_names.clone()
    } else {
        names.iter().map(|&name| name.to_owned()).collect()
    };
    let mut params = CertificateParams::new(names).unwrap();
    let now = std::time::SystemTime::now();
    params.not_before = (now - Duration::from_hours(2)).into();
    params.not_after = (now + lifetime).into();
    let authority = authority().unwrap();
    let key = KeyPair::generate().unwrap();
    let kept = P256Key(point(&original));
    let leaf = if is_rekeyed { params.signed_by(&key, &authority) } else { params.signed_by(&kept, &authority) };
    format!("{}{}", leaf.unwrap().pem(), authority.pem()).into_bytes()
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "somebody else");
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn first(body: &[u8]) -> ParsedCertificate {
    ParsedCertificate::from_pem_chain(body).unwrap().remove(0)
}

/// The public key of a certificate, without knowing the private one.
struct P256Key(Vec<u8>);

impl PublicKeyData for P256Key {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// The point of a P-256 key is what its SubjectPublicKeyInfo ends with (RFC 5480 section 2.2).
fn point(certificate: &ParsedCertificate) -> Vec<u8> {
    const UNCOMPRESSED: usize = 65;
    let info = &certificate.public_key_der;
    info[info.len() - UNCOMPRESSED..].to_vec()
}
