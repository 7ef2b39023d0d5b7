//! DigitalOcean: API version 2.
//!
//! Values are records of their own there, so that adding and removing one never touches another.

use std::collections::BTreeSet;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::address::address;
use super::endpoints::Endpoints;
use super::http::{Answer, ApiClient};
use super::pace::Pace;
use super::quoting::unquoted;
use super::refusals::Refusals;
use super::secret_header::secret_header;
use super::zone_list::{Listing, ZoneList};
use super::{Action, Change, Provider, ProviderError, TxtRecord, by_name};
use crate::api::Sensitive;
use crate::dns::name::shown;

const VENDORS_ADDRESS: &str = "https://api.digitalocean.com";

/// 5,000 requests an hour and 250 a minute are allowed; some room is left for others with the same token.
const REQUESTS_PER_SECOND: f64 = 1.3;
const REQUESTS_AT_ONCE: u32 = 100;

/// The most that a page may have.
const A_PAGE: &str = "200";

/// Longer lists are not read to their end: 20,000 domains.
const MOST_PAGES: usize = 100;

/// In seconds.
const LEAST_TTL: u32 = 30;

/// Changes whose records are likely at one name, so that they are looked up once.
const CHANGES_AT_ONCE: usize = 20;

/// See the module's description.
#[derive(Debug)]
pub struct DigitalOcean {
    api: ApiClient,
    base: Url,
    headers: HeaderMap,
    zones: ZoneList<()>,
}

/// One page of a list, under either of these keys.
#[derive(Deserialize)]
struct Page<T> {
    #[serde(alias = "domains", alias = "domain_records")]
    items: Vec<T>,
    #[serde(default)]
    links: Links,
}

#[derive(Default, Deserialize)]
struct Links {
    #[serde(default)]
    pages: Pages,
}

#[derive(Default, Deserialize)]
struct Pages {
    next: Option<String>,
}

#[derive(Deserialize)]
struct Domain {
    name: String,
}

#[derive(Deserialize)]
struct Record {
    id: u64,
    data: String,
}

#[derive(Deserialize)]
struct Failure {
    message: String,
}

