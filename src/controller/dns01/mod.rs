//! DNS-01: from the solver of a Challenge to the provider that writes its record.
//!
//! One file per provider reads the solver's settings and the Secrets they name, and makes the
//! [`Provider`](crate::dns::provider::Provider).

mod acme_dns;
mod akamai;
mod azure_dns;
mod check;
mod cloud_dns;
mod cloudflare;
mod credentials;
mod digitalocean;
mod environment;
mod pool;
mod record;
mod rfc2136;
mod route53;
mod webhook;

use std::sync::Arc;

use reqwest::Client;

use self::{credentials::Credentials, pool::Pool};
use super::{Context, step_error::StepError};
use crate::{
    api::{Challenge, dns01::Dns01Solver},
    dns::provider::{Provider, endpoints::Endpoints},
};

pub(super) use self::{
    check::check,
    record::{clean_up, present},
};

/// What all providers share, and those that were made before.
pub struct Providers {
    http: Client,
    endpoints: Endpoints,
    pool: Pool,
}

impl Providers {
    /// `http` is [`certwright::dns::provider::http::client`](crate::dns::provider::http::client).
    pub fn new(http: Client, endpoints: Endpoints) -> Self {
        Self { http, endpoints, pool: Pool::default() }
    }
}

/// Which issuers may use the credentials of the controller's surroundings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambient {
    pub for_issuers: bool,
    pub for_cluster_issuers: bool,
}

impl Default for Ambient {
    fn default() -> Self {
        Self { for_issuers: false, for_cluster_issuers: true }
    }
}

/// The provider that the solver configures. It is the same one as long as the settings and the Secrets they name are.
pub(super) async fn provider(context: &Context, challenge: &Challenge) -> Result<Arc<dyn Provider>, StepError> {
    let Some(solver) = &challenge.spec.solver.dns01 else {
        return Err(StepError::is_final("The solver has no dns01 part, so it cannot answer a DNS-01 challenge"));
    };
    let credentials = Credentials::of(context, challenge);
    let identity = pool::identity(solver, &credentials, &credentials.version(solver).await?);
    if let Some(made) = context.providers.pool.get(&identity) {
        return Ok(made);
    }
    let made: Arc<dyn Provider> = Arc::from(make(&credentials, solver).await?);
    Ok(context.providers.pool.put(identity, made))
}

/// Changes whenever one of the Secrets does that the solver refers to.
pub(super) async fn credentials_version(context: &Context, challenge: &Challenge) -> Result<String, StepError> {
    match &challenge.spec.solver.dns01 {
        Some(solver) => Credentials::of(context, challenge).version(solver).await,
        None => Ok(String::new()),
    }
}

async fn make(credentials: &Credentials<'_>, solver: &Dns01Solver) -> Result<Box<dyn Provider>, StepError> {
    if let Some(settings) = &solver.rfc2136 {
        return rfc2136::make(credentials, settings).await;
    }
    if let Some(settings) = &solver.route53 {
        return route53::make(credentials, settings).await;
    }
    if let Some(settings) = &solver.cloud_dns {
        return cloud_dns::make(credentials, settings).await;
    }
    if let Some(settings) = &solver.azure_dns {
        return azure_dns::make(credentials, settings).await;
    }
    if let Some(settings) = &solver.cloudflare {
        return cloudflare::make(credentials, settings).await;
    }
    if let Some(settings) = &solver.digitalocean {
        return digitalocean::make(credentials, settings).await;
    }
    if let Some(settings) = &solver.akamai {
        return akamai::make(credentials, settings).await;
    }
    if let Some(settings) = &solver.acme_dns {
        return acme_dns::make(credentials, settings).await;
    }
    if let Some(settings) = &solver.webhook {
        return webhook::make(credentials, settings).await;
    }
    Err(StepError::is_final("The solver's dns01 part names no provider; set one, such as dns01.rfc2136"))
}
