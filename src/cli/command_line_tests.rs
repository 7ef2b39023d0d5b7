//! Command lines and configuration files together.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::*;

const HEAD: &str = "apiVersion: controller.config.cert-manager.io/v1alpha1\nkind: ControllerConfiguration\n";

/// What becomes of a command line, with `FILE` for the name of a file with this text.
fn arguments_with(file: &str, arguments: &[&str]) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    std::fs::write(&path, format!("{HEAD}{file}")).unwrap();
    let arguments = given(arguments, &path);
    let command = command();
    let matches = command.clone().try_get_matches_from(&arguments).map_err(|error| error.to_string())?;
    let flags = matches.subcommand_matches(PROGRAMS[0].name).unwrap();
    let further = PROGRAMS[0].further(&command, flags).map_err(|error| error.to_string())?;
    let all = PROGRAMS[0].with(further, &arguments);
    command.clone().try_get_matches_from(&all).map_err(|error| error.to_string())?;
    Ok(all
        .into_iter()
        .skip(2)
        .map(|argument| argument.into_string().unwrap())
        .filter(|a| !a.starts_with("--config"))
        .collect())
}

fn given(arguments: &[&str], path: &Path) -> Vec<OsString> {
    let words = ["certwright", "controller"].iter().chain(arguments);
    words.map(|word| word.replace("FILE", path.to_str().unwrap()).into()).collect()
}

fn notes(arguments: &[&str]) -> Vec<String> {
    let cli = read(&given(arguments, Path::new(""))).unwrap();
    let crate::cli::Command::Controller(controller) = cli.command else { panic!() };
    controller.notes
}

#[test]
fn the_command_is_sound() {
    command().debug_assert();
}

/// Templates of charts leave them so.
#[test]
fn flags_without_a_value_are_as_if_they_were_not_there() {
    for flag in
        ["acme-http01-solver-extra-labels", "acme-http01-solver-nameservers", "config", "dns01-provider-endpoints"]
            .into_iter()
            .chain([
                "dns01-recursive-nameservers",
                "feature-gates",
                "kubeconfig",
                "metrics-tls-cipher-suites",
                "pod-ip",
            ])
    {
        for arguments in [vec![format!("--{flag}=")], vec![format!("--{flag}"), String::new()]] {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            assert!(read(&given(&arguments, Path::new(""))).is_ok(), "{arguments:?}");
        }
    }
    assert!(read(&given(&["--concurrent-workers="], Path::new(""))).is_err());
}

#[test]
fn every_field_of_the_file_stands_for_a_flag() {
    let command = command();
    for program in PROGRAMS {
        let flags: Vec<_> = program.subcommand(&command).get_arguments().filter_map(Arg::get_long).collect();
        for flag in program.file.flags() {
            assert!(flags.contains(&flag), "{}: {flag}", program.name);
        }
    }
}

/// Those of cert-manager's controller, as its manual lists them.
#[test]
fn every_flag_of_cert_manager_is_taken() {
    let all = "acme-http01-solver-extra-labels=a=b acme-http01-solver-image=x acme-http01-solver-nameservers=192.0.2.1:53 \
        acme-http01-solver-resource-limits-cpu=1 acme-http01-solver-resource-limits-memory=1 \
        acme-http01-solver-resource-request-cpu=1 acme-http01-solver-resource-request-memory=1 \
        acme-http01-solver-run-as-non-root acme-http01-solver-runtime-class-name=x auto-certificate-annotations=x \
        certificate-request-maximum-backoff-duration=1h certificate-request-minimum-backoff-duration=1h \
        cluster-issuer-ambient-credentials cluster-resource-namespace=x concurrent-workers=5 controllers=* \
        copied-annotation-prefixes=* default-issuer-group=x default-issuer-kind=x default-issuer-name=x \
        dns01-check-retry-period=10s dns01-recursive-nameservers=192.0.2.1:53 dns01-recursive-nameservers-only \
        enable-certificate-owner-ref enable-gateway-api enable-gateway-api-listenerset enable-profiling \
        extra-certificate-annotations=x feature-gates=OtherNames=true gateway-api-extra-protocols=x \
        internal-healthz-leader-election-timeout=20s internal-healthz-listen-address=0.0.0.0:9403 \
        issuer-ambient-credentials kube-api-burst=50 kube-api-qps=20 kubeconfig=x leader-elect \
        leader-election-lease-duration=60s leader-election-namespace=x leader-election-renew-deadline=40s \
        leader-election-retry-period=15s logging-format=json master=x max-certificate-bundle-size=1 \
        max-certificate-chain-length=1 max-certificate-size=1 max-concurrent-challenges=60 max-private-key-size=1 \
        metrics-dynamic-serving-ca-secret-name=x metrics-dynamic-serving-ca-secret-namespace=x \
        metrics-dynamic-serving-dns-names=x metrics-dynamic-serving-leaf-duration=168h \
        metrics-listen-address=0.0.0.0:9402 metrics-tls-cert-file=x metrics-tls-cipher-suites=TLS_AES_128_GCM_SHA256 \
        metrics-tls-min-version=VersionTLS12 metrics-tls-private-key-file=x namespace=x profiler-address=localhost:6060 \
        v=2 vmodule=x=2";
    let words: Vec<_> = all.split_whitespace().map(|flag| format!("--{flag}")).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    command().try_get_matches_from(given(&words, Path::new(""))).unwrap();
}

