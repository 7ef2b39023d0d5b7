//! The flags that say where the API server is answered, and with what certificate.

use clap::Args;
use jiff::SignedDuration;

use crate::{
    cli::{
        controller::leaf_duration,
        tls::{TlsFlags, cipher_suite, min_version},
    },
    tls::{CipherSuite, MinVersion, Protocol},
};

/// Where and with what.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Serving")]
pub(super) struct ServingArgs {
    /// Port at which the API server asks, by HTTPS.
    #[arg(long, value_name = "PORT", default_value_t = 6443)]
    pub(super) secure_port: u16,
    /// Port of /livez and /healthz; 0 turns them off.
    #[arg(long, value_name = "PORT", default_value_t = 6080)]
    pub(super) healthz_port: u16,
    /// Namespace of the Secret with the CA of the webhook's certificate.
    #[arg(long, value_name = "NAMESPACE", default_value = "", hide_default_value = true)]
    dynamic_serving_ca_secret_namespace: String,
    /// Name of that Secret. It is made, and the CA renewed in it.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
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
}

impl ServingArgs {
    pub(super) fn tls(&self) -> TlsFlags {
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
