//! Every kind of key, in each encoding, and every signature algorithm.

use certwright::api::CertificateRequest;
use certwright::pki::{KeyAlgorithm, PrivateKey};
use certwright_e2e::Scene;
use serde_json::{Value, json};

use super::chain::verifies;
use super::witness::Witness;
use super::{ca_scene, create, entry};

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

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn every_signature_algorithm() {
    let scene = ca_scene("signatures").await;
    let algorithms = [
        ("RSA", "SHA256WithRSA", "sha256WithRSAEncryption"),
        ("RSA", "SHA384WithRSA", "sha384WithRSAEncryption"),
        ("RSA", "SHA512WithRSA", "sha512WithRSAEncryption"),
        ("ECDSA", "ECDSAWithSHA256", "ecdsa-with-SHA256"),
        ("ECDSA", "ECDSAWithSHA384", "ecdsa-with-SHA384"),
        ("ECDSA", "ECDSAWithSHA512", "ecdsa-with-SHA512"),
        ("Ed25519", "PureEd25519", "ED25519"),
    ];
    for (key, algorithm, _) in algorithms {
        let more = json!({ "privateKey": { "algorithm": key }, "signatureAlgorithm": algorithm });
        create(&scene, &algorithm.to_lowercase(), more).await;
    }
    for (_, algorithm, expected) in algorithms {
        let name = algorithm.to_lowercase();
        let issued = scene.issued(&name).await.unwrap();
        let request: CertificateRequest = scene.api().get(&format!("{name}-1")).await.unwrap();
        let witness = Witness::new(&[("csr", &request.spec.request.0)]);
        let text = witness.openssl(&["req", "-in", "csr", "-verify", "-noout", "-text"]);
        assert!(text.contains(&format!("Signature Algorithm: {expected}\n")), "{algorithm}: {text}");
        verifies(&issued.secret);
    }
}
