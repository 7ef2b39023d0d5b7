//! `certwright webhook`: the optional admission webhook.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use axum::{Router, http::StatusCode, routing::get};
use clap::Args;
use jiff::SignedDuration;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use super::{
    controller::{ControllerError, connect, leaf_duration},
    log,
    tls::{TlsFlags, TlsFlagsError, cipher_suite, min_version},
};
use crate::{
    admission::{self, Approvals, Webhook},
    serve,
    tls::{Certificates, CipherSuite, MinVersion, Protocol},
};

/// The flags have the names and defaults of cert-manager's webhook.
#[derive(Args, Clone, Debug)]
pub struct WebhookArgs {
    /// Kubeconfig file; without it, $KUBECONFIG, ~/.kube/config, or the pod's service account.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Port at which the API server asks, by HTTPS.
    #[arg(long, value_name = "PORT", default_value_t = 6443)]
    secure_port: u16,
    /// Port of /livez and /healthz; 0 turns them off.
    #[arg(long, value_name = "PORT", default_value_t = 6080)]
    healthz_port: u16,
    /// Namespace of the Secret with the CA of the webhook's certificate.
    #[arg(long, value_name = "NAMESPACE", default_value = "")]
    dynamic_serving_ca_secret_namespace: String,
    /// Name of that Secret. It is made, and the CA renewed in it.
    #[arg(long, value_name = "NAME", default_value = "")]
    dynamic_serving_ca_secret_name: String,
    /// Names that the webhook's certificate is for, separated by commas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    dynamic_serving_dns_names: Vec<String>,
    /// How long the webhook's certificate is valid; a new one is made after two thirds of it.
    #[arg(long, value_name = "DURATION", default_value = "168h", value_parser = leaf_duration)]
    dynamic_serving_leaf_duration: SignedDuration,
    /// File with a certificate, and its chain, to serve with instead. It is read again when it changes.
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    tls_cert_file: String,
    /// File with the key of --tls-cert-file.
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    tls_private_key_file: String,
    /// Cipher suites of TLS 1.2, separated by commas; all that are safe by default. Those of TLS 1.3 are always there.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = cipher_suite)]
    tls_cipher_suites: Vec<CipherSuite>,
    /// The oldest version of TLS: VersionTLS12 or VersionTLS13.
    #[arg(long, value_name = "VERSION", default_value = "VersionTLS12", value_parser = min_version)]
    tls_min_version: MinVersion,
    /// How log lines are written.
    #[arg(long, value_enum, default_value = "text")]
    logging_format: log::Format,
    /// What is logged: a level (error, warn, info, debug, trace), or directives such as info,certwright::admission=debug.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log_level: String,
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
    #[error("cannot listen on port {port}: {problem}")]
    Listen { port: u16, problem: String },
    #[error("cannot wait for signals: {0}")]
    Signals(#[from] std::io::Error),
    #[error("the watch of the CA's Secret ended by itself, which is a defect of certwright")]
    WatchEnded,
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(args: WebhookArgs) -> Result<(), WebhookError> {
    log::start(args.logging_format, &args.log_level);
    let (client, _) = connect(args.kubeconfig.as_ref(), None).await?;
    let tls = args.tls().serve("the certificate of the webhook", &client, None)?.ok_or(WebhookError::NoCertificate)?;
    let listener = listen(args.secure_port).await?;
    if args.healthz_port != 0 {
        let healthz = listen(args.healthz_port).await?;
        tokio::spawn(serve::serve(healthz, probes(tls.certificates)));
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), port = args.secure_port, "answering the API server");
    let webhook = Arc::new(Webhook { approvals: Approvals::new(client) });
    tokio::select! {
        () = admission::serve(listener, tls.settings, webhook, stop) => Ok(()),
        () = tls.keep => Err(WebhookError::WatchEnded),
    }
}

impl WebhookArgs {
    fn tls(&self) -> TlsFlags {
        TlsFlags {
            prefix: "",
            certificate_file: self.tls_cert_file.clone(),
            key_file: self.tls_private_key_file.clone(),
            secret_namespace: self.dynamic_serving_ca_secret_namespace.clone(),
            secret_name: self.dynamic_serving_ca_secret_name.clone(),
            dns_names: self.dynamic_serving_dns_names.clone(),
            lifetime: self.dynamic_serving_leaf_duration,
            protocol: Protocol { min_version: self.tls_min_version, cipher_suites: self.tls_cipher_suites.clone() },
        }
    }
}

async fn listen(port: u16) -> Result<TcpListener, WebhookError> {
    let address = SocketAddr::from(([0, 0, 0, 0], port));
    TcpListener::bind(address).await.map_err(|error| WebhookError::Listen { port, problem: error.to_string() })
}

/// `/livez` answers as long as the process runs, `/healthz` and `/readyz` once there is a certificate.
fn probes(certificates: Arc<Certificates>) -> Router {
    let ready = move || {
        let is_ready = certificates.is_ready();
        async move {
            if is_ready { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "no certificate yet") }
        }
    };
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/healthz", get(ready.clone()))
        .route("/readyz", get(ready))
}
