//! Requests to the collector, with the HTTP client that all others are made with.

use std::{
    error::Error,
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response, ResponseBodyTooLarge};
use tokio::runtime::Handle;

/// The longest answer that is read, in bytes: it says how many spans were not taken, and why.
const LONGEST_ANSWER: usize = 64 << 10;

/// Makes requests on the runtime that it was made on, whoever asks for them: spans are sent from a thread of their own.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    runtime: Handle,
    problem: Problem,
}

/// Why no answer came lately; the library that sends spans tells only that.
#[derive(Clone, Debug, Default)]
pub(super) struct Problem(Arc<Mutex<Option<String>>>);

impl Problem {
    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, problem: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
    }
}

impl Client {
    /// `timeout` is for one request. The proxy that the environment names is used; redirects are not followed, for headers may
    /// hold credentials.
    ///
    /// # Errors
    /// Certificates that cannot be read or used.
    pub(super) fn new(timeout: Duration, ca: Option<&Path>, problem: Problem) -> Result<Self, String> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("certwright/", env!("CARGO_PKG_VERSION")))
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(path) = ca {
            let unusable =
                |error: &dyn std::fmt::Display| format!("the CA certificates in {}: {error}", path.display());
            let pem = fs::read(path).map_err(|error| unusable(&error))?;
            let trusted = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| unusable(&error))?;
            builder = builder.tls_certs_only(trusted);
        }
        let http = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { http, runtime: Handle::current(), problem })
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.runtime.spawn(exchange(self.http.clone(), request)).await?;
        answer.inspect_err(|error| self.problem.put(innermost(&**error)))
    }
}

async fn exchange(http: reqwest::Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let mut answer = http.execute(request.try_into()?).await?;
    let mut response = Response::builder().status(answer.status());
    if let Some(headers) = response.headers_mut() {
        headers.extend(answer.headers().clone());
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > LONGEST_ANSWER {
            return Err(Box::new(ResponseBodyTooLarge::new()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(response.body(body.into())?)
}

/// Without the address, which may hold credentials.
fn innermost(error: &(dyn Error + 'static)) -> String {
    error.source().map_or_else(|| error.to_string(), innermost)
}
