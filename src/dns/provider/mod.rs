//! One file per provider that can write a TXT record.

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;

pub mod rfc2136;
pub mod tsig;

/// The time to live of challenge records, in seconds, where nothing else is asked for.
pub const DEFAULT_TTL: u32 = 60;

/// One TXT value at one name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TxtRecord {
    /// The apex of the zone to write to, with the closing dot.
    pub zone: String,
    /// The full name of the record, with the closing dot.
    pub name: String,
    /// The value, unquoted.
    pub value: String,
    /// Time to live, in seconds.
    pub ttl: u32,
}

/// Writes and removes single TXT values. Other values at the same name, ours or not, are never touched.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Adds the value. Already there is success.
    async fn present(&self, record: &TxtRecord) -> Result<(), ProviderError>;

    /// Removes the value. Already gone is success.
    async fn clean_up(&self, record: &TxtRecord) -> Result<(), ProviderError>;
}

/// The cause of a provider's failure.
type Source = Box<dyn Error + Send + Sync>;

/// Why a provider did not do what it was asked, by what helps.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// Bad credentials, a missing right or a wrong setting: trying again is of no use until something changes.
    #[error("{message}")]
    Refused { message: String, source: Option<Source> },
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
        Self::Refused { message: error.to_string(), source: Some(Box::new(error)) }
    }

    /// From an error whose message says all; the error is kept as the source.
    pub fn transient(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Transient { message: error.to_string(), source: Some(Box::new(error)) }
    }

    /// Whether trying the same again later may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { .. } => false,
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
