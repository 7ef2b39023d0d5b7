//! Starting, entering and ending a testbed.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::launcher::{self, Launcher};
use crate::pebble::PebbleOptions;
use crate::process::Identity;
use crate::state::{Network, STATE_VARIABLE, State, Tier};
use crate::{cache, catalogue, cgroups, check, dns, ingress, kubernetes, network, node, packages, pebble};

/// How long a testbed may take to start once its programs are there.
const UP: Duration = Duration::from_mins(4);
/// How long processes may take to die of SIGKILL.
const DEATH: Duration = Duration::from_mins(3);

/// What a testbed is to be.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    pub tier: Tier,
    pub name: String,
    pub pebble: PebbleOptions,
}

/// Starts a testbed in `folder`; it stays until [`down`]. On failure, even when this process is killed, nothing but the
/// folder with its logs remains.
pub fn up(folder: &Path, options: &Options) -> Result<State> {
    make_ready(folder, options)?;
    let guard = Guard::start(folder)?;
    let state = up_guarded(folder, options)?;
    guard.dismiss()?;
    Ok(state)
}

/// The part of [`up`] that runs inside the new network namespace; `folder` holds the options.
pub async fn up_inside(folder: &Path) -> Result<()> {
    let options: Options = serde_json::from_slice(&fs::read(options_file(folder))?).context("reading the options")?;
    let mut launcher = Launcher::new(State::load(folder)?);
    network::configure().context("setting up the network namespace")?;
    dns::start(&mut launcher).await?;
    pebble::start(&mut launcher, &options.pebble).await?;
    let authority = kubernetes::start(&mut launcher).await?;
    if options.tier == Tier::Cluster {
        let definitions = ingress::begin(&launcher)?;
        node::start(&mut launcher, &authority).await?;
        node::wait_for_services().await?;
        ingress::start_cluster_dns(&mut launcher, &authority).await?;
        ingress::start(&mut launcher, &authority, definitions).await?;
    }
    launcher.finish()?;
    Ok(())
}

/// A command that runs inside the testbed: its network, its resolver, its programs first in PATH, `KUBECONFIG` of the
/// administrator and [`STATE_VARIABLE`].
pub fn command(state: &State, program: &[String]) -> Result<Command> {
    let mut command = network::enter(&state.network)?;
    // A mount namespace of its own, so that the testbed's resolver can lie over the machine's.
    command.arg(packages::require_program("unshare")?).args(["--mount", "--propagation", "slave", "sh", "-c"]);
    command.arg("mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"").arg(dns::resolver_file(&state.folder));
    command.args(program);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", state.folder.join("bin").display()));
    launcher::without_proxies(&mut command);
    command.env("KUBECACHEDIR", kubernetes::kubectl_cache(state));
    command.env("KUBECONFIG", &state.kubernetes()?.admin_kubeconfig);
    command.env(STATE_VARIABLE, State::file_in(&state.folder));
    Ok(command)
}

/// Replaces this process by one inside the testbed; returns only when that fails.
pub fn exec(folder: &Path, program: &[String]) -> Result<()> {
    let folder = folder.canonicalize().with_context(|| format!("there is no testbed in {}", folder.display()))?;
    let state = State::load(&folder)?;
    Err(command(&state, program)?.exec()).context("starting the command inside the testbed")
}

/// Ends the testbed in `folder`: every process of it, then what they leave. Does nothing when it is down already.
pub fn down(folder: &Path) -> Result<()> {
    let Ok(folder) = folder.canonicalize() else { return Ok(()) };
    if !State::file_in(&folder).exists() {
        return Ok(());
    }
    end(&State::load(&folder)?)?;
    fs::remove_file(State::file_in(&folder)).context("removing the state file")
}

/// Ends the testbed in `folder`, if there is one, and removes the folder.
pub fn remove(folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    down(folder)?;
    fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))
}

