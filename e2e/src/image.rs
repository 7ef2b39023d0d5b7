//! Container images from static binaries, without a registry: an OCI image layout (image-spec v1) in a tar file.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::cache::sha256_hex;
use crate::network::run;
use crate::packages::require_program;
use crate::process::Identity;
use crate::state::State;

/// The name under which `testbed image` imports a certwright.
pub const CERTWRIGHT: &str = "docker.io/library/certwright:dev";
/// busybox, for tests that need a small web server or a shell.
pub const BUSYBOX: &str = "docker.io/local/busybox:1";

const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

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

/// Writes the image of the certwright in `binary` to an archive in `folder`, for any container runtime to load; its path
/// is returned.
pub fn save_certwright(folder: &Path, binary: &Path) -> Result<PathBuf> {
    archive(folder, &certwright(binary))
}

fn certwright(binary: &Path) -> Image<'_> {
    Image { name: CERTWRIGHT, binary, target: "certwright", entrypoint: &["/certwright"], user: 65532 }
}

/// Makes `image` and gives it to the testbed's containerd.
pub fn import(state: &State, image: &Image<'_>) -> Result<()> {
    let containerd = state.processes.iter().find(|record| record.name == "containerd");
    let containerd = containerd.context("this testbed has no containerd: images are for tier cluster")?;
    let archive = archive(&state.folder.join("images"), image)?;
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
        "60s",
    ]);
    run(command.args(["images", "import"]).arg(archive))
}

/// Writes the layout to `FOLDER/NAME.tar`.
fn archive(folder: &Path, image: &Image<'_>) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    let layer = layer(image).with_context(|| format!("packing {}", image.binary.display()))?;
    let config = json!({
        "architecture": architecture(), "os": "linux",
        "config": {
            "Entrypoint": image.entrypoint, "User": format!("{0}:{0}", image.user), "WorkingDir": "/",
            "Env": ["PATH=/bin:/"],
        },
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    });
    let config = serde_json::to_vec(&config)?;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    });
    let manifest = serde_json::to_vec(&manifest)?;
    let mut reference = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    reference["annotations"] = json!({ "io.containerd.image.name": image.name });
    reference["platform"] = json!({ "architecture": architecture(), "os": "linux" });
    let index = serde_json::to_vec(&json!({ "schemaVersion": 2, "manifests": [reference] }))?;

    let file = folder.join(format!("{}.tar", image.name.replace(['/', ':'], "-")));
    let mut archive = tar::Builder::new(File::create(&file).with_context(|| format!("creating {}", file.display()))?);
    append(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644)?;
    append(&mut archive, "index.json", &index, 0o644)?;
    for blob in [&manifest, &config, &layer] {
        append(&mut archive, &format!("blobs/{}", digest(blob).replace(':', "/")), blob, 0o644)?;
    }
    archive.into_inner()?.flush()?;
    Ok(file)
}

fn layer(image: &Image<'_>) -> Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    for (folder, mode) in
        [("bin/", 0o755), ("etc/", 0o755), ("etc/ssl/", 0o755), ("etc/ssl/certs/", 0o755), ("tmp/", 0o1777)]
    {
        let mut header = header(0, mode);
        header.set_entry_type(tar::EntryType::Directory);
        layer.append_data(&mut header, folder, std::io::empty())?;
    }
    append(&mut layer, image.target, &fs::read(image.binary)?, 0o755)?;
    let users = "root:x:0:0:root:/:/bin/sh\nnonroot:x:65532:65532:nonroot:/tmp:/bin/sh\n";
    append(&mut layer, "etc/passwd", users.as_bytes(), 0o644)?;
    if let Ok(authorities) = fs::read(AUTHORITIES) {
        append(&mut layer, AUTHORITIES.trim_start_matches('/'), &authorities, 0o644)?;
    }
    Ok(layer.into_inner()?)
}

fn append(archive: &mut tar::Builder<impl std::io::Write>, path: &str, content: &[u8], mode: u32) -> Result<()> {
    let mut header = header(content.len() as u64, mode);
    Ok(archive.append_data(&mut header, path, content)?)
}

/// No time, no owner: the same files give the same image.
fn header(size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(mode);
    header
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(content), "size": content.len() })
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", sha256_hex(&[content]))
}

/// The name of this machine's architecture in image configurations.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
