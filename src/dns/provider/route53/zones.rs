//! Which hosted zone a name lies in: the longest of the public ones, or the one that the settings name.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use super::super::ProviderError;
use super::Route53;
use super::wire::{HostedZone, ZonePage, bare_id};
use crate::cloud::aws::signature::escaped;

/// How long what was learned about zones holds.
const LIFETIME: Duration = Duration::from_mins(5);

/// Pages of a hundred zones that are read as a list. With more zones than that, single names are asked for.
const MOST_PAGES: usize = 10;

/// Single names that are remembered.
const MOST_NAMES: usize = 1000;

/// See the module's description.
pub(super) struct Zones {
    only: Option<Only>,
    known: Mutex<Known>,
}

/// The zone that the settings name.
struct Only {
    id: String,
    /// As far as it can be known.
    apex: OnceCell<Option<String>>,
}

#[derive(Default)]
struct Known {
    list: Option<(Instant, Arc<List>)>,
    /// By name, where the list is not whole.
    names: HashMap<String, (Instant, Option<String>)>,
}

#[derive(Default)]
struct List {
    /// Ids by name, with the closing dot. Of public zones of the same name the first one listed, as cert-manager takes it.
    zones: HashMap<String, String>,
    /// Whether these are all.
    whole: bool,
}

impl Zones {
    pub(super) fn new(only: Option<&str>) -> Result<Self, ProviderError> {
        let only = only.map(bare_id).filter(|id| !id.is_empty());
        if let Some(id) = only.filter(|id| id.len() > 32 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
            let short: String = id.chars().take(40).collect();
            let message = format!("hostedZoneID {short:?} is not the id of a hosted zone, such as Z0123456789ABC");
            return Err(ProviderError::Refused { message, source: None });
        }
        let only = only.map(|id| Only { id: id.to_owned(), apex: OnceCell::new() });
        Ok(Self { only, known: Mutex::default() })
    }

    /// The apex of the zone that `name` lies in; none if it is not known what the zone is called that the settings name.
    pub(super) async fn find(&self, api: &Route53, name: &str) -> Result<Option<String>, ProviderError> {
        let name = name.to_ascii_lowercase();
        if let Some(only) = &self.only {
            return only.find(api, &name).await;
        }
        let mut known = self.known.lock().await;
        let list = known.list(api).await?;
        let mut found = suffixes(&name).find(|suffix| list.zones.contains_key(*suffix)).map(str::to_owned);
        if !list.whole {
            found = known.longest(api, &name).await?;
        }
        found.map(Some).ok_or_else(|| ProviderError::NoZone {
            message: format!(
                "Route 53 has no public hosted zone for {name} among the {}{} that these credentials show; check the \
                 credentials and the name, or set hostedZoneID",
                if list.whole { "" } else { "more than " },
                list.zones.len()
            ),
        })
    }

    /// The id of the zone with this apex.
    pub(super) async fn id(&self, api: &Route53, apex: &str) -> Result<String, ProviderError> {
        if let Some(only) = &self.only {
            return Ok(only.id.clone());
        }
        let apex = apex.to_ascii_lowercase();
        let mut known = self.known.lock().await;
        let list = known.list(api).await?;
        let id = match list.zones.get(&apex) {
            None if !list.whole => known.id(api, &apex).await?,
            id => id.cloned(),
        };
        id.ok_or_else(|| ProviderError::NoZone {
            message: format!("Route 53 has no public hosted zone {apex} any more"),
        })
    }

    /// A zone was not there.
    pub(super) async fn forget(&self) {
        *self.known.lock().await = Known::default();
    }
}

impl Only {
    /// To ask for the zone is a right that cert-manager needs not, so that it may be missing.
    async fn find(&self, api: &Route53, name: &str) -> Result<Option<String>, ProviderError> {
        let ask = async || match api.zone_of_id(&self.id).await {
            Ok(zone) => Ok(Some(zone.hosted_zone.name.to_ascii_lowercase())),
            Err(ProviderError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        };
        match self.apex.get_or_try_init(ask).await? {
            Some(zone) if !suffixes(name).any(|suffix| suffix == zone) => Err(ProviderError::NoZone {
                message: format!("{name} does not lie in {zone}, which is the hosted zone that hostedZoneID names"),
            }),
            apex => Ok(apex.clone()),
        }
    }
}

impl Known {
    async fn list(&mut self, api: &Route53) -> Result<Arc<List>, ProviderError> {
        if let Some((read, list)) = &self.list
            && read.elapsed() < LIFETIME
        {
            return Ok(list.clone());
        }
        let (mut list, mut query) = (List::default(), String::new());
        for _ in 0..MOST_PAGES {
            let page = api.zone_page(&query).await?;
            let next = next(&page);
            for zone in page.zones() {
                list.add(&zone);
            }
            let Some(next) = next else {
                list.whole = true;
                break;
            };
            query = next;
        }
        let list = Arc::new(list);
        self.list = Some((Instant::now(), list.clone()));
        Ok(list)
    }

    async fn longest(&mut self, api: &Route53, name: &str) -> Result<Option<String>, ProviderError> {
        for suffix in suffixes(name) {
            if self.id(api, suffix).await?.is_some() {
                return Ok(Some(suffix.to_owned()));
            }
        }
        Ok(None)
    }

    /// The id of the public zone with exactly this name.
    async fn id(&mut self, api: &Route53, apex: &str) -> Result<Option<String>, ProviderError> {
        self.names.retain(|_, (read, _)| read.elapsed() < LIFETIME);
        if let Some((_, id)) = self.names.get(apex) {
            return Ok(id.clone());
        }
        let page = api.zone_page(&format!("&dnsname={}", escaped(apex))).await?;
        let mut list = List::default();
        page.zones().iter().for_each(|zone| list.add(zone));
        let id = list.zones.remove(apex);
        if self.names.len() < MOST_NAMES {
            self.names.insert(apex.to_owned(), (Instant::now(), id.clone()));
        }
        Ok(id)
    }
}

impl List {
    fn add(&mut self, zone: &HostedZone) {
        if !zone.is_private() {
            let id = || zone.bare_id().to_owned();
            self.zones.entry(zone.name.to_ascii_lowercase()).or_insert_with(id);
        }
    }
}

/// The query for the next page, if there is one.
fn next(page: &ZonePage) -> Option<String> {
    let (name, id) = (page.next_dns_name.as_deref()?, page.next_hosted_zone_id.as_deref()?);
    Some(format!("&dnsname={}&hostedzoneid={}", escaped(name), escaped(bare_id(id))))
}

/// The name itself and what is above it, the longest first, but the root.
fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, rest)| rest)).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_end_before_the_root() {
        let all: Vec<&str> = suffixes("_acme-challenge.example.com.").collect();
        assert_eq!(all, ["_acme-challenge.example.com.", "example.com.", "com."]);
    }

    #[test]
    fn an_id_becomes_no_path() {
        assert!(Zones::new(Some("/hostedzone/Z0123456789ABC")).is_ok());
        assert!(Zones::new(Some("Z1/../Z2")).is_err());
        assert!(Zones::new(Some("")).is_ok_and(|zones| zones.only.is_none()));
    }
}
