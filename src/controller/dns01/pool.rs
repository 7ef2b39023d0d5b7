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

/// By settings and versions of Secrets. Hashed, because settings may hold credentials.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Identity([u8; 32]);

#[derive(Default)]
pub(super) struct Pool {
    made: Mutex<HashMap<Identity, Arc<dyn Provider>>>,
}

impl Pool {
    pub(super) fn get(&self, identity: &Identity) -> Option<Arc<dyn Provider>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).get(identity).cloned()
    }

    /// Gives back the provider to use: one that was made at the same time goes before, so that what it learns is shared.
    pub(super) fn put(&self, identity: Identity, provider: Arc<dyn Provider>) -> Arc<dyn Provider> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.len() >= MOST_PROVIDERS {
            made.retain(|_, provider| Arc::strong_count(provider) > 1);
        }
        made.entry(identity).or_insert(provider).clone()
    }
}

/// What makes two solvers use the same credentials in the same way. How names are looked up has no part in it.
pub(super) fn identity(solver: &Dns01Solver, credentials: &Credentials<'_>, version: &str) -> Identity {
    let settings = Dns01Solver { cname_strategy: None, nameservers: Vec::new(), ..solver.clone() };
    let settings = serde_json::to_string(&settings).unwrap_or_default();
    let text = [settings.as_str(), &credentials.namespace, if credentials.ambient { "ambient" } else { "" }, version];
    let mut identity = [0; 32];
    identity.copy_from_slice(digest(&SHA256, text.join("\n").as_bytes()).as_ref());
    Identity(identity)
}
