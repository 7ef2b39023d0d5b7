//! The Dockerfile, built by buildah as root without a registry: its base image is made here, with a stand-in for Cargo that gives a
//! program which is there already. Whether that compiles is tested elsewhere. This runs with the tests of tier cluster:
//! `testbed run --tier cluster -- cargo test -p certwright-e2e --test dockerfile -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use certwright_e2e::image::AUTHORITIES;
use certwright_e2e::packages::require_program;
use serde_json::{Value, json};

const CARGO: &str = r#"#!/bin/sh
set -e
test "$*" = "build --locked --release --package certwright --target x86_64-unknown-linux-gnu --features otlp"
test -f Cargo.toml
mkdir -p target/x86_64-unknown-linux-gnu/release
cp /bin/busybox target/x86_64-unknown-linux-gnu/release/certwright
"#;

/// buildah with a store of its own.
struct Buildah<'a>(&'a Path);

impl Buildah<'_> {
    fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(require_program("buildah").unwrap());
        command.arg("--root").arg(self.0.join("store")).arg("--runroot").arg(self.0.join("run"));
        command.args(["--storage-driver", "vfs"]).args(arguments);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "buildah {arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// The files of a base image: a shell, and what the Dockerfile runs.
fn base(folder: &Path) {
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::create_dir_all(folder.join("tmp")).unwrap();
    fs::copy(require_program("busybox").unwrap(), bin.join("busybox")).unwrap();
    for applet in ["sh", "cp", "mkdir", "chmod", "printf", "echo", "test"] {
        symlink("busybox", bin.join(applet)).unwrap();
    }
    let authorities = folder.join(AUTHORITIES.trim_start_matches('/'));
    fs::create_dir_all(authorities.parent().unwrap()).unwrap();
    fs::write(authorities, "the CAs of the base image\n").unwrap();
    for (name, script) in [("apt-get", "#!/bin/sh\n"), ("cargo", CARGO)] {
        fs::write(bin.join(name), script).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(folder.join("Dockerfile"), "FROM scratch\nCOPY bin /bin\nCOPY etc /etc\nCOPY tmp /tmp\nENV PATH=/bin\n")
        .unwrap();
}

#[test]
#[ignore = "runs as root, with buildah"]
fn the_dockerfile_makes_the_image() {
    let folder = tempfile::tempdir().unwrap();
    let (buildah, files, source) = (Buildah(folder.path()), folder.path().join("base"), folder.path().join("source"));
    base(&files);
    fs::create_dir_all(&source).unwrap();
    fs::write(source.join("Cargo.toml"), "").unwrap();
    let build = ["build", "--isolation", "chroot"];
    buildah.run(&[&build[..], &["--tag", "localhost/base", files.to_str().unwrap()]].concat());
    let dockerfile = concat!(env!("CARGO_MANIFEST_DIR"), "/../Dockerfile");
    let with_base = ["--build-arg", "BUILDER=localhost/base", "--build-arg", "FEATURES=otlp"];
    let what = ["--tag", "localhost/certwright", "--file", dockerfile, source.to_str().unwrap()];
    buildah.run(&[&build[..], &with_base, &what].concat());

    let told: Value =
        serde_json::from_str(&buildah.run(&["inspect", "--type", "image", "localhost/certwright"])).unwrap();
    let config = &told["OCIv1"]["config"];
    assert_eq!((&config["User"], &config["Entrypoint"]), (&json!("65532:65532"), &json!(["/certwright"])));
    assert_eq!(told["OCIv1"]["rootfs"]["diff_ids"].as_array().unwrap().len(), 1, "nothing of the base image is in it");

    let container = buildah.run(&["from", "localhost/certwright"]);
    let root = buildah.run(&["mount", container.trim()]);
    let root = Path::new(root.trim());
    assert_eq!(fs::metadata(root.join("certwright")).unwrap().permissions().mode() & 0o7777, 0o755);
    assert_eq!(fs::metadata(root.join("tmp")).unwrap().permissions().mode() & 0o7777, 0o1777);
    let authorities = fs::read_to_string(root.join(AUTHORITIES.trim_start_matches('/'))).unwrap();
    assert_eq!(authorities, "the CAs of the base image\n");
    assert!(fs::read_to_string(root.join("etc/passwd")).unwrap().contains("nonroot:x:65532:65532:"));
    let mut names: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["certwright", "etc", "tmp"]);
    buildah.run(&["umount", container.trim()]);
}
