//! Where a TXT record is to be written: at the name itself, or at the end of its CNAME chain if the solver says so.

use std::sync::Arc;

use super::{record::trouble, wildcard};
use crate::{
    api::Challenge,
    controller::{Context, step_error::StepError},
    decide::place::Place,
    dns::{
        challenge_name::{aliases_of, zone_of},
        name::{self, challenge_record_name},
        provider::{Provider, ProviderError},
        resolver::Resolver,
        zone::ZoneError,
        zone_cache::ZoneCache,
    },
};

/// All that it takes to find the place of one Challenge's record; apart from any pass.
pub(super) struct Finder {
    resolver: Arc<Resolver>,
    zones: Arc<ZoneCache>,
    /// Of the authoritative servers.
    port: u16,
    provider: Arc<dyn Provider>,
    /// `_acme-challenge` at the Challenge's name.
    own: String,
    follows: bool,
}

impl Finder {
    /// # Errors
    ///
    /// A name that DNS cannot carry.
    pub(super) fn new(
        context: &Context,
        challenge: &Challenge,
        provider: Arc<dyn Provider>,
    ) -> Result<Self, StepError> {
        let own = own_name(challenge)?;
        let strategy = challenge.spec.solver.dns01.as_ref().and_then(|solver| solver.cname_strategy.as_deref());
        let (resolver, zones) = (context.resolvers.of(challenge)?, context.zones.clone());
        let port = context.options.authoritative_port;
        Ok(Self { resolver, zones, port, provider, own, follows: strategy == Some("Follow") })
    }

    /// The place to write to.
    pub(super) async fn place(self) -> Result<Place, StepError> {
        let target = self.target().await?;
        let doing = || format!("Failed to find the zone of {}", name::shown(&target));
        match self.zone(&target).await {
            Ok(zone) => Ok(Place { name: target, zone }),
            Err(unfound) if unfound.is_lasting() && target != self.own => {
                let refused = unfound.trouble(&doing());
                self.instead_of(&target, refused).await
            }
            Err(unfound) => Err(unfound.trouble(&doing())),
        }
    }

    /// The name itself, whatever leads elsewhere. Where the provider has no zone there is nothing to clean up.
    pub(super) async fn own_place(self) -> Result<Place, StepError> {
        match self.zone(&self.own).await {
            Ok(zone) => Ok(Place { name: self.own, zone }),
            Err(Unfound::Provider(error @ ProviderError::NoZone { .. })) => Err(StepError::is_final(error.to_string())),
            Err(unfound) => Err(unfound.trouble(&format!("Failed to find the zone of {}", name::shown(&self.own)))),
        }
    }

    /// The name itself, if what leads to `target` is a wildcard, which the record at the name supersedes (RFC 4592 section
    /// 2.2.1); else the error with which `target` was refused.
    pub(super) async fn instead_of(self, target: &str, refused: StepError) -> Result<Place, StepError> {
        if !wildcard::leads_to(&self.resolver, &self.own, target).await {
            return Err(refused);
        }
        match self.zone(&self.own).await {
            Ok(zone) => Ok(Place { name: self.own, zone }),
            // It is no wonder that the zone of the other name is not found.
            Err(_) => Err(refused),
        }
    }

    async fn target(&self) -> Result<String, StepError> {
        if !self.follows {
            return Ok(self.own.clone());
        }
        let own = name::shown(&self.own);
        let chain = aliases_of(&self.zones, &self.resolver, &self.own, self.port)
            .await
            .map_err(|error| StepError::transient(format!("Failed to follow the CNAMEs of {own}: {error}")))?;
        Ok(chain.last().unwrap_or(&self.own).clone())
    }

    async fn zone(&self, name: &str) -> Result<String, Unfound> {
        if let Some(zone) = self.provider.find_zone(name).await.map_err(Unfound::Provider)? {
            return Ok(zone);
        }
        match zone_of(&self.zones, &self.resolver, name, self.port).await {
            Ok(zone) => Ok(zone.apex.clone()),
            Err(error) => Err(Unfound::Resolver(error)),
        }
    }
}

/// Why no zone was found.
enum Unfound {
    Provider(ProviderError),
    Resolver(ZoneError),
}

impl Unfound {
    /// Whether the zone is not there, rather than that it could not be asked for.
    fn is_lasting(&self) -> bool {
        match self {
            Self::Provider(error) => matches!(error, ProviderError::NoZone { .. }),
            Self::Resolver(error) => matches!(error, ZoneError::NotFound { .. }),
        }
    }

    fn trouble(&self, doing: &str) -> StepError {
        match self {
            Self::Provider(error) => trouble(doing, error),
            Self::Resolver(error) => StepError::transient(format!("{doing}: {error}")),
        }
    }
}

/// `_acme-challenge` at the Challenge's name.
///
/// # Errors
///
/// A name that DNS cannot carry.
pub(super) fn own_name(challenge: &Challenge) -> Result<String, StepError> {
    let own = challenge_record_name(&challenge.spec.dns_name);
    match name::parse(&own) {
        Ok(_) => Ok(own),
        Err(error) => Err(StepError::is_final(format!("There can be no TXT record for this name: {error}"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decide::TroubleClass;

    fn own_name_of(dns_name: &str) -> Result<String, StepError> {
        let challenge: Challenge = serde_json::from_value(json!({
            "metadata": { "name": "web" },
            "spec": {
                "url": "", "authorizationURL": "", "dnsName": dns_name, "type": "DNS-01", "token": "", "key": "",
                "solver": {}, "issuerRef": { "name": "le" },
            },
        }))
        .unwrap();
        own_name(&challenge)
    }

    #[test]
    fn a_name_that_dns_cannot_carry_is_final() {
        assert_eq!(own_name_of("www.example.com").unwrap(), "_acme-challenge.www.example.com.");
        // 253 characters are a name, but with `_acme-challenge` before it they are none.
        let long = [&"a".repeat(63), &"b".repeat(63), &"c".repeat(63), &*"d".repeat(61)].join(".");
        let Err(StepError::Trouble { class, message, .. }) = own_name_of(&long) else { panic!("{long}") };
        assert_eq!((class, long.len()), (TroubleClass::Final, 253));
        assert!(message.starts_with("There can be no TXT record for this name: "), "{message}");
    }
}
