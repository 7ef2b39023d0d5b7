//! As `controller::certificate`.

use std::sync::Arc;

use certwright::{
    api::Certificate,
    cluster::{Key, ObjectName, owner_entry, secret_entry},
    decide::{
        Wake,
        certificate::{CertificateStep, NextKey, SeenCertificate, Settings, decide, next_request_name},
        children,
        secret::{TLS_KEY, entry},
        template::CopiedAnnotations,
    },
    pki::{Encoding, PrivateKey},
};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use super::publish;
use crate::{
    process::{Failure, Memory, Process, Round},
    world::{World, is_final, transient},
};

pub fn round(process: &mut Process, world: &mut World, key: &Key, memory: &mut Memory) -> Result<Round, Failure> {
    let hub = process.hub.clone();
    let Some(certificate) = hub.certificates.get(&key.object) else {
        *memory = Memory::default();
        return Ok(Round::Rest(Wake::OnChange));
    };
    let uid = certificate.uid().unwrap_or_default();
    memory.of(&uid);
    let namespace = &key.object.namespace;
    let secret_name = ObjectName::new(namespace, &certificate.spec.secret_name);
    // Secrets of others are read each time.
    let secret = hub.secrets.get(&secret_name).map(|held| (*held).clone()).or_else(|| world.server.get(&secret_name));
    let owned = owner_entry(&uid);
    let mut next_keys = hub.secrets.indexed(&owned);
    next_keys.retain(|secret| children::is_next_key_secret(secret));
    let namesake = hub.certificate_requests.get(&ObjectName::new(namespace, next_request_name(&certificate)));
    let mut rivals = hub.certificates.indexed(&secret_entry(namespace, &certificate.spec.secret_name));
    rivals.retain(|other| {
        other.metadata.uid != certificate.metadata.uid
            && other.spec.secret_name == certificate.spec.secret_name
            && other.metadata.deletion_timestamp.is_none()
    });
    let seen = SeenCertificate {
        certificate: &certificate,
        secret: secret.as_ref(),
        next_keys: &next_keys,
        requests: &hub.certificate_requests.indexed(&owned),
        namesake: namesake.as_deref(),
        rivals: &rivals,
        settings: &Settings::default(),
        trouble: memory.trouble.as_ref(),
    };
    let decision = decide(&seen, world.now());
    let mut round = Round::Rest(decision.wake);
    for step in decision.steps {
        if !matches!(step, CertificateStep::Publish(_)) {
            round = Round::Again;
        }
        let is_answer_to_trouble =
            matches!(step, CertificateStep::CreateNextKey { .. } | CertificateStep::CreateRequest { .. });
        act(process, world, &certificate, step)?;
        if is_answer_to_trouble {
            memory.trouble = None;
        }
    }
    Ok(round)
}

fn act(
    process: &Process,
    world: &mut World,
    certificate: &Arc<Certificate>,
    step: CertificateStep,
) -> Result<(), Failure> {
    let hub = &process.hub;
    match step {
        CertificateStep::ApplySecret(secret) => world.api_apply::<Secret>(hub, &secret),
        CertificateStep::CreateNextKey { name, key } => {
            let pem = match key {
                NextKey::Reuse(pem) => pem,
                NextKey::Generate(algorithm) => {
                    PrivateKey::generate(algorithm).and_then(|key| key.to_pem(Encoding::Pkcs8)).expect("a key")
                }
            };
            world.api_create(hub, &children::next_key_secret(certificate, &name, pem))
        }
        CertificateStep::CreateRequest { name, revision, key_secret } => {
            let namespace = certificate.namespace().unwrap_or_default();
            let secret = hub.secrets.get(&ObjectName::new(namespace, &key_secret));
            let pem = secret.as_deref().and_then(|secret| entry(secret, TLS_KEY));
            let Some(key) = pem.and_then(|pem| PrivateKey::from_pem(pem).ok()) else {
                return Err(transient("the next private key is gone".to_owned()));
            };
            let copied = CopiedAnnotations::default();
            let request = children::certificate_request(certificate, name, revision, (key_secret, &key), &copied);
            world.api_create(hub, &request.map_err(is_final)?)
        }
        CertificateStep::DeleteNextKey(secret) => world.api_delete(hub, &*secret),
        CertificateStep::DeleteRequest(request) => world.api_delete(hub, &*request),
        CertificateStep::WriteStatus(status) => {
            world.api_status(hub, &**certificate, &certificate.status.clone().unwrap_or_default(), &*status)
        }
        CertificateStep::Publish(note) => {
            publish(world, &certificate.name_any(), &note);
            Ok(())
        }
    }
}
