//! Requests of other clients, and issuers of others.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certwright::api::names::{condition, reason};
use certwright::api::{Certificate, CertificateRequest, find_condition};
use certwright::pki::{
    CertificateRequestTemplate, Curve, KeyAlgorithm, ParsedCertificate, PrivateKey, SubjectAltNames,
};
use certwright_e2e::Scene;
use certwright_e2e::scene::{Conditions as _, PATIENCE};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::witness::Witness;
use super::{CA, ca_scene, create, entry, of_revision};
use crate::support::{condition_of, failed, settles, writes_during};

/// A CSR of this key for one DNS name, in PEM form.
fn csr(key: &PrivateKey, name: &str) -> String {
    let names = SubjectAltNames { dns_names: vec![name.to_owned()], ..SubjectAltNames::default() };
    let template = CertificateRequestTemplate { names, encode_usages: false, ..CertificateRequestTemplate::default() };
    template.build_pem(key).unwrap()
}

fn new_key() -> PrivateKey {
    PrivateKey::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap()
}

/// Somebody's own CSR is signed, and nothing else is written about it.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_request_of_another_client() {
    let scene = ca_scene("csr").await;
    let key = new_key();
    let name = scene.dns_name("own");
    let spec = json!({
        "issuerRef": { "name": CA },
        "request": STANDARD.encode(csr(&key, &name)),
        "duration": "5h",
        "usages": ["client auth"],
    });
    scene.create::<CertificateRequest>("own", spec).await.unwrap();
    let request = scene.wait_ready::<CertificateRequest>("own").await.unwrap();
    let status = request.status.clone().unwrap();
    let (pem, ca) = (status.certificate.unwrap().0, status.ca.unwrap().0);
    let witness = Witness::new(&[("crt", &pem), ("ca", &ca)]);
    assert_eq!(witness.openssl(&["verify", "-CAfile", "ca", "crt"]), "crt: OK\n");
    let text = witness.openssl(&["x509", "-in", "crt", "-noout", "-text"]);
    assert!(text.contains("TLS Web Client Authentication") && !text.contains("Server Authentication"), "{text}");
    let leaf = ParsedCertificate::from_pem_chain(&pem).unwrap().remove(0);
    assert!(leaf.matches_key(&key));
    assert_eq!(leaf.names.dns_names, [name]);
    assert_eq!(leaf.not_after.duration_since(leaf.not_before), SignedDuration::from_hours(5));
    assert!(scene.api::<Secret>().get_opt("own-tls").await.unwrap().is_none());
    assert_eq!(condition_of(&request, condition::APPROVED).status, "True");
}

/// An issuer of another group: the request is made and left alone, until its controller answers.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn an_external_issuer() {
    let scene = ca_scene("external").await;
    let request = external_request(&scene, "web").await;
    settles(&scene).await;
    assert!(find_condition(request.conditions(), condition::READY).is_none(), "{request:#?}");
    assert!(writes_during(&scene, std::time::Duration::from_secs(2)).await.is_empty());
    // What the external controller says meanwhile is passed on, not overwritten.
    let pending = json!({ "conditions": conditions(&request, "False", "Pending", "a person has to look at it") });
    answer(&scene, "web-1", pending).await;
    crate::support::unready::<Certificate>(&scene, "web", &["a person has to look at it"]).await;

    let (certificate, ca) = sign(&scene, &request, None).await;
    let answered = json!({
        "conditions": conditions(&request, "True", "Issued", "signed elsewhere"),
        "certificate": STANDARD.encode(&certificate),
        "ca": STANDARD.encode(&ca),
    });
    answer(&scene, "web-1", answered).await;
    let issued = of_revision(&scene, "web", 1).await;
    assert_eq!(String::from_utf8_lossy(entry(&issued.secret, "tls.crt")), certificate);
    assert_eq!(String::from_utf8_lossy(entry(&issued.secret, "ca.crt")), ca);
    let request: CertificateRequest = scene.api().get("web-1").await.unwrap();
    assert_eq!(condition_of(&request, condition::READY).message.as_deref(), Some("signed elsewhere"));
}