/// Those of cert-manager's webhook.
#[test]
fn every_flag_of_cert_managers_webhook_is_taken() {
    let all = "api-server-host=https://a.test client-ca-path=x client-subject-names=a,b config=FILE \
        dynamic-serving-ca-secret-name=x dynamic-serving-ca-secret-namespace=x dynamic-serving-dns-names=x \
        dynamic-serving-leaf-duration=168h enable-client-verification enable-profiling feature-gates=OtherNames=true \
        healthz-port=6080 kubeconfig=x logging-format=json max-certificate-bundle-size=1 max-certificate-chain-length=1 \
        max-certificate-size=1 max-private-key-size=1 metrics-dynamic-serving-ca-secret-name=x \
        metrics-dynamic-serving-ca-secret-namespace=x metrics-dynamic-serving-dns-names=x \
        metrics-dynamic-serving-leaf-duration=168h metrics-listen-address=0.0.0.0:9402 metrics-tls-cert-file=x \
        metrics-tls-cipher-suites=TLS_AES_128_GCM_SHA256 metrics-tls-min-version=VersionTLS12 \
        metrics-tls-private-key-file=x profiler-address=localhost:6060 secure-port=6443 tls-cert-file=x \
        tls-cipher-suites=TLS_AES_128_GCM_SHA256 tls-min-version=VersionTLS13 tls-private-key-file=x v=2 vmodule=x=2";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    let head = "apiVersion: webhook.config.cert-manager.io/v1alpha1\nkind: WebhookConfiguration\n";
    std::fs::write(&path, format!("{head}securePort: 10250\nhealthzPort: 1\nlogging: {{verbosity: 4}}\n")).unwrap();
    let flags = all.split_whitespace().map(|flag| format!("--{flag}").replace("FILE", path.to_str().unwrap()));
    let words: Vec<_> =
        ["certwright".to_owned(), "webhook".to_owned()].into_iter().chain(flags).map(Into::into).collect();
    let cli = read(&words).unwrap();
    let crate::cli::Command::Webhook(webhook) = cli.command else { panic!() };
    assert_eq!(webhook.notes.len(), 1, "{:?}", webhook.notes);
    assert!(webhook.notes[0].starts_with("--vmodule is without effect"), "{:?}", webhook.notes);
    assert_eq!(webhook.ports(), (6443, 6080), "the command line goes before the file");
    let by_file = ["certwright", "webhook", "--config", path.to_str().unwrap()].map(Into::into);
    let crate::cli::Command::Webhook(webhook) = read(&by_file).unwrap().command else { panic!() };
    assert_eq!(webhook.ports(), (10250, 1));
}

#[test]
fn a_flag_without_effect_is_told_of_once() {
    assert_eq!(notes(&[]), Vec::<String>::new());
    let told = notes(&["--kube-api-qps=20", "--kube-api-qps=30", "--kube-api-burst=50"]);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("--kube-api-qps is without effect: requests are not held back here"), "{told:?}");
    assert!(told[1].starts_with("--kube-api-burst is without effect: "), "{told:?}");
}

#[test]
fn what_is_wrong_is_told_with_flag_and_value() {
    for (argument, expected) in [
        ("--kube-api-qp=3", "unexpected argument '--kube-api-qp' found"),
        ("--dns01-recursive-nameserver=x", "a similar argument exists: '--dns01-recursive-nameservers'"),
        ("--kube-api-qps=fast", "invalid value 'fast' for '--kube-api-qps <NUMBER>'"),
        ("--enable-gateway-api=maybe", "\"maybe\" is neither true nor false"),
        ("--log-flush-frequency", "a value is required for '--log-flush-frequency <TEXT>'"),
        ("--feature-gates=OtherName=true", "there is no feature gate \"OtherName\" (did you mean OtherNames?)"),
        ("--acme-http01-solver-extra-labels=a", "write it as KEY=VALUE"),
        ("--acme-http01-solver-extra-labels=a b=c", "\"a b\" is no key for a label"),
        ("--acme-http01-solver-nameservers=192.0.2.1", "invalid value '192.0.2.1'"),
        ("--metrics-tls-min-version=1.3", "it is VersionTLS12 or VersionTLS13"),
        ("--metrics-tls-cipher-suites=AES", "there is no such cipher suite; there are TLS_"),
        ("-v=much", "invalid value 'much' for '--v <NUMBER>'"),
    ] {
        let refusal = read(&given(&[argument], Path::new(""))).map(|_| argument).unwrap_err().to_string();
        assert!(refusal.contains(expected), "{argument}: {refusal}");
    }
}

