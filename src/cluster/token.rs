//! Tokens of service accounts.

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, api::PostParams};

use super::{
    error::{ApiError, limited},
    key::ObjectName,
    write::Cluster,
};
use crate::api::Sensitive;

impl Cluster {
    /// A token of a service account for these audiences that lasts so many seconds (Kubernetes TokenRequest).
    pub async fn service_account_token(
        &self,
        account: &ObjectName,
        audiences: Vec<String>,
        seconds: i64,
    ) -> Result<Sensitive, ApiError> {
        let spec = TokenRequestSpec { audiences, expiration_seconds: Some(seconds), bound_object_ref: None };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &account.namespace);
        let what = format!("request a token of ServiceAccount {account}");
        let params = PostParams::default();
        let answer = limited(what, accounts.create_token_request(&account.name, &params, &request)).await?;
        Ok(answer.status.map(|status| status.token).unwrap_or_default().into())
    }
}
