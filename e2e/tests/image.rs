//! The container image as it is shipped. No testbed is needed.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use certwright_e2e::image::{AUTHORITIES, save_certwright};
use serde_json::{Value, json};

/// The first bytes of a program for Linux on a machine of this number, and something behind them.
fn program(folder: &Path, name: &str, machine: u8) -> PathBuf {
    let file = folder.join(name);
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(18, 0);
    bytes.extend([machine, 0]);
    bytes.extend(b"certwright".repeat(1000));
    fs::write(&file, bytes).unwrap();
    file
}

/// The files of an archive by name.
fn files(archive: &[u8]) -> BTreeMap<String, (tar::Header, Vec<u8>)> {
    let mut archive = tar::Archive::new(archive);
    let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (entry.path().unwrap().display().to_string(), (entry.header().clone(), content))
    };
    archive.entries().unwrap().map(read).collect()
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = gzip.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let output = gzip.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    output.stdout
}

#[test]
fn two_builds_of_one_program_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let save = |into: &str, name: &str| {
        let saved = save_certwright(&folder.path().join(into), &[program(folder.path(), name, 0x3e)]).unwrap();
        (saved.file_name().unwrap().to_owned(), fs::read(saved).unwrap())
    };
    let (one, other) = (save("one", "a"), save("other", "b"));
    assert_eq!(one.0, other.0);
    assert!(one.1 == other.1, "the images differ");
    fs::write(folder.path().join("c"), [fs::read(folder.path().join("a")).unwrap(), vec![0]].concat()).unwrap();
    let changed = save_certwright(&folder.path().join("c-image"), &[folder.path().join("c")]).unwrap();
    assert!(fs::read(changed).unwrap() != one.1, "another program gives the same image");
}

#[test]
fn an_image_for_each_architecture_with_all_that_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let programs = [program(folder.path(), "amd64", 0x3e), program(folder.path(), "arm64", 0xb7)];
    let archive = fs::read(save_certwright(folder.path(), &programs).unwrap()).unwrap();
    let archive = files(&archive);
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap();
        let (_, content) = &archive[&format!("blobs/{}", digest.replace(':', "/"))];
        assert_eq!(json!(content.len()), descriptor["size"]);
        content.clone()
    };
    let index: Value = serde_json::from_slice(&archive["index.json"].1).unwrap();
    let manifests = index["manifests"].as_array().unwrap();
    let platforms: Vec<_> = manifests.iter().map(|manifest| manifest["platform"]["architecture"].clone()).collect();
    assert_eq!(platforms, ["amd64", "arm64"]);
    for (manifest, program) in manifests.iter().zip(&programs) {
        let manifest: Value = serde_json::from_slice(&blob(manifest)).unwrap();
        let config: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["config"]["Entrypoint"], json!(["/certwright"]));
        let layer = gunzip(&blob(&manifest["layers"][0]));
        let held = files(&layer);
        assert_eq!(held["certwright"].1, fs::read(program).unwrap());
        assert_eq!(held[AUTHORITIES.trim_start_matches('/')].1, fs::read(AUTHORITIES).unwrap());
        for (name, (header, _)) in &held {
            let owner = (header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap());
            assert_eq!(owner, (0, 0, 0), "{name}");
        }
        assert_eq!(held["certwright"].0.mode().unwrap(), 0o755);
    }
}

#[test]
fn what_is_no_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("script");
    fs::write(&text, "#!/bin/sh\n").unwrap();
    let refusal = format!("{:#}", save_certwright(folder.path(), &[text]).unwrap_err());
    assert!(refusal.contains("no program for Linux"), "{refusal}");
    let twice = [program(folder.path(), "one", 0x3e), program(folder.path(), "two", 0x3e)];
    let refusal = format!("{:#}", save_certwright(folder.path(), &twice).unwrap_err());
    assert!(refusal.contains("two binaries"), "{refusal}");
}
