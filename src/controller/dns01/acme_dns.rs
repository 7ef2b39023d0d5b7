//! Settings of `dns01.acmeDNS`.

use super::credentials::{Credentials, unusable};
use crate::{
    api::dns01,
    controller::step_error::StepError,
    dns::provider::{
        Provider,
        acme_dns::{Accounts, AcmeDns},
    },
};

pub(super) async fn make(
    credentials: &Credentials<'_>,
    settings: &dns01::AcmeDns,
) -> Result<Box<dyn Provider>, StepError> {
    let json = credentials.text(&settings.account_secret_ref, "the acme-dns accounts").await?;
    let (http, resolver) = (credentials.http()?.clone(), credentials.resolver()?);
    let provider = Accounts::parse(json.expose())
        .and_then(|accounts| AcmeDns::new(http, &settings.host, accounts, resolver))
        .map_err(|error| unusable("dns01.acmeDNS", &error))?;
    Ok(Box::new(provider))
}
