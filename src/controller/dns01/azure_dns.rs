//! Settings of `dns01.azureDNS`.

use std::{env, path::PathBuf};

use super::{
    credentials::{Credentials, unusable},
    environment::local_client,
};
use crate::{
    api::dns01,
    cloud::{
        azure::{Application, Cloud, ManagedIdentity, Proof, Which},
        token::TokenSource,
    },
    controller::step_error::StepError,
    dns::provider::{
        Provider,
        azure_dns::{AzureDns, NAME, Place, ZoneType, pace},
        bearer::BearerClient,
        http::ApiClient,
    },
};

pub(super) async fn make(
    credentials: &Credentials<'_>,
    settings: &dns01::AzureDns,
) -> Result<Box<dyn Provider>, StepError> {
    let place = place(settings)?;
    let cloud = cloud(settings)?;
    let source = source(credentials, settings, cloud).await?;
    let reaches_tokens = if source.is_local() { local_client()? } else { credentials.http()?.clone() };
    let api = ApiClient::new(NAME, credentials.http()?.clone(), pace());
    let client = BearerClient::new(api, reaches_tokens, source);
    let endpoint = credentials.endpoints().url("azure-resource-manager", cloud.resource_manager);
    let endpoint = endpoint.map_err(|error| unusable("dns01.azureDNS", &error))?;
    Ok(Box::new(AzureDns::new(client, endpoint, place)))
}

fn place(settings: &dns01::AzureDns) -> Result<Place, StepError> {
    for (field, value) in
        [("subscriptionID", &settings.subscription_id), ("resourceGroupName", &settings.resource_group_name)]
    {
        if value.is_empty() {
            return Err(StepError::is_final(format!("The solver's dns01.azureDNS has no {field}")));
        }
    }
    let zone_type = match settings.zone_type.as_deref().unwrap_or_default() {
        "AzurePrivateZone" => ZoneType::Private,
        _ => ZoneType::Public,
    };
    Ok(Place {
        subscription: settings.subscription_id.clone(),
        resource_group: settings.resource_group_name.clone(),
        zone_type,
        zone: set(settings.hosted_zone_name.as_ref()),
    })
}

fn cloud(settings: &dns01::AzureDns) -> Result<Cloud, StepError> {
    let name = settings.environment.as_deref().unwrap_or_default();
    Cloud::named(name).ok_or_else(|| {
        StepError::is_final(format!("The solver's dns01.azureDNS names the environment {name:?}, which is not known"))
    })
}

/// As cert-manager: a client secret if there is a clientID, else the workload's identity, else the machine's.
async fn source(
    credentials: &Credentials<'_>,
    settings: &dns01::AzureDns,
    cloud: Cloud,
) -> Result<Box<dyn TokenSource>, StepError> {
    if let Some(client) = set(settings.client_id.as_ref()) {
        return Ok(Box::new(with_secret(credentials, settings, cloud, client).await?));
    }
    if !credentials.ambient {
        return Err(StepError::is_final(
            "The solver's dns01.azureDNS has no clientID, and issuers like this one may not use the credentials of the \
             controller's surroundings; set clientID, clientSecretSecretRef and tenantID, or see \
             --issuer-ambient-credentials and --cluster-issuer-ambient-credentials",
        ));
    }
    match variable("AZURE_FEDERATED_TOKEN_FILE") {
        Some(file) => Ok(Box::new(workload(credentials, settings, cloud, file.into())?)),
        None => Ok(Box::new(managed(settings, cloud))),
    }
}

async fn with_secret(
    credentials: &Credentials<'_>,
    settings: &dns01::AzureDns,
    cloud: Cloud,
    client: String,
) -> Result<Application, StepError> {
    let lacks = |field: &str| {
        StepError::is_final(format!("The solver's dns01.azureDNS has a clientID but no {field}, which belongs to it"))
    };
    let selector = settings.client_secret_secret_ref.as_ref().ok_or_else(|| lacks("clientSecretSecretRef"))?;
    let tenant = set(settings.tenant_id.as_ref()).ok_or_else(|| lacks("tenantID"))?;
    let secret = credentials.text(selector, "the client secret").await?;
    Ok(Application {
        login: credentials.endpoints().of("azure-login", cloud.login),
        tenant,
        client,
        audience: cloud.resource_manager.to_owned(),
        proof: Proof::Secret(secret.expose().to_owned()),
    })
}

/// The variables are those that Azure's webhook for workload identity sets in the pod.
fn workload(
    credentials: &Credentials<'_>,
    settings: &dns01::AzureDns,
    cloud: Cloud,
    file: PathBuf,
) -> Result<Application, StepError> {
    let identity = settings.managed_identity.as_ref();
    if identity.is_some_and(|identity| set(identity.resource_id.as_ref()).is_some()) {
        return Err(StepError::is_final(
            "The solver's dns01.azureDNS.managedIdentity has a resourceID, which workload identity does not know; set \
             clientID instead",
        ));
    }
    let chosen = |own: Option<String>, name: &str| {
        own.or_else(|| variable(name)).ok_or_else(|| {
            StepError::transient(format!(
                "The controller runs with workload identity (AZURE_FEDERATED_TOKEN_FILE) but without {name}"
            ))
        })
    };
    let host = variable("AZURE_AUTHORITY_HOST").unwrap_or_else(|| cloud.login.to_owned());
    Ok(Application {
        login: credentials.endpoints().of("azure-login", &host),
        tenant: chosen(identity.and_then(|identity| set(identity.tenant_id.as_ref())), "AZURE_TENANT_ID")?,
        client: chosen(identity.and_then(|identity| set(identity.client_id.as_ref())), "AZURE_CLIENT_ID")?,
        audience: cloud.resource_manager.to_owned(),
        proof: Proof::File(file),
    })
}

fn managed(settings: &dns01::AzureDns, cloud: Cloud) -> ManagedIdentity {
    let identity = settings.managed_identity.clone().unwrap_or_default();
    let which = match (set(identity.resource_id.as_ref()), set(identity.client_id.as_ref())) {
        (Some(id), _) => Which::Resource(id),
        (None, Some(id)) => Which::Client(id),
        (None, None) => Which::Only,
    };
    ManagedIdentity::new(variable("AZURE_POD_IDENTITY_AUTHORITY_HOST").as_deref(), cloud.resource_manager, which)
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Manifests leave fields empty rather than out.
fn set(field: Option<&String>) -> Option<String> {
    field.filter(|value| !value.is_empty()).cloned()
}
