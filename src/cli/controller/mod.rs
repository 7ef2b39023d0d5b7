//! `certwright controller`.

mod acme;
mod certificates;
mod challenges;
mod cluster;
mod definitions;
mod dns01;
pub(super) mod durations;
mod http01;
mod injection;
mod leader_election;
mod metrics;
mod quantity;
mod serving;
mod shim;
mod sizes;
#[cfg(test)]
mod testing;
pub(super) mod wind_down;
mod work;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use clap::Args;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::Instant,
};

pub(super) use cluster::connect;
pub(super) use durations::leaf_duration;
pub(super) use sizes::SizeArgs;

use crate::{
    cluster::{Cluster, Hub, Recorder},
    controller::{AskedFor, Context, Contexts, Leadership, Options},
    decide::shard::Share,
    http01::client,
    pki::pem,
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
    challenges: challenges::ChallengeArgs,
    #[command(flatten)]
    dns01: dns01::Dns01Args,
    #[command(flatten)]
    http01: http01::Http01Args,
    #[command(flatten)]
    injection: injection::InjectionArgs,
    #[command(flatten)]
    shim: shim::ShimArgs,
    #[command(flatten)]
    leader_election: leader_election::LeaderElectionArgs,
    #[command(flatten)]
    sizes: sizes::SizeArgs,
    #[command(flatten)]
    serving: serving::ServingArgs,
    #[command(flatten)]
    metrics: metrics::MetricsArgs,
    /// What is to be said of the flags once the log has begun.
    #[arg(skip)]
    pub(super) notes: Vec<String>,
}

