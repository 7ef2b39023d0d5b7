//! The parts of tier `api` do what the tests rely on. These run inside a testbed:
//! `testbed run -- cargo test -p certwright-e2e --test testbed_api -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use certwright_e2e::Testbed;
use certwright_e2e::pebble::{PebbleOptions, start_another};
use certwright_e2e::state::Tsig;
use certwright_e2e::wait::until;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ObjectMeta, PostParams};

fn testbed() -> Testbed {
    Testbed::from_env().unwrap().expect("run this inside `testbed run`")
}

fn config_map(name: &str) -> ConfigMap {
    ConfigMap { metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() }, ..ConfigMap::default() }
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn writes_are_counted_by_user_and_answer() {
    let testbed = testbed();
    let namespace = testbed.namespace("writes").await.unwrap();
    let allowed: Api<ConfigMap> = Api::namespaced(testbed.admin().await.unwrap(), &namespace);
    let refused: Api<ConfigMap> = Api::namespaced(testbed.certwright().await.unwrap(), &namespace);

    let mark = testbed.mark().unwrap();
    allowed.create(&PostParams::default(), &config_map("one")).await.unwrap();
    allowed.create(&PostParams::default(), &config_map("one")).await.unwrap_err();
    refused.create(&PostParams::default(), &config_map("two")).await.unwrap_err();
    let writes = testbed.writes_since(mark).await.unwrap();

    let mine = writes.iter().filter(|write| write.namespace == namespace && write.resource == "configmaps");
    let mut seen: Vec<_> = mine.map(|write| (write.user.as_str(), write.verb.as_str(), write.code)).collect();
    seen.sort_unstable();
    assert_eq!(seen, [("admin", "create", 201), ("admin", "create", 409), ("certwright", "create", 403)]);

    let counts = testbed.count_writes(mark, "certwright").await.unwrap();
    assert_eq!(counts.get(&("configmaps".into(), "create".into())), Some(&1), "{counts:?}");
    let later = testbed.mark().unwrap();
    assert!(testbed.count_writes(later, "certwright").await.unwrap().is_empty());
}

/// Sends an update through nsupdate; the error is what nsupdate said.
fn update(tsig: &Tsig, line: &str) -> Result<(), String> {
    let mut nsupdate = Command::new("nsupdate");
    nsupdate.arg("-y").arg(format!("{}:{}:{}", tsig.algorithm, tsig.name, tsig.secret)).args(["-t", "30"]);
    nsupdate.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = nsupdate.spawn().unwrap();
    write!(child.stdin.take().unwrap(), "server 10.77.0.1\nzone certwright.test\n{line}\nsend\n").unwrap();
    let output = child.wait_with_output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

fn dig(arguments: &[&str]) -> String {
    let output = Command::new("dig").args(["+short", "+time=30", "+tries=1"]).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_dns_update_reaches_both_servers() {
    let testbed = testbed();
    let dns = testbed.state.dns().unwrap();
    update(&dns.tsig, "update add _acme-challenge.both.certwright.test 30 TXT \"seen\"").unwrap();
    for server in [dns.primary, dns.secondary] {
        let server = format!("@{server}");
        let look = async || {
            let answer = dig(&[&server, "_acme-challenge.both.certwright.test", "TXT"]);
            Ok::<_, std::io::Error>((answer == "\"seen\"").then_some(()))
        };
        until("the record", Duration::from_mins(1), look).await.unwrap();
    }
}

#[test]
#[ignore = "runs inside a testbed"]
fn a_dns_update_with_a_wrong_key_is_refused() {
    let testbed = testbed();
    let tsig = Tsig {
        secret: "d3Jvbmcga2V5IHdyb25nIGtleSB3cm9uZyBrZXkgISE=".into(),
        ..testbed.state.dns().unwrap().tsig.clone()
    };
    let error = update(&tsig, "update add wrong.certwright.test 30 TXT \"never\"").unwrap_err();
    assert!(error.contains("BADSIG") || error.contains("tsig"), "{error}");
    assert_eq!(dig(&["@10.77.0.1", "wrong.certwright.test", "TXT"]), "");
}

#[test]
#[ignore = "runs inside a testbed"]
fn the_resolver_knows_the_zones_and_nothing_else_at_once() {
    assert_eq!(dig(&["anything.other.test", "A"]), "10.77.0.1");
    assert_eq!(dig(&["certwright.test", "NS"]).lines().count(), 2);
    let output = Command::new("dig").args(["+time=30", "+tries=1", "www.example.com", "A"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("status: NXDOMAIN"));
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_second_pebble_runs_with_options_of_its_own() {
    let testbed = testbed();
    let options = PebbleOptions {
        name: "pebble-bound".into(),
        port: 14100,
        management_port: 15100,
        external_account_required: true,
        environment: [("PEBBLE_ALTERNATE_ROOTS".to_owned(), "1".to_owned())].into(),
        ..PebbleOptions::default()
    };
    let (mut process, acme) = start_another(&testbed.state, &options).await.unwrap();
    let meta = async |acme: &certwright_e2e::state::Acme| {
        let answer = acme.http_client().unwrap().get(&acme.directory_url).send().await.unwrap().text().await.unwrap();
        serde_json::from_str::<serde_json::Value>(&answer).unwrap()["meta"]["externalAccountRequired"].clone()
    };
    assert_eq!(meta(&acme).await, true);
    assert_eq!(meta(testbed.state.acme().unwrap()).await, false);
    let url = format!("{}/roots/1", acme.management_url);
    let root = acme.http_client().unwrap().get(url).send().await.unwrap().text().await.unwrap();
    assert!(root.starts_with("-----BEGIN CERTIFICATE-----"), "{root}");
    process.kill().unwrap();
    acme.http_client().unwrap().get(&acme.directory_url).send().await.unwrap_err();
}
