//! Requests to the collector, with the HTTP client that all others are made with.

use std::{error::Error, fs, path::Path, time::Duration};

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response, ResponseBodyTooLarge};
use tokio::{runtime::Handle, time::Instant};

use super::{
    pause::Pause,
    remark::{Remark, Remarks},
};

/// The longest answer that is read, in bytes: it says how many spans were not taken, and why.
const LONGEST_ANSWER: usize = 64 << 10;

/// Makes requests on the runtime that it was made on, whoever asks for them: spans are sent from a thread of their own.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    runtime: Handle,
    pause: Pause,
    remarks: Remarks,
}

impl Client {
    /// `timeout` is for one request. The proxy that the environment names is used; redirects are not followed, for headers may
    /// hold credentials.
    ///
    /// # Errors
    /// Certificates that cannot be read or used.
    pub(super) fn new(timeout: Duration, ca: Option<&Path>, remarks: Remarks) -> Result<Self, String> {
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
        Ok(Self { http, runtime: Handle::current(), pause: Pause::default(), remarks })
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        if !self.pause.is_over(Instant::now()) {
            self.remarks.put(Some(Remark::NoAnswer("it asked to be spared for a while".to_owned())));
            return Err("the collector is spared".into());
        }
        let answer = self.runtime.spawn(exchange(self.http.clone(), request)).await?;
        self.remarks.put(match &answer {
            Ok(response) if response.status().is_success() => Remark::of_success(response.body()),
            Ok(_) => None,
            Err(error) => Some(Remark::NoAnswer(innermost(&**error))),
        });
        if let Ok(response) = &answer {
            self.pause.heed(response, Instant::now());
        }
        answer
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::{Router, http::StatusCode, routing::post};
    use tokio::net::TcpListener;

    use super::*;

    async fn send(client: &Client, port: u16, path: &str) -> Option<u16> {
        let uri = format!("http://127.0.0.1:{port}{path}");
        let request = Request::post(uri).body(Bytes::new()).unwrap();
        client.send_bytes(request).await.ok().map(|answer| answer.status().as_u16())
    }

    #[tokio::test]
    async fn what_is_said_is_of_the_last_exchange() {
        let router = Router::new()
            .route("/full", post(|| async { (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "3600")]) }))
            .route("/broken", post(|| async { StatusCode::INTERNAL_SERVER_ERROR }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(axum::serve(listener, router).into_future());
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();

        let remarks = Remarks::default();
        let client = Client::new(Duration::from_secs(10), None, remarks.clone()).unwrap();
        assert_eq!(send(&client, nobody, "/").await, None);
        assert_eq!(send(&client, port, "/broken").await, Some(500));
        assert_eq!(remarks.take(), None, "the former exchange is of no interest any more");
        assert_eq!(send(&client, nobody, "/").await, None);
        assert!(matches!(remarks.take(), Some(Remark::NoAnswer(why)) if why.contains("refused")));
        assert_eq!(send(&client, port, "/full").await, Some(503));
        assert_eq!(send(&client, port, "/broken").await, None, "it is spared");
        assert!(matches!(remarks.take(), Some(Remark::NoAnswer(why)) if why.contains("spared")));
    }
}
