//! As `controller::certificate`.

use certwright::{
    api::{
        Certificate, IssuerReference,
        issuer::AcmeIssuer,
        names::{annotation, finalizer},
    },
    cluster::{Hub, Key, ObjectName, owner_entry, secret_entry},
    controller::secret,
    decide::{
        TroubleClass, Wake,
        certificate::{
            CertificateStep, Features, HeldKey, MadeRequest, NextKey, SeenCertificate, decide, next_request_name,
        },
        children,
        fallback::{Fallback, SeenSpare},
        keystore::PasswordSecrets,
        policy,
        renewal_information::{Answer, Found, SeenRenewalInformation, Source},
        revocation::Revoked,
        secret::{TLS_KEY, entry},
        template::CopiedAnnotations,
    },
    pki::{Encoding, PrivateKey},
};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use super::{HeldIssuer, publish, read_secret};
use crate::{
    authority::CaSuggestion,
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
    if certificate.metadata.deletion_timestamp.is_some() && !memory.is_leaving {
        (memory.is_leaving, memory.trouble) = (true, None);
    }
    let namespace = &key.object.namespace;
    let secret_name = ObjectName::new(namespace, &certificate.spec.secret_name);
    let secret = match certificate.spec.secret_name.as_str() {
        "" => None,
        _ => read_secret(process, world, &secret_name),
    };
    forget_outdated_trouble(&certificate, secret.as_deref(), memory);
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
    let mut passwords = PasswordSecrets::new();
    for name in certificate.spec.keystore_password_secrets() {
        let found = read_secret(process, world, &ObjectName::new(namespace, name));
        passwords.extend(found.map(|found| (name.to_owned(), found)));
    }
    let issuer = HeldIssuer::look_up(&hub, namespace, &certificate.spec.issuer_ref);
    let put_right = memory.put_right(certificate.metadata.generation);
    let (trouble, held_key) = (memory.trouble.clone(), memory.held_key.clone());
    let spares = spares(&hub, &certificate);
    let issuer_revokes = secret.as_ref().is_some_and(|secret| can_be_revoked(&hub, &certificate, secret));
    let revoked = memory.revoked.clone();
    let (answer, made_request) = (memory.renewal_information.clone(), memory.made_request.clone());
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
        account_key_of: account_key_of(&hub, &certificate),
        issuer_is_acme: issuer.is_acme(),
        issuer_is_prompt: issuer.is_prompt() && world.approves,
        issuer_needs_no_key: issuer.needs_no_key(),
        spares: &spares,
        issuer_revokes,
        revoked: revoked.as_ref(),
        put_right: &put_right,
        renewal_information: SeenRenewalInformation {
            source: Source::of(&issuer.seen(), true),
            answer: answer.as_ref(),
            since: process.since,
        },
        settings: &world.settings.clone(),
        trouble: trouble.as_ref(),
    };
    let decision = decide(&seen, world.now());
    let mut round = Round::Rest(decision.wake);
    for step in decision.steps {
        if !matches!(step, CertificateStep::Publish(_)) {
            round = Round::Again;
        }
        let is_answer_to_trouble = matches!(
            step,
            CertificateStep::ApplySecret(_)
                | CertificateStep::ApplyTemporary { .. }
                | CertificateStep::CreateNextKey { .. }
                | CertificateStep::CreateRequest { .. }
                | CertificateStep::HoldKey(_)
                | CertificateStep::PutSecretRight(_)
                | CertificateStep::Revoke(_)
        );
        if matches!(step, CertificateStep::PutSecretRight(_)) {
            memory.note_put_right(world.now());
        }
        act(process, world, &seen, step, memory)?;
        if is_answer_to_trouble {
            memory.trouble = None;
        }
    }
    Ok(round)
}

fn forget_outdated_trouble(certificate: &Certificate, secret: Option<&Secret>, memory: &mut Memory) {
    let Some(trouble) = &memory.trouble else {
        memory.trouble_credentials = None;
        return;
    };
    if trouble.retry_after.is_some() || trouble.hold.is_some() {
        return;
    }
    let about = format!("{:?}, {:?}", certificate.metadata.generation, secret.and_then(ResourceExt::uid));
    let former = memory.trouble_credentials.get_or_insert_with(|| about.clone());
    if *former != about {
        memory.trouble = None;
    }
}

fn spares(hub: &Hub, certificate: &Certificate) -> Vec<SeenSpare> {
    let namespace = certificate.namespace().unwrap_or_default();
    let seen = |reference: IssuerReference| {
        let is_usable = HeldIssuer::look_up(hub, &namespace, &reference).is_usable();
        SeenSpare { reference, is_usable }
    };
    Fallback::of(certificate).spares.into_iter().map(seen).collect()
}

/// Whether the issuer that the certificate in the Secret came from can revoke it.
fn can_be_revoked(hub: &Hub, certificate: &Certificate, secret: &Secret) -> bool {
    let noted = secret.annotations().get(annotation::ISSUER_NAME);
    let name = noted.unwrap_or(&certificate.spec.issuer_ref.name);
    let issuer = hub.issuers.get(&ObjectName::new(certificate.namespace().unwrap_or_default(), name));
    issuer.is_some_and(|issuer| issuer.spec.acme.is_some())
}

/// The issuer that keeps its ACME account key in the target Secret, if there is one.
fn account_key_of(hub: &Hub, certificate: &Certificate) -> Option<String> {
    let name = &certificate.spec.secret_name;
    let issuers = hub.issuers.indexed(&secret_entry(&certificate.namespace().unwrap_or_default(), name));
    let keeps = |acme: &AcmeIssuer| acme.private_key_secret_ref.name == *name;
    let issuer = issuers.iter().find(|issuer| issuer.spec.acme.as_ref().is_some_and(keeps))?;
    Some(format!("the Issuer {:?}", issuer.name_any()))
}

