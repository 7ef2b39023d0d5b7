//! The flags that say how HTTP-01 challenges are solved.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use clap::Args;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use tokio::{net::TcpListener, sync::watch};

use super::{ControllerError, quantity::quantity};
use crate::{
    api::{label, names::http01_solver},
    cli::feature_gates::FeatureGates,
    cluster::{Hub, ObjectName},
    controller::podless::OpenChallenges,
    decide::podless::{Answerer, Podless},
    http01::{
        SOLVER_PORT,
        objects::SolverOptions,
        server::{self, HostHeader},
    },
};

/// How HTTP-01 challenges are solved.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "HTTP-01 and TLS-ALPN-01")]
pub(super) struct Http01Args {
    /// Who answers HTTP-01 challenges: a pod for each, or the controller itself, which needs no pods but its own address in
    /// --pod-ip. The annotation certwright.dev/http01-solver of an issuer goes before it.
    #[arg(long, value_name = "WHO", default_value = http01_solver::POD, value_parser = [http01_solver::POD, http01_solver::CONTROLLER])]
    pub(super) acme_http01_solver: String,
    /// The address at which others in the cluster reach the controller; without it the controller answers no challenges itself.
    #[arg(long, value_name = "ADDRESS", env = "POD_IP")]
    pub(super) pod_ip: Option<IpAddr>,
    /// The Service of the controller's replicas, as NAMESPACE/NAME: all that are ready answer HTTP-01 challenges then, not only the one
    /// that leads.
    #[arg(long, value_name = "SERVICE", env = "CERTWRIGHT_SERVICE", value_parser = service)]
    pub(super) acme_http01_solver_service: Option<ObjectName>,
    /// Where requests to solvers have the name that they are for, if a proxy puts another one into the header Host: Host,
    /// Forwarded (RFC 7239), or another header such as X-Forwarded-Host. Whoever can set that header can fetch the answer.
    #[arg(long, value_name = "HEADER", default_value_t)]
    pub(super) acme_http01_host_header: HostHeader,
    /// Image of HTTP-01 solver pods; the controller's own image, because it holds the solver too.
    #[arg(long, value_name = "IMAGE", env = "CERTWRIGHT_IMAGE", default_value = "", hide_default_value = true)]
    pub(super) acme_http01_solver_image: String,
    /// When the kubelet pulls the solver image.
    #[arg(long, value_name = "POLICY", default_value = "IfNotPresent", value_parser = ["Always", "IfNotPresent", "Never"])]
    pub(super) acme_http01_solver_image_pull_policy: String,
    /// CPU that a solver pod requests.
    #[arg(long, value_name = "QUANTITY", default_value = "10m", value_parser = quantity)]
    pub(super) acme_http01_solver_resource_request_cpu: Quantity,
    /// Memory that a solver pod requests.
    #[arg(long, value_name = "QUANTITY", default_value = "64Mi", value_parser = quantity)]
    pub(super) acme_http01_solver_resource_request_memory: Quantity,
    /// CPU that a solver pod may use.
    #[arg(long, value_name = "QUANTITY", default_value = "100m", value_parser = quantity)]
    pub(super) acme_http01_solver_resource_limits_cpu: Quantity,
    /// Memory that a solver pod may use.
    #[arg(long, value_name = "QUANTITY", default_value = "64Mi", value_parser = quantity)]
    pub(super) acme_http01_solver_resource_limits_memory: Quantity,
    /// Whether solver pods must run as another user than root.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub(super) acme_http01_solver_run_as_non_root: bool,
    /// DNS servers for the addresses of the names that are checked, as ADDRESS:PORT, separated by commas; without them, those of
    /// /etc/resolv.conf.
    #[arg(long, value_name = "SERVERS", value_delimiter = ',', value_parser = nameserver)]
    pub(super) acme_http01_solver_nameservers: Vec<SocketAddr>,
    /// Labels for solver pods, Services and routes, as KEY=VALUE, separated by commas.
    #[arg(long, value_name = "LABELS", value_delimiter = ',', value_parser = key_and_value)]
    pub(super) acme_http01_solver_extra_labels: Vec<(String, String)>,
    /// RuntimeClass of solver pods.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(super) acme_http01_solver_runtime_class_name: String,
}

impl Http01Args {
    pub(super) fn podless(&self) -> Podless {
        Podless {
            default: match self.acme_http01_solver.as_str() {
                http01_solver::CONTROLLER => Answerer::Controller,
                _ => Answerer::Pod,
            },
            is_able: self.pod_ip.is_some(),
        }
    }

    pub(super) fn own_service(&self) -> Option<ObjectName> {
        self.acme_http01_solver_service.clone()
    }

    pub(super) fn solver_options(&self, features: FeatureGates) -> SolverOptions {
        SolverOptions {
            image: self.acme_http01_solver_image.clone(),
            image_pull_policy: self.acme_http01_solver_image_pull_policy.clone(),
            request_cpu: self.acme_http01_solver_resource_request_cpu.clone(),
            request_memory: self.acme_http01_solver_resource_request_memory.clone(),
            limit_cpu: self.acme_http01_solver_resource_limits_cpu.clone(),
            limit_memory: self.acme_http01_solver_resource_limits_memory.clone(),
            run_as_non_root: self.acme_http01_solver_run_as_non_root,
            extra_labels: self.acme_http01_solver_extra_labels.iter().cloned().collect(),
            runtime_class_name: Some(self.acme_http01_solver_runtime_class_name.clone())
                .filter(|name| !name.is_empty()),
            exact_path: features.exact_path,
            host_header: self.acme_http01_host_header.clone(),
        }
    }
}

fn nameserver(text: &str) -> Result<SocketAddr, String> {
    text.trim().parse().map_err(|_| format!("{text:?} is not ADDRESS:PORT, such as 192.0.2.53:53"))
}

fn service(text: &str) -> Result<ObjectName, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(ObjectName::new(namespace, name))
        }
        _ => Err("write NAMESPACE/NAME".to_owned()),
    }
}

/// Answers HTTP-01 challenges, where others in the cluster can ask.
pub(super) async fn serve_challenges(
    args: &Http01Args,
    hub: &Arc<Hub>,
    filled: watch::Receiver<usize>,
) -> Result<(), ControllerError> {
    let Some(own) = args.pod_ip else {
        if args.acme_http01_solver == http01_solver::CONTROLLER {
            tracing::warn!("--acme-http01-solver=controller is without effect: --pod-ip ($POD_IP) is not set");
        }
        return Ok(());
    };
    let listener = TcpListener::bind((own, SOLVER_PORT)).await;
    let listener = listener.map_err(|error| ControllerError::Challenges(SocketAddr::new(own, SOLVER_PORT), error))?;
    tokio::spawn(server::serve(
        listener,
        OpenChallenges { hub: hub.clone(), filled },
        args.acme_http01_host_header.clone(),
        std::future::pending(),
    ));
    Ok(())
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    let (key, value) = (key.trim(), value.trim());
    if !label::is_qualified_name(key) {
        return Err(format!("{key:?} is no key for a label"));
    }
    if !value.is_empty() && !label::is_name(value) {
        return Err(format!("{value:?} is no value for a label"));
    }
    Ok((key.to_owned(), value.to_owned()))
}
