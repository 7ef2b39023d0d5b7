//! Reading Secrets: ours from the store, other people's one by one and without keeping them.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use super::{hub::Hub, key::ObjectName, write::WriteError};

const TIMEOUT: Duration = Duration::from_secs(15);

/// See the module's description.
#[derive(Clone)]
pub struct SecretReader {
    client: Client,
    hub: Arc<Hub>,
}

impl SecretReader {
    pub fn new(client: Client, hub: Arc<Hub>) -> Self {
        Self { client, hub }
    }

    /// The Secret with its content, or none if there is none of this name.
    pub async fn get(&self, name: &ObjectName) -> Result<Option<Arc<Secret>>, WriteError> {
        if let Some(secret) = self.hub.secrets.get(name) {
            return Ok(Some(secret));
        }
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &name.namespace);
        let what = || format!("read Secret {name}");
        match tokio::time::timeout(TIMEOUT, api.get_opt(&name.name)).await {
            Ok(Ok(secret)) => Ok(secret.map(Arc::new)),
            Ok(Err(error)) => Err(WriteError::from_kube(what(), error)),
            Err(_) => Err(WriteError::timeout(what())),
        }
    }
}
