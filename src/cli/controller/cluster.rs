//! The flags that say which cluster is served, and the way to it.

use std::{env, path::PathBuf};

use clap::Args;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::{ControllerError, injection};
use crate::{api::label, cluster::Namespaces};

/// Which cluster is served.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Cluster")]
pub(super) struct ClusterArgs {
    /// Kubeconfig file; without it, $KUBECONFIG, ~/.kube/config, or the pod's service account.
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// Address of the Kubernetes API server, in place of the one in the kubeconfig.
    #[arg(long, value_name = "URL")]
    pub(super) master: Option<String>,
    /// Serve these namespaces only, separated by commas; the rights of a Role in each of them are enough then. ClusterIssuers
    /// are not served.
    #[arg(long, value_name = "NAMESPACES", value_delimiter = ',', value_parser = namespace)]
    pub(super) namespace: Vec<String>,
    /// Namespace in which the Secrets that ClusterIssuers refer to lie.
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system", value_parser = namespace)]
    pub(super) cluster_resource_namespace: String,
}

impl ClusterArgs {
    pub(super) fn namespaces(&self) -> Namespaces {
        Namespaces::of(self.namespace.iter().cloned())
    }
}

/// An empty name is that of no namespace.
fn namespace(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() || label::is_subdomain(name) && name.len() <= 63 && !name.contains('.') {
        return Ok(name.to_owned());
    }
    Err(format!("{name:?} is no name of a namespace: lower-case letters, digits and `-`"))
}

/// A client, and the CA that the API server is known by, in PEM form. An address goes before that of the kubeconfig.
pub(in crate::cli) async fn connect(
    kubeconfig: Option<&PathBuf>,
    master: Option<&str>,
) -> Result<(Client, Option<Vec<u8>>), ControllerError> {
    let mut config = configuration(kubeconfig, master).await?;
    // kube takes the proxy of the environment for the API server too, and heeds NO_PROXY in that only for the proxy itself.
    let proxies: Vec<_> = ["HTTPS_PROXY", "https_proxy"].into_iter().filter_map(|name| env::var(name).ok()).collect();
    config.proxy_url.take_if(|proxy| proxies.iter().any(|text| *proxy == **text));
    // Retries are decided per object, with a wait that others can see.
    config.default_retry = false;
    let authority = config.root_cert.as_deref().map(injection::authority);
    let client = Client::try_from(config).map_err(|error| ControllerError::Api(error.to_string()))?;
    Ok((client, authority))
}

async fn configuration(kubeconfig: Option<&PathBuf>, master: Option<&str>) -> Result<Config, ControllerError> {
    let unreadable = |error: &dyn std::fmt::Display| ControllerError::Kubeconfig(error.to_string());
    // As in cert-manager, an empty value is none.
    let master = master.filter(|url| !url.is_empty());
    let master = master.map(|url| url.parse().map_err(|_| ControllerError::Master(url.to_owned()))).transpose()?;
    let found = match kubeconfig.filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(|error| unreadable(&error))?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .map_err(|error| unreadable(&error))
        }
        None => Config::infer().await.map_err(|error| unreadable(&error)),
    };
    match (found, master) {
        (Ok(mut config), Some(master)) => {
            config.cluster_url = master;
            Ok(config)
        }
        // An API server that asks nobody who he is needs no kubeconfig.
        (Err(_), Some(master)) if kubeconfig.is_none() => Ok(Config::new(master)),
        (found, _) => found,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::testing::read;

    #[test]
    fn what_cannot_be_a_namespace_is_refused() {
        let read_names = |names: &str| read(&["--namespace", names]).unwrap().cluster.namespace;
        assert_eq!(read_names("shop, blog-2"), ["shop", "blog-2"]);
        assert_eq!(read_names(""), [""]);
        for wrong in ["--namespace=shop,A_b", "--namespace=a.b", "--cluster-resource-namespace=-a"] {
            let refusal = read(&[wrong]).unwrap_err().to_string();
            assert!(refusal.contains("is no name of a namespace"), "{refusal}");
        }
    }
}
