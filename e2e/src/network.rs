//! The network namespace of a testbed: the same addresses and ports in each, and nothing of it outside.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::kubernetes::SERVICE_RANGE;
use crate::packages::require_program;
use crate::process::Identity;
use crate::state::Network;

/// The node's address.
pub const NODE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The address of the second DNS server.
pub const SECONDARY_DNS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// The address of the cluster's DNS server, behind its Service.
pub const CLUSTER_DNS_SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);
/// Addresses for servers of tests.
pub const SPARE: [Ipv4Addr; 6] = [
    Ipv4Addr::new(10, 77, 0, 4),
    Ipv4Addr::new(10, 77, 0, 5),
    Ipv4Addr::new(10, 77, 0, 6),
    Ipv4Addr::new(10, 77, 0, 7),
    Ipv4Addr::new(10, 77, 0, 8),
    Ipv4Addr::new(10, 77, 0, 9),
];

/// The node's IPv6 address, once a test has asked for it by [`add_ipv6`].
pub const NODE_IPV6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, 1);

/// Makes the named namespace (root only). Its interfaces come from [`configure`], run inside. One of that name makes room: it is
/// left from a testbed whose folder was removed before the testbed was ended.
pub fn create(name: &str) -> Result<()> {
    delete(name)?;
    run(Command::new(require_program("ip")?).args(["netns", "add", name]))
}

/// Removes the named namespace, if it is there, with every address, route and packet rule in it.
pub fn delete(name: &str) -> Result<()> {
    if file(name).exists() {
        run(Command::new(require_program("ip")?).args(["netns", "delete", name]))?;
    }
    Ok(())
}

/// Gives the namespace that this process is in its interfaces and addresses. Both ends of the pair stay in it: nothing
/// outside is touched, and what is inside cannot get out.
pub fn configure() -> Result<()> {
    let ip = require_program("ip")?;
    run(Command::new(&ip).args(["link", "set", "lo", "up"]))?;
    run(Command::new(&ip).args(["link", "add", "node0", "type", "veth", "peer", "name", "outside0"]))?;
    let addresses = [NODE, SECONDARY_DNS, CLUSTER_DNS_SERVER].into_iter().chain(SPARE);
    for address in addresses {
        run(Command::new(&ip).args(["address", "add", &format!("{address}/24"), "dev", "node0"]))?;
    }
    // Nobody is at the other end to answer ARP. Without it, what goes to an address that nobody has is lost without a
    // word, and a connection to a Service that kube-proxy does not know yet succeeds when it is tried again after 1 s.
    run(Command::new(&ip).args(["link", "set", "node0", "arp", "off", "up"]))?;
    run(Command::new(&ip).args(["link", "set", "outside0", "up"]))?;
    // A packet to a Service needs some route, or it is refused before kube-proxy's rules see it. There is no other route:
    // what is not in the testbed is unreachable at once.
    run(Command::new(&ip).args(["route", "add", SERVICE_RANGE, "dev", "node0"]))
}

/// Gives the namespace that this process is in an IPv6 address; that it has it already is well.
pub fn add_ipv6() -> Result<()> {
    let address = format!("{NODE_IPV6}/128");
    run(Command::new(require_program("ip")?).args(["-6", "address", "replace", &address, "dev", "lo", "nodad"]))
}

/// The beginning of a command that runs inside `network`.
pub fn enter(network: &Network) -> Result<Command> {
    let mut command = Command::new(require_program("nsenter")?);
    match network {
        // Not `ip netns exec`: that hides the control group mounts.
        Network::Named(name) => {
            command.arg(format!("--net={}", file(name).display()));
        }
        Network::OfProcess(identity) if identity.is_alive() => {
            command.args(["--user", "--net", "--preserve-credentials", &format!("--target={}", identity.pid)]);
        }
        Network::OfProcess(_) => bail!("the testbed's first process has ended, and its network namespace with it"),
        Network::Pending => bail!("the testbed's network namespace is not there yet"),
    }
    Ok(command)
}

/// The beginning of a command that makes a new user and network namespace and runs inside (no root needed).
pub fn enter_new() -> Result<Command> {
    let mut command = Command::new(require_program("unshare")?);
    command.args(["--map-root-user", "--net"]);
    Ok(command)
}

/// The processes inside `network`, this one excepted.
pub fn processes(network: &Network) -> Vec<Identity> {
    let namespace = match network {
        Network::Named(name) => std::fs::metadata(file(name)).ok().map(|metadata| metadata.ino()),
        Network::OfProcess(identity) if identity.is_alive() => namespace_of(identity.pid),
        _ => None,
    };
    let Some(namespace) = namespace else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != std::process::id() && namespace_of(*pid) == Some(namespace))
        .filter_map(Identity::of)
        .collect()
}

fn file(name: &str) -> PathBuf {
    Path::new("/var/run/netns").join(name)
}

/// Of a process whose first thread has ended, that of its others.
fn namespace_of(pid: u32) -> Option<u64> {
    let of = |task: &Path| std::fs::metadata(task.join("ns/net")).ok().map(|metadata| metadata.ino());
    let process = PathBuf::from(format!("/proc/{pid}"));
    of(&process).or_else(|| {
        let mut threads = std::fs::read_dir(process.join("task")).into_iter().flatten().filter_map(Result::ok);
        threads.find_map(|thread| of(&thread.path()))
    })
}

/// Runs a short command to its end; its words are in the error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("starting {}", command.get_program().display()))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} ended with {}: {}", output.status, words.trim());
    }
    Ok(())
}
