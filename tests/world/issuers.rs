//! Issuers that sign without ACME, and what they sign with.

use certwright::{
    api::{Certificate, CertificateRequest, Issuer},
    cluster::ObjectName,
    decide::secret::{TLS_CERT, TLS_KEY},
    pki::{
        CertificateRequestTemplate, Curve, Encoding, Issuance, KeyAlgorithm, ParsedCertificate, ParsedRequest,
        PrivateKey, Usages,
    },
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use serde_json::{Value, json};

use super::{
    authority::ca,
    world::{NAMESPACE, World, certificate, object_of, start},
};

/// The Secret with the key pair of the CA issuer.
pub const CA_SECRET: &str = "ca-pair";

/// How long the CA lives.
const CA_LIFETIME: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);

/// A world with one issuer of each kind: `le`, `ca` and `self`.
pub async fn world_of_issuers() -> World {
    let mut world = World::new();
    world.create(&ca_secret(start() + CA_LIFETIME));
    world.create::<Issuer>(&issuer("ca", &json!({"ca": {"secretName": CA_SECRET}})));
    world.create::<Issuer>(&issuer("self", &json!({"selfSigned": {}})));
    world.run(60).await;
    world.take_writes();
    world.events.clear();
    world
}

/// The same with a Certificate `web` of this issuer that was just issued.
pub async fn issued_by(issuer: &str) -> World {
    let mut world = world_of_issuers().await;
    world.create(&certificate_of("web", issuer));
    world.run(30).await;
    assert!(world.is_ready("web"), "{:?}", world.get::<Certificate>("web").status);
    world
}

/// A Certificate for `NAME.example.com`.
pub fn certificate_of(name: &str, issuer: &str) -> Certificate {
    let mut certificate = certificate(name, &[&format!("{name}.example.com")]);
    certificate.spec.issuer_ref.name = issuer.into();
    if issuer == "external" {
        certificate.spec.issuer_ref.group = Some("example.com".to_owned());
    }
    certificate
}

/// A Secret with a new CA that lives until then.
pub fn ca_secret(until: Timestamp) -> Secret {
    let key = PrivateKey::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap();
    let template = CertificateRequestTemplate {
        common_name: Some("CA of the model world".to_owned()),
        is_ca: true,
        ..CertificateRequestTemplate::default()
    };
    let der = Issuance {
        request: &ParsedRequest::from_der(&template.build(&key).unwrap()).unwrap(),
        usages: &Usages::from_spec::<String>(&[], true).unwrap(),
        is_ca: true,
        not_before: start() - SignedDuration::from_hours(1),
        not_after: until,
        crl_distribution_points: &[],
        ocsp_servers: &[],
        issuing_certificate_urls: &[],
    }
    .self_sign(&key)
    .unwrap();
    let mut secret: Secret = object_of(json!({
        "metadata": {"name": CA_SECRET, "namespace": NAMESPACE}, "type": "kubernetes.io/tls",
    }));
    let data = [
        (TLS_CERT.to_owned(), ByteString(ParsedCertificate::from_der(&der).unwrap().to_pem().into_bytes())),
        (TLS_KEY.to_owned(), ByteString(key.to_pem(Encoding::Pkcs8).unwrap().into_bytes())),
    ];
    secret.data = Some(data.into());
    secret
}

/// Puts another CA into the CA issuer's Secret.
pub fn replace_ca(world: &mut World, until: Timestamp) {
    let data = ca_secret(until).data;
    world.edit::<Secret>(CA_SECRET, |held| held.data = data);
}

/// What is in the CA issuer's Secret is of no use any more.
pub fn spoil_ca(world: &mut World) {
    world.edit::<Secret>(CA_SECRET, |held| {
        held.data = Some([(TLS_CERT.to_owned(), ByteString(b"garbage".to_vec()))].into());
    });
}

/// An external issuer answers every request that has no answer yet, with a certificate for another key if `wrongly`.
pub fn answer_as_external_issuer(world: &mut World, wrongly: bool) {
    for request in world.server.list::<CertificateRequest>() {
        let is_unanswered = request.status.as_ref().is_none_or(|status| status.certificate.is_none());
        if request.spec.issuer_ref.is_ours() || !is_unanswered {
            continue;
        }
        let parsed = ParsedRequest::from_pem(&request.spec.request.0).unwrap();
        let mut key = parsed.public_key_der.clone();
        if wrongly {
            let other = PrivateKey::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap();
            key = other.public_key_der().unwrap();
        }
        let from = world.now();
        let until = from + SignedDuration::from_hours(90 * 24);
        let chain = ca::chain(&key, &parsed.names.dns_names, from.as_second(), until.as_second());
        let ready = json!({
            "type": "Ready", "status": "True", "reason": "Issued", "message": "here you are",
            "lastTransitionTime": Timestamp::from_second(from.as_second()).unwrap().to_string(),
        });
        answer(world, &ObjectName::of(&request).name, ready, Some(chain));
    }
}

/// Somebody writes a condition, and perhaps a certificate, into the status of a CertificateRequest.
pub fn answer(world: &mut World, request: &str, condition: Value, certificate: Option<String>) {
    world.edit::<CertificateRequest>(request, |held| {
        let status = held.status.get_or_insert_default();
        let condition: certwright::api::Condition = object_of(condition);
        status.conditions.retain(|other| other.type_ != condition.type_);
        status.conditions.push(condition);
        status.certificate = certificate.map(|chain| ByteString(chain.into_bytes()));
    });
}

pub fn issuer(name: &str, spec: &Value) -> Issuer {
    object_of(json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Issuer",
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec,
    }))
}
