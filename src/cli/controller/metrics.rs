//! The flags that say where and how metrics are served.

use std::{collections::BTreeMap, sync::Arc};

use clap::Args;
use kube::Client;

use super::ControllerError;
use crate::{
    cli::metrics_tls::MetricsTlsArgs,
    cluster::{Hub, Key, Kind},
    controller::{Contexts, balances},
    decide::budget::Balance,
    measure,
    metrics::{AccountBudget, Recorder, Sources, keep_up, router},
    serve,
};

/// Where metrics are served.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Metrics")]
pub(super) struct MetricsArgs {
    /// Where /metrics is served for Prometheus, as ADDRESS:PORT; an empty value or 0 turns it off.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9402")]
    pub(super) metrics_listen_address: String,
    #[command(flatten)]
    tls: MetricsTlsArgs,
}

/// Serves metrics until the process ends, in every replica.
pub(super) async fn serve_metrics(
    args: &MetricsArgs,
    client: &Client,
    hub: &Arc<Hub>,
    contexts: Contexts,
) -> Result<(), ControllerError> {
    let address = &args.metrics_listen_address;
    if address.is_empty() || address == "0" {
        return Ok(());
    }
    let wrong = |problem: String| ControllerError::Metrics { address: address.clone(), problem };
    let recorder = Recorder::install().map_err(wrong)?;
    measure::leads(false);
    let listener = serve::listen(address).await.map_err(wrong)?;
    let sources = Sources {
        hub: hub.clone(),
        recorder: recorder.clone(),
        budgets: Box::new(move |now| {
            // One line for each issuer, however many shares this process has.
            let mut sums: BTreeMap<Key, Balance> = BTreeMap::new();
            for (key, balance) in contexts.all().into_iter().flat_map(|context| balances(&context, now)) {
                sums.entry(key).and_modify(|sum| *sum = sum.and(balance)).or_insert(balance);
            }
            sums.into_iter().map(account_budget).collect()
        }),
    };
    args.tls.serve(listener, router(Arc::new(sources)), client)?;
    tokio::spawn(keep_up(recorder));
    Ok(())
}

fn account_budget((issuer, balance): (Key, Balance)) -> AccountBudget {
    let kind = if issuer.kind == Kind::ClusterIssuer { "ClusterIssuer" } else { "Issuer" };
    AccountBudget { kind, namespace: issuer.object.namespace, name: issuer.object.name, balance }
}
