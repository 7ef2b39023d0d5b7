//! The node: containerd and the kubelet, with the rest of the control plane that makes pods run.
//!
//! containerd, the kubelet and kube-proxy share a mount namespace of their own in which `/run` is empty and what they
//! write to `/var/lib` and `/var/log` goes to the testbed's folder. Their mounts end with the last process.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::api::Api;
use serde_json::json;

use crate::authority::Authority;
use crate::image::{self, BUSYBOX, Image};
use crate::kubernetes::{SERVICE_RANGE, client, kubeconfig};
use crate::launcher::Launcher;
use crate::network::NODE;
use crate::packages::require_program;
use crate::process::Identity;
use crate::state::State;
use crate::wait::{until, until_ready};
use crate::{cgroups, dns};

/// The node's name.
pub const NAME: &str = "testbed-node";
/// The address of the cluster's DNS Service.
pub const CLUSTER_DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

const PAUSE: &str = "docker.io/local/pause:1";
const POD_RANGE: &str = "10.244.0.0/24";
const READY: Duration = Duration::from_mins(2);

/// A socket's path has room for 107 bytes; the longest of a testbed is this much longer than its folder's path.
const LONGEST_SOCKET: usize = "/ingress/envoy-admin.sock".len();

/// The name of the control group of all pods of the testbed.
pub fn control_group(state: &State) -> String {
    match &state.network {
        crate::state::Network::Named(name) => name.clone(),
        _ => format!("certwright-{}", state.name),
    }
}

/// Starts everything from the controller manager to kube-proxy and waits until the node is ready for pods.
pub async fn start(launcher: &mut Launcher, authority: &Authority) -> Result<()> {
    let folder = launcher.state.folder.clone();
    let length = folder.as_os_str().len() + LONGEST_SOCKET;
    ensure!(length < 108, "the path {} is too long for sockets in it: take a shorter one", folder.display());
    start_controllers(launcher, authority)?;
    let containerd = start_containerd(launcher).await?;
    import_images(&launcher.state)?;
    start_kubelet(launcher, authority, containerd).await?;
    start_kube_proxy(launcher, authority, containerd)
}

fn start_controllers(launcher: &mut Launcher, authority: &Authority) -> Result<()> {
    let folder = launcher.state.folder.join("kubernetes");
    let user = "system:kube-controller-manager";
    let config = kubeconfig(&folder, authority, "kube-controller-manager", user, None)?;
    let mut command = Launcher::command(&launcher.state.program("kube-controller-manager"))?;
    let ca = authority.certificate_file();
    command.arg("--kubeconfig").arg(&config).arg("--authentication-kubeconfig").arg(&config);
    command.arg("--authorization-kubeconfig").arg(&config).arg("--root-ca-file").arg(ca);
    command.arg("--service-account-private-key-file").arg(folder.join("service-accounts.key"));
    command.arg("--cluster-signing-cert-file").arg(ca);
    command.arg("--cluster-signing-key-file").arg(ca.with_extension("key"));
    command.args(["--use-service-account-credentials", "--leader-elect=false", "--bind-address=127.0.0.1"]);
    command.arg(format!("--service-cluster-ip-range={SERVICE_RANGE}"));
    launcher.start("kube-controller-manager", command)?;

    let config = kubeconfig(&folder, authority, "kube-scheduler", "system:kube-scheduler", None)?;
    let mut command = Launcher::command(&launcher.state.program("kube-scheduler"))?;
    command.arg("--kubeconfig").arg(&config).arg("--authentication-kubeconfig").arg(&config);
    command.arg("--authorization-kubeconfig").arg(&config).args(["--leader-elect=false", "--bind-address=127.0.0.1"]);
    launcher.start("kube-scheduler", command)?;
    Ok(())
}

/// Run as root in a new mount namespace; the testbed's folder is `$0`, the command its arguments.
const OWN_MOUNTS: &str = r#"
set -e
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/testbed
mount --rbind "$0" /run/testbed
for part in lib log; do
  mkdir -p "/run/testbed/overlay/$part/upper" "/run/testbed/overlay/$part/work"
  mount -t overlay -o "lowerdir=/var/$part,upperdir=/run/testbed/overlay/$part/upper,workdir=/run/testbed/overlay/$part/work" overlay "/var/$part"
done
mount --rbind /run/testbed "$0"
mount --make-rshared /
exec "$@"
"#;

async fn start_containerd(launcher: &mut Launcher) -> Result<Identity> {
    let folder = launcher.state.folder.clone();
    let configuration = write_containerd_files(&folder)?;
    let mut command = Launcher::command(&require_program("unshare")?)?;
    command.args(["--mount", "--propagation", "private", "sh", "-c", OWN_MOUNTS]).arg(&folder);
    command.arg(require_program("containerd")?).arg("--config").arg(configuration);
    let process = launcher.start("containerd", command)?;
    let socket = image::socket(&folder);
    let look = async || ctr_version(&socket);
    until_ready(process, "containerd", READY, look).await?;
    process.identity()
}

fn ctr_version(socket: &Path) -> Result<()> {
    let mut command = Command::new(require_program("ctr")?);
    crate::network::run(command.arg("--address").arg(socket).args(["--timeout", "5s", "version"]))
}

