//! Requests as a stand-in sees them, and its answers.

use anyhow::{Context, Result, anyhow};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The longest body that is read, in bytes.
const LONGEST_BODY: usize = 1 << 20;

/// One request, whole.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    /// As it was sent, percent-encoded, without the query.
    pub path: String,
    /// Path and query as they were sent.
    pub target: String,
    /// Decoded, in the order they were sent.
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Request {
    pub(super) async fn read(request: hyper::Request<Incoming>) -> Result<Self> {
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, LONGEST_BODY).collect().await;
        let body = body.map_err(|error| anyhow!("reading a request: {error}"))?.to_bytes().to_vec();
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let url = reqwest::Url::parse(&format!("http://stand-in{target}"))?;
        let query = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        let path = parts.uri.path().to_owned();
        Ok(Self { method: parts.method, path, target, query, headers: parts.headers, body })
    }

    /// Method, path and query, for messages.
    pub fn line(&self) -> String {
        let query: Vec<String> = self.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{} {}{mark}{}", self.method, self.path, query.join("&"))
    }

    /// The parts of the path between its slashes.
    pub fn segments(&self) -> Vec<&str> {
        self.path.trim_matches('/').split('/').collect()
    }

    /// A parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// A header that is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as JSON, which must be declared as such.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        let kind = self.header("content-type").unwrap_or_default();
        anyhow::ensure!(kind.starts_with("application/json"), "the content type is {kind:?}");
        serde_json::from_slice(&self.body).context("the body is not as published")
    }

    /// The form in the body, decoded.
    pub fn form(&self) -> Result<Vec<(String, String)>> {
        let kind = self.header("content-type").unwrap_or_default();
        anyhow::ensure!(kind.starts_with("application/x-www-form-urlencoded"), "the content type is {kind:?}");
        let text = std::str::from_utf8(&self.body).context("the form is no text")?;
        let url = reqwest::Url::parse(&format!("http://stand-in/?{text}"))?;
        Ok(url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }
}

impl Answer {
    /// JSON.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::text(status, "application/json", &body.to_string())
    }

    /// Any text.
    pub fn text(status: u16, content_type: &'static str, body: &str) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { status, headers, body: body.as_bytes().to_vec() }
    }

    /// A page such as proxies and load balancers show.
    pub fn page(status: u16) -> Self {
        Self::text(status, "text/html", "<html><body><h1>Something went wrong</h1></body></html>")
    }

    /// Nothing.
    pub fn empty(status: u16) -> Self {
        Self { status, headers: HeaderMap::new(), body: Vec::new() }
    }

    /// The same with this header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        self
    }

    pub(super) fn response(self) -> Result<hyper::Response<Full<Bytes>>> {
        let mut response = hyper::Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() = StatusCode::from_u16(self.status)?;
        *response.headers_mut() = self.headers;
        Ok(response)
    }
}
