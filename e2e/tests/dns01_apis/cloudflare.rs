//! Cloudflare.

#[path = "cloudflare/vendor.rs"]
mod vendor;

use std::sync::Arc;

use certwright::dns::provider::cloudflare::{Cloudflare as Provider, Login};
use certwright::dns::provider::http;
use certwright_e2e::stand_in::{Answer, Failure, StandIn, Zone};
use serde_json::{Value, json};

use self::vendor::{Cloudflare, EMAIL, KEY, SCOPED_TOKEN, TOKEN, failure};
use crate::contract;
use crate::stage::{AGAIN, FOREIGN, Stage, testbed};

const APEX: &str = "cloudflare.certwright.test";
const SECRET: &str = "cloudflare";

/// A stage with the zone of the tests, the one above it, and so many others that the list has two pages.
async fn stage() -> (Stage, Arc<Zone>, Arc<Cloudflare>) {
    let testbed = testbed();
    let dns = testbed.state.dns().unwrap();
    let zone = Arc::new(Zone::new(dns, APEX));
    let mut zones: Vec<_> = (0..55).map(|number| Arc::new(Zone::new(dns, &format!("{number}.example.com")))).collect();
    zones.extend([Arc::new(Zone::new(dns, "certwright.test")), zone.clone()]);
    let vendor = Arc::new(Cloudflare::new(zones));
    (Stage::new(&testbed, "cloudflare", "/client/v4", vendor.clone()).await, zone, vendor)
}

fn token_solver() -> Value {
    json!({ "cloudflare": { "apiTokenSecretRef": { "name": SECRET, "key": "token" } } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn apex_and_wildcard_with_each_login() {
    let (stage, zone, _) = stage().await;
    let wildcard = format!("*.{APEX}");
    let names = [APEX, &wildcard];
    let challenges = format!("_acme-challenge.{APEX}");
    zone.add(&challenges, FOREIGN, 300).unwrap();

    // Editors leave line ends.
    stage.scene.put_secret(SECRET, "token", &format!("{TOKEN}\n")).await.unwrap();
    stage.issuer("token", token_solver()).await;
    stage.issue("token", "token", &names).await;
    stage.cleaned_up(&zone, APEX, &[FOREIGN]).await;
    let listed = stage.asked(|exchange| exchange.request.path == "/client/v4/zones");
    assert_eq!(listed.len(), 2, "{listed:?}");

    stage.scene.put_secret("scoped", "token", SCOPED_TOKEN).await.unwrap();
    let scoped = json!({ "cloudflare": { "apiTokenSecretRef": { "name": "scoped", "key": "token" } } });
    stage.issuer("scoped", scoped).await;
    stage.issue("scoped", "scoped", &names).await;
    stage.cleaned_up(&zone, APEX, &[FOREIGN]).await;

    stage.scene.put_secret("key", "key", KEY).await.unwrap();
    let key = json!({ "cloudflare": { "email": EMAIL, "apiKeySecretRef": { "name": "key", "key": "key" } } });
    stage.issuer("key", key).await;
    stage.issue("key", "key", &names).await;
    stage.cleaned_up(&zone, APEX, &[FOREIGN]).await;
    stage.is_clean(&[TOKEN, SCOPED_TOKEN, KEY]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn what_fails_is_said_and_overcome() {
    let (stage, zone, vendor) = stage().await;
    let name = format!("www.{APEX}");
    stage.scene.put_secret(SECRET, "token", "nobody's").await.unwrap();
    stage.issuer("token", token_solver()).await;
    stage.scene.certificate("wrong", "token", &[&name]).await.unwrap();
    stage
        .challenge_says(
            "Cloudflare answered 403 Forbidden when asked to list the zones: Invalid access token (code 9109)",
        )
        .await;
    stage.scene.put_secret(SECRET, "token", TOKEN).await.unwrap();
    stage.issued("wrong", &[&name]).await;

    let too_many = failure(429, 971, "Please wait and consider throttling your request speed");
    let doing = "when asked to add a TXT record at _acme-challenge.";
    let answered = |status: &str| format!("Cloudflare answered {status} {doing}");
    let cases = [
        (Failure::Answer(too_many.with("retry-after", "8")), answered("429 Too Many Requests")),
        (Failure::Answer(Answer::page(500)), answered("500 Internal Server Error")),
        (Failure::Answer(Answer::page(403)), answered("403 Forbidden")),
        (Failure::Answer(Answer::page(200)), format!("Cloudflare answered something unreadable {doing}")),
        (Failure::Cut, format!("Cloudflare broke off {doing}")),
        (Failure::Silence, format!("Cloudflare did not answer in time {doing}")),
    ];
    for (number, (failure, sentence)) in cases.iter().enumerate() {
        let (certificate, name) = (format!("case-{number}"), format!("case-{number}.{APEX}"));
        stage.no_challenge_is_left().await;
        // Silence takes long by itself.
        stage.stand_in.fail_next(if matches!(failure, Failure::Silence) { 1 } else { AGAIN }, failure);
        stage.scene.certificate(&certificate, "token", &[&name]).await.unwrap();
        stage.challenge_says(sentence).await;
        stage.stand_in.recover();
        stage.touch_secret(SECRET).await;
        stage.issued(&certificate, &[&name]).await;
        stage.cleaned_up(&zone, &name, &[]).await;
    }
    stage.scene.certificate("elsewhere", "token", &["www.other.test"]).await.unwrap();
    stage.challenge_says("no zone for _acme-challenge.www.other.test among the 57 zones that these credentials").await;
    vendor.add_zone(Arc::new(Zone::new(stage.scene.testbed.state.dns().unwrap(), "other.test")));
    stage.touch_secret(SECRET).await;
    stage.issued("elsewhere", &["www.other.test"]).await;
    stage.is_clean(&[TOKEN]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn the_contract_is_kept() {
    let testbed = testbed();
    let zone = Arc::new(Zone::new(testbed.state.dns().unwrap(), "cloudflare-contract.certwright.test"));
    let vendor = Arc::new(Cloudflare::new(vec![zone.clone()]));
    let stand_in = StandIn::start(&testbed.state, vendor).await.unwrap();
    let endpoints = contract::endpoints("cloudflare", &stand_in, "/client/v4");
    let provider = Provider::new(http::client().unwrap(), &endpoints, &Login::Token(TOKEN.into())).unwrap();
    contract::is_kept(&provider, &zone).await;
    assert_eq!(stand_in.complaints(), Vec::<String>::new());
    let batches = stand_in.journal().iter().filter(|exchange| exchange.request.path.ends_with("/batch")).count();
    assert!(batches >= 2, "{batches}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn killed_after_adding_it_leaves_nothing() {
    let (mut stage, zone, _) = stage().await;
    let name = format!("killed.{APEX}");
    stage.scene.put_secret(SECRET, "token", TOKEN).await.unwrap();
    stage.issuer("token", token_solver()).await;
    stage.scene.certificate("killed", "token", &[&name]).await.unwrap();
    stage.kill_when(|| zone.was_written()).await;
    stage.issued("killed", &[&name]).await;
    stage.cleaned_up(&zone, &name, &[]).await;
    stage.is_clean(&[TOKEN]);
}
