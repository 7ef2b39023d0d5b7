//! A server that answers as it is told and remembers what it was asked, for the tests of providers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, Response};
use jiff::Timestamp;
use reqwest::{Client, Url};
use serde_json::Value;

use super::bearer::BearerClient;
use super::http::ApiClient;
use super::pace::Pace;
use super::{Action, Change, TxtRecord};
use crate::cloud::token::{self, CredentialError, TokenRequest, TokenSource};

/// Status, headers and body of an answer.
pub type Told = (u16, &'static [(&'static str, &'static str)], String);

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Method, path and query.
    pub line: String,
    pub headers: HeaderMap,
    pub body: Value,
}

/// See the module's description.
pub struct Server {
    pub url: Url,
    asked: Arc<Mutex<Vec<Asked>>>,
    answers: Arc<Mutex<VecDeque<Told>>>,
}

impl Server {
    /// A server on this machine. What is asked beyond `answers` gets a 599.
    pub async fn start(answers: impl IntoIterator<Item = Told>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let (asked, answers): (Arc<Mutex<Vec<Asked>>>, _) =
            (Arc::default(), Arc::new(Mutex::new(answers.into_iter().collect::<VecDeque<_>>())));
        let (seen, left) = (asked.clone(), answers.clone());
        let answer = move |request: Request<Body>| {
            let (seen, left) = (seen.clone(), left.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = to_bytes(body, 1 << 20).await.unwrap();
                let line = format!("{} {}", head.method, head.uri);
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                seen.lock().unwrap().push(Asked { line, headers: head.headers, body });
                let told = left.lock().unwrap().pop_front();
                let (status, headers, body) = told.unwrap_or((599, &[], String::new()));
                let response = Response::builder().status(status);
                headers
                    .iter()
                    .fold(response, |response, (name, value)| response.header(*name, *value))
                    .body(body)
                    .unwrap()
            }
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        Self { url, asked, answers }
    }

    /// All requests so far, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Method, path and query of them.
    pub fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }

    /// Whether every answer was asked for.
    pub fn is_done(&self) -> bool {
        self.answers.lock().unwrap().is_empty()
    }

    /// A client of this server, whose tokens come from `/token` of the same server, like all else.
    pub fn client(&self, name: &'static str) -> BearerClient {
        let http = Client::builder().no_proxy().build().unwrap();
        let api = ApiClient::new(name, http.clone(), Pace::new(1000.0, 100));
        BearerClient::new(api, http, Box::new(Tokens { url: format!("{}token", self.url) }))
    }
}

struct Tokens {
    url: String,
}

impl TokenSource for Tokens {
    fn service(&self) -> &'static str {
        "The token service"
    }

    fn request(&self, _: Timestamp, _: &str) -> Result<TokenRequest, CredentialError> {
        Ok(TokenRequest { url: self.url.clone(), headers: Vec::new(), body: token::Body::None })
    }
}

/// A token that lives for an hour.
pub fn token(secret: &str) -> Told {
    ok(&serde_json::json!({ "access_token": secret, "expires_in": 3600 }))
}

pub fn ok(body: &Value) -> Told {
    (200, &[], body.to_string())
}

pub fn status(status: u16, body: &Value) -> Told {
    (status, &[], body.to_string())
}

/// That seven seconds are to be waited.
pub fn too_many() -> Told {
    (429, &[("retry-after", "7")], String::new())
}

/// What a proxy shows.
pub fn page() -> Told {
    (200, &[("content-type", "text/html")], "<html>".to_owned())
}

/// A change in the zone `a.test.`.
pub fn change(action: Action, name: &str, value: &str) -> Change {
    let record = TxtRecord {
        zone: "a.test.".to_owned(),
        name: name.to_owned(),
        domain: String::new(),
        value: value.to_owned(),
        ttl: super::DEFAULT_TTL,
    };
    Change { action, record }
}