fn act(
    process: &Process,
    world: &mut World,
    seen: &SeenCertificate<'_>,
    step: CertificateStep,
    memory: &mut Memory,
) -> Result<(), Failure> {
    let (hub, certificate) = (&process.hub, seen.certificate);
    match step {
        CertificateStep::ApplySecret(wanted) | CertificateStep::PutSecretRight(wanted) => {
            let secret = secret::with_keystores(*wanted, world.now()).map_err(transient)?;
            world.api_apply(hub, &secret)?;
            memory.made_request = None;
            Ok(())
        }
        CertificateStep::ApplyTemporary { key_secret } => {
            let held = hub.secrets.get(&ObjectName::new(certificate.namespace().unwrap_or_default(), key_secret));
            let key = held.as_deref().and_then(|held| entry(held, TLS_KEY)).unwrap_or_default();
            let secret = secret::temporary(certificate, seen.secret, key, world.now()).map_err(transient)?;
            world.api_apply(hub, &secret)
        }
        CertificateStep::CreateNextKey { name, key } => {
            let pem = next_key(key).to_pem(Encoding::Pkcs8).expect("a key");
            world.api_create(hub, &children::next_key_secret(certificate, &name, pem))
        }
        CertificateStep::HoldKey(key) => {
            memory.held_key = Some(HeldKey::new(next_key(key), world.now()));
            Ok(())
        }
        CertificateStep::StoreHeldKey { name } => {
            let pem = seen.held_key.expect("a key").key.to_pem(Encoding::Pkcs8).expect("a key");
            world.api_create(hub, &children::next_key_secret(certificate, &name, pem))
        }
        CertificateStep::DropHeldKey => {
            memory.held_key = None;
            Ok(())
        }
        CertificateStep::CreateRequest { name, revision, key_secret, recent, issuer, marks } => {
            let namespace = certificate.namespace().unwrap_or_default();
            let secret = hub.secrets.get(&ObjectName::new(namespace, &key_secret));
            let stored = secret.as_deref().and_then(|secret| PrivateKey::from_pem(entry(secret, TLS_KEY)?).ok());
            let Some(key) = stored.or_else(|| Some(seen.held_key?.key.clone())) else {
                return Err(transient("the next private key is gone".to_owned()));
            };
            let copied = CopiedAnnotations::default();
            let key = (key_secret, &key);
            let request = children::certificate_request(
                certificate,
                name,
                revision,
                key,
                &recent,
                (&copied, Features::default()),
            );
            let mut request = request.map_err(is_final)?;
            request.spec.issuer_ref = issuer;
            marks.put_on(&mut request);
            world.api_create(hub, &request)?;
            let generation = certificate.metadata.generation;
            memory.made_request = Some(MadeRequest::once_more(seen.made_request, generation, world.now()));
            Ok(())
        }
        CertificateStep::CheckRenewalInformation { certificate_id } => {
            let found = ask(world, &certificate_id)?;
            memory.renewal_information = Some(Answer { certificate_id, at: world.now(), found });
            Ok(())
        }
        CertificateStep::Revoke(wish) => {
            let pair = seen.secret.and_then(policy::sound_pair).expect("a certificate");
            let serial = pair.leaf.serial_hex();
            world.ask("Failed to revoke the certificate", |ca, _| ca.revoke(serial))?;
            memory.revoked = Some(Revoked::new(&wish, &pair.leaf));
            Ok(())
        }
        CertificateStep::AddFinalizer => {
            let mut finalizers = certificate.finalizers().to_vec();
            finalizers.push(finalizer::REVOKE.to_owned());
            world.api_finalizers(hub, certificate, &finalizers)
        }
        CertificateStep::RemoveFinalizer => world.api_finalizers(hub, certificate, &[]),
        CertificateStep::DeleteNextKey(secret) => world.api_delete(hub, &*secret),
        CertificateStep::DeleteRequest(request) => {
            world.chronicle.held_key = memory.held_key.as_ref().map(|held| held.key.clone());
            world.api_delete(hub, &*request)
        }
        CertificateStep::WriteStatus(status) => {
            world.api_status(hub, certificate, &certificate.status.clone().unwrap_or_default(), &*status)
        }
        CertificateStep::Publish(note) => {
            publish(world, &certificate.name_any(), &note);
            Ok(())
        }
    }
}

/// The controller asks beside its passes; here the answer is there at once.
fn ask(world: &mut World, certificate_id: &str) -> Result<Found, Failure> {
    const DOING: &str = "Failed to ask the CA when to renew";
    if world.ca.renewals.is_none() {
        return Ok(Found::Unsupported);
    }
    match world.ask(DOING, |ca, _| ca.renewal_info(certificate_id)) {
        Ok(CaSuggestion { start, end, retry_after }) => {
            Ok(Found::Suggestion { start, end, explanation_url: None, retry_after })
        }
        Err(Failure::Trouble { class, message, retry_after, .. }) => {
            Ok(Found::Failed { message, is_transient: class == TroubleClass::Transient, retry_after })
        }
        Err(other) => Err(other),
    }
}

fn next_key(key: NextKey) -> PrivateKey {
    match key {
        NextKey::Generate(algorithm) => PrivateKey::generate(algorithm).expect("a key"),
        NextKey::Reuse(pem) => PrivateKey::from_pem(pem.as_bytes()).expect("a key"),
    }
}
