//! Looking up the CAA records of what an Order names.

use futures::{StreamExt, stream};
use jiff::Timestamp;

use super::{Context, step_error::StepError};
use crate::{
    acme::AccountHandle,
    api::Order,
    decide::caa::CaaFindings,
    dns::caa::{Issuance, find_caa},
};

/// Enough for speed, few enough to be kind to the resolver.
const AT_ONCE: usize = 8;

/// Objections and failures told of; more would be the same.
const MOST_TOLD: usize = 10;

pub(super) async fn look_up(
    context: &Context,
    order: &Order,
    account: &AccountHandle,
) -> Result<CaaFindings, StepError> {
    let directory = account.client().directory().await;
    let directory = directory.map_err(|error| StepError::from_acme("Failed to read the directory", &error))?;
    let identities = &directory.meta.caa_identities;
    let mut findings = CaaFindings { at: Timestamp::now(), objections: Vec::new(), failures: Vec::new() };
    if identities.is_empty() {
        findings.failures.push("CAA was not checked: the CA's directory does not tell its caaIdentities".to_owned());
        return Ok(findings);
    }
    let names = order.spec.dns_names.clone();
    let mut answers = stream::iter(names)
        .map(|name| async move {
            let found = find_caa(context.resolvers.common(), &name).await;
            (name, found)
        })
        .buffered(AT_ONCE);
    while let Some((name, found)) = answers.next().await {
        match found {
            Ok(Some(records)) => {
                let wildcard = name.starts_with("*.");
                let issuance = Issuance { wildcard, identities, account_uri: account.url(), method: None };
                findings.objections.extend(records.objection(&issuance).map(|why| format!("{name}: {why}")));
            }
            Ok(None) => {}
            Err(error) => findings.failures.push(format!("CAA of {name} was not checked: {error}")),
        }
    }
    findings.objections.truncate(MOST_TOLD);
    findings.failures.truncate(MOST_TOLD);
    findings.at = Timestamp::now();
    Ok(findings)
}
