//! The demo in a cluster that is there already.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::examples::{NameServer, Values};
use super::place::{NAMESPACE, Place};
use super::{issue, step};
use crate::image::CERTWRIGHT;
use crate::install::{self, repository};
use crate::kubectl::Kubectl;
use crate::packages::require_program;

/// What the demo has to be told about a cluster that it did not make.
#[derive(Args)]
pub struct Current {
    /// The cluster's kubeconfig.
    #[arg(long, env = "KUBECONFIG")]
    kubeconfig: PathBuf,
    /// The image of certwright, which the cluster's nodes have or can pull.
    #[arg(long, env = "DEMO_IMAGE", default_value = CERTWRIGHT)]
    image: String,
    /// A domain under which certificates may be asked for.
    #[arg(long, env = "DEMO_DOMAIN")]
    domain: Option<String>,
    /// Directory URL of the certificate authority.
    #[arg(long, env = "DEMO_ACME_SERVER", default_value = "https://acme-staging-v02.api.letsencrypt.org/directory")]
    server: String,
    /// PEM of the authority behind the server's own certificate, for a private one.
    #[arg(long, env = "DEMO_ACME_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// Ingress class for HTTP-01; shop.DOMAIN and www.shop.DOMAIN must lead there.
    #[arg(long, env = "DEMO_INGRESS_CLASS")]
    ingress_class: Option<String>,
    /// Name server that takes updates for DOMAIN, for DNS-01.
    #[arg(long, env = "DEMO_NAME_SERVER", requires = "tsig_name")]
    name_server: Option<String>,
    /// Name of the TSIG key.
    #[arg(long, env = "DEMO_TSIG_NAME", requires = "tsig_secret")]
    tsig_name: Option<String>,
    /// Algorithm of the TSIG key.
    #[arg(long, env = "DEMO_TSIG_ALGORITHM", default_value = "HMACSHA256")]
    tsig_algorithm: String,
    /// TSIG key, in base64.
    #[arg(long, env = "DEMO_TSIG_SECRET", hide_env_values = true)]
    tsig_secret: Option<String>,
}

/// Installs certwright and, if it is told a domain, issues the examples' certificates.
pub async fn run(options: Current) -> Result<()> {
    let image = options.image.clone();
    let wants_certificates = options.domain.is_some();
    let place = place(options)?;
    step(&format!("Using the cluster of {}", place.kubectl.kubeconfig.display()));
    place.kubectl.run(&["cluster-info"])?;
    step("Installing the CustomResourceDefinitions (crds/)");
    install::definitions(&place.kubectl)?;
    step(&format!("Installing certwright (deploy/) with the image {image}"));
    let manifests = place
        .kubectl
        .output(&["kustomize", &repository().join("deploy").display().to_string()])?
        .replace(CERTWRIGHT, &image);
    place.kubectl.run_with_input(&["apply", "-f", "-"], &manifests)?;
    let rollout = ["rollout", "status", "--namespace=certwright", "--timeout=120s", "deployment/certwright"];
    if place.kubectl.run(&rollout).is_err() {
        bail!(
            "certwright does not run. Can the nodes get the image {image}? `make image` writes it to a file for `ctr \
             --namespace k8s.io images import`, `k3s ctr images import` or `kind load image-archive`; or push it to a \
             registry and name it in DEMO_IMAGE"
        );
    }
    if wants_certificates {
        issue(&place).await?;
    } else {
        step("certwright runs. To have it issue the examples' certificates too, set DEMO_DOMAIN and");
        println!("    for HTTP-01: DEMO_INGRESS_CLASS");
        println!("    for DNS-01:  DEMO_NAME_SERVER, DEMO_TSIG_NAME, DEMO_TSIG_SECRET");
    }
    step("To take all of it away");
    println!("    kubectl delete namespace {NAMESPACE}");
    println!("    kubectl delete clusterissuer letsencrypt-dns");
    println!("    kubectl delete -k deploy/");
    println!("    kubectl delete -f crds/     # with every Certificate in the cluster");
    Ok(())
}

fn place(options: Current) -> Result<Place> {
    let name_server = match (options.name_server, options.tsig_name, options.tsig_secret) {
        (Some(address), Some(key_name), Some(secret)) => {
            Some(NameServer { address, key_name, algorithm: options.tsig_algorithm, secret })
        }
        _ => None,
    };
    let ca_bundle = match options.ca_file {
        Some(file) => Some(fs::read(&file).with_context(|| format!("reading {}", file.display()))?),
        None => None,
    };
    let values = Values {
        namespace: NAMESPACE.into(),
        server: options.server,
        ca_bundle,
        domain: options.domain.unwrap_or_default(),
        ingress_class: options.ingress_class,
        name_server,
    };
    let program = require_program("kubectl").context("kubectl is needed to use a cluster")?;
    Ok(Place { kubectl: Kubectl { program, kubeconfig: options.kubeconfig, is_local: false }, values })
}
