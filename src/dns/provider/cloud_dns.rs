//! Google Cloud DNS, by its API (v1). A change names the record sets it takes away exactly as they are, and is made as a
//! whole or not at all, so that nothing of others is lost.

mod record_set;

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use self::record_set::{RecordSet, Step, step};
use super::address::address;
use super::bearer::{BearerClient, in_time};
use super::http::Answer;
use super::pace::Pace;
use super::zone_list::{Listing, ZoneList, suffixes};
use super::{Change, Provider, ProviderError, by_name};
use crate::dns::name::shown;

/// Where the API is, unless the operator says otherwise.
pub const USUAL_ENDPOINT: &str = "https://dns.googleapis.com";

/// As messages call it.
pub const NAME: &str = "Google Cloud DNS";

/// How often a change is tried that others came before.
const ATTEMPTS: usize = 5;

/// How many record sets are read at once.
const READS_AT_ONCE: usize = 8;

/// A project has 10,000 zones at most, and a page holds 1,000 if Google likes.
const MOST_PAGES: usize = 200;

/// What Google calls its limits where it does not answer 429.
const LIMITS: [&str; 3] = ["rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded"];

/// See the module's description.
pub struct CloudDns {
    client: BearerClient,
    endpoint: Url,
    project: String,
    /// The name, not the DNS name, of the only zone to write to.
    managed_zone: Option<String>,
    /// By their DNS names, with the names that the API knows them by.
    zones: ZoneList<String>,
}

/// Google lets each project see its own limits only; this is well below those of a new one.
pub fn pace() -> Pace {
    Pace::new(10.0, 50)
}

impl CloudDns {
    /// `managed_zone` is the name of the zone to write to; without one it is found among the project's.
    pub fn new(client: BearerClient, endpoint: Url, project: &str, managed_zone: Option<&str>) -> Self {
        let (project, managed_zone) = (project.to_owned(), managed_zone.map(str::to_owned));
        Self { client, endpoint, project, managed_zone, zones: ZoneList::default() }
    }

    /// Makes the changes at once, whatever others do meanwhile.
    async fn change(&self, changes: &[Change]) -> Result<(), ProviderError> {
        let Some(first) = changes.first() else { return Ok(()) };
        let zone = match &self.managed_zone {
            Some(managed_zone) => managed_zone,
            None => &self.zone_of(&first.record.zone).await?.1,
        };
        for _ in 0..ATTEMPTS {
            let step = self.step(zone, changes).await?;
            if step.is_empty() || self.make(zone, &step).await? {
                return Ok(());
            }
        }
        let message = format!("{NAME} refused to change TXT records of {zone}, for others changed them each time");
        Err(ProviderError::Transient { message, source: None })
    }

    /// What makes the zone as it is now into what it is to be.
    async fn step(&self, zone: &str, changes: &[Change]) -> Result<Step, ProviderError> {
        let steps = stream::iter(by_name(changes)).map(|(name, changes)| async move {
            let held = self.read(zone, &name).await?;
            step(held, &changes)
        });
        let steps: Vec<Step> = steps.buffered(READS_AT_ONCE).try_collect().await?;
        Ok(steps.into_iter().fold(Step::default(), Step::and))
    }

