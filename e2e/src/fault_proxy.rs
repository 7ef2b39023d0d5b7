//! A CA behind a bad line: an HTTPS proxy in front of Pebble, in the process of the test, that writes down every exchange
//! and spoils those that a script names.
//!
//! Clients stay on the proxy because it passes on their `Host` header: Pebble makes the URLs in its answers from it, and
//! compares it with the `url` in the header of each JWS (RFC 8555 section 6.4).

mod answer;
pub mod journal;
mod kind;
mod line;
mod script;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

pub use journal::Exchange;
pub use kind::Kind;
pub use script::{Fault, Garbling, RetryAfter, Rewrite, Script, without_list};

use crate::authority::Authority;
use crate::state::{Acme, State};

/// A handshake or a request that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The certificate that proxies show, made once for as many as a test needs.
#[derive(Clone)]
pub struct ServerIdentity {
    acceptor: TlsAcceptor,
    address: std::net::Ipv4Addr,
    ca_pem: String,
}

impl ServerIdentity {
    /// A certificate for the testbed's own address, from an authority of its own.
    pub fn create(state: &State) -> Result<Self> {
        let folder = state.folder.join(format!("fault-proxy-{}", std::process::id()));
        let authority = Authority::create(&folder, "fault-proxy-ca")?;
        let server = authority.server("server", &[&state.node_address.to_string()])?;
        let chain = vec![CertificateDer::from_pem_slice(server.certificate_pem.as_bytes())?];
        let key = PrivateKeyDer::from_pem_slice(server.key_pem.as_bytes())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = config.with_no_client_auth().with_single_cert(chain, key)?;
        let ca_pem = authority.certificate_pem().to_owned();
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), address: state.node_address, ca_pem })
    }

    /// The authority of the certificate, in PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }
}

/// A running proxy. Dropping it ends it.
pub struct FaultProxy {
    address: SocketAddr,
    ca_pem: String,
    line: Arc<Line>,
    task: JoinHandle<()>,
}

/// What the connections of one proxy share.
struct Line {
    /// Speaks to the CA.
    client: reqwest::Client,
    /// Scheme, host and port of the CA.
    upstream: String,
    script: Mutex<Script>,
    journal: Mutex<Vec<Exchange>>,
    is_down: AtomicBool,
}

impl FaultProxy {
    /// A proxy in front of `acme`, on a port of its own, with nothing to spoil yet.
    pub async fn start(identity: &ServerIdentity, acme: &Acme) -> Result<Self> {
        let listener = TcpListener::bind((identity.address, 0)).await.context("listening for ACME clients")?;
        let address = listener.local_addr()?;
        let line = Arc::new(Line {
            client: upstream_client(acme)?,
            upstream: acme.directory_url.trim_end_matches("/dir").to_owned(),
            script: Mutex::default(),
            journal: Mutex::default(),
            is_down: AtomicBool::new(false),
        });
        let task = tokio::spawn(accept(listener, identity.acceptor.clone(), line.clone()));
        Ok(Self { address, ca_pem: identity.ca_pem.clone(), line, task })
    }

    /// The directory of the CA behind it.
    pub fn directory_url(&self) -> String {
        format!("https://{}/dir", self.address)
    }

    /// Has the spec of an ACME issuer go through this proxy.
    pub fn stand_before(&self, issuer_spec: &mut Value) {
        issuer_spec["acme"]["server"] = self.directory_url().into();
        issuer_spec["acme"]["caBundle"] = STANDARD.encode(&self.ca_pem).into();
    }

    /// Follows this script from now on; what it counts begins anew.
    pub fn arm(&self, script: Script) {
        *self.line.script.lock().unwrap_or_else(PoisonError::into_inner) = script;
    }

    /// Everything that went through so far, in the order of the answers.
    pub fn journal(&self) -> Vec<Exchange> {
        self.line.journal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes no connection and answers no request any more, until it is called with `false`.
    pub fn set_down(&self, is_down: bool) {
        self.line.is_down.store(is_down, Ordering::SeqCst);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// HTTP/1.1 only: in HTTP/2 there is no `Host` header to pass on.
fn upstream_client(acme: &Acme) -> Result<reqwest::Client> {
    let pem = std::fs::read(&acme.ca_file).with_context(|| format!("reading {}", acme.ca_file.display()))?;
    let client = reqwest::Client::builder().tls_certs_only([reqwest::Certificate::from_pem(&pem)?]).http1_only();
    Ok(client.no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE).build()?)
}

/// Serves connections until the proxy is dropped, and they with it.
async fn accept(listener: TcpListener, acceptor: TlsAcceptor, line: Arc<Line>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Too many files are open, most likely: let others get on and close some.
            tokio::task::yield_now().await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        if !line.is_down.load(Ordering::SeqCst) {
            connections.spawn(serve(stream, acceptor.clone(), line.clone()));
        }
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, line: Arc<Line>) {
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await else { return };
    let service = hyper::service::service_fn(|request| {
        let line = line.clone();
        async move { line.pass(request).await }
    });
    // An error is what most scripts are after.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
        .await;
}
