//! Putting answers to challenges in place, checking them, and taking them away again.

use std::net::SocketAddr;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::{
    Context,
    step_error::{StepError, signed},
    tls_alpn01,
};
use crate::{
    api::{Challenge, dns01, names::KIND_CLUSTER_ISSUER},
    cluster::{ApiError, ObjectName, owner_entry},
    decide::{TroubleClass, fixed_name, secret, solver::Method},
    dns::{
        cname::follow_cnames,
        name::challenge_record_name,
        provider::{DEFAULT_TTL, Provider, ProviderError, TxtRecord, rfc2136::Rfc2136, tsig::TsigKey},
        verify::{VerifyConfig, verify_txt},
    },
    http01::{
        check::{CheckTarget, LayerResult, check as check_http},
        objects,
    },
};

/// Makes the answer visible to the CA. Doing it twice is as good as doing it once.
pub(super) async fn present(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    match Method::of(challenge) {
        Some(Method::Dns01) => {
            let record = record(context, challenge).await?;
            let provider = provider(context, challenge).await?;
            provider.present(&record).await.map_err(|error| provider_trouble("Error presenting challenge", &error))
        }
        Some(Method::Http01) => Box::pin(present_http01(context, challenge)).await,
        Some(Method::TlsAlpn01) => Box::pin(tls_alpn01::present(context, challenge)).await,
        None => Err(unknown_type(challenge)),
    }
}

/// Whether the CA will see the answer; if not, what is missing, in one stable sentence.
pub(super) async fn check(context: &Context, challenge: &Challenge) -> Result<Option<String>, StepError> {
    match Method::of(challenge) {
        Some(Method::Dns01) => check_dns01(context, challenge).await,
        Some(Method::Http01) => Box::pin(check_http01(context, challenge)).await,
        Some(Method::TlsAlpn01) => Box::pin(tls_alpn01::check(context, challenge)).await,
        None => Err(unknown_type(challenge)),
    }
}

/// Takes the answer away. That it is gone already is well.
pub(super) async fn clean_up(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    match Method::of(challenge) {
        Some(Method::Dns01) => {
            let record = record(context, challenge).await?;
            let provider = provider(context, challenge).await?;
            let doing = format!("the TXT record {} of zone {} could not be removed", record.name, record.zone);
            provider.clean_up(&record).await.map_err(|error| provider_trouble(&doing, &error))
        }
        Some(Method::Http01) => remove_solver(context, challenge).await,
        Some(Method::TlsAlpn01) => tls_alpn01::clean_up(context, challenge).await,
        None => Ok(()),
    }
}

/// Changes whenever one of the Secrets does that the solver refers to.
pub(super) async fn credentials_version(context: &Context, challenge: &Challenge) -> Result<String, StepError> {
    let namespace = secrets_namespace(context, challenge);
    let mut version = String::new();
    for name in challenge.spec.solver.secret_names() {
        let secret = context.cluster.secrets.get(&ObjectName::new(&namespace, &name)).await?;
        version.push_str(secret.and_then(|secret| secret.resource_version()).as_deref().unwrap_or("none"));
        version.push(' ');
    }
    Ok(version)
}

fn unknown_type(challenge: &Challenge) -> StepError {
    StepError::is_final(format!("Challenges of type {:?} are not known", challenge.spec.type_))
}

/// The record to write: the name itself, or the end of its CNAME chain if the solver says so.
async fn record(context: &Context, challenge: &Challenge) -> Result<TxtRecord, StepError> {
    let name = target_name(context, challenge).await?;
    let zone = context
        .zones
        .find_zone(&context.resolver, &name)
        .await
        .map_err(|error| StepError::transient(format!("Failed to find the zone of {name}: {error}")))?;
    let value = challenge.spec.key.expose().to_owned();
    Ok(TxtRecord { zone: zone.apex.clone(), name, value, ttl: DEFAULT_TTL })
}

async fn target_name(context: &Context, challenge: &Challenge) -> Result<String, StepError> {
    let name = challenge_record_name(&challenge.spec.dns_name);
    let strategy = challenge.spec.solver.dns01.as_ref().and_then(|solver| solver.cname_strategy.as_deref());
    if strategy != Some("Follow") {
        return Ok(name);
    }
    let chain = follow_cnames(&context.resolver, &name)
        .await
        .map_err(|error| StepError::transient(format!("Failed to follow the CNAMEs of {name}: {error}")))?;
    Ok(chain.last().cloned().unwrap_or(name))
}

