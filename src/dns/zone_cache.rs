//! Zones found before, kept for as long as their records allow.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::name;
use super::resolver::Resolver;
use super::zone::{self, Zone, ZoneError};

/// A bounded cache of [`find_zone`](zone::find_zone). Failures are never kept.
///
/// Entries belong to the resolver they were found with: with split DNS, other nameservers know other zones.
#[derive(Debug)]
pub struct ZoneCache {
    capacity: usize,
    entries: Mutex<HashMap<Key, Entry>>,
    /// Zones whose servers did not answer a question from here, by apex, and until when they are not asked again.
    mute: Mutex<HashMap<String, Instant>>,
}

/// Firewalls that keep us from a zone's servers seldom change.
const MUTE_FOR: Duration = Duration::from_mins(5);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    resolver: String,
    name: String,
}

#[derive(Clone, Debug)]
struct Entry {
    zone: Arc<Zone>,
    expires: Instant,
}

impl ZoneCache {
    /// `capacity` counts names, not zones.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, entries: Mutex::default(), mute: Mutex::default() }
    }

    /// The zone of a name, from the cache or from the nameservers.
    ///
    /// # Errors
    ///
    /// As [`find_zone`](zone::find_zone).
    pub async fn find_zone(&self, resolver: &Resolver, fqdn: &str) -> Result<Arc<Zone>, ZoneError> {
        let key = |name: String| Key { resolver: resolver.identity(), name };
        let by_name = key(name::to_fqdn(&name::parse(fqdn)?));
        if let Some(zone) = self.get(&by_name) {
            return Ok(zone);
        }
        let apex = zone::find_apex(resolver, fqdn).await?;
        let by_apex = key(apex.name.clone());
        if let Some(zone) = self.get(&by_apex) {
            self.insert(by_name, &zone, Instant::now() + apex.ttl.min(zone.ttl));
            return Ok(zone);
        }
        let zone = Arc::new(zone::zone_at(resolver, apex).await?);
        let expires = Instant::now() + zone.ttl;
        self.insert(by_apex, &zone, expires);
        self.insert(by_name, &zone, expires);
        Ok(zone)
    }

    /// The zone of a name, if it is in the cache.
    pub fn known(&self, resolver: &Resolver, fqdn: &str) -> Option<Arc<Zone>> {
        let name = name::to_fqdn(&name::parse(fqdn).ok()?);
        self.get(&Key { resolver: resolver.identity(), name })
    }

    /// Notes the zone of a name that was found in another way.
    pub fn note(&self, resolver: &Resolver, fqdn: &str, zone: &Arc<Zone>) {
        if let Ok(parsed) = name::parse(fqdn) {
            let key = Key { resolver: resolver.identity(), name: name::to_fqdn(&parsed) };
            self.insert(key, zone, Instant::now() + zone.ttl);
        }
    }

    /// Whether the zone's servers did not answer a moment ago.
    pub(crate) fn is_mute(&self, apex: &str) -> bool {
        let mute = self.mute.lock().unwrap_or_else(PoisonError::into_inner);
        mute.get(apex).is_some_and(|until| *until > Instant::now())
    }

    pub(crate) fn note_mute(&self, apex: &str) {
        let mut mute = self.mute.lock().unwrap_or_else(PoisonError::into_inner);
        if mute.len() >= self.capacity {
            mute.clear();
        }
        mute.insert(apex.to_owned(), Instant::now() + MUTE_FOR);
    }

    /// Drops every entry of a zone, for a server that says the zone is not where we thought.
    pub fn forget(&self, apex: &str) {
        self.lock().retain(|_, entry| entry.zone.apex != apex);
    }

    fn get(&self, key: &Key) -> Option<Arc<Zone>> {
        let entries = self.lock();
        let entry = entries.get(key)?;
        (entry.expires > Instant::now()).then(|| entry.zone.clone())
    }

    fn insert(&self, key: Key, zone: &Arc<Zone>, expires: Instant) {
        let now = Instant::now();
        if expires <= now || self.capacity == 0 {
            return;
        }
        let mut entries = self.lock();
        if entries.len() >= self.capacity && !entries.contains_key(&key) {
            entries.retain(|_, entry| entry.expires > now);
        }
        while entries.len() >= self.capacity && !entries.contains_key(&key) {
            let Some(oldest) = entries.iter().min_by_key(|(_, entry)| entry.expires).map(|(key, _)| key.clone()) else {
                break;
            };
            entries.remove(&oldest);
        }
        entries.insert(key, Entry { zone: zone.clone(), expires });
    }

    /// The map is whole at every moment, so that a panic elsewhere while it was locked harms nothing.
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn key(resolver: &str, name: &str) -> Key {
        Key { resolver: resolver.to_owned(), name: name.to_owned() }
    }

    fn zone(apex: &str) -> Arc<Zone> {
        Arc::new(Zone { apex: apex.to_owned(), nameservers: Vec::new(), ttl: Duration::from_mins(1) })
    }

    fn after(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_lives_for_its_time_and_its_resolver() {
        let cache = ZoneCache::new(8);
        cache.insert(key("192.0.2.1:53", "a.example.com."), &zone("example.com."), after(60));
        assert!(cache.get(&key("192.0.2.1:53", "a.example.com.")).is_some());
        assert!(cache.get(&key("192.0.2.2:53", "a.example.com.")).is_none());
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(cache.get(&key("192.0.2.1:53", "a.example.com.")).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(cache.get(&key("192.0.2.1:53", "a.example.com.")).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_entry_nearest_its_end_makes_room() {
        let cache = ZoneCache::new(2);
        cache.insert(key("r", "long."), &zone("long."), after(100));
        cache.insert(key("r", "short."), &zone("short."), after(10));
        cache.insert(key("r", "new."), &zone("new."), after(50));
        assert_eq!(cache.lock().len(), 2);
        assert!(cache.get(&key("r", "short.")).is_none());
        assert!(cache.get(&key("r", "long.")).is_some() && cache.get(&key("r", "new.")).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_zone_without_time_to_live_is_not_kept_and_a_forgotten_one_is_gone() {
        let cache = ZoneCache::new(8);
        cache.insert(key("r", "a."), &zone("a."), after(0));
        assert_eq!(cache.lock().len(), 0);
        cache.insert(key("r", "x.a."), &zone("a."), after(60));
        cache.insert(key("r", "x.b."), &zone("b."), after(60));
        cache.forget("a.");
        assert!(cache.get(&key("r", "x.a.")).is_none() && cache.get(&key("r", "x.b.")).is_some());
    }
}
