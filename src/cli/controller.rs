//! `certwright controller`.

use std::{
    env,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{
    Api, Client, Config,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::{
    feature_gates::{FeatureGate, FeatureGates},
    log, probe,
};
use crate::{
    api::{Certificate, GoDuration, Order, names::http01_solver},
    cluster::{Cluster, Hub, Recorder},
    controller::{
        Context, Options,
        dns01::{Ambient, Providers},
        podless::OpenChallenges,
    },
    decide::{
        budget::Allowance,
        certificate::Settings,
        podless::{Answerer, Podless},
        propagation::Verification,
        template::CopiedAnnotations,
    },
    dns::{provider::endpoints::Endpoint, resolver::Resolver},
    http01::{SOLVER_PORT, client, objects::SolverOptions, server},
};

/// The flags have cert-manager's names and defaults.
#[derive(Args, Clone, Debug)]
pub struct ControllerArgs {
    /// Kubeconfig file; without it, $KUBECONFIG, ~/.kube/config, or the pod's service account.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Namespace in which the Secrets that ClusterIssuers refer to lie.
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system")]
    cluster_resource_namespace: String,
    /// Which of cert-manager's controllers work: "*" is all of them, a leading "-" leaves one out. Only
    /// certificaterequests-approver, which approves every CertificateRequest, can be left out here; anything else in the
    /// list is without effect.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "*", allow_hyphen_values = true)]
    controllers: Vec<String>,
    /// How many orders an ACME account may have created within --acme-order-window; 0 is no limit. The annotation
    /// certwright.dev/new-orders of an issuer goes before it.
    #[arg(long, value_name = "NUMBER", default_value_t = Allowance::default().most)]
    acme_orders_per_window: u32,
    /// See --acme-orders-per-window.
    #[arg(long, value_name = "DURATION", default_value = "3h", value_parser = window)]
    acme_order_window: SignedDuration,
    /// How many objects are worked on at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 16)]
    concurrent_workers: usize,
    /// DNS servers to ask, separated by commas: host:port, tcp://host:port, tls://host:port (with #NAME at its end if the
    /// certificate is for another name) or https://host/path; without them, those of /etc/resolv.conf.
    #[arg(long, value_name = "SERVERS", value_delimiter = ',')]
    dns01_recursive_nameservers: Vec<String>,
    /// Verify TXT records on the DNS servers above only: --dns01-verification=recursive.
    #[arg(long, value_name = "BOOL", default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    dns01_recursive_nameservers_only: bool,
    /// Which DNS servers must have a TXT record before the CA looks: authoritative (all of the zone, which applies unless
    /// set), recursive (those above), both, or none. The annotation certwright.dev/dns01-verification of an issuer goes before
    /// it, and so do nameservers of a solver.
    #[arg(long, value_name = "MODE")]
    dns01_verification: Option<Verification>,
    /// The longest time from one self-check of a challenge to the next; there is one each second in the first two minutes.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = retry_period)]
    dns01_check_retry_period: SignedDuration,
    /// Whether Issuers may use the cloud credentials of the controller's surroundings.
    #[arg(long, value_name = "BOOL", default_value_t = Ambient::default().for_issuers, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    issuer_ambient_credentials: bool,
    /// Whether ClusterIssuers may use the cloud credentials of the controller's surroundings.
    #[arg(long, value_name = "BOOL", default_value_t = Ambient::default().for_cluster_issuers, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    cluster_issuer_ambient_credentials: bool,
    /// Where the APIs of DNS providers are, if not where their vendors have them, as SERVICE=URL, separated by commas. They
    /// are given the credentials.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    dns01_provider_endpoints: Vec<Endpoint>,
    /// Who answers HTTP-01 challenges: a pod for each, or the controller itself, which needs no pods but its own address in
    /// --pod-ip. The annotation certwright.dev/http01-solver of an issuer goes before it.
    #[arg(long, value_name = "WHO", default_value = http01_solver::POD, value_parser = [http01_solver::POD, http01_solver::CONTROLLER])]
    acme_http01_solver: String,
    /// The address at which others in the cluster reach the controller; without it the controller answers no challenges itself.
    #[arg(long, value_name = "ADDRESS", env = "POD_IP")]
    pod_ip: Option<IpAddr>,
    /// Image of HTTP-01 solver pods; the controller's own image, because it holds the solver too.
    #[arg(long, value_name = "IMAGE", env = "CERTWRIGHT_IMAGE", default_value = "")]
    acme_http01_solver_image: String,
    /// When the kubelet pulls the solver image.
    #[arg(long, value_name = "POLICY", default_value = "IfNotPresent", value_parser = ["Always", "IfNotPresent", "Never"])]
    acme_http01_solver_image_pull_policy: String,
    /// CPU that a solver pod requests.
    #[arg(long, value_name = "QUANTITY", default_value = "10m")]
    acme_http01_solver_resource_request_cpu: String,
    /// Memory that a solver pod requests.
    #[arg(long, value_name = "QUANTITY", default_value = "64Mi")]
    acme_http01_solver_resource_request_memory: String,
    /// CPU that a solver pod may use.
    #[arg(long, value_name = "QUANTITY", default_value = "100m")]
    acme_http01_solver_resource_limits_cpu: String,
    /// Memory that a solver pod may use.
    #[arg(long, value_name = "QUANTITY", default_value = "64Mi")]
    acme_http01_solver_resource_limits_memory: String,
    /// Whether solver pods must run as another user than root.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    acme_http01_solver_run_as_non_root: bool,
    /// Delete a Certificate's Secret together with the Certificate.
    #[arg(long, value_name = "BOOL", default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    enable_certificate_owner_ref: bool,
    /// Renew each certificate a little before its time, by up to 1 % of its lifetime and an hour at most, and try again
    /// after a failure a little later, by up to a tenth of the wait, so that those issued together are not renewed together.
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    renewal_jitter: bool,
    /// Features by cert-manager's names, such as ACMEUseARI=false, separated by commas. ACMEUseARI, which is on, is the only
    /// one that has an effect here: CAs are asked when they want certificates renewed (RFC 9773).
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = FeatureGate::parse)]
    feature_gates: Vec<FeatureGate>,
    /// Which annotations are copied from Certificates to CertificateRequests and Orders, by prefix; `-` excludes.
    #[arg(
        long,
        value_name = "PREFIXES",
        default_value = "*,-kubectl.kubernetes.io/,-fluxcd.io/,-argocd.argoproj.io/",
        allow_hyphen_values = true
    )]
    copied_annotation_prefixes: String,
    /// Wait after the first failed issuance of a Certificate; doubled after each further one.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    certificate_request_minimum_backoff_duration: SignedDuration,
    /// Longest wait after a failed issuance.
    #[arg(long, value_name = "DURATION", default_value = "32h", value_parser = duration)]
    certificate_request_maximum_backoff_duration: SignedDuration,
    /// Where /livez and /readyz are served; an empty value turns them off.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9403")]
    internal_healthz_listen_address: String,
    /// How log lines are written.
    #[arg(long, value_enum, default_value = "text")]
    logging_format: log::Format,
    /// What is logged: a level (error, warn, info, debug, trace), or directives such as info,certwright::acme=debug.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log_level: String,
}

