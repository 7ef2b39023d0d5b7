//! Several controllers at the same time, which agree by a Lease on who works.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use certwright::api::names::{LEASE, SHARD_LEASE_PREFIX};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, DeleteParams};
use serde_json::json;

use crate::controller::{bare_command, only_one, subcommand};
use crate::install::{apply_in_namespace, install};
use crate::kubernetes::CERTWRIGHT_USER;
use crate::process::{Identity, Process};
use crate::testbed::Testbed;
use crate::wait::{until, until_ready};

const READY: Duration = Duration::from_mins(2);

/// Where the Lease lies: the controller's default.
pub const LEASE_NAMESPACE: &str = "kube-system";

/// A testbed in which no other test runs a controller meanwhile.
pub struct Replicas {
    testbed: Testbed,
    arguments: Vec<String>,
    started: u16,
    _only_one: File,
}

/// One controller. Dropping it kills it.
pub struct Replica {
    process: Process,
    /// Who it is in the Lease.
    pub identity: String,
    probes: String,
}

impl Replicas {
    /// Every one is started with these arguments.
    pub async fn new(testbed: &Testbed, arguments: &[&str]) -> Result<Self> {
        install(testbed).await?;
        let lock = only_one(testbed).await?;
        let leases: Api<Lease> = Api::namespaced(testbed.admin().await?, LEASE_NAMESPACE);
        // What a former test has left.
        for name in [LEASE.to_owned(), share_lease(1)] {
            let gone = async || match leases.delete(&name, &DeleteParams::default()).await {
                Err(kube::Error::Api(refusal)) if refusal.code == 404 => Ok(Some(())),
                answer => answer.map(|_| None),
            };
            until(&format!("the Lease {name} of a former test to be gone"), READY, gone).await?;
        }
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Ok(Self { testbed: testbed.clone(), arguments, started: 0, _only_one: lock })
    }

    /// Starts a further one and waits until its watches are filled.
    pub async fn start(&mut self) -> Result<Replica> {
        self.start_with(&[]).await
    }

    /// The same with further arguments.
    pub async fn start_with(&mut self, arguments: &[&str]) -> Result<Replica> {
        self.started += 1;
        let (pod, probes) = (format!("replica-{}", self.started), format!("127.0.0.1:{}", 9500 + self.started));
        let mut command = bare_command(&self.testbed, &probes)?;
        // Where metrics are served by default there is room for one.
        command.args(["--pod-name", &pod, "--metrics-listen-address=0"]).args(&self.arguments).args(arguments);
        let mut process = self.testbed.start(&pod, command)?;
        let client = probe_client()?;
        let url = format!("http://{probes}/readyz");
        let look = async || client.get(&url).send().await?.error_for_status().map(drop);
        until_ready(&mut process, "the replica's watches", READY, look).await?;
        Ok(Replica { process, identity: format!("{pod}-external-cert-manager-controller"), probes })
    }

    /// Starts `certwright wind-down` with the replicas' arguments and these.
    pub fn wind_down(&mut self, arguments: &[&str]) -> Result<Process> {
        self.started += 1;
        let name = format!("wind-down-{}", self.started);
        let mut command = subcommand(&self.testbed, "wind-down")?;
        command.args(["--pod-name", &name]).args(&self.arguments).args(arguments);
        self.testbed.start(&name, command)
    }
}

impl Replica {
    pub fn log(&self) -> &Path {
        self.process.log()
    }

    pub fn read_log(&self) -> Result<String> {
        self.process.read_log()
    }

    /// For signals.
    pub fn process(&mut self) -> Result<Identity> {
        self.process.identity()
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill().map(drop)
    }

    /// Asks it to end (SIGTERM); whether it did, and called it a success.
    pub fn stop(&mut self) -> Result<bool> {
        Ok(self.process.stop(Duration::from_mins(1))?.success())
    }

    /// The HTTP status of `/livez` or `/readyz`.
    pub async fn probe(&self, path: &str) -> Result<u16> {
        Ok(probe_client()?.get(format!("http://{}{path}", self.probes)).send().await?.status().as_u16())
    }

    /// Waits until it holds the Lease.
    pub async fn leads(&self, testbed: &Testbed, patience: Duration) -> Result<LeaseSpec> {
        let look = async || {
            let lease = lease(testbed, LEASE).await?.filter(|lease| holder(lease) == self.identity);
            anyhow::Ok(lease)
        };
        until(&format!("{} to hold the lease", self.identity), patience, look).await
    }
}

/// The name of the Lease of a share, but of the first.
pub fn share_lease(number: u32) -> String {
    format!("{SHARD_LEASE_PREFIX}{number}")
}

/// Gives the user `certwright` the rights that the chart gives where the work is divided into two shares.
pub async fn grant_two_shares(testbed: &Testbed) -> Result<()> {
    const NAME: &str = "certwright-two-shares";
    let client = testbed.admin().await?;
    let role: Role = serde_json::from_value(json!({
        "metadata": { "name": NAME, "namespace": LEASE_NAMESPACE },
        "rules": [{
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": [share_lease(1)],
            "verbs": ["get", "update"],
        }],
    }))?;
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": { "name": NAME, "namespace": LEASE_NAMESPACE },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": CERTWRIGHT_USER }],
    }))?;
    apply_in_namespace(&client, role).await?;
    apply_in_namespace(&client, binding).await?;
    // The API server enforces them a moment later.
    let leases: Api<Lease> = Api::namespaced(testbed.certwright().await?, LEASE_NAMESPACE);
    let name = share_lease(1);
    let look = async || leases.get_opt(&name).await.map(|_| Some(()));
    until("the rights of two shares to be enforced", READY, look).await
}

/// What the Lease says, if it is there.
pub async fn lease(testbed: &Testbed, name: &str) -> Result<Option<LeaseSpec>> {
    let leases: Api<Lease> = Api::namespaced(testbed.admin().await?, LEASE_NAMESPACE);
    Ok(leases.get_opt(name).await?.and_then(|lease| lease.spec))
}

/// Who holds it; empty if nobody does.
pub fn holder(lease: &LeaseSpec) -> &str {
    lease.holder_identity.as_deref().unwrap_or_default()
}

fn probe_client() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(1)).build()?)
}
