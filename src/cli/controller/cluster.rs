//! The flags that say which cluster is served, and the way to it.

use std::{env, path::PathBuf};

use clap::Args;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::ControllerError;

/// Which cluster is served.
#[derive(Args, Clone, Debug)]
pub(super) struct ClusterArgs {
    /// Kubeconfig file; without it, $KUBECONFIG, ~/.kube/config, or the pod's service account.
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// Namespace in which the Secrets that ClusterIssuers refer to lie.
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system")]
    pub(super) cluster_resource_namespace: String,
}

pub(super) async fn connect(kubeconfig: Option<&PathBuf>) -> Result<Client, ControllerError> {
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
