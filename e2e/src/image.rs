//! Container images from static binaries, without a container engine and without a registry: an OCI image layout
//! (image-spec v1) in a tar file. The same files give the same image, byte by byte.

mod layout;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::network::run;
use crate::packages::require_program;
use crate::process::Identity;
use crate::state::State;

/// The name under which `testbed image` imports a certwright.
pub const CERTWRIGHT: &str = "docker.io/library/certwright:dev";
/// busybox, for tests that need a small web server or a shell.
pub const BUSYBOX: &str = "docker.io/local/busybox:1";

/// Where Debian's package `ca-certificates` has them, and where programs in the image look for them.
pub const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// An image of one layer.
pub struct Image<'a> {
    /// Full name with registry host and tag: the kubelet does not find others.
    pub name: &'a str,
    /// The static program.
    pub binary: &'a Path,
    /// Where it lies in the image.
    pub target: &'a str,
    /// What runs when a pod says nothing.
    pub entrypoint: &'a [&'a str],
    /// User and group number.
    pub user: u32,
}

/// Makes the image of the certwright in `binary` and gives it to the testbed's containerd as [`CERTWRIGHT`].
pub fn import_certwright(state: &State, binary: &Path) -> Result<()> {
    import(state, &certwright(binary))
}

/// Writes the image of certwright to an archive in `folder`, for any container runtime to load and any registry to take;
/// its path is returned. With binaries for several architectures it is an image for each of them. Layers are compressed.
pub fn save_certwright(folder: &Path, binaries: &[PathBuf]) -> Result<PathBuf> {
    ensure!(Path::new(AUTHORITIES).exists(), "there is no {AUTHORITIES}: install the package ca-certificates");
    let images: Vec<Image<'_>> = binaries.iter().map(|binary| certwright(binary)).collect();
    layout::archive(folder, &images, true)
}

fn certwright(binary: &Path) -> Image<'_> {
    Image { name: CERTWRIGHT, binary, target: "certwright", entrypoint: &["/certwright"], user: 65532 }
}

/// Makes `image` and gives it to the testbed's containerd.
pub fn import(state: &State, image: &Image<'_>) -> Result<()> {
    let containerd = state.processes.iter().find(|record| record.name == "containerd");
    let containerd = containerd.context("this testbed has no containerd: images are for tier cluster")?;
    let archive = layout::archive(&state.folder.join("images"), std::slice::from_ref(image), false)?;
    import_archive(containerd.identity, &socket(&state.folder), &archive)
}

/// The socket of the testbed's containerd.
pub fn socket(folder: &Path) -> PathBuf {
    folder.join("containerd.sock")
}

/// Gives an image archive to the containerd that is process `containerd`, from within its mount namespace.
fn import_archive(containerd: Identity, socket: &Path, archive: &Path) -> Result<()> {
    let mut command = Command::new(require_program("nsenter")?);
    command.arg(format!("--target={}", containerd.pid)).args(["--mount", "--net"]);
    command.arg(require_program("ctr")?).arg("--address").arg(socket).args([
        "--namespace",
        "k8s.io",
        "--timeout",
        "300s",
    ]);
    run(command.args(["images", "import"]).arg(archive))
}
