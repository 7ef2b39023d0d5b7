//! The OCI image layout: blobs named by their hashes, and an index that leads to them.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::{AUTHORITIES, Image};
use crate::cache::sha256_hex;
use crate::packages::require_program;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Seconds since 1970 that everything in an image is dated to (reproducible-builds.org); else nothing is dated.
const EPOCH: &str = "SOURCE_DATE_EPOCH";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Writes images of one name, one for each architecture, to `FOLDER/NAME.tar`. Another test may be reading that: it keeps what it
/// has opened.
pub(super) fn archive(folder: &Path, images: &[Image<'_>], compressed: bool) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    let name = images.first().context("there is no binary")?.name;
    let (mut blobs, mut manifests) = (Vec::new(), Vec::new());
    for image in images {
        let (mut manifest, parts) =
            manifest(image, compressed).with_context(|| format!("packing {}", image.binary.display()))?;
        let is_there = |other: &Value| other["platform"] == manifest["platform"];
        ensure!(!manifests.iter().any(is_there), "there are two binaries for {}", manifest["platform"]);
        manifest["annotations"] = json!({ "io.containerd.image.name": name });
        manifests.push(manifest);
        blobs.extend(parts);
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    });
    let file = folder.join(format!("{}.tar", name.replace(['/', ':'], "-")));
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let unfinished = file.with_extension(format!("{}-{number}.unfinished", std::process::id()));
    let created = File::create(&unfinished).with_context(|| format!("creating {}", unfinished.display()))?;
    let mut archive = tar::Builder::new(created);
    append(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644)?;
    append(&mut archive, "index.json", &serde_json::to_vec(&index)?, 0o644)?;
    for blob in &blobs {
        append(&mut archive, &format!("blobs/{}", digest(blob).replace(':', "/")), blob, 0o644)?;
    }
    archive.into_inner()?.flush()?;
    fs::rename(&unfinished, &file).with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

/// The descriptor of one image's manifest, and the blobs that belong to it, the manifest among them.
fn manifest(image: &Image<'_>, compressed: bool) -> Result<(Value, Vec<Vec<u8>>)> {
    let binary = fs::read(image.binary)?;
    let architecture = architecture(&binary)?;
    let plain = layer(image, &binary)?;
    let mut config = json!({
        "architecture": architecture, "os": "linux",
        "config": {
            "Entrypoint": image.entrypoint, "User": format!("{0}:{0}", image.user), "WorkingDir": "/",
            "Env": ["PATH=/bin:/"],
            "Labels": {
                "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
                "org.opencontainers.image.title": image.target.rsplit('/').next(),
                "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
            },
        },
        "rootfs": { "type": "layers", "diff_ids": [digest(&plain)] },
    });
    if let Some(seconds) = epoch()? {
        config["created"] = json!(jiff::Timestamp::from_second(i64::try_from(seconds)?)?);
    }
    let config = serde_json::to_vec(&config)?;
    let (layer, layer_type) = if compressed {
        (gzip(&plain)?, "application/vnd.oci.image.layer.v1.tar+gzip")
    } else {
        (plain, "application/vnd.oci.image.layer.v1.tar")
    };
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor(layer_type, &layer)],
    }))?;
    let mut reference = descriptor(MANIFEST, &manifest);
    reference["platform"] = json!({ "architecture": architecture, "os": "linux" });
    Ok((reference, vec![manifest, config, layer]))
}

fn layer(image: &Image<'_>, binary: &[u8]) -> Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    for (folder, mode) in
        [("bin/", 0o755), ("etc/", 0o755), ("etc/ssl/", 0o755), ("etc/ssl/certs/", 0o755), ("tmp/", 0o1777)]
    {
        let mut header = header(0, mode)?;
        header.set_entry_type(tar::EntryType::Directory);
        layer.append_data(&mut header, folder, std::io::empty())?;
    }
    append(&mut layer, image.target, binary, 0o755)?;
    let users = "root:x:0:0:root:/:/bin/sh\nnonroot:x:65532:65532:nonroot:/tmp:/bin/sh\n";
    append(&mut layer, "etc/passwd", users.as_bytes(), 0o644)?;
    if let Ok(authorities) = fs::read(AUTHORITIES) {
        append(&mut layer, AUTHORITIES.trim_start_matches('/'), &authorities, 0o644)?;
    }
    Ok(layer.into_inner()?)
}

/// By the program, which every Debian has; without its name and time.
fn gzip(plain: &[u8]) -> Result<Vec<u8>> {
    let mut command = Command::new(require_program("gzip")?);
    let mut gzip = command.args(["-9", "-n", "-c"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = gzip.stdin.take().context("gzip takes no input")?;
    // Both ways at once, or each waits for the other.
    let output = std::thread::scope(|scope| {
        let writer = scope.spawn(move || input.write_all(plain));
        let output = gzip.wait_with_output();
        writer.join().map_err(|_| anyhow::anyhow!("writing to gzip ended by a panic"))??;
        Ok::<_, anyhow::Error>(output?)
    })?;
    ensure!(output.status.success(), "gzip ended with {}", output.status);
    Ok(output.stdout)
}

fn append(archive: &mut tar::Builder<impl std::io::Write>, path: &str, content: &[u8], mode: u32) -> Result<()> {
    let mut header = header(content.len() as u64, mode)?;
    Ok(archive.append_data(&mut header, path, content)?)
}

/// No owner, and no time but the one that is asked for: the same files give the same image.
fn header(size: u64, mode: u32) -> Result<tar::Header> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(epoch()?.unwrap_or_default());
    Ok(header)
}

fn epoch() -> Result<Option<u64>> {
    let Ok(text) = std::env::var(EPOCH) else { return Ok(None) };
    let seconds = text.parse().with_context(|| format!("{EPOCH} is {text:?}, not a number of seconds"))?;
    Ok(Some(seconds))
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(content), "size": content.len() })
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", sha256_hex(&[content]))
}

/// The name in image configurations of the architecture that an ELF program is for, by its field `e_machine`.
fn architecture(binary: &[u8]) -> Result<&'static str> {
    ensure!(binary.starts_with(b"\x7fELF"), "it is no program for Linux");
    match binary.get(18..20) {
        Some([0x3e, 0]) => Ok("amd64"),
        Some([0xb7, 0]) => Ok("arm64"),
        other => bail!("it is for an unknown architecture ({other:?})"),
    }
}
