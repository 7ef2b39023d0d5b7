//! Certificates: gather and act.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    Context,
    key_generation::generate_key,
    memory::Memory,
    round::{Round, event, step_name},
    step_error::StepError,
};
use crate::{
    api::{Certificate, names::field_manager},
    cluster::{Key, ObjectName, owner_entry, secret_entry},
    decide::{
        Wake,
        certificate::{CertificateStep, NextKey, SeenCertificate, decide, next_request_name},
        children,
        secret::{TLS_KEY, entry},
    },
    pki::{Encoding, PrivateKey},
};

pub(super) async fn round(context: &Context, key: &Key, memory: &mut Memory) -> Result<Round, StepError> {
    let hub = &context.cluster.hub;
    let Some(certificate) = hub.certificates.get(&key.object) else {
        *memory = Memory::default();
        return Ok(Round::Rest(Wake::OnChange));
    };
    let uid = certificate.uid().unwrap_or_default();
    memory.keep_for(&uid);
    let namespace = &key.object.namespace;
    let secret = match certificate.spec.secret_name.as_str() {
        "" => None,
        name => context.cluster.secrets.get(&ObjectName::new(namespace, name)).await?,
    };
    let owned = owner_entry(&uid);
    let mut next_keys = hub.secrets.indexed(&owned);
    next_keys.retain(|secret| children::is_next_key_secret(secret));
    let namesake = hub.certificate_requests.get(&ObjectName::new(namespace, next_request_name(&certificate)));
    let rivals = rivals(context, &certificate);
    let seen = SeenCertificate {
        certificate: &certificate,
        secret: secret.as_deref(),
        next_keys: &next_keys,
        requests: &hub.certificate_requests.indexed(&owned),
        namesake: namesake.as_deref(),
        rivals: &rivals,
        settings: &context.options.certificate,
        trouble: memory.trouble.as_ref(),
    };
    let decision = decide(&seen, Timestamp::now());
    let mut round = Round::Rest(decision.wake);
    for step in decision.steps {
        tracing::debug!(%key, step = step_name(&step), "step");
        if !matches!(step, CertificateStep::Publish(_)) {
            round = Round::Again;
        }
        let is_answer_to_trouble =
            matches!(step, CertificateStep::CreateNextKey { .. } | CertificateStep::CreateRequest { .. });
        act(context, &certificate, step).await?;
        if is_answer_to_trouble {
            memory.trouble = None;
        }
    }
    Ok(round)
}

/// The other Certificates that name the same Secret.
fn rivals(context: &Context, certificate: &Certificate) -> Vec<Arc<Certificate>> {
    let namespace = certificate.namespace().unwrap_or_default();
    let entry = secret_entry(&namespace, &certificate.spec.secret_name);
    let is_rival = |other: &Arc<Certificate>| {
        other.metadata.uid != certificate.metadata.uid
            && other.spec.secret_name == certificate.spec.secret_name
            && other.metadata.deletion_timestamp.is_none()
    };
    context.cluster.hub.certificates.indexed(&entry).into_iter().filter(is_rival).collect()
}

async fn act(context: &Context, certificate: &Certificate, step: CertificateStep) -> Result<(), StepError> {
    let cluster = &context.cluster;
    match step {
        CertificateStep::ApplySecret(secret) => {
            cluster.apply(&*secret, field_manager::ISSUING).await?;
        }
        CertificateStep::CreateNextKey { name, key } => create_next_key(context, certificate, &name, key).await?,
        CertificateStep::CreateRequest { name, revision, key_secret } => {
            create_request(context, certificate, name, revision, key_secret).await?;
        }
        CertificateStep::DeleteNextKey(secret) => cluster.delete(&*secret).await?,
        CertificateStep::DeleteRequest(request) => cluster.delete(&*request).await?,
        CertificateStep::WriteStatus(status) => {
            let former = certificate.status.clone().unwrap_or_default();
            cluster.write_status(certificate, &former, &*status).await?;
        }
        CertificateStep::Publish(note) => cluster.publish(event(note).about(certificate)),
    }
    Ok(())
}

async fn create_next_key(
    context: &Context,
    certificate: &Certificate,
    name: &str,
    key: NextKey,
) -> Result<(), StepError> {
    let pem = match key {
        NextKey::Reuse(pem) => pem,
        NextKey::Generate(algorithm) => generate_key(context, algorithm)
            .await?
            .to_pem(Encoding::Pkcs8)
            .map_err(|error| StepError::transient(format!("Failed to encode a private key: {error}")))?,
    };
    let secret = children::next_key_secret(certificate, name, pem);
    context.cluster.create(&secret).await?;
    Ok(())
}

async fn create_request(
    context: &Context,
    certificate: &Certificate,
    name: String,
    revision: i64,
    key_secret: String,
) -> Result<(), StepError> {
    let namespace = certificate.namespace().unwrap_or_default();
    let secret = context.cluster.hub.secrets.get(&ObjectName::new(&namespace, &key_secret));
    let pem = secret.as_deref().and_then(|secret| entry(secret, TLS_KEY));
    let Some(key) = pem.and_then(|pem| PrivateKey::from_pem(pem).ok()) else {
        return Err(StepError::transient(format!("The Secret {key_secret:?} with the next private key is gone")));
    };
    let copied = &context.options.copied_annotations;
    let request = children::certificate_request(certificate, name, revision, (key_secret, &key), copied)
        .map_err(StepError::is_final)?;
    context.cluster.create(&request).await?;
    Ok(())
}
