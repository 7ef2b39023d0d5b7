//! A CA for tests: a transport that answers by itself.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{
    Method, Url,
    header::{HeaderMap, HeaderName},
};

use super::{
    Client, Error,
    transport::{Request, Response, Transport},
};
use crate::pki::{KeyAlgorithm, PrivateKey};

/// Answers a request by the path of its URL, after a while.
struct Scripted<F>(F, Duration);

#[async_trait]
impl<F: Fn(&Request, &str) -> Response + Send + Sync> Transport for Scripted<F> {
    async fn exchange(&self, request: &Request) -> Result<Response, Error> {
        if !self.1.is_zero() {
            tokio::time::sleep(self.1).await;
        }
        Ok((self.0)(request, Url::parse(&request.url).unwrap().path()))
    }
}

/// The client of a CA at `https://ca.example` that answers as `answer` has it, by the path of the URL.
pub(crate) fn server(answer: impl Fn(&Request, &str) -> Response + Send + Sync + 'static) -> Client {
    slow(Duration::ZERO, answer)
}

fn slow(wait: Duration, answer: impl Fn(&Request, &str) -> Response + Send + Sync + 'static) -> Client {
    Client::with_transport("https://ca.example/directory", Box::new(Scripted(answer, wait))).unwrap()
}

/// As [`ca`], but each answer takes so long.
pub(crate) fn slow_ca(wait: Duration, answer: impl Fn(&str) -> Response + Send + Sync + 'static) -> Client {
    slow(wait, of_ca(answer))
}

/// The same with a directory and nonces; `answer` is for what is posted.
pub(crate) fn ca(answer: impl Fn(&str) -> Response + Send + Sync + 'static) -> Client {
    server(of_ca(answer))
}

fn of_ca(
    answer: impl Fn(&str) -> Response + Send + Sync + 'static,
) -> impl Fn(&Request, &str) -> Response + Send + Sync {
    move |request, path| match path {
        "/directory" => response(200, &[], &directory("")),
        _ if request.method == Method::HEAD => response(200, &[("replay-nonce", "n")], ""),
        path => answer(path),
    }
}

/// A directory whose URLs all lie below this path.
pub(crate) fn directory(below: &str) -> String {
    let entry = |name: &str| format!("\"{name}\":\"https://ca.example{below}/{name}\"");
    let entries: Vec<String> = ["newNonce", "newAccount", "newOrder", "renewalInfo"].map(entry).into();
    format!("{{{}}}", entries.join(","))
}

pub(crate) fn response(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
    let header = |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    let headers: HeaderMap = headers.iter().map(header).collect();
    Response { status, headers, body: body.as_bytes().to_vec() }
}

/// A new P-256 key.
pub(crate) fn key() -> PrivateKey {
    PrivateKey::generate(KeyAlgorithm::from_spec(Some("ECDSA"), None).unwrap()).unwrap()
}
