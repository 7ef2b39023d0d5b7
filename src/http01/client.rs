//! The HTTP clients of the self-check.

use std::error::Error as StdError;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Name, Resolve};
use reqwest::{Client, ClientBuilder, Url, redirect};
use thiserror::Error;

use super::lookup::{Family, Lookup, LookupError};
use super::report::Problem;

/// Who asks, so that the answerer tells these questions from those of CAs.
pub(super) const USER_AGENT: &str = concat!("certwright/", env!("CARGO_PKG_VERSION"));

/// Why a name was not found.
type BoxError = Box<dyn StdError + Send + Sync>;

/// An address that swallows packets is told from a server that thinks.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Why there is no client for the check.
#[derive(Debug, Error)]
pub enum ClientError {
    #[error("the machine's name server settings cannot be used for the HTTP-01 self-check; look at /etc/resolv.conf")]
    Lookup(#[source] hickory_net::NetError),
    #[error("the HTTP client of the HTTP-01 self-check cannot be set up")]
    Client(#[source] reqwest::Error),
}

/// The clients for [`check`](super::check::check), to be made once. They ask directly, without a proxy, as CAs do.
#[derive(Clone)]
pub struct Clients {
    /// Asks any address of a name.
    pub(super) any: Client,
    /// Asks only IPv4 addresses.
    pub(super) ipv4: Client,
    /// Asks only IPv6 addresses.
    pub(super) ipv6: Client,
    /// Tells the addresses of names, for the report.
    pub(super) lookup: Arc<dyn Resolve>,
}

/// The same, for the machine that this runs on. These name servers are asked in place of the machine's, if there are any.
pub fn clients(nameservers: &[SocketAddr]) -> Result<Clients, ClientError> {
    let lookup = |family| {
        let made = match nameservers {
            [] => Lookup::from_system(family),
            servers => Lookup::from_nameservers(servers, family),
        };
        made.map_err(ClientError::Lookup).map(|found| Arc::new(found) as _)
    };
    Clients::from_lookups([lookup(Family::Any)?, lookup(Family::V4)?, lookup(Family::V6)?])
}

impl Clients {
    /// For any family, IPv4 and IPv6, in this order.
    pub(super) fn from_lookups([any, ipv4, ipv6]: [Arc<dyn Resolve>; 3]) -> Result<Self, ClientError> {
        let client = |lookup: &Arc<dyn Resolve>| builder().dns_resolver(Arc::clone(lookup)).build();
        let client = |lookup| client(lookup).map_err(ClientError::Client);
        Ok(Self { any: client(&any)?, ipv4: client(&ipv4)?, ipv6: client(&ipv6)?, lookup: any })
    }

    /// A client that finds a name at this address and nowhere else, and others as the public way does; port 0 stands for that of the
    /// URL. A port that stands in the URL goes before.
    pub(super) fn pinned(&self, name: &str, place: SocketAddr) -> Result<Client, ClientError> {
        let lookup = Arc::clone(&self.lookup);
        builder().dns_resolver(lookup).resolve(name, place).build().map_err(ClientError::Client)
    }

    /// The addresses of a name; none if they cannot be had.
    pub async fn addresses(&self, name: &str) -> Vec<IpAddr> {
        self.look_up(name).await.unwrap_or_default()
    }

    /// The addresses of a name, at least one.
    ///
    /// # Errors
    /// A [`LookupError`] if the name is one.
    pub async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, BoxError> {
        let found = self.lookup.resolve(name.parse::<Name>()?).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

fn builder() -> ClientBuilder {
    Client::builder()
        .user_agent(USER_AGENT)
        .no_proxy()
        .http1_only()
        .connect_timeout(CONNECT_TIMEOUT)
        // Each round must see the way as it is now, and the address of a Pod may soon be that of another.
        .pool_max_idle_per_host(0)
        .redirect(redirect::Policy::none())
        .referer(false)
        // CAs do not verify either: the redirect may lead to the very certificate that is to be replaced.
        .tls_danger_accept_invalid_certs(true)
}

/// Finds the cause in the client's error.
pub(super) fn problem(error: &reqwest::Error, url: &Url) -> Problem {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<LookupError>() {
            return match error {
                LookupError::NotFound => Problem::NameNotFound,
                LookupError::Failed(_) => Problem::LookupFailed,
            };
        }
        if let Some(problem) = error.downcast_ref::<io::Error>().and_then(|error| io_problem(error, url)) {
            return problem;
        }
        if let Some(problem) = error.downcast_ref::<hyper::Error>().and_then(http_problem) {
            return problem;
        }
        cause = error.source();
    }
    if error.is_connect() && error.is_timeout() { Problem::NoConnection(CONNECT_TIMEOUT) } else { Problem::Other }
}

fn io_problem(error: &io::Error, url: &Url) -> Option<Problem> {
    use io::ErrorKind as Kind;
    // An I/O error hides the one inside from the chain of sources.
    if let Some(inner) = error.get_ref() {
        if inner.is::<rustls::Error>() {
            return Some(Problem::Tls);
        }
        if let Some(problem) = inner.downcast_ref().and_then(|inner| io_problem(inner, url)) {
            return Some(problem);
        }
    }
    match error.kind() {
        Kind::ConnectionRefused => Some(Problem::Refused),
        Kind::TimedOut => Some(Problem::NoConnection(CONNECT_TIMEOUT)),
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::AddrNotAvailable => Some(Problem::NoRoute),
        Kind::UnexpectedEof if url.scheme() == "https" => Some(Problem::Tls),
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::UnexpectedEof => {
            Some(Problem::Closed)
        }
        _ => None,
    }
}

fn http_problem(error: &hyper::Error) -> Option<Problem> {
    if error.is_incomplete_message() || error.is_closed() {
        Some(Problem::Closed)
    } else if error.is_parse() {
        Some(Problem::NotHttp)
    } else {
        None
    }
}
