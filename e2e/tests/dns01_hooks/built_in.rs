//! Providers that are answered in-process, and dynamic updates, with a real PowerDNS.

use certwright::api::Certificate;
use certwright::dns::provider::built_in::{BuiltIn, Settings, Tools};
use certwright::dns::provider::{Action, Change, Provider, TxtRecord, http};
use certwright_e2e::Testbed;
use certwright_e2e::network::SPARE;
use certwright_e2e::powerdns::PowerDns;
use certwright_e2e::scene::PATIENCE;
use certwright_e2e::wait::until;
use serde_json::{Value, json};

use crate::{issuer, says, scene};

/// The Secret with the API key.
const SECRET: &str = "powerdns";

/// Through its HTTP API and by dynamic updates, an apex and its wildcard each; what others wrote at the name stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn powerdns_both_ways() {
    let scene = scene("pdns").await;
    let server = start(&scene.testbed, 0, "both").await;
    scene.put_secret(SECRET, "api-key", &server.api_key).await.unwrap();
    scene.put_secret(SECRET, "tsig", &server.tsig.secret).await.unwrap();
    issuer(&scene, "api", by_api(&server.host())).await;
    let update = json!({ "rfc2136": {
        "nameserver": server.address, "tsigKeyName": server.tsig.name, "tsigAlgorithm": "HMACSHA256",
        "tsigSecretSecretRef": { "name": SECRET, "key": "tsig" },
    }});
    issuer(&scene, "update", update).await;
    for way in ["api", "update"] {
        let name = format!("{way}.{}", server.zone);
        server.put_txt(&format!("_acme-challenge.{name}"), &["somebody else's"]).await.unwrap();
        scene.certificate(way, way, &[&name, &format!("*.{name}")]).await.unwrap();
    }
    for way in ["api", "update"] {
        scene.issued(way).await.unwrap();
        let name = format!("_acme-challenge.{way}.{}", server.zone);
        let look = async || {
            let left = server.txt(&name).await?;
            anyhow::ensure!(left == ["somebody else's"], "at {name}: {left:?}");
            Ok(Some(()))
        };
        until("our TXT records to go", PATIENCE, look).await.unwrap();
    }
}

/// The secondary looks for changes once in an hour, so the certificate comes only if it is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn the_secondary_of_a_powerdns_is_told() {
    let scene = scene("notified").await;
    let zone = format!("told-{}.certwright.test", std::process::id());
    let server = PowerDns::start_with_secondary(&scene.testbed, [SPARE[3], SPARE[4]], &zone).await.unwrap();
    scene.put_secret(SECRET, "api-key", &server.api_key).await.unwrap();
    issuer(&scene, "api", by_api(&server.host())).await;
    scene.certificate("www", "api", &[&format!("www.{zone}")]).await.unwrap();
    scene.issued("www").await.unwrap();
}

/// What is wrong is told, and put right without anybody telling.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn what_powerdns_refuses_is_told() {
    let scene = scene("refused").await;
    let server = start(&scene.testbed, 1, "refusing").await;
    scene.put_secret(SECRET, "api-key", "a wrong key").await.unwrap();
    issuer(&scene, "api", by_api(&server.host())).await;
    issuer(&scene, "nobody", by_api(&format!("http://{}:9", server.address))).await;
    let misspelt = json!({ "hots": server.host(), "apiKeySecretRef": { "name": SECRET, "key": "api-key" } });
    issuer(&scene, "misspelt", solver("pdns", &misspelt)).await;
    issuer(&scene, "unknown", solver("no-such", &json!({}))).await;
    let name = format!("www.{}", server.zone);
    scene.certificate("www", "api", &[&name]).await.unwrap();
    let elsewhere = scene.dns_name("www");
    scene.certificate("elsewhere", "nobody", &[&elsewhere]).await.unwrap();
    for label in ["misspelt", "unknown"] {
        scene.certificate(label, label, &[&scene.dns_name(label)]).await.unwrap();
    }
    let reason = says(&scene, &name, "401 Unauthorized").await;
    assert!(reason.contains("the API key is wrong") && !reason.contains("a wrong key"), "{reason}");
    says(&scene, &elsewhere, "PowerDNS could not be reached").await;
    for (label, part) in [("misspelt", "did you mean \"host\"?"), ("unknown", "it has httpreq, pdns")] {
        let says =
            |certificate: &Certificate| serde_json::to_string(&certificate.status).unwrap().contains(&escaped(part));
        scene.wait_for::<Certificate>(label, &format!("saying {part:?}"), PATIENCE, says).await.unwrap();
    }

    scene.put_secret(SECRET, "api-key", &server.api_key).await.unwrap();
    scene.issued("www").await.unwrap();
    // A name for which the server has no zone.
    issuer(&scene, "zoneless", by_api(&server.host())).await;
    let other = scene.dns_name("zoneless");
    scene.certificate("zoneless", "zoneless", &[&other]).await.unwrap();
    says(&scene, &other, &format!("PowerDNS has no zone for _acme-challenge.{other}")).await;
}

