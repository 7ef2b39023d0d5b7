//! Control groups: the testbed's pods live under a group of its own, in every hierarchy the machine has.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::process::Identity;

/// Makes the group `name` at the top of every hierarchy.
pub fn create(name: &str) -> Result<()> {
    for top in hierarchies()? {
        let group = top.join(name);
        fs::create_dir_all(&group).with_context(|| format!("making the control group {}", group.display()))?;
        // In version 1 a new cpuset is empty, and nothing can run in an empty one.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let (Ok(value), true) = (fs::read(top.join(file)), group.join(file).exists()) {
                let _ = fs::write(group.join(file), value);
            }
        }
    }
    Ok(())
}

/// How long the threads of a process may take to end whose first one has ended.
const LAST_THREADS: Duration = Duration::from_mins(1);

/// Removes the group `name` and all below it. Its processes must have ended; the last of their threads are waited for.
pub fn remove(name: &str) -> Result<()> {
    for top in hierarchies()? {
        let group = top.join(name);
        let start = Instant::now();
        while group.exists() {
            match remove_tree(&group) {
                // Not found is what somebody else has just removed.
                Err(error)
                    if matches!(error.kind(), ErrorKind::ResourceBusy | ErrorKind::NotFound)
                        && start.elapsed() < LAST_THREADS =>
                {
                    std::thread::sleep(Duration::from_millis(10));
                }
                removed => removed.with_context(|| format!("removing the control group {}", group.display()))?,
            }
        }
    }
    Ok(())
}

/// The processes in the group `name` and below.
pub fn processes(name: &str) -> Vec<Identity> {
    let mut groups: Vec<PathBuf> = hierarchies().unwrap_or_default().iter().map(|top| top.join(name)).collect();
    let mut found = Vec::new();
    while let Some(group) = groups.pop() {
        let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        found.extend(members.lines().filter_map(|line| Identity::of(line.parse().ok()?)));
        groups.extend(children(&group));
    }
    found
}

/// Where the hierarchies of version 1 and 2 are mounted.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("reading /proc/self/mountinfo")?;
    Ok(mounts.lines().filter_map(hierarchy).collect())
}

/// The mount point in a line of mountinfo, when it is that of a hierarchy.
fn hierarchy(line: &str) -> Option<PathBuf> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let kind = filesystem.split(' ').next()?;
    (kind == "cgroup" || kind == "cgroup2").then(|| mount.split(' ').nth(4).map(PathBuf::from))?
}

fn remove_tree(group: &Path) -> std::io::Result<()> {
    for child in children(group) {
        remove_tree(&child)?;
    }
    fs::remove_dir(group)
}

fn children(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().filter_map(Result::ok);
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_hierarchies_of_both_versions() {
        let first = "33 24 0:29 / /sys/fs/cgroup/memory rw,relatime shared:15 - cgroup cgroup rw,memory";
        assert_eq!(hierarchy(first), Some(PathBuf::from("/sys/fs/cgroup/memory")));
        let second = "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
        assert_eq!(hierarchy(second), Some(PathBuf::from("/sys/fs/cgroup")));
        assert_eq!(hierarchy("24 1 0:22 / /sys rw - sysfs sysfs rw"), None);
    }
}
