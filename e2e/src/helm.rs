//! Helm, as people use it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::install::repository;
use crate::launcher::without_proxies;
use crate::state::State;

/// Helm and the cluster that it works on.
pub struct Helm {
    pub program: PathBuf,
    pub kubeconfig: PathBuf,
}

impl Helm {
    /// For a testbed, as its administrator.
    pub fn of(state: &State) -> Result<Self> {
        let kubeconfig = state.kubernetes()?.admin_kubeconfig.clone();
        Ok(Self { program: state.program("helm"), kubeconfig })
    }

    /// Runs Helm; what it prints.
    ///
    /// # Errors
    /// What Helm says when it ends with another code than 0.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("KUBECONFIG", &self.kubeconfig).stdin(Stdio::null());
        without_proxies(&mut command);
        let output = command.output().context("starting helm")?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            bail!("helm {} ended with {}: {words}", arguments.join(" "), output.status);
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// The folder of certwright's chart.
pub fn chart() -> PathBuf {
    repository().join("charts/certwright")
}

/// One of the files of values that the chart is tried with.
pub fn values(name: &str) -> PathBuf {
    chart().join(Path::new("ci").join(format!("{name}-values.yaml")))
}
