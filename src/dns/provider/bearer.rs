//! Requests to APIs that want an access token, and the tokens for them: kept until shortly before they end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use tokio::io::AsyncReadExt as _;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::ProviderError;
use super::http::{Answer, ApiClient};
use super::pace::Pace;
use crate::cloud::token::{AccessToken, Body, TokenRequest, TokenSource, refusal};

/// A token is not used in the last minutes of its life: clocks differ, and a request may wait for its turn.
const MARGIN: Duration = Duration::from_mins(5);

/// How long a refusal counts for all who ask with the same credentials; many may ask at once.
const REFUSAL_KEPT: Duration = Duration::from_secs(30);

/// How long the changes of one call may take, all requests together.
const LONGEST_CALL: Duration = Duration::from_secs(50);

/// The longest file with a workload's token, in bytes.
const LONGEST_FILE: u64 = 64 << 10;

/// One API with the credentials of one identity.
pub struct BearerClient {
    api: ApiClient,
    tokens: ApiClient,
    source: Box<dyn TokenSource>,
    /// Held while a token is fetched, so that only one is.
    kept: Mutex<Option<Kept>>,
}

/// What the token service said last, and until when that counts.
struct Kept {
    said: Result<Arc<str>, ProviderError>,
    until: Instant,
}

impl BearerClient {
    /// `http` reaches the giver of tokens: without a proxy, if it [belongs to the machine](TokenSource::is_local).
    pub fn new(api: ApiClient, http: Client, source: Box<dyn TokenSource>) -> Self {
        let tokens = ApiClient::new(source.service(), http, Pace::new(1.0, 5));
        Self { api, tokens, source, kept: Mutex::default() }
    }

    /// The API without credentials, for what it says about failures.
    pub fn api(&self) -> &ApiClient {
        &self.api
    }

    /// Sends a request with a token, and once more with a new one if that is not accepted. Otherwise as
    /// [`ApiClient::send`].
    ///
    /// # Errors
    ///
    /// The same, and those of the token service.
    pub async fn send(
        &self,
        doing: &str,
        request: impl Fn(&Client) -> RequestBuilder,
    ) -> Result<Answer, ProviderError> {
        let token = self.token().await?;
        let answer = self.api.send(doing, request(self.api.http()).bearer_auth(&token)).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        self.forget(&token).await;
        let token = self.token().await?;
        self.api.send(doing, request(self.api.http()).bearer_auth(&token)).await
    }

    async fn token(&self) -> Result<Arc<str>, ProviderError> {
        let mut kept = self.kept.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| kept.until > Instant::now()) {
            return kept.said.clone();
        }
        *kept = None;
        match self.fetch().await {
            Ok(token) => {
                let secret: Arc<str> = token.secret.into();
                let until = Instant::now() + usable(token.lifetime);
                *kept = Some(Kept { said: Ok(secret.clone()), until });
                Ok(secret)
            }
            Err(error) => {
                if !error.is_transient() {
                    *kept = Some(Kept { said: Err(error.clone()), until: Instant::now() + REFUSAL_KEPT });
                }
                Err(error)
            }
        }
    }

    /// Another one may have been fetched meanwhile.
    async fn forget(&self, token: &str) {
        let mut kept = self.kept.lock().await;
        if kept.as_ref().is_some_and(|kept| kept.said.as_deref().is_ok_and(|held| held == token)) {
            *kept = None;
        }
    }

    async fn fetch(&self) -> Result<AccessToken, ProviderError> {
        let content = match self.source.file() {
            Some(file) => read(file).await?,
            None => String::new(),
        };
        let request = self.source.request(Timestamp::now(), &content).map_err(|error| {
            let message = format!("The credentials for {} cannot be used: {error}", self.source.service());
            ProviderError::Refused { message, source: Some(Arc::new(error)) }
        })?;
        let first = self.ask(request).await?;
        match self.source.exchange(&first) {
            Some(request) => self.ask(request).await,
            None => Ok(first),
        }
    }

    async fn ask(&self, request: TokenRequest) -> Result<AccessToken, ProviderError> {
        let doing = "give an access token";
        let answer = self.tokens.send(doing, built(self.tokens.http(), request)).await?;
        if !answer.status.is_success() {
            return Err(self.tokens.failure(doing, &answer, refusal(&answer.body).as_deref()));
        }
        AccessToken::parse(&answer.body, Timestamp::now()).ok_or_else(|| self.tokens.unreadable(doing))
    }
}

/// Gives up on what takes too long as a whole, however its requests are bounded.
///
/// # Errors
///
/// Those of `work`, or that it took too long.
pub async fn in_time<T>(name: &str, work: impl Future<Output = Result<T, ProviderError>>) -> Result<T, ProviderError> {
    timeout(LONGEST_CALL, work).await.unwrap_or_else(|_| {
        let message = format!("{name} took too long to change TXT records");
        Err(ProviderError::Transient { message, source: None })
    })
}

/// How long a token is used: metadata servers hand out tokens that are about to end, too.
fn usable(lifetime: Duration) -> Duration {
    lifetime.saturating_sub(MARGIN).max(lifetime / 2)
}

fn built(http: &Client, request: TokenRequest) -> RequestBuilder {
    let builder = match request.body {
        Body::None => http.get(&request.url),
        Body::Json(value) => http.post(&request.url).json(&value),
        Body::Form(fields) => {
            let form = http.post(&request.url).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
            form.body(encoded(&fields))
        }
    };
    request.headers.into_iter().fold(builder, |builder, (name, value)| builder.header(name, value))
}

/// As HTML forms are encoded, which is how a URL encodes its query.
fn encoded(fields: &[(&'static str, String)]) -> String {
    let url = Url::parse_with_params("form:", fields).ok();
    url.as_ref().and_then(Url::query).unwrap_or_default().to_owned()
}

async fn read(file: &Path) -> Result<String, ProviderError> {
    let failed = |error: std::io::Error| {
        let message = format!("The file {} with the workload's token cannot be read: {}", file.display(), error.kind());
        ProviderError::Transient { message, source: Some(Arc::new(error)) }
    };
    let mut content = String::new();
    let opened = tokio::fs::File::open(file).await.map_err(failed)?;
    opened.take(LONGEST_FILE).read_to_string(&mut content).await.map_err(failed)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_not_used_to_the_end() {
        assert_eq!(usable(Duration::from_hours(1)), Duration::from_mins(55));
        assert_eq!(usable(Duration::from_mins(4)), Duration::from_mins(2));
        assert_eq!(usable(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn forms_are_encoded() {
        let fields = [("scope", "https://a.test/.default".to_owned()), ("client_secret", "a b&c=+~ü".to_owned())];
        assert_eq!(encoded(&fields), "scope=https%3A%2F%2Fa.test%2F.default&client_secret=a+b%26c%3D%2B%7E%C3%BC");
    }
}
