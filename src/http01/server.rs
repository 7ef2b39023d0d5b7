//! The solver's server: answers one token for one name, and nothing else.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::PATH_PREFIX;
use crate::api::Sensitive;

/// No client needs longer to send the head of its request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// No client needs longer for all of it.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// Open connections that may still be answered after the order to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest head of a request, in bytes; CAs send less than 1 KiB, proxies add a few headers.
const MAX_HEAD: usize = 16 * 1024;
/// Connections served at once; more wait in the backlog of the socket. The Pod has little memory.
const MAX_CONNECTIONS: usize = 128;

/// What is answered, and for which name.
#[derive(Clone, Debug)]
pub struct Answer {
    /// DNS name or IP address, as in the Challenge.
    pub domain: String,
    /// The CA's token, the last part of the path.
    pub token: String,
    /// The key authorization, the body of the answer.
    pub key: Sensitive,
}

/// Serves the answer until `shutdown` is done, then lets open requests finish for a few seconds.
///
/// `/` and `/healthz` answer 200, for those who check whether the Pod is there. Of everything else, only a GET or HEAD of
/// exactly the token's path with the name as its host gets the key authorization; the rest gets 404.
pub async fn serve(listener: TcpListener, answer: Answer, shutdown: impl Future<Output = ()>) {
    let answer = Arc::new(answer);
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        if let Some((stream, slot)) = accepted {
            let (answer, stopped) = (Arc::clone(&answer), stopped.clone());
            connections.spawn(async move {
                connection(stream, answer, stopped).await;
                drop(slot);
            });
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    stop.send_replace(true);
    let drained = timeout(DRAIN_TIMEOUT, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::debug!("stopped with connections still open");
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, slot)),
        Err(error) => {
            // Either the client is gone already, or file descriptors have run out: then trying at once is of no use.
            tracing::debug!(%error, "a connection could not be accepted");
            sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

/// One request on one connection: whoever asks has one question, and an idle connection would only hold a slot.
async fn connection(stream: TcpStream, answer: Arc<Answer>, mut stopped: watch::Receiver<bool>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = respond(&answer, &request);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(served);
    let whole = async {
        tokio::select! {
            result = served.as_mut() => result,
            () = async { drop(stopped.wait_for(|stopped| *stopped).await) } => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        }
    };
    if let Ok(Err(error)) = timeout(CONNECTION_TIMEOUT, whole).await {
        tracing::debug!(%error, "a connection ended early");
    }
}

fn respond<B>(answer: &Answer, request: &Request<B>) -> Response<String> {
    let verdict = judge(answer, request);
    // Neither path nor host are logged: the one holds the token, the other is whatever the client likes.
    tracing::info!(method = %request.method(), "{}", verdict.explanation());
    match verdict {
        Verdict::Key => text(StatusCode::OK, answer.key.expose()),
        Verdict::Alive => text(StatusCode::OK, ""),
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

fn text(status: StatusCode, body: &str) -> Response<String> {
    let mut response = Response::new(body.to_owned());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Key,
    Alive,
    OtherMethod,
    OtherPath,
    OtherHost,
}

impl Verdict {
    fn explanation(self) -> &'static str {
        match self {
            Self::Key => "answered with the key authorization",
            Self::Alive => "answered that the server is there",
            Self::OtherMethod => "refused: the method is neither GET nor HEAD",
            Self::OtherPath => "refused: the path is not the one of the challenge",
            Self::OtherHost => "refused: the host is not the name of the challenge",
        }
    }
}

fn judge<B>(answer: &Answer, request: &Request<B>) -> Verdict {
    // The path as it was sent: nothing is decoded, joined or cleaned, so there is only one spelling of the right one.
    let path = request.uri().path();
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        Verdict::OtherMethod
    } else if path == "/" || path == "/healthz" {
        Verdict::Alive
    } else if path.strip_prefix(PATH_PREFIX) != Some(answer.token.as_str()) || !super::is_token(&answer.token) {
        Verdict::OtherPath
    } else if !host(request).is_some_and(|host| names_same_host(host, &answer.domain)) {
        Verdict::OtherHost
    } else {
        Verdict::Key
    }
}

/// The host that is asked for: that of an absolute target before the header (RFC 9112 section 3.2.2). `None` if there is
/// not exactly one.
fn host<B>(request: &Request<B>) -> Option<&str> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.as_str());
    }
    let mut values = request.headers().get_all(HOST).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Whether a Host header names the domain. Case, a closing dot, a port and the brackets of an IPv6 address do not matter.
fn names_same_host(host: &str, domain: &str) -> bool {
    let Some(host) = without_port(host) else { return false };
    match (address(host), address(domain)) {
        (Some(asked), Some(ours)) => asked == ours,
        (None, None) => without_dot(host).eq_ignore_ascii_case(without_dot(domain)) && !without_dot(host).is_empty(),
        _ => false,
    }
}

/// The host without `:port`; an IPv6 address keeps its brackets. `None` if what follows the colon is no port.
fn without_port(host: &str) -> Option<&str> {
    // Some clients forget the brackets.
    if host.parse::<Ipv6Addr>().is_ok() {
        return Some(host);
    }
    let name_end = if host.starts_with('[') { host.find(']')? + 1 } else { host.find(':').unwrap_or(host.len()) };
    let (name, port) = host.split_at(name_end);
    let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    (port.is_empty() || port.strip_prefix(':').is_some_and(digits)).then_some(name)
}

fn address(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.map_or_else(|| host.parse().ok(), |inner| inner.parse().ok().map(IpAddr::V6))
}

fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}
