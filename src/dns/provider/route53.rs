//! Amazon Route 53, by its REST API 2013-04-01.
//!
//! The zones are found with `ListHostedZonesByName`, because the rights that people gave cert-manager have that call and not
//! `ListHostedZones`. All changes of a zone go in one batch, of which all are made or none. It is not waited for until they
//! are on all name servers (`INSYNC`): the records are looked up there anyway.

mod placed;
mod plan;
mod wire;
mod zones;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, RequestBuilder};
use serde::de::DeserializeOwned;

use self::placed::Placed;
use self::plan::Obstacle;
use self::wire::{OneZone, RecordPage, RecordSet, SetChange, ZonePage};
use self::zones::Zones;
use super::http::{Answer, ApiClient};
use super::pace::Pace;
use super::{Change, Provider, ProviderError};
use crate::cloud::aws::partition::Endpoint;
use crate::cloud::aws::signature::{self, Scope, escaped};
use crate::cloud::aws::xml::ServiceError;
use crate::cloud::aws::{CredentialsError, Held};

/// Requests per second that one account may send, and so many at once.
const PER_SECOND: f64 = 5.0;
const BURST: u32 = 5;

/// A batch may have 1000 records, of which a changed one counts twice. Each name may have to be read once.
const MOST_AT_ONCE: usize = 100;

/// How often a batch is tried after the records were read: others may write at the same time.
const TRIES: u32 = 3;

/// For one call of the [`Provider`], however many requests it takes.
const CALL_LIMIT: Duration = Duration::from_secs(50);

/// Pages of record sets of one name. There may be 100 sets with an identifier by AWS's own limits.
const MOST_RECORD_PAGES: usize = 5;

/// How long a name with too many values is left alone.
const FULL_WAIT: Duration = Duration::from_secs(10);

const NAME: &str = "Route 53";

/// The zones that one set of credentials may change.
pub struct Route53 {
    api: ApiClient,
    endpoint: Endpoint,
    credentials: Arc<Held>,
    zones: Zones,
    placed: Placed,
}

/// Why a request did not do what it should.
enum Failure {
    /// The batch does not fit to the records that are there, or to the zone.
    Batch {
        words: String,
        error: ProviderError,
    },
    Other(ProviderError),
}

impl From<ProviderError> for Failure {
    fn from(error: ProviderError) -> Self {
        Self::Other(error)
    }
}

impl From<Failure> for ProviderError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Batch { error, .. } | Failure::Other(error) => error,
        }
    }
}

impl From<CredentialsError> for ProviderError {
    fn from(error: CredentialsError) -> Self {
        let message = error.to_string();
        match error {
            CredentialsError::Refused(_) => Self::Refused { message, source: None },
            CredentialsError::Throttled(_) => Self::Throttled { message, retry_after: None, source: None },
            CredentialsError::Transient(_) => Self::Transient { message, source: None },
        }
    }
}

impl Route53 {
    /// `hosted_zone` is the id of the only zone to write to; without it the zone is found among the public ones.
    ///
    /// # Errors
    ///
    /// What is no id of a zone.
    pub fn new(
        http: Client,
        endpoint: Endpoint,
        credentials: Arc<Held>,
        hosted_zone: Option<&str>,
    ) -> Result<Self, ProviderError> {
        let api = ApiClient::new(NAME, http, Pace::new(PER_SECOND, BURST));
        Ok(Self { api, endpoint, credentials, zones: Zones::new(hosted_zone)?, placed: Placed::default() })
    }

    async fn make(&self, changes: &[Change]) -> Result<(), ProviderError> {
        let Some(first) = changes.first() else { return Ok(()) };
        let zone = self.zones.id(self, &first.record.zone).await?;
        if self.placed.have_room(changes) {
            match self.change(&zone, &plan::blind(changes)).await {
                Ok(()) => {}
                Err(Failure::Batch { words, .. }) => self.make_partly_reading(&zone, changes, &words).await?,
                Err(Failure::Other(error)) => return Err(error),
            }
        } else {
            self.make_reading(&zone, changes).await?;
        }
        self.placed.note(changes);
        Ok(())
    }

    /// Reads those names first that Route 53 complained of, if it named any.
    async fn make_partly_reading(&self, zone: &str, changes: &[Change], words: &str) -> Result<(), ProviderError> {
        let is_named = |change: &&Change| words.contains(&plan::shown(&change.record.name));
        let (named, others): (Vec<&Change>, Vec<&Change>) = changes.iter().partition(is_named);
        let [named, others] = [named, others].map(|part| part.into_iter().cloned().collect::<Vec<_>>());
        if named.is_empty() || others.is_empty() {
            return self.make_reading(zone, changes).await;
        }
        let mut batch = plan::blind(&others);
        let sets = self.records(zone, &named).await?;
        batch.extend(plan::after_reading(&sets, &named).map_err(|obstacle| hindered(&obstacle))?);
        match self.change(zone, &batch).await {
            Err(Failure::Batch { .. }) => self.make_reading(zone, changes).await,
            outcome => Ok(outcome?),
        }
    }

