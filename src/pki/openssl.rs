//! OpenSSL as an independent witness in tests: it reads what we write and writes what we read.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

/// Runs `openssl` with `input` and returns its standard output, or `None` (with a message) on a machine without it.
///
/// # Panics
/// When OpenSSL fails.
pub(super) fn run(arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let (output, errors) = attempt(arguments, input)?;
    Some(output.unwrap_or_else(|| panic!("openssl {arguments:?} failed: {errors}")))
}

/// As [`run`], but OpenSSL may fail: then the output is `None`.
pub(super) fn attempt(arguments: &[&str], input: &[u8]) -> Option<(Option<Vec<u8>>, String)> {
    let pipes = || Stdio::piped();
    let child = Command::new("openssl").args(arguments).stdin(pipes()).stdout(pipes()).stderr(pipes()).spawn();
    let Ok(mut child) = child else {
        println!("skipped: openssl is not installed");
        return None;
    };
    child.stdin.take().expect("stdin is piped").write_all(input).expect("openssl reads its input");
    let output = child.wait_with_output().expect("openssl ends");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    Some((output.status.success().then_some(output.stdout), errors))
}

/// As [`run`], for text.
pub(super) fn text(arguments: &[&str], input: &[u8]) -> Option<String> {
    run(arguments, input).map(|output| String::from_utf8_lossy(&output).into_owned())
}