/// Why the controller did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    #[error("cannot read the kubeconfig: {0}")]
    Kubeconfig(String),
    #[error("cannot reach the Kubernetes API: {0}")]
    Api(String),
    #[error(
        "the CustomResourceDefinitions are not installed ({0}); install them with: certwright crds | kubectl apply -f -"
    )]
    NoCrds(String),
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
    log::start(args.logging_format, &args.log_level);
    let client = connect(args.kubeconfig.as_ref()).await?;
    check_crds(&client).await?;
    let (recorder, _sender) = Recorder::start(client.clone());
    let hub = Arc::new(Hub::new());
    let context = Arc::new(context(&args, client.clone(), hub.clone(), recorder.clone())?);
    let (mut watches, mut filled) = hub.watch(&client, &recorder);
    serve_probes(&args, filled.clone()).await?;
    serve_challenges(&args, &hub).await?;
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

fn window(text: &str) -> Result<SignedDuration, String> {
    match duration(text)? {
        window if window > SignedDuration::ZERO => Ok(window),
        _ => Err("the time must be longer than nothing".to_owned()),
    }
}

fn retry_period(text: &str) -> Result<SignedDuration, String> {
    match duration(text)? {
        period if period >= SignedDuration::from_secs(1) => Ok(period),
        _ => Err("the time must be a second or longer".to_owned()),
    }
}

fn duration(text: &str) -> Result<SignedDuration, String> {
    GoDuration::from(text).to_duration().map_err(|error| error.to_string())
}

