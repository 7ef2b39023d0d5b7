//! The flags that say where and how the webhook's metrics are served.

use clap::Args;
use kube::Client;

use super::WebhookError;
use crate::{
    cli::metrics_tls::MetricsTlsArgs,
    metrics::{Recorder, keep_up, router_of_process},
    serve,
};

/// Where metrics are served.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Metrics")]
pub(super) struct MetricsArgs {
    /// Where /metrics is served for Prometheus, as ADDRESS:PORT; an empty value or 0 turns it off.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9402")]
    metrics_listen_address: String,
    #[command(flatten)]
    tls: MetricsTlsArgs,
}

/// Serves metrics until the process ends.
pub(super) async fn serve(args: &MetricsArgs, client: &Client) -> Result<(), WebhookError> {
    let address = &args.metrics_listen_address;
    if address.is_empty() || address == "0" {
        return Ok(());
    }
    let wrong = |problem: String| WebhookError::Metrics { address: address.clone(), problem };
    let recorder = Recorder::install().map_err(wrong)?;
    let listener = serve::listen(address).await.map_err(wrong)?;
    let router = router_of_process(recorder.clone());
    args.tls.serve(listener, router, client)?;
    tokio::spawn(keep_up(recorder));
    Ok(())
}
