//! Issuers and ClusterIssuers: gather and act.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Resource, api::ObjectMeta};

use super::{
    Context,
    account::{read_account_key, secrets_namespace},
    held_issuer::HeldIssuer,
    memory::Memory,
    round::{Round, event, step_name},
    signer::read_authority,
    step_error::StepError,
};
use crate::{
    acme::{ExternalAccountBinding, MacAlgorithm, Registration as AcmeRegistration},
    api::{
        ClusterIssuer, Issuer, IssuerStatus,
        issuer::AcmeIssuer,
        names::{annotation, label},
    },
    cluster::{Key, Kind, ObjectName},
    decide::{
        Wake,
        issuer::{AccountKey, IssuerStep, Registration, SeenIssuer, account_key_entry, contact_email, decide},
        secret,
    },
    pki::{Encoding, KeyAlgorithm, PrivateKey},
};

pub(super) async fn round(context: &Context, key: &Key, memory: &mut Memory) -> Result<Round, StepError> {
    let Some(issuer) = held(context, key) else {
        *memory = Memory::default();
        return Ok(Round::Rest(Wake::OnChange));
    };
    let Some((spec, status)) = issuer.parts() else { return Ok(Round::Rest(Wake::OnChange)) };
    let metadata = metadata(&issuer);
    memory.keep_for(metadata.uid.as_deref().unwrap_or_default());
    let namespace = secrets_namespace(context, &issuer, &key.object.namespace);
    let account_key = look_at_key(context, spec.acme.as_ref(), &namespace).await?;
    let binding = binding_version(context, spec.acme.as_ref(), &namespace).await?;
    let authority = match &spec.ca {
        Some(ca) if spec.acme.is_none() && !ca.secret_name.is_empty() => {
            Some(read_authority(context, &ObjectName::new(&namespace, &ca.secret_name)).await?)
        }
        _ => None,
    };
    let fingerprint = format!("{:?} {account_key:?} {binding:?}", metadata.generation);
    if memory.issuer_fingerprint != fingerprint {
        memory.issuer_fingerprint = fingerprint;
        memory.registration = None;
        memory.trouble = None;
    }
    let seen = SeenIssuer {
        generation: metadata.generation,
        deleting: metadata.deletion_timestamp.is_some(),
        spec,
        tls_alpn_01: issuer.annotation(annotation::TLS_ALPN_01),
        status,
        account_key: &account_key,
        authority: authority.as_ref(),
        registration: memory.registration.as_ref(),
        trouble: memory.trouble.as_ref(),
    };
    let decision = decide(&seen, Timestamp::now());
    let mut round = Round::Rest(decision.wake);
    for step in decision.steps {
        tracing::debug!(%key, step = step_name(&step), "step");
        if !matches!(step, IssuerStep::Publish(_)) {
            round = Round::Again;
        }
        act(context, key, &issuer, &namespace, step, memory).await?;
    }
    Ok(round)
}

fn held(context: &Context, key: &Key) -> Option<HeldIssuer> {
    let hub = &context.cluster.hub;
    match key.kind {
        Kind::ClusterIssuer => hub.cluster_issuers.get(&key.object).map(HeldIssuer::ClusterIssuer),
        _ => hub.issuers.get(&key.object).map(HeldIssuer::Issuer),
    }
}

fn metadata(issuer: &HeldIssuer) -> ObjectMeta {
    match issuer {
        HeldIssuer::ClusterIssuer(issuer) => issuer.meta().clone(),
        HeldIssuer::Issuer(issuer) => issuer.meta().clone(),
        _ => ObjectMeta::default(),
    }
}

async fn look_at_key(context: &Context, acme: Option<&AcmeIssuer>, namespace: &str) -> Result<AccountKey, StepError> {
    let Some(acme) = acme else { return Ok(AccountKey::Missing) };
    if acme.private_key_secret_ref.is_unset() {
        let text = "spec.acme.privateKeySecretRef.name is empty; name the Secret that shall hold the account key";
        return Ok(AccountKey::Unusable(text.to_owned()));
    }
    let name = ObjectName::new(namespace, &acme.private_key_secret_ref.name);
    let held = context.cluster.secrets.get(&name).await?;
    if held.as_deref().and_then(|held| secret::entry(held, account_key_entry(acme))).is_none() {
        return Ok(AccountKey::Missing);
    }
    Ok(match read_account_key(context, acme, namespace).await? {
        Ok(key) => AccountKey::Usable { hash: key_hash(&key) },
        Err(why) => AccountKey::Unusable(why),
    })
}

/// base64 of the SHA-256 of the key: of its PKCS#1 form, as cert-manager has it; of its public key if it is not RSA.
fn key_hash(key: &PrivateKey) -> String {
    let der = key.pkcs1_der().or_else(|| key.public_key_der().ok()).unwrap_or_default();
    BASE64_STANDARD.encode(digest(&SHA256, &der))
}

/// Changes whenever the Secret of the external account binding does.
async fn binding_version(
    context: &Context,
    acme: Option<&AcmeIssuer>,
    namespace: &str,
) -> Result<Option<String>, StepError> {
    let Some(binding) = acme.and_then(|acme| acme.external_account_binding.as_ref()) else { return Ok(None) };
    let name = ObjectName::new(namespace, &binding.key_secret_ref.name);
    let secret = context.cluster.secrets.get(&name).await?;
    Ok(secret.and_then(|secret| secret.metadata.resource_version.clone()))
}

