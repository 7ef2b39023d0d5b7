//! Azure DNS, by Azure Resource Manager: public zones (API version 2018-05-01) and private ones (2018-09-01). Every write says
//! which state of the record set it follows on (`If-Match`), so that nothing of others is lost.

mod record_set;

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use reqwest::header::{IF_MATCH, IF_NONE_MATCH};
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;

pub use self::record_set::ZoneType;
use self::record_set::{RecordSet, Step, step};
use super::address::address;
use super::bearer::{BearerClient, in_time};
use super::http::Answer;
use super::pace::Pace;
use super::refusals::Refusals;
use super::zone_list::{Listing, ZoneList, no_zone, suffixes};
use super::{Action, Change, Provider, ProviderError, by_name};
use crate::dns::name::shown;

/// As messages call it.
pub const NAME: &str = "Azure DNS";

/// How often a change is tried that others came before.
const ATTEMPTS: usize = 5;

/// How many record sets are worked on at once.
const SETS_AT_ONCE: usize = 4;

/// A page holds 100 zones.
const MOST_PAGES: usize = 100;

/// See the module's description.
pub struct AzureDns {
    client: BearerClient,
    endpoint: Url,
    place: Place,
    zones: ZoneList<()>,
    /// The credentials are for single zones only.
    may_not_list: AtomicBool,
}

/// Where the zones are.
#[derive(Clone, Debug)]
pub struct Place {
    pub subscription: String,
    pub resource_group: String,
    pub zone_type: ZoneType,
    /// The only zone to write to; without it, it is found among those of the resource group.
    pub zone: Option<String>,
}

/// Azure DNS answers 500 reads in five minutes, and at most every second request is one.
pub fn pace() -> Pace {
    Pace::new(3.0, 100)
}

impl AzureDns {
    /// `endpoint` is that of Azure Resource Manager.
    pub fn new(client: BearerClient, endpoint: Url, place: Place) -> Self {
        Self { client, endpoint, place, zones: ZoneList::default(), may_not_list: AtomicBool::default() }
    }

    async fn change(&self, changes: &[Change]) -> Result<(), ProviderError> {
        let sets =
            stream::iter(by_name(changes)).map(|(name, changes)| async move { self.change_set(&name, &changes).await });
        let mut sets = sets.buffer_unordered(SETS_AT_ONCE);
        let mut refusals = Refusals::default();
        while let Some(made) = sets.next().await {
            refusals.note(made)?;
        }
        refusals.told()
    }

    /// Makes the changes at one name, whatever others do meanwhile.
    async fn change_set(&self, name: &str, changes: &[Change]) -> Result<(), ProviderError> {
        let Some(first) = changes.first() else { return Ok(()) };
        let zone = shown(&first.record.zone);
        let url = self.record_url(zone, name);
        // Reads are what Azure allows the fewest of, and mostly there is nothing yet.
        let is_adding = changes.iter().all(|change| change.action == Action::Add);
        if is_adding && self.make(zone, name, &url, step(None, changes, self.place.zone_type)).await? {
            return Ok(());
        }
        for _ in 0..ATTEMPTS {
            let held = self.read(name, &url).await?;
            if self.make(zone, name, &url, step(held.as_ref(), changes, self.place.zone_type)).await? {
                return Ok(());
            }
        }
        let name = shown(name);
        let message = format!("{NAME} refused to change the TXT records of {name}, for others changed them each time");
        Err(ProviderError::Transient { message, source: None })
    }

