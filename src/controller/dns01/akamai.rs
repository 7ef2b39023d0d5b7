//! Settings of `dns01.akamai`.

use super::credentials::{Credentials, unusable};
use crate::{
    api::dns01,
    controller::step_error::StepError,
    dns::provider::{Provider, akamai::Akamai, edgegrid::EdgeGrid},
};

pub(super) async fn make(
    credentials: &Credentials<'_>,
    settings: &dns01::AkamaiDns,
) -> Result<Box<dyn Provider>, StepError> {
    let login = EdgeGrid {
        client_token: credentials.text(&settings.client_token_secret_ref, "the client token").await?,
        client_secret: credentials.text(&settings.client_secret_secret_ref, "the client secret").await?,
        access_token: credentials.text(&settings.access_token_secret_ref, "the access token").await?,
    };
    let (http, domain) = (credentials.http()?.clone(), &settings.service_consumer_domain);
    let provider = Akamai::new(http, credentials.endpoints(), domain, login);
    Ok(Box::new(provider.map_err(|error| unusable("dns01.akamai", &error))?))
}
