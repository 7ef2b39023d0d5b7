//! Gather, decide, act: one file per kind.
//!
//! A pass over an object gathers what is known about it, has [`crate::decide`] decide, and carries the steps out, again
//! and again until nothing is left to do; then the object rests until the time that was decided, or until something it
//! depends on changes. Nothing sleeps and nothing polls within a pass.

mod account;
mod approvals;
mod certificate;
mod challenge;
mod held_issuer;
mod issuer;
mod key_generation;
mod memory;
mod order;
mod pace;
mod presenter;
mod request;
mod round;
mod run;
pub mod secret;
pub mod signer;
mod step_error;
mod tls_alpn01;

use std::sync::{Arc, Mutex};

pub use run::run;

use crate::{
    cluster::Cluster,
    decide::{certificate::Settings, template::CopiedAnnotations, turns::Turns},
    dns::{resolver::Resolver, zone_cache::ZoneCache},
    http01::objects::SolverOptions,
};

/// How many zones are remembered for the time that their records allow.
const MOST_ZONES: usize = 1024;

/// What the operator chose, and the tools that every pass uses.
pub struct Context {
    pub cluster: Cluster,
    pub options: Options,
    pub resolver: Arc<Resolver>,
    pub zones: ZoneCache,
    pub solver: SolverOptions,
    pub accounts: account::Accounts,
    pub approvals: approvals::Approvals,
    pub authorities: signer::Authorities,
    pub http: reqwest::Client,
    turns: Mutex<Turns>,
    memories: memory::Memories,
    keys: key_generation::KeyForge,
}

/// What the operator chose.
#[derive(Clone, Debug)]
pub struct Options {
    pub certificate: Settings,
    pub copied_annotations: CopiedAnnotations,
    /// Whether CertificateRequests that nobody has approved or denied are approved.
    pub approves: bool,
    /// Where the Secrets that ClusterIssuers refer to lie.
    pub cluster_resource_namespace: String,
    /// How many objects are worked on at once.
    pub workers: usize,
    /// The port at which authoritative name servers are asked: 53 but in tests.
    pub authoritative_port: u16,
}

impl Context {
    pub fn new(
        cluster: Cluster,
        options: Options,
        resolver: Arc<Resolver>,
        solver: SolverOptions,
        http: reqwest::Client,
    ) -> Self {
        Self {
            keys: key_generation::KeyForge::new(cluster.hub.clone()),
            cluster,
            options,
            resolver,
            zones: ZoneCache::new(MOST_ZONES),
            solver,
            accounts: account::Accounts::default(),
            approvals: approvals::Approvals::default(),
            authorities: signer::Authorities::default(),
            http,
            turns: Mutex::default(),
            memories: memory::Memories::default(),
        }
    }
}
