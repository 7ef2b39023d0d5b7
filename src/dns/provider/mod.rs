//! Writing and removing TXT records: the seam between the engine and the providers, one file per provider.
//!
//! A provider knows three things: which of its zones a name lies in, how a value is added, and how one is removed. When, how
//! many at once and what follows from a failure is not its affair.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub mod acme_dns;
pub mod address;
pub mod akamai;
pub mod azure_dns;
pub mod bearer;
pub mod built_in;
pub mod cloud_dns;
pub mod cloudflare;
pub mod digitalocean;
pub mod edgegrid;
pub mod endpoints;
pub mod http;
pub mod httpreq;
pub mod pace;
pub mod pdns;
pub mod quoting;
pub mod refusals;
pub mod rfc2136;
pub mod route53;
pub mod secret_header;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod testing;
pub mod tsig;
pub mod webhook;
pub mod zone_list;

/// The time to live of challenge records, in seconds, where nothing else is asked for.
pub const DEFAULT_TTL: u32 = 60;

/// One TXT value at one name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TxtRecord {
    /// The apex of the zone to write to, with the closing dot.
    pub zone: String,
    /// The full name of the record, with the closing dot.
    pub name: String,
    /// The name that is validated by it, without a wildcard and a closing dot. `name` lies elsewhere if a CNAME leads away.
    pub domain: String,
    /// The value, unquoted.
    pub value: String,
    /// Time to live, in seconds.
    pub ttl: u32,
}

/// What is to become of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It is there afterwards; that it is there already is success.
    Add,
    /// It is gone afterwards; that it is gone already is success.
    Remove,
}

/// One value to add or to remove.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    pub action: Action,
    pub record: TxtRecord,
}

/// The same changes by the name of the record, for APIs that have all values of a name in one record set.
pub fn by_name(changes: &[Change]) -> BTreeMap<String, Vec<Change>> {
    let mut sets: BTreeMap<String, Vec<Change>> = BTreeMap::new();
    for change in changes {
        sets.entry(change.record.name.clone()).or_default().push(change.clone());
    }
    sets
}

/// Adds and removes single TXT values. Other values at the same name, ours or not, are never touched.
#[async_trait]
pub trait Provider: Send + Sync {
    /// The apex of the provider's zone that `name` lies in, with the closing dot; none if the provider has no list of its
    /// own, so that the DNS tells (SOA records).
    ///
    /// # Errors
    ///
    /// [`ProviderError::NoZone`] if the provider has a list and the name lies in none of its zones.
    async fn find_zone(&self, name: &str) -> Result<Option<String>, ProviderError> {
        let _ = name;
        Ok(None)
    }

    /// Makes all changes, which lie in one zone and are at most [`Provider::most_at_once`]. Nobody else in this process
    /// changes the zone with these credentials meanwhile; others in the world may.
    ///
    /// # Errors
    ///
    /// Any of the changes may then have been made or not; all of them may be asked for again.
    async fn apply(&self, changes: &[Change]) -> Result<(), ProviderError>;

    /// How many changes of a zone go well into one call.
    fn most_at_once(&self) -> usize {
        1
    }
}

/// The cause of a provider's failure.
type Source = Arc<dyn Error + Send + Sync>;

/// Why a provider did not do what it was asked, by what helps. Messages carry no changing parts (request ids, ports, times)
/// and no secrets: they stand in a status.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProviderError {
    /// Bad credentials, a missing right or a wrong setting: trying again is of no use until something changes.
    #[error("{message}")]
    Refused { message: String, source: Option<Source> },
    /// The provider does not have the zone, or these credentials do not show it.
    #[error("{message}")]
    NoZone { message: String },
    /// Too many requests.
    #[error("{message}")]
    Throttled {
        message: String,
        /// How long the provider wants us to wait, if it said.
        retry_after: Option<Duration>,
        source: Option<Source>,
    },
    /// An outage, a time-out, a lost connection: trying again may help.
    #[error("{message}")]
    Transient { message: String, source: Option<Source> },
}

impl ProviderError {
    /// From an error whose message says all; the error is kept as the source.
    pub fn refused(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Refused { message: error.to_string(), source: Some(Arc::new(error)) }
    }

    /// From an error whose message says all; the error is kept as the source.
    pub fn transient(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Transient { message: error.to_string(), source: Some(Arc::new(error)) }
    }

    /// Whether trying the same again later may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::NoZone { .. } => false,
            Self::Throttled { .. } | Self::Transient { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_is_final() {
        let message = String::new;
        assert!(!ProviderError::Refused { message: message(), source: None }.is_transient());
        assert!(ProviderError::Transient { message: message(), source: None }.is_transient());
        assert!(ProviderError::Throttled { message: message(), retry_after: None, source: None }.is_transient());
    }
}
