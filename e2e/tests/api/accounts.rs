//! Accounts that are bound, lost, given up and given another key, and the chains that a CA offers.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certwright::acme::{Client, Config};
use certwright::api::names::annotation;
use certwright::api::{Certificate, Issuer};
use certwright::pki::{ParsedCertificate, PrivateKey};
use certwright_e2e::Scene;
use certwright_e2e::pebble::{PebbleOptions, start_another};
use certwright_e2e::scene::PATIENCE;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::support::{event, issuer_with, scene, unready};

/// Another Pebble, whose ports and name follow from `number`.
fn pebble(number: u16) -> PebbleOptions {
    PebbleOptions {
        name: format!("pebble-accounts-{number}"),
        port: 14300 + number,
        management_port: 15300 + number,
        ..PebbleOptions::default()
    }
}

/// Points an issuer at that Pebble. Each start makes a new CA for its HTTPS certificate.
fn use_server(acme: &mut Value, options: &PebbleOptions) {
    acme["server"] = json!(format!("https://10.77.0.1:{}/dir", options.port));
    acme["caBundle"] = Value::Null;
    acme["skipTLSVerify"] = json!(true);
}

async fn account_url(scene: &Scene) -> String {
    let issuer: Issuer = scene.api().get("pebble").await.unwrap();
    issuer.status.unwrap().acme.unwrap().uri.unwrap()
}

async fn account_secret(scene: &Scene) -> Secret {
    scene.api::<Secret>().get("pebble-account").await.unwrap()
}

fn key_in(secret: &Secret) -> PrivateKey {
    PrivateKey::from_pem(&secret.data.as_ref().unwrap()["tls.key"].0).unwrap()
}

fn client(scene: &Scene) -> Client {
    let acme = scene.testbed.state.acme().unwrap();
    let ca_bundle = Some(std::fs::read(&acme.ca_file).unwrap());
    Client::new(&Config { directory_url: acme.directory_url.clone(), ca_bundle, skip_tls_verify: false }).unwrap()
}

