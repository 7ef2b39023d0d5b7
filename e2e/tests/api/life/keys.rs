//! Every kind of key, in each encoding, and every signature algorithm.

use certwright::api::names::reason;
use certwright::api::{Certificate, CertificateRequest};
use certwright::pki::{KeyAlgorithm, PrivateKey};
use certwright_e2e::Scene;
use certwright_e2e::scene::unreadiness;
use serde_json::{Value, json};

use super::chain::verifies;
use super::witness::Witness;
use super::{ca_scene, create, entry};
use crate::support::unready;

/// RSA keys with 8192 bits are left out: to find one takes some 20 seconds of a whole core.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn every_kind_of_key() {
    let scene = ca_scene("kinds").await;
    let mut kinds = Vec::new();
    for encoding in ["PKCS1", "PKCS8"] {
        for (algorithm, size) in [
            ("RSA", json!(2048)),
            ("RSA", json!(3072)),
            ("RSA", json!(4096)),
            ("ECDSA", json!(256)),
            ("ECDSA", json!(384)),
            ("ECDSA", json!(521)),
            ("Ed25519", Value::Null),
        ] {
            let name = format!("{algorithm}-{size}-{encoding}").to_lowercase();
            let key = json!({ "algorithm": algorithm, "size": size, "encoding": encoding });
            create(&scene, &name, json!({ "privateKey": key })).await;
            kinds.push((name, algorithm, size.as_u64(), encoding));
        }
    }
    for (name, algorithm, size, encoding) in kinds {
        let header = match (algorithm, encoding) {
            ("RSA", "PKCS1") => "-----BEGIN RSA PRIVATE KEY-----",
            ("ECDSA", "PKCS1") => "-----BEGIN EC PRIVATE KEY-----",
            _ => "-----BEGIN PRIVATE KEY-----",
        };
        let found = witnessed(&scene, &name, header).await;
        assert_eq!((found.name(), found.size().map(u64::from)), (algorithm, size), "{name}");
    }
}

/// Has openssl look at key, certificate and request of a Certificate; gives the algorithm of the key.
async fn witnessed(scene: &Scene, name: &str, header: &str) -> KeyAlgorithm {
    let issued = scene.issued(name).await.unwrap();
    let request: CertificateRequest = scene.api().get(&format!("{name}-1")).await.unwrap();
    let pem = entry(&issued.secret, "tls.key");
    assert!(pem.starts_with(header.as_bytes()), "{name} does not begin with {header}");
    let witness =
        Witness::new(&[("key", pem), ("crt", entry(&issued.secret, "tls.crt")), ("csr", &request.spec.request.0)]);
    witness.openssl(&["pkey", "-in", "key", "-check", "-noout"]);
    witness.openssl(&["req", "-in", "csr", "-verify", "-noout"]);
    let public = witness.openssl(&["pkey", "-in", "key", "-pubout"]);
    assert_eq!(witness.openssl(&["x509", "-in", "crt", "-pubkey", "-noout"]), public, "{name}");
    assert_eq!(witness.openssl(&["req", "-in", "csr", "-pubkey", "-noout"]), public, "{name}");
    verifies(&issued.secret);
    PrivateKey::from_pem(pem).unwrap().algorithm()
}

/// An algorithm for ECDSA goes with the size of the key; one that does not is told of, see below.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn every_signature_algorithm() {
    let scene = ca_scene("signatures").await;
    let algorithms = [
        ("RSA", 2048, "SHA256WithRSA", "sha256WithRSAEncryption"),
        ("RSA", 2048, "SHA384WithRSA", "sha384WithRSAEncryption"),
        ("RSA", 2048, "SHA512WithRSA", "sha512WithRSAEncryption"),
        ("ECDSA", 256, "ECDSAWithSHA256", "ecdsa-with-SHA256"),
        ("ECDSA", 384, "ECDSAWithSHA384", "ecdsa-with-SHA384"),
        ("ECDSA", 521, "ECDSAWithSHA512", "ecdsa-with-SHA512"),
        ("Ed25519", 0, "PureEd25519", "ED25519"),
    ];
    for (key, size, algorithm, _) in algorithms {
        let size = Some(size).filter(|size| *size > 0);
        let more = json!({ "privateKey": { "algorithm": key, "size": size }, "signatureAlgorithm": algorithm });
        create(&scene, &algorithm.to_lowercase(), more).await;
    }
    for (_, _, algorithm, expected) in algorithms {
        let name = algorithm.to_lowercase();
        let issued = scene.issued(&name).await.unwrap();
        let request: CertificateRequest = scene.api().get(&format!("{name}-1")).await.unwrap();
        let witness = Witness::new(&[("csr", &request.spec.request.0)]);
        let text = witness.openssl(&["req", "-in", "csr", "-verify", "-noout", "-text"]);
        assert!(text.contains(&format!("Signature Algorithm: {expected}\n")), "{algorithm}: {text}");
        verifies(&issued.secret);
    }
}

/// A spec that no CSR can be made from is no trouble that passes: it is told once, and nothing is tried.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_signature_algorithm_that_the_key_is_too_small_for() {
    let scene = ca_scene("small").await;
    let key = json!({ "algorithm": "ECDSA", "size": 256 });
    create(&scene, "web", json!({ "privateKey": key, "signatureAlgorithm": "ECDSAWithSHA512" })).await;
    let message = unready::<Certificate>(&scene, "web", &["spec", "ECDSAWithSHA512"]).await;
    assert!(!message.contains("next try"), "{message}");
    let certificate: Certificate = scene.api().get("web").await.unwrap();
    assert_eq!(unreadiness(&certificate).unwrap().0, reason::INVALID_SPEC);
    scene.patch::<Certificate>("web", json!({ "spec": { "privateKey": { "size": 521 } } })).await.unwrap();
    verifies(&scene.issued("web").await.unwrap().secret);
}
