//! DigitalOcean.

#[path = "digitalocean/vendor.rs"]
mod vendor;

use std::sync::Arc;

use certwright::dns::provider::digitalocean::DigitalOcean as Provider;
use certwright::dns::provider::http;
use certwright_e2e::fault_proxy::ServerIdentity;
use certwright_e2e::stand_in::{Answer, Failure, StandIn, Zone};
use certwright_e2e::{Controller, Scene};
use serde_json::json;

use self::vendor::{DigitalOcean, TOKEN, failure};
use crate::contract;
use crate::stage::{AGAIN, FOREIGN, Stage, testbed};

const APEX: &str = "digitalocean.certwright.test";
const SECRET: &str = "digitalocean";

/// A stage with the zone of the tests, the one above it, and so many others that the list has two pages.
async fn stage(token: &str) -> (Stage, Arc<Zone>) {
    let testbed = testbed();
    let dns = testbed.state.dns().unwrap();
    let zone = Arc::new(Zone::new(dns, APEX));
    let mut zones: Vec<_> = (0..205).map(|number| Arc::new(Zone::new(dns, &format!("{number}.example.com")))).collect();
    zones.extend([Arc::new(Zone::new(dns, "certwright.test")), zone.clone()]);
    let stage = Stage::new(&testbed, "digitalocean", "", Arc::new(DigitalOcean { zones })).await;
    stage.scene.put_secret(SECRET, "token", token).await.unwrap();
    stage.issuer("do", json!({ "digitalocean": { "tokenSecretRef": { "name": SECRET, "key": "token" } } })).await;
    (stage, zone)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn apex_and_wildcard_beside_somebody_elses_value() {
    let (stage, zone) = stage(TOKEN).await;
    zone.add(&format!("_acme-challenge.{APEX}"), FOREIGN, 300).unwrap();
    stage.issue("both", "do", &[APEX, &format!("*.{APEX}")]).await;
    stage.cleaned_up(&zone, APEX, &[FOREIGN]).await;
    let records = format!("/v2/domains/{APEX}/records");
    let added = stage.asked(|exchange| exchange.request.method == "POST" && exchange.request.path == records);
    assert_eq!(added.len(), 2, "{added:?}");
    stage.is_clean(&[TOKEN]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn what_fails_is_said_and_overcome() {
    let (stage, zone) = stage("nobody's").await;
    let name = format!("www.{APEX}");
    stage.scene.certificate("wrong", "do", &[&name]).await.unwrap();
    stage
        .challenge_says(
            "DigitalOcean answered 401 Unauthorized when asked to list the domains: Unable to authenticate you",
        )
        .await;
    stage.scene.put_secret(SECRET, "token", TOKEN).await.unwrap();
    stage.issued("wrong", &[&name]).await;

    let answered =
        |status: &str| format!("DigitalOcean answered {status} when asked to list the TXT records at _acme-");
    let too_many = failure(429, "too_many_requests", "API Rate limit exceeded.").with("retry-after", "8");
    let forbidden = failure(403, "forbidden", "You do not have access for the attempted action.");
    let cases = [
        (Failure::Answer(too_many), answered("429 Too Many Requests")),
        (Failure::Answer(forbidden), "You do not have access for the attempted action.".to_owned()),
        (Failure::Answer(failure(500, "server_error", "Unexpected")), answered("500 Internal Server Error")),
        (Failure::Answer(Answer::page(200)), "DigitalOcean answered something unreadable".to_owned()),
        (Failure::Cut, "DigitalOcean broke off when asked to list the TXT records at _acme-".to_owned()),
    ];
    for (number, (failure, sentence)) in cases.iter().enumerate() {
        let (certificate, name) = (format!("case-{number}"), format!("case-{number}.{APEX}"));
        stage.no_challenge_is_left().await;
        stage.stand_in.fail_next(AGAIN, failure);
        stage.scene.certificate(&certificate, "do", &[&name]).await.unwrap();
        stage.challenge_says(sentence).await;
        stage.stand_in.recover();
        stage.touch_secret(SECRET).await;
        stage.issued(&certificate, &[&name]).await;
        stage.cleaned_up(&zone, &name, &[]).await;
    }
    stage.is_clean(&[TOKEN]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn the_contract_is_kept() {
    let testbed = testbed();
    let zone = Arc::new(Zone::new(testbed.state.dns().unwrap(), "digitalocean-contract.certwright.test"));
    let vendor = Arc::new(DigitalOcean { zones: vec![zone.clone()] });
    let stand_in = StandIn::start(&testbed.state, vendor).await.unwrap();
    let endpoints = contract::endpoints("digitalocean", &stand_in, "");
    let provider = Provider::new(http::client().unwrap(), &endpoints, &TOKEN.into()).unwrap();
    contract::is_kept(&provider, &zone).await;
    assert_eq!(stand_in.complaints(), Vec::<String>::new());
}

/// The certificate of an API is verified against the roots that the machine trusts, or those that the environment names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn an_api_that_is_not_trusted_gets_no_token() {
    let testbed = testbed();
    let apex = "digitalocean-tls.certwright.test";
    let identity = ServerIdentity::create(&testbed.state).unwrap();
    let roots = testbed.state.folder.join(format!("roots-{}.pem", std::process::id()));
    std::fs::write(&roots, identity.ca_pem()).unwrap();
    let zone = Arc::new(Zone::new(testbed.state.dns().unwrap(), apex));
    let vendor = Arc::new(DigitalOcean { zones: vec![zone.clone()] });
    let stand_in = StandIn::start_tls(&testbed.state, &identity, vendor).await.unwrap();
    let endpoint = format!("digitalocean={}", stand_in.url());
    let arguments = ["--dns01-provider-endpoints", &endpoint];

    let controller = Controller::start(&testbed, &arguments).await.unwrap();
    let scene = Scene::new(&testbed, controller.log(), "trust").await.unwrap();
    let mut stage = Stage::of(scene, stand_in, controller);
    stage.scene.put_secret(SECRET, "token", TOKEN).await.unwrap();
    stage.issuer("do", json!({ "digitalocean": { "tokenSecretRef": { "name": SECRET, "key": "token" } } })).await;
    stage.scene.certificate("trust", "do", &[apex]).await.unwrap();
    stage
        .challenge_says(
            "DigitalOcean could not be reached, for its TLS certificate was not accepted, when asked to list",
        )
        .await;
    assert_eq!(stage.asked(|_| true), Vec::<String>::new());

    stage.stop_controller();
    let trust = [("SSL_CERT_FILE", roots.to_str().unwrap())];
    stage.set_controller(Controller::start_in(&testbed, &arguments, &trust).await.unwrap());
    stage.issued("trust", &[apex]).await;
    stage.cleaned_up(&zone, apex, &[]).await;
    stage.is_clean(&[TOKEN]);
}
