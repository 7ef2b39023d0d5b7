//! Settings of `dns01.cloudflare`.

use super::credentials::{Credentials, unusable};
use crate::{
    api::dns01,
    controller::step_error::StepError,
    dns::provider::{
        Provider,
        cloudflare::{Cloudflare, Login},
    },
};

pub(super) async fn make(
    credentials: &Credentials<'_>,
    settings: &dns01::Cloudflare,
) -> Result<Box<dyn Provider>, StepError> {
    let login = login(credentials, settings).await?;
    let provider = Cloudflare::new(credentials.http()?.clone(), credentials.endpoints(), &login);
    Ok(Box::new(provider.map_err(|error| unusable("dns01.cloudflare", &error))?))
}

async fn login(credentials: &Credentials<'_>, settings: &dns01::Cloudflare) -> Result<Login, StepError> {
    let wrong = |what| Err(StepError::is_final(format!("The solver's dns01.cloudflare is wrong: {what}")));
    let email = settings.email.as_deref().unwrap_or_default().trim();
    match (&settings.api_token_secret_ref, &settings.api_key_secret_ref) {
        (Some(token), None) => Ok(Login::Token(credentials.text(token, "the API token").await?)),
        (None, Some(_)) if email.is_empty() => wrong("apiKeySecretRef needs email, the mail address of the account"),
        (None, Some(key)) => {
            Ok(Login::Key { email: email.to_owned(), key: credentials.text(key, "the API key").await? })
        }
        _ => wrong("set exactly one of apiTokenSecretRef and apiKeySecretRef"),
    }
}
