//! Where the demo happens: a cluster, and how to talk to it.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use kube::Client;
use kube::config::{Config, KubeConfigOptions};

use super::examples::Values;
use crate::kubernetes::read_kubeconfig;
use crate::launcher::without_proxies;

/// The namespace of the demo's Certificates.
pub const NAMESPACE: &str = "certwright-demo";

/// A cluster that the demo may use.
pub struct Place {
    pub kubectl: PathBuf,
    pub kubeconfig: PathBuf,
    /// What the examples leave to their reader.
    pub values: Values,
    /// Whether the cluster is on this machine, so that no proxy leads there.
    pub is_local: bool,
}

impl Place {
    /// A client with the rights of the kubeconfig's current context.
    pub async fn client(&self) -> Result<Client> {
        let kubeconfig = read_kubeconfig(&self.kubeconfig)?;
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        if self.is_local {
            config.proxy_url = None;
        }
        Ok(Client::try_from(config)?)
    }

    /// Runs kubectl with its words on the terminal.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<()> {
        self.kubectl_with_input(arguments, "")
    }

    /// The same with something to read.
    pub fn kubectl_with_input(&self, arguments: &[&str], input: &str) -> Result<()> {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().context("starting kubectl")?;
        if let Some(mut pipe) = child.stdin.take() {
            pipe.write_all(input.as_bytes())?;
        }
        let status = child.wait()?;
        if !status.success() {
            bail!("kubectl {} ended with {status}", arguments.join(" "));
        }
        Ok(())
    }

    /// What kubectl prints.
    pub fn kubectl_output(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).stderr(Stdio::inherit()).output().context("starting kubectl")?;
        if !output.status.success() {
            bail!("kubectl {} ended with {}", arguments.join(" "), output.status);
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs `kubectl create …` for something that may be there already.
    pub fn kubectl_quietly(&self, arguments: &[&str]) -> Result<()> {
        let output = self.command(arguments).output().context("starting kubectl")?;
        let words = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() && !words.contains("AlreadyExists") && !words.contains("already exists") {
            bail!("kubectl {} ended with {}: {}", arguments.join(" "), output.status, words.trim());
        }
        Ok(())
    }

    /// Why an example cannot be tried here.
    pub fn why_not(&self, example: &str) -> &'static str {
        match (self.is_local, example.contains("http01")) {
            (true, true) => "HTTP-01 needs a node for the solver pod and an ingress controller (cluster tier)",
            (true, false) => "there is no name server",
            (false, true) => "set DEMO_DOMAIN and DEMO_INGRESS_CLASS",
            (false, false) => "set DEMO_DOMAIN, DEMO_NAME_SERVER, DEMO_TSIG_NAME and DEMO_TSIG_SECRET",
        }
    }

    fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.args(arguments).env("KUBECONFIG", &self.kubeconfig).stdin(Stdio::null());
        if self.is_local {
            without_proxies(&mut command);
        }
        command
    }
}
