//! What tests use inside a testbed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};

use crate::audit::{self, Mark, Write};
use crate::kubernetes;
use crate::process::Process;
use crate::state::{STATE_VARIABLE, State, Tier};
use crate::wait::until;

/// What takes a moment, and longer only on a machine with much else to do.
const SOON: Duration = Duration::from_mins(3);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The running testbed that this process is in.
#[derive(Clone, Debug)]
pub struct Testbed {
    pub state: State,
}

impl Testbed {
    /// The testbed named by `CERTWRIGHT_TESTBED`, which `testbed run` and `testbed exec` set; `None` outside of one.
    ///
    /// # Errors
    /// When the variable is set but the testbed cannot be read or is not ready: a test must fail then, not be skipped.
    pub fn from_env() -> Result<Option<Self>> {
        let Some(file) = std::env::var_os(STATE_VARIABLE).filter(|value| !value.is_empty()) else { return Ok(None) };
        let state = State::load_file(Path::new(&file))?;
        ensure!(state.ready, "the testbed in {} is not ready", state.folder.display());
        Ok(Some(Self { state }))
    }

    /// A client of the Kubernetes API that may do everything.
    pub async fn admin(&self) -> Result<Client> {
        kubernetes::client(&self.state.kubernetes()?.admin_kubeconfig).await
    }

    /// A client of the user that the certwright under test is: it may do what the tests have bound to that user.
    pub async fn certwright(&self) -> Result<Client> {
        kubernetes::client(&self.state.kubernetes()?.certwright_kubeconfig).await
    }

    /// Creates a namespace `PREFIX-…` that no other test has, and waits for its ServiceAccount `default`. In tier `api`,
    /// where no controller makes that account, it is made here.
    pub async fn namespace(&self, prefix: &str) -> Result<String> {
        let client = self.admin().await?;
        let name = format!("{prefix}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(client, &name);
        if self.state.tier == Tier::Api {
            let metadata = ObjectMeta { name: Some("default".into()), ..ObjectMeta::default() };
            accounts.create(&PostParams::default(), &ServiceAccount { metadata, ..ServiceAccount::default() }).await?;
        }
        let look = async || accounts.get_opt("default").await;
        until(&format!("the ServiceAccount default in {name}"), SOON, look).await?;
        Ok(name)
    }

    /// Starts `command` with the log `logs/NAME-….log` in the testbed's folder. It inherits the testbed's network.
    pub fn start(&self, name: &str, command: Command) -> Result<Process> {
        let file = format!("{name}-{}-{}.log", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Process::start(name, command, &self.state.logs().join(file))
    }

    /// The present end of the audit log, for [`Testbed::writes_since`].
    pub fn mark(&self) -> Result<Mark> {
        audit::mark(&self.state.kubernetes()?.audit_log)
    }

    /// Every write that any user sent to the Kubernetes API since `mark`, rejected ones included. Writes answered before
    /// this call are all in. Leases are left out: they are renewed all the time, whatever else goes on.
    pub async fn writes_since(&self, mark: Mark) -> Result<Vec<Write>> {
        let log = &self.state.kubernetes()?.audit_log;
        let fence = self.fence().await?;
        let look = async || {
            let writes = audit::writes_since(log, mark)?;
            Ok::<_, anyhow::Error>(writes.iter().any(|write| write.name == fence).then_some(writes))
        };
        let mut writes = until("the audit log to catch up", SOON, look).await?;
        writes.retain(|write| !write.name.starts_with(FENCE) && write.resource != "leases");
        Ok(writes)
    }

    /// The writes since `mark` of one user, counted by resource, subresource and verb, such as
    /// `("certificates/status", "patch")`.
    pub async fn count_writes(&self, mark: Mark, user: &str) -> Result<BTreeMap<(String, String), usize>> {
        let mut counts = BTreeMap::new();
        for write in self.writes_since(mark).await?.into_iter().filter(|write| write.user == user) {
            let mut resource = write.resource;
            if !write.subresource.is_empty() {
                resource = format!("{resource}/{}", write.subresource);
            }
            *counts.entry((resource, write.verb)).or_default() += 1;
        }
        Ok(counts)
    }

    /// Sends a write that changes nothing and can be found in the audit log: what was answered before is there before it.
    async fn fence(&self) -> Result<String> {
        let name = format!("{FENCE}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let maps: Api<ConfigMap> = Api::namespaced(self.admin().await?, "default");
        let params = kube::api::DeleteParams { dry_run: true, ..Default::default() };
        // It does not exist: the answer "not found" is the expected one.
        match maps.delete(&name, &params).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(name),
            Err(error) => Err(error).context("sending a marker through the Kubernetes API"),
            Ok(_) => anyhow::bail!("the marker {name} exists"),
        }
    }
}

const FENCE: &str = "audit-fence-";
