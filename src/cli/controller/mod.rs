//! `certwright controller`.

mod acme;
mod certificates;
mod cluster;
mod definitions;
mod dns01;
mod durations;
mod http01;
mod serving;
#[cfg(test)]
mod testing;
mod work;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use clap::Args;
use kube::Client;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{
    cluster::{Cluster, Hub, Recorder},
    controller::{Context, Options},
    http01::client,
};

/// The flags have cert-manager's names and defaults. One file for each group of them.
#[derive(Args, Clone, Debug)]
pub struct ControllerArgs {
    #[command(flatten)]
    cluster: cluster::ClusterArgs,
    #[command(flatten)]
    work: work::WorkArgs,
    #[command(flatten)]
    certificates: certificates::CertificateArgs,
    #[command(flatten)]
    acme: acme::AcmeArgs,
    #[command(flatten)]
    dns01: dns01::Dns01Args,
    #[command(flatten)]
    http01: http01::Http01Args,
    #[command(flatten)]
    serving: serving::ServingArgs,
}

/// Why the controller did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    #[error("cannot read the kubeconfig: {0}")]
    Kubeconfig(String),
    #[error("cannot reach the Kubernetes API: {0}")]
    Api(String),
    #[error("--dns01-recursive-nameservers: {0}")]
    Nameservers(String),
    #[error("--internal-healthz-listen-address {address:?}: {problem}")]
    Listen { address: String, problem: String },
    #[error("cannot listen on {0} for HTTP-01 challenges: {1}; check --pod-ip ($POD_IP)")]
    Challenges(SocketAddr, #[source] std::io::Error),
    #[error("cannot set up the self-check: {0}")]
    SelfCheck(String),
    #[error("cannot wait for signals: {0}")]
    Signals(#[from] std::io::Error),
    #[error("a watch ended by itself, which is a defect of certwright; the process ends so that it is started anew")]
    WatchEnded,
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(args: ControllerArgs) -> Result<(), ControllerError> {
    args.serving.start_log();
    let client = cluster::connect(args.cluster.kubeconfig.as_ref()).await?;
    definitions::wait(&client).await;
    let (recorder, _sender) = Recorder::start(client.clone());
    let hub = Arc::new(Hub::new());
    let context = Arc::new(context(&args, client.clone(), hub.clone(), recorder.clone())?);
    let (mut watches, mut filled) = hub.watch(&client, &recorder);
    serving::serve_probes(&args.serving, filled.clone()).await?;
    http01::serve_challenges(&args.http01, &hub).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, mut stopped) = watch::channel(false);
    let work = async {
        wait_until_filled(&mut filled).await;
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "watching Certificates");
        crate::controller::run(context, async move {
            let _ = stopped.changed().await;
        })
        .await;
    };
    tokio::pin!(work);
    tokio::select! {
        () = &mut work => return Ok(()),
        _ = watches.join_next() => return Err(ControllerError::WatchEnded),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping; what is under way may end");
    let _ = stop.send(true);
    // Nothing that a stop interrupts is lost, so it is bounded.
    let _ = tokio::time::timeout(Duration::from_secs(15), work).await;
    Ok(())
}

fn context(
    args: &ControllerArgs,
    client: Client,
    hub: Arc<Hub>,
    recorder: Recorder,
) -> Result<Context, ControllerError> {
    let options = Options {
        certificate: args.certificates.settings(),
        copied_annotations: args.certificates.copied_annotations(),
        approves: args.work.approves(),
        renewal_information: args.work.features().renewal_information,
        cluster_resource_namespace: args.cluster.cluster_resource_namespace.clone(),
        allowance: args.acme.allowance(),
        workers: args.work.concurrent_workers,
        authoritative_port: 53,
        verification: args.dns01.verification(),
        check_retry_period: args.dns01.dns01_check_retry_period,
        podless: args.http01.podless(),
        own_address: args.http01.pod_ip,
        ambient: args.dns01.ambient(),
    };
    let http = client::client().map_err(|error| ControllerError::SelfCheck(error.to_string()))?;
    Ok(Context::new(
        Cluster::new(client, hub, recorder),
        options,
        args.dns01.resolver()?,
        args.http01.solver_options(),
        http,
        args.dns01.providers(),
    ))
}

/// Says every few seconds how far it is, in a cluster so large or slow that somebody may wonder.
async fn wait_until_filled(filled: &mut watch::Receiver<usize>) {
    while *filled.borrow_and_update() < Hub::STORES {
        if tokio::time::timeout(Duration::from_secs(5), filled.changed()).await.is_err() {
            tracing::info!(filled = *filled.borrow(), of = Hub::STORES, "waiting for the first lists of all kinds");
        }
    }
}
