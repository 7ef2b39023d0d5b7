//! The zones of an account, as its API lists them: kept for some minutes, and looked through by name.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::ProviderError;
use crate::dns::name::shown;

/// How long a list counts.
const KEPT: Duration = Duration::from_mins(5);

/// The same where a zone is not in it, for it may be new, and where the list was refused.
const KEPT_FOR_A_MISS: Duration = Duration::from_secs(30);

/// One zone of a list.
pub trait ListedZone {
    /// In lower case, with the closing dot.
    fn apex(&self) -> &str;

    /// Of several zones that a name lies in, those with the highest rank count, whatever the length of their names.
    fn rank(&self) -> u8 {
        0
    }
}

/// See the module's description.
pub struct ZoneList<Z> {
    /// Held while the list is fetched, so that it is fetched once.
    kept: Mutex<Option<Kept<Z>>>,
}

struct Kept<Z> {
    since: Instant,
    said: Result<Vec<Z>, ProviderError>,
}

impl<Z> Default for ZoneList<Z> {
    fn default() -> Self {
        Self { kept: Mutex::default() }
    }
}

impl<Z: ListedZone> ZoneList<Z> {
    /// What `use_zone` takes from the zone that a name lies in: the longest of the highest rank. `cure` says what to check
    /// if there is none.
    ///
    /// # Errors
    ///
    /// [`ProviderError::NoZone`], or the list could not be had.
    pub async fn find<T>(
        &self,
        name: &str,
        cure: &str,
        fetch: impl AsyncFnOnce() -> Result<Vec<Z>, ProviderError>,
        use_zone: impl Fn(&Z) -> T,
    ) -> Result<T, ProviderError> {
        let mut kept = self.kept.lock().await;
        let look = |said: &Result<Vec<Z>, ProviderError>| match said {
            Ok(zones) => best(name, zones).map(&use_zone).ok_or_else(|| none_of(name, zones, cure)),
            Err(error) => Err(error.clone()),
        };
        if let Some(Kept { since, said }) = &*kept {
            let (age, found) = (since.elapsed(), look(said));
            if age < KEPT_FOR_A_MISS || found.is_ok() && age < KEPT {
                return found;
            }
        }
        let said = fetch().await;
        let found = look(&said);
        let counts = said.as_ref().err().is_none_or(|error| !error.is_transient());
        *kept = counts.then(|| Kept { since: Instant::now(), said });
        found
    }

    /// Something shows that the list is outdated.
    pub async fn forget(&self) {
        *self.kept.lock().await = None;
    }
}

/// Whether a name is the apex of a zone or below it. Both are in lower case with the closing dot.
pub fn lies_in(name: &str, apex: &str) -> bool {
    name == apex || name.strip_suffix(apex).is_some_and(|labels| labels.ends_with('.'))
}

fn best<'a, Z: ListedZone>(name: &str, zones: &'a [Z]) -> Option<&'a Z> {
    let candidates = zones.iter().filter(|zone| lies_in(name, zone.apex()));
    // Of equals the first in the API's order counts, so that it is always the same one.
    candidates.rev().max_by_key(|zone| (zone.rank(), zone.apex().len()))
}

fn none_of<Z>(name: &str, zones: &[Z], cure: &str) -> ProviderError {
    let (name, count) = (shown(name), zones.len());
    let zones = if count == 1 { "zone" } else { "zones" };
    let message = format!("no zone for {name} among the {count} {zones} that these credentials show; check {cure}");
    ProviderError::NoZone { message }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::Cell;

    use super::*;

    struct Zone(&'static str, u8);

    impl ListedZone for Zone {
        fn apex(&self) -> &str {
            self.0
        }

        fn rank(&self) -> u8 {
            self.1
        }
    }

    #[test]
    fn the_longest_zone_of_the_highest_rank_wins() {
        let apex = |name: &str, zones: &[Zone]| best(name, zones).map(Zone::apex).map(str::to_owned);
        let zones = [Zone("a.test.", 1), Zone("b.a.test.", 1), Zone("c.b.a.test.", 0), Zone("test.", 0)];
        assert_eq!(apex("x.b.a.test.", &zones).unwrap(), "b.a.test.");
        assert_eq!(apex("x.c.b.a.test.", &zones).unwrap(), "b.a.test.");
        assert_eq!(apex("xa.test.", &zones).unwrap(), "test.");
        assert_eq!(apex("a.test.", &zones).unwrap(), "a.test.");
        assert_eq!(apex("x.other.", &zones), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_list_is_fetched_again_in_time() {
        let (list, fetched) = (ZoneList::default(), Cell::new(0));
        let find = async |name: &str| {
            let fetch = async || {
                fetched.set(fetched.get() + 1);
                Ok(vec![Zone("a.test.", 0)])
            };
            let found = list.find(name, "the account", fetch, |zone| zone.0).await;
            (found.map_err(|error| error.to_string()), fetched.get())
        };
        assert_eq!(find("x.a.test.").await, (Ok("a.test."), 1));
        assert_eq!(find("y.a.test.").await, (Ok("a.test."), 1));
        let none = "no zone for b.test among the 1 zone that these credentials show; check the account";
        assert_eq!(find("b.test.").await, (Err(none.to_owned()), 1));
        tokio::time::advance(KEPT_FOR_A_MISS).await;
        assert_eq!(find("x.a.test.").await.1, 1);
        assert_eq!(find("b.test.").await.1, 2);
        tokio::time::advance(KEPT).await;
        assert_eq!(find("x.a.test.").await, (Ok("a.test."), 3));
        list.forget().await;
        assert_eq!(find("x.a.test.").await.1, 4);
    }
}
