//! kubectl, as people use it, and a client for the same cluster.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use kube::Client;
use kube::config::{Config, KubeConfigOptions};

use crate::kubernetes::read_kubeconfig;
use crate::launcher::without_proxies;
use crate::state::State;

/// A kubectl and the cluster that it works on.
pub struct Kubectl {
    pub program: PathBuf,
    pub kubeconfig: PathBuf,
    /// Whether the cluster is on this machine, so that no proxy leads there.
    pub is_local: bool,
}

impl Kubectl {
    /// The testbed's own, with the rights of its administrator. An error if the testbed has no Kubernetes.
    pub fn of(state: &State) -> Result<Self> {
        let kubeconfig = state.kubernetes()?.admin_kubeconfig.clone();
        Ok(Self { program: state.program("kubectl"), kubeconfig, is_local: true })
    }

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
    pub fn run(&self, arguments: &[&str]) -> Result<()> {
        self.run_with_input(arguments, "")
    }

    /// The same with something to read.
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Result<()> {
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
    pub fn output(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).stderr(Stdio::inherit()).output().context("starting kubectl")?;
        if !output.status.success() {
            bail!("kubectl {} ended with {}", arguments.join(" "), output.status);
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs `kubectl create …` for something that may be there already.
    pub fn create_once(&self, arguments: &[&str]) -> Result<()> {
        let output = self.command(arguments).output().context("starting kubectl")?;
        let words = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() && !words.contains("AlreadyExists") && !words.contains("already exists") {
            bail!("kubectl {} ended with {}: {}", arguments.join(" "), output.status, words.trim());
        }
        Ok(())
    }

    fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("KUBECONFIG", &self.kubeconfig).stdin(Stdio::null());
        if self.is_local {
            without_proxies(&mut command);
        }
        command
    }
}