/// A CA that binds accounts, with two chains.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn bound_to_an_external_account_and_with_the_other_chain() {
    let scene = scene("bound").await;
    let mut options = PebbleOptions { external_account_required: true, ..pebble(1) };
    options.environment.insert("PEBBLE_ALTERNATE_ROOTS".into(), "1".into());
    let (_running, acme) = start_another(&scene.testbed.state, &options).await.unwrap();
    let http = acme.http_client().unwrap();
    let mut roots = Vec::new();
    for number in 0..2 {
        let url = format!("{}/roots/{number}", acme.management_url);
        let pem = http.get(url).send().await.unwrap().bytes().await.unwrap();
        roots.push(ParsedCertificate::from_pem_chain(&pem).unwrap().remove(0).common_name.unwrap());
    }
    issuer_with(&scene, |acme| {
        use_server(acme, &options);
        acme["preferredChain"] = json!(roots[1]);
    })
    .await;
    unready::<Issuer>(&scene, "pebble", &["only for those who have one there already", "externalAccountBinding"]).await;
    let binding =
        json!({ "keyID": "kid-1", "keySecretRef": { "name": "eab", "key": "hmac" }, "keyAlgorithm": "HS256" });
    let spec = json!({ "spec": { "acme": { "externalAccountBinding": binding } } });
    scene.patch::<Issuer>("pebble", spec).await.unwrap();
    unready::<Issuer>(&scene, "pebble", &["eab with the external account key does not exist; create it"]).await;
    scene.put_secret("eab", "hmac", &STANDARD.encode([7; 32])).await.unwrap();
    unready::<Issuer>(&scene, "pebble", &["Failed to register ACME account", "compare spec.acme", "/eab"]).await;
    scene.api::<Secret>().delete("eab", &DeleteParams::default()).await.unwrap();
    unready::<Issuer>(&scene, "pebble", &["eab with the external account key does not exist; create it"]).await;
    scene.put_secret("eab", "hmac", &acme.external_account_keys["kid-1"]).await.unwrap();
    scene.wait_ready::<Issuer>("pebble").await.unwrap();
    event(&scene, "pebble", "AgreedToTerms", "terms of service").await;

    scene.certificate("www", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    let issued = scene.issued("www").await.unwrap();
    assert_eq!(issued.chain.last().unwrap().issuer_common_name.as_ref(), Some(&roots[1]));
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn no_such_chain_is_warned_of() {
    let scene = scene("nochain").await;
    issuer_with(&scene, |acme| acme["preferredChain"] = json!("No Such Root")).await;
    scene.certificate("www", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    scene.issued("www").await.unwrap();
    let orders: Vec<certwright::api::Order> = scene.list().await.unwrap();
    event(&scene, &orders[0].name_any(), "PreferredChainNotFound", "no chain to \"No Such Root\"").await;
}

/// The CA loses its memory between two issuances.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn an_account_that_the_ca_has_lost_is_made_anew() {
    let scene = scene("lost").await;
    let options = pebble(2);
    let running = start_another(&scene.testbed.state, &options).await.unwrap();
    issuer_with(&scene, |acme| use_server(acme, &options)).await;
    scene.wait_ready::<Issuer>("pebble").await.unwrap();
    let (url, key) = (account_url(&scene).await, key_in(&account_secret(&scene).await));
    drop(running);
    let _again = start_another(&scene.testbed.state, &options).await.unwrap();
    scene.certificate("www", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    let issued = scene.issued("www").await.unwrap();
    assert_eq!(issued.certificate.status.unwrap().failed_issuance_attempts, None);
    assert_ne!(account_url(&scene).await, url);
    let same = key_in(&account_secret(&scene).await);
    assert_eq!(same.public_key_der().unwrap(), key.public_key_der().unwrap());
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_deactivated_account_is_told_of_and_orders_wait_for_another() {
    let scene = scene("deactivated").await;
    scene.issuer("pebble").await.unwrap();
    let url = account_url(&scene).await;
    client(&scene).account(key_in(&account_secret(&scene).await), url.clone()).deactivate().await.unwrap();
    scene.certificate("www", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    let words = ["Failed to verify ACME account", "deactivated", "/pebble-account with its key to have a new account"];
    unready::<Issuer>(&scene, "pebble", &words).await;
    let refused: Issuer = scene.api().get("pebble").await.unwrap();
    assert_eq!(refused.status.unwrap().conditions[0].reason.as_deref(), Some("ErrVerifyACMEAccount"));
    unready::<Certificate>(&scene, "www", &["Waiting for Issuer \"pebble\"", "deactivated"]).await;
    scene.api::<Secret>().delete("pebble-account", &DeleteParams::default()).await.unwrap();
    let issued = scene.issued("www").await.unwrap();
    assert_eq!(issued.certificate.status.unwrap().failed_issuance_attempts, None);
    assert_ne!(account_url(&scene).await, url);
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn another_account_key_on_request() {
    let scene = scene("roll").await;
    scene.issuer("pebble").await.unwrap();
    let (url, old) = (account_url(&scene).await, key_in(&account_secret(&scene).await));
    let wish = json!({ "metadata": { "annotations": { annotation::ROLL_ACCOUNT_KEY: "first" } } });
    scene.patch::<Issuer>("pebble", wish).await.unwrap();
    // Orders that are under way meanwhile are not harmed.
    for number in 0..3 {
        let name = scene.dns_name(&format!("c{number}"));
        scene.certificate(&format!("c{number}"), "pebble", &[&name]).await.unwrap();
    }
    let is_rolled = |secret: &Secret| {
        secret.annotations().get(annotation::ACCOUNT_KEY_ROLLED).is_some_and(|value| value == "first")
    };
    // Challenges that are under way are waited for, and looked at again ever less often.
    let secret: Secret =
        scene.wait_for("pebble-account", "having the next key", 3 * PATIENCE, is_rolled).await.unwrap();
    assert_eq!(secret.data.as_ref().unwrap().len(), 1, "no former and no next key");
    let new = key_in(&secret);
    assert_ne!(new.public_key_der().unwrap(), old.public_key_der().unwrap());
    assert_eq!(new.algorithm(), old.algorithm());
    for number in 0..3 {
        let issued = scene.issued(&format!("c{number}")).await.unwrap();
        assert_eq!(issued.certificate.status.unwrap().failed_issuance_attempts, None);
    }
    let client = client(&scene);
    assert_eq!(client.find_account(&new).await.unwrap().unwrap().url, url);
    assert_eq!(client.find_account(&old).await.unwrap(), None);
    assert_eq!(account_url(&scene).await, url);
    // Once is enough.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let same = key_in(&account_secret(&scene).await);
    assert_eq!(same.public_key_der().unwrap(), new.public_key_der().unwrap());
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn the_profile_of_one_certificate() {
    let scene = scene("profile").await;
    issuer_with(&scene, |acme| acme["profile"] = json!("default")).await;
    for (name, profile) in [("short", "shortlived"), ("none", "nonsense")] {
        // Its issuer is there only once it has the annotation.
        scene.certificate(name, "absent", &[&scene.dns_name(name)]).await.unwrap();
        let change = json!({
            "metadata": { "annotations": { annotation::PROFILE: profile } },
            "spec": { "issuerRef": { "name": "pebble" } },
        });
        scene.patch::<Certificate>(name, change).await.unwrap();
    }
    let issued = scene.issued("short").await.unwrap();
    let hours = issued.leaf().not_after.duration_since(issued.leaf().not_before).as_hours();
    assert!((143..=145).contains(&hours), "{hours} h");
    crate::support::failed(&scene, "none", &["no profile \"nonsense\"; it offers \"default\""]).await;
}