    async fn make_reading(&self, zone: &str, changes: &[Change]) -> Result<(), ProviderError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let sets = self.records(zone, changes).await?;
            let batch = plan::after_reading(&sets, changes).map_err(|obstacle| hindered(&obstacle))?;
            if batch.is_empty() {
                return Ok(());
            }
            match self.change(zone, &batch).await {
                Err(Failure::Batch { .. }) if tries < TRIES => {}
                outcome => return Ok(outcome?),
            }
        }
    }

    async fn change(&self, zone: &str, batch: &[SetChange]) -> Result<(), Failure> {
        let doing = "change TXT records";
        let body = wire::change_request(batch).map_err(|_| self.api.unreadable(doing))?;
        self.send(doing, Method::POST, &format!("hostedzone/{zone}/rrset/"), Some(body)).await.map(drop)
    }

    /// The record sets of all types at the names of the changes.
    async fn records(&self, zone: &str, changes: &[Change]) -> Result<Vec<RecordSet>, ProviderError> {
        let names: BTreeSet<String> = changes.iter().map(|change| plan::shown(&change.record.name)).collect();
        let mut sets = Vec::new();
        for name in names {
            let mut query = format!("name={}&type=TXT", escaped(&name));
            for _ in 0..MOST_RECORD_PAGES {
                let path = format!("hostedzone/{zone}/rrset?{query}&maxitems=100");
                let page: RecordPage = self.get("read TXT records", &path).await?;
                let next = (page.next_record_name.clone(), page.next_record_type.clone());
                let identifier = page.next_record_identifier.clone();
                sets.extend(page.sets().into_iter().filter(|set| plan::is_named(set, &name)));
                match next {
                    (Some(next), Some(kind)) if plan::shown(&next) == name && kind == "TXT" => {
                        let identifier = identifier.map(|id| format!("&identifier={}", escaped(&id)));
                        query = format!("name={}&type=TXT{}", escaped(&name), identifier.unwrap_or_default());
                    }
                    _ => break,
                }
            }
        }
        Ok(sets)
    }

    async fn zone_page(&self, query: &str) -> Result<ZonePage, ProviderError> {
        self.get("list the hosted zones", &format!("hostedzonesbyname?maxitems=100{query}")).await
    }

    async fn zone_of_id(&self, id: &str) -> Result<OneZone, ProviderError> {
        self.get("tell of the hosted zone", &format!("hostedzone/{id}")).await
    }

    async fn get<T: DeserializeOwned>(&self, doing: &str, path: &str) -> Result<T, ProviderError> {
        let answer = self.send(doing, Method::GET, path, None).await?;
        let text = std::str::from_utf8(&answer.body).map_err(|_| self.api.unreadable(doing))?;
        quick_xml::de::from_str(text).map_err(|_| self.api.unreadable(doing))
    }

    async fn send(&self, doing: &str, method: Method, path: &str, body: Option<String>) -> Result<Answer, Failure> {
        let http = self.api.http();
        let credentials = self.credentials.get().await.map_err(ProviderError::from)?;
        let mut request = http.request(method, format!("{}/2013-04-01/{path}", self.endpoint.url));
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/xml").body(body);
        }
        let mut request =
            request.build().map_err(|error| refused(format!("The address of {NAME} is wrong: {error}")))?;
        let scope = Scope { region: &self.endpoint.region, service: "route53" };
        signature::sign(&mut request, &credentials, scope, Timestamp::now()).map_err(|_| {
            refused("The AWS credentials hold characters that cannot be sent; check for stray ones".to_owned())
        })?;
        let answer = self.api.send(doing, RequestBuilder::from_parts(http.clone(), request)).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(self.judge(doing, &answer).await) }
    }

    async fn judge(&self, doing: &str, answer: &Answer) -> Failure {
        let Some(said) = ServiceError::read(&answer.body) else {
            return self.api.failure(doing, answer, None).into();
        };
        let words = said.words();
        let error = self.api.failure(doing, answer, Some(&words));
        if said.is_throttling() {
            return throttled(error.to_string(), None).into();
        }
        if said.is_about_credentials() {
            self.credentials.forget().await;
        }
        match said.code.as_str() {
            // Which of the two it is, when a set is not there as it was said to be, is not the same everywhere.
            "InvalidChangeBatch" | "InvalidInput" => Failure::Batch { words: said.message().to_owned(), error },
            "NoSuchHostedZone" => ProviderError::NoZone { message: error.to_string() }.into(),
            _ => error.into(),
        }
    }
}

#[async_trait]
impl Provider for Route53 {
    async fn find_zone(&self, name: &str) -> Result<Option<String>, ProviderError> {
        limited("list the hosted zones", self.zones.find(self, name)).await
    }

    async fn apply(&self, changes: &[Change]) -> Result<(), ProviderError> {
        let outcome = limited("change TXT records", self.make(changes)).await;
        if let Err(ProviderError::NoZone { .. }) = outcome {
            self.zones.forget().await;
        }
        outcome
    }

    fn most_at_once(&self) -> usize {
        MOST_AT_ONCE
    }
}

async fn limited<T>(doing: &str, call: impl Future<Output = Result<T, ProviderError>>) -> Result<T, ProviderError> {
    tokio::time::timeout(CALL_LIMIT, call).await.unwrap_or_else(|_| {
        let message = format!("{NAME} took more than {} s to {doing}", CALL_LIMIT.as_secs());
        Err(ProviderError::Transient { message, source: None })
    })
}

fn refused(message: String) -> ProviderError {
    ProviderError::Refused { message, source: None }
}

fn throttled(message: String, retry_after: Option<Duration>) -> ProviderError {
    ProviderError::Throttled { message, retry_after, source: None }
}

fn hindered(obstacle: &Obstacle) -> ProviderError {
    match obstacle {
        Obstacle::Full { name } => throttled(
            format!(
                "{NAME} answers with eight of the values at {name} at most, and so many are there; some must go first"
            ),
            Some(FULL_WAIT),
        ),
        Obstacle::Policy { name } => refused(format!(
            "The TXT records at {name} have a routing policy beside which {NAME} takes no other; remove them, or have the \
             challenge answered elsewhere by a CNAME"
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
