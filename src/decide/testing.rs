//! What the tests of several decisions share.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, sync::OnceLock};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, Time},
};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    Decision, Trouble, TroubleClass, Wake,
    owned_fields::OwnedFields,
    policy::{TEMPORARY_CA, TEMPORARY_SERIAL_NUMBER},
};
use crate::{
    api::{CertificateRequest, Condition, issuer::AcmeIssuer, names::field_manager},
    pki::{
        CertificateRequestTemplate, Encoding, Issuance, KeyAlgorithm, ParsedCertificate, ParsedRequest, PrivateKey,
        Subject, Usages,
    },
};

#[path = "../../tests/support/ca.rs"]
mod ca;

/// When the tests take place.
pub(crate) fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

/// So many seconds after [`now`].
pub(crate) fn at(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

pub(crate) const HOUR: i64 = 3600;
pub(crate) const DAY: i64 = 24 * HOUR;

pub(crate) fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

/// Says that the object is being deleted, but still held by somebody.
pub(crate) fn dying<K: Resource + Clone>(object: &K) -> K {
    let mut object = object.clone();
    object.meta_mut().deletion_timestamp = Some(Time(now()));
    object
}

/// A P-256 key, the same one for the same number.
pub(crate) fn key(number: usize) -> &'static PrivateKey {
    static KEYS: [OnceLock<PrivateKey>; 3] = [const { OnceLock::new() }; 3];
    KEYS[number].get_or_init(|| PrivateKey::generate(KeyAlgorithm::from_spec(Some("ECDSA"), None).unwrap()).unwrap())
}

pub(crate) fn pem(key: &PrivateKey) -> String {
    key.to_pem(Encoding::Pkcs8).unwrap()
}

/// A chain that a CA issued `from` until `until`, in seconds after [`now`].
pub(crate) fn chain(key: &PrivateKey, names: &[&str], from: i64, until: i64) -> String {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    ca::chain(&key.public_key_der().unwrap(), &names, at(from).as_second(), at(until).as_second())
}

/// A certificate that only fills the time until the real one is there.
pub(crate) fn temporary_chain(key: &PrivateKey) -> String {
    let issue = |template: CertificateRequestTemplate, ca: Option<&ParsedCertificate>| {
        let request = ParsedRequest::from_der(&template.build(key).unwrap()).unwrap();
        let usages = Usages::from_spec(&template.usages, template.is_ca).unwrap();
        let issuance = Issuance {
            request: &request,
            usages: &usages,
            is_ca: template.is_ca,
            not_before: now(),
            not_after: at(DAY),
            crl_distribution_points: &[],
            ocsp_servers: &[],
            issuing_certificate_urls: &[],
        };
        let der = ca.map_or_else(|| issuance.self_sign(key), |ca| issuance.sign_with_ca(ca, key));
        ParsedCertificate::from_der(&der.unwrap()).unwrap()
    };
    let template = CertificateRequestTemplate::default;
    let common_name = Some(TEMPORARY_CA.to_owned());
    let ca = issue(CertificateRequestTemplate { common_name, is_ca: true, ..template() }, None);
    let subject = Subject { serial_number: Some(TEMPORARY_SERIAL_NUMBER.to_owned()), ..Subject::default() };
    issue(CertificateRequestTemplate { subject, ..template() }, Some(&ca)).to_pem()
}

/// As [`chain`] for what a request asks for.
pub(crate) fn answer(request: &CertificateRequest, from: i64, until: i64) -> ByteString {
    let parsed = ParsedRequest::from_pem(&request.spec.request.0).unwrap();
    let (from, until) = (at(from).as_second(), at(until).as_second());
    ByteString(ca::chain(&parsed.public_key_der, &parsed.names.dns_names, from, until).into_bytes())
}

pub(crate) fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Condition {
    object(json!({
        "type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": now().to_string(),
    }))
}

