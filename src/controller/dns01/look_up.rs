//! What a solver looks up, all at the nameservers that are its own.

use std::sync::Arc;

use crate::{
    api::Challenge,
    controller::{Context, step_error::StepError},
    dns::{
        cname::{CnameError, follow_cnames},
        zone::{Zone, ZoneError},
    },
};

/// The zone that a name lies in.
pub(super) async fn zone(context: &Context, challenge: &Challenge, name: &str) -> Result<Arc<Zone>, StepError> {
    let resolver = context.resolvers.of(challenge)?;
    context.zones.find_zone(&resolver, name).await.map_err(|error| of_zone(name, &error))
}

/// The name at which a name's chain of CNAMEs ends, which is the name itself if it has none.
pub(super) async fn end_of_aliases(context: &Context, challenge: &Challenge, name: &str) -> Result<String, StepError> {
    let resolver = context.resolvers.of(challenge)?;
    let chain = follow_cnames(&resolver, name).await.map_err(|error| of_aliases(name, &error))?;
    Ok(chain.last().cloned().unwrap_or_else(|| name.to_owned()))
}

/// Why the zone of a name was not found. Only what is no DNS name at all is final.
pub(super) fn of_zone(name: &str, error: &ZoneError) -> StepError {
    let message = format!("Failed to find the zone of {name}: {error}");
    if matches!(error, ZoneError::Name(_)) { StepError::is_final(message) } else { StepError::transient(message) }
}

/// The same for its CNAMEs.
pub(super) fn of_aliases(name: &str, error: &CnameError) -> StepError {
    let message = format!("Failed to follow the CNAMEs of {name}: {error}");
    if matches!(error, CnameError::Name(_)) { StepError::is_final(message) } else { StepError::transient(message) }
}
