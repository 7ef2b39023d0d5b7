//! One Lease, as it is read and written for the election of who works.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{Api, Client, api::ObjectMeta};

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

    /// Makes the Lease say this, provided that `seen` is still its newest version; creates it if none was seen. Of the
    /// annotations only those of `notes` are changed; none takes one away.
    ///
    /// # Errors
    /// [`ApiError::Conflict`] if somebody else wrote in between.
    pub async fn write(
        &self,
        seen: Option<&Lease>,
        spec: LeaseSpec,
        notes: &[(&str, Option<String>)],
    ) -> Result<Lease, ApiError> {
        let named = || ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
        let mut metadata = seen.map_or_else(named, |seen| seen.metadata.clone());
        for (name, value) in notes {
            let annotations = metadata.annotations.get_or_insert_default();
            match value {
                Some(value) => drop(annotations.insert((*name).to_owned(), value.clone())),
                None => drop(annotations.remove(*name)),
            }
        }
        let (lease, params) = (Lease { metadata, spec: Some(spec) }, post_params());
        if seen.is_some() {
            limited_to(self.limit, self.what("write"), self.api.replace(&self.name, &params, &lease)).await
        } else {
            limited_to(self.limit, self.what("create"), self.api.create(&params, &lease)).await
        }
    }

    fn what(&self, verb: &str) -> String {
        format!("{verb} Lease {}/{}", self.namespace, self.name)
    }
}