/// Why the controller did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    #[error("cannot read the kubeconfig: {0}")]
    Kubeconfig(String),
    #[error("--max-{0} {1} is more than --max-certificate-bundle-size, which is {2}")]
    Sizes(&'static str, usize, usize),
    #[error("--master {0:?} is no URL")]
    Master(String),
    #[error("cannot reach the Kubernetes API: {0}")]
    Api(String),
    #[error("--dns01-recursive-nameservers: {0}")]
    Nameservers(String),
    #[error("--internal-healthz-listen-address {address:?}: {problem}")]
    Listen { address: String, problem: String },
    #[error("--profiler-address {address:?}: {problem}")]
    Profiler { address: String, problem: String },
    #[error("--metrics-listen-address {address:?}: {problem}")]
    Metrics { address: String, problem: String },
    #[error("cannot serve metrics over TLS: {0}")]
    MetricsTls(#[from] super::tls::TlsFlagsError),
    #[error("cannot listen on {0} for HTTP-01 challenges: {1}; check --pod-ip ($POD_IP)")]
    Challenges(SocketAddr, #[source] std::io::Error),
    #[error("cannot set up the self-check: {0}")]
    SelfCheck(String),
    #[error("--leader-election-…: {0}")]
    LeaderElection(String),
    #[error("cannot wait for signals: {0}")]
    Signals(#[from] std::io::Error),
    #[error("a watch ended by itself, which is a defect of certwright; the process ends so that it is started anew")]
    WatchEnded,
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(args: ControllerArgs) -> Result<(), ControllerError> {
    let mut signals = Signals::heeded()?;
    let level = args.serving.start_log();
    // Dropped last, so that what ends the work is sent too.
    let _traces = crate::otlp::start();
    pem::set_limits(args.sizes.limits()?);
    args.notes.iter().for_each(|note| tracing::warn!("{note}"));
    let mut leadership = Leadership::new(args.leader_election.election()?);
    let (client, api_server_ca) = connect(args.cluster.kubeconfig.as_ref(), args.cluster.master.as_deref()).await?;
    let (recorder, _sender) = Recorder::start(client.clone());
    let hub = Arc::new(Hub::of(args.cluster.namespaces()));
    let (held, patience) = (leadership.held(), args.leader_election.patience());
    let (contexts, asked_for) = (Contexts::default(), AskedFor::default());
    let cluster = Cluster::new(client.clone(), hub.clone(), recorder.clone());
    let make = maker(&args, cluster, api_server_ca, (contexts.clone(), asked_for.clone()), false)?;
    metrics::serve_metrics(&args.metrics, &client, &hub, contexts).await?;
    serving::serve_debug(&args.serving, level).await?;
    let (filling, mut filled) = watch::channel(0);
    let is_alive = move || !held.borrow().is_overdue(patience, Instant::now());
    serving::serve_probes(&args.serving, (filled.clone(), hub.clone()), is_alive).await?;
    http01::serve_challenges(&args.http01, &hub, filled.clone()).await?;
    tokio::select! {
        () = definitions::wait(&client, &hub.namespaces) => {}
        () = signals.one() => return Ok(()),
    }
    let mut watches = hub.watch(&client, &recorder, &filling);
    if !hub.namespaces.is_limited() {
        hub.watch_injection_targets(&client, &args.injection.targets(), &mut watches);
    }
    let (kinds, marks) = (args.shim.watched(&args.work), args.shim.settings(&args.work).marks);
    hub.watch_sources(&client, &recorder, (&kinds, &marks), &mut watches);
    let (stop, mut stopped) = watch::channel(false);
    let work = async {
        tokio::select! {
            () = wait_until_filled(&mut filled) => {}
            _ = stopped.changed() => return,
        }
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "watching Certificates");
        leadership.contend(&client);
        let workers = args.work.concurrent_workers;
        crate::controller::run(
            hub.clone(),
            (workers, leadership.shares()),
            leadership.assignment(),
            make,
            async move {
                let _ = stopped.changed().await;
            },
        )
        .await;
        // Last of all, so that nobody else begins before.
        leadership.resign().await;
        // Whoever follows has an address of its own, but a CA may have found this one.
        asked_for.answered(&hub).await;
    };
    tokio::pin!(work);
    tokio::select! {
        () = &mut work => return Ok(()),
        _ = watches.join_next() => return Err(ControllerError::WatchEnded),
        () = signals.one() => {}
    }
    tracing::info!("stopping; what is under way may end");
    let _ = stop.send(true);
    // Nothing that a stop interrupts is lost, so it is bounded; within the half minute that Kubernetes gives.
    let _ = tokio::time::timeout(Duration::from_secs(25), work).await;
    Ok(())
}

/// What asks the process to stop. In a container nothing else would: its first process has no default for signals.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn heeded() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn one(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Makes what a share of the work is done with, or only what was begun is taken back.
fn maker(
    args: &ControllerArgs,
    cluster: Cluster,
    api_server_ca: Option<Vec<u8>>,
    (contexts, asked_for): (Contexts, AskedFor),
    is_leaving: bool,
) -> Result<impl Fn(Share) -> Arc<Context> + use<>, ControllerError> {
    let features = args.work.features();
    let options = Options {
        certificate: args.certificates.settings(features),
        copied_annotations: args.certificates.copied_annotations(),
        approves: args.work.approves(),
        renewal_information: features.renewal_information,
        cluster_resource_namespace: args.cluster.cluster_resource_namespace.clone(),
        allowance: args.acme.allowance(),
        share: Share::WHOLE,
        is_leaving,
        authoritative_port: 53,
        shim: args.shim.settings(&args.work),
        verification: args.dns01.verification(),
        check_retry_period: args.dns01.dns01_check_retry_period,
        most_challenges: args.challenges.max_concurrent_challenges,
        podless: args.http01.podless(),
        own_address: args.http01.pod_ip,
        own_service: args.http01.own_service(),
        ambient: args.dns01.ambient(),
        api_server_ca,
        asked_for,
    };
    let http = client::clients(&args.http01.acme_http01_solver_nameservers)
        .map_err(|error| ControllerError::SelfCheck(error.to_string()))?;
    let (resolver, solver, dns01) = (args.dns01.resolver()?, args.http01.solver_options(features), args.dns01.clone());
    Ok(move |share| {
        let options = Options { share, ..options.clone() };
        let (resolver, solver, http) = (resolver.clone(), solver.clone(), http.clone());
        let context = Context::new(cluster.clone(), options, resolver, solver, http, dns01.providers());
        contexts.add(context)
    })
}

/// Says every few seconds how far it is, in a cluster so large or slow that somebody may wonder.
async fn wait_until_filled(filled: &mut watch::Receiver<usize>) {
    while *filled.borrow_and_update() < Hub::STORES {
        if tokio::time::timeout(Duration::from_secs(5), filled.changed()).await.is_err() {
            tracing::info!(filled = *filled.borrow(), of = Hub::STORES, "waiting for the first lists of all kinds");
        }
    }
}
