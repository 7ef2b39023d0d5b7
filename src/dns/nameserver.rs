//! One configured nameserver, as users write it: `192.0.2.1`, `192.0.2.1:53`, `[2001:db8::1]:53`, `ns.example.com:53`;
//! `tcp://192.0.2.1` for TCP alone; `tls://ns.example.com` or `tls://192.0.2.1#ns.example.com` for DNS over TLS (RFC 7858);
//! `https://ns.example.com/dns-query` for DNS over HTTPS (RFC 8484).

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use reqwest::Url;
use rustls::pki_types::ServerName;
use tokio::time::timeout;

use super::name;

/// The port of DNS over UDP and TCP (RFC 1035 section 4.2).
pub const DNS_PORT: u16 = 53;

/// The port of DNS over TLS (RFC 7858 section 3.1).
const TLS_PORT: u16 = 853;

/// How long the operating system may take to find the addresses of a nameserver given by name.
const NAME_LIMIT: Duration = Duration::from_secs(5);

/// More addresses than this behind one name are not tried.
const MAX_ADDRESSES: usize = 4;

/// A nameserver, and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Nameserver(Kind);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Plain(Place),
    Tcp(Place),
    Tls {
        place: Place,
        /// What the certificate must be for.
        name: ServerName<'static>,
    },
    Https(Url),
}

/// An address or a host name, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    host: Host,
    port: u16,
}

/// How a nameserver is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way<'a> {
    /// By UDP, and by TCP if need be.
    Plain,
    Tcp,
    /// The name that the certificate must be for.
    Tls(&'a ServerName<'static>),
    Https(&'a Url),
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
    #[error(
        "nameserver {text:?} begins with {scheme}://; known are tcp://, tls:// and https://, or nothing for plain DNS"
    )]
    Scheme { text: String, scheme: String },
    #[error("nameserver {text:?} names nothing that a certificate can be for: write a host name after #")]
    CertificateName { text: String },
    #[error(
        "a nameserver is no usable URL: write https://, a host and a path, without a user, a password or a fragment"
    )]
    Url,
    #[error("nameservers cannot be asked over TLS: {0}")]
    Tls(String),
}

impl Nameserver {
    pub fn new(address: IpAddr, port: u16) -> Self {
        Self(Kind::Plain(Place { host: Host::Address(address), port }))
    }

    /// Whether TLS is needed to ask it.
    pub(crate) fn is_secure(&self) -> bool {
        matches!(self.0, Kind::Tls { .. } | Kind::Https(_))
    }

    pub(crate) fn way(&self) -> Way<'_> {
        match &self.0 {
            Kind::Plain(_) => Way::Plain,
            Kind::Tcp(_) => Way::Tcp,
            Kind::Tls { name, .. } => Way::Tls(name),
            Kind::Https(url) => Way::Https(url),
        }
    }

    /// The addresses to ask, both families; none for a URL, whose host the HTTP client looks up. A host name is looked up by
    /// the operating system, so that hosts files, search domains and cluster-internal names work.
    pub async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let (Kind::Plain(place) | Kind::Tcp(place) | Kind::Tls { place, .. }) = &self.0 else { return Ok(Vec::new()) };
        match &place.host {
            Host::Address(address) => Ok(vec![SocketAddr::new(*address, place.port)]),
            Host::Name(host) => {
                let found = timeout(NAME_LIMIT, tokio::net::lookup_host((host.as_str(), place.port))).await??;
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
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self(Kind::Plain(parse_place(text, DNS_PORT, text)?)));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "https" => parse_url(text),
            "tcp" => Ok(Self(Kind::Tcp(parse_place(rest, DNS_PORT, text)?))),
            "tls" => parse_tls(rest, text),
            scheme => Err(NameserverError::Scheme { text: text.to_owned(), scheme: scheme.to_owned() }),
        }
    }
}

/// The URL may come as the template that providers publish (RFC 8484 section 4.1). What is wrong is not repeated: it may hold
/// a password.
fn parse_url(text: &str) -> Result<Nameserver, NameserverError> {
    let url = Url::parse(text.strip_suffix("{?dns}").unwrap_or(text)).map_err(|_| NameserverError::Url)?;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if is_plain && url.has_host() { Ok(Nameserver(Kind::Https(url))) } else { Err(NameserverError::Url) }
}

