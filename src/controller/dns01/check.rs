//! Whether the CA will find the TXT record.

use super::look_up;
use crate::{
    api::Challenge,
    controller::{Context, step_error::StepError},
    dns::{
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
    let name = look_up::end_of_aliases(context, challenge, &asked).await?;
    let zone = look_up::zone(context, challenge, &name).await?;
    let config = VerifyConfig { port: context.options.authoritative_port, ..VerifyConfig::default() };
    let found = verify_txt(&zone, &name, challenge.spec.key.expose(), None, config)
        .await
        .map_err(|error| StepError::is_final(format!("The name {name} cannot be looked up: {error}")))?;
    Ok((!found.all_found()).then(|| found.missing_summary()))
}
