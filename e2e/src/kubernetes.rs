//! etcd, the Kubernetes API server, and the kubeconfigs.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::json;

use crate::audit::WRITES;
use crate::authority::{self, Authority};
use crate::launcher::Launcher;
use crate::network::NODE;
use crate::state::{Kubernetes, State};
use crate::wait::until_ready;

/// Where the API server listens.
pub const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(NODE), 6443);
/// Addresses of Services; the first is that of the API server itself.
pub const SERVICE_RANGE: &str = "10.96.0.0/16";
const FIRST_SERVICE_ADDRESS: &str = "10.96.0.1";
/// The name of the user that the certwright under test is.
pub const CERTWRIGHT_USER: &str = "certwright";

/// Where etcd is.
pub const ETCD: &str = "http://127.0.0.1:2379";
const READY: Duration = Duration::from_mins(3);

/// Starts etcd and the API server; returns the authority whose client certificates the API server believes.
pub async fn start(launcher: &mut Launcher) -> Result<Authority> {
    start_etcd(launcher).await?;
    let folder = launcher.state.folder.join("kubernetes");
    let authority = Authority::create(&folder, "kubernetes-ca")?;
    let kubernetes = write_files(&folder, &authority)?;
    let mut command = Launcher::command(&launcher.state.program("kube-apiserver"))?;
    command.args(arguments(&folder, &authority, &kubernetes)?);
    let process = launcher.start("kube-apiserver", command)?;
    let client = client(&kubernetes.admin_kubeconfig).await?;
    until_ready(process, "the Kubernetes API server", READY, async || is_ready(&client).await).await?;
    launcher.state.kubernetes = Some(kubernetes);
    launcher.state.save()?;
    Ok(authority)
}

/// A client for the kubeconfig in `file`.
pub async fn client(file: &Path) -> Result<Client> {
    let kubeconfig = read_kubeconfig(file)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Reads a kubeconfig to make a client from.
pub fn read_kubeconfig(file: &Path) -> Result<Kubeconfig> {
    // Another part of the program may have chosen the provider already, which is as well.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Kubeconfig::read_from(file).with_context(|| format!("reading {}", file.display()))
}

/// Writes a kubeconfig for `user` (and `group`) to `FOLDER/NAME.kubeconfig`.
pub fn kubeconfig(
    folder: &Path,
    authority: &Authority,
    name: &str,
    user: &str,
    group: Option<&str>,
) -> Result<PathBuf> {
    let signed = authority.client(name, user, group)?;
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "testbed",
        "clusters": [{ "name": "testbed", "cluster": {
            "server": server(), "certificate-authority-data": STANDARD.encode(authority.certificate_pem()),
        }}],
        "users": [{ "name": user, "user": {
            "client-certificate-data": STANDARD.encode(signed.certificate_pem),
            "client-key-data": STANDARD.encode(signed.key_pem),
        }}],
        "contexts": [{ "name": "testbed", "context": { "cluster": "testbed", "user": user } }],
    });
    let file = folder.join(format!("{name}.kubeconfig"));
    fs::write(&file, serde_json::to_vec_pretty(&text)?).with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

/// Where kubectl keeps what it learns of the API; else it does so in the home folder.
pub fn kubectl_cache(state: &State) -> PathBuf {
    state.folder.join("kubernetes/kubectl-cache")
}

/// A GET request for [`Client::request_text`].
pub fn request(path: &str) -> Result<http::Request<Vec<u8>>> {
    Ok(http::Request::get(path).body(Vec::new())?)
}

/// The API server says so, and has made the namespaces that every cluster has, which it does not wait for.
async fn is_ready(client: &Client) -> Result<()> {
    for path in ["/readyz", "/api/v1/namespaces/default", "/api/v1/namespaces/kube-system"] {
        client.request_text(request(path)?).await?;
    }
    Ok(())
}

fn server() -> String {
    format!("https://{ADDRESS}")
}

