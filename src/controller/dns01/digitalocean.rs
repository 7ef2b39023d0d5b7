//! Settings of `dns01.digitalocean`.

use super::credentials::{Credentials, unusable};
use crate::{
    api::dns01,
    controller::step_error::StepError,
    dns::provider::{Provider, digitalocean::DigitalOcean},
};

pub(super) async fn make(
    credentials: &Credentials<'_>,
    settings: &dns01::DigitalOcean,
) -> Result<Box<dyn Provider>, StepError> {
    let token = credentials.text(&settings.token_secret_ref, "the API token").await?;
    let provider = DigitalOcean::new(credentials.http()?.clone(), credentials.endpoints(), &token);
    Ok(Box::new(provider.map_err(|error| unusable("dns01.digitalocean", &error))?))
}
