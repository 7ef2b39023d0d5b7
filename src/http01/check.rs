//! The self-check: asks what the CA will ask, before the CA does.
//!
//! One call is one bounded round: it neither sleeps nor repeats. What it reports has no changing parts, so that an equal
//! outcome gives an equal status, and it never repeats what a server said: with a name that leads to an inner service the
//! report would otherwise read that service out to whoever may create Challenges.

use std::error::Error as StdError;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::header::{HOST, LOCATION};
use reqwest::{Client, ClientBuilder, Response, Url, redirect};
use thiserror::Error;
use tokio::time::timeout;

use super::lookup::{Lookup, LookupError};
use crate::api::{Challenge, Sensitive};

/// Time for each layer, redirects included.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// Where CAs give up.
const MAX_REDIRECTS: usize = 10;
/// Bytes read beyond the key's length: enough for stray white space, too little to hurt.
const BODY_MARGIN: usize = 1024;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct CheckTarget {
    /// DNS name or IP address, as in the Challenge.
    pub domain: String,
    /// The CA's token.
    pub token: String,
    /// The key authorization that must come back.
    pub key: Sensitive,
    /// Where the solver Pod listens, if that is known.
    pub pod_address: Option<SocketAddr>,
    /// Port of the name; CAs ask on 80.
    pub port: u16,
    /// Time for each layer, redirects included.
    pub timeout: Duration,
}

impl CheckTarget {
    /// What the CA of the Challenge will ask for.
    pub fn of(challenge: &Challenge, pod_address: Option<SocketAddr>) -> Self {
        let spec = &challenge.spec;
        Self {
            domain: spec.dns_name.clone(),
            token: spec.token.clone(),
            key: spec.key.clone(),
            pod_address,
            port: 80,
            timeout: TIMEOUT,
        }
    }
}

/// What a round found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// The solver Pod itself, asked by its address.
    pub pod: LayerResult,
    /// The name, asked as the CA does it.
    pub public: LayerResult,
}

impl CheckReport {
    /// Whether the CA will find the key, as far as can be told from here.
    pub fn passed(&self) -> bool {
        self.public == LayerResult::Passed
    }

    /// What is wrong, in one sentence that also says how far the way is clear. `None` if it passed.
    pub fn failure(&self) -> Option<String> {
        let LayerResult::Failed(public) = &self.public else { return None };
        Some(match &self.pod {
            LayerResult::NotAsked => public.to_string(),
            LayerResult::Passed => format!("{public}; the solver pod itself answers with the key"),
            LayerResult::Failed(pod) => format!("{public}; {pod}"),
        })
    }
}

/// What a layer found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerResult {
    /// There is nothing to ask yet.
    NotAsked,
    /// The key came back.
    Passed,
    /// Something else happened.
    Failed(CheckError),
}

/// Who was asked, and what happened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place} {problem}")]
pub struct CheckError {
    /// The URL that was asked first and the origin of the last redirect, or the solver pod.
    pub place: String,
    pub problem: Problem,
}

/// What came back instead of the key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    #[error("cannot be asked: the name or the token has characters that do not belong there")]
    Malformed,
    #[error("cannot be asked: the name does not resolve")]
    NameNotFound,
    #[error("cannot be asked: the name servers gave no answer for the name")]
    LookupFailed,
    #[error("refused the connection")]
    Refused,
    #[error("cannot be reached: there is no route to its address")]
    NoRoute,
    #[error("did not answer within {0:?}")]
    TimedOut(Duration),
    #[error("closed the connection before it had answered")]
    Closed,
    #[error("did not complete the TLS handshake")]
    Tls,
    #[error("did not answer in HTTP")]
    NotHttp,
    #[error("could not be asked")]
    Other,
    #[error("answered {0} where the key was expected")]
    Status(u16),
    #[error("answered 200, but with something other than the key")]
    OtherBody,
    #[error("redirects without saying where to")]
    RedirectNowhere,
    #[error("redirects to where CAs do not follow: only http on port 80 and https on port 443 are allowed")]
    RedirectElsewhere,
    #[error("redirects in a circle")]
    RedirectLoop,
    #[error("redirects more than {MAX_REDIRECTS} times")]
    TooManyRedirects,
}

