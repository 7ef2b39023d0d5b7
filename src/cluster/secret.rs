//! Reading Secrets: ours from the store, other people's one by one and without keeping them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use super::{
    error::{ApiError, limited},
    hub::Hub,
    key::ObjectName,
};

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
    pub async fn get(&self, name: &ObjectName) -> Result<Option<Arc<Secret>>, ApiError> {
        if let Some(secret) = self.hub.secrets.get(name) {
            return Ok(Some(secret));
        }
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &name.namespace);
        let secret = limited(format!("read Secret {name}"), api.get_opt(&name.name)).await?;
        Ok(secret.map(Arc::new))
    }
}
