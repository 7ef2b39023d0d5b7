//! DNS-01: from the solver of a Challenge to the provider that writes its record.
//!
//! One file per provider reads the solver's settings and the Secrets they name, and makes the
//! [`Provider`](crate::dns::provider::Provider).

mod acme_dns;
mod akamai;
mod azure_dns;
mod built_in;
mod changes;
mod check;
mod cloud_dns;
mod cloudflare;
mod credentials;
mod digitalocean;
mod environment;
mod find;
mod looks;
mod measured;
mod pool;
mod record;
mod rfc2136;
mod route53;
mod webhook;
mod wildcard;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use reqwest::Client;

use self::{
    changes::Changes,
    check::Question,
    credentials::Credentials,
    measured::Measured,
    pool::{Made, Pool},
};
use super::{Context, beside::Beside, company, held_issuer::HeldIssuer, presenter, resolvers, step_error::StepError};
use crate::{
    api::{Challenge, dns01::Dns01Solver, names::annotation},
    cluster::{Hub, Key, Kind, ObjectName},
    decide::{company::values, place::Place, propagation::Verification},
    dns::provider::{Provider, endpoints::Endpoints, http},
};

pub(super) use self::record::{clean_up, pending, present, present_again};
pub use self::{check::Propagation, looks::Looks};

/// What all providers share, and those that were made before.
pub struct Providers {
    /// Made when the first provider needs it: with the roots that the machine trusts it takes memory that many
    /// controllers can do without.
    http: OnceLock<Client>,
    endpoints: Endpoints,
    pool: Pool,
}

impl Providers {
    pub fn new(endpoints: Endpoints) -> Self {
        Self { http: OnceLock::new(), endpoints, pool: Pool::default() }
    }

    fn http(&self) -> Result<&Client, StepError> {
        if let Some(made) = self.http.get() {
            return Ok(made);
        }
        let made = http::client().map_err(|error| {
            StepError::transient(format!("The connections to DNS providers cannot be set up: {error}"))
        })?;
        Ok(self.http.get_or_init(|| made))
    }
}

/// Questions to providers and resolvers that are under way at once.
const ERRANDS_AT_ONCE: usize = 64;

/// For one of them.
const LONGEST_ERRAND: Duration = Duration::from_mins(1);

/// What is under way for Challenges beside their passes.
pub struct Records {
    changes: Changes,
    /// Where records belong.
    errands: Beside<String, Result<Found, StepError>>,
}

/// Where a record belongs, and who writes it there.
struct Found {
    place: Place,
    made: Made,
}

impl Records {
    pub(super) fn new(hub: &Arc<Hub>) -> Self {
        Self { changes: Changes::new(hub.clone()), errands: Beside::new(hub.clone(), ERRANDS_AT_ONCE, LONGEST_ERRAND) }
    }

    /// The Challenge is gone.
    pub(super) fn forget(&self, challenge: &Key) {
        self.changes.forget(challenge);
        self.errands.forget(challenge);
    }
}

/// What was not asked of a provider yet is left to whoever works next.
impl Drop for Records {
    fn drop(&mut self) {
        self.changes.end();
    }
}

/// Which issuers may use the credentials of the controller's surroundings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambient {
    pub for_issuers: bool,
    pub for_cluster_issuers: bool,
}

impl Default for Ambient {
    fn default() -> Self {
        Self { for_issuers: false, for_cluster_issuers: true }
    }
}

/// What is missing for the CA to find the record, in one stable sentence; nothing if it will.
///
/// # Errors
/// [`StepError::Awaiting`] while servers are asked, which is not done within the pass.
pub(super) fn check(
    context: &Context,
    challenge: &Challenge,
    issuer: &HeldIssuer,
    known: &mut Propagation,
) -> Result<Option<String>, StepError> {
    let own_nameservers = !resolvers::nameservers(challenge).is_empty();
    let annotation = issuer.annotation(annotation::DNS01_VERIFICATION);
    let verification = Verification::chosen(annotation, own_nameservers, context.options.verification);
    if verification == Verification::None {
        return Ok(None);
    }
    let resolver = context.resolvers.of(challenge)?;
    let owner = Key { kind: Kind::Challenge, object: ObjectName::of(challenge) };
    let since_presented = presenter::waited_since_presented(challenge);
    let look = context.looks.take(&owner, || Question {
        resolver,
        verification,
        dns_name: challenge.spec.dns_name.clone(),
        values: values(challenge, &company::others(context, challenge), since_presented),
        since_presented,
        known: known.clone(),
    })?;
    *known = look.known;
    Ok(look.missing)
}

/// The provider that the solver configures. It is the same one as long as the settings and the Secrets they name are.
async fn provider(context: &Context, challenge: &Challenge) -> Result<Made, StepError> {
    let Some(solver) = &challenge.spec.solver.dns01 else {
        return Err(StepError::is_final("The solver has no dns01 part, so it cannot answer a DNS-01 challenge"));
    };
    let credentials = Credentials::of(context, challenge);
    let settings = pool::settings_identity(solver, &credentials);
    let identity = settings.with(&credentials.version(solver).await?);
    if let Some(made) = context.providers.pool.last(&settings).filter(|made| made.identity == identity) {
        return Ok(made);
    }
    let provider = Measured { name: measured::name_of(solver), provider: make(&credentials, solver).await? };
    let made = Made { identity, provider: Arc::new(provider) };
    Ok(context.providers.pool.put(settings, made))
}

/// The last provider of this process for what the solver configures, with credentials that may be gone by now.
fn last_provider(context: &Context, challenge: &Challenge) -> Option<Made> {
    let solver = challenge.spec.solver.dns01.as_ref()?;
    context.providers.pool.last(&pool::settings_identity(solver, &Credentials::of(context, challenge)))
}

/// Changes whenever one of the Secrets does that the solver refers to.
pub(super) async fn credentials_version(context: &Context, challenge: &Challenge) -> Result<String, StepError> {
    match &challenge.spec.solver.dns01 {
        Some(solver) => Credentials::of(context, challenge).version(solver).await,
        None => Ok(String::new()),
    }
}

async fn make(credentials: &Credentials<'_>, solver: &Dns01Solver) -> Result<Box<dyn Provider>, StepError> {
    if let Some(settings) = &solver.rfc2136 {
        return rfc2136::make(credentials, settings).await;
    }
    if let Some(settings) = &solver.route53 {
        return route53::make(credentials, settings).await;
    }
    if let Some(settings) = &solver.cloud_dns {
        return cloud_dns::make(credentials, settings).await;
    }
    if let Some(settings) = &solver.azure_dns {
        return azure_dns::make(credentials, settings).await;
    }
    if let Some(settings) = &solver.cloudflare {
        return cloudflare::make(credentials, settings).await;
    }
    if let Some(settings) = &solver.digitalocean {
        return digitalocean::make(credentials, settings).await;
    }
    if let Some(settings) = &solver.akamai {
        return akamai::make(credentials, settings).await;
    }
    if let Some(settings) = &solver.acme_dns {
        return acme_dns::make(credentials, settings).await;
    }
    if let Some(settings) = &solver.webhook {
        return webhook::make(credentials, settings).await;
    }
    Err(StepError::is_final("The solver's dns01 part names no provider; set one, such as dns01.rfc2136"))
}
