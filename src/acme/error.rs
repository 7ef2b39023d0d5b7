//! What can go wrong when talking to a CA.

use std::{fmt, time::Duration};

use super::Problem;
use crate::pki;

/// Why a request to the CA did not give what was asked for. Messages name the URL that was tried and what came back;
/// they never carry keys or secrets.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The trusted certificates given for this CA cannot be used.
    #[error("the CA bundle for the ACME server cannot be used: {0}")]
    BadCaBundle(String),

    /// A URL, from the configuration or from the server, that is not an absolute http or https URL.
    #[error("\"{url}\" is not an http or https URL: {problem}")]
    InvalidUrl { url: String, problem: String },

    /// A key could not be used to sign a request.
    #[error("cannot sign the request to the ACME server: {0}")]
    Key(#[from] pki::Error),

    /// The server made something but did not say where it is.
    #[error("the answer of {url} does not say where the new {what} is: its Location header is missing")]
    NoLocation { url: String, what: &'static str },

    /// The server's answer is not what an ACME server sends.
    #[error("{url} did not answer as an ACME server does: {problem}; it answered {}", .answer)]
    NotAcme { url: String, problem: String, answer: Box<Excerpt> },

    /// The server has no such resource in its directory.
    #[error("the ACME server does not offer {what}: its directory has no {entry}")]
    NotOffered { what: &'static str, entry: &'static str },

    /// The server refused the request and said why.
    #[error("the ACME server answered {status}: {problem}")]
    Problem { problem: Box<Problem>, status: u16, retry_after: Option<Duration> },

    /// No HTTP client could be made.
    #[error("cannot set up an HTTPS client for the ACME server: {0}")]
    Setup(String),

    /// The answer is longer than any honest one.
    #[error("the answer of {url} is longer than {limit} bytes; it was not read")]
    TooLarge { url: String, limit: usize },

    /// The request did not get through.
    #[error("cannot reach the ACME server: {url}: {detail}")]
    Transport { url: String, kind: TransportKind, detail: String },
}

/// Where a request got stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportKind {
    /// No connection: refused, unreachable, proxy.
    Connect,
    /// The host name could not be resolved.
    Dns,
    /// The connection broke, or the answer was not HTTP.
    Interrupted,
    /// Nothing came back in time.
    Timeout,
    /// The server's certificate is not trusted, or TLS failed otherwise.
    Tls,
}

/// What a server answered, short enough for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    pub status: u16,
    pub content_type: Option<String>,
    /// The target of a redirect.
    pub location: Option<String>,
    pub retry_after: Option<Duration>,
    /// The first characters of the body, without control characters.
    pub start: String,
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        if let Some(location) = &self.location {
            write!(f, " (redirect to {location})")?;
        }
        if let Some(content_type) = &self.content_type {
            write!(f, ", {content_type}")?;
        }
        if self.start.is_empty() { f.write_str(", no content") } else { write!(f, ": {}", self.start) }
    }
}

impl Error {
    /// Whether the same request may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NotAcme { answer, .. } => is_transient_status(answer.status),
            Self::Problem { problem, status, .. } => is_transient_status(*status) || problem.is_transient(),
            Self::Transport { .. } => true,
            Self::BadCaBundle(_)
            | Self::InvalidUrl { .. }
            | Self::Key(_)
            | Self::NoLocation { .. }
            | Self::NotOffered { .. }
            | Self::Setup(_)
            | Self::TooLarge { .. } => false,
        }
    }

    /// How long the server wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Problem { retry_after, .. } => *retry_after,
            Self::NotAcme { answer, .. } => answer.retry_after,
            _ => None,
        }
    }

    /// The server's own words, when it sent a problem document.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem { problem, .. } => Some(problem),
            _ => None,
        }
    }

    /// The HTTP status, when there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Problem { status, .. } => Some(*status),
            Self::NotAcme { answer, .. } => Some(answer.status),
            _ => None,
        }
    }
}

fn is_transient_status(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}
