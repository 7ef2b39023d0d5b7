//! The programs that come from Debian packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::network::run;
use crate::state::Tier;

/// A Debian package, known by a file that it brings.
struct Package {
    name: &'static str,
    file: &'static str,
    tier: Tier,
}

const fn package(name: &'static str, file: &'static str, tier: Tier) -> Package {
    Package { name, file, tier }
}

const PACKAGES: &[Package] = &[
    package("iproute2", "ip", Tier::Api),
    package("util-linux", "nsenter", Tier::Api),
    package("bind9", "named", Tier::Api),
    package("bind9-dnsutils", "nsupdate", Tier::Api),
    package("python3-pip", "pip3", Tier::Api),
    package("containerd", "containerd", Tier::Cluster),
    package("runc", "runc", Tier::Cluster),
    package("containernetworking-plugins", "/usr/lib/cni/bridge", Tier::Cluster),
    package("iptables", "iptables", Tier::Cluster),
    package("conntrack", "conntrack", Tier::Cluster),
    package("busybox-static", "/usr/share/doc/busybox-static", Tier::Cluster),
    package("mount", "mount", Tier::Cluster),
];

/// What single tests start besides. A testbed, and so the demo, does without them.
const PACKAGES_OF_TESTS: &[Package] = &[
    package("knot", "knotd", Tier::Api),
    package("pdns-server", "pdns_server", Tier::Api),
    package("pdns-backend-lmdb", "/usr/share/doc/pdns-backend-lmdb", Tier::Api),
    package("prometheus", "promtool", Tier::Api),
    package("buildah", "buildah", Tier::Cluster),
    package("haproxy", "haproxy", Tier::Api),
];

/// Names of the packages of `tier` that this machine lacks.
pub fn missing(tier: Tier) -> Vec<&'static str> {
    lacking(PACKAGES, tier)
}

fn lacking(packages: &[Package], tier: Tier) -> Vec<&'static str> {
    let wanted = packages.iter().filter(|package| tier.includes(package.tier));
    wanted.filter(|package| find(package.file).is_none()).map(|package| package.name).collect()
}

/// An error that names what is missing and how to get it, when something is.
pub fn require(tier: Tier) -> Result<()> {
    complain(&missing(tier))
}

fn complain(missing: &[&str]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "Debian packages are missing: {0}\nas root, run: apt-get update && apt-get install --no-install-recommends {0}",
        missing.join(" ")
    )
}

/// Installs the missing packages of `tier`, or those that its tests need besides, through apt-get, which only root may.
pub fn install(tier: Tier, of_tests: bool) -> Result<()> {
    let missing = lacking(if of_tests { PACKAGES_OF_TESTS } else { PACKAGES }, tier);
    if missing.is_empty() {
        let whose = if of_tests { "tests of " } else { "" };
        eprintln!("all Debian packages for {whose}tier {tier} are there");
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        return complain(&missing);
    }
    apt_get(&["update"])?;
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(&missing);
    apt_get(&arguments)
}

/// The full path of `program`: an absolute one as it is, else as found in PATH and the system folders, which PATH often
/// lacks for users who are not root.
pub fn find(program: &str) -> Option<PathBuf> {
    if program.starts_with('/') {
        return Path::new(program).exists().then(|| PathBuf::from(program));
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"]);
    folders
        .filter(|folder| !folder.is_empty())
        .map(|folder| Path::new(folder).join(program))
        .find(|file| file.is_file())
}

/// Like [`find`], with an error that tells which program is missing.
pub fn require_program(program: &str) -> Result<PathBuf> {
    find(program).with_context(|| format!("the program {program} is missing: run `testbed packages`"))
}

/// Copies a program to where it will be started from. By a process of its own: while this one has a file open for writing, a
/// child that another thread just starts has it open too, and what is open for writing cannot be started ("text file busy").
pub(crate) fn copy_program(program: &Path, copy: &Path) -> Result<()> {
    run(Command::new("cp").arg("--").arg(program).arg(copy))
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    // In seconds: another one, such as that which upgrades the machine by itself, may be at work.
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "DPkg::Lock::Timeout=300"]);
    let status = command.args(arguments).status();
    let status = status.context("starting apt-get; this is only for Debian and its kin")?;
    if !status.success() {
        bail!("apt-get {} ended with {status}", arguments.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_says_what_it_installs() {
        let words: Vec<&str> = include_str!("../../scripts/demo").split_whitespace().collect();
        for package in PACKAGES {
            assert!(words.contains(&package.name), "scripts/demo does not tell of {}", package.name);
        }
    }
}
