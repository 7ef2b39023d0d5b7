//! Stand-ins for the HTTP APIs of DNS providers, in the process of the test.
//!
//! A vendor's stand-in is a [`Vendor`]: it checks each request against what the vendor has published and answers as the vendor
//! does. What it is told to write goes through to the testbed's DNS servers ([`Zone`]), so that the CA sees what the code under
//! test did. [`StandIn`] is the server around it: it keeps a journal and can be told to fail.

mod message;
mod zone;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

pub use message::{Answer, Request};
pub use zone::{Record, Zone, unquoted};

use crate::fault_proxy::ServerIdentity;
use crate::state::State;

/// Longer than any client waits.
const SILENCE: Duration = Duration::from_mins(10);

/// One vendor's API.
pub trait Vendor: Send + Sync + 'static {
    /// Answers a request. It may block.
    ///
    /// # Errors
    ///
    /// What about the request is not as the vendor has published it. The client is answered 400, and the complaint stands in
    /// the journal.
    fn answer(&self, request: &Request) -> Result<Answer>;
}

/// What comes instead of the vendor's answer. The vendor does not see the request.
#[derive(Clone, Debug)]
pub enum Failure {
    Answer(Answer),
    /// The connection stays open and nothing comes.
    Silence,
    /// The connection is closed.
    Cut,
}

/// A request and what became of it.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub request: Request,
    /// None if the answer was a [`Failure`] without one.
    pub answer: Option<Answer>,
    /// What the vendor does not accept about the request.
    pub complaint: Option<String>,
}

/// A running stand-in. Dropping it ends it.
pub struct StandIn {
    url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What the connections of one stand-in share.
struct Shared {
    vendor: Arc<dyn Vendor>,
    failures: Mutex<VecDeque<Failure>>,
    journal: Mutex<Vec<Exchange>>,
}

impl StandIn {
    /// Serves `vendor` by HTTP on a port of its own.
    pub async fn start(state: &State, vendor: Arc<dyn Vendor>) -> Result<Self> {
        let (listener, address) = listen(state).await?;
        let shared = Arc::new(Shared::new(vendor));
        let task = tokio::spawn(accept(listener, None, shared.clone()));
        Ok(Self { url: format!("http://{address}"), shared, task })
    }

    /// The same by HTTPS. The client has to trust [`ServerIdentity::ca_pem`].
    pub async fn start_tls(state: &State, identity: &ServerIdentity, vendor: Arc<dyn Vendor>) -> Result<Self> {
        let (listener, address) = listen(state).await?;
        let shared = Arc::new(Shared::new(vendor));
        let task = tokio::spawn(accept(listener, Some(identity.clone()), shared.clone()));
        Ok(Self { url: format!("https://{address}"), shared, task })
    }

    /// Scheme, host and port.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The next `requests` requests fail like this, after those that are to fail already.
    pub fn fail_next(&self, requests: usize, failure: &Failure) {
        lock(&self.shared.failures).extend(std::iter::repeat_n(failure.clone(), requests));
    }

    /// No request fails any more.
    pub fn recover(&self) {
        lock(&self.shared.failures).clear();
    }

    /// Everything so far, in the order of the answers.
    pub fn journal(&self) -> Vec<Exchange> {
        lock(&self.shared.journal).clone()
    }

    /// What the vendor did not accept about requests, each with the request's first line.
    pub fn complaints(&self) -> Vec<String> {
        let told = |exchange: Exchange| {
            exchange.complaint.map(|complaint| format!("{}: {complaint}", exchange.request.line()))
        };
        self.journal().into_iter().filter_map(told).collect()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn new(vendor: Arc<dyn Vendor>) -> Self {
        Self { vendor, failures: Mutex::default(), journal: Mutex::default() }
    }

    /// An error closes the connection.
    async fn pass(&self, request: hyper::Request<Incoming>) -> Result<hyper::Response<Full<Bytes>>> {
        let request = Request::read(request).await?;
        let failure = lock(&self.failures).pop_front();
        let (answer, complaint) = match failure {
            None => self.ask(request.clone()).await?,
            Some(Failure::Answer(answer)) => (answer, None),
            Some(Failure::Silence) => {
                self.note(request, None, None);
                tokio::time::sleep(SILENCE).await;
                anyhow::bail!("the silence is over");
            }
            Some(Failure::Cut) => {
                self.note(request, None, None);
                anyhow::bail!("the connection is to be cut");
            }
        };
        self.note(request, Some(answer.clone()), complaint);
        answer.response()
    }

    async fn ask(&self, request: Request) -> Result<(Answer, Option<String>)> {
        let vendor = self.vendor.clone();
        let answered = tokio::task::spawn_blocking(move || vendor.answer(&request)).await?;
        Ok(match answered {
            Ok(answer) => (answer, None),
            Err(error) => {
                let complaint = format!("{error:#}");
                (Answer::text(400, "text/plain", &complaint), Some(complaint))
            }
        })
    }

    fn note(&self, request: Request, answer: Option<Answer>, complaint: Option<String>) {
        lock(&self.journal).push(Exchange { request, answer, complaint });
    }
}

async fn listen(state: &State) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((state.node_address, 0)).await.context("listening for a provider's clients")?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Serves connections until the stand-in is dropped, and they with it.
async fn accept(listener: TcpListener, identity: Option<ServerIdentity>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let _ = stream.set_nodelay(true);
        let (identity, shared) = (identity.clone(), shared.clone());
        connections.spawn(async move {
            match identity {
                None => serve(stream, shared).await,
                Some(identity) => {
                    let Ok(stream) = identity.acceptor().accept(stream).await else { return };
                    serve(stream, shared).await;
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>) {
    let service = service_fn(|request| {
        let shared = shared.clone();
        async move { shared.pass(request).await }
    });
    // An error is what a cut is for.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// What is locked is whole at every moment, so that a panic elsewhere harms nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
