//! Settings of `dns01.rfc2136`.

use super::credentials::Credentials;
use crate::{
    api::dns01,
    controller::step_error::StepError,
    dns::provider::{Provider, rfc2136::Rfc2136, tsig::TsigKey},
};

pub(super) async fn make(
    credentials: &Credentials<'_>,
    settings: &dns01::Rfc2136,
) -> Result<Box<dyn Provider>, StepError> {
    let key = tsig_key(credentials, settings).await?;
    let wrong =
        |error: &dyn std::fmt::Display| StepError::is_final(format!("The solver's dns01.rfc2136 is wrong: {error}"));
    let protocol = settings.protocol.as_deref().unwrap_or_default().parse().map_err(|error| wrong(&error))?;
    let provider = Rfc2136::new(&settings.nameserver, protocol, key).map_err(|error| wrong(&error))?;
    Ok(Box::new(provider))
}

async fn tsig_key(credentials: &Credentials<'_>, settings: &dns01::Rfc2136) -> Result<Option<TsigKey>, StepError> {
    let Some(name) = settings.tsig_key_name.as_deref().filter(|name| !name.is_empty()) else { return Ok(None) };
    let selector = settings.tsig_secret_secret_ref.clone().unwrap_or_default();
    let text = credentials.text(&selector, "the TSIG key").await?;
    let wrong = |error: &dyn std::fmt::Display| {
        StepError::transient(format!(
            "The TSIG key in the Secret {}/{} cannot be used: {error}",
            credentials.namespace, selector.name
        ))
    };
    let algorithm = settings.tsig_algorithm.as_deref().unwrap_or_default().parse().map_err(|error| wrong(&error))?;
    Ok(Some(TsigKey::new(name, algorithm, text.expose()).map_err(|error| wrong(&error))?))
}