#[test]
fn the_command_line_goes_before_the_file() {
    let file = "namespace: a\nnumberOfConcurrentWorkers: 3\nacmeDNS01Config: {recursiveNameservers: ['192.0.2.1:53']}";
    let flags = ["--config=FILE", "--namespace=b", "--dns01-recursive-nameservers", "192.0.2.2:53"];
    assert_eq!(
        arguments_with(file, &flags).unwrap(),
        ["--concurrent-workers=3", "--namespace=b", "--dns01-recursive-nameservers", "192.0.2.2:53"]
    );
    assert_eq!(arguments_with(file, &["--namespace=b"]).unwrap(), ["--namespace=b"], "no file was named");
}

#[test]
fn a_wrong_value_in_the_file_is_told_with_its_place() {
    for (file, expected) in [
        (
            "acmeDNS01Config: {checkRetryPeriod: soon}",
            "config.yaml: acmeDNS01Config.checkRetryPeriod: invalid value 'soon' for '--dns01-check-retry-period <DURATION>'",
        ),
        ("featureGates: {OtherName: true}", "config.yaml: featureGates: invalid value 'OtherName=true'"),
        (
            "leaderElectionConfig: {leaseDuration: '60'}",
            "config.yaml: leaderElectionConfig.leaseDuration: invalid value",
        ),
        ("logging: {format: xml}", "config.yaml: logging.format: invalid value 'xml'"),
        ("certwright: {renewal-jiter: true}", "config.yaml: certwright.renewal-jiter: unexpected argument"),
        ("nameSpace: a", "config.yaml: nameSpace: there is no such field (did you mean namespace?)"),
    ] {
        let refusal = arguments_with(file, &["--config", "FILE"]).unwrap_err();
        assert!(refusal.contains(expected), "{file}: {refusal}");
    }
}

#[test]
fn the_level_of_logging_follows_cert_managers() {
    for (file, arguments, expected) in [
        ("", &["-v=0"][..], "--log-level=error"),
        ("", &["--v", "1"], "--log-level=warn"),
        ("", &["-v2"], "--log-level=info"),
        ("", &["-v=3"], "--log-level=info"),
        ("", &["-v=4"], "--log-level=debug"),
        ("", &["-v=10"], "--log-level=trace"),
        ("", &["-v=-1"], "--log-level=error"),
        ("logging: {verbosity: 4}", &["--config=FILE"], "--log-level=debug"),
        ("logging: {verbosity: 4}", &["--config=FILE", "-v=1"], "--log-level=warn"),
        ("certwright: {log-level: trace}", &["--config=FILE", "-v=1"], "--log-level=warn"),
        ("certwright: {log-level: trace}\nlogging: {verbosity: 4}", &["--config=FILE"], "--log-level=trace"),
        ("logging: {verbosity: 4}", &["--config=FILE", "-v=1", "--log-level=trace"], "--log-level=trace"),
    ] {
        let all = arguments_with(file, arguments).unwrap();
        let levels: Vec<_> = all.iter().filter(|argument| argument.starts_with("--log-level")).collect();
        assert_eq!(levels.last().unwrap().as_str(), expected, "{file} {arguments:?}: {all:?}");
    }
}

/// The arguments of cert-manager's own chart and manifests.
#[test]
fn cert_managers_deployment_is_understood() {
    let arguments = [
        "--v=2",
        "--cluster-resource-namespace=cert-manager",
        "--leader-election-namespace=kube-system",
        "--acme-http01-solver-image=quay.io/jetstack/cert-manager-acmesolver:v1.20.0",
        "--max-concurrent-challenges=60",
    ];
    let cli = read(&given(&arguments, Path::new(""))).unwrap();
    assert!(matches!(cli.command, crate::cli::Command::Controller(_)));
}

/// It works with the controller's settings, wherever they stand.
#[test]
fn winding_down_reads_what_the_controller_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    std::fs::write(&path, format!("{HEAD}namespace: shop\n")).unwrap();
    let config = format!("--config={}", path.display());
    let words = ["certwright", "wind-down", "--deployment=a/b", &config, "-v=4", "--kube-api-qps=20"];
    let cli = read(&words.map(OsString::from)).unwrap();
    let crate::cli::Command::WindDown(wind_down) = cli.command else { panic!() };
    let flags = format!("{:?}", wind_down.controller);
    assert!(flags.contains("namespace: [\"shop\"]") && flags.contains("log_level: \"debug\""), "{flags}");
}

#[test]
fn help_is_in_groups() {
    let command = command();
    for (name, expected) in [
        ("controller", &["config", "v"][..]),
        ("wind-down", &["deployment", "clean_up_timeout", "config", "v"]),
        ("webhook", &["kubeconfig", "api_server_host", "feature_gates", "config", "v"]),
    ] {
        let flags = command.find_subcommand(name).unwrap().get_arguments().filter(|flag| !flag.is_hide_set());
        let general = flags.filter(|flag| flag.get_help_heading().is_none());
        assert_eq!(general.map(|flag| flag.get_id().as_str()).collect::<Vec<_>>(), expected, "{name}");
    }
}
