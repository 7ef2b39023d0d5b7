//! What the self-check asks for.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::Url;

use super::server::HostHeader;
use crate::api::{Challenge, Sensitive};

/// Time for each layer, redirects included.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct CheckTarget {
    /// DNS name or IP address, as in the Challenge.
    pub domain: String,
    /// The CA's token.
    pub token: String,
    /// The key authorization that must come back.
    pub key: Sensitive,
    /// Where the solver listens, if that is known.
    pub solver_address: Option<SocketAddr>,
    /// What messages call it.
    pub solver: &'static str,
    /// Where the solver expects the name.
    pub host_header: HostHeader,
    /// Port of the name; CAs ask on 80.
    pub port: u16,
    /// Time for each layer, redirects included.
    pub timeout: Duration,
}

impl CheckTarget {
    /// What the CA of the Challenge will ask for.
    pub fn of(challenge: &Challenge, solver_address: Option<SocketAddr>, host_header: HostHeader) -> Self {
        let spec = &challenge.spec;
        Self {
            domain: spec.dns_name.clone(),
            token: spec.token.clone(),
            key: spec.key.clone(),
            solver_address,
            solver: if challenge.is_podless() { "the controller" } else { "the solver pod" },
            host_header,
            port: 80,
            timeout: TIMEOUT,
        }
    }

    /// The URL that the CA asks for; `None` if the name or the token has characters that do not belong there.
    pub(super) fn public_url(&self) -> Option<Url> {
        let host = self.host()?;
        let url = self.url_at(&format!("{host}:{}", self.port))?;
        // URLs know more spellings of an IPv4 address than names do: `127.1` must not become one.
        let is_as_written = url.host_str().is_some_and(|parsed| parsed == host);
        is_as_written.then_some(url)
    }

    /// The same path, asked somewhere else.
    pub(super) fn url_at(&self, authority: &str) -> Option<Url> {
        let url = || Url::parse(&format!("http://{authority}{}", super::path(&self.token))).ok();
        super::is_token(&self.token).then(url).flatten()
    }

    /// The name in lower case as it stands in URLs and Host headers, IPv6 addresses in brackets. `None` if it is none.
    pub(super) fn host(&self) -> Option<String> {
        match self.address() {
            Some(IpAddr::V6(address)) => Some(format!("[{address}]")),
            Some(IpAddr::V4(address)) => Some(address.to_string()),
            None => {
                let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
                let name = &self.domain;
                (!name.is_empty() && name.bytes().all(allowed)).then(|| name.to_ascii_lowercase())
            }
        }
    }

    /// The address, if the Challenge is for one.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.domain.parse().ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::api::ChallengeSpec;

    #[test]
    fn the_ports_of_the_challenge_and_of_cas_are_the_default() {
        let spec =
            ChallengeSpec { dns_name: "2001:DB8::7".into(), token: "tok-en_1".into(), ..ChallengeSpec::default() };
        let target = CheckTarget::of(&Challenge::new("c", spec), None, HostHeader::default());
        assert_eq!(target.public_url().unwrap().as_str(), "http://[2001:db8::7]/.well-known/acme-challenge/tok-en_1");
        assert_eq!((target.timeout, target.solver), (TIMEOUT, "the solver pod"));
    }
}
