//! Testbeds do not meet, and leave nothing. These start testbeds themselves; the programs must be there
//! (`testbed tools`): `cargo test -p certwright-e2e --test testbed_lifecycle -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use certwright_e2e::State;
use certwright_e2e::state::Network;

/// Longer than a testbed may take to start.
const PATIENCE: Duration = Duration::from_mins(5);

fn testbed(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts `testbed run` in `folder` with a shell script.
fn run(folder: &Path, script: &str) -> Child {
    testbed(&["run", "--dir", folder.to_str().unwrap(), "--", "sh", "-c", script]).spawn().unwrap()
}

fn finish(mut child: Child) -> Output {
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("testbed run did not end");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.wait_with_output().unwrap()
}

fn wait_for(what: &str, mut look: impl FnMut() -> bool) {
    let start = Instant::now();
    while !look() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Asserts that no process of `state` runs and its network is gone.
fn assert_nothing_left(state: &State) {
    for record in &state.processes {
        assert!(!record.identity.is_alive(), "{} still runs", record.name);
    }
    if let Network::Named(name) = &state.network {
        assert!(!PathBuf::from("/var/run/netns").join(name).exists(), "{name} is still there");
    }
    assert!(!State::file_in(&state.folder).exists());
}

#[test]
#[ignore = "starts testbeds"]
fn two_testbeds_side_by_side_never_meet() {
    let (left, right) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // Each makes a namespace of its own name, waits until the other has done so, and lists.
    let script = |name: &str, me: &Path, other: &Path| {
        let (me, other) = (me.display(), other.display());
        format!(
            "kubectl create namespace only-{name} >&2 && touch {me}/made && cp $CERTWRIGHT_TESTBED {me}/copy && \
             i=0 && while [ ! -e {other}/made ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done && \
             kubectl get namespaces -o name | grep only-"
        )
    };
    let first = run(left.path(), &script("left", left.path(), right.path()));
    let second = run(right.path(), &script("right", right.path(), left.path()));
    for (child, name, folder) in [(first, "left", left.path()), (second, "right", right.path())] {
        let output = finish(child);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let seen = String::from_utf8_lossy(&output.stdout);
        assert_eq!(seen.trim(), format!("namespace/only-{name}"), "{said}");
        assert_nothing_left(&State::load_file(&folder.join("copy")).unwrap());
    }
}

#[test]
#[ignore = "starts testbeds"]
fn the_exit_code_is_that_of_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let output = finish(run(folder.path(), "cp $CERTWRIGHT_TESTBED \"$CERTWRIGHT_TESTBED.copy\"; exit 7"));
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
    assert_nothing_left(&State::load_file(&folder.path().join("state.json.copy")).unwrap());
}

#[test]
#[ignore = "starts testbeds"]
fn a_killed_run_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = run(folder.path(), "sleep 300");
    let ready = || State::load(folder.path()).is_ok_and(|state| state.ready);
    wait_for("the testbed", ready);
    let state = State::load(folder.path()).unwrap();
    assert!(state.processes.iter().all(|record| record.identity.is_alive()));
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for("the testbed to be gone", || !State::file_in(folder.path()).exists());
    assert_nothing_left(&state);
}

/// With a pod running, because its mounts, shim and control groups are what is easily left.
#[test]
#[ignore = "starts a testbed of tier cluster; needs root"]
fn a_killed_run_of_tier_cluster_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let script = "kubectl wait --for=create serviceaccount/default --timeout=60s && \
                  kubectl run it --image=docker.io/local/busybox:1 --image-pull-policy=Never --command -- \
                  /bin/busybox sleep 300 && kubectl wait --for=condition=Ready pod/it --timeout=60s && \
                  touch $(dirname $CERTWRIGHT_TESTBED)/runs && sleep 300";
    let directory = folder.path().to_str().unwrap();
    let mut child =
        testbed(&["run", "--tier", "cluster", "--dir", directory, "--", "sh", "-c", script]).spawn().unwrap();
    wait_for("the pod", || folder.path().join("runs").exists() || child.try_wait().unwrap().is_some());
    let state = State::load(folder.path()).unwrap();
    let group = state.cluster().unwrap().control_group.clone();
    assert!(!certwright_e2e::cgroups::processes(&group).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for("the testbed to be gone", || !State::file_in(folder.path()).exists());
    assert_nothing_left(&state);
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(directory) && !mounts.contains(&group), "{mounts}");
    // Whoever has ended it ends last.
    wait_for("every process of it to end", || {
        std::fs::read_dir("/proc").unwrap().all(|process| {
            let command = std::fs::read(process.unwrap().path().join("cmdline")).unwrap_or_default();
            !String::from_utf8_lossy(&command).contains(directory)
        })
    });
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").unwrap() {
        assert!(!hierarchy.unwrap().path().join(&group).exists());
    }
}

#[test]
#[ignore = "starts testbeds"]
fn a_testbed_that_is_up_can_be_entered_and_ended_twice() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().to_str().unwrap();
    assert!(finish(testbed(&["up", "--dir", directory]).spawn().unwrap()).status.success());
    let state = State::load(folder.path()).unwrap();
    let output =
        finish(testbed(&["exec", "--dir", directory, "--", "kubectl", "get", "--raw", "/readyz"]).spawn().unwrap());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ok");
    assert!(!finish(testbed(&["up", "--dir", directory]).spawn().unwrap()).status.success(), "it was up already");
    assert!(finish(testbed(&["status", "--dir", directory]).spawn().unwrap()).status.success());
    for _ in 0..2 {
        assert!(finish(testbed(&["down", "--dir", directory]).spawn().unwrap()).status.success());
        assert_nothing_left(&state);
    }
    assert!(!finish(testbed(&["status", "--dir", directory]).spawn().unwrap()).status.success());
}

/// On the tier that has no node: there the demo lays down by itself what elsewhere `deploy/` does.
#[test]
#[ignore = "starts testbeds"]
fn the_demo_issues_the_certificates_of_the_examples() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("demo").display().to_string();
    let binary = certwright_e2e::controller::binary().unwrap().display().to_string();
    let demo = ["demo", "--tier", "api", "--dir", &directory, "--binary", &binary];
    let output = testbed(&demo).output().unwrap();
    let (said, trouble) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{trouble}");
    for expected in ["Leaving out examples/http01.yaml", "wildcard-tls", "internal-tls", "To take all of it away"] {
        assert!(said.contains(expected), "{expected:?} is not in {said}");
    }
    assert!(finish(testbed(&["down", "--dir", &directory]).spawn().unwrap()).status.success());
}
