//! One Lease, as it is read and written for the election of who works.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};

use super::{
    error::{ApiError, limited_to},
    write::post_params,
};

/// See the module's description.
#[derive(Clone)]
pub struct LeaseHandle {
    api: Api<Lease>,
    namespace: String,
    name: String,
    /// For one call.
    limit: Duration,
}

impl LeaseHandle {
    pub fn new(client: Client, namespace: &str, name: &str, limit: Duration) -> Self {
        Self { api: Api::namespaced(client, namespace), namespace: namespace.to_owned(), name: name.to_owned(), limit }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Lease as it is now; none if there is none.
    pub async fn read(&self) -> Result<Option<Lease>, ApiError> {
        limited_to(self.limit, self.what("read"), self.api.get_opt(&self.name)).await
    }

    /// Writes the Lease, provided that it is of the newest version; creates it if it names no version.
    ///
    /// # Errors
    /// [`ApiError::Conflict`] if somebody else wrote in between.
    pub async fn write(&self, lease: &Lease) -> Result<Lease, ApiError> {
        let params = post_params();
        if lease.metadata.resource_version.is_some() {
            limited_to(self.limit, self.what("write"), self.api.replace(&self.name, &params, lease)).await
        } else {
            limited_to(self.limit, self.what("create"), self.api.create(&params, lease)).await
        }
    }

    fn what(&self, verb: &str) -> String {
        format!("{verb} Lease {}/{}", self.namespace, self.name)
    }
}