impl DigitalOcean {
    /// # Errors
    ///
    /// A token that a request cannot carry.
    pub fn new(http: Client, endpoints: &Endpoints, token: &Sensitive) -> Result<Self, ProviderError> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, secret_header("the API token", &format!("Bearer {}", token.expose()))?);
        let pace = Pace::new(REQUESTS_PER_SECOND, REQUESTS_AT_ONCE);
        Ok(Self {
            api: ApiClient::new("DigitalOcean", http, pace),
            base: endpoints.url("digitalocean", VENDORS_ADDRESS)?,
            headers,
            zones: ZoneList::default(),
        })
    }

    async fn all_zones(&self) -> Result<Listing<()>, ProviderError> {
        let domains: Vec<Domain> = self.pages("list the domains", &["v2", "domains"], &[]).await?;
        Ok(Listing::All(domains.into_iter().map(|domain| (domain.name, ())).collect()))
    }

    /// Makes the changes at one name.
    async fn apply_at(&self, name: &str, changes: &[&Change]) -> Result<(), ProviderError> {
        let there = self.at(name, &changes[0].record.zone).await?;
        let mut added = BTreeSet::new();
        for Change { action, record } in changes {
            let same: Vec<&Record> = there.iter().filter(|found| unquoted(&found.data) == record.value).collect();
            match action {
                Action::Add if same.is_empty() && added.insert(&record.value) => self.add(name, record).await?,
                Action::Add => {}
                Action::Remove => {
                    for found in same {
                        self.remove(name, record, found.id).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn at(&self, name: &str, zone: &str) -> Result<Vec<Record>, ProviderError> {
        let doing = format!("list the TXT records at {name}");
        self.pages(&doing, &["v2", "domains", shown(zone), "records"], &[("type", "TXT"), ("name", name)]).await
    }

    async fn add(&self, name: &str, record: &TxtRecord) -> Result<(), ProviderError> {
        let doing = format!("add a TXT record at {name}");
        let zone = shown(&record.zone);
        let (relative, ttl) = (relative(name, zone), record.ttl.max(LEAST_TTL));
        let body = json!({ "type": "TXT", "name": relative, "data": record.value, "ttl": ttl });
        let request = self.request(Method::POST, &["v2", "domains", zone, "records"], &[]).json(&body);
        let answer = self.api.send(&doing, request).await?;
        if answer.status.is_success() { Ok(()) } else { Err(self.failure(&doing, &answer)) }
    }

    async fn remove(&self, name: &str, record: &TxtRecord, id: u64) -> Result<(), ProviderError> {
        let doing = format!("remove a TXT record at {name}");
        let segments = ["v2", "domains", shown(&record.zone), "records", &id.to_string()];
        let answer = self.api.send(&doing, self.request(Method::DELETE, &segments, &[])).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(()),
            status if status.is_success() => Ok(()),
            _ => Err(self.failure(&doing, &answer)),
        }
    }

    /// A list in pages, whole. The link to the next page is not followed, for it could lead elsewhere; pages are counted.
    async fn pages<T: DeserializeOwned>(
        &self,
        doing: &str,
        segments: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Vec<T>, ProviderError> {
        let mut all = Vec::new();
        for page in 1..=MOST_PAGES {
            let number = page.to_string();
            let paging = [("page", number.as_str()), ("per_page", A_PAGE)];
            let request = self.request(Method::GET, segments, &[query, &paging].concat());
            let answer = self.api.send(doing, request).await?;
            if !answer.status.is_success() {
                return Err(self.failure(doing, &answer));
            }
            let page: Page<T> = self.api.json(doing, &answer)?;
            all.extend(page.items);
            if page.links.pages.next.is_none() {
                break;
            }
        }
        Ok(all)
    }

    fn failure(&self, doing: &str, answer: &Answer) -> ProviderError {
        let told = serde_json::from_slice::<Failure>(&answer.body).ok();
        self.api.failure(doing, answer, told.as_ref().map(|told| told.message.as_str()))
    }

    fn request(&self, method: Method, segments: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        self.api.http().request(method, address(&self.base, segments, query)).headers(self.headers.clone())
    }
}

#[async_trait]
impl Provider for DigitalOcean {
    async fn find_zone(&self, name: &str) -> Result<Option<String>, ProviderError> {
        self.zones.find(name, self.all_zones()).await.map(|(apex, ())| Some(apex))
    }

    async fn apply(&self, changes: &[Change]) -> Result<(), ProviderError> {
        let mut refusals = Refusals::default();
        for (name, here) in by_name(changes) {
            let here: Vec<&Change> = here.iter().collect();
            refusals.note(self.apply_at(shown(&name), &here).await)?;
        }
        refusals.told()
    }

    fn most_at_once(&self) -> usize {
        CHANGES_AT_ONCE
    }
}

/// The name as it is written within its zone.
fn relative<'a>(name: &'a str, zone: &str) -> &'a str {
    if name == zone {
        return "@";
    }
    name.strip_suffix(zone).and_then(|name| name.strip_suffix('.')).unwrap_or(name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read_as_they_are_shown() {
        let text = r#"{"domains":[{"name":"example.com","ttl":1800,"zone_file":null}],
            "links":{"pages":{"next":"https://api.digitalocean.com/v2/domains?page=2"}},"meta":{"total":2}}"#;
        let page: Page<Domain> = serde_json::from_str(text).unwrap();
        assert!(page.items[0].name == "example.com" && page.links.pages.next.is_some());
        let text = r#"{"domain_records":[{"id":28448432,"type":"TXT","name":"_acme-challenge","data":"x","priority":null,
            "port":null,"ttl":30,"weight":null,"flags":null,"tag":null}],"links":{},"meta":{"total":1}}"#;
        let page: Page<Record> = serde_json::from_str(text).unwrap();
        assert!(page.items[0].id == 28_448_432 && page.links.pages.next.is_none());
    }

    #[test]
    fn names_are_written_within_their_zone() {
        assert_eq!(relative("_acme-challenge.www.example.com", "example.com"), "_acme-challenge.www");
        assert_eq!(relative("example.com", "example.com"), "@");
    }
}
