//! Finds the addresses of names for the self-check.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_net::NetError;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;

/// Two attempts end before the check as a whole does, so that its report can name the cause.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a name has no addresses. Found again as a source of the client's error.
#[derive(Debug, Error)]
pub(super) enum LookupError {
    #[error("the name does not resolve")]
    NotFound,
    #[error("the name servers gave no answer for the name")]
    Failed(#[source] NetError),
}

/// Looks names up as the machine is set up (`/etc/hosts`, then the name servers of `/etc/resolv.conf`), without the C
/// library: nothing blocks a thread, nothing outlives the check, and "no such name" is told from "no answer".
pub(super) struct Lookup(TokioResolver);

impl Lookup {
    pub(super) fn from_system() -> Result<Self, NetError> {
        let mut builder = TokioResolver::builder_tokio()?;
        let options = builder.options_mut();
        // Pods have search domains and `ndots:5`: without this a public name would be tried below each of them first.
        options.ndots = 0;
        options.timeout = ATTEMPT_TIMEOUT;
        options.attempts = 1;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        // A record that was just corrected must count at once.
        options.cache_size = 0;
        Ok(Self(builder.build()?))
    }
}

impl Resolve for Lookup {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.0.clone();
        Box::pin(async move {
            let found = resolver.lookup_ip(name.as_str()).await.map_err(classify)?;
            let addresses: Vec<SocketAddr> = found.iter().map(|address| SocketAddr::new(address, 0)).collect();
            if addresses.is_empty() {
                return Err(LookupError::NotFound.into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

fn classify(error: NetError) -> LookupError {
    if error.is_nx_domain() || error.is_no_records_found() { LookupError::NotFound } else { LookupError::Failed(error) }
}