async fn check_dns01(context: &Context, challenge: &Challenge) -> Result<Option<String>, StepError> {
    // The CA follows CNAMEs whoever wrote the record, so the check does too.
    let asked = challenge_record_name(&challenge.spec.dns_name);
    let chain = follow_cnames(&context.resolver, &asked)
        .await
        .map_err(|error| StepError::transient(format!("Failed to follow the CNAMEs of {asked}: {error}")))?;
    let name = chain.last().cloned().unwrap_or(asked);
    let zone = context
        .zones
        .find_zone(&context.resolver, &name)
        .await
        .map_err(|error| StepError::transient(format!("Failed to find the zone of {name}: {error}")))?;
    let config = VerifyConfig { port: context.options.authoritative_port, ..VerifyConfig::default() };
    let found = verify_txt(&zone, &name, challenge.spec.key.expose(), None, config)
        .await
        .map_err(|error| StepError::is_final(format!("The name {name} cannot be looked up: {error}")))?;
    Ok((!found.all_found()).then(|| found.missing_summary()))
}

/// The provider that the solver configures, with its credentials.
async fn provider(context: &Context, challenge: &Challenge) -> Result<Box<dyn Provider>, StepError> {
    let Some(solver) = &challenge.spec.solver.dns01 else {
        return Err(StepError::is_final("The solver has no dns01 part, so it cannot answer a DNS-01 challenge"));
    };
    let Some(rfc2136) = &solver.rfc2136 else {
        return Err(StepError::is_final(
            "This version of certwright writes DNS records by RFC 2136 only; configure dns01.rfc2136",
        ));
    };
    let key = tsig_key(context, challenge, rfc2136).await?;
    let wrong =
        |error: &dyn std::fmt::Display| StepError::is_final(format!("The solver's dns01.rfc2136 is wrong: {error}"));
    let protocol = rfc2136.protocol.as_deref().unwrap_or_default().parse().map_err(|error| wrong(&error))?;
    let provider = Rfc2136::new(&rfc2136.nameserver, protocol, key).map_err(|error| wrong(&error))?;
    Ok(Box::new(provider))
}

/// Where the Secrets lie that the solver refers to: by the reference to the issuer alone, because the issuer may be gone
/// when it comes to cleaning up.
fn secrets_namespace(context: &Context, challenge: &Challenge) -> String {
    match challenge.spec.issuer_ref.kind_or_default() {
        KIND_CLUSTER_ISSUER => context.options.cluster_resource_namespace.clone(),
        _ => challenge.namespace().unwrap_or_default(),
    }
}

async fn tsig_key(
    context: &Context,
    challenge: &Challenge,
    rfc2136: &dns01::Rfc2136,
) -> Result<Option<TsigKey>, StepError> {
    let Some(name) = rfc2136.tsig_key_name.as_deref().filter(|name| !name.is_empty()) else { return Ok(None) };
    let selector = rfc2136.tsig_secret_secret_ref.clone().unwrap_or_default();
    let secret_name = ObjectName::new(secrets_namespace(context, challenge), &selector.name);
    let entry = selector.key.unwrap_or_default();
    let held = context.cluster.secrets.get(&secret_name).await?;
    let value = held.as_deref().and_then(|held| secret::entry(held, &entry));
    let Some(value) = value else {
        // It may be created after the Challenge.
        return Err(StepError::transient(format!(
            "The Secret {secret_name} with the TSIG key does not exist or has nothing under {entry:?}"
        )));
    };
    let wrong = |error: &dyn std::fmt::Display| {
        StepError::transient(format!("The TSIG key in the Secret {secret_name} cannot be used: {error}"))
    };
    let algorithm = rfc2136.tsig_algorithm.as_deref().unwrap_or_default().parse().map_err(|error| wrong(&error))?;
    let key = TsigKey::new(name, algorithm, &String::from_utf8_lossy(value)).map_err(|error| wrong(&error))?;
    Ok(Some(key))
}

fn provider_trouble(doing: &str, error: &ProviderError) -> StepError {
    let retry_after = match error {
        ProviderError::Throttled { retry_after, .. } => retry_after.map(signed),
        _ => None,
    };
    // Refused credentials are often corrected within minutes; the growing wait is kind enough to the provider.
    StepError::Trouble { class: TroubleClass::Transient, message: format!("{doing}: {error}"), retry_after, hold: None }
}