async fn start_etcd(launcher: &mut Launcher) -> Result<()> {
    let mut command = Launcher::command(&launcher.state.program("etcd"))?;
    command.arg("--data-dir").arg(launcher.state.folder.join("etcd"));
    command.args(["--listen-client-urls", ETCD, "--advertise-client-urls", ETCD]);
    let peer = "http://127.0.0.1:2380";
    command.args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]);
    command.args(["--initial-cluster", &format!("default={peer}")]);
    // A testbed never outlives the machine's next start, so nothing has to survive it.
    command.args(["--unsafe-no-fsync", "--log-level", "warn", "--quota-backend-bytes", "8589934592"]);
    let process = launcher.start("etcd", command)?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let look = async || client.get(format!("{ETCD}/health")).send().await?.error_for_status().map(drop);
    until_ready(process, "etcd", READY, look).await
}

fn write_files(folder: &Path, authority: &Authority) -> Result<Kubernetes> {
    let audit_log = folder.join("audit.log");
    fs::write(&audit_log, "")?;
    // Reads are left out, for they are many, but those of certwright: they tell which rights it uses.
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
        "rules": [
            { "level": "Metadata", "verbs": WRITES },
            { "level": "Metadata", "users": [CERTWRIGHT_USER], "verbs": ["get", "list", "watch"] },
            { "level": "None" },
        ],
    });
    fs::write(folder.join("audit-policy.json"), serde_json::to_vec_pretty(&policy)?)?;
    Ok(Kubernetes {
        server: server(),
        ca_file: authority.certificate_file().to_owned(),
        admin_kubeconfig: kubeconfig(folder, authority, "admin", "admin", Some("system:masters"))?,
        certwright_kubeconfig: kubeconfig(folder, authority, "certwright", CERTWRIGHT_USER, None)?,
        audit_log,
    })
}

fn arguments(folder: &Path, authority: &Authority, kubernetes: &Kubernetes) -> Result<Vec<String>> {
    let node = NODE.to_string();
    let names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"];
    let names: Vec<&str> = names.into_iter().chain(["localhost", "127.0.0.1", FIRST_SERVICE_ADDRESS, &node]).collect();
    let server = authority.server("kube-apiserver", &names)?;
    let kubelet = authority.client("kube-apiserver-to-kubelet", "kube-apiserver", Some("system:masters"))?;
    let proxy = authority.client("front-proxy", "front-proxy", None)?;
    let (account_key, account_public_key) = authority::key_pair(folder, "service-accounts")?;
    let issuer = "https://kubernetes.default.svc.cluster.local".to_owned();
    let ca = authority.certificate_file().display().to_string();
    let file = |path: &Path| path.display().to_string();
    let with_values = [
        ("etcd-servers", ETCD.to_owned()),
        ("secure-port", ADDRESS.port().to_string()),
        ("advertise-address", node.clone()),
        ("tls-cert-file", file(&server.certificate_file)),
        ("tls-private-key-file", file(&server.key_file)),
        ("client-ca-file", ca.clone()),
        ("service-account-issuer", issuer),
        ("service-account-key-file", file(&account_public_key)),
        ("service-account-signing-key-file", file(&account_key)),
        ("service-cluster-ip-range", SERVICE_RANGE.to_owned()),
        ("authorization-mode", "Node,RBAC".to_owned()),
        ("allow-privileged", "true".to_owned()),
        ("enable-aggregator-routing", "true".to_owned()),
        ("requestheader-client-ca-file", ca),
        // Without this, every client certificate of the same authority could speak for anyone.
        ("requestheader-allowed-names", "front-proxy".to_owned()),
        ("requestheader-username-headers", "X-Remote-User".to_owned()),
        ("requestheader-group-headers", "X-Remote-Group".to_owned()),
        ("requestheader-extra-headers-prefix", "X-Remote-Extra-".to_owned()),
        ("proxy-client-cert-file", file(&proxy.certificate_file)),
        ("proxy-client-key-file", file(&proxy.key_file)),
        ("kubelet-client-certificate", file(&kubelet.certificate_file)),
        ("kubelet-client-key", file(&kubelet.key_file)),
        ("kubelet-preferred-address-types", "InternalIP".to_owned()),
        ("audit-policy-file", file(&folder.join("audit-policy.json"))),
        ("audit-log-path", file(&kubernetes.audit_log)),
        // In MB; else it begins anew after 100, where a test may be counting.
        ("audit-log-maxsize", "100000".to_owned()),
    ];
    Ok(with_values.into_iter().map(|(flag, value)| format!("--{flag}={value}")).collect())
}
