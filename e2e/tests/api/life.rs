//! The full life of Certificates, with issuers that need nobody else; `openssl` and `keytool` are the witnesses.

#[path = "life/chain.rs"]
mod chain;
#[path = "life/fields.rs"]
mod fields;
#[path = "life/keys.rs"]
mod keys;
#[path = "life/keystores.rs"]
mod keystores;
#[path = "life/others.rs"]
mod others;
#[path = "life/renewal.rs"]
mod renewal;
#[path = "life/upkeep.rs"]
mod upkeep;
#[path = "life/witness.rs"]
mod witness;

use certwright::api::names::condition;
use certwright::api::{Certificate, CertificateRequest, Issuer, find_condition};
use certwright_e2e::Scene;
use certwright_e2e::scene::{Conditions as _, Issued, PATIENCE, certificate_spec, is_ready};
use certwright_e2e::wait::until;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use crate::support::scene;

/// The Issuer that signs with the key in the Secret [`CA_SECRET`].
const CA: &str = "ca";
const CA_SECRET: &str = "ca-tls";
/// The Issuer whose certificates sign themselves.
const ROOT: &str = "root";

/// A fresh namespace with the Issuer [`CA`], whose certificate comes from the Issuer [`ROOT`].
pub async fn ca_scene(prefix: &str) -> Scene {
    let scene = scene(prefix).await;
    scene.create::<Issuer>(ROOT, json!({ "selfSigned": {} })).await.unwrap();
    let authority = json!({ "isCA": true, "commonName": format!("{prefix} CA"), "issuerRef": { "name": ROOT } });
    create(&scene, CA, authority).await;
    scene.issued(CA).await.unwrap();
    scene.create::<Issuer>(CA, json!({ "ca": { "secretName": CA_SECRET } })).await.unwrap();
    scene.wait_ready::<Issuer>(CA).await.unwrap();
    scene
}

/// Creates a Certificate of the Issuer [`CA`] for one DNS name, with a P-256 key; `more` goes before that, and `null` in
/// it takes a field away.
async fn create(scene: &Scene, name: &str, more: Value) -> Certificate {
    let mut spec = certificate_spec(name, "Issuer", CA, &[&scene.dns_name(name)]);
    spec["privateKey"] = json!({ "algorithm": "ECDSA" });
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    spec.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    scene.create(name, spec).await.unwrap()
}

/// [`create`], and what is issued.
async fn issue(scene: &Scene, name: &str, more: Value) -> Issued {
    create(scene, name, more).await;
    scene.issued(name).await.unwrap()
}

/// Waits until the Certificate is ready with this revision and nothing is under way.
pub async fn of_revision(scene: &Scene, name: &str, revision: i64) -> Issued {
    let is_there = |certificate: &Certificate| {
        is_ready(certificate)
            && find_condition(certificate.conditions(), condition::ISSUING).is_none()
            && certificate.status.as_ref().and_then(|status| status.revision) == Some(revision)
    };
    let what = format!("being ready with revision {revision}");
    scene.wait_for::<Certificate>(name, &what, PATIENCE, is_there).await.unwrap();
    scene.issued(name).await.unwrap()
}

/// Waits until the Certificate's Secret is as `wanted` says.
async fn secret_that(scene: &Scene, name: &str, what: &str, wanted: impl FnMut(&Secret) -> bool) -> Secret {
    scene.wait_for::<Secret>(&format!("{name}-tls"), what, PATIENCE, wanted).await.unwrap()
}

/// One entry of a Secret.
fn entry<'a>(secret: &'a Secret, name: &str) -> &'a [u8] {
    let data = secret.data.as_ref().unwrap();
    &data.get(name).unwrap_or_else(|| panic!("no {name} among {:?}", data.keys())).0
}

/// The message of the condition Ready.
pub fn ready_message(certificate: &Certificate) -> String {
    let ready = find_condition(certificate.conditions(), condition::READY).unwrap();
    ready.message.clone().unwrap_or_default()
}

/// Asks for a new certificate as `cmctl renew` does: by a condition.
pub async fn ask_for_renewal(scene: &Scene, name: &str) {
    let ask = async || ask_once(scene, name).await.map(Some);
    until("the wish for another certificate to be taken", PATIENCE, ask).await.unwrap();
}

/// Refused if somebody else has written meanwhile.
async fn ask_once(scene: &Scene, name: &str) -> kube::Result<()> {
    let certificates = scene.api::<Certificate>();
    let certificate = certificates.get(name).await?;
    let mut conditions = serde_json::to_value(certificate.conditions()).unwrap();
    let conditions_but_issuing = conditions.as_array_mut().unwrap();
    conditions_but_issuing.retain(|other| other["type"] != condition::ISSUING);
    conditions_but_issuing.push(json!({
        "type": condition::ISSUING,
        "status": "True",
        "reason": "ManuallyTriggered",
        "message": "Certificate re-issuance manually triggered",
        "lastTransitionTime": jiff::Timestamp::now().to_string(),
        "observedGeneration": certificate.metadata.generation,
    }));
    let read = json!({ "resourceVersion": certificate.metadata.resource_version });
    let patch = kube::api::Patch::Merge(json!({ "metadata": read, "status": { "conditions": conditions } }));
    certificates.patch_status(name, &kube::api::PatchParams::default(), &patch).await.map(drop)
}

/// Names of all CertificateRequests of the namespace but the CA's own, in order.
async fn request_names(scene: &Scene) -> Vec<String> {
    let requests: Vec<CertificateRequest> = scene.list().await.unwrap();
    let mut names: Vec<String> = requests.into_iter().filter_map(|request| request.metadata.name).collect();
    names.retain(|name| !name.starts_with("ca-"));
    names.sort_unstable();
    names
}
