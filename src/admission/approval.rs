//! Who may approve: what a signer is called in plural, and whether the user has the right.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{Api, Client, api::PostParams};
use tokio::time::timeout;

use crate::{
    api::names::GROUP,
    decide::admission::{ApprovalAsked, User, signer_names},
};

/// For one question to the API server.
const TIMEOUT: Duration = Duration::from_secs(10);

/// So many kinds of signers are remembered; there are a handful.
const MOST_KINDS: usize = 256;

/// See the module's description.
pub struct Approvals {
    client: Client,
    /// Plural and scope by group and kind. A kind is never called otherwise later.
    kinds: Mutex<HashMap<(String, String), (String, bool)>>,
}

/// What came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    Granted,
    Denied,
    UnknownSigner,
}

impl Approvals {
    pub fn new(client: Client) -> Self {
        Self { client, kinds: Mutex::default() }
    }

    /// Whether the user may approve or deny requests to this issuer. A question that fails counts as no.
    pub async fn may_approve(&self, asked: &ApprovalAsked, user: &User) -> Right {
        let known = asked.known().map(|(plural, is_namespaced)| (plural.to_owned(), is_namespaced));
        let (plural, is_namespaced) = match known {
            Some(known) => known,
            None => match self.look_up(asked).await {
                Ok(Some(found)) => found,
                Ok(None) => return Right::UnknownSigner,
                Err(error) => {
                    tracing::warn!(
                        group = asked.group,
                        kind = asked.kind,
                        error,
                        "the kind of a signer cannot be looked up"
                    );
                    return Right::Denied;
                }
            },
        };
        for name in signer_names(asked, &plural, is_namespaced) {
            match self.is_allowed(&name, user).await {
                Ok(true) => return Right::Granted,
                Ok(false) => {}
                Err(error) => tracing::warn!(signer = name, error, "the right to approve cannot be looked up"),
            }
        }
        Right::Denied
    }

    async fn look_up(&self, asked: &ApprovalAsked) -> Result<Option<(String, bool)>, String> {
        let key = (asked.group.clone(), asked.kind.clone());
        if let Some(held) = self.with(|kinds| kinds.get(&key).cloned()) {
            return Ok(Some(held));
        }
        let found = timeout(TIMEOUT, self.discover(asked)).await.map_err(|_| "no answer in time".to_owned())?;
        let found = found.map_err(|error| error.to_string())?;
        if let Some(found) = &found {
            self.with(|kinds| {
                if kinds.len() < MOST_KINDS {
                    kinds.insert(key, found.clone());
                }
            });
        }
        Ok(found)
    }

    async fn discover(&self, asked: &ApprovalAsked) -> kube::Result<Option<(String, bool)>> {
        let groups = self.client.list_api_groups().await?.groups;
        let versions = groups.into_iter().filter(|group| group.name == asked.group).flat_map(|group| group.versions);
        for version in versions {
            let list = self.client.list_api_group_resources(&version.group_version).await?;
            // Subresources have the kind of what they are part of.
            let of_kind = |name: &str, kind: &str| kind == asked.kind && !name.contains('/');
            if let Some(found) = list.resources.into_iter().find(|held| of_kind(&held.name, &held.kind)) {
                return Ok(Some((found.name, found.namespaced)));
            }
        }
        Ok(None)
    }

    async fn is_allowed(&self, signer: &str, user: &User) -> Result<bool, String> {
        let attributes = ResourceAttributes {
            group: Some(GROUP.to_owned()),
            resource: Some("signers".to_owned()),
            verb: Some("approve".to_owned()),
            version: Some("*".to_owned()),
            name: Some(signer.to_owned()),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: Some(user.username.clone()),
            uid: Some(user.uid.clone()).filter(|uid| !uid.is_empty()),
            groups: Some(user.groups.clone()),
            extra: Some(user.extra.clone()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let params = PostParams::default();
        let answer =
            timeout(TIMEOUT, api.create(&params, &review)).await.map_err(|_| "no answer in time".to_owned())?;
        Ok(answer.map_err(|error| error.to_string())?.status.is_some_and(|status| status.allowed))
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<(String, String), (String, bool)>) -> T) -> T {
        work(&mut self.kinds.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
