//! Requests to the HTTP APIs of providers: bounded in size and time, paced, and their failures told apart by what helps.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Certificate, Client, ClientBuilder, RequestBuilder, Response, StatusCode, redirect};
use serde::de::DeserializeOwned;

use super::ProviderError;
use super::pace::Pace;
use crate::measure::span::Span;

/// For one request, its whole answer included.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// The longest answer that is read, in bytes: lists of zones come in pages far below it.
const LONGEST_ANSWER: usize = 4 << 20;

/// How long a request waits for its place among those of the same credentials.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// The longest piece of a provider's own words in a message, in characters.
const LONGEST_WORDS: usize = 200;

/// The client for all providers, to be made once. It uses the proxy that the environment names, follows no redirects (they
/// would carry credentials elsewhere), and verifies certificates against the roots that the machine trusts.
///
/// # Errors
///
/// TLS that cannot be set up.
pub fn client() -> reqwest::Result<Client> {
    builder().build()
}

/// The same, but it trusts these PEM certificates alone; none if there are none among the text.
///
/// # Errors
///
/// Certificates that cannot be read.
pub fn client_that_trusts(pem: &[u8]) -> reqwest::Result<Option<Client>> {
    match Certificate::from_pem_bundle(pem)? {
        certificates if certificates.is_empty() => Ok(None),
        certificates => builder().tls_certs_only(certificates).build().map(Some),
    }
}

/// The client for what belongs to the machine itself, such as the metadata server of a cloud: it goes past any proxy, and soon
/// tells if there is none.
///
/// # Errors
///
/// As [`client`].
pub fn local_client() -> reqwest::Result<Client> {
    builder().no_proxy().connect_timeout(Duration::from_secs(3)).build()
}

/// One provider's API with one set of credentials.
#[derive(Clone, Debug)]
pub struct ApiClient {
    /// As messages call it, such as `Cloudflare`.
    name: &'static str,
    http: Client,
    pace: Arc<Pace>,
}

/// What came back, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl ApiClient {
    /// `pace` is the provider's published limit for one credential.
    pub fn new(name: &'static str, http: Client, pace: Pace) -> Self {
        Self { name, http, pace: Arc::new(pace) }
    }

    /// For building requests.
    pub fn http(&self) -> &Client {
        &self.http
    }

    /// Sends a request when its turn has come. Any answer but 429 and 5xx is for the caller to judge, with
    /// [`ApiClient::failure`] if it is none.
    ///
    /// `doing` says what is tried, such as `list the zones`.
    ///
    /// # Errors
    ///
    /// No answer, an endless one, 429 or 5xx.
    pub async fn send(&self, doing: &str, request: RequestBuilder) -> Result<Answer, ProviderError> {
        if let Err(wait) = self.pace.place(LONGEST_WAIT).await {
            let message = format!("{} allows no more requests at present, so it was not asked to {doing}", self.name);
            return Err(ProviderError::Throttled { message, retry_after: Some(wait), source: None });
        }
        let span = Span::call(|| format!("request to {}", self.name)).with("certwright.call", || doing.to_owned());
        let answer = span.around(self.exchange(doing, request)).await;
        match &answer {
            Ok(answer) => span.number("http.response.status_code", || answer.status.as_u16().into()),
            Err(error) => span.failed(|| error.to_string()),
        }
        let answer = answer?;
        match answer.status.as_u16() {
            429 | 500.. => Err(self.failure(doing, &answer, None)),
            _ => Ok(answer),
        }
    }

    /// The error that an answer stands for. `words` are the provider's own, as far as they do not change from one time to the
    /// next.
    pub fn failure(&self, doing: &str, answer: &Answer, words: Option<&str>) -> ProviderError {
        let said = words.map(|words| format!(": {}", shortened(words))).unwrap_or_default();
        let message = format!("{} answered {} when asked to {doing}{said}", self.name, answer.status);
        match answer.status.as_u16() {
            429 => {
                let retry_after = answer.retry_after();
                self.pace.pause(retry_after.unwrap_or(Duration::from_secs(1)));
                ProviderError::Throttled { message, retry_after, source: None }
            }
            408 | 500.. => ProviderError::Transient { message, source: None },
            _ => ProviderError::Refused { message, source: None },
        }
    }

    /// An answer that is not what the API promises.
    pub fn unreadable(&self, doing: &str) -> ProviderError {
        let message = format!("{} answered something unreadable when asked to {doing}", self.name);
        ProviderError::Transient { message, source: None }
    }

    /// The body as JSON.
    ///
    /// # Errors
    ///
    /// Anything else, such as the page of a proxy.
    pub fn json<T: DeserializeOwned>(&self, doing: &str, answer: &Answer) -> Result<T, ProviderError> {
        serde_json::from_slice(&answer.body).map_err(|_| self.unreadable(doing))
    }

    async fn exchange(&self, doing: &str, request: RequestBuilder) -> Result<Answer, ProviderError> {
        let response = request.send().await.map_err(|error| self.no_answer(doing, error))?;
        self.read(doing, response).await
    }

    async fn read(&self, doing: &str, mut response: Response) -> Result<Answer, ProviderError> {
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.no_answer(doing, error))? {
            if body.len() + chunk.len() > LONGEST_ANSWER {
                return Err(self.unreadable(doing));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, body })
    }

    /// Without the URL, which may hold credentials, and without what changes from one time to the next.
    fn no_answer(&self, doing: &str, error: reqwest::Error) -> ProviderError {
        let error = error.without_url();
        let what = if error.is_timeout() {
            "did not answer in time"
        } else if error.is_connect() {
            connect_problem(&error)
        } else {
            "broke off"
        };
        let message = format!("{} {what} when asked to {doing}", self.name);
        ProviderError::Transient { message, source: Some(Arc::new(error)) }
    }
}

