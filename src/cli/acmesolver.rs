//! `certwright acmesolver`: answers one HTTP-01 challenge until it is told to stop.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::Args;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::api::Sensitive;
use crate::http01::SOLVER_PORT;
use crate::http01::server::{Answer, serve};

/// The flags of cert-manager's acmesolver.
#[derive(Args)]
pub struct AcmeSolverArgs {
    /// Port to listen on.
    #[arg(long, default_value_t = SOLVER_PORT)]
    listen_port: u16,
    /// DNS name or IP address of the challenge.
    #[arg(long)]
    domain: String,
    /// Token of the challenge.
    #[arg(long)]
    token: String,
    /// Key authorization to answer with.
    // It stands in the Pod's spec and in the process list. That is no leak: it is what anybody on the Internet may fetch
    // from the name while the challenge runs, it holds a hash of the account's public key, and it is of no use to anyone
    // without the account's private key.
    #[arg(long)]
    key: String,
}

/// Why the solver stopped or did not start.
#[derive(Debug, Error)]
pub enum AcmeSolverError {
    #[error("port {port} cannot be listened on; is another process using it?")]
    Listen { port: u16, source: io::Error },
    #[error("the process cannot wait for signals to stop")]
    Signal(#[source] io::Error),
}

/// Serves until SIGTERM or SIGINT.
pub async fn run(args: AcmeSolverArgs) -> Result<(), AcmeSolverError> {
    let port = args.listen_port;
    let listener = listen(port).await.map_err(|source| AcmeSolverError::Listen { port, source })?;
    let mut terminate = signal(SignalKind::terminate()).map_err(AcmeSolverError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AcmeSolverError::Signal)?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tracing::info!(port, domain = args.domain, "serving the answer to one challenge");
    let answer = Answer { domain: args.domain, token: args.token, key: Sensitive::from(args.key) };
    serve(listener, answer, stop).await;
    Ok(())
}

/// Both address families; IPv4 alone where the kernel has no IPv6.
async fn listen(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await
        }
        other => other,
    }
}
