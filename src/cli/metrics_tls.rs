//! The flags that say with what certificate metrics are served. The controller and the webhook have them.

use axum::Router;
use clap::Args;
use jiff::SignedDuration;
use kube::Client;
use tokio::net::TcpListener;

use super::{
    controller::leaf_duration,
    tls::{TlsFlags, TlsFlagsError, cipher_suite, min_version},
};
use crate::{
    measure, serve,
    tls::{CipherSuite, MinVersion, Protocol},
};

const WHAT: &str = "the certificate of the metrics";

/// With what metrics are served. Without any of the certificates they are served over plain HTTP.
#[derive(Args, Clone, Debug)]
pub struct MetricsTlsArgs {
    /// File with a certificate, and its chain, to serve metrics with over TLS. It is read again when it changes.
    #[arg(long = "metrics-tls-cert-file", value_name = "FILE", default_value = "", hide_default_value = true)]
    cert_file: String,
    /// File with the key of --metrics-tls-cert-file.
    #[arg(long = "metrics-tls-private-key-file", value_name = "FILE", default_value = "", hide_default_value = true)]
    private_key_file: String,
    /// In place of files: namespace of the Secret with the CA of the certificate that metrics are served with.
    #[arg(
        long = "metrics-dynamic-serving-ca-secret-namespace",
        value_name = "NAMESPACE",
        default_value = "",
        hide_default_value = true
    )]
    ca_secret_namespace: String,
    /// Name of that Secret. It is made, and the CA renewed in it.
    #[arg(
        long = "metrics-dynamic-serving-ca-secret-name",
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    ca_secret_name: String,
    /// Names that the certificate is for, separated by commas.
    #[arg(long = "metrics-dynamic-serving-dns-names", value_name = "NAMES", value_delimiter = ',')]
    dns_names: Vec<String>,
    /// How long the certificate is valid; a new one is made after two thirds of it.
    #[arg(long = "metrics-dynamic-serving-leaf-duration", value_name = "DURATION", default_value = "168h", value_parser = leaf_duration)]
    leaf_duration: SignedDuration,
    /// Cipher suites of TLS 1.2, separated by commas; all that are safe by default. Those of TLS 1.3 are always there.
    #[arg(long = "metrics-tls-cipher-suites", value_name = "NAMES", value_delimiter = ',', value_parser = cipher_suite)]
    cipher_suites: Vec<CipherSuite>,
    /// The oldest version of TLS: VersionTLS12 or VersionTLS13.
    #[arg(long = "metrics-tls-min-version", value_name = "VERSION", default_value = "VersionTLS12", value_parser = min_version)]
    min_version: MinVersion,
}

impl MetricsTlsArgs {
    /// Serves until the process ends, over TLS if there is a certificate for it.
    ///
    /// # Errors
    /// If the flags contradict each other.
    pub fn serve(&self, listener: TcpListener, router: Router, client: &Client) -> Result<(), TlsFlagsError> {
        if let Some(tls) = self.flags().serve(WHAT, client, None)? {
            tokio::spawn(tls.keep);
            tokio::spawn(serve::serve_tls(listener, tls.settings, router));
        } else {
            measure::serving_problem(WHAT, false);
            tokio::spawn(serve::serve(listener, router));
        }
        Ok(())
    }

    fn flags(&self) -> TlsFlags {
        TlsFlags {
            prefix: "metrics-",
            certificate_file: self.cert_file.clone(),
            key_file: self.private_key_file.clone(),
            secret_namespace: self.ca_secret_namespace.clone(),
            secret_name: self.ca_secret_name.clone(),
            dns_names: self.dns_names.clone(),
            lifetime: self.leaf_duration,
            protocol: Protocol { min_version: self.min_version, cipher_suites: self.cipher_suites.clone() },
        }
    }
}
