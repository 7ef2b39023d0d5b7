//! Answers, the CA's and others.

use std::fmt;
use std::io;
use std::time::Duration;

use futures::stream;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::{Response, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::json;

use super::script::{RetryAfter, Rewrite};

/// The body of what is sent to a client.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

const PAGE: &str = "<!DOCTYPE html>\n<title>Welcome</title>\n<h1>Please sign in to use this network</h1>\n";
const PROBLEM: &str = "application/problem+json";
static CHUNK: [u8; 64 * 1024] = [b' '; 64 * 1024];

/// The connection ends without an answer.
#[derive(Debug)]
pub(super) struct CutOff;

impl fmt::Display for CutOff {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("cut off")
    }
}

impl std::error::Error for CutOff {}

/// An answer that can still be changed.
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    content: Content,
    asked_wait: Option<Duration>,
}

enum Content {
    Whole(Bytes),
    /// Less than is announced, and then the connection ends.
    Part(Bytes, usize),
    /// So many bytes of nothing, unannounced.
    Blank(u64),
}

impl Answer {
    pub(super) fn new(status: StatusCode, headers: HeaderMap, body: Bytes) -> Self {
        Self { status, headers, content: Content::Whole(body), asked_wait: None }
    }

    fn of(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        Self::new(status, headers, body.into())
    }

    /// What a gatekeeper of the CA says.
    pub(super) fn refusal(status: u16, wish: RetryAfter) -> Result<Self, CutOff> {
        let status = StatusCode::from_u16(status).map_err(|_| CutOff)?;
        let mut answer = match status.as_u16() {
            429 => Self::problem(status, "rateLimited", "too many requests of this kind"),
            503 => Self::of(status, "text/html", "<h1>503 Service Temporarily Unavailable</h1>"),
            _ => Self::problem(status, "serverInternal", "something broke in here"),
        };
        let now = Timestamp::now();
        let value = match wish {
            RetryAfter::Unsaid => return Ok(answer),
            RetryAfter::Seconds(seconds) => seconds.to_string(),
            RetryAfter::Date(seconds) => http_date(now + Duration::from_secs(seconds))?,
        };
        answer.set(header::RETRY_AFTER, &value)?;
        answer.set(header::DATE, &http_date(now)?)?;
        answer.asked_wait = wish.wait();
        Ok(answer)
    }

    pub(super) fn bad_nonce(nonce: HeaderValue) -> Self {
        let mut answer = Self::problem(StatusCode::BAD_REQUEST, "badNonce", "this nonce is not known here");
        answer.headers.insert("replay-nonce", nonce);
        answer
    }

    pub(super) fn long(length: u64) -> Self {
        let mut answer = Self::of(StatusCode::OK, "application/json", "");
        answer.content = Content::Blank(length);
        answer
    }

    pub(super) fn redirect(url: &'static str) -> Self {
        let mut answer = Self::of(StatusCode::MOVED_PERMANENTLY, "text/plain", "it moved");
        answer.headers.insert(header::LOCATION, HeaderValue::from_static(url));
        answer
    }

    pub(super) fn page() -> Self {
        Self::of(StatusCode::OK, "text/html", PAGE)
    }

    fn problem(status: StatusCode, kind: &str, detail: &str) -> Self {
        let body = json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail });
        Self::of(status, PROBLEM, body.to_string())
    }

    pub(super) fn truncated(mut self) -> Self {
        let body = self.body();
        self.content = Content::Part(body.slice(..body.len() / 2), body.len());
        self
    }

    pub(super) fn halved(mut self) -> Self {
        let body = self.body();
        self.content = Content::Whole(body.slice(..body.len() / 2));
        self
    }

    pub(super) fn into_plain_text(mut self) -> Self {
        self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        self
    }

    pub(super) fn rewritten(mut self, rewrite: &Rewrite) -> Self {
        if self.status.is_success() {
            self.content = Content::Whole(rewrite.apply(&self.body()).into());
        }
        self
    }

    /// The wait that the answer asks for, the CA's own wish included if it is in seconds.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let said = || self.headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok();
        self.asked_wait.or_else(|| said().map(Duration::from_secs))
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let (body, announced) = match self.content {
            Content::Whole(body) => (Full::new(body).map_err(|never| match never {}).boxed_unsync(), None),
            Content::Part(part, whole) => {
                let pieces = [Ok(Frame::data(part)), Err(io::ErrorKind::ConnectionReset.into())];
                (StreamBody::new(stream::iter(pieces)).boxed_unsync(), Some(whole))
            }
            Content::Blank(length) => {
                let chunk = Bytes::from_static(&CHUNK);
                let pieces = (0..length / CHUNK.len() as u64).map(move |_| Ok(Frame::data(chunk.clone())));
                (StreamBody::new(stream::iter(pieces)).boxed_unsync(), None)
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        if let Some(length) = announced {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        response
    }

    fn body(&self) -> Bytes {
        match &self.content {
            Content::Whole(body) | Content::Part(body, _) => body.clone(),
            Content::Blank(_) => Bytes::new(),
        }
    }

    fn set(&mut self, name: HeaderName, value: &str) -> Result<(), CutOff> {
        self.headers.insert(name, HeaderValue::from_str(value).map_err(|_| CutOff)?);
        Ok(())
    }
}

fn http_date(time: Timestamp) -> Result<String, CutOff> {
    DateTimePrinter::new().timestamp_to_rfc9110_string(&time).map_err(|_| CutOff)
}
