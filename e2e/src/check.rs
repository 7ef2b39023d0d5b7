//! Whether this machine can run a testbed at all, tried and not guessed.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::cgroups;
use crate::network::{enter_new, run};
use crate::packages::{self, require_program};
use crate::state::Tier;

/// An error with the reason when a testbed of `tier` with its folder under `place` cannot run here.
pub fn check(tier: Tier, place: &Path) -> Result<()> {
    let root = rustix::process::geteuid().is_root();
    if tier == Tier::Cluster && !root {
        bail!("tier cluster needs root: containerd and the kubelet mount file systems and make control groups");
    }
    packages::require(tier)?;
    let link = "ip link add try0 type veth peer name try1";
    try_out("make a network namespace with a pair of interfaces", "--net", link, root)?;
    if tier == Tier::Cluster {
        check_node(place)?;
    }
    Ok(())
}

fn check_node(place: &Path) -> Result<()> {
    let bridge = "ip link add try0 type bridge && echo 1 > /proc/sys/net/ipv4/ip_forward";
    try_out("make a bridge and forward packets", "--net", bridge, true)?;
    let rules = "iptables -w -t nat -A OUTPUT -p tcp -m comment --comment try -m statistic --mode random \
                 --probability 0.5 -j DNAT --to-destination 10.77.0.1:1";
    try_out("set packet rules with iptables", "--net", rules, true)?;
    let trial = place.join(format!(".trial-{}", std::process::id()));
    for folder in ["upper", "work"] {
        fs::create_dir_all(trial.join(folder)).with_context(|| format!("making a folder in {}", place.display()))?;
    }
    let mounts = format!(
        "mount -t tmpfs tmpfs /run && \
         mount -t overlay -o 'lowerdir=/var/log,upperdir={0}/upper,workdir={0}/work' overlay /var/log",
        trial.display()
    );
    let mounted = try_out("mount tmpfs and overlay file systems", "--mount", &mounts, true);
    fs::remove_dir_all(&trial)?;
    mounted?;
    let group = format!("certwright-trial-{}", std::process::id());
    let created = cgroups::create(&group);
    cgroups::remove(&group)?;
    created.context("tier cluster must be able to make control groups")
}

/// Runs `script` in a new namespace of the kind `option`.
fn try_out(what: &str, option: &str, script: &str, root: bool) -> Result<()> {
    let mut command = if root { Command::new(require_program("unshare")?) } else { enter_new()? };
    if root {
        command.arg(option);
    }
    let result = run(command.args(["sh", "-c", &format!("PATH=$PATH:/usr/sbin:/sbin; {script}")]));
    ensure!(result.is_ok(), "this machine cannot {what}: {:#}", result.err().context("no reason")?);
    Ok(())
}
