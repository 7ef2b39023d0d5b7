//! Settings of `dns01.webhook`: a provider in the cluster, or one of our own.

use async_trait::async_trait;
use hyper::StatusCode;

use super::{built_in, credentials::Credentials};
use crate::{
    api::{dns01, names::OWN_GROUP},
    cluster::{ApiError, Cluster},
    controller::step_error::StepError,
    dns::provider::{
        Provider,
        webhook::{ApiServer, Settings, Webhook},
    },
};

pub(super) async fn make(
    credentials: &Credentials<'_>,
    settings: &dns01::WebhookSolver,
) -> Result<Box<dyn Provider>, StepError> {
    // Without a group no API can be asked, so it can only mean ours.
    if settings.group_name == OWN_GROUP || settings.group_name.is_empty() {
        return built_in::make(credentials, settings).await;
    }
    let settings = Settings {
        group: settings.group_name.clone(),
        solver: settings.solver_name.clone(),
        config: settings.config.clone(),
        namespace: credentials.namespace.clone(),
        ambient: credentials.ambient,
    };
    let webhook = Webhook::new(OwnApiServer(credentials.context.cluster.clone()), settings)
        .map_err(|error| StepError::is_final(format!("The solver's dns01.webhook is wrong: {error}")))?;
    Ok(Box::new(webhook))
}

struct OwnApiServer(Cluster);

#[async_trait]
impl ApiServer for OwnApiServer {
    async fn post(&self, path: &str, body: Vec<u8>) -> Result<(StatusCode, Vec<u8>), String> {
        self.0.post(path, body).await.map_err(|error| match error {
            ApiError::Unavailable { message, .. } => message,
            other => other.to_string(),
        })
    }
}