pub(crate) fn trouble(class: TroubleClass, failures: u32) -> Trouble {
    let message = "Failed to try: the other side was out".to_owned();
    Trouble { message, class, failures, at: now(), retry_after: None, hold: None }
}

/// Conditions in one line each, with what tests look at.
pub(crate) fn lines(conditions: &[Condition]) -> Vec<String> {
    let line = |c: &Condition| {
        let (reason, message) = (c.reason.as_deref().unwrap_or("-"), c.message.as_deref().unwrap_or("-"));
        format!("{}={} {reason}: {message}", c.type_, c.status)
    };
    conditions.iter().map(line).collect()
}

/// The names of the steps, without what they carry.
pub(crate) fn kinds<S: std::fmt::Debug>(decision: &Decision<S>) -> Vec<String> {
    let kind = |step: &S| {
        let mut text = format!("{step:?}");
        text.truncate(text.find(['(', ' ']).unwrap_or(text.len()));
        text
    };
    decision.steps.iter().map(kind).collect()
}

pub(crate) fn seconds_until(wake: Wake) -> Option<i64> {
    wake.time().map(|at| at.duration_since(now()).as_secs())
}

pub(crate) fn named<'a, K: ResourceExt + 'a>(objects: impl IntoIterator<Item = &'a K>) -> Vec<String> {
    objects.into_iter().map(ResourceExt::name_any).collect()
}

pub(crate) fn ready(status: &str, message: &str) -> Condition {
    condition("Ready", status, "Reason", message)
}

/// An ACME issuer that answers over DNS, or over HTTP below `http.example.com`.
pub(crate) fn acme() -> AcmeIssuer {
    object(json!({
        "server": "https://ca.example/directory",
        "privateKeySecretRef": {"name": "account"},
        "solvers": [
            {"dns01": {"rfc2136": {"nameserver": "192.0.2.53"}}},
            {"http01": {"ingress": {}}, "selector": {"dnsZones": ["http.example.com"]}},
        ],
    }))
}

/// What server-side apply by our manager makes of an object that is there.
pub(crate) fn applied(held: Option<Secret>, wanted: Secret) -> Secret {
    let mut secret = held.unwrap_or_default();
    let owned = OwnedFields::of(&secret);
    let names = |map: &BTreeMap<String, String>| -> serde_json::Map<String, serde_json::Value> {
        map.keys().map(|key| (format!("f:{key}"), json!({}))).collect()
    };
    let data: serde_json::Map<_, _> =
        wanted.data.iter().flatten().map(|(key, _)| (format!("f:{key}"), json!({}))).collect();
    let mut metadata = json!({"f:labels": names(wanted.labels()), "f:annotations": names(wanted.annotations())});
    if !wanted.owner_references().is_empty() {
        metadata["f:ownerReferences"] = json!({});
    }
    secret.labels_mut().retain(|key, _| !owned.labels.contains(key));
    secret.annotations_mut().retain(|key, _| !owned.annotations.contains(key));
    secret.data.get_or_insert_default().retain(|key, _| !owned.data.contains(key));
    if owned.owner_references {
        secret.owner_references_mut().clear();
    }
    secret.labels_mut().extend(wanted.labels().clone());
    secret.annotations_mut().extend(wanted.annotations().clone());
    secret.data.get_or_insert_default().extend(wanted.data.clone().unwrap_or_default());
    secret.owner_references_mut().extend(wanted.owner_references().to_vec());
    secret.metadata.namespace = wanted.metadata.namespace;
    secret.metadata.name = wanted.metadata.name;
    secret.type_ = secret.type_.or(wanted.type_);
    secret.metadata.managed_fields = Some(vec![ManagedFieldsEntry {
        manager: Some(field_manager::ISSUING.to_owned()),
        fields_v1: Some(FieldsV1(json!({"f:metadata": metadata, "f:data": data}))),
        ..ManagedFieldsEntry::default()
    }]);
    secret
}