async fn act(
    context: &Context,
    key: &Key,
    issuer: &HeldIssuer,
    namespace: &str,
    step: IssuerStep,
    memory: &mut Memory,
) -> Result<(), StepError> {
    let acme = issuer.parts().and_then(|(spec, _)| spec.acme.as_ref());
    match step {
        IssuerStep::CreateAccountKey => {
            let Some(acme) = acme else { return Ok(()) };
            create_account_key(context, key, acme, namespace).await?;
        }
        IssuerStep::Register => {
            let Some(acme) = acme else { return Ok(()) };
            memory.registration = Some(register(context, acme, namespace).await?);
            memory.trouble = None;
        }
        IssuerStep::WriteStatus(status) => write_status(context, issuer, &status).await?,
        IssuerStep::Publish(note) => match issuer {
            HeldIssuer::ClusterIssuer(issuer) => context.cluster.publish(event(note).about::<ClusterIssuer>(issuer)),
            HeldIssuer::Issuer(issuer) => context.cluster.publish(event(note).about::<Issuer>(issuer)),
            _ => {}
        },
    }
    Ok(())
}

async fn write_status(context: &Context, issuer: &HeldIssuer, status: &IssuerStatus) -> Result<(), StepError> {
    let former = |status: &Option<IssuerStatus>| status.clone().unwrap_or_default();
    match issuer {
        HeldIssuer::ClusterIssuer(issuer) => {
            context.cluster.write_status::<ClusterIssuer, _>(issuer, &former(&issuer.status), status).await?;
        }
        HeldIssuer::Issuer(issuer) => {
            context.cluster.write_status::<Issuer, _>(issuer, &former(&issuer.status), status).await?;
        }
        _ => {}
    }
    Ok(())
}

/// A Secret that is there already keeps everything else that it holds.
async fn create_account_key(context: &Context, key: &Key, acme: &AcmeIssuer, namespace: &str) -> Result<(), StepError> {
    let key = context.keys.generate(key, KeyAlgorithm::Rsa(2048))?;
    let pem = key
        .to_pem(Encoding::Pkcs1)
        .map_err(|error| StepError::transient(format!("Failed to encode the ACME account key: {error}")))?;
    let labels = [
        (label::MANAGED_BY, label::MANAGED_BY_CERT_MANAGER),
        // So that it is read from the store and not from the API server each time.
        (label::FAO, label::TRUE),
    ];
    let secret = Secret {
        metadata: ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some(acme.private_key_secret_ref.name.clone()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            ..ObjectMeta::default()
        },
        data: Some([(account_key_entry(acme).to_owned(), ByteString(pem.into_bytes()))].into()),
        ..Secret::default()
    };
    let name = ObjectName::of(&secret);
    if context.cluster.secrets.get(&name).await?.is_some() {
        context.cluster.apply(&secret, crate::api::names::field_manager::CERTWRIGHT).await?;
    } else {
        context.cluster.create(&Secret { type_: Some("Opaque".to_owned()), ..secret }).await?;
    }
    Ok(())
}

async fn register(context: &Context, acme: &AcmeIssuer, namespace: &str) -> Result<Registration, StepError> {
    const DOING: &str = "Failed to register ACME account";
    let failed = |error: &crate::acme::Error| StepError::from_acme(DOING, error);
    let key = read_account_key(context, acme, namespace).await?.map_err(StepError::transient)?;
    let client = context.accounts.client(acme).map_err(|error| failed(&error))?;
    let email = contact_email(acme);
    let contacts: Vec<String> =
        Some(&email).filter(|email| !email.is_empty()).map(|email| format!("mailto:{email}")).into_iter().collect();
    let registration = AcmeRegistration {
        contacts: contacts.clone(),
        external_account_binding: external_account_binding(context, acme, namespace).await?,
        terms_of_service_agreed: true,
    };
    let account = client.register(&key, &registration).await.map_err(|error| failed(&error))?;
    // Some CAs do not show contacts at all; asking those to change what they do not show would never end.
    if !account.created && !account.body.contacts.is_empty() && account.body.contacts != contacts {
        client
            .update_contacts(&key, &account.url, &contacts)
            .await
            .map_err(|error| StepError::from_acme("Failed to update ACME account", &error))?;
    }
    Ok(Registration { uri: account.url, email })
}

async fn external_account_binding(
    context: &Context,
    acme: &AcmeIssuer,
    namespace: &str,
) -> Result<Option<ExternalAccountBinding>, StepError> {
    let Some(binding) = &acme.external_account_binding else { return Ok(None) };
    let name = ObjectName::new(namespace, &binding.key_secret_ref.name);
    let entry_name = binding.key_secret_ref.key.clone().unwrap_or_default();
    let wrong = |what: &str| StepError::is_final(format!("The Secret {name} with the external account key {what}"));
    let held: Option<Arc<Secret>> = context.cluster.secrets.get(&name).await?;
    let Some(held) = held else { return Err(wrong("does not exist")) };
    let Some(value) = secret::entry(&held, &entry_name) else {
        return Err(wrong(&format!("has nothing under {entry_name:?}")));
    };
    let text = String::from_utf8_lossy(value);
    let text = text.trim().trim_end_matches('=').replace('+', "-").replace('/', "_");
    let mac_key = base64::prelude::BASE64_URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| wrong(&format!("has under {entry_name:?} something that is not base64url")))?;
    Ok(Some(ExternalAccountBinding { key_id: binding.key_id.clone(), mac_key, algorithm: MacAlgorithm::Hs256 }))
}