async fn connect(kubeconfig: Option<&PathBuf>) -> Result<Client, ControllerError> {
    let unreadable = |error: &dyn std::fmt::Display| ControllerError::Kubeconfig(error.to_string());
    let mut config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(|error| unreadable(&error))?;
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(file, &options).await.map_err(|error| unreadable(&error))?
        }
        None => Config::infer().await.map_err(|error| unreadable(&error))?,
    };
    // kube takes the proxy of the environment for the API server too, and heeds NO_PROXY in that only for the proxy itself.
    let proxies: Vec<_> = ["HTTPS_PROXY", "https_proxy"].into_iter().filter_map(|name| env::var(name).ok()).collect();
    config.proxy_url.take_if(|proxy| proxies.iter().any(|text| *proxy == **text));
    // Retries are decided per object, with a wait that others can see.
    config.default_retry = false;
    Client::try_from(config).map_err(|error| ControllerError::Api(error.to_string()))
}

/// One question per group tells whether the kinds are served at all.
async fn check_crds(client: &Client) -> Result<(), ControllerError> {
    let params = ListParams::default().limit(1);
    let certificates: Api<Certificate> = Api::all(client.clone());
    let orders: Api<Order> = Api::all(client.clone());
    let answers = tokio::join!(certificates.list_metadata(&params), orders.list_metadata(&params));
    match answers.0.err().or(answers.1.err()) {
        None => Ok(()),
        Some(kube::Error::Api(status)) if status.code == 404 => Err(ControllerError::NoCrds(status.message)),
        Some(other) => Err(ControllerError::Api(other.to_string())),
    }
}

/// Whether the list of `--controllers` has the built-in approver in it. What is without effect is told of.
fn approves(controllers: &[String]) -> bool {
    const APPROVER: &str = "certificaterequests-approver";
    let named = |name: &str| controllers.iter().any(|controller| controller.trim() == name);
    for name in controllers.iter().map(|name| name.trim()).filter(|name| *name != "*") {
        if name.trim_start_matches('-') != APPROVER {
            tracing::warn!(name, "this name in --controllers is without effect; only {APPROVER} can be left out");
        }
    }
    !named("-certificaterequests-approver") && (named("*") || named(APPROVER))
}

fn context(
    args: &ControllerArgs,
    client: Client,
    hub: Arc<Hub>,
    recorder: Recorder,
) -> Result<Context, ControllerError> {
    let resolver = if args.dns01_recursive_nameservers.is_empty() {
        Resolver::system()
    } else {
        Resolver::from_nameservers(&args.dns01_recursive_nameservers)
            .map_err(|error| ControllerError::Nameservers(error.to_string()))?
    };
    let options = Options {
        certificate: Settings {
            owner_reference: args.enable_certificate_owner_ref,
            least_wait: args.certificate_request_minimum_backoff_duration,
            most_wait: args.certificate_request_maximum_backoff_duration,
            renewal_jitter: args.renewal_jitter,
        },
        copied_annotations: CopiedAnnotations::new(&args.copied_annotation_prefixes),
        approves: approves(&args.controllers),
        renewal_information: FeatureGates::of(&args.feature_gates).renewal_information,
        cluster_resource_namespace: args.cluster_resource_namespace.clone(),
        allowance: Allowance { most: args.acme_orders_per_window, window: args.acme_order_window },
        workers: args.concurrent_workers,
        authoritative_port: 53,
        verification: verification(args),
        check_retry_period: args.dns01_check_retry_period,
        podless: Podless {
            default: match args.acme_http01_solver.as_str() {
                http01_solver::CONTROLLER => Answerer::Controller,
                _ => Answerer::Pod,
            },
            is_able: args.pod_ip.is_some(),
        },
        own_address: args.pod_ip,
        ambient: Ambient {
            for_issuers: args.issuer_ambient_credentials,
            for_cluster_issuers: args.cluster_issuer_ambient_credentials,
        },
    };
    let providers = Providers::new(args.dns01_provider_endpoints.iter().cloned().collect());
    let http = client::client().map_err(|error| ControllerError::SelfCheck(error.to_string()))?;
    Ok(Context::new(
        Cluster::new(client, hub, recorder),
        options,
        Arc::new(resolver),
        solver_options(args),
        http,
        providers,
    ))
}

