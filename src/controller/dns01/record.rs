//! Which record is written, and that it is.

use super::provider;
use crate::{
    api::Challenge,
    controller::{
        Context,
        step_error::{StepError, signed},
    },
    decide::TroubleClass,
    dns::{
        cname::follow_cnames,
        name::challenge_record_name,
        provider::{Action, Change, DEFAULT_TTL, Provider, ProviderError, TxtRecord},
    },
};

/// Makes the record visible to the CA. Doing it twice is as good as doing it once.
pub(in crate::controller) async fn present(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    let provider = provider(context, challenge).await?;
    let record = record(context, challenge, &*provider).await?;
    let change = Change { action: Action::Add, record };
    provider.apply(&[change]).await.map_err(|error| trouble("Error presenting challenge", &error))
}

/// Takes the record away. That it is gone already is well.
pub(in crate::controller) async fn clean_up(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    let provider = provider(context, challenge).await?;
    let record = record(context, challenge, &*provider).await?;
    let doing = format!("the TXT record {} of zone {} could not be removed", record.name, record.zone);
    let change = Change { action: Action::Remove, record };
    provider.apply(&[change]).await.map_err(|error| trouble(&doing, &error))
}

/// The record to write: at the name itself, or at the end of its CNAME chain if the solver says so.
async fn record(context: &Context, challenge: &Challenge, provider: &dyn Provider) -> Result<TxtRecord, StepError> {
    let name = target_name(context, challenge).await?;
    let value = challenge.spec.key.expose().to_owned();
    let doing = format!("Failed to find the zone of {name}");
    let zone = match provider.find_zone(&name).await.map_err(|error| trouble(&doing, &error))? {
        Some(zone) => zone,
        None => match context.zones.find_zone(&context.resolver, &name).await {
            Ok(zone) => zone.apex.clone(),
            Err(error) => return Err(StepError::transient(format!("{doing}: {error}"))),
        },
    };
    let domain = challenge.spec.dns_name.trim_start_matches("*.").to_owned();
    Ok(TxtRecord { zone, name, domain, value, ttl: DEFAULT_TTL })
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

fn trouble(doing: &str, error: &ProviderError) -> StepError {
    let retry_after = match error {
        ProviderError::Throttled { retry_after, .. } => retry_after.map(signed),
        _ => None,
    };
    // Refused credentials are often corrected within minutes; the growing wait is kind enough to the provider.
    StepError::Trouble { class: TroubleClass::Transient, message: format!("{doing}: {error}"), retry_after, hold: None }
}
