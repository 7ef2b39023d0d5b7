//! The HTTP client of the self-check.

use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;

use reqwest::{Client, ClientBuilder, Url, redirect};
use thiserror::Error;

use super::lookup::{Lookup, LookupError};
use super::report::Problem;

/// Why there is no client for the check.
#[derive(Debug, Error)]
pub enum ClientError {
    #[error("the machine's name server settings cannot be used for the HTTP-01 self-check; look at /etc/resolv.conf")]
    Lookup(#[source] hickory_net::NetError),
    #[error("the HTTP client of the HTTP-01 self-check cannot be set up")]
    Client(#[source] reqwest::Error),
}

/// The client for [`check`](super::check::check), to be made once. It asks directly, without a proxy, as CAs do.
pub fn client() -> Result<Client, ClientError> {
    builder().map_err(ClientError::Lookup)?.build().map_err(ClientError::Client)
}

/// The same, which asks these name servers in place of the machine's, if there are any.
pub fn client_asking(nameservers: &[SocketAddr]) -> Result<Client, ClientError> {
    if nameservers.is_empty() {
        return client();
    }
    let lookup = Lookup::from_nameservers(nameservers).map_err(ClientError::Lookup)?;
    builder_with(lookup).build().map_err(ClientError::Client)
}

pub(super) fn builder() -> Result<ClientBuilder, hickory_net::NetError> {
    Lookup::from_system().map(builder_with)
}

fn builder_with(lookup: Lookup) -> ClientBuilder {
    Client::builder()
        .dns_resolver(lookup)
        .user_agent(concat!("certwright/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .http1_only()
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
    Problem::Other
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
