//! From a self-signed root to a certificate, and what keeps a CA issuer from signing.

use certwright::api::names::{annotation, label, reason};
use certwright::api::{Certificate, CertificateRequest, ClusterIssuer, Issuer};
use certwright_e2e::Scene;
use certwright_e2e::authority::Authority;
use certwright_e2e::scene::{CLUSTER_RESOURCE_NAMESPACE, Issued, PATIENCE, certificate_spec, is_ready};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::witness::{Witness, blocks};
use super::{CA, CA_SECRET, ROOT, ca_scene, create, entry, issue};
use crate::support::{condition_of, scene, settles, unready};

/// Asserts that `openssl verify` leads from the Secret's certificate to its `ca.crt`.
pub fn verifies(secret: &Secret) {
    let witness = Witness::new(&[("tls.crt", entry(secret, "tls.crt")), ("ca.crt", entry(secret, "ca.crt"))]);
    let printed = witness.openssl(&["verify", "-x509_strict", "-CAfile", "ca.crt", "-untrusted", "tls.crt", "tls.crt"]);
    assert_eq!(printed, "tls.crt: OK\n");
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_self_signed_root_signs_for_others() {
    let scene = ca_scene("chain").await;
    let root: Issuer = scene.api().get(ROOT).await.unwrap();
    assert_eq!(condition_of(&root, "Ready").reason.as_deref(), Some(reason::IS_READY));
    let ca: Issuer = scene.api().get(CA).await.unwrap();
    assert_eq!(condition_of(&ca, "Ready").reason.as_deref(), Some(reason::KEY_PAIR_VERIFIED));
    let authority = scene.issued(CA).await.unwrap();
    assert!(authority.leaf().is_ca && authority.leaf().is_self_signed());
    assert_eq!(entry(&authority.secret, "ca.crt"), entry(&authority.secret, "tls.crt"));

    let issued = issue(&scene, "web", json!({})).await;
    assert_eq!(issued.secret.type_.as_deref(), Some("kubernetes.io/tls"));
    assert_eq!(issued.secret.labels().get(label::FAO).map(String::as_str), Some("true"));
    assert_eq!(issued.chain.len(), 1, "a self-signed CA is no part of the chain");
    assert_eq!(entry(&issued.secret, "ca.crt"), entry(&authority.secret, "tls.crt"));
    assert!(!issued.leaf().is_ca);
    issued.leaf().verify_issued_by(authority.leaf()).unwrap();
    verifies(&issued.secret);
    let annotations = issued.secret.annotations();
    for (key, value) in [
        (annotation::ALT_NAMES, scene.dns_name("web").as_str()),
        (annotation::CERTIFICATE_NAME, "web"),
        (annotation::COMMON_NAME, ""),
        (annotation::ISSUER_KIND, "Issuer"),
        (annotation::ISSUER_NAME, CA),
    ] {
        assert_eq!(annotations.get(key).map(String::as_str), Some(value), "{key}");
    }
    let request: CertificateRequest = scene.api().get("web-1").await.unwrap();
    assert_eq!(condition_of(&request, "Ready").reason.as_deref(), Some(reason::ISSUED));
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn an_intermediate_ca() {
    let scene = ca_scene("middle").await;
    issue(&scene, "middle", json!({ "isCA": true, "commonName": "CA in the middle" })).await;
    scene.create::<Issuer>("middle", json!({ "ca": { "secretName": "middle-tls" } })).await.unwrap();
    let issued = issue(&scene, "web", json!({ "issuerRef": { "name": "middle" } })).await;
    assert_eq!(issued.chain.len(), 2, "leaf and intermediate");
    assert_eq!(entry(&issued.secret, "ca.crt"), entry(&scene.issued(CA).await.unwrap().secret, "tls.crt"));
    verifies(&issued.secret);
}

/// What the issuer's spec says of revocation stands in the certificate, which does not outlive its CA.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn revocation_and_the_end_of_the_ca() {
    let scene = ca_scene("revocation").await;
    let spec = json!({ "ca": {
        "secretName": CA_SECRET,
        "crlDistributionPoints": ["http://crl.example.com/ca.crl"],
        "ocspServers": ["http://ocsp.example.com"],
        "issuingCertificateURLs": ["http://ca.example.com/ca.crt"],
    }});
    scene.create::<Issuer>("full", spec).await.unwrap();
    let issued = issue(&scene, "web", json!({ "issuerRef": { "name": "full" }, "duration": "100000h" })).await;
    let text = Witness::new(&[("tls.crt", entry(&issued.secret, "tls.crt"))]);
    let text = text.openssl(&["x509", "-in", "tls.crt", "-noout", "-text"]);
    for part in [
        "URI:http://crl.example.com/ca.crl",
        "OCSP - URI:http://ocsp.example.com",
        "CA Issuers - URI:http://ca.example.com/ca.crt",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert_eq!(issued.leaf().not_after, scene.issued(CA).await.unwrap().leaf().not_after);
    verifies(&issued.secret);
}

/// The Secret of a ClusterIssuer lies in the cluster resource namespace, whoever asks.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_cluster_issuer() {
    let scene = scene("clusterca").await;
    let name = scene.namespace.clone();
    let issuers: Api<ClusterIssuer> = Api::all(scene.client.clone());
    let spec = serde_json::from_value(json!({ "ca": { "secretName": name } })).unwrap();
    issuers.create(&PostParams::default(), &ClusterIssuer::new(&name, spec)).await.unwrap();
    let spec = certificate_spec("web", "ClusterIssuer", &name, &[&scene.dns_name("web")]);
    scene.create::<Certificate>("web", spec).await.unwrap();
    unready::<CertificateRequest>(&scene, "web-1", &["ClusterIssuer", &name, "does not exist"]).await;

    let (pair, authority) = pair(&name);
    put(&scene, CLUSTER_RESOURCE_NAMESPACE, &name, &pair).await;
    scene.wait_in(issuers, &name, "being ready", PATIENCE, is_ready).await.unwrap();
    let issued = scene.issued("web").await.unwrap();
    assert_eq!(String::from_utf8_lossy(entry(&issued.secret, "ca.crt")), authority);
    assert_eq!(issued.secret.annotations()[annotation::ISSUER_KIND], "ClusterIssuer");
    verifies(&issued.secret);
    let secrets: Api<Secret> = Api::namespaced(scene.client.clone(), CLUSTER_RESOURCE_NAMESPACE);
    secrets.delete(&name, &kube::api::DeleteParams::default()).await.unwrap();
}

/// A Secret that holds no usable CA is told of; once it does, what waited goes on.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_ca_of_garbage_that_is_mended() {
    let scene = scene("garbage").await;
    let (good, _) = pair("good");
    let (other, _) = pair("other");
    scene.create::<Issuer>(CA, json!({ "ca": { "secretName": "pair" } })).await.unwrap();
    unready::<Issuer>(&scene, CA, &["\"pair\"", "does not exist"]).await;
    create(&scene, "web", json!({})).await;
    let steps: [(Value, &[&str]); 4] = [
        (json!({ "tls.crt": "garbage", "tls.key": "garbage" }), &["\"pair\"", "tls.crt", "PEM"]),
        (json!({ "tls.crt": good["tls.crt"] }), &["\"pair\"", "it has no tls.key"]),
        (json!({ "tls.crt": good["tls.crt"], "tls.key": other["tls.key"] }), &["tls.key is not that of"]),
        (leaf_pair(), &["\"pair\"", "tls.crt", "CA"]),
    ];
    for (content, words) in steps {
        put(&scene, &scene.namespace, "pair", &content).await;
        let message = unready::<Issuer>(&scene, CA, words).await;
        assert!(!message.contains("PRIVATE KEY"), "{message}");
    }
    unready::<Certificate>(&scene, "web", &["Issuer \"ca\"", "no usable CA"]).await;
    settles(&scene).await;
    put(&scene, &scene.namespace, "pair", &good).await;
    scene.wait_ready::<Issuer>(CA).await.unwrap();
    let Issued { secret, certificate, .. } = scene.issued("web").await.unwrap();
    verifies(&secret);
    assert_eq!(certificate.status.unwrap().revision, Some(1), "what waited was answered");

    put(&scene, &scene.namespace, "pair", &json!({ "tls.crt": "gone" })).await;
    unready::<Issuer>(&scene, CA, &["\"pair\""]).await;
    // What was issued stays good.
    scene.wait_ready::<Certificate>("web").await.unwrap();
}

/// The entries of a Secret with a new CA, and the PEM of its certificate.
pub fn pair(name: &str) -> (Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::create(folder.path(), name).unwrap();
    let key = std::fs::read_to_string(folder.path().join(format!("{name}.key"))).unwrap();
    let pem = authority.certificate_pem().to_owned();
    (json!({ "tls.crt": pem, "tls.key": key }), blocks(&pem, "CERTIFICATE").concat())
}

/// Certificate and key of a server, which may not sign.
fn leaf_pair() -> Value {
    let folder = tempfile::tempdir().unwrap();
    let signed = Authority::create(folder.path(), "ca").unwrap().server("server", &["server.test"]).unwrap();
    json!({ "tls.crt": signed.certificate_pem, "tls.key": signed.key_pem })
}

/// Gives a Secret these entries and no others.
pub async fn put(scene: &Scene, namespace: &str, name: &str, content: &Value) {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": name, "namespace": namespace },
        "stringData": content,
    });
    let secrets: Api<Secret> = Api::namespaced(scene.client.clone(), namespace);
    let _ = secrets.delete(name, &kube::api::DeleteParams::default()).await;
    secrets.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(secret)).await.unwrap();
}
