//! Providers made before. They keep what they learned (lists of zones, access tokens) and how often they may ask.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::digest::{SHA256, digest};

use super::credentials::Credentials;
use crate::{api::dns01::Dns01Solver, dns::provider::Provider};

/// More sets of credentials than this are not in use at once; forgetting one costs a look-up.
const MOST_PROVIDERS: usize = 256;

/// Hashed, because settings may hold credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Identity([u8; 32]);

/// A provider, and which one it is: by its settings and the versions of the Secrets that they name.
#[derive(Clone)]
pub(super) struct Made {
    pub(super) identity: Identity,
    pub(super) provider: Arc<dyn Provider>,
}

/// By settings: of each the last one that was made.
#[derive(Default)]
pub(super) struct Pool {
    made: Mutex<HashMap<Identity, Made>>,
}

impl Pool {
    /// The last provider that was made for these settings, whatever has become of its Secrets.
    pub(super) fn last(&self, settings: &Identity) -> Option<Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).get(settings).cloned()
    }

    /// Gives back the provider to use: one that was made at the same time goes before, so that what it learns is shared.
    pub(super) fn put(&self, settings: Identity, made: Made) -> Made {
        let mut held = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= MOST_PROVIDERS {
            held.retain(|_, made| Arc::strong_count(&made.provider) > 1);
        }
        if let Some(known) = held.get(&settings).filter(|known| known.identity == made.identity) {
            return known.clone();
        }
        // All of them at work at once is beyond what this is for, but no reason to grow.
        if held.len() < MOST_PROVIDERS {
            held.insert(settings, made.clone());
        }
        made
    }
}

/// What makes two solvers use the same credentials in the same way. How names are looked up has no part in it, but where the
/// provider looks something up itself.
pub(super) fn settings_identity(solver: &Dns01Solver, credentials: &Credentials<'_>) -> Identity {
    let nameservers = if solver.acme_dns.is_some() { solver.nameservers.clone() } else { Vec::new() };
    let settings = Dns01Solver { cname_strategy: None, nameservers, ..solver.clone() };
    let settings = serde_json::to_string(&settings).unwrap_or_default();
    hashed(&[&settings, &credentials.namespace, if credentials.ambient { "ambient" } else { "" }])
}

impl Identity {
    /// The same with these versions of the Secrets.
    pub(super) fn with(&self, version: &str) -> Self {
        let own = self.0.map(|byte| format!("{byte:02x}")).concat();
        hashed(&[&own, version])
    }

    #[cfg(test)]
    pub(super) fn of(text: &str) -> Self {
        hashed(&[text])
    }
}

fn hashed(parts: &[&str]) -> Identity {
    let mut identity = [0; 32];
    identity.copy_from_slice(digest(&SHA256, parts.join("\n").as_bytes()).as_ref());
    Identity(identity)
}