    async fn read(&self, zone: &str, name: &str) -> Result<Option<RecordSet>, ProviderError> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(default)]
            rrsets: Vec<RecordSet>,
        }
        let doing = format!("read the TXT records of {}", shown(name));
        let query = [("name", name.to_owned()), ("type", "TXT".to_owned())];
        let url = self.url(&["managedZones", zone, "rrsets"], &query);
        let answer = self.client.send(&doing, |http| http.get(url.clone())).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Err(self.no_managed_zone(zone)),
            status if status.is_success() => {
                let page: Page = self.client.api().json(&doing, &answer)?;
                Ok(page.rrsets.into_iter().find(|set| set.name.eq_ignore_ascii_case(name) && set.kind == "TXT"))
            }
            _ => Err(self.failure(&doing, &answer)),
        }
    }

    /// Whether the step was made; if not, others came before. It is not waited for until all of Google's servers have it.
    async fn make(&self, zone: &str, step: &Step) -> Result<bool, ProviderError> {
        let doing = format!("change TXT records of {zone}");
        let url = self.url(&["managedZones", zone, "changes"], &[]);
        let answer = self.client.send(&doing, |http| http.post(url.clone()).json(step)).await?;
        match answer.status {
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Ok(false),
            // A record set that is not there any more is told apart from a zone that is not there by the words only.
            StatusCode::NOT_FOUND if said(&answer).is_some_and(|said| said.message.contains("entity.change")) => {
                Ok(false)
            }
            StatusCode::NOT_FOUND => Err(self.no_managed_zone(zone)),
            status if status.is_success() => Ok(true),
            _ => Err(self.failure(&doing, &answer)),
        }
    }

    /// The apex and the name of the managed zone that a name lies in.
    async fn zone_of(&self, name: &str) -> Result<(String, String), ProviderError> {
        match &self.managed_zone {
            Some(managed_zone) => self.zones.find(name, self.get(managed_zone)).await,
            None => self.zones.find(name, self.list()).await,
        }
    }

    async fn list(&self) -> Result<Listing<String>, ProviderError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Page {
            #[serde(default)]
            managed_zones: Vec<ManagedZone>,
            next_page_token: Option<String>,
        }
        let doing = format!("list the zones of the project {}", self.project);
        let mut query = vec![
            ("maxResults", "1000".to_owned()),
            ("fields", "managedZones(name,dnsName,visibility),nextPageToken".to_owned()),
        ];
        let mut zones = Vec::new();
        for _ in 0..MOST_PAGES {
            let url = self.url(&["managedZones"], &query);
            let answer = self.client.send(&doing, |http| http.get(url.clone())).await?;
            if !answer.status.is_success() {
                return Err(self.failure(&doing, &answer));
            }
            let page: Page = self.client.api().json(&doing, &answer)?;
            zones.extend(page.managed_zones.into_iter().map(ManagedZone::in_lower_case));
            let Some(token) = page.next_page_token.filter(|token| !token.is_empty()) else { break };
            query.truncate(2);
            query.push(("pageToken", token));
        }
        Ok(Listing::All(public_first(&zones)))
    }

    async fn get(&self, managed_zone: &str) -> Result<Listing<String>, ProviderError> {
        let doing = format!("show the managed zone {managed_zone}");
        let url = self.url(&["managedZones", managed_zone], &[]);
        let answer = self.client.send(&doing, |http| http.get(url.clone())).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Err(self.no_managed_zone(managed_zone)),
            status if status.is_success() => {
                let zone: ManagedZone = self.client.api().json(&doing, &answer)?;
                Ok(Listing::All(vec![(zone.dns_name, zone.name)]))
            }
            _ => Err(self.failure(&doing, &answer)),
        }
    }

    fn no_managed_zone(&self, managed_zone: &str) -> ProviderError {
        let setting = if self.managed_zone.is_some() { "hostedZoneName and " } else { "" };
        let message = format!(
            "{NAME} has no managed zone {managed_zone} in the project {}; check {setting}the project",
            self.project
        );
        ProviderError::NoZone { message }
    }

    fn failure(&self, doing: &str, answer: &Answer) -> ProviderError {
        let said = said(answer);
        if let Some(limit) = said.as_ref().and_then(Said::limit) {
            let message = format!("{NAME} answered {} when asked to {doing}: {limit}", answer.status);
            return ProviderError::Throttled { message, retry_after: answer.retry_after(), source: None };
        }
        self.client.api().failure(doing, answer, said.as_ref().map(|said| said.message.as_str()))
    }

    fn url(&self, rest: &[&str], query: &[(&str, String)]) -> Url {
        let segments = [&["dns", "v1", "projects", &self.project], rest].concat();
        let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        address(&self.endpoint, &segments, &query)
    }
}

#[async_trait]
impl Provider for CloudDns {
    /// Public zones go before private ones, whose records no CA on the internet finds.
    async fn find_zone(&self, name: &str) -> Result<Option<String>, ProviderError> {
        match self.zone_of(name).await {
            // Writing to a zone that the solver names takes no right to look at it, so the DNS is asked instead.
            Err(ProviderError::Refused { .. }) if self.managed_zone.is_some() => Ok(None),
            found => found.map(|(apex, _)| Some(apex)),
        }
    }

    async fn apply(&self, changes: &[Change]) -> Result<(), ProviderError> {
        in_time(NAME, self.change(changes)).await
    }

    /// Google takes a thousand record sets in a change; each is read before.
    fn most_at_once(&self) -> usize {
        50
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManagedZone {
    name: String,
    dns_name: String,
    #[serde(default)]
    visibility: String,
}

impl ManagedZone {
    fn in_lower_case(self) -> Self {
        Self { dns_name: self.dns_name.to_ascii_lowercase(), ..self }
    }

    fn is_private(&self) -> bool {
        self.visibility == "private"
    }
}

/// The zones without those private ones that lie in a public one; of several with the same DNS name the API's first.
fn public_first(zones: &[ManagedZone]) -> Vec<(String, String)> {
    let apexes = |is_private: bool| {
        let chosen = zones.iter().filter(move |zone| zone.is_private() == is_private);
        chosen.rev().map(|zone| (zone.dns_name.clone(), zone.name.clone()))
    };
    let mut found: BTreeMap<String, String> = apexes(false).collect();
    let in_public = |apex: &str| suffixes(apex).any(|suffix| found.contains_key(&format!("{suffix}.")));
    let private: Vec<_> = apexes(true).filter(|(apex, _)| !in_public(apex)).collect();
    found.extend(private);
    found.into_iter().collect()
}

/// An error as Google's APIs tell it.
#[derive(Debug, Deserialize)]
struct Said {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Vec<Detail>,
}

#[derive(Debug, Deserialize)]
struct Detail {
    #[serde(default)]
    reason: String,
}

impl Said {
    fn limit(&self) -> Option<&str> {
        self.errors.iter().map(|error| error.reason.as_str()).find(|reason| LIMITS.contains(reason))
    }
}

fn said(answer: &Answer) -> Option<Said> {
    #[derive(Deserialize)]
    struct Body {
        error: Said,
    }
    serde_json::from_slice::<Body>(&answer.body).ok().map(|body| body.error)
}

#[cfg(test)]
mod tests;
