//! The program itself on the command line: what it says, and with which code it ends.
#![allow(clippy::unwrap_used)]

use std::process::Command;

/// The exit code and the words on standard error of `certwright controller` with these flags.
fn run(flags: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_certwright"));
    command.arg("controller").args(flags).env_remove("KUBECONFIG").env_remove("RUST_LOG").env("HOME", "/nonexistent");
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_is_wrong_ends_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    std::fs::write(
        &file,
        "apiVersion: controller.config.cert-manager.io/v1alpha1\nkind: ControllerConfiguration\nloging: {}\n",
    )
    .unwrap();
    let config = format!("--config={}", file.display());
    for (flags, expected) in [
        (&["--enable-gateway-apis"][..], "a similar argument exists: '--enable-gateway-api'"),
        (&["--dns01-check-retry-period=soon"], "invalid value 'soon' for '--dns01-check-retry-period <DURATION>'"),
        (&["--feature-gates=Sharding=true"], "there is no feature gate \"Sharding\""),
        (&[&*config], "config.yaml: loging: there is no such field (did you mean logging?)"),
        (&["--config=/nonexistent"], "/nonexistent: No such file or directory"),
    ] {
        let (code, words) = run(flags);
        assert_eq!(code, Some(2), "{flags:?}: {words}");
        assert!(words.starts_with("error: ") && words.contains(expected), "{flags:?}: {words}");
    }
}

#[test]
fn flags_without_effect_are_told_of_in_the_log() {
    let flags = ["--kubeconfig=/nonexistent", "-v=1", "--kube-api-qps", "50", "--kube-api-burst=9"];
    let (code, words) = run(&flags);
    assert_eq!(code, Some(1), "{words}");
    for expected in [
        "WARN certwright::cli::controller: --kube-api-qps is without effect: ",
        "WARN certwright::cli::controller: --kube-api-burst is without effect: ",
        "certwright: error: cannot read the kubeconfig: ",
    ] {
        assert_eq!(words.matches(expected).count(), 1, "{expected}: {words}");
    }
    let (_, quiet) = run(&["--kubeconfig=/nonexistent", "-v=0", "--kube-api-qps", "50"]);
    assert!(!quiet.contains("without effect"), "{quiet}");
}

/// What is said of traces with this in the environment.
#[cfg(not(feature = "otlp"))]
fn of_traces(environment: &[(&str, &str)]) -> usize {
    let mut command = Command::new(env!("CARGO_BIN_EXE_certwright"));
    command.args(["controller", "--kubeconfig=/nonexistent"]).env_remove("RUST_LOG").envs(environment.iter().copied());
    let words = String::from_utf8(command.output().unwrap().stderr).unwrap();
    words.matches("asks for traces, which this build does not have").count()
}

#[cfg(not(feature = "otlp"))]
#[test]
fn a_build_without_traces_says_so_if_somebody_wants_them() {
    let address = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
    assert_eq!(of_traces(&[address]), 1);
    assert_eq!(of_traces(&[]), 0);
    assert_eq!(of_traces(&[address, ("OTEL_SDK_DISABLED", "true")]), 0);
}
