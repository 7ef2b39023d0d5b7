//! A service of one's own that writes the record: lego's HTTP contract.
//!
//! `{"fqdn": NAME, "value": VALUE}` is posted to `ENDPOINT/present` and `ENDPOINT/cleanup`; any answer of 200 to 299 means
//! that it is done. lego's RAW mode, which hands over the key authorization, is not there: an object of a DNS-01 challenge
//! holds only its digest.

use async_trait::async_trait;
use reqwest::Url;
use serde_json::json;

use super::built_in::{BuiltIn, CA_BUNDLE, ConfigError, Field, Kind, Settings, Tools};
use super::http::ApiClient;
use super::pace::Pace;
use super::{Action, Change, Provider, ProviderError};
use crate::api::Sensitive;

/// How `dns01.webhook` names and describes it.
pub const BUILT_IN: BuiltIn = BuiltIn {
    name: "httpreq",
    fields: &[
        Field::required("endpoint", Kind::Text),
        Field::optional("username", Kind::Text),
        Field::optional("password", Kind::Secret),
        CA_BUNDLE,
    ],
    make: |tools, settings| Ok(Box::new(HttpRequest::new(tools, settings)?)),
};

/// Requests a second, in the long run and at once: nobody has published a limit.
const PER_SECOND: f64 = 20.0;
const BURST: u32 = 20;

/// See the module's description.
pub struct HttpRequest {
    api: ApiClient,
    endpoint: Url,
    user: Option<(String, Sensitive)>,
}

impl HttpRequest {
    fn new(tools: &Tools<'_>, settings: &Settings) -> Result<Self, ConfigError> {
        let user = match (settings.get("username"), settings.get("password")) {
            (None, None) => None,
            (Some(name), Some(password)) => Some((name.to_owned(), password.into())),
            (None, Some(_)) => return Err(ConfigError::Missing("username".into())),
            (Some(_), None) => return Err(ConfigError::Missing("passwordSecretRef".into())),
        };
        let api = ApiClient::new("the endpoint", settings.client(tools)?, Pace::new(PER_SECOND, BURST));
        Ok(Self { api, endpoint: settings.url("endpoint")?, user })
    }

    async fn change(&self, change: &Change) -> Result<(), ProviderError> {
        let doing = match change.action {
            Action::Add => "present",
            Action::Remove => "cleanup",
        };
        let mut url = self.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push(doing);
        }
        let body = json!({ "fqdn": change.record.name, "value": change.record.value });
        let mut request = self.api.http().post(url).json(&body);
        if let Some((name, password)) = &self.user {
            request = request.basic_auth(name, Some(password.expose()));
        }
        let doing = format!("{doing} {}", change.record.name);
        let answer = self.api.send(&doing, request).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        // Whoever may write an Issuer chooses the address: what is read there is shown to nobody.
        match self.api.failure(&doing, &answer, None) {
            // A service that is put right does not tell us.
            ProviderError::Refused { message, source } if !matches!(answer.status.as_u16(), 401 | 403) => {
                Err(ProviderError::Transient { message, source })
            }
            error => Err(error),
        }
    }
}

#[async_trait]
impl Provider for HttpRequest {
    async fn apply(&self, changes: &[Change]) -> Result<(), ProviderError> {
        for change in changes {
            self.change(change).await?;
        }
        Ok(())
    }
}
