//! PowerDNS Authoritative Server, through its HTTP API.
//!
//! The API replaces whole sets of records and knows no condition for it. So a set is read, merged, written and read again
//! until it is as it should be: whatever somebody else wrote in between is seen and kept.

mod record_set;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Method, RequestBuilder, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use self::record_set::{RecordSet, merged};
use super::built_in::{BuiltIn, CA_BUNDLE, ConfigError, Field, Kind, Settings, Tools};
use super::http::{Answer, ApiClient, shortened};
use super::pace::Pace;
use super::{Change, Provider, ProviderError, by_name};
use crate::api::Sensitive;
use crate::dns::name::shown;

/// How `dns01.webhook` names and describes it.
pub const BUILT_IN: BuiltIn = BuiltIn {
    name: "pdns",
    fields: &[
        Field::required("host", Kind::Text),
        Field::required("apiKey", Kind::Secret),
        Field::optional("serverID", Kind::Text),
        Field::optional("apiVersion", Kind::Text),
        Field::optional("ttl", Kind::Text),
        CA_BUNDLE,
    ],
    make: |tools, settings| Ok(Box::new(PowerDns::new(tools, settings)?)),
};

/// Requests a second, in the long run and at once: an own server has no published limit.
const PER_SECOND: f64 = 50.0;
const BURST: u32 = 50;

/// For all changes of one call.
const LIMIT: Duration = Duration::from_secs(55);

/// How often a set is written before somebody else is found to write against us.
const MOST_WRITES: usize = 4;

/// How long it is remembered which zones there are and are not.
const FRESH: Duration = Duration::from_mins(2);
const MOST_REMEMBERED: usize = 4096;

/// See the module's description.
pub struct PowerDns {
    api: ApiClient,
    /// Up to and with the server's id.
    server: Url,
    key: Sensitive,
    ttl: Option<u32>,
    /// By name with the closing dot; none where there is no zone.
    zones: Mutex<HashMap<String, Remembered>>,
}

#[derive(Clone)]
struct Remembered {
    since: Instant,
    zone: Option<Zone>,
}

#[derive(Clone, Debug, Deserialize)]
struct Zone {
    id: String,
    name: String,
    #[serde(default)]
    kind: String,
}

impl PowerDns {
    fn new(tools: &Tools<'_>, settings: &Settings) -> Result<Self, ConfigError> {
        let mut server = settings.url("host")?;
        let version = format!("v{}", settings.number("apiVersion")?.unwrap_or(1));
        let id = settings.get("serverID").unwrap_or("localhost");
        if let Ok(mut path) = server.path_segments_mut() {
            path.pop_if_empty().extend(["api", &version, "servers", id]);
        }
        Ok(Self {
            api: ApiClient::new("PowerDNS", settings.client(tools)?, Pace::new(PER_SECOND, BURST)),
            server,
            key: settings.required("apiKey")?.into(),
            ttl: settings.number("ttl")?,
            zones: Mutex::default(),
        })
    }

    /// The zone of exactly this name.
    async fn zone(&self, name: &str) -> Result<Option<Zone>, ProviderError> {
        if let Some(known) = self.remembered(name) {
            return Ok(known.zone);
        }
        let doing = format!("look for the zone {}", shown(name));
        let request = self.request(Method::GET, &["zones"], &[("zone", name)]);
        let answer = self.successful(&doing, request).await?;
        // A server that does not know the condition lists all of its zones.
        let zones: Vec<Zone> = self.api.json(&doing, &answer)?;
        let zone = zones.into_iter().find(|zone| zone.name.eq_ignore_ascii_case(name));
        self.remember(name, zone.clone());
        Ok(zone)
    }

    async fn make(&self, changes: &[Change]) -> Result<(), ProviderError> {
        let Some(first) = changes.first() else { return Ok(()) };
        let Some(zone) = self.zone(&first.record.zone).await? else { return Err(no_zone(&first.record.name)) };
        for _ in 0..MOST_WRITES {
            let differences = self.differences(&zone, changes).await?;
            if differences.is_empty() {
                return self.notify(&zone).await;
            }
            let doing = format!("change the zone {}", shown(&zone.name));
            let body = json!({ "rrsets": differences });
            self.successful(&doing, self.request(Method::PATCH, &["zones", &zone.id], &[]).json(&body)).await?;
        }
        let message = format!("somebody else keeps changing {} in PowerDNS at the same time", first.record.name);
        Err(ProviderError::Transient { message, source: None })
    }

