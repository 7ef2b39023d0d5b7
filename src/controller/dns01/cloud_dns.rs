//! Settings of `dns01.cloudDNS`.

use std::{env, path::Path};

use super::{
    credentials::{Credentials, unusable},
    environment::{local_client, read_file},
};
use crate::{
    api::{SecretKeySelector, dns01},
    cloud::{
        google::{self, MetadataServer, ServiceAccount},
        token::TokenSource,
    },
    controller::step_error::StepError,
    dns::provider::{
        Provider,
        bearer::BearerClient,
        cloud_dns::{CloudDns, NAME, USUAL_ENDPOINT, pace},
        http::ApiClient,
    },
};

pub(super) async fn make(
    credentials: &Credentials<'_>,
    settings: &dns01::CloudDns,
) -> Result<Box<dyn Provider>, StepError> {
    if settings.project.is_empty() {
        return Err(StepError::is_final("The solver's dns01.cloudDNS names no project"));
    }
    let source = source(credentials, settings).await?;
    let reaches_tokens = if source.is_local() { local_client()? } else { credentials.http()?.clone() };
    let api = ApiClient::new(NAME, credentials.http()?.clone(), pace());
    let client = BearerClient::new(api, reaches_tokens, source);
    let endpoint = credentials.endpoints().url("google-dns", USUAL_ENDPOINT);
    let endpoint = endpoint.map_err(|error| unusable("dns01.cloudDNS", &error))?;
    let managed_zone = settings.hosted_zone_name.as_deref().filter(|name| !name.is_empty());
    Ok(Box::new(CloudDns::new(client, endpoint, &settings.project, managed_zone)))
}

async fn source(credentials: &Credentials<'_>, settings: &dns01::CloudDns) -> Result<Box<dyn TokenSource>, StepError> {
    if let Some(selector) = &settings.service_account_secret_ref {
        return Ok(Box::new(service_account(credentials, selector).await?));
    }
    if !credentials.ambient {
        return Err(StepError::is_final(
            "The solver's dns01.cloudDNS has no serviceAccountSecretRef, and issuers like this one may not use the \
             credentials of the controller's surroundings; set it, or see --issuer-ambient-credentials and \
             --cluster-issuer-ambient-credentials",
        ));
    }
    match env::var("GOOGLE_APPLICATION_CREDENTIALS").ok().filter(|file| !file.is_empty()) {
        Some(file) => from_file(&file).await,
        None => Ok(Box::new(MetadataServer::new(env::var("GCE_METADATA_HOST").ok()))),
    }
}

async fn service_account(
    credentials: &Credentials<'_>,
    selector: &SecretKeySelector,
) -> Result<ServiceAccount, StepError> {
    let key = credentials.text(selector, "the service account's key").await?;
    let account = ServiceAccount::from_key(key.expose()).map_err(|error| {
        let name = &selector.name;
        let namespace = &credentials.namespace;
        StepError::transient(format!(
            "The service account's key in the Secret {namespace}/{name} cannot be used: {error}"
        ))
    })?;
    Ok(account.sent_to(|vendors| credentials.endpoints().of("google-token", vendors)))
}

async fn from_file(file: &str) -> Result<Box<dyn TokenSource>, StepError> {
    let variable = "GOOGLE_APPLICATION_CREDENTIALS";
    let content = read_file(Path::new(file), variable).await?;
    google::default_credentials(&content)
        .map_err(|error| StepError::transient(format!("The file that {variable} names cannot be used: {error}")))
}