impl Answer {
    /// How long the provider wants us to wait: seconds only, which is what providers send.
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds).min(Duration::from_hours(1)))
    }
}

fn builder() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("certwright/", env!("CARGO_PKG_VERSION")))
        .timeout(REQUEST_LIMIT)
        .connect_timeout(Duration::from_secs(10))
        .redirect(redirect::Policy::none())
        .referer(false)
}

fn connect_problem(error: &reqwest::Error) -> &'static str {
    if is_about_certificate(error) {
        "could not be reached, for its TLS certificate was not accepted,"
    } else {
        "could not be reached"
    }
}

fn is_about_certificate(error: &(dyn StdError + 'static)) -> bool {
    std::iter::successors(Some(error), |error| cause(*error)).any(<dyn StdError>::is::<rustls::Error>)
}

/// An `io::Error` passes over what it wraps when it is asked for its source.
fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

/// The first words of a provider's, on one line.
pub fn shortened(words: &str) -> String {
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = line.chars().filter(|letter| !letter.is_control()).take(LONGEST_WORDS).collect();
    if line.chars().count() > LONGEST_WORDS {
        short.push('…');
    }
    short
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn failure(status: u16, retry_after: Option<&str>) -> ProviderError {
        let api = ApiClient::new("Example", Client::new(), Pace::new(1.0, 1));
        let mut headers = HeaderMap::new();
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, seconds.parse().unwrap());
        }
        let answer = Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: Vec::new() };
        api.failure("list the zones", &answer, Some("no\nway"))
    }

    #[test]
    fn failures_by_what_helps() {
        let error = failure(403, None);
        assert!(matches!(error, ProviderError::Refused { .. }));
        assert_eq!(error.to_string(), "Example answered 403 Forbidden when asked to list the zones: no way");
        assert!(matches!(failure(503, None), ProviderError::Transient { .. }));
        let wait = |seconds| match failure(429, seconds) {
            ProviderError::Throttled { retry_after, .. } => retry_after,
            other => panic!("{other:?}"),
        };
        assert_eq!(wait(Some("7")), Some(Duration::from_secs(7)));
        assert_eq!(wait(Some("soon")), None);
    }

    #[test]
    fn a_certificate_that_is_not_accepted_is_found_below_other_errors() {
        let refused = || std::io::Error::new(std::io::ErrorKind::InvalidData, rustls::Error::UnsupportedNameType);
        assert!(is_about_certificate(&refused()) && is_about_certificate(&std::io::Error::other(refused())));
        assert!(!is_about_certificate(&std::io::Error::other(std::io::Error::other("refused"))));
    }

    #[test]
    fn long_words_are_cut() {
        assert_eq!(shortened(&"x".repeat(300)).chars().count(), LONGEST_WORDS + 1);
    }
}
