//! Keystores: read by `openssl` and `keytool`, and kept up to date without a new certificate.

use certwright::api::Certificate;
use certwright::api::names::condition;
use certwright_e2e::scene::{Conditions as _, PATIENCE, unreadiness};
use k8s_openapi::api::core::v1::Secret;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::witness::{Witness, blocks};
use super::{ask_for_renewal, ca_scene, create, entry, issue, of_revision, ready_message, request_names, secret_that};
use crate::support::{mark, settles, writes_since};

/// What openssl finds in a PKCS#12 file, as PEM: the keys and the certificates.
fn pkcs12(store: &[u8], password: &str, profile: &str) -> Result<(Vec<String>, Vec<String>), String> {
    let pass = format!("pass:{password}");
    let mut arguments = vec!["pkcs12", "-in", "store", "-nodes", "-passin", &pass];
    match profile {
        "LegacyRC2" | "LegacyDES" => arguments.push("-legacy"),
        // OpenSSL before 3.4 does not know PBMAC1 (RFC 9579), but what it protects.
        "Modern2026" => arguments.push("-nomacver"),
        _ => {}
    }
    let printed = Witness::new(&[("store", store)]).run("openssl", &arguments)?;
    Ok((blocks(&printed, "PRIVATE KEY"), blocks(&printed, "CERTIFICATE")))
}

/// The key of the Secret as openssl prints it.
fn own_key(secret: &Secret) -> String {
    Witness::new(&[("key", entry(secret, "tls.key"))]).openssl(&["pkey", "-in", "key"])
}

fn text(secret: &Secret, name: &str) -> String {
    String::from_utf8(entry(secret, name).to_vec()).unwrap()
}

/// Asserts that the PKCS#12 files hold the Secret's key, certificate and CA.
fn holds_pkcs12(secret: &Secret, password: &str, profile: &str) {
    let (keys, certificates) = pkcs12(entry(secret, "keystore.p12"), password, profile).unwrap();
    assert_eq!(keys, [own_key(secret)], "{profile}");
    assert_eq!(certificates, [text(secret, "tls.crt"), text(secret, "ca.crt")], "{profile}");
    let (keys, certificates) = pkcs12(entry(secret, "truststore.p12"), password, profile).unwrap();
    assert_eq!((keys, certificates), (Vec::new(), vec![text(secret, "ca.crt")]), "{profile}");
}

/// Asserts that the Java keystore holds the Secret's key and certificate under the alias, and the truststore the CA.
fn holds_jks(secret: &Secret, password: &str, alias: &str) {
    let (store, trust) = (entry(secret, "keystore.jks"), entry(secret, "truststore.jks"));
    let witness = Witness::new(&[("store", store), ("trust", trust)]);
    let list = ["-list", "-rfc", "-keystore", "trust", "-storepass", password];
    let Some(trusted) = witness.keytool(&list) else { return };
    assert_eq!(blocks(&trusted.unwrap().replace('\r', ""), "CERTIFICATE"), [text(secret, "ca.crt")]);
    let list = ["-list", "-keystore", "store", "-storepass", password, "-alias", alias];
    let listed = witness.keytool(&list).unwrap().unwrap();
    assert!(listed.contains("PrivateKeyEntry"), "{listed}");
    let convert = ["-importkeystore", "-noprompt", "-srckeystore", "store", "-destkeystore", "out", "-deststoretype"];
    let passwords = ["PKCS12", "-srcstorepass", password, "-deststorepass", "converted"];
    witness.keytool(&[&convert[..], &passwords].concat()).unwrap().unwrap();
    let printed = witness.openssl(&["pkcs12", "-in", "out", "-nodes", "-passin", "pass:converted"]);
    assert_eq!(blocks(&printed, "PRIVATE KEY"), [own_key(secret)]);
    assert!(blocks(&printed, "CERTIFICATE").contains(&text(secret, "tls.crt")), "{printed}");
}

fn both(password: &Value) -> Value {
    let mut jks = json!({ "create": true });
    let mut pkcs12 = json!({ "create": true, "profile": "Modern2023" });
    for store in [&mut jks, &mut pkcs12] {
        store.as_object_mut().unwrap().extend(password.as_object().unwrap().clone());
    }
    json!({ "jks": jks, "pkcs12": pkcs12 })
}

