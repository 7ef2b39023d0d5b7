//! One configured nameserver, as users write it: `192.0.2.1`, `192.0.2.1:53`, `[2001:db8::1]:53`, `ns.example.com:53`.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use tokio::time::timeout;

use super::name;

/// The port of DNS over UDP and TCP (RFC 1035 section 4.2).
pub const DNS_PORT: u16 = 53;

/// How long the operating system may take to find the addresses of a nameserver given by name.
const NAME_LIMIT: Duration = Duration::from_secs(5);

/// More addresses than this behind one name are not tried.
const MAX_ADDRESSES: usize = 4;

/// A nameserver: an address or a host name, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Nameserver {
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Host {
    Address(IpAddr),
    Name(String),
}

/// Why a text is not a nameserver we can ask.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameserverError {
    #[error("a nameserver is empty: write an address or a host name, with or without a port, such as 192.0.2.1:53")]
    Empty,
    #[error("nameserver {text:?} has an unreadable port: write a number from 1 to 65535 after the last colon")]
    Port { text: String },
    #[error(
        "nameserver {text:?} has an unreadable host: write an IPv4 address, an IPv6 address (in brackets if a port \
         follows) or a host name"
    )]
    Host { text: String },
    #[error("nameserver {text:?} asks for {scheme}, which is not supported yet: give an address for plain DNS")]
    Scheme { text: String, scheme: String },
}

impl Nameserver {
    pub fn new(address: IpAddr, port: u16) -> Self {
        Self { host: Host::Address(address), port }
    }

    /// The addresses to ask, both families. A host name is looked up by the operating system, so that hosts files,
    /// search domains and cluster-internal names work.
    pub async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        match &self.host {
            Host::Address(address) => Ok(vec![SocketAddr::new(*address, self.port)]),
            Host::Name(host) => {
                let found = timeout(NAME_LIMIT, tokio::net::lookup_host((host.as_str(), self.port))).await??;
                Ok(found.take(MAX_ADDRESSES).collect())
            }
        }
    }
}

impl FromStr for Nameserver {
    type Err = NameserverError;

    fn from_str(text: &str) -> Result<Self, NameserverError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(NameserverError::Empty);
        }
        if let Some((scheme, _)) = text.split_once("://") {
            let scheme = match scheme.to_ascii_lowercase().as_str() {
                "https" => "DNS over HTTPS".to_owned(),
                "tls" => "DNS over TLS".to_owned(),
                other => other.to_owned(),
            };
            return Err(NameserverError::Scheme { text: text.to_owned(), scheme });
        }
        let (host, port) = split_port(text)?;
        Ok(Self { host: parse_host(host, text)?, port })
    }
}

/// Splits off the port; a bare IPv6 address has several colons and no port.
fn split_port(text: &str) -> Result<(&str, u16), NameserverError> {
    let host_error = || NameserverError::Host { text: text.to_owned() };
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or_else(host_error)?;
        match port.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if port.is_empty() => (host, None),
            None => return Err(host_error()),
        }
    } else if text.matches(':').count() == 1 {
        text.split_once(':').map(|(host, port)| (host, Some(port))).ok_or_else(host_error)?
    } else {
        (text, None)
    };
    let port = match port.map(u16::from_str) {
        None => DNS_PORT,
        Some(Ok(port)) if port > 0 => port,
        Some(_) => return Err(NameserverError::Port { text: text.to_owned() }),
    };
    Ok((host, port))
}

fn parse_host(host: &str, text: &str) -> Result<Host, NameserverError> {
    let error = || NameserverError::Host { text: text.to_owned() };
    if let Ok(address) = host.parse() {
        return Ok(Host::Address(address));
    }
    // A last label of digits alone is a mistyped address: no top-level domain looks like that.
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let plausible = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if host.is_empty() || !plausible || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(error());
    }
    name::parse(host).map_err(|_| error())?;
    Ok(Host::Name(host.to_ascii_lowercase()))
}

impl fmt::Display for Nameserver {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(address) => SocketAddr::new(*address, self.port).fmt(out),
            Host::Name(host) => write!(out, "{host}:{}", self.port),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<Nameserver>().unwrap().to_string()
    }

    #[test]
    fn every_way_of_writing_is_read() {
        assert_eq!(shown("192.0.2.1"), "192.0.2.1:53");
        assert_eq!(shown(" 192.0.2.1:5353 "), "192.0.2.1:5353");
        assert_eq!(shown("2001:db8::1"), "[2001:db8::1]:53");
        assert_eq!(shown("[2001:db8::1]"), "[2001:db8::1]:53");
        assert_eq!(shown("[2001:db8::1]:853"), "[2001:db8::1]:853");
        assert_eq!(shown("ns1.Example.com"), "ns1.example.com:53");
        assert_eq!(shown("bind.dns.svc:5353"), "bind.dns.svc:5353");
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_the_reason() {
        let error = |text: &str| text.parse::<Nameserver>().unwrap_err();
        assert_eq!(error("  "), NameserverError::Empty);
        for text in ["192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "ns1.example.com:dns", "[2001:db8::1]:x"] {
            assert_eq!(error(text), NameserverError::Port { text: text.to_owned() });
        }
        for text in ["192.0.2.300", "192.0.2", "[2001:db8::1", "[::1]53", "2001:db8::zz", "a b", "ns..example.com"] {
            assert_eq!(error(text), NameserverError::Host { text: text.to_owned() });
        }
        let message = error("https://dns.google/dns-query").to_string();
        assert!(message.contains("DNS over HTTPS") && message.contains("not supported"), "{message}");
        assert!(error("tls://1.1.1.1").to_string().contains("DNS over TLS"));
    }

    #[tokio::test]
    async fn a_host_name_is_found_by_the_operating_system() {
        let addresses = "localhost:5300".parse::<Nameserver>().unwrap().addresses().await.unwrap();
        assert!(!addresses.is_empty());
        assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 5300));
    }
}