/// Starts a testbed, runs `program` inside, and ends the testbed whatever happens, even SIGKILL to this process. Gives
/// the exit code of `program`. The folder is removed when that is 0 and `folder` was not named.
pub async fn run(folder: Option<&Path>, options: &Options, program: &[String]) -> Result<ExitCode> {
    let own = folder.is_none();
    let folder = folder.map_or_else(temporary_folder, Path::to_owned);
    make_ready(&folder, options)?;
    let guard = Guard::start(&folder)?;
    let result = run_guarded(&folder, options, program).await;
    down(&folder)?;
    guard.dismiss()?;
    match &result {
        Ok(status) if status.success() && own => fs::remove_dir_all(&folder)?,
        _ => eprintln!("the testbed's logs: {}", folder.join("logs").display()),
    }
    let code = result?.code().unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Waits until whoever started this process says that all is well or is gone; in that case, ends the testbed in `folder`.
pub fn guard(folder: &Path) -> Result<()> {
    let mut said = Vec::new();
    std::io::stdin().take(64).read_to_end(&mut said)?;
    if said == DISMISSAL { Ok(()) } else { down(folder) }
}

const DISMISSAL: &[u8] = b"dismissed";

/// Another process that calls [`down`] when this one dies, or this value is dropped, without having dismissed it.
struct Guard(std::process::Child);

impl Guard {
    fn start(folder: &Path) -> Result<Self> {
        let mut command = Launcher::command(&std::env::current_exe()?)?;
        command.arg("guard").arg("--dir").arg(folder.canonicalize()?).stdin(Stdio::piped()).stdout(Stdio::null());
        Ok(Self(command.spawn().context("starting the guard")?))
    }

    fn dismiss(mut self) -> Result<()> {
        if let Some(mut pipe) = self.0.stdin.take() {
            pipe.write_all(DISMISSAL)?;
        }
        self.0.wait()?;
        Ok(())
    }
}

/// The folder and the programs, before anything is started.
fn make_ready(folder: &Path, options: &Options) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    ensure_down(folder)?;
    check::check(options.tier, folder)?;
    catalogue::ensure(options.tier)
}

fn ensure_down(folder: &Path) -> Result<()> {
    let place = folder.display();
    let up = State::file_in(folder).exists();
    ensure!(!up, "there is a testbed in {place} already: end it with `testbed down --dir {place}`");
    Ok(())
}

fn up_guarded(folder: &Path, options: &Options) -> Result<State> {
    let state = prepare(folder, options)?;
    let started = start(&state).and_then(|()| State::load(&state.folder));
    if started.is_err() {
        down(&state.folder)?;
    }
    started
        .with_context(|| format!("starting the testbed in {} (its logs: {})", folder.display(), state.logs().display()))
}

