//! `certwright webhook`: the optional admission webhook.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use axum::{Router, http::StatusCode, routing::get};
use clap::Args;
use jiff::SignedDuration;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_rustls::TlsAcceptor;

use super::{
    controller::{ControllerError, connect, positive_duration},
    log,
};
use crate::{
    admission::{Approvals, Certificates, Keeper, Settings, TlsError, Webhook, serve},
    pki::{Error as PkiError, ParsedCertificate, PrivateKey, pem},
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
    #[arg(long, value_name = "DURATION", default_value = "168h", value_parser = positive_duration)]
    dynamic_serving_leaf_duration: SignedDuration,
    /// File with a certificate, and its chain, to serve with instead. It is read once.
    #[arg(long, value_name = "FILE", requires = "tls_private_key_file")]
    tls_cert_file: Option<PathBuf>,
    /// File with the key of --tls-cert-file.
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    tls_private_key_file: Option<PathBuf>,
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
    #[error("cannot read {file}: {problem}")]
    File { file: String, problem: String },
    #[error("cannot serve HTTPS: {0}")]
    Tls(#[from] TlsError),
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
    let certificates = Arc::new(Certificates::default());
    let keeper = match (&args.tls_cert_file, &args.tls_private_key_file) {
        (Some(certificate), Some(key)) => {
            put_files(&certificates, certificate, key)?;
            None
        }
        _ => Some(Keeper::new(client.clone(), settings(&args)?, certificates.clone())),
    };
    let tls = TlsAcceptor::from(certificates.settings()?);
    let listener = listen(args.secure_port).await?;
    if args.healthz_port != 0 {
        let healthz = listen(args.healthz_port).await?;
        tokio::spawn(probes(healthz, certificates));
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
    let keep = async {
        match keeper {
            Some(keeper) => keeper.run().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = serve(listener, tls, webhook, stop) => Ok(()),
        () = keep => Err(WebhookError::WatchEnded),
    }
}

fn settings(args: &WebhookArgs) -> Result<Settings, WebhookError> {
    let settings = Settings {
        namespace: args.dynamic_serving_ca_secret_namespace.clone(),
        secret: args.dynamic_serving_ca_secret_name.clone(),
        dns_names: args.dynamic_serving_dns_names.iter().filter(|name| !name.is_empty()).cloned().collect(),
        lifetime: args.dynamic_serving_leaf_duration,
    };
    let is_complete = !settings.namespace.is_empty() && !settings.secret.is_empty() && !settings.dns_names.is_empty();
    if is_complete { Ok(settings) } else { Err(WebhookError::NoCertificate) }
}

fn put_files(certificates: &Certificates, certificate: &PathBuf, key: &PathBuf) -> Result<(), WebhookError> {
    let wrong = |file: &PathBuf, problem: String| WebhookError::File { file: file.display().to_string(), problem };
    let read = |file: &PathBuf| match std::fs::metadata(file) {
        Ok(metadata) if metadata.len() > pem::limits().chain as u64 => Err(wrong(file, "it is too long".to_owned())),
        _ => std::fs::read(file).map_err(|error| wrong(file, error.to_string())),
    };
    let unusable = |file: &PathBuf| {
        let file = file.clone();
        move |error: PkiError| wrong(&file, error.to_string())
    };
    let chain = ParsedCertificate::from_pem_chain(&read(certificate)?).map_err(unusable(certificate))?;
    let key = PrivateKey::from_pem(&read(key)?).map_err(unusable(key))?;
    Ok(certificates.put(&chain, &key)?)
}

async fn listen(port: u16) -> Result<TcpListener, WebhookError> {
    let address = SocketAddr::from(([0, 0, 0, 0], port));
    TcpListener::bind(address).await.map_err(|error| WebhookError::Listen { port, problem: error.to_string() })
}

/// `/livez` answers as long as the process runs, `/healthz` and `/readyz` once there is a certificate.
async fn probes(listener: TcpListener, certificates: Arc<Certificates>) {
    let ready = move || {
        let is_ready = certificates.is_ready();
        async move {
            if is_ready { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "no certificate yet") }
        }
    };
    let router = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/healthz", get(ready.clone()))
        .route("/readyz", get(ready));
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the probe endpoints ended");
    }
}