fn write_containerd_files(folder: &Path) -> Result<PathBuf> {
    let networks = folder.join("cni/net.d");
    fs::create_dir_all(&networks)?;
    let network = json!({
        "cniVersion": "0.4.0", "name": "testbed",
        "plugins": [
            {
                "type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
                "ipam": {
                    "type": "host-local", "dataDir": folder.join("cni/addresses"),
                    "ranges": [[{ "subnet": POD_RANGE }]], "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    });
    fs::write(networks.join("10-testbed.conflist"), serde_json::to_vec_pretty(&network)?)?;
    let text = format!(
        "version = 2\nroot = \"{0}/containerd/root\"\nstate = \"{0}/containerd/state\"\n\
         [grpc]\n  address = \"{1}\"\n\
         [plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"{PAUSE}\"\n  \
         # Without CAP_SYS_RESOURCE, no sandbox starts otherwise.\n  restrict_oom_score_adj = true\n  \
         netns_mounts_under_state_dir = true\n\
         [plugins.\"io.containerd.grpc.v1.cri\".cni]\n  bin_dir = \"/usr/lib/cni\"\n  conf_dir = \"{0}/cni/net.d\"\n",
        folder.display(),
        image::socket(folder).display()
    );
    let file = folder.join("containerd.toml");
    fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

fn import_images(state: &State) -> Result<()> {
    let busybox = require_program("busybox")?;
    let pause = ["/bin/busybox", "sleep", "2147483647"];
    for (name, entrypoint, user) in [(PAUSE, &pause[..], 65532), (BUSYBOX, &pause[..1], 0)] {
        image::import(state, &Image { name, binary: &busybox, target: "bin/busybox", entrypoint, user })?;
    }
    Ok(())
}

/// A command in the mount namespace of containerd.
fn beside(containerd: Identity, program: &Path) -> Result<Command> {
    let mut command = Launcher::command(&require_program("nsenter")?)?;
    command.arg("--mount").arg(format!("--target={}", containerd.pid)).arg(program);
    Ok(command)
}

async fn start_kubelet(launcher: &mut Launcher, authority: &Authority, containerd: Identity) -> Result<()> {
    let folder = launcher.state.folder.clone();
    let group = control_group(&launcher.state);
    cgroups::create(&group)?;
    let user = format!("system:node:{NAME}");
    let config = kubeconfig(&folder.join("kubernetes"), authority, "kubelet", &user, Some("system:nodes"))?;
    let settings = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "authentication": { "x509": { "clientCAFile": authority.certificate_file() } },
        "cgroupDriver": "cgroupfs", "cgroupRoot": format!("/{group}"), "failCgroupV1": false,
        "enforceNodeAllocatable": ["pods"], "oomScoreAdj": 0,
        "clusterDNS": [CLUSTER_DNS], "clusterDomain": "cluster.local", "resolvConf": dns::resolver_file(&folder),
        "containerRuntimeEndpoint": format!("unix://{}", image::socket(&folder).display()),
        "evictionHard": { "memory.available": "50Mi", "nodefs.available": "0%", "imagefs.available": "0%" },
        "failSwapOn": false, "imageGCHighThresholdPercent": 100, "localStorageCapacityIsolation": false,
        "maxPods": 200, "podLogsDir": folder.join("logs/pods"), "volumePluginDir": folder.join("kubelet/plugins"),
    });
    let file = folder.join("kubelet.json");
    fs::write(&file, serde_json::to_vec_pretty(&settings)?)?;
    let mut command = beside(containerd, &launcher.state.program("kubelet"))?;
    command.arg("--config").arg(file).arg("--kubeconfig").arg(config).arg("--root-dir").arg(folder.join("kubelet"));
    command.arg(format!("--node-ip={NODE}")).arg(format!("--hostname-override={NAME}"));
    let administrator = client(&launcher.state.kubernetes()?.admin_kubeconfig).await?;
    let process = launcher.start("kubelet", command)?;
    let nodes: Api<Node> = Api::all(administrator);
    let look = async || ready(&nodes).await;
    until_ready(process, "the node to be Ready", READY, look).await
}

async fn ready(nodes: &Api<Node>) -> Result<()> {
    let node = nodes.get(NAME).await?;
    let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
    let condition = conditions.iter().find(|condition| condition.type_ == "Ready").context("no condition Ready yet")?;
    ensure!(condition.status == "True", "{}", condition.message.as_deref().unwrap_or_default());
    Ok(())
}

fn start_kube_proxy(launcher: &mut Launcher, authority: &Authority, containerd: Identity) -> Result<()> {
    let folder = launcher.state.folder.clone();
    let config = kubeconfig(&folder.join("kubernetes"), authority, "kube-proxy", "system:kube-proxy", None)?;
    let settings = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": "iptables",
        "clientConnection": { "kubeconfig": config }, "clusterCIDR": POD_RANGE, "hostnameOverride": NAME,
        "bindAddress": NODE, "conntrack": { "maxPerCore": 0 },
        // So that a pod reaches a pod on the same bridge through a Service even where bridged packets pass no rules.
        "iptables": { "masqueradeAll": true, "minSyncPeriod": "100ms", "syncPeriod": "30s" },
    });
    let file = folder.join("kube-proxy.json");
    fs::write(&file, serde_json::to_vec_pretty(&settings)?)?;
    let mut command = beside(containerd, &launcher.state.program("kube-proxy"))?;
    command.arg("--config").arg(file);
    launcher.start("kube-proxy", command)?;
    Ok(())
}

/// Waits until the API server answers through its Service, which shows that kube-proxy has done its work.
pub async fn wait_for_services() -> Result<()> {
    let look = async || {
        // Before the rules are there, nothing answers at all.
        let connecting = tokio::net::TcpStream::connect((Ipv4Addr::new(10, 96, 0, 1), 443));
        tokio::time::timeout(Duration::from_millis(200), connecting).await.map(|answer| answer.ok().map(drop))
    };
    until("the Service of the Kubernetes API", READY, look).await
}
