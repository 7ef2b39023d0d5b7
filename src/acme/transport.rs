//! One HTTP exchange with a CA.

use std::{error::Error as StdError, io, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{
    Method, Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, LOCATION},
    redirect,
};

use super::{Error, Problem, TransportKind, error::Excerpt, retry_after, wire::one_line};
use crate::pki;

/// How the program names itself to CAs (RFC 8555 6.1).
pub const USER_AGENT: &str = concat!("certwright/", env!("CARGO_PKG_VERSION"), " (+https://certwright.dev)");

/// The longest JSON document that is read, in bytes.
pub const JSON_LIMIT: usize = 1 << 20;
/// The longest certificate chain that is read, in bytes.
pub const CHAIN_LIMIT: usize = 4 << 20;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const EXCERPT_CHARACTERS: usize = 200;

/// What is sent.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    pub url: String,
    /// The JWS of a POST.
    pub body: Option<Vec<u8>>,
    pub accept: &'static str,
    /// How many bytes of the answer's body are read at most.
    pub limit: usize,
    /// What it is for, for metrics.
    pub action: &'static str,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Does one HTTP exchange. Redirects are not followed, statuses are not judged.
#[async_trait]
pub trait Transport: Send + Sync {
    /// # Errors
    /// [`Error::Transport`] when no answer came, [`Error::TooLarge`] when it was too long.
    async fn exchange(&self, request: &Request) -> Result<Response, Error>;
}

/// HTTP and HTTPS over TCP; proxies are taken from the environment.
pub struct HttpTransport(reqwest::Client);

impl HttpTransport {
    /// A transport that trusts the system's CAs, or only those in `ca_bundle` (PEM) if there is one.
    ///
    /// # Errors
    /// [`Error::BadCaBundle`], or [`Error::Setup`] if there is nothing to trust.
    pub fn new(ca_bundle: Option<&[u8]>, skip_tls_verify: bool) -> Result<Self, Error> {
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .tls_danger_accept_invalid_certs(skip_tls_verify);
        if let Some(bundle) = ca_bundle {
            builder = builder.tls_certs_only(trusted(bundle)?);
        }
        let has_bundle = ca_bundle.is_some();
        builder.build().map(Self).map_err(|error| {
            let text = innermost(&error);
            if has_bundle { Error::BadCaBundle(text) } else { Error::Setup(text) }
        })
    }
}

fn trusted(bundle: &[u8]) -> Result<Vec<reqwest::Certificate>, Error> {
    let certificates = pki::pem::decode_bundle(bundle).map_err(|error| Error::BadCaBundle(error.to_string()))?;
    let certificates = certificates.iter().map(|der| reqwest::Certificate::from_der(der)).collect::<Result<_, _>>();
    certificates.map_err(|error| Error::BadCaBundle(innermost(&error)))
}

#[async_trait]
impl Transport for HttpTransport {
    async fn exchange(&self, request: &Request) -> Result<Response, Error> {
        let failed = |error: reqwest::Error| failure(request, &error);
        let mut builder = self.0.request(request.method.clone(), checked(&request.url)?).header(ACCEPT, request.accept);
        if let Some(body) = &request.body {
            builder = builder.header(CONTENT_TYPE, "application/jose+json").body(body.clone());
        }
        let mut response = builder.send().await.map_err(failed)?;
        let too_large = || Error::TooLarge { url: request.shown_url(), limit: request.limit };
        let announced = response.content_length().unwrap_or_default();
        if request.method != Method::HEAD && announced > request.limit as u64 {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > request.limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response { status: response.status().as_u16(), headers: response.headers().clone(), body })
    }
}

impl Request {
    /// The URL without what may be secret.
    pub(super) fn shown_url(&self) -> String {
        shown(&self.url)
    }
}