fn by_secret(secret: &str) -> Value {
    both(&json!({ "passwordSecretRef": { "name": secret, "key": "word" } }))
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn every_profile_of_pkcs12() {
    let scene = ca_scene("profiles").await;
    let profiles = ["LegacyRC2", "LegacyDES", "Modern2023", "Modern2026"];
    for profile in profiles {
        let stores = json!({ "pkcs12": { "create": true, "password": "pass word", "profile": profile } });
        create(&scene, &profile.to_lowercase(), json!({ "keystores": stores })).await;
    }
    for profile in profiles {
        let issued = scene.issued(&profile.to_lowercase()).await.unwrap();
        holds_pkcs12(&issued.secret, "pass word", profile);
        assert!(pkcs12(entry(&issued.secret, "keystore.p12"), "another", profile).is_err());
    }
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn java_keystores() {
    let scene = ca_scene("jks").await;
    let rsa = json!({ "algorithm": "RSA", "encoding": "PKCS8" });
    let stores = json!({ "jks": { "create": true, "password": "changeit", "alias": "Web" } });
    create(&scene, "named", json!({ "keystores": stores, "privateKey": rsa })).await;
    let stores = json!({ "jks": { "create": true, "password": "changeit" } });
    create(&scene, "unnamed", json!({ "keystores": stores })).await;
    let stores = json!({ "jks": { "create": false, "password": "changeit" } });
    create(&scene, "unwanted", json!({ "keystores": stores })).await;
    holds_jks(&scene.issued("named").await.unwrap().secret, "changeit", "web");
    holds_jks(&scene.issued("unnamed").await.unwrap().secret, "changeit", "certificate");
    assert!(!scene.issued("unwanted").await.unwrap().secret.data.unwrap().contains_key("keystore.jks"));
}

/// A new password makes new files, but no new certificate; so does a keystore that is added, and one that is taken away
/// goes.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_password_that_changes() {
    let scene = ca_scene("password").await;
    scene.put_secret("words", "word", "first").await.unwrap();
    let issued = issue(&scene, "web", json!({ "keystores": by_secret("words") })).await;
    holds_pkcs12(&issued.secret, "first", "Modern2023");
    // keytool wants six letters for what it writes, not for what it reads.
    holds_jks(&issued.secret, "first", "certificate");
    settles(&scene).await;

    let former = issued.secret.clone();
    let began = mark(&scene).await;
    scene.put_secret("words", "word", "second").await.unwrap();
    let is_new = |secret: &Secret| entry(secret, "keystore.p12") != entry(&former, "keystore.p12");
    let secret = secret_that(&scene, "web", "having new keystores", is_new).await;
    holds_pkcs12(&secret, "second", "Modern2023");
    holds_jks(&secret, "second", "certificate");
    assert_eq!(entry(&secret, "tls.crt"), entry(&issued.secret, "tls.crt"));
    settles(&scene).await;
    let writes = writes_since(&scene, began).await;
    assert_eq!(writes.len(), 1, "the Secret is written once: {writes:#?}");
    let again = of_revision(&scene, "web", 1).await;
    assert_eq!(entry(&again.secret, "keystore.p12"), entry(&secret, "keystore.p12"));

    let without_jks = json!({ "spec": { "keystores": { "jks": null } } });
    scene.patch::<Certificate>("web", without_jks).await.unwrap();
    let has_gone = |secret: &Secret| !secret.data.as_ref().unwrap().contains_key("keystore.jks");
    let secret = secret_that(&scene, "web", "having lost its Java keystore", has_gone).await;
    holds_pkcs12(&secret, "second", "Modern2023");
    assert_eq!(request_names(&scene).await, ["web-1"]);
}

/// Without its password a keystore cannot be written: the first issuance waits and says for what.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_password_that_comes_later() {
    let scene = ca_scene("later").await;
    create(&scene, "web", json!({ "keystores": by_secret("words") })).await;
    let says = |words: &'static [&'static str]| {
        move |certificate: &Certificate| {
            unreadiness(certificate).is_some_and(|(_, message)| words.iter().all(|word| message.contains(word)))
        }
    };
    let missing = says(&["password Secret \"words\" not found"]);
    scene.wait_for::<Certificate>("web", "missing the password", PATIENCE, missing).await.unwrap();
    assert!(scene.api::<Secret>().get_opt("web-tls").await.unwrap().is_none(), "half a Secret was written");
    settles(&scene).await;
    scene.put_secret("words", "other", "x").await.unwrap();
    let empty = says(&["password Secret \"words\"", "\"word\""]);
    scene.wait_for::<Certificate>("web", "missing the entry", PATIENCE, empty).await.unwrap();
    super::chain::put(&scene, &scene.namespace, "words", &json!({ "word": "at last" })).await;
    let issued = of_revision(&scene, "web", 1).await;
    holds_pkcs12(&issued.secret, "at last", "Modern2023");
}

/// A password that goes away does no harm to what is there, but is told of.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_password_that_goes_away() {
    let scene = ca_scene("away").await;
    scene.put_secret("words", "word", "password").await.unwrap();
    let issued = issue(&scene, "web", json!({ "keystores": by_secret("words") })).await;
    scene.api::<Secret>().delete("words", &DeleteParams::default()).await.unwrap();
    let is_told = |certificate: &Certificate| {
        certificate.status.as_ref().is_some_and(|status| !status.conditions.is_empty())
            && ready_message(certificate).contains("\"words\" not found")
    };
    let certificate = scene.wait_for::<Certificate>("web", "telling of the password", PATIENCE, is_told).await.unwrap();
    let ready = certwright::api::find_condition(certificate.conditions(), condition::READY).unwrap();
    assert!(ready.is_true(), "the certificate itself is good: {ready:#?}");
    scene.put_secret("words", "word", "password").await.unwrap();
    let is_quiet = |certificate: &Certificate| !ready_message(certificate).contains("words");
    scene.wait_for::<Certificate>("web", "being content again", PATIENCE, is_quiet).await.unwrap();
    let again = of_revision(&scene, "web", 1).await;
    assert_eq!(entry(&again.secret, "keystore.p12"), entry(&issued.secret, "keystore.p12"));
}

/// A renewal brings new keystores, too.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn keystores_of_a_renewed_certificate() {
    let scene = ca_scene("renewedstore").await;
    let former = issue(&scene, "web", json!({ "keystores": both(&json!({ "password": "literal" })) })).await;
    ask_for_renewal(&scene, "web").await;
    let secret = of_revision(&scene, "web", 2).await.secret;
    assert_ne!(entry(&secret, "tls.crt"), entry(&former.secret, "tls.crt"));
    holds_pkcs12(&secret, "literal", "Modern2023");
    holds_jks(&secret, "literal", "certificate");
}
