//! The zones of an account: listed once in a while, and the longest that a name lies in.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::ProviderError;
use crate::dns::name::shown;

/// How long a list is good for names that lie in one of its zones.
const KEPT: Duration = Duration::from_mins(5);

/// How long it is good for names that do not: somebody may be about to add the zone.
const KEPT_WITHOUT: Duration = Duration::from_secs(20);

/// For a whole list.
const LISTING_LIMIT: Duration = Duration::from_secs(45);

/// More names than these are not remembered one by one.
const MOST_NAMES: usize = 1000;

/// What is known about the zones of an account.
#[derive(Debug)]
pub struct ZoneList<T> {
    held: Mutex<Held<T>>,
}

/// What a provider tells about zones, with or without the closing dot.
#[derive(Clone, Debug)]
pub enum Listing<T> {
    /// All that the credentials show.
    All(Vec<(String, T)>),
    /// The zone of the name that was asked about.
    One(String, T),
}

#[derive(Debug)]
struct Held<T> {
    all: Option<(Instant, HashMap<String, T>)>,
    /// By name, where there is no list of all.
    one: HashMap<String, (Instant, String, T)>,
}

impl<T> Default for ZoneList<T> {
    fn default() -> Self {
        Self { held: Mutex::new(Held { all: None, one: HashMap::new() }) }
    }
}

impl<T: Clone> ZoneList<T> {
    /// The longest zone that `name` lies in, with the closing dot, and what is known about it. `ask` is run only if what is
    /// known is too little or too old.
    ///
    /// # Errors
    ///
    /// Those of `ask`, and [`ProviderError::NoZone`].
    pub async fn find(
        &self,
        name: &str,
        ask: impl Future<Output = Result<Listing<T>, ProviderError>>,
    ) -> Result<(String, T), ProviderError> {
        let mut held = self.held.lock().await;
        if let Some(found) = held.find(name) {
            return found;
        }
        match timeout(LISTING_LIMIT, ask).await.unwrap_or_else(|_| Err(too_slow()))? {
            Listing::All(zones) => {
                let zones: HashMap<String, T> = zones.into_iter().map(|(zone, known)| (plain(&zone), known)).collect();
                let found = longest(&zones, name).ok_or_else(|| no_zone(name, Some(zones.len())));
                held.all = Some((Instant::now(), zones));
                found
            }
            Listing::One(zone, known) => {
                if held.one.len() >= MOST_NAMES {
                    held.one.clear();
                }
                let zone = format!("{}.", plain(&zone));
                held.one.insert(plain(name), (Instant::now(), zone.clone(), known.clone()));
                Ok((zone, known))
            }
        }
    }
}

impl<T: Clone> Held<T> {
    /// None if it has to be asked.
    fn find(&self, name: &str) -> Option<Result<(String, T), ProviderError>> {
        if let Some((_, zone, known)) = self.one.get(&plain(name)).filter(|(since, ..)| since.elapsed() < KEPT) {
            return Some(Ok((zone.clone(), known.clone())));
        }
        let (since, zones) = self.all.as_ref()?;
        match longest(zones, name) {
            Some(found) if since.elapsed() < KEPT => Some(Ok(found)),
            None if since.elapsed() < KEPT_WITHOUT => Some(Err(no_zone(name, Some(zones.len())))),
            _ => None,
        }
    }
}

/// The names that a name lies in, itself included, longest first, without the closing dot.
pub fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(shown(name)), |suffix| parent(suffix)).filter(|suffix| !suffix.is_empty())
}

fn parent(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, parent)| parent)
}

/// That a name lies in none of the zones, of which there are so many if that is known.
pub fn no_zone(name: &str, count: Option<usize>) -> ProviderError {
    let zones = match count {
        Some(1) => "one zone".to_owned(),
        Some(count) => format!("{count} zones"),
        None => "zones".to_owned(),
    };
    let message = format!(
        "no zone for {} among the {zones} that these credentials show; check that the domain is in this account and that the \
         credentials may read its zone",
        shown(name)
    );
    ProviderError::NoZone { message }
}

fn longest<T: Clone>(zones: &HashMap<String, T>, name: &str) -> Option<(String, T)> {
    suffixes(&plain(name)).find_map(|suffix| zones.get(suffix).map(|known| (format!("{suffix}."), known.clone())))
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn too_slow() -> ProviderError {
    let message = format!("listing the zones took more than {} s", LISTING_LIMIT.as_secs());
    ProviderError::Transient { message, source: None }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_longest_zone_is_found_and_the_list_is_kept_for_a_while() {
        let (list, asked) = (ZoneList::default(), Cell::new(0));
        let find = async |name: &'static str| {
            let listing = async {
                asked.set(asked.get() + 1);
                let zones = [("example.com", 1), ("Dev.example.com.", 2), ("com.example", 3)];
                Ok(Listing::All(zones.map(|(zone, known)| (zone.to_owned(), known)).to_vec()))
            };
            list.find(name, listing).await
        };
        assert_eq!(find("_acme-challenge.example.com.").await.unwrap(), ("example.com.".into(), 1));
        assert_eq!(find("_acme-challenge.www.dev.example.com.").await.unwrap(), ("dev.example.com.".into(), 2));
        assert_eq!(find("example.com.").await.unwrap(), ("example.com.".into(), 1));
        assert_eq!(asked.get(), 1);
        let error = find("_acme-challenge.notexample.com.").await.unwrap_err();
        assert!(matches!(error, ProviderError::NoZone { .. }) && error.to_string().contains("the 3 zones"), "{error}");
        assert_eq!(asked.get(), 1);
        tokio::time::advance(KEPT_WITHOUT).await;
        assert!(find("_acme-challenge.example.org.").await.is_err());
        assert_eq!(asked.get(), 2);
        tokio::time::advance(KEPT).await;
        find("example.com.").await.unwrap();
        assert_eq!(asked.get(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn one_zone_says_nothing_about_other_names() {
        let (list, asked) = (ZoneList::default(), Cell::new(0));
        let find = async |name: &'static str, zone: &'static str| {
            let asking = async {
                asked.set(asked.get() + 1);
                Ok(Listing::One(zone.to_owned(), ()))
            };
            list.find(name, asking).await.unwrap().0
        };
        assert_eq!(find("a.example.com.", "example.com").await, "example.com.");
        assert_eq!(find("a.dev.example.com.", "dev.example.com").await, "dev.example.com.");
        assert_eq!(find("a.example.com.", "unasked").await, "example.com.");
        assert_eq!(asked.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_list_is_given_up() {
        let list = ZoneList::<()>::default();
        let error = list.find("example.com.", std::future::pending()).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
    }
}
