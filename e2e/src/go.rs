//! Building pinned Go programs into the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cache::{self, Lock};
use crate::catalogue::{Module, Program};
use crate::process::tail;

/// A line of progress is due this often.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);
/// No build takes longer than this, even on a slow machine.
const BUILD_DEADLINE: Duration = Duration::from_hours(1);

/// Builds `program` when the cache lacks it. `position` of `total` is told to who waits.
pub fn ensure_program(module: &Module, program: &Program, position: usize, total: usize) -> Result<()> {
    let folder = module.folder()?;
    let target = folder.join(program.name);
    if target.exists() {
        return Ok(());
    }
    let _lock = Lock::acquire(&folder)?;
    if target.exists() {
        return Ok(());
    }
    let source = write_module(module, &folder)?;
    let unfinished = folder.join(format!(".{}.unfinished", program.name));
    let log = folder.join(format!("{}.log", program.name));
    let mut command = go(&source)?;
    command.args(["build", "-trimpath", "-buildvcs=false"]);
    command.arg("-ldflags").arg(format!("-s -w {}", module.linker_flags)).arg("-o").arg(&unfinished);
    command.arg(program.package);
    let what = format!("building {} ({position} of {total})", program.name);
    run_with_progress(command, &what, program.usual_seconds, &log)?;
    fs::rename(&unfinished, &target).with_context(|| format!("putting {} in place", target.display()))
}

/// Copies the resource definitions that Contour needs (its own and those of the Gateway API, at the version in Contour's
/// dependencies) to `manifests/` beside Contour, and returns that folder.
pub fn ensure_manifests(contour: &Module) -> Result<PathBuf> {
    let folder = contour.folder()?;
    let target = folder.join("manifests");
    if target.exists() {
        return Ok(target);
    }
    let _lock = Lock::acquire(&folder)?;
    if target.exists() {
        return Ok(target);
    }
    let source = write_module(contour, &folder)?;
    let own = module_folder(&source, "github.com/projectcontour/contour")?.join("examples/contour/01-crds.yaml");
    let gateway = module_folder(&source, "sigs.k8s.io/gateway-api")?.join("config/crd/experimental");
    let unfinished = folder.join(".manifests.unfinished");
    fs::create_dir_all(&unfinished)?;
    fs::copy(&own, unfinished.join("contour.yaml")).with_context(|| format!("copying {}", own.display()))?;
    for entry in fs::read_dir(&gateway).with_context(|| format!("reading {}", gateway.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if name.starts_with("gateway.networking") {
            fs::copy(&path, unfinished.join(name))?;
        }
    }
    fs::rename(&unfinished, &target)?;
    Ok(target)
}

/// Where the Go module `path` lies in the module cache, seen from the module in `source`; downloads it when missing.
fn module_folder(source: &Path, path: &str) -> Result<PathBuf> {
    let mut download = go(source)?;
    let output = download.args(["mod", "download", "-json", path]).output().context("starting go mod download")?;
    if !output.status.success() {
        bail!("go mod download {path} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).context("reading go mod download -json")?;
    let folder = answer["Dir"].as_str().context("go mod download -json named no folder")?;
    Ok(PathBuf::from(folder))
}

fn write_module(module: &Module, folder: &Path) -> Result<PathBuf> {
    let source = folder.join("module");
    fs::create_dir_all(&source).with_context(|| format!("making the folder {}", source.display()))?;
    fs::write(source.join("go.mod"), module.go_mod)?;
    fs::write(source.join("go.sum"), module.go_sum)?;
    Ok(source)
}

fn go(source: &Path) -> Result<Command> {
    let root = cache::root()?;
    let mut command = Command::new("go");
    command.current_dir(source).env("CGO_ENABLED", "0").env("GOWORK", "off").env("GOFLAGS", "-modcacherw");
    command.env("GOCACHE", root.join("go-build")).env("GOMODCACHE", root.join("go-mod")).stdin(Stdio::null());
    Ok(command)
}

/// Runs `command` with its output in `log`; a line about it on standard error every few seconds.
pub fn run_with_progress(mut command: Command, what: &str, usual_seconds: u64, log: &Path) -> Result<()> {
    let output = fs::File::create(log).with_context(|| format!("creating {}", log.display()))?;
    command.stdout(output.try_clone()?).stderr(output).stdin(Stdio::null());
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("{what}: starting {program}; is it installed?"))?;
    let start = Instant::now();
    let mut told = start;
    eprintln!("{what}, usually about {usual_seconds} s from cold");
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > BUILD_DEADLINE {
            child.kill()?;
            child.wait()?;
            bail!("{what}: not done after {} s, see {}", BUILD_DEADLINE.as_secs(), log.display());
        }
        if told.elapsed() >= PROGRESS_EVERY {
            told = Instant::now();
            eprintln!("{what}, {} s, usually about {usual_seconds} s from cold", start.elapsed().as_secs());
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    if !status.success() {
        bail!("{what}: {program} ended with {status}; its last lines:\n{}", tail(log, 25));
    }
    Ok(())
}