/// Why there is no client for the check.
#[derive(Debug, Error)]
pub enum ClientError {
    #[error("the machine's name server settings cannot be used for the HTTP-01 self-check; look at /etc/resolv.conf")]
    Lookup(#[source] hickory_net::NetError),
    #[error("the HTTP client of the HTTP-01 self-check cannot be set up")]
    Client(#[source] reqwest::Error),
}

/// The client for [`check`], to be made once. It asks directly, without a proxy, as CAs do.
pub fn client() -> Result<Client, ClientError> {
    builder().map_err(ClientError::Lookup)?.build().map_err(ClientError::Client)
}

fn builder() -> Result<ClientBuilder, hickory_net::NetError> {
    Ok(Client::builder()
        .dns_resolver(Lookup::from_system()?)
        .user_agent(concat!("certwright/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .http1_only()
        // Each round must see the way as it is now, and the address of a Pod may soon be that of another.
        .pool_max_idle_per_host(0)
        .redirect(redirect::Policy::none())
        .referer(false)
        // CAs do not verify either: the redirect may lead to the very certificate that is to be replaced.
        .tls_danger_accept_invalid_certs(true))
}

/// Asks the solver Pod and the public name, both at once.
pub async fn check(client: &Client, target: &CheckTarget) -> CheckReport {
    let (pod, public) = tokio::join!(check_pod(client, target), check_public(client, target));
    CheckReport { pod, public }
}

async fn check_pod(client: &Client, target: &CheckTarget) -> LayerResult {
    let Some(address) = target.pod_address else { return LayerResult::NotAsked };
    let outcome = match (url(&address.to_string(), &target.token), host(&target.domain)) {
        (Some(url), Some(host)) => bounded(target, ask_pod(client, target, url, &host)).await,
        _ => Err(Problem::Malformed),
    };
    // The address changes with every Pod, so it is not said.
    layer(outcome, || "the solver pod".to_owned())
}

async fn ask_pod(client: &Client, target: &CheckTarget, url: Url, host: &str) -> Result<(), Problem> {
    match ask(client, &url, Some(host), target.key.expose()).await? {
        Reply::Key => Ok(()),
        Reply::Redirect { status, .. } => Err(Problem::Status(status)),
    }
}

async fn check_public(client: &Client, target: &CheckTarget) -> LayerResult {
    let Some(first) = target.public_url() else {
        return layer(Err(Problem::Malformed), || "the challenge's URL".to_owned());
    };
    let mut trail = vec![first];
    let outcome = bounded(target, follow(client, target, &mut trail)).await;
    layer(outcome, || place(&trail))
}

async fn bounded(target: &CheckTarget, asking: impl Future<Output = Result<(), Problem>>) -> Result<(), Problem> {
    timeout(target.timeout, asking).await.unwrap_or(Err(Problem::TimedOut(target.timeout)))
}

fn layer(outcome: Result<(), Problem>, place: impl FnOnce() -> String) -> LayerResult {
    match outcome {
        Ok(()) => LayerResult::Passed,
        Err(problem) => LayerResult::Failed(CheckError { place: place(), problem }),
    }
}

/// Only the origin of a redirect is said: the rest of it is text of whoever answered.
fn place(trail: &[Url]) -> String {
    match trail {
        [] => String::new(),
        [only] => only.to_string(),
        [first, .., last] => format!("{first}, redirected to {},", last.origin().ascii_serialization()),
    }
}

/// Follows redirects as CAs do; the trail holds every URL that was asked.
async fn follow(client: &Client, target: &CheckTarget, trail: &mut Vec<Url>) -> Result<(), Problem> {
    while let Some(url) = trail.last().cloned() {
        let location = match ask(client, &url, None, target.key.expose()).await? {
            Reply::Key => break,
            Reply::Redirect { location, .. } => location.ok_or(Problem::RedirectNowhere)?,
        };
        let next = redirect_target(&url, &location, target.port)?;
        if trail.contains(&next) {
            return Err(Problem::RedirectLoop);
        }
        if trail.len() > MAX_REDIRECTS {
            return Err(Problem::TooManyRedirects);
        }
        trail.push(next);
    }
    Ok(())
}

fn redirect_target(from: &Url, location: &str, own_port: u16) -> Result<Url, Problem> {
    let mut next = from.join(location).map_err(|_| Problem::RedirectNowhere)?;
    next.set_fragment(None);
    let port_is_allowed = next.port_or_known_default().is_some_and(|port| [80, 443, own_port].contains(&port));
    if matches!(next.scheme(), "http" | "https") && port_is_allowed {
        Ok(next)
    } else {
        Err(Problem::RedirectElsewhere)
    }
}

enum Reply {
    Key,
    Redirect { status: u16, location: Option<String> },
}

async fn ask(client: &Client, url: &Url, host: Option<&str>, key: &str) -> Result<Reply, Problem> {
    let mut request = client.get(url.clone());
    if let Some(host) = host {
        request = request.header(HOST, host);
    }
    let response = request.send().await.map_err(|error| problem(&error, url))?;
    match response.status().as_u16() {
        200 => read_key(response, url, key).await.map(|()| Reply::Key),
        status @ (301 | 302 | 303 | 307 | 308) => {
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
            Ok(Reply::Redirect { status, location })
        }
        status => Err(Problem::Status(status)),
    }
}

async fn read_key(mut response: Response, url: &Url, key: &str) -> Result<(), Problem> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| problem(&error, url))? {
        if body.len() + chunk.len() > key.len() + BODY_MARGIN {
            return Err(Problem::OtherBody);
        }
        body.extend_from_slice(&chunk);
    }
    // CAs let white space at the end pass (RFC 8555 section 8.3).
    if body.trim_ascii_end() == key.as_bytes() { Ok(()) } else { Err(Problem::OtherBody) }
}

/// Finds the cause in the client's error.
fn problem(error: &reqwest::Error, url: &Url) -> Problem {
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
    // A handshake fails with the TLS library's error inside: bad data from a server that does not speak TLS, or its
    // early end.
    let tls = error.get_ref().is_some_and(<dyn StdError + Send + Sync>::is::<rustls::Error>);
    match error.kind() {
        _ if tls => Some(Problem::Tls),
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

impl CheckTarget {
    fn public_url(&self) -> Option<Url> {
        let host = host(&self.domain)?;
        let url = url(&format!("{host}:{}", self.port), &self.token)?;
        // URLs know more spellings of an IPv4 address than names do: `127.1` must not become one.
        let is_as_written = url.host_str().is_some_and(|parsed| parsed == host);
        is_as_written.then_some(url)
    }
}

fn url(authority: &str, token: &str) -> Option<Url> {
    super::is_token(token).then(|| Url::parse(&format!("http://{authority}{}", super::path(token))).ok()).flatten()
}

/// The name in lower case as it stands in URLs and Host headers, IPv6 addresses in brackets. `None` if it is none.
fn host(domain: &str) -> Option<String> {
    match domain.parse() {
        Ok(IpAddr::V6(address)) => Some(format!("[{address}]")),
        Ok(IpAddr::V4(address)) => Some(address.to_string()),
        Err(_) => {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            (!domain.is_empty() && domain.bytes().all(allowed)).then(|| domain.to_ascii_lowercase())
        }
    }
}
