//! Java's keytool as an independent witness in tests, next to [`crate::pki::openssl`].

use std::{path::Path, process::Command};

/// Runs `keytool` with `arguments` on the keystore file, the password from the environment (as an argument it would be
/// in the encoding of the locale). Returns what it prints, `Err` if it fails, `None` on a machine without it.
pub(super) fn run(arguments: &[&str], kind: &str, file: &Path, password: &str) -> Option<Result<String, String>> {
    let mut command = Command::new("keytool");
    command.args(arguments).arg("-keystore").arg(file).args(["-storetype", kind, "-storepass:env", "STORE_PASSWORD"]);
    command.env("STORE_PASSWORD", password).env("LC_ALL", "C.UTF-8");
    let Ok(output) = command.output() else {
        println!("skipped: keytool is not installed");
        return None;
    };
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    // What it complains about goes to the same place.
    Some(if output.status.success() { Ok(printed) } else { Err(printed) })
}