/// Several values of several names go and come in one call, each by itself, as often as one likes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn many_values_at_once() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
    let server = start(&testbed, 2, "many").await;
    let provider = provider(&server);
    let name = format!("_acme-challenge.a.b.{}", server.zone);
    let zone = provider.find_zone(&format!("{name}.")).await.unwrap();
    assert_eq!(zone, Some(format!("{}.", server.zone)));
    let record = |label: &str, value: &str| TxtRecord {
        zone: format!("{}.", server.zone),
        name: format!("_acme-challenge.{label}.{}.", server.zone),
        domain: format!("{label}.{}", server.zone),
        value: value.to_owned(),
        ttl: 60,
    };
    let changes = |action, records: &[(&str, &str)]| -> Vec<Change> {
        records.iter().map(|&(label, value)| Change { action, record: record(label, value) }).collect()
    };
    let values = async |label: &str| {
        let mut values = server.txt(&format!("_acme-challenge.{label}.{}", server.zone)).await.unwrap();
        values.sort_unstable();
        values
    };
    for _ in 0..2 {
        let all = changes(Action::Add, &[("a", "1"), ("b", "2"), ("a", "3"), ("a", "with \\ and ;")]);
        provider.apply(&all).await.unwrap();
    }
    assert_eq!(values("a").await, ["1", "3", "with \\\\ and ;"]);
    assert_eq!(values("b").await, ["2"]);
    for _ in 0..2 {
        let some = changes(Action::Remove, &[("a", "1"), ("b", "2"), ("a", "with \\ and ;"), ("c", "4")]);
        provider.apply(&some).await.unwrap();
    }
    assert_eq!(values("a").await, ["3"]);
    assert_eq!(values("b").await, [""; 0]);
    let outside = TxtRecord { name: "_acme-challenge.other.test.".into(), ..record("a", "1") };
    let error = provider.apply(&[Change { action: Action::Add, record: outside }]).await.unwrap_err();
    assert!(!error.is_transient() && error.to_string().contains("out of zone"), "{error}");
}

fn provider(server: &PowerDns) -> Box<dyn Provider> {
    let mut settings = Settings::default();
    settings.set("host", server.host().as_str().into());
    settings.set("apiKey", server.api_key.as_str().into());
    let http = http::client().unwrap();
    (BuiltIn::named("pdns").unwrap().make)(&Tools { http: &http }, &settings).unwrap()
}

/// A server for one test, with a zone of that label.
async fn start(testbed: &Testbed, number: usize, label: &str) -> PowerDns {
    let zone = format!("{label}-{}.certwright.test", std::process::id());
    PowerDns::start(testbed, SPARE[number], &zone).await.unwrap()
}

fn by_api(host: &str) -> Value {
    solver("pdns", &json!({ "host": host, "apiKeySecretRef": { "name": SECRET, "key": "api-key" } }))
}

fn solver(name: &str, config: &Value) -> Value {
    json!({ "webhook": { "groupName": "certwright.dev", "solverName": name, "config": config } })
}

fn escaped(text: &str) -> String {
    text.replace('"', "\\\"")
}
