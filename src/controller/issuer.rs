//! Issuers and ClusterIssuers: gather and act.

use jiff::Timestamp;
use kube::{Resource, api::ObjectMeta};

use super::{
    Context,
    account::secrets_namespace,
    account_key::AccountSecret,
    held_issuer::HeldIssuer,
    memory::Memory,
    registration::register,
    round::{Round, event, step_name},
    signer::read_authority,
    step_error::StepError,
};
use crate::{
    api::{
        ClusterIssuer, Issuer, IssuerStatus,
        issuer::{AcmeIssuer, AcmeIssuerStatus},
        names::annotation,
    },
    cluster::{Key, Kind, ObjectName},
    decide::{
        Wake,
        issuer::{AccountKey, IssuerStep, SeenIssuer, decide, doubt},
    },
};

pub(super) async fn round(context: &Context, key: &Key, memory: &mut Memory) -> Result<Round, StepError> {
    let Some(issuer) = held(context, key) else {
        *memory = Memory::default();
        context.accounts.notes.abandon(key, Timestamp::now());
        return Ok(Round::Rest(Wake::OnChange));
    };
    let Some((spec, status)) = issuer.parts() else { return Ok(Round::Rest(Wake::OnChange)) };
    let metadata = metadata(&issuer);
    memory.keep_for(metadata.uid.as_deref().unwrap_or_default());
    let namespace = secrets_namespace(context, &issuer, &key.object.namespace);
    let wish = wish_for_another_key(&metadata);
    let account = status.and_then(|status| status.acme.as_ref());
    let account_secret = spec.acme.as_ref().map(|acme| AccountSecret {
        context,
        key,
        acme,
        namespace: &namespace,
        wish: wish.as_deref(),
        account_url: account.and_then(|account| account.uri.as_deref()),
    });
    let (account_key, mut roll_over) = match &account_secret {
        Some(secret) => secret.look().await?,
        None => (AccountKey::Missing, None),
    };
    let binding = binding_version(context, spec.acme.as_ref(), &namespace).await?;
    let authority = match &spec.ca {
        Some(ca) if spec.acme.is_none() && !ca.secret_name.is_empty() => {
            Some(read_authority(context, &ObjectName::new(&namespace, &ca.secret_name)).await?)
        }
        _ => None,
    };
    let fingerprint = format!("{:?} {account_key:?} {binding:?}", metadata.generation);
    let is_changed = memory.issuer_fingerprint != fingerprint;
    // Another replica may have been refused; each time that it tells so counts once.
    let told = doubt::told_since(status);
    let is_told = told.is_some() && memory.told_doubt != told;
    memory.told_doubt = told;
    if is_changed || is_told || is_in_doubt(context, key, account) {
        // A process that has just begun believes the status.
        memory.is_doubtful = !memory.issuer_fingerprint.is_empty() || !is_changed;
        memory.issuer_fingerprint = fingerprint;
        memory.registration = None;
        memory.trouble = None;
    }
    match roll_over.as_mut().filter(|roll_over| roll_over.has_next) {
        Some(roll_over) => roll_over.outcome.clone_from(&memory.roll_over),
        // What came of one next key says nothing about another.
        None => memory.roll_over = None,
    }
    let answerer_problem = context.options.podless.problem(issuer.annotation(annotation::HTTP01_SOLVER));
    let seen = SeenIssuer {
        generation: metadata.generation,
        deleting: metadata.deletion_timestamp.is_some(),
        spec,
        tls_alpn_01: issuer.annotation(annotation::TLS_ALPN_01),
        dns01_verification: issuer.annotation(annotation::DNS01_VERIFICATION),
        caa: issuer.annotation(annotation::CAA),
        new_orders: issuer.annotation(annotation::NEW_ORDERS),
        answerer_problem: answerer_problem.as_deref(),
        status,
        account_key: &account_key,
        authority: authority.as_ref(),
        registration: memory.registration.as_ref(),
        is_doubtful: memory.is_doubtful,
        roll_over: roll_over.as_ref(),
        trouble: memory.trouble.as_ref(),
    };
    let decision = decide(&seen, Timestamp::now());
    let mut round = Round::Rest(decision.wake);
    for step in decision.steps {
        tracing::debug!(%key, step = step_name(&step), "step");
        if !matches!(step, IssuerStep::Publish(_)) {
            round = Round::Again;
        }
        act(context, &issuer, account_secret.as_ref(), step, memory).await?;
    }
    Ok(round)
}

fn wish_for_another_key(metadata: &ObjectMeta) -> Option<String> {
    metadata.annotations.as_ref()?.get(annotation::ROLL_ACCOUNT_KEY).filter(|wish| !wish.is_empty()).cloned()
}

/// Whether the CA refused something in the name of the account that the status tells of.
fn is_in_doubt(context: &Context, key: &Key, account: Option<&AcmeIssuerStatus>) -> bool {
    let uri = account.and_then(|account| account.uri.as_deref());
    uri.is_some_and(|uri| context.accounts.notes.take_doubt(key, uri, Timestamp::now()))
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
    issuer: &HeldIssuer,
    account_secret: Option<&AccountSecret<'_>>,
    step: IssuerStep,
    memory: &mut Memory,
) -> Result<(), StepError> {
    match step {
        IssuerStep::WriteStatus(status) => write_status(context, issuer, &status).await?,
        IssuerStep::Publish(note) => match issuer {
            HeldIssuer::ClusterIssuer(issuer) => context.cluster.publish(event(note).about::<ClusterIssuer>(issuer)),
            HeldIssuer::Issuer(issuer) => context.cluster.publish(event(note).about::<Issuer>(issuer)),
            _ => {}
        },
        step => {
            let Some(secret) = account_secret else { return Ok(()) };
            act_on_account(context, issuer, secret, step, memory).await?;
        }
    }
    Ok(())
}

async fn act_on_account(
    context: &Context,
    issuer: &HeldIssuer,
    secret: &AccountSecret<'_>,
    step: IssuerStep,
    memory: &mut Memory,
) -> Result<(), StepError> {
    let account = issuer.parts().and_then(|(_, status)| status?.acme.as_ref());
    match step {
        IssuerStep::CreateAccountKey => secret.create().await?,
        IssuerStep::Register => {
            memory.registration = Some(register(context, secret.acme, secret.namespace, account).await?);
            memory.is_doubtful = false;
            memory.trouble = None;
        }
        IssuerStep::CreateNextKey => secret.create_next().await?,
        IssuerStep::ChangeKey => {
            let client = context.accounts.client(secret.acme);
            let client = client.map_err(|error| StepError::from_acme("Failed to set up", &error))?;
            memory.roll_over = Some(secret.change(&client).await.map_err(StepError::for_issuer)?);
            memory.trouble = None;
        }
        IssuerStep::AdoptNextKey => {
            secret.adopt_next().await?;
            memory.roll_over = None;
        }
        IssuerStep::DropNextKey => {
            secret.drop_next().await?;
            memory.roll_over = None;
        }
        IssuerStep::WriteStatus(_) | IssuerStep::Publish(_) => {}
    }
    Ok(())
}

pub(super) async fn write_status(
    context: &Context,
    issuer: &HeldIssuer,
    status: &IssuerStatus,
) -> Result<(), StepError> {
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