async fn run_guarded(folder: &Path, options: &Options, program: &[String]) -> Result<ExitStatus> {
    let (place, options) = (folder.to_owned(), options.clone());
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut starting = tokio::task::spawn_blocking(move || up_guarded(&place, &options));
    let started = tokio::select! {
        started = &mut starting => Some(started??),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    let Some(state) = started else {
        down(folder)?;
        // What was started meanwhile ends with the caller's `down`.
        let _ = starting.await;
        bail!("interrupted while starting");
    };
    let mut child = tokio::process::Command::from(command(&state, program)?).kill_on_drop(true).spawn()?;
    tokio::select! {
        status = child.wait() => return Ok(status?),
        // The terminal has sent the same to the child.
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {
            if let Some(identity) = child.id().and_then(Identity::of) {
                identity.signal(Signal::TERM);
            }
        }
    }
    match tokio::time::timeout(Duration::from_secs(10), child.wait()).await {
        Ok(status) => Ok(status?),
        Err(_) => bail!("interrupted; the command did not end within 10 s and was killed"),
    }
}

fn temporary_folder() -> PathBuf {
    std::env::temp_dir().join(format!("certwright-testbed-{}", std::process::id()))
}

fn options_file(folder: &Path) -> PathBuf {
    folder.join("options.json")
}

/// Makes the folder, the links to the programs, and the network namespace when root.
fn prepare(folder: &Path, options: &Options) -> Result<State> {
    fs::create_dir_all(folder.join("logs")).with_context(|| format!("making the folder {}", folder.display()))?;
    let folder = folder.canonicalize()?;
    forget_former(&folder)?;
    link_programs(&folder, options.tier)?;
    fs::write(options_file(&folder), serde_json::to_vec_pretty(options)?)?;
    let root = rustix::process::geteuid().is_root();
    let network = if root { Network::Named(namespace_name(&folder, &options.name)) } else { Network::Pending };
    let state = State {
        name: options.name.clone(),
        tier: options.tier,
        folder,
        network,
        node_address: network::NODE,
        spare_addresses: network::SPARE.to_vec(),
        dns: None,
        acme: None,
        kubernetes: None,
        cluster: None,
        processes: Vec::new(),
        ready: false,
    };
    state.save()?;
    Ok(state)
}

/// Unique by the folder's path, so that two testbeds never share one.
fn namespace_name(folder: &Path, name: &str) -> String {
    let hex = cache::sha256_hex(&[folder.as_os_str().as_encoded_bytes()]);
    format!("certwright-{name}-{hex:.8}")
}

fn link_programs(folder: &Path, tier: Tier) -> Result<()> {
    let programs = folder.join("bin");
    fs::create_dir_all(&programs)?;
    for (name, path) in catalogue::paths(tier)? {
        let link = programs.join(name);
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&path, &link).with_context(|| format!("linking {}", link.display()))?;
    }
    Ok(())
}

/// Removes what a former testbed in this folder has kept: it would pass for this one's.
fn forget_former(folder: &Path) -> Result<()> {
    for name in ["etcd", "containerd", "cni", "kubelet", "overlay"] {
        let kept = folder.join(name);
        if kept.exists() {
            fs::remove_dir_all(&kept).with_context(|| format!("removing {}", kept.display()))?;
        }
    }
    Ok(())
}

/// Makes the namespace and runs [`up_inside`] in it.
fn start(state: &State) -> Result<()> {
    let mut command = match &state.network {
        Network::Named(name) => {
            // A former testbed whose folder was removed while it was up has left its namespace.
            end(state)?;
            network::create(name)?;
            network::enter(&state.network)?
        }
        _ => network::enter_new()?,
    };
    command.arg(std::env::current_exe()?).arg("up-inside").arg("--dir").arg(&state.folder).stdin(Stdio::null());
    let mut child = command.spawn().context("entering the network namespace")?;
    let start = Instant::now();
    while start.elapsed() < UP {
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "a part of the testbed did not start");
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill()?;
    child.wait()?;
    bail!("not ready after {} s", UP.as_secs())
}

/// Kills every process, then removes what they leave outside the folder.
fn end(state: &State) -> Result<()> {
    kill_all(state)?;
    if state.tier == Tier::Cluster {
        cgroups::remove(&node::control_group(state))?;
    }
    if let Network::Named(name) = &state.network {
        network::delete(name)?;
    }
    Ok(())
}

/// Kills every process written down, every other one inside the network namespace, and those of pods, until none is
/// left.
fn kill_all(state: &State) -> Result<()> {
    let start = Instant::now();
    loop {
        let mut alive: Vec<Identity> = network::processes(&state.network);
        if state.tier == Tier::Cluster {
            alive.extend(cgroups::processes(&node::control_group(state)));
        }
        alive.extend(state.processes.iter().map(|record| record.identity).filter(|identity| identity.is_alive()));
        // The first process goes last where it holds the namespace, or the others could not be found any more.
        let holder = match state.network {
            Network::OfProcess(holder) => Some(holder),
            _ => None,
        };
        let others = alive.iter().any(|identity| Some(*identity) != holder);
        for identity in alive.iter().filter(|identity| !others || Some(**identity) != holder) {
            identity.signal(Signal::KILL);
        }
        if alive.is_empty() {
            return Ok(());
        }
        ensure!(start.elapsed() < DEATH, "processes of the testbed do not die: {alive:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