fn verification(args: &ControllerArgs) -> Verification {
    let by_nameservers =
        if args.dns01_recursive_nameservers_only { Verification::Recursive } else { Verification::default() };
    args.dns01_verification.unwrap_or(by_nameservers)
}

fn solver_options(args: &ControllerArgs) -> SolverOptions {
    SolverOptions {
        image: args.acme_http01_solver_image.clone(),
        image_pull_policy: args.acme_http01_solver_image_pull_policy.clone(),
        request_cpu: Quantity(args.acme_http01_solver_resource_request_cpu.clone()),
        request_memory: Quantity(args.acme_http01_solver_resource_request_memory.clone()),
        limit_cpu: Quantity(args.acme_http01_solver_resource_limits_cpu.clone()),
        limit_memory: Quantity(args.acme_http01_solver_resource_limits_memory.clone()),
        run_as_non_root: args.acme_http01_solver_run_as_non_root,
        ..SolverOptions::default()
    }
}

async fn serve_probes(args: &ControllerArgs, filled: watch::Receiver<usize>) -> Result<(), ControllerError> {
    let address = &args.internal_healthz_listen_address;
    if address.is_empty() {
        return Ok(());
    }
    let wrong = |problem: String| ControllerError::Listen { address: address.clone(), problem };
    let parsed: SocketAddr = address.parse().map_err(|_| wrong("is not ADDRESS:PORT".to_owned()))?;
    let listener = probe::listen(parsed).await.map_err(|error| wrong(error.to_string()))?;
    tokio::spawn(probe::serve(listener, filled));
    Ok(())
}

/// Answers HTTP-01 challenges, where others in the cluster can ask.
async fn serve_challenges(args: &ControllerArgs, hub: &Arc<Hub>) -> Result<(), ControllerError> {
    let Some(own) = args.pod_ip else {
        if args.acme_http01_solver == http01_solver::CONTROLLER {
            tracing::warn!("--acme-http01-solver=controller is without effect: --pod-ip ($POD_IP) is not set");
        }
        return Ok(());
    };
    let listener = TcpListener::bind((own, SOLVER_PORT)).await;
    let listener = listener.map_err(|error| ControllerError::Challenges(SocketAddr::new(own, SOLVER_PORT), error))?;
    tokio::spawn(server::serve(listener, OpenChallenges(hub.clone()), std::future::pending()));
    Ok(())
}

/// Says every few seconds how far it is, in a cluster so large or slow that somebody may wonder.
async fn wait_until_filled(filled: &mut watch::Receiver<usize>) {
    while *filled.borrow_and_update() < Hub::STORES {
        if tokio::time::timeout(Duration::from_secs(5), filled.changed()).await.is_err() {
            tracing::info!(filled = *filled.borrow(), of = Hub::STORES, "waiting for the first lists of all kinds");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        controller: ControllerArgs,
    }

    fn read(flags: &[&str]) -> Result<ControllerArgs, clap::Error> {
        Command::try_parse_from([&["certwright"], flags].concat()).map(|command| command.controller)
    }

    #[test]
    fn how_records_are_verified() {
        let chosen = |flags: &[&str]| verification(&read(flags).unwrap());
        assert_eq!(chosen(&[]), Verification::Authoritative);
        assert_eq!(chosen(&["--dns01-recursive-nameservers-only"]), Verification::Recursive);
        assert_eq!(chosen(&["--dns01-recursive-nameservers-only=false"]), Verification::Authoritative);
        assert_eq!(chosen(&["--dns01-recursive-nameservers-only", "--dns01-verification=both"]), Verification::Both);
        let wrong = read(&["--dns01-verification=most"]).unwrap_err().to_string();
        assert!(wrong.contains("\"most\" is not authoritative, recursive, both or none"), "{wrong}");
    }

    #[test]
    fn the_time_between_checks_is_a_second_or_longer() {
        let period = |text: &str| read(&["--dns01-check-retry-period", text]).map(|args| args.dns01_check_retry_period);
        assert_eq!(read(&[]).unwrap().dns01_check_retry_period, SignedDuration::from_secs(10));
        assert_eq!(period("1m").unwrap(), SignedDuration::from_mins(1));
        assert_eq!(period("1s").unwrap(), SignedDuration::from_secs(1));
        for odd in ["999ms", "0s", "-5s", "soon"] {
            assert!(period(odd).is_err(), "{odd}");
        }
    }
}
