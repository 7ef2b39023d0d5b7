//! The flags that say how DNS-01 challenges are solved.

use std::sync::Arc;

use clap::Args;
use jiff::SignedDuration;

use super::{ControllerError, durations::retry_period};
use crate::{
    controller::dns01::{Ambient, Providers},
    decide::propagation::Verification,
    dns::{provider::endpoints::Endpoint, resolver::Resolver},
};

/// How DNS-01 challenges are solved.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "DNS-01")]
pub(super) struct Dns01Args {
    /// DNS servers to ask, separated by commas: host:port, tcp://host:port, tls://host:port (with #NAME at its end if the
    /// certificate is for another name) or https://host/path; without them, those of /etc/resolv.conf.
    #[arg(long, value_name = "SERVERS", value_delimiter = ',')]
    pub(super) dns01_recursive_nameservers: Vec<String>,
    /// Verify TXT records on the DNS servers above only: --dns01-verification=recursive.
    #[arg(long, value_name = "BOOL", default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) dns01_recursive_nameservers_only: bool,
    /// Which DNS servers must have a TXT record before the CA looks: authoritative (all of the zone, which applies unless
    /// set), recursive (those above), both, or none. The annotation certwright.dev/dns01-verification of an issuer goes before
    /// it, and so do nameservers of a solver.
    #[arg(long, value_name = "MODE")]
    pub(super) dns01_verification: Option<Verification>,
    /// The longest time from one self-check of a challenge to the next; in the first two minutes they follow one another within a second.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = retry_period)]
    pub(super) dns01_check_retry_period: SignedDuration,
    /// Whether Issuers may use the cloud credentials of the controller's surroundings.
    #[arg(long, value_name = "BOOL", default_value_t = Ambient::default().for_issuers, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) issuer_ambient_credentials: bool,
    /// Whether ClusterIssuers may use the cloud credentials of the controller's surroundings.
    #[arg(long, value_name = "BOOL", default_value_t = Ambient::default().for_cluster_issuers, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) cluster_issuer_ambient_credentials: bool,
    /// Where the APIs of DNS providers are, if not where their vendors have them, as SERVICE=URL, separated by commas. They
    /// are given the credentials.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(super) dns01_provider_endpoints: Vec<Endpoint>,
}

impl Dns01Args {
    pub(super) fn resolver(&self) -> Result<Arc<Resolver>, ControllerError> {
        if self.dns01_recursive_nameservers.is_empty() {
            return Ok(Arc::new(Resolver::system()));
        }
        let resolver = Resolver::from_nameservers(&self.dns01_recursive_nameservers);
        Ok(Arc::new(resolver.map_err(|error| ControllerError::Nameservers(error.to_string()))?))
    }

    pub(super) fn verification(&self) -> Verification {
        let by_nameservers =
            if self.dns01_recursive_nameservers_only { Verification::Recursive } else { Verification::default() };
        self.dns01_verification.unwrap_or(by_nameservers)
    }

    pub(super) fn ambient(&self) -> Ambient {
        Ambient {
            for_issuers: self.issuer_ambient_credentials,
            for_cluster_issuers: self.cluster_issuer_ambient_credentials,
        }
    }

    pub(super) fn providers(&self) -> Providers {
        Providers::new(self.dns01_provider_endpoints.iter().cloned().collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{super::testing::read, *};

    #[test]
    fn how_records_are_verified() {
        let chosen = |flags: &[&str]| read(flags).unwrap().dns01.verification();
        assert_eq!(chosen(&[]), Verification::Authoritative);
        assert_eq!(chosen(&["--dns01-recursive-nameservers-only"]), Verification::Recursive);
        assert_eq!(chosen(&["--dns01-recursive-nameservers-only=false"]), Verification::Authoritative);
        assert_eq!(chosen(&["--dns01-recursive-nameservers-only", "--dns01-verification=both"]), Verification::Both);
        let wrong = read(&["--dns01-verification=most"]).unwrap_err().to_string();
        assert!(wrong.contains("\"most\" is not authoritative, recursive, both or none"), "{wrong}");
    }

    #[test]
    fn the_time_between_checks_is_a_second_or_longer() {
        let period =
            |text: &str| read(&["--dns01-check-retry-period", text]).map(|args| args.dns01.dns01_check_retry_period);
        assert_eq!(read(&[]).unwrap().dns01.dns01_check_retry_period, SignedDuration::from_secs(10));
        assert_eq!(period("1m").unwrap(), SignedDuration::from_mins(1));
        assert_eq!(period("1s").unwrap(), SignedDuration::from_secs(1));
        for odd in ["999ms", "0s", "-5s", "soon"] {
            assert!(period(odd).is_err(), "{odd}");
        }
    }
}
