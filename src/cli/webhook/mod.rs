//! `certwright webhook`: the optional admission webhook.

mod clients;
mod metrics;
mod serving;

use std::{path::PathBuf, sync::Arc};

use axum::{Router, http::StatusCode, routing::get};
use clap::Args;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use super::{
    controller::{ControllerError, SizeArgs, connect},
    debug,
    feature_gates::{FeatureGate, FeatureGates},
    log,
    tls::TlsFlagsError,
};
use crate::{
    admission::{self, Approvals, Webhook},
    pki::pem,
    serve,
    tls::{Certificates, Clients},
};

/// The flags have the names and defaults of cert-manager's webhook.
#[derive(Args, Clone, Debug)]
pub struct WebhookArgs {
    /// Kubeconfig file; without it, $KUBECONFIG, ~/.kube/config, or the pod's service account.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Address of the Kubernetes API server, in place of the one in the kubeconfig.
    #[arg(long, value_name = "URL")]
    api_server_host: Option<String>,
    /// Features by cert-manager's names. What they rule is told by the controller, so that they have no effect here.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = FeatureGate::parse)]
    feature_gates: Vec<FeatureGate>,
    #[command(flatten)]
    serving: serving::ServingArgs,
    #[command(flatten)]
    clients: clients::ClientArgs,
    #[command(flatten)]
    metrics: metrics::MetricsArgs,
    #[command(flatten)]
    sizes: SizeArgs,
    /// How log lines are written.
    #[arg(long, help_heading = "Logs", value_enum, value_name = "FORMAT", default_value = "text")]
    logging_format: log::Format,
    /// What is logged: a level (error, warn, info, debug, trace), or directives such as info,certwright::admission=debug.
    #[arg(long, help_heading = "Logs", value_name = "FILTER", default_value = "info", value_parser = log::checked)]
    log_level: String,
    /// Serve /debug/log-level at --profiler-address: PUT a level there, or directives as in --log-level, to change what is
    /// logged.
    #[arg(long, help_heading = "Logs", value_name = "BOOL", default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    enable_profiling: bool,
    /// Where that is served: an address of the machine itself.
    #[arg(long, help_heading = "Logs", value_name = "ADDRESS", default_value = "localhost:6060")]
    profiler_address: String,
    /// What is to be said of the flags once the log has begun.
    #[arg(skip)]
    pub(super) notes: Vec<String>,
}

/// Why the webhook did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error(transparent)]
    Cluster(#[from] ControllerError),
    #[error(
        "there is nothing to serve with: set --dynamic-serving-ca-secret-namespace, --dynamic-serving-ca-secret-name and \
         --dynamic-serving-dns-names, or --tls-cert-file and --tls-private-key-file"
    )]
    NoCertificate,
    #[error("cannot serve HTTPS: {0}")]
    Tls(#[from] TlsFlagsError),
    #[error("{0}")]
    Clients(String),
    #[error("--metrics-listen-address {address:?}: {problem}")]
    Metrics { address: String, problem: String },
    #[error("--profiler-address {address:?}: {problem}")]
    Profiler { address: String, problem: String },
    #[error("cannot listen on port {port}: {problem}")]
    Listen { port: u16, problem: String },
    #[error("cannot wait for signals: {0}")]
    Signals(#[from] std::io::Error),
    #[error("the watch of the CA's Secret ended by itself, which is a defect of certwright")]
    WatchEnded,
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(args: WebhookArgs) -> Result<(), WebhookError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let level = log::start(args.logging_format, &args.log_level);
    pem::set_limits(args.sizes.limits()?);
    args.tell_notes();
    let (client, _) = connect(args.kubeconfig.as_ref(), args.api_server_host.as_deref()).await?;
    let clients = args.clients.start()?;
    let tls = args.serving.tls().serve("the certificate of the webhook", &client, clients.clone())?;
    let tls = tls.ok_or(WebhookError::NoCertificate)?;
    let port = args.serving.secure_port;
    let listener = listen(port).await?;
    if args.serving.healthz_port != 0 {
        let healthz = listen(args.serving.healthz_port).await?;
        tokio::spawn(serve::serve(healthz, probes(tls.certificates, clients)));
    }
    metrics::serve(&args.metrics, &client).await?;
    if args.enable_profiling {
        let address = &args.profiler_address;
        let wrong = |problem| WebhookError::Profiler { address: address.clone(), problem };
        debug::start(address, level).await.map_err(wrong)?;
    }
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), port, "answering the API server");
    let webhook = Arc::new(Webhook { approvals: Approvals::new(client) });
    tokio::select! {
        () = admission::serve(listener, tls.settings, webhook, stop) => Ok(()),
        () = tls.keep => Err(WebhookError::WatchEnded),
    }
}

impl WebhookArgs {
    fn tell_notes(&self) {
        self.notes.iter().for_each(|note| tracing::warn!("{note}"));
        if !self.feature_gates.is_empty() {
            // Tells of those that nobody heeds.
            FeatureGates::of(&self.feature_gates);
            tracing::warn!("--feature-gates is without effect: what gates rule is told by the controller");
        }
    }

    #[cfg(test)]
    pub(super) fn ports(&self) -> (u16, u16) {
        (self.serving.secure_port, self.serving.healthz_port)
    }
}

async fn listen(port: u16) -> Result<TcpListener, WebhookError> {
    let listening = serve::listen_everywhere(port).await;
    listening.map_err(|error| WebhookError::Listen { port, problem: error.to_string() })
}

/// `/livez` answers as long as the process runs, `/healthz` and `/readyz` once there is a certificate, and a CA for clients if
/// they are verified. They tell as well why the certificate cannot be renewed.
fn probes(certificates: Arc<Certificates>, clients: Option<Arc<Clients>>) -> Router {
    let ready = move || {
        let (status, text) = if !certificates.is_ready() {
            (StatusCode::SERVICE_UNAVAILABLE, "no certificate yet")
        } else if clients.as_ref().is_some_and(|clients| !clients.is_ready()) {
            (StatusCode::SERVICE_UNAVAILABLE, "no CA for clients yet")
        } else {
            (StatusCode::OK, "ok")
        };
        let problem = certificates.problem().map(|problem| format!("\n{problem}")).unwrap_or_default();
        async move { (status, format!("{text}{problem}")) }
    };
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/healthz", get(ready.clone()))
        .route("/readyz", get(ready))
}