impl Response {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        retry_after::parse(&self.headers, Timestamp::now())
    }

    /// The Location header, resolved against the request's URL.
    pub(super) fn location(&self, request: &Request) -> Option<String> {
        let location = self.headers.get(LOCATION)?.to_str().ok()?;
        Url::parse(&request.url).ok()?.join(location).ok().map(String::from)
    }

    /// The problem document in this answer, or that there is none.
    pub(super) fn into_error(self, request: &Request) -> Error {
        match Problem::from_body(&self.body) {
            Some(problem) => {
                Error::Problem { problem: Box::new(problem), status: self.status, retry_after: self.retry_after() }
            }
            None => self.not_acme(request, "a problem document was expected"),
        }
    }

    pub(super) fn not_acme(&self, request: &Request, problem: &str) -> Error {
        let content_type = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        // Elsewhere the header names what was made.
        let target = self.location(request).filter(|_| (300..400).contains(&self.status));
        let answer = Excerpt {
            status: self.status,
            content_type: content_type.map(|text| one_line(text, EXCERPT_CHARACTERS)),
            location: target.map(|url| one_line(&shown(&url), EXCERPT_CHARACTERS)),
            retry_after: self.retry_after(),
            start: one_line(&String::from_utf8_lossy(&self.body), EXCERPT_CHARACTERS),
        };
        Error::NotAcme { url: request.shown_url(), problem: problem.to_owned(), answer: Box::new(answer) }
    }
}

/// # Errors
/// [`Error::InvalidUrl`] unless `url` is absolute and http or https.
pub(super) fn checked(url: &str) -> Result<Url, Error> {
    let invalid = |problem: String| Error::InvalidUrl { url: one_line(url, EXCERPT_CHARACTERS), problem };
    let parsed = Url::parse(url).map_err(|error| invalid(error.to_string()))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(invalid(format!("its scheme is {}", parsed.scheme())));
    }
    Ok(parsed)
}

/// The host that a URL names.
pub(super) fn host(url: &str) -> String {
    Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
}

/// The URL without user information and query.
fn shown(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else { return one_line(url, EXCERPT_CHARACTERS) };
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}

fn failure(request: &Request, error: &reqwest::Error) -> Error {
    let (kind, detail) = describe(error);
    Error::Transport { url: request.shown_url(), kind, detail }
}

fn describe(error: &reqwest::Error) -> (TransportKind, String) {
    if let Some(tls) = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        return (TransportKind::Tls, describe_tls(tls));
    }
    let text = innermost(error);
    if error.is_timeout() {
        let seconds = if error.is_connect() { CONNECT_TIMEOUT } else { REQUEST_TIMEOUT }.as_secs();
        return (TransportKind::Timeout, format!("no answer within {seconds} seconds"));
    }
    if error.is_connect() && causes(error).any(|cause| cause.to_string().contains("dns error")) {
        return (TransportKind::Dns, format!("the host name cannot be resolved: {text}"));
    }
    if error.is_connect() {
        return (TransportKind::Connect, format!("no connection: {text}"));
    }
    (TransportKind::Interrupted, format!("the exchange broke off: {text}"))
}

/// rustls puts times of day into some of its messages, which would make every message new.
fn describe_tls(error: &rustls::Error) -> String {
    use rustls::{CertificateError as C, Error as E};
    match error {
        E::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => "the server's certificate has expired".into(),
        E::InvalidCertificate(C::NotValidYet | C::NotValidYetContext { .. }) => {
            "the server's certificate is not valid yet; compare the clocks".into()
        }
        // A CA of the same name with another key counts as a bad signature.
        E::InvalidCertificate(C::UnknownIssuer | C::BadSignature) => {
            "the server's certificate is signed by a CA that is not trusted; if that CA is the right one, give its \
             certificate as caBundle"
                .into()
        }
        E::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => {
            "the server's certificate is for another name".into()
        }
        other => format!("TLS failed: {other}"),
    }
}

/// The error and what caused it, from the outside in. An `io::Error` hides what it wraps from `source`.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error: &&'a (dyn StdError + 'static)| {
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        wrapped.map(|inner| inner as &(dyn StdError + 'static)).or_else(|| error.source())
    })
}

fn innermost(error: &(dyn StdError + 'static)) -> String {
    one_line(&causes(error).last().map_or_else(String::new, ToString::to_string), EXCERPT_CHARACTERS)
}