async fn present_http01(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    if let Some(why) = objects::unsupported(challenge) {
        return Err(StepError::is_final(why));
    }
    let name = fixed_name::http01_solver(&challenge.uid().unwrap_or_default());
    let pod = objects::pod(challenge, &name, &context.solver)
        .map_err(|error| StepError::is_final(format!("The solver's podTemplate is wrong: {error}")))?;
    let service = objects::service(challenge, &name, &context.solver);
    let ingress = objects::ingress(challenge, &name, &context.solver);
    let cluster = &context.cluster;
    let created = tokio::join!(cluster.create(&pod), cluster.create(&service), cluster.create(&ingress));
    existing(created.0)?;
    existing(created.1)?;
    existing(created.2)
}

/// The names are fixed, so what is there already is what a former pass created.
pub(super) fn existing<T>(created: Result<T, ApiError>) -> Result<(), StepError> {
    match created {
        Ok(_) | Err(ApiError::Conflict { .. }) => Ok(()),
        Err(ApiError::Refused { what, message, .. }) => {
            Err(StepError::transient(format!("Error presenting challenge: {what}: refused: {message}")))
        }
        Err(error) => Err(error.into()),
    }
}

/// The pod is the part that certwright is answerable for; the public way is asked too, but a cluster that cannot reach
/// its own public name does not hold up the issuance for longer than this.
const PUBLIC_WAY_WAITED_FOR: SignedDuration = SignedDuration::from_secs(60);

/// Changes whenever the solver pod does; then a check that failed is worth repeating at once.
pub(super) fn solver_version(context: &Context, challenge: &Challenge) -> Option<String> {
    let pods = context.cluster.hub.solver_pods.indexed(&owner_entry(challenge.metadata.uid.as_deref()?));
    pods.first().and_then(|pod| pod.metadata.resource_version.clone())
}

async fn check_http01(context: &Context, challenge: &Challenge) -> Result<Option<String>, StepError> {
    let pod_address = match solver_address(context, challenge).await? {
        Ok(address) => address,
        Err(why) => return Ok(Some(why.to_owned())),
    };
    let target = CheckTarget::of(challenge, Some(pod_address));
    let report = check_http(&context.http, &target).await;
    if report.pod == LayerResult::Passed && public_way_was_waited_for(challenge) {
        return Ok(None);
    }
    Ok(report.failure())
}

/// Where the solver pod can be asked, or why it cannot be yet. One that is gone or spent is replaced.
pub(super) async fn solver_address(
    context: &Context,
    challenge: &Challenge,
) -> Result<Result<SocketAddr, &'static str>, StepError> {
    let pods = context.cluster.hub.solver_pods.indexed(&owner_entry(&challenge.uid().unwrap_or_default()));
    let Some(pod) = pods.first() else {
        Box::pin(present(context, challenge)).await?;
        return Ok(Err("the solver pod is being created"));
    };
    if objects::pod_is_spent(pod) {
        context.cluster.delete(&**pod).await?;
        return Ok(Err("the solver pod ended and is being replaced"));
    }
    Ok(objects::pod_address(pod).ok_or("the solver pod has no address yet"))
}

pub(super) fn public_way_was_waited_for(challenge: &Challenge) -> bool {
    waited_since_presented(challenge) > PUBLIC_WAY_WAITED_FOR
}

pub(super) fn waited_since_presented(challenge: &Challenge) -> SignedDuration {
    let presented = challenge.status.as_ref().and_then(|status| status.presented_at.as_ref());
    presented.map_or(SignedDuration::ZERO, |at| Timestamp::now().duration_since(at.0))
}

/// Takes the solver's objects away that are watched.
pub(super) async fn remove_solver(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    let cluster = &context.cluster;
    let entry = owner_entry(&challenge.uid().unwrap_or_default());
    // The route goes first, so that nobody is sent to a pod that is on its way out.
    for ingress in cluster.hub.solver_ingresses.indexed(&entry) {
        cluster.delete(&*ingress).await?;
    }
    for service in cluster.hub.solver_services.indexed(&entry) {
        cluster.delete(&*service).await?;
    }
    let is_there = |pod: &Pod| pod.metadata.deletion_timestamp.is_none();
    for pod in cluster.hub.solver_pods.indexed(&entry).into_iter().filter(|pod| is_there(pod)) {
        cluster.delete(&*pod).await?;
    }
    Ok(())
}
