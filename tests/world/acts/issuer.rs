//! As `controller::issuer`. What the account key is does not matter here.

use certwright::{
    api::{
        issuer::AcmeIssuer,
        names::{annotation, label},
    },
    cluster::{Key, ObjectName},
    decide::{
        Wake,
        issuer::{AccountKey, IssuerStep, Registration, SeenIssuer, contact_email, decide},
    },
};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde_json::json;

use super::{publish, read_authority};
use crate::{
    process::{Failure, Memory, Process, Round},
    world::{World, object_of},
};

pub fn round(process: &mut Process, world: &mut World, key: &Key, memory: &mut Memory) -> Result<Round, Failure> {
    let hub = process.hub.clone();
    let Some(issuer) = hub.issuers.get(&key.object) else {
        *memory = Memory::default();
        return Ok(Round::Rest(Wake::OnChange));
    };
    memory.of(&issuer.uid().unwrap_or_default());
    let acme = issuer.spec.acme.clone().unwrap_or_default();
    let name = ObjectName::new(&key.object.namespace, &acme.private_key_secret_ref.name);
    let account_key = match hub.secrets.get(&name) {
        Some(_) => AccountKey::Usable { hash: "hash".to_owned() },
        None => AccountKey::Missing,
    };
    let authority = match &issuer.spec.ca {
        Some(ca) if issuer.spec.acme.is_none() && !ca.secret_name.is_empty() => {
            Some(read_authority(process, world, &ObjectName::new(&key.object.namespace, &ca.secret_name)))
        }
        _ => None,
    };
    let fingerprint = format!("{:?} {account_key:?}", issuer.metadata.generation);
    if memory.issuer_fingerprint != fingerprint {
        memory.issuer_fingerprint = fingerprint;
        (memory.registration, memory.trouble) = (None, None);
    }
    let seen = SeenIssuer {
        generation: issuer.metadata.generation,
        deleting: issuer.metadata.deletion_timestamp.is_some(),
        spec: &issuer.spec,
        tls_alpn_01: issuer.annotations().get(annotation::TLS_ALPN_01).map(String::as_str),
        dns01_verification: None,
        caa: None,
        new_orders: None,
        answerer_problem: None,
        status: issuer.status.as_ref(),
        account_key: &account_key,
        authority: authority.as_ref(),
        registration: memory.registration.as_ref(),
        is_doubtful: false,
        roll_over: None,
        trouble: memory.trouble.as_ref(),
    };
    let decision = decide(&seen, world.now());
    let mut round = Round::Rest(decision.wake);
    for step in decision.steps {
        if !matches!(step, IssuerStep::Publish(_)) {
            round = Round::Again;
        }
        match step {
            IssuerStep::CreateAccountKey => world.api_create(&hub, &account_secret(&name))?,
            IssuerStep::Register => register(world, memory, &acme)?,
            IssuerStep::WriteStatus(status) => {
                world.api_status(&hub, &*issuer, &issuer.status.clone().unwrap_or_default(), &*status)?;
            }
            // Nobody wishes for another key here.
            IssuerStep::CreateNextKey | IssuerStep::ChangeKey | IssuerStep::AdoptNextKey | IssuerStep::DropNextKey => {
                unreachable!("{step:?}")
            }
            IssuerStep::Publish(note) => publish(world, &issuer.name_any(), &note),
        }
    }
    Ok(round)
}

fn register(world: &mut World, memory: &mut Memory, acme: &AcmeIssuer) -> Result<(), Failure> {
    let uri = world.ask("Failed to register ACME account", |ca, _| ca.register())?;
    memory.registration = Some(Registration { uri, email: contact_email(acme), agreed_terms: None });
    memory.trouble = None;
    Ok(())
}

fn account_secret(name: &ObjectName) -> Secret {
    object_of(json!({
        "metadata": {"name": name.name, "namespace": name.namespace, "labels": {label::FAO: "true"}},
        "type": "Opaque", "data": {"tls.key": "a2V5"},
    }))
}