fn parse_tls(rest: &str, text: &str) -> Result<Nameserver, NameserverError> {
    let (place, name) = rest.split_once('#').map_or((rest, None), |(place, name)| (place, Some(name)));
    let place = parse_place(place, TLS_PORT, text)?;
    let name = name.map_or_else(|| place.host.to_string(), str::to_owned);
    let name = ServerName::try_from(name.trim_end_matches('.').to_ascii_lowercase());
    let name = name.map_err(|_| NameserverError::CertificateName { text: text.to_owned() })?;
    Ok(Nameserver(Kind::Tls { place, name }))
}

/// `text` is the whole, for errors.
fn parse_place(place: &str, default_port: u16, text: &str) -> Result<Place, NameserverError> {
    let (host, port) = split_port(place, default_port, text)?;
    Ok(Place { host: parse_host(host, text)?, port })
}

/// Splits off the port; a bare IPv6 address has several colons and no port.
fn split_port<'a>(place: &'a str, default_port: u16, text: &str) -> Result<(&'a str, u16), NameserverError> {
    let host_error = || NameserverError::Host { text: text.to_owned() };
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or_else(host_error)?;
        match port.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if port.is_empty() => (host, None),
            None => return Err(host_error()),
        }
    } else if place.matches(':').count() == 1 {
        place.split_once(':').map(|(host, port)| (host, Some(port))).ok_or_else(host_error)?
    } else {
        (place, None)
    };
    let port = match port.map(u16::from_str) {
        None => default_port,
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
        match &self.0 {
            Kind::Plain(place) => place.fmt(out),
            Kind::Tcp(place) => write!(out, "tcp://{place}"),
            Kind::Tls { place, name } if *place.host.to_string() == *name.to_str() => write!(out, "tls://{place}"),
            Kind::Tls { place, name } => write!(out, "tls://{place}#{}", name.to_str()),
            Kind::Https(url) => url.fmt(out),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(out),
            Self::Name(name) => name.fmt(out),
        }
    }
}

impl fmt::Display for Place {
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
        assert_eq!(shown("tcp://192.0.2.1"), "tcp://192.0.2.1:53");
        assert_eq!(shown("tls://2001:db8::1"), "tls://[2001:db8::1]:853");
        assert_eq!(shown("TLS://ns1.example.com:8853"), "tls://ns1.example.com:8853");
        assert_eq!(shown("tls://192.0.2.1#NS1.example.com."), "tls://192.0.2.1:853#ns1.example.com");
        assert_eq!(shown("https://dns.example.com/dns-query{?dns}"), "https://dns.example.com/dns-query");
        assert_eq!(shown("https://[2001:db8::1]:8443"), "https://[2001:db8::1]:8443/");
    }

    #[test]
    fn the_certificate_is_for_the_host_unless_another_name_is_given() {
        let name = |text: &str| match text.parse::<Nameserver>().unwrap().way() {
            Way::Tls(name) => name.to_str().into_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(name("tls://ns1.example.com"), "ns1.example.com");
        assert_eq!(name("tls://192.0.2.1:8853"), "192.0.2.1");
        assert_eq!(name("tls://192.0.2.1#ns1.example.com"), "ns1.example.com");
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
        let message = error("quic://192.0.2.1").to_string();
        assert!(message.contains("begins with quic://; known are"), "{message}");
        assert!(matches!(error("http://192.0.2.1"), NameserverError::Scheme { .. }));
        for text in ["https://", "https://user:secret@ns.example.com/", "https://ns.example.com/#a", "https://a b/"] {
            assert_eq!(error(text), NameserverError::Url, "{text}");
        }
        for text in ["tls://192.0.2.1#", "tls://192.0.2.1#a b"] {
            assert!(matches!(error(text), NameserverError::CertificateName { .. }), "{text}");
        }
        assert!(matches!(
            error("tcp://192.0.2.1#ns.example.com"),
            NameserverError::Port { .. } | NameserverError::Host { .. }
        ));
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_is_shown_so_that_it_is_read_alike(text in "((tcp|tls|https)://)?[a-z0-9.:\\[\\]#/@-]{0,20}|.*") {
            if let Ok(nameserver) = text.parse::<Nameserver>() {
                proptest::prop_assert_eq!(nameserver.to_string().parse::<Nameserver>(), Ok(nameserver));
            }
        }
    }

    #[tokio::test]
    async fn a_host_name_is_found_by_the_operating_system() {
        let addresses = "localhost:5300".parse::<Nameserver>().unwrap().addresses().await.unwrap();
        assert!(!addresses.is_empty());
        assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 5300));
    }
}
