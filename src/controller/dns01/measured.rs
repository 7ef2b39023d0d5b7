//! Calls of providers, measured.

use std::time::Instant;

use async_trait::async_trait;

use crate::{
    api::dns01::Dns01Solver,
    dns::provider::{Change, Provider, ProviderError},
    measure::{self, span::Span},
};

/// A provider whose calls are measured. A call that is given up counts as unanswered.
pub(super) struct Measured {
    pub(super) name: &'static str,
    pub(super) provider: Box<dyn Provider>,
}

#[async_trait]
impl Provider for Measured {
    async fn find_zone(&self, name: &str) -> Result<Option<String>, ProviderError> {
        let call = Call::begin(self.name, "find_zone");
        let span = call.span().with("dns.question.name", || name.to_owned());
        let found = span.around(self.provider.find_zone(name)).await;
        match &found {
            // The DNS tells: nobody was asked.
            Ok(None) => call.leave_out(),
            found => call.end(found),
        }
        told(&span, &found);
        found
    }

    async fn apply(&self, changes: &[Change]) -> Result<(), ProviderError> {
        let call = Call::begin(self.name, "apply");
        let span = call.span();
        span.number("certwright.changes", || i64::try_from(changes.len()).unwrap_or(i64::MAX));
        let made = span.around(self.provider.apply(changes)).await;
        call.end(&made);
        told(&span, &made);
        made
    }

    fn most_at_once(&self) -> usize {
        self.provider.most_at_once()
    }
}

/// The name of the solver's provider, as it stands in the solver.
pub(super) fn name_of(solver: &Dns01Solver) -> &'static str {
    let given = [
        (solver.rfc2136.is_some(), "rfc2136"),
        (solver.route53.is_some(), "route53"),
        (solver.cloud_dns.is_some(), "cloudDNS"),
        (solver.azure_dns.is_some(), "azureDNS"),
        (solver.cloudflare.is_some(), "cloudflare"),
        (solver.digitalocean.is_some(), "digitalocean"),
        (solver.akamai.is_some(), "akamai"),
        (solver.acme_dns.is_some(), "acmeDNS"),
        (solver.webhook.is_some(), "webhook"),
    ];
    given.iter().find(|(is_given, _)| *is_given).map_or("none", |(_, name)| name)
}

fn told<T>(span: &Span, outcome: &Result<T, ProviderError>) {
    if let Err(error) = outcome {
        span.failed(|| error.to_string());
    }
}

struct Call {
    provider: &'static str,
    what: &'static str,
    began: Instant,
    outcome: Option<&'static str>,
}

impl Call {
    fn begin(provider: &'static str, what: &'static str) -> Self {
        Self { provider, what, began: Instant::now(), outcome: Some("unanswered") }
    }

    fn span(&self) -> Span {
        Span::call(|| format!("{} {}", self.provider, self.what))
    }

    fn end<T>(mut self, outcome: &Result<T, ProviderError>) {
        self.outcome = Some(match outcome {
            Ok(_) => "ok",
            Err(ProviderError::NoZone { .. }) => "no-zone",
            Err(ProviderError::Refused { .. }) => "refused",
            Err(ProviderError::Throttled { .. }) => "throttled",
            Err(ProviderError::Transient { .. }) => "transient",
        });
    }

    fn leave_out(mut self) {
        self.outcome = None;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(outcome) = self.outcome {
            measure::dns_call(self.provider, self.what, outcome, self.began.elapsed());
        }
    }
}
