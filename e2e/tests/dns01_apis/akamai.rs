//! Akamai Edge DNS.

#[path = "akamai/vendor.rs"]
mod vendor;

use std::sync::Arc;

use certwright::dns::provider::akamai::Akamai as Provider;
use certwright::dns::provider::edgegrid::EdgeGrid;
use certwright::dns::provider::http;
use certwright_e2e::stand_in::{Answer, Failure, StandIn, Zone};
use serde_json::json;

use self::vendor::{ACCESS_TOKEN, Akamai, CLIENT_SECRET, CLIENT_TOKEN, DOMAIN, OVERTAKER, problem};
use crate::contract;
use crate::stage::{AGAIN, FOREIGN, Stage, testbed};

const APEX: &str = "akamai.certwright.test";
const SECRET: &str = "akamai";

/// A stage with the zone of the tests, the one above it, and one whose records are kept elsewhere.
async fn stage(client_secret: &str) -> (Stage, Arc<Zone>, Arc<Akamai>) {
    let testbed = testbed();
    let dns = testbed.state.dns().unwrap();
    let zone = Arc::new(Zone::new(dns, APEX));
    let zones = vec![
        (Arc::new(Zone::new(dns, "certwright.test")), "PRIMARY"),
        (Arc::new(Zone::new(dns, "other.test")), "SECONDARY"),
        (zone.clone(), "PRIMARY"),
    ];
    let vendor = Arc::new(Akamai::new(zones));
    let stage = Stage::new(&testbed, "akamai", "", vendor.clone()).await;
    for (entry, value) in [("client", CLIENT_TOKEN), ("secret", client_secret), ("access", ACCESS_TOKEN)] {
        stage.scene.put_secret(&format!("{SECRET}-{entry}"), entry, value).await.unwrap();
    }
    let entry = |entry: &str| json!({ "name": format!("{SECRET}-{entry}"), "key": entry });
    let settings = json!({
        "serviceConsumerDomain": DOMAIN, "clientTokenSecretRef": entry("client"),
        "clientSecretSecretRef": entry("secret"), "accessTokenSecretRef": entry("access"),
    });
    stage.issuer("akamai", json!({ "akamai": settings })).await;
    (stage, zone, vendor)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn apex_and_wildcard_beside_somebody_elses_value() {
    let (stage, zone, _) = stage(CLIENT_SECRET).await;
    let wildcard = format!("*.{APEX}");
    let challenges = format!("_acme-challenge.{APEX}");
    // A set is made and removed, …
    stage.issue("alone", "akamai", &[APEX, &wildcard]).await;
    stage.cleaned_up(&zone, APEX, &[]).await;
    // … or changed and changed back.
    zone.add(&challenges, FOREIGN, 1800).unwrap();
    stage.issue("beside", "akamai", &[APEX, &wildcard]).await;
    stage.cleaned_up(&zone, APEX, &[FOREIGN]).await;
    assert_eq!(zone.at(&challenges)[0].ttl, 1800);
    stage.is_clean(&[CLIENT_SECRET]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn who_writes_in_between_loses_nothing() {
    let (stage, zone, vendor) = stage(CLIENT_SECRET).await;
    let name = format!("between.{APEX}");
    vendor.overtake();
    stage.issue("between", "akamai", &[&name]).await;
    stage.cleaned_up(&zone, &name, &[OVERTAKER]).await;
    let posted = stage.asked(|exchange| exchange.request.method == "POST");
    assert_eq!(posted.len(), 1, "{posted:?}");
    stage.is_clean(&[CLIENT_SECRET]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn what_fails_is_said_and_overcome() {
    let (stage, zone, _) = stage("bm90IHRoZSBzZWNyZXQ=").await;
    let name = format!("www.{APEX}");
    stage.scene.certificate("wrong", "akamai", &[&name]).await.unwrap();
    stage
        .challenge_says(
            "Akamai answered 401 Unauthorized when asked to list the zones: Not authorized: The signature does not match",
        )
        .await;
    stage.scene.put_secret(&format!("{SECRET}-secret"), "secret", CLIENT_SECRET).await.unwrap();
    stage.issued("wrong", &[&name]).await;

    let answered = |status: &str| format!("Akamai answered {status} when asked to read the TXT records at _acme-");
    let conflict =
        problem(409, "authoritative-dns/concurrentZoneModification", "Concurrent Zone Modification", "Again");
    let too_many = problem(429, "rate-limit/exceeded", "Too Many Requests", "Slow down").with("retry-after", "8");
    let cases = [
        (Failure::Answer(conflict), "Concurrent Zone Modification: Again".to_owned()),
        (Failure::Answer(too_many), answered("429 Too Many Requests")),
        (Failure::Answer(problem(403, "forbidden", "Forbidden", "No")), answered("403 Forbidden")),
        (Failure::Answer(Answer::page(500)), answered("500 Internal Server Error")),
        (Failure::Answer(Answer::page(200)), "Akamai answered something unreadable".to_owned()),
    ];
    for (number, (failure, sentence)) in cases.iter().enumerate() {
        let (certificate, name) = (format!("case-{number}"), format!("case-{number}.{APEX}"));
        stage.no_challenge_is_left().await;
        stage.stand_in.fail_next(AGAIN, failure);
        stage.scene.certificate(&certificate, "akamai", &[&name]).await.unwrap();
        stage.challenge_says(sentence).await;
        stage.stand_in.recover();
        stage.touch_secret(&format!("{SECRET}-secret")).await;
        stage.issued(&certificate, &[&name]).await;
        stage.cleaned_up(&zone, &name, &[]).await;
    }

    stage.scene.certificate("secondary", "akamai", &["www.other.test"]).await.unwrap();
    stage.challenge_says("the zone other.test is of type SECONDARY at Akamai, so its records are not kept there").await;
    stage.is_clean(&[CLIENT_SECRET]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn the_contract_is_kept() {
    let testbed = testbed();
    let zone = Arc::new(Zone::new(testbed.state.dns().unwrap(), "akamai-contract.certwright.test"));
    let stand_in =
        StandIn::start(&testbed.state, Arc::new(Akamai::new(vec![(zone.clone(), "PRIMARY")]))).await.unwrap();
    let endpoints = contract::endpoints("akamai", &stand_in, "");
    let login = EdgeGrid {
        client_token: CLIENT_TOKEN.into(),
        client_secret: CLIENT_SECRET.into(),
        access_token: ACCESS_TOKEN.into(),
    };
    let provider = Provider::new(http::client().unwrap(), &endpoints, DOMAIN, login).unwrap();
    contract::is_kept(&provider, &zone).await;
    assert_eq!(stand_in.complaints(), Vec::<String>::new());
}
