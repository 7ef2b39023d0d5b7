//! Metrics over TLS, with a certificate from a CA of the controller's own or from files. These run inside a testbed, with
//! controllers of their own: `testbed run -- cargo test -p certwright-e2e --test metrics_tls -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use certwright_e2e::scene::PATIENCE;
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Testbed};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::tls::{TlsInfo, Version};
use reqwest::{Certificate, Client, ClientBuilder};

const NAME: &str = "metrics.test";
const SECRET: &str = "metrics-ca";
const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9402);

type Authority = CertifiedIssuer<'static, KeyPair>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_ca_in_a_secret_is_all_that_it_takes() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
    let namespace = testbed.namespace("metrics-tls").await.unwrap();
    let secrets: Api<Secret> = Api::namespaced(testbed.admin().await.unwrap(), &namespace);
    let flags = [
        &format!("--metrics-dynamic-serving-ca-secret-namespace={namespace}"),
        &format!("--metrics-dynamic-serving-ca-secret-name={SECRET}"),
        &format!("--metrics-dynamic-serving-dns-names={NAME}"),
        "--metrics-dynamic-serving-leaf-duration=10s",
        "--metrics-tls-min-version=VersionTLS13",
    ];
    let _controller = Controller::start(&testbed, &flags).await.unwrap();
    let first = scraped_otherwise_than(&secrets, &[]).await;
    // Before the certificate runs out there is another one from the same CA.
    let held = authority(&secrets).await.unwrap();
    let second = scraped_otherwise_than(&secrets, &first).await;
    assert_eq!(authority(&secrets).await.unwrap(), held);

    let trusting = || trusting(Certificate::from_pem(&held).unwrap());
    let old = trusting().tls_version_max(Version::TLS_1_2).build().unwrap();
    assert!(old.get(url()).send().await.is_err(), "TLS 1.2 was excluded");
    let plain = trusting().build().unwrap().get(format!("http://{NAME}:{}/metrics", ADDRESS.port()));
    assert!(plain.send().await.is_err(), "nothing is served without TLS");

    // Somebody takes the CA away: there is a new one, and the metrics are served with it.
    secrets.delete(SECRET, &DeleteParams::default()).await.unwrap();
    scraped_otherwise_than(&secrets, &second).await;
    assert_ne!(authority(&secrets).await.unwrap(), held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn files_are_read_again() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
    let folder = tempfile::tempdir().unwrap();
    let (chain_file, key_file) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let ca = ca();
    let client = trusting(Certificate::from_pem(ca.pem().as_bytes()).unwrap()).build().unwrap();
    put(&ca, 2021, &chain_file, &key_file);
    let flags = [
        &format!("--metrics-tls-cert-file={}", chain_file.display()),
        &format!("--metrics-tls-private-key-file={}", key_file.display()),
    ];
    let controller = Controller::start(&testbed, &flags.map(String::as_str)).await.unwrap();
    let logged = async |text: &str| {
        let look = async || Ok::<_, String>(fs::read_to_string(controller.log()).unwrap().contains(text).then_some(()));
        until(&format!("{text:?} in the log"), PATIENCE, look).await.unwrap();
    };
    logged(&format!("{}: the certificate expired at 2021-", chain_file.display())).await;
    assert!(client.get(url()).send().await.is_err(), "it has expired");

    put(&ca, 2999, &chain_file, &key_file);
    let look = async || page(&client).await.map(Some);
    let served = until("metrics with the new certificate", PATIENCE, look).await.unwrap();

    fs::write(&key_file, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    logged(&format!(
        "{}: the key is not that of the first certificate in {}",
        key_file.display(),
        chain_file.display()
    ))
    .await;
    fs::remove_file(&chain_file).unwrap();
    logged(&format!("{}: No such file", chain_file.display())).await;
    assert_eq!(page(&client).await.unwrap(), served, "the former one goes on");
}

/// Waits until metrics are served by another certificate than this one, trusted by the CA in the Secret; returns it as DER.
async fn scraped_otherwise_than(secrets: &Api<Secret>, former: &[u8]) -> Vec<u8> {
    let look = async || {
        let ca = authority(secrets).await?;
        let served = page(&trusting(Certificate::from_pem(&ca)?).build()?).await?;
        Ok::<_, anyhow::Error>((served != former).then_some(served))
    };
    until("metrics by another certificate", PATIENCE, look).await.unwrap()
}

/// Scrapes once; the certificate as DER.
async fn page(client: &Client) -> Result<Vec<u8>> {
    let answer = client.get(url()).send().await?.error_for_status()?;
    let served = answer.extensions().get::<TlsInfo>().and_then(TlsInfo::peer_certificate).context("no certificate")?;
    let served = served.to_vec();
    let text = answer.text().await?;
    ensure!(text.contains("\ncertwright_leader 1\n"), "{text}");
    Ok(served)
}

async fn authority(secrets: &Api<Secret>) -> Result<Vec<u8>> {
    let secret = secrets.get_opt(SECRET).await?.context("there is no Secret yet")?;
    Ok(secret.data.context("it is empty")?["ca.crt"].0.clone())
}

fn trusting(ca: Certificate) -> ClientBuilder {
    let client = Client::builder().no_proxy().timeout(Duration::from_secs(10)).tls_info(true).resolve(NAME, ADDRESS);
    client.tls_certs_only([ca])
}

fn url() -> String {
    format!("https://{NAME}:{}/metrics", ADDRESS.port())
}

fn ca() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Authority::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Writes a certificate that is good until this year, and its key.
fn put(ca: &Authority, until: i32, chain_file: &Path, key_file: &Path) {
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().unwrap();
    fs::write(chain_file, params.signed_by(&key, ca).unwrap().pem()).unwrap();
    fs::write(key_file, key.serialize_pem()).unwrap();
}
