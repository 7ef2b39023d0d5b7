//! What is written down about a testbed: `state.json` in its folder, for tests, demos and `testbed down`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::process::Identity;

/// The environment variable that names the state file to whatever runs inside a testbed.
pub const STATE_VARIABLE: &str = "CERTWRIGHT_TESTBED";

/// How much of Kubernetes a testbed has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// etcd, kube-apiserver, Pebble and BIND; needs no root.
    #[default]
    Api,
    /// The same and a node, cluster DNS, Contour and Envoy; needs root.
    Cluster,
}

impl Tier {
    /// Whether a testbed of this tier has what belongs to `other`.
    pub fn includes(self, other: Self) -> bool {
        self == Self::Cluster || other == Self::Api
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Api => "api",
            Self::Cluster => "cluster",
        })
    }
}

/// Everything about one testbed. Parts are `None` until they are ready.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    pub name: String,
    pub tier: Tier,
    /// The testbed's folder, absolute.
    pub folder: PathBuf,
    pub network: Network,
    /// The node's address, where the API server, Pebble, the primary DNS server and the ingress answer, and where tests
    /// may listen: 10.77.0.1.
    pub node_address: Ipv4Addr,
    /// Addresses of the same interface for servers that tests start themselves, with any port.
    pub spare_addresses: Vec<Ipv4Addr>,
    pub dns: Option<Dns>,
    pub acme: Option<Acme>,
    pub kubernetes: Option<Kubernetes>,
    pub cluster: Option<Cluster>,
    /// The processes started for the testbed, in order of starting.
    pub processes: Vec<ProcessRecord>,
    /// All of them answer as they should.
    pub ready: bool,
}

/// The network namespace that everything lives in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Network {
    /// `/var/run/netns/NAME`; made by root.
    Named(String),
    /// The user and network namespace of this process, the first one started; made without root.
    OfProcess(Identity),
    /// Not made yet.
    Pending,
}

/// The DNS servers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dns {
    /// Serves the zones, takes dynamic updates, and resolves everything else for who is inside. Port 53.
    pub primary: Ipv4Addr,
    /// A second name server of the zones, fed by transfers from the first. Port 53.
    pub secondary: Ipv4Addr,
    /// Names of the zones, without a final dot.
    pub zones: Vec<String>,
    /// The key that may update every zone.
    pub tsig: Tsig,
}

/// A TSIG key (RFC 8945).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tsig {
    /// The key's name, without a final dot.
    pub name: String,
    /// The algorithm's name, such as `hmac-sha256`.
    pub algorithm: String,
    /// The secret in base64.
    pub secret: String,
}

/// An ACME certificate authority.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Acme {
    pub directory_url: String,
    /// Base of Pebble's management interface: `/roots/0`, `/intermediates/0`, `/set-renewal-info/`, ….
    pub management_url: String,
    /// PEM of the authority that signed the server certificate of these URLs (not the one that signs what is issued).
    pub ca_file: PathBuf,
    /// Keys for external account binding: identifier and secret in base64url.
    pub external_account_keys: BTreeMap<String, String>,
}

/// The Kubernetes API.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kubernetes {
    /// Its URL.
    pub server: String,
    /// PEM of the authority that signed the API server's certificate.
    pub ca_file: PathBuf,
    /// A kubeconfig of a member of `system:masters`.
    pub admin_kubeconfig: PathBuf,
    /// A kubeconfig of the user `certwright`, who may do nothing until a test binds a role to that user.
    pub certwright_kubeconfig: PathBuf,
    /// The API server's audit log, one JSON event a line: every write, accepted or rejected.
    pub audit_log: PathBuf,
}

/// What tier `cluster` adds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cluster {
    pub node_name: String,
    /// The address on which Envoy answers on ports 80 and 443; names of the zones resolve to it.
    pub ingress_address: Ipv4Addr,
    pub ingress_class: String,
    pub gateway_class: String,
    pub gateway_namespace: String,
    pub gateway_name: String,
    pub containerd_socket: PathBuf,
    /// The parent of all control groups of the pods, relative to each hierarchy.
    pub control_group: String,
    /// The address of the cluster's DNS Service.
    pub cluster_dns: Ipv4Addr,
}

/// A process of the testbed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProcessRecord {
    pub name: String,
    pub identity: Identity,
    /// Standard output and error.
    pub log: PathBuf,
}

impl State {
    /// The state file in `folder`.
    pub fn file_in(folder: &Path) -> PathBuf {
        folder.join("state.json")
    }

    /// Reads the state of the testbed in `folder`.
    pub fn load(folder: &Path) -> Result<Self> {
        Self::load_file(&Self::file_in(folder))
    }

    /// Reads a state file.
    pub fn load_file(file: &Path) -> Result<Self> {
        let text = std::fs::read(file).with_context(|| format!("reading {}: is the testbed up?", file.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("reading {}: written by another version?", file.display()))
    }

    /// Writes the state file so that a reader sees the old one or the new one, never a part.
    pub fn save(&self) -> Result<()> {
        let file = Self::file_in(&self.folder);
        let unfinished = file.with_extension("unfinished");
        std::fs::write(&unfinished, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(&unfinished, &file).with_context(|| format!("writing {}", file.display()))
    }

    /// The path of a program of the testbed, such as `kubectl`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }

    /// The folder of logs, one file a process.
    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// The DNS servers; an error before they are ready.
    pub fn dns(&self) -> Result<&Dns> {
        self.dns.as_ref().context("this testbed has no DNS servers (yet)")
    }

    /// The certificate authority; an error before it is ready.
    pub fn acme(&self) -> Result<&Acme> {
        self.acme.as_ref().context("this testbed has no certificate authority (yet)")
    }

    /// The Kubernetes API; an error before it is ready.
    pub fn kubernetes(&self) -> Result<&Kubernetes> {
        self.kubernetes.as_ref().context("this testbed has no Kubernetes API (yet)")
    }

    /// The node and what runs on it; an error in tier `api` or before it is ready.
    pub fn cluster(&self) -> Result<&Cluster> {
        self.cluster.as_ref().context("this testbed has no node: it is of tier api, or not ready yet")
    }
}
