//! Certificates: gather and act.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use super::{
    Context,
    held_issuer::HeldIssuer,
    memory::Memory,
    revocation,
    round::{Round, event, step_name},
    secret,
    step_error::StepError,
};
use crate::{
    api::{
        Certificate, IssuerReference, IssuerSpec,
        names::{field_manager, finalizer},
    },
    cluster::{Key, Kind, ObjectName, owner_entry, secret_entry},
    decide::{
        Wake,
        certificate::{
            CertificateStep, HeldKey, MadeRequest, NextKey, SeenCertificate, WantedSecret, decide, next_request_name,
        },
        children,
        fallback::{Fallback, SeenSpare},
        keystore::PasswordSecrets,
        renewal_information::{Marks, SeenRenewalInformation, Source},
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
    if certificate.metadata.deletion_timestamp.is_some() && !memory.is_leaving {
        (memory.is_leaving, memory.trouble) = (true, None);
    }
    let namespace = &key.object.namespace;
    let secret = match certificate.spec.secret_name.as_str() {
        "" => None,
        name => context.cluster.secrets.get(&ObjectName::new(namespace, name)).await?,
    };
    forget_outdated_trouble(&certificate, secret.as_deref(), memory);
    let owned = owner_entry(&uid);
    let mut next_keys = hub.secrets.indexed(&owned);
    next_keys.retain(|secret| children::is_next_key_secret(secret));
    let namesake = hub.certificate_requests.get(&ObjectName::new(namespace, next_request_name(&certificate)));
    let rivals = rivals(context, &certificate);
    let put_right = memory.put_right(certificate.metadata.generation);
    let (trouble, held_key) = (memory.trouble.clone(), memory.held_key.clone());
    let (answer, made_request) = (memory.renewal_information.clone(), memory.made_request.clone());
    let passwords = passwords(context, &certificate).await?;
    let issuer = HeldIssuer::look_up(hub, &certificate.spec.issuer_ref, namespace);
    let issuer_of_secret = revocation::issuer_of(context, &certificate, secret.as_deref());
    let revoked = memory.revoked.clone();
    let seen = SeenCertificate {
        certificate: &certificate,
        secret: secret.as_deref(),
        next_keys: &next_keys,
        held_key: held_key.as_ref(),
        made_request: made_request.as_ref(),
        requests: &hub.certificate_requests.indexed(&owned),
        namesake: namesake.as_deref(),
        rivals: &rivals,
        passwords: &passwords,
        account_key_of: account_key_of(context, &certificate),
        issuer_is_acme: issuer.is_acme(),
        issuer_is_prompt: issuer.is_prompt() && context.options.approves,
        issuer_needs_no_key: issuer.needs_no_key(),
        spares: &spares(context, &certificate),
        issuer_revokes: issuer_of_secret.parts().is_some_and(|(spec, _)| spec.acme.is_some()),
        revoked: revoked.as_ref(),
        put_right: &put_right,
        renewal_information: SeenRenewalInformation {
            source: Source::of(&issuer.seen(), context.options.renewal_information),
            answer: answer.as_ref(),
            since: context.started,
        },
        settings: &context.options.certificate,
        trouble: trouble.as_ref(),
    };
    let decision = decide(&seen, Timestamp::now());
    let mut round = Round::Rest(decision.wake);
    for step in decision.steps {
        tracing::debug!(%key, step = step_name(&step), "step");
        if !matches!(step, CertificateStep::Publish(_)) {
            round = Round::Again;
        }
        let is_answer_to_trouble = is_answer_to_trouble(&step);
        if matches!(step, CertificateStep::PutSecretRight(_)) {
            memory.note_put_right(Timestamp::now());
        }
        act(context, &seen, &issuer, step, memory).await?;
        if is_answer_to_trouble {
            memory.trouble = None;
        }
    }
    Ok(round)
}

/// Trouble ends when the spec changes, or somebody makes room for the Secret: it is tried at once then.
fn forget_outdated_trouble(certificate: &Certificate, secret: Option<&Secret>, memory: &mut Memory) {
    let Some(trouble) = &memory.trouble else {
        memory.trouble_credentials = None;
        return;
    };
    // Where the other side has said when to come again, that holds.
    if trouble.retry_after.is_some() || trouble.hold.is_some() {
        return;
    }
    let about = format!("{:?}, {:?}", certificate.metadata.generation, secret.and_then(ResourceExt::uid));
    let former = memory.trouble_credentials.get_or_insert_with(|| about.clone());
    if *former != about {
        memory.trouble = None;
    }
}

/// Whether this is a step of those that can bring trouble.
fn is_answer_to_trouble(step: &CertificateStep) -> bool {
    match step {
        CertificateStep::ApplySecret(_)
        | CertificateStep::ApplyTemporary { .. }
        | CertificateStep::CreateNextKey { .. }
        | CertificateStep::CreateRequest { .. }
        | CertificateStep::HoldKey(_)
        | CertificateStep::PutSecretRight(_)
        | CertificateStep::Revoke(_) => true,
        // A key is stored because of trouble, which is still there then.
        CertificateStep::AddFinalizer
        | CertificateStep::CheckRenewalInformation { .. }
        | CertificateStep::DeleteNextKey(_)
        | CertificateStep::DeleteRequest(_)
        | CertificateStep::DropHeldKey
        | CertificateStep::Publish(_)
        | CertificateStep::RemoveFinalizer
        | CertificateStep::StoreHeldKey { .. }
        | CertificateStep::WriteStatus(_) => false,
    }
}

/// The Secrets with the passwords of its keystores, as far as they exist.
async fn passwords(context: &Context, certificate: &Certificate) -> Result<PasswordSecrets, StepError> {
    let mut found = PasswordSecrets::new();
    for name in certificate.spec.keystore_password_secrets() {
        let object = ObjectName::new(certificate.namespace().unwrap_or_default(), name);
        if let Some(secret) = context.cluster.secrets.get(&object).await? {
            found.insert(name.to_owned(), secret);
        }
    }
    Ok(found)
}

/// The issuers that the Certificate names beside its first.
fn spares(context: &Context, certificate: &Certificate) -> Vec<SeenSpare> {
    let namespace = certificate.namespace().unwrap_or_default();
    let seen = |reference: IssuerReference| {
        let issuer = HeldIssuer::look_up(&context.cluster.hub, &reference, &namespace);
        SeenSpare { is_usable: issuer.is_usable(), reference }
    };
    Fallback::of(certificate).spares.into_iter().map(seen).collect()
}

/// The issuer that keeps its ACME account key in the target Secret, if there is one.
fn account_key_of(context: &Context, certificate: &Certificate) -> Option<String> {
    let hub = &context.cluster.hub;
    let (namespace, name) = (certificate.namespace().unwrap_or_default(), &certificate.spec.secret_name);
    let keeps = |spec: &IssuerSpec| spec.acme.as_ref().is_some_and(|acme| acme.private_key_secret_ref.name == *name);
    let issuers = hub.issuers.indexed(&secret_entry(&namespace, name));
    if let Some(issuer) = issuers.iter().find(|issuer| keeps(&issuer.spec)) {
        return Some(format!("the Issuer {:?}", issuer.name_any()));
    }
    if namespace != context.options.cluster_resource_namespace {
        return None;
    }
    let issuers = hub.cluster_issuers.indexed(&secret_entry("", name));
    let issuer = issuers.iter().find(|issuer| keeps(&issuer.spec))?;
    Some(format!("the ClusterIssuer {:?}", issuer.name_any()))
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

async fn act(
    context: &Context,
    seen: &SeenCertificate<'_>,
    issuer: &HeldIssuer,
    step: CertificateStep,
    memory: &mut Memory,
) -> Result<(), StepError> {
    let (cluster, certificate) = (&context.cluster, seen.certificate);
    match step {
        CertificateStep::ApplySecret(wanted) | CertificateStep::PutSecretRight(wanted) => {
            apply_secret(context, *wanted).await?;
            memory.made_request = None;
        }
        CertificateStep::ApplyTemporary { key_secret } => apply_temporary(context, seen, &key_secret).await?,
        CertificateStep::CreateNextKey { name, key } => {
            create_next_key(context, certificate, &name, &next_key(context, certificate, key)?).await?;
        }
        CertificateStep::HoldKey(key) => {
            memory.held_key = Some(HeldKey::new(next_key(context, certificate, key)?, Timestamp::now()));
        }
        CertificateStep::StoreHeldKey { name } => {
            if let Some(held) = seen.held_key {
                create_next_key(context, certificate, &name, &held.key).await?;
            }
        }
        CertificateStep::DropHeldKey => memory.held_key = None,
        CertificateStep::CreateRequest { name, revision, key_secret, recent, issuer, marks } => {
            create_request(context, seen, name, revision, key_secret, (&recent, issuer, &marks)).await?;
            let generation = certificate.metadata.generation;
            memory.made_request = Some(MadeRequest::once_more(seen.made_request, generation, Timestamp::now()));
        }
        CertificateStep::Revoke(wish) => {
            memory.revoked = revocation::revoke(context, certificate, seen.secret, &wish).await?;
        }
        CertificateStep::AddFinalizer => {
            let mut finalizers = certificate.finalizers().to_vec();
            finalizers.push(finalizer::REVOKE.to_owned());
            cluster.write_finalizers(certificate, &finalizers).await?;
        }
        CertificateStep::RemoveFinalizer => {
            let others = certificate.finalizers().iter().filter(|set| *set != finalizer::REVOKE);
            cluster.write_finalizers(certificate, &others.cloned().collect::<Vec<_>>()).await?;
        }
        CertificateStep::CheckRenewalInformation { certificate_id } => {
            let Some(acme) = issuer.parts().and_then(|(spec, _)| spec.acme.as_ref()) else { return Ok(()) };
            let owner = Key { kind: Kind::Certificate, object: ObjectName::of(certificate) };
            let answer = context.inquiries.ask(&owner, context.accounts.client(acme), &certificate_id)?;
            memory.renewal_information = Some(answer);
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

async fn apply_secret(context: &Context, wanted: WantedSecret) -> Result<(), StepError> {
    let secret = if wanted.keystores.is_empty() {
        wanted.secret
    } else {
        // Deriving keys from passwords takes its time.
        let written = tokio::task::spawn_blocking(move || secret::with_keystores(wanted, Timestamp::now())).await;
        written.map_err(|error| StepError::transient(error.to_string()))?.map_err(StepError::transient)?
    };
    context.cluster.apply(&secret, field_manager::ISSUING).await?;
    Ok(())
}

async fn apply_temporary(context: &Context, seen: &SeenCertificate<'_>, key_secret: &str) -> Result<(), StepError> {
    let held =
        context.cluster.hub.secrets.get(&ObjectName::new(seen.certificate.namespace().unwrap_or_default(), key_secret));
    let key = held.as_deref().and_then(|held| entry(held, TLS_KEY)).unwrap_or_default();
    let secret = secret::temporary(seen.certificate, seen.secret, key, Timestamp::now())
        .map_err(|error| StepError::transient(format!("Failed to make a temporary certificate: {error}")))?;
    context.cluster.apply(&secret, field_manager::ISSUING).await?;
    Ok(())
}

async fn create_next_key(
    context: &Context,
    certificate: &Certificate,
    name: &str,
    key: &PrivateKey,
) -> Result<(), StepError> {
    let pem = key
        .to_pem(Encoding::Pkcs8)
        .map_err(|error| StepError::transient(format!("Failed to encode a private key: {error}")))?;
    let secret = children::next_key_secret(certificate, name, pem);
    context.cluster.create(&secret).await?;
    Ok(())
}

fn next_key(context: &Context, certificate: &Certificate, key: NextKey) -> Result<PrivateKey, StepError> {
    match key {
        NextKey::Reuse(pem) => PrivateKey::from_pem(pem.as_bytes())
            .map_err(|error| StepError::transient(format!("Failed to read a private key: {error}"))),
        NextKey::Generate(algorithm) => {
            let owner = Key { kind: Kind::Certificate, object: ObjectName::of(certificate) };
            context.keys.generate(&owner, algorithm)
        }
    }
}

async fn create_request(
    context: &Context,
    seen: &SeenCertificate<'_>,
    name: String,
    revision: i64,
    key_secret: String,
    (recent, issuer, marks): (&[Timestamp], IssuerReference, &Marks),
) -> Result<(), StepError> {
    let certificate = seen.certificate;
    let namespace = certificate.namespace().unwrap_or_default();
    let secret = context.cluster.hub.secrets.get(&ObjectName::new(&namespace, &key_secret));
    let stored = secret.as_deref().and_then(|secret| PrivateKey::from_pem(entry(secret, TLS_KEY)?).ok());
    let Some(key) = stored.or_else(|| Some(seen.held_key?.key.clone())) else {
        return Err(StepError::transient(format!("The Secret {key_secret:?} with the next private key is gone")));
    };
    let copied = &context.options.copied_annotations;
    let manner = (copied, context.options.certificate.features);
    let mut request = children::certificate_request(certificate, name, revision, (key_secret, &key), recent, manner)
        .map_err(StepError::is_final)?;
    request.spec.issuer_ref = issuer;
    marks.put_on(&mut request);
    context.cluster.create(&request).await?;
    Ok(())
}
