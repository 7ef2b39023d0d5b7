//! Whether the CA will find the TXT record.

use crate::{
    api::Challenge,
    controller::{Context, step_error::StepError},
    dns::{
        cname::follow_cnames,
        name::challenge_record_name,
        verify::{VerifyConfig, verify_txt},
    },
};

/// What is missing, in one stable sentence; nothing if the CA will find the record.
pub(in crate::controller) async fn check(
    context: &Context,
    challenge: &Challenge,
) -> Result<Option<String>, StepError> {
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
