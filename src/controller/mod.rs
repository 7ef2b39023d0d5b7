//! Gather, decide, act: one file per kind.
//!
//! A pass over an object gathers what is known about it, has [`crate::decide`] decide, and carries the steps out, again
//! and again until nothing is left to do; then the object rests until the time that was decided, or until something it
//! depends on changes. Nothing sleeps and nothing polls within a pass.

mod account;
mod account_doubt;
mod account_key;
mod account_notes;
mod approvals;
mod asked_for;
mod authorizations;
mod beside;
mod caa;
mod certificate;
mod challenge;
mod company;
mod contexts;
pub mod dns01;
mod download;
mod former_order;
mod gateways;
mod held_issuer;
mod injection;
mod issuer;
mod key_generation;
mod leadership;
mod limits;
mod memory;
mod order;
mod origin;
mod pace;
pub mod podless;
mod presenter;
mod recent;
mod refused;
mod registration;
mod renewal_information;
mod replacement;
mod replicas;
mod request;
mod resolvers;
mod revocation;
mod round;
mod route;
mod run;
mod schedule;
pub mod secret;
mod self_check;
mod service;
mod shared_route;
mod shim;
pub mod signer;
mod step_error;
mod term;
mod tls_alpn01;
mod traced;
mod ways;
pub mod wind_down;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
};

use jiff::{SignedDuration, Timestamp};

pub use asked_for::AskedFor;
pub use contexts::Contexts;
pub use leadership::{Assignment, Election, Held, Leadership};
pub use limits::balances;
pub use run::run;

use crate::{
    cluster::{Cluster, ObjectName},
    decide::{
        budget::Allowance, certificate::Settings, podless::Podless, propagation::Verification, shard::Share,
        shim::Settings as ShimSettings, template::CopiedAnnotations, turns::Turns,
    },
    dns::{resolver::Resolver, zone_cache::ZoneCache},
    http01::{client::Clients, objects::SolverOptions},
};

/// How many zones are remembered for the time that their records allow.
const MOST_ZONES: usize = 1024;

/// What the operator chose, and the tools that every pass uses.
pub struct Context {
    pub cluster: Cluster,
    pub options: Options,
    pub resolvers: resolvers::Resolvers,
    pub zones: Arc<ZoneCache>,
    pub looks: dns01::Looks,
    pub solver: SolverOptions,
    pub accounts: account::Accounts,
    pub approvals: approvals::Approvals,
    pub authorities: signer::Authorities,
    asked_for: AskedFor,
    self_checks: self_check::SelfChecks,
    pub providers: dns01::Providers,
    records: dns01::Records,
    /// When this process began.
    started: Timestamp,
    inquiries: renewal_information::Inquiries,
    turns: Mutex<Turns>,
    places: schedule::Places,
    memories: memory::Memories,
    limits: limits::Limits,
    shared_routes: shared_route::SharedRoutes,
    path_types: route::PathTypes,
    replicas: replicas::Replicas,
    keys: key_generation::KeyForge,
}

/// What the operator chose.
#[derive(Clone, Debug)]
pub struct Options {
    pub certificate: Settings,
    pub copied_annotations: CopiedAnnotations,
    /// Whether CertificateRequests that nobody has approved or denied are approved.
    pub approves: bool,
    /// Whether CAs are asked when to renew (RFC 9773), unless an issuer says otherwise.
    pub renewal_information: bool,
    /// Where the Secrets that ClusterIssuers refer to lie.
    pub cluster_resource_namespace: String,
    /// How many orders an account may have created in which time, unless its issuer says otherwise.
    pub allowance: Allowance,
    /// The part of the work that this is for.
    pub share: Share,
    /// Whether nothing is to be begun or gone on with, and what was presented for Challenges is to be taken away.
    pub is_leaving: bool,
    /// The port at which authoritative name servers are asked: 53 but in tests.
    pub authoritative_port: u16,
    /// How Certificates are made from Ingresses and Gateways.
    pub shim: ShimSettings,
    /// How TXT records are verified, unless an issuer or a solver's nameservers say otherwise.
    pub verification: Verification,
    /// The longest time from one self-check to the next.
    pub check_retry_period: SignedDuration,
    /// How many challenges are presented at once.
    pub most_challenges: usize,
    /// Who answers HTTP-01 challenges.
    pub podless: Podless,
    /// Where this process can be asked by others in the cluster, if that is known.
    pub own_address: Option<IpAddr>,
    /// The Service of the controller's replicas that answer HTTP-01 challenges, if there is one.
    pub own_service: Option<ObjectName>,
    /// Which issuers may use the credentials of the controller's surroundings.
    pub ambient: dns01::Ambient,
    /// The CA that the API server is known by, in PEM form, if the kubeconfig names one.
    pub api_server_ca: Option<Vec<u8>>,
    /// Where is noted whom this process is about to answer.
    pub asked_for: AskedFor,
}

impl Context {
    pub fn new(
        cluster: Cluster,
        options: Options,
        resolver: Arc<Resolver>,
        solver: SolverOptions,
        clients: Clients,
        providers: dns01::Providers,
    ) -> Self {
        let zones = Arc::new(ZoneCache::new(MOST_ZONES));
        Self {
            looks: dns01::Looks::new(cluster.hub.clone(), zones.clone(), options.authoritative_port),
            inquiries: renewal_information::Inquiries::new(cluster.hub.clone()),
            keys: key_generation::KeyForge::new(cluster.hub.clone()),
            self_checks: self_check::SelfChecks::new(cluster.clone(), clients),
            records: dns01::Records::new(&cluster.hub),
            places: schedule::Places::new(schedule::part_of(options.share, options.most_challenges)),
            asked_for: options.asked_for.clone(),
            cluster,
            options,
            resolvers: resolvers::Resolvers::new(resolver),
            zones,
            solver,
            accounts: account::Accounts::default(),
            approvals: approvals::Approvals::default(),
            authorities: signer::Authorities::default(),
            providers,
            started: Timestamp::now(),
            turns: Mutex::default(),
            memories: memory::Memories::default(),
            limits: limits::Limits::default(),
            shared_routes: shared_route::SharedRoutes::default(),
            path_types: route::PathTypes::default(),
            replicas: replicas::Replicas::default(),
        }
    }
}