/// One that answers with a certificate for another key: nothing of it is stored, and it is told when it is tried again.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn an_external_issuer_with_the_wrong_key() {
    let scene = ca_scene("wrongkey").await;
    let request = external_request(&scene, "web").await;
    let (certificate, ca) = sign(&scene, &request, Some(new_key())).await;
    let answered = json!({
        "conditions": conditions(&request, "True", "Issued", "signed elsewhere"),
        "certificate": STANDARD.encode(certificate),
        "ca": STANDARD.encode(ca),
    });
    answer(&scene, "web-1", answered).await;
    let certificate = failed(&scene, "web", &["another key than the one requested", "next attempt at"]).await;
    let issuing = find_condition(certificate.conditions(), condition::ISSUING).unwrap();
    assert_eq!(issuing.reason.as_deref(), Some(reason::INVALID_CERTIFICATE));
    let status = certificate.status.clone().unwrap();
    assert_eq!(status.failed_issuance_attempts, Some(1));
    let next: Timestamp = issuing
        .message
        .as_ref()
        .unwrap()
        .split("next attempt at ")
        .nth(1)
        .unwrap()
        .split(',')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let wait = next.duration_since(status.last_failure_time.unwrap().0);
    // An hour, and up to a tenth more.
    assert!(wait >= SignedDuration::from_mins(59) && wait <= SignedDuration::from_mins(67), "{wait:#}");
    assert!(scene.api::<Secret>().get_opt("web-tls").await.unwrap().is_none());
    settles(&scene).await;
    assert!(writes_during(&scene, std::time::Duration::from_secs(2)).await.is_empty());
}

/// Creates a Certificate of an issuer of another group; gives its request once it is approved.
async fn external_request(scene: &Scene, name: &str) -> CertificateRequest {
    let reference = json!({ "group": "issuers.example.com", "kind": "TestIssuer", "name": "elsewhere" });
    create(scene, name, json!({ "issuerRef": reference })).await;
    let request = format!("{name}-1");
    scene.wait_for::<CertificateRequest>(&request, "being there", PATIENCE, |_| true).await.unwrap();
    // With the usual rights, only requests to our own issuers are approved by us.
    let found: CertificateRequest = scene.api().get(&request).await.unwrap();
    if find_condition(found.conditions(), condition::APPROVED).is_none() {
        let approved = json!([condition_value("Approved", "True", "Test", "approved by a test")]);
        answer(scene, &request, json!({ "conditions": approved })).await;
    }
    let is_approved = |request: &CertificateRequest| {
        find_condition(request.conditions(), condition::APPROVED).is_some_and(certwright::api::Condition::is_true)
    };
    scene.wait_for(&request, "being approved", PATIENCE, is_approved).await.unwrap()
}

/// The conditions of the request with another Ready.
fn conditions(request: &CertificateRequest, status: &str, reason: &str, message: &str) -> Value {
    let mut conditions = serde_json::to_value(request.conditions()).unwrap();
    conditions.as_array_mut().unwrap().push(condition_value("Ready", status, reason, message));
    conditions
}

fn condition_value(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap().to_string();
    json!({ "type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": now })
}

/// Writes a request's status as an external controller does.
async fn answer(scene: &Scene, request: &str, status: Value) {
    let patch = Patch::Merge(json!({ "status": status }));
    let requests = scene.api::<CertificateRequest>();
    requests.patch_status(request, &PatchParams::default(), &patch).await.unwrap();
}

/// Has the CSR of a request, or one for another key, signed; gives PEM of the certificate and of its CA.
async fn sign(scene: &Scene, request: &CertificateRequest, key: Option<PrivateKey>) -> (String, String) {
    let request = match key {
        Some(key) => csr(&key, &scene.dns_name("web")).into_bytes(),
        None => request.spec.request.0.clone(),
    };
    let ca = scene.issued(CA).await.unwrap().secret;
    let (crt, key) = (entry(&ca, "tls.crt"), entry(&ca, "tls.key"));
    let witness = Witness::new(&[("csr", &request), ("ca.crt", crt), ("ca.key", key)]);
    let arguments = ["x509", "-req", "-in", "csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "30"];
    let copied = ["-copy_extensions", "copy", "-set_serial", "4711"];
    let printed = witness.openssl(&[&arguments[..], &copied].concat());
    (printed, String::from_utf8(crt.to_vec()).unwrap())
}