    async fn read(&self, name: &str, url: &Url) -> Result<Option<RecordSet>, ProviderError> {
        let doing = format!("read the TXT records of {}", shown(name));
        let answer = self.client.send(&doing, |http| http.get(url.clone())).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                let value: Value = self.client.api().json(&doing, &answer)?;
                RecordSet::parse(&value).map(Some).ok_or_else(|| self.client.api().unreadable(&doing))
            }
            _ => Err(self.failure(&doing, &answer)),
        }
    }

    /// Whether the step was made; if not, others came before.
    async fn make(&self, zone: &str, name: &str, url: &Url, step: Step) -> Result<bool, ProviderError> {
        if step == Step::Nothing {
            return Ok(true);
        }
        let doing = format!("change the TXT records of {}", shown(name));
        let answer = self.client.send(&doing, |http| request(http, url, &step)).await?;
        match answer.status {
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Ok(false),
            StatusCode::NOT_FOUND if matches!(step, Step::Delete(_)) => Ok(true),
            StatusCode::NOT_FOUND => Err(self.gone(zone)),
            status if status.is_success() => Ok(true),
            _ => Err(self.failure(&doing, &answer)),
        }
    }

    /// All zones of the resource group, or the one of a name if the credentials are for single zones only.
    async fn look_up(&self, name: &str) -> Result<Listing<()>, ProviderError> {
        if !self.may_not_list.load(Ordering::Relaxed) {
            let doing = format!("list the zones of the resource group {}", self.place.resource_group);
            match self.list(&doing).await? {
                Ok(zones) => return Ok(Listing::All(zones)),
                Err(answer) if answer.status == StatusCode::FORBIDDEN => {}
                Err(answer) => return Err(self.failure(&doing, &answer)),
            }
        }
        self.may_not_list.store(true, Ordering::Relaxed);
        self.probe(name).await
    }

    /// The inner error is the answer that is no page of the list.
    async fn list(&self, doing: &str) -> Result<Result<Vec<(String, ())>, Answer>, ProviderError> {
        #[derive(Deserialize)]
        struct Zone {
            name: String,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Page {
            #[serde(default)]
            value: Vec<Zone>,
            next_link: Option<String>,
        }
        let (mut zones, mut url) = (Vec::new(), self.url(&[]));
        for _ in 0..MOST_PAGES {
            let answer = self.client.send(doing, |http| http.get(url.clone())).await?;
            if !answer.status.is_success() {
                return Ok(Err(answer));
            }
            let page: Page = self.client.api().json(doing, &answer)?;
            zones.extend(page.value.into_iter().map(|zone| (zone.name, ())));
            // Only the query of the link is taken: a token must not follow it elsewhere.
            let Some(link) = page.next_link.and_then(|link| Url::parse(&link).ok()) else { break };
            url.set_query(link.query());
        }
        Ok(Ok(zones))
    }

    /// The longest zone that the name lies in and that can be looked at.
    async fn probe(&self, name: &str) -> Result<Listing<()>, ProviderError> {
        for zone in suffixes(name).filter(|zone| zone.contains('.')) {
            let doing = format!("show the zone {zone}");
            let url = self.url(&[zone]);
            let answer = self.client.send(&doing, |http| http.get(url.clone())).await?;
            match answer.status {
                StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {}
                status if status.is_success() => return Ok(Listing::One(zone.to_owned(), ())),
                _ => return Err(self.failure(&doing, &answer)),
            }
        }
        Err(no_zone(name, None))
    }

    fn gone(&self, zone: &str) -> ProviderError {
        let Place { subscription, resource_group, zone: setting, .. } = &self.place;
        let setting = if setting.is_some() { "hostedZoneName, zoneType" } else { "zoneType" };
        let message = format!(
            "{NAME} has no zone {zone} in the resource group {resource_group} of the subscription {subscription}; check \
             {setting}, resourceGroupName and subscriptionID"
        );
        ProviderError::NoZone { message }
    }

    fn failure(&self, doing: &str, answer: &Answer) -> ProviderError {
        self.client.api().failure(doing, answer, words(answer).as_deref())
    }

    /// The address of the zones, or of what is below them.
    fn url(&self, rest: &[&str]) -> Url {
        let Place { subscription, resource_group, zone_type, .. } = &self.place;
        let zones = ["subscriptions", subscription, "resourceGroups", resource_group, "providers", "Microsoft.Network"];
        let segments = [&zones, &[zone_type.resource()][..], rest].concat();
        address(&self.endpoint, &segments, &[("api-version", zone_type.api_version())])
    }

    fn record_url(&self, zone: &str, name: &str) -> Url {
        let relative = shown(name).strip_suffix(zone).map_or(shown(name), |labels| labels.trim_end_matches('.'));
        self.url(&[zone, "TXT", if relative.is_empty() { "@" } else { relative }])
    }
}

#[async_trait]
impl Provider for AzureDns {
    async fn find_zone(&self, name: &str) -> Result<Option<String>, ProviderError> {
        let Some(zone) = &self.place.zone else {
            return self.zones.find(name, self.look_up(name)).await.map(|(apex, ())| Some(apex));
        };
        let zone = shown(zone).to_ascii_lowercase();
        if suffixes(name).any(|suffix| suffix == zone) {
            return Ok(Some(format!("{zone}.")));
        }
        let message = format!("{} does not lie in the zone {zone} that hostedZoneName names", shown(name));
        Err(ProviderError::NoZone { message })
    }

    async fn apply(&self, changes: &[Change]) -> Result<(), ProviderError> {
        in_time(NAME, self.change(changes)).await
    }

    /// Each name takes requests of its own.
    fn most_at_once(&self) -> usize {
        20
    }
}

fn request(http: &Client, url: &Url, step: &Step) -> RequestBuilder {
    match step {
        Step::Nothing => http.get(url.clone()),
        Step::Create(body) => http.put(url.clone()).header(IF_NONE_MATCH, "*").json(body),
        Step::Replace(tag, body) => http.put(url.clone()).header(IF_MATCH, tag).json(body),
        Step::Delete(tag) => http.delete(url.clone()).header(IF_MATCH, tag),
    }
}

/// What Azure says about a failure. What it says about tokens is left out, for it has times in it.
fn words(answer: &Answer) -> Option<String> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let error = if body["error"].is_object() { &body["error"] } else { &body };
    let code = error["code"].as_str()?;
    match error["message"].as_str() {
        Some(message) if answer.status != StatusCode::UNAUTHORIZED => Some(format!("{code}, {message}")),
        _ => Some(code.to_owned()),
    }
}

#[cfg(test)]
mod tests;
