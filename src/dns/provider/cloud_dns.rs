//! Google Cloud DNS, by its API (v1). A change names the record sets it takes away exactly as they are, and is made as a
//! whole or not at all, so that nothing of others is lost.

mod record_set;

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use self::record_set::{RecordSet, Step, step};
use super::bearer::{BearerClient, in_time};
use super::http::Answer;
use super::pace::Pace;
use super::zone_list::{ListedZone, ZoneList};
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
    zones: ZoneList<ManagedZone>,
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
        let zone = self.managed_zone_of(&first.record.zone).await?;
        for _ in 0..ATTEMPTS {
            let step = self.step(&zone, changes).await?;
            if step.is_empty() || self.make(&zone, &step).await? {
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
        let mut url = self.url(&["managedZones", zone, "rrsets"]);
        url.query_pairs_mut().append_pair("name", name).append_pair("type", "TXT");
        let answer = self.client.send(&doing, |http| http.get(url.clone())).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Err(self.no_managed_zone(zone).await),
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
        let url = self.url(&["managedZones", zone, "changes"]);
        let answer = self.client.send(&doing, |http| http.post(url.clone()).json(step)).await?;
        match answer.status {
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Ok(false),
            // A record set that is not there any more is told apart from a zone that is not there by the words only.
            StatusCode::NOT_FOUND if said(&answer).is_some_and(|said| said.message.contains("entity.change")) => {
                Ok(false)
            }
            StatusCode::NOT_FOUND => Err(self.no_managed_zone(zone).await),
            status if status.is_success() => Ok(true),
            _ => Err(self.failure(&doing, &answer)),
        }
    }

    /// The name of the managed zone with this apex.
    async fn managed_zone_of(&self, apex: &str) -> Result<String, ProviderError> {
        match &self.managed_zone {
            Some(name) => Ok(name.clone()),
            None => self.zones.find(apex, &self.cure(), async || self.list().await, |zone| zone.name.clone()).await,
        }
    }

    async fn list(&self) -> Result<Vec<ManagedZone>, ProviderError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Page {
            #[serde(default)]
            managed_zones: Vec<ManagedZone>,
            next_page_token: Option<String>,
        }
        let doing = format!("list the zones of the project {}", self.project);
        let (mut zones, mut token) = (Vec::new(), None::<String>);
        for _ in 0..MOST_PAGES {
            let mut url = self.url(&["managedZones"]);
            url.query_pairs_mut()
                .append_pair("maxResults", "1000")
                .append_pair("fields", "managedZones(name,dnsName,visibility),nextPageToken")
                .extend_pairs(token.iter().map(|token| ("pageToken", token)));
            let answer = self.client.send(&doing, |http| http.get(url.clone())).await?;
            if !answer.status.is_success() {
                return Err(self.failure(&doing, &answer));
            }
            let page: Page = self.client.api().json(&doing, &answer)?;
            zones.extend(page.managed_zones.into_iter().map(ManagedZone::in_lower_case));
            token = page.next_page_token.filter(|token| !token.is_empty());
            if token.is_none() {
                break;
            }
        }
        Ok(zones)
    }

    async fn get(&self, zone: &str) -> Result<ManagedZone, ProviderError> {
        let doing = format!("show the managed zone {zone}");
        let url = self.url(&["managedZones", zone]);
        let answer = self.client.send(&doing, |http| http.get(url.clone())).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Err(self.no_managed_zone(zone).await),
            status if status.is_success() => self.client.api().json(&doing, &answer).map(ManagedZone::in_lower_case),
            _ => Err(self.failure(&doing, &answer)),
        }
    }

    async fn no_managed_zone(&self, zone: &str) -> ProviderError {
        self.zones.forget().await;
        let message = format!("{NAME} has no managed zone {zone} for these credentials; check {}", self.cure());
        ProviderError::NoZone { message }
    }

    fn cure(&self) -> String {
        let setting = if self.managed_zone.is_some() { "hostedZoneName and " } else { "" };
        format!("{setting}the project {}", self.project)
    }

    fn failure(&self, doing: &str, answer: &Answer) -> ProviderError {
        let said = said(answer);
        if let Some(limit) = said.as_ref().and_then(Said::limit) {
            let message = format!("{NAME} answered {} when asked to {doing}: {limit}", answer.status);
            return ProviderError::Throttled { message, retry_after: answer.retry_after(), source: None };
        }
        self.client.api().failure(doing, answer, said.as_ref().map(|said| said.message.as_str()))
    }

    fn url(&self, rest: &[&str]) -> Url {
        let mut url = self.endpoint.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["dns", "v1", "projects", &self.project]).extend(rest);
        }
        url
    }
}

#[async_trait]
impl Provider for CloudDns {
    /// Public zones go before private ones, whose records no CA on the internet finds.
    async fn find_zone(&self, name: &str) -> Result<Option<String>, ProviderError> {
        let apex = |zone: &ManagedZone| zone.dns_name.clone();
        let Some(managed_zone) = &self.managed_zone else {
            return self.zones.find(name, &self.cure(), async || self.list().await, apex).await.map(Some);
        };
        let found = self.zones.find(name, &self.cure(), async || Ok(vec![self.get(managed_zone).await?]), apex).await;
        match found {
            // Writing records takes no right to look at the zone itself, so the DNS is asked instead.
            Err(ProviderError::Refused { .. }) => Ok(None),
            other => other.map(Some),
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
}

impl ListedZone for ManagedZone {
    fn apex(&self) -> &str {
        &self.dns_name
    }

    fn rank(&self) -> u8 {
        u8::from(self.visibility != "private")
    }
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