    /// What is to be written, one entry for each name at which something is missing or too much.
    async fn differences(&self, zone: &Zone, changes: &[Change]) -> Result<Vec<Value>, ProviderError> {
        let mut differences = Vec::new();
        for (name, changes) in by_name(changes) {
            let changes: Vec<&Change> = changes.iter().collect();
            let held = self.record_set(zone, &name).await?;
            differences.extend(merged(&name, held.as_ref(), &changes, self.ttl));
        }
        Ok(differences)
    }

    async fn record_set(&self, zone: &Zone, name: &str) -> Result<Option<RecordSet>, ProviderError> {
        #[derive(Deserialize)]
        struct Content {
            rrsets: Vec<RecordSet>,
        }
        let doing = format!("read {} in the zone {}", shown(name), shown(&zone.name));
        let only = [("rrset_name", name), ("rrset_type", "TXT")];
        let answer = self.successful(&doing, self.request(Method::GET, &["zones", &zone.id], &only)).await?;
        // A server that does not know the conditions sends the whole zone.
        let content: Content = self.api.json(&doing, &answer)?;
        Ok(content.rrsets.into_iter().find(|set| set.is_txt_of(name)))
    }

    /// Tells the zone's secondaries, where PowerDNS does so on request. They hear of it later otherwise.
    async fn notify(&self, zone: &Zone) -> Result<(), ProviderError> {
        if !matches!(zone.kind.to_ascii_lowercase().as_str(), "master" | "primary" | "slave" | "secondary" | "producer")
        {
            return Ok(());
        }
        let doing = format!("notify the secondaries of {}", shown(&zone.name));
        // A refusal means that the server is not set up for it. The records are there all the same.
        self.api.send(&doing, self.request(Method::PUT, &["zones", &zone.id, "notify"], &[])).await.map(drop)
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.server.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.api.http().request(method, url).header("X-API-Key", self.key.expose())
    }

    async fn successful(&self, doing: &str, request: RequestBuilder) -> Result<Answer, ProviderError> {
        let answer = self.api.send(doing, request).await?;
        match answer.status.as_u16() {
            200..=299 => Ok(answer),
            401 => Err(self.api.failure(doing, &answer, Some("the API key is wrong"))),
            404 => Err(self.not_found(doing, &answer)),
            _ => Err(self.api.failure(doing, &answer, words(&answer).as_deref())),
        }
    }

    /// What was remembered of zones may be wrong. A server that is put right does not tell us, so it is worth another try.
    fn not_found(&self, doing: &str, answer: &Answer) -> ProviderError {
        self.zones.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let message = self.api.failure(doing, answer, Some("check host, serverID and apiVersion")).to_string();
        ProviderError::Transient { message, source: None }
    }

    fn remembered(&self, name: &str) -> Option<Remembered> {
        let zones = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
        zones.get(name).filter(|known| known.since.elapsed() < FRESH).cloned()
    }

    fn remember(&self, name: &str, zone: Option<Zone>) {
        let mut zones = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
        if zones.len() >= MOST_REMEMBERED {
            zones.clear();
        }
        zones.insert(name.to_owned(), Remembered { since: Instant::now(), zone });
    }
}

#[async_trait]
impl Provider for PowerDns {
    async fn find_zone(&self, name: &str) -> Result<Option<String>, ProviderError> {
        for suffix in suffixes(name) {
            if self.zone(suffix).await?.is_some() {
                return Ok(Some(suffix.to_ascii_lowercase()));
            }
        }
        Err(no_zone(name))
    }

    async fn apply(&self, changes: &[Change]) -> Result<(), ProviderError> {
        timeout(LIMIT, self.make(changes)).await.unwrap_or_else(|_| {
            let message = format!("PowerDNS was not done with the changes within {} s", LIMIT.as_secs());
            Err(ProviderError::Transient { message, source: None })
        })
    }

    fn most_at_once(&self) -> usize {
        20
    }
}

/// The name and all names above it, but the root.
fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| Some(name.split_once('.')?.1)).filter(|name| !matches!(*name, "" | "."))
}

/// PowerDNS's own, `{"error": WORDS}`.
fn words(answer: &Answer) -> Option<String> {
    #[derive(Deserialize)]
    struct Problem {
        error: String,
    }
    serde_json::from_slice::<Problem>(&answer.body).ok().map(|problem| shortened(&problem.error))
}

fn no_zone(name: &str) -> ProviderError {
    let name = shown(name);
    let message = format!("PowerDNS has no zone for {name}; check host and serverID, and that the zone is there");
    ProviderError::NoZone { message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_looked_for_from_the_name_up() {
        let looked: Vec<&str> = suffixes("_acme-challenge.a.example.org.").collect();
        assert_eq!(looked, ["_acme-challenge.a.example.org.", "a.example.org.", "example.org.", "org."]);
    }
}
