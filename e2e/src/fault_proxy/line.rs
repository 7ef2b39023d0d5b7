//! The way of one request through a proxy.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use reqwest::Method;

use super::answer::{Answer, Body, CutOff};
use super::journal::{Exchange, account_and_nonce};
use super::script::{Fault, Garbling};
use super::{Kind, Line};

/// The longest request that is taken, in bytes.
const LONGEST_REQUEST: usize = 1 << 20;

/// What concerns one connection only (RFC 9110 section 7.6.1), or is said anew.
const OF_THE_CONNECTION: [HeaderName; 4] =
    [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::UPGRADE];

impl Line {
    /// Answers a request, or cuts its connection. Both are written down.
    pub(super) async fn pass(&self, request: Request<Incoming>) -> Result<Response<Body>, CutOff> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, LONGEST_REQUEST).collect().await.map_err(|_| CutOff)?.to_bytes();
        if self.is_down.load(Ordering::SeqCst) {
            return Err(CutOff);
        }
        let kind = Kind::of(head.uri.path());
        let fault = self.script.lock().unwrap_or_else(PoisonError::into_inner).next(kind);
        let (account, nonce) = account_and_nonce(&body);
        let now = Instant::now();
        let mut exchange = Exchange {
            received: now,
            answered: now,
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            kind,
            account,
            nonce,
            status: None,
            ca: Vec::new(),
            retry_after: None,
            fault: fault.as_ref().map(|fault| format!("{fault:?}")),
        };
        let answer = self.spoiled(fault, &head, &body, &mut exchange).await;
        exchange.answered = Instant::now();
        if let Ok(answer) = &answer {
            exchange.status = Some(answer.status.as_u16());
            exchange.retry_after = answer.retry_after();
        }
        self.journal.lock().unwrap_or_else(PoisonError::into_inner).push(exchange);
        answer.map(Answer::into_response)
    }

    async fn spoiled(
        &self,
        fault: Option<Fault>,
        head: &Parts,
        body: &Bytes,
        exchange: &mut Exchange,
    ) -> Result<Answer, CutOff> {
        let fault = match fault {
            Some(Fault::CutBefore) => return Err(CutOff),
            Some(Fault::Refuse(status, wish)) => return Answer::refusal(status, wish),
            // Only what is signed has a nonce.
            Some(Fault::BadNonce) if exchange.nonce.is_some() => {
                return Ok(Answer::bad_nonce(self.fresh_nonce(head).await?));
            }
            Some(Fault::Long(length)) => return Ok(Answer::long(length)),
            Some(Fault::Redirect(url)) => return Ok(Answer::redirect(url)),
            other => other,
        };
        let answer = self.forward(head, body, exchange).await?;
        Ok(match fault {
            Some(Fault::CutAfter) => return Err(CutOff),
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                answer
            }
            Some(Fault::Repeat) => self.forward(head, body, exchange).await?,
            Some(Fault::Garble(Garbling::Truncated)) => answer.truncated(),
            Some(Fault::Garble(Garbling::Halved)) => answer.halved(),
            Some(Fault::Garble(Garbling::Page)) => Answer::page(),
            Some(Fault::Garble(Garbling::ContentType)) => answer.into_plain_text(),
            Some(Fault::Rewrite(rewrite)) => answer.rewritten(&rewrite),
            _ => answer,
        })
    }

    async fn forward(&self, head: &Parts, body: &Bytes, exchange: &mut Exchange) -> Result<Answer, CutOff> {
        let answer = self.ask(&head.method, head.uri.path(), passed_on(&head.headers), body.clone()).await?;
        exchange.ca.push(answer.status.as_u16());
        Ok(answer)
    }

    async fn ask(&self, method: &Method, path: &str, headers: HeaderMap, body: Bytes) -> Result<Answer, CutOff> {
        let url = format!("{}{path}", self.upstream);
        let request = self.client.request(method.clone(), url).headers(headers).body(body);
        let answer = request.send().await.map_err(|_| CutOff)?;
        let (status, headers) = (answer.status(), passed_on(answer.headers()));
        Ok(Answer::new(status, headers, answer.bytes().await.map_err(|_| CutOff)?))
    }

    /// A nonce of the CA, as every refusal of one has to carry (RFC 8555 section 6.5).
    async fn fresh_nonce(&self, head: &Parts) -> Result<http::HeaderValue, CutOff> {
        let mut headers = HeaderMap::new();
        if let Some(agent) = head.headers.get(header::USER_AGENT) {
            headers.insert(header::USER_AGENT, agent.clone());
        }
        let answer = self.ask(&Method::HEAD, "/nonce-plz", headers, Bytes::new()).await?;
        answer.headers.get("replay-nonce").cloned().ok_or(CutOff)
    }
}

fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in OF_THE_CONNECTION {
        headers.remove(name);
    }
    headers
}
