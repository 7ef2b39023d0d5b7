//! The objects that a Certificate's issuance is made of.

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{Resource, ResourceExt, api::ObjectMeta};

use super::{
    secret::TLS_KEY,
    template::{self, CopiedAnnotations},
};
use crate::{
    api::{
        Certificate, CertificateRequest, CertificateRequestSpec,
        names::{annotation, label},
    },
    pki::PrivateKey,
};

/// The Secret that holds the private key, as PEM, while a certificate for it is being issued.
pub fn next_key_secret(certificate: &Certificate, name: &str, pem: String) -> Secret {
    let labels = [(label::NEXT_PRIVATE_KEY, label::TRUE), (label::FAO, label::TRUE)];
    Secret {
        metadata: ObjectMeta {
            namespace: certificate.namespace(),
            name: Some(name.to_owned()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            owner_references: owner_references(certificate),
            ..ObjectMeta::default()
        },
        data: Some([(TLS_KEY.to_owned(), ByteString(pem.into_bytes()))].into()),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

/// Whether a Secret is labelled as one of [`next_key_secret`].
pub fn is_next_key_secret(secret: &Secret) -> bool {
    secret.labels().get(label::NEXT_PRIVATE_KEY).is_some_and(|value| value == label::TRUE)
}

/// The owner reference of a child, as cert-manager sets it: with foreground deletion the owner stays until it is gone.
pub fn owner_references<K: Resource<DynamicType = ()>>(owner: &K) -> Option<Vec<OwnerReference>> {
    let reference = owner.controller_owner_ref(&())?;
    Some(vec![OwnerReference { block_owner_deletion: Some(true), ..reference }])
}

/// Whether the object with this metadata is controlled by exactly this object, not by a former one of its name.
pub fn is_owned_by<K: Resource>(metadata: &ObjectMeta, owner: &K) -> bool {
    let uid = owner.meta().uid.as_deref().unwrap_or_default();
    metadata
        .owner_references
        .iter()
        .flatten()
        .any(|reference| reference.controller == Some(true) && reference.uid == uid)
}

/// The CertificateRequest for one revision, signed with the key that lies in the Secret `key_secret`. It notes when the
/// recent ones before it were made.
///
/// # Errors
/// In words for people, when no certificate request can be made from the spec and this key.
pub fn certificate_request(
    certificate: &Certificate,
    name: String,
    revision: i64,
    (key_secret, key): (String, &PrivateKey),
    recent: &[Timestamp],
    copied: &CopiedAnnotations,
) -> Result<CertificateRequest, String> {
    let spec = &certificate.spec;
    let csr = template::request_template(spec)
        .map_err(|error| error.to_string())
        .and_then(|template| template.build_pem(key).map_err(|error| error.to_string()))
        .map_err(|error| format!("Failed to generate CSR: {error}"))?;
    let mut annotations = copied.filter(certificate.annotations());
    annotations.insert(annotation::CERTIFICATE_NAME.to_owned(), certificate.name_any());
    annotations.insert(annotation::CERTIFICATE_REVISION.to_owned(), revision.to_string());
    annotations.insert(annotation::PRIVATE_KEY_SECRET_NAME.to_owned(), key_secret);
    // Whatever else is copied: the order is made from it.
    let profile = certificate.annotations().get_key_value(annotation::PROFILE);
    annotations.extend(profile.map(|(key, value)| (key.clone(), value.clone())));
    if !recent.is_empty() {
        let times: Vec<_> = recent.iter().map(ToString::to_string).collect();
        annotations.insert(annotation::RECENT_ISSUANCES.to_owned(), times.join(","));
    }
    if let Some(end) = certificate.status.as_ref().and_then(|status| status.not_after.as_ref()) {
        annotations.insert(annotation::EXPIRES.to_owned(), end.0.to_string());
    }
    Ok(CertificateRequest {
        metadata: ObjectMeta {
            namespace: certificate.namespace(),
            name: Some(name),
            labels: certificate.metadata.labels.clone(),
            annotations: Some(annotations),
            owner_references: owner_references(certificate),
            ..ObjectMeta::default()
        },
        spec: CertificateRequestSpec {
            duration: spec.duration.clone(),
            issuer_ref: spec.issuer_ref.clone(),
            request: ByteString(csr.into_bytes()),
            is_ca: spec.is_ca,
            usages: spec.usages.clone(),
            ..CertificateRequestSpec::default()
        },
        status: None,
    })
}
