#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;
use crate::dns::provider::testing::{Server, Told, change, ok, page, status, token, too_many};

const RECORD: &str = "_acme-challenge.www.a.test.";
const SET: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/dnsZones/a.test/TXT/_acme-challenge.www?api-version=2018-05-01";
const ZONES: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/dnsZones?api-version=2018-05-01";

fn provider(server: &Server, zone_type: ZoneType, zone: Option<&str>) -> AzureDns {
    let place = Place {
        subscription: "s".to_owned(),
        resource_group: "g".to_owned(),
        zone_type,
        zone: zone.map(str::to_owned),
    };
    AzureDns::new(server.client(NAME), server.url.clone(), place)
}

fn properties(values: &[&str]) -> Value {
    let records: Vec<Value> = values.iter().map(|value| json!({ "value": [value] })).collect();
    json!({ "TTL": 60, "TXTRecords": records })
}

fn set(etag: &str, values: &[&str]) -> Told {
    ok(&json!({ "name": "_acme-challenge.www", "etag": etag, "properties": properties(values) }))
}

fn failed(code: u16, name: &str, message: &str) -> Told {
    status(code, &json!({ "error": { "code": name, "message": message } }))
}

fn exists() -> Told {
    failed(412, "PreconditionFailed", "The condition '*' in the If-None-Match header was not satisfied.")
}

/// What becomes of one change, with these answers.
async fn made(action: Action, answers: impl IntoIterator<Item = Told>) -> (Server, Result<(), ProviderError>) {
    let server = Server::start([token("t")].into_iter().chain(answers)).await;
    let done = provider(&server, ZoneType::Public, None).apply(&[change(action, RECORD, "x")]).await;
    (server, done)
}

async fn sentence(answers: impl IntoIterator<Item = Told>) -> ProviderError {
    made(Action::Add, answers).await.1.unwrap_err()
}

#[tokio::test]
async fn a_new_set_takes_one_request() {
    let (server, done) = made(Action::Add, [set("e", &["x"])]).await;
    done.unwrap();
    let asked = server.asked();
    assert_eq!(asked[1].line, format!("PUT {SET}"));
    assert_eq!(asked[1].headers["if-none-match"], "*");
    assert_eq!(asked[1].headers["authorization"], "Bearer t");
    assert_eq!(asked[1].body, json!({ "properties": properties(&["x"]) }));
    assert_eq!(asked.len(), 2);
}

#[tokio::test]
async fn a_value_joins_those_of_others_whoever_comes_between() {
    let answers = [exists(), set("e1", &["a"]), exists(), set("e2", &["a", "b"]), set("e3", &["a", "b", "x"])];
    let (server, done) = made(Action::Add, answers).await;
    done.unwrap();
    let asked = server.asked();
    assert_eq!(asked[2].line, format!("GET {SET}"));
    assert_eq!(asked[3].headers["if-match"], "e1");
    assert_eq!(asked[5].headers["if-match"], "e2");
    assert_eq!(asked[5].body, json!({ "properties": properties(&["a", "b", "x"]) }));
    assert!(server.is_done());

    let conflicts = (0..ATTEMPTS).flat_map(|_| [set("e", &["a"]), exists()]);
    let error = sentence([exists()].into_iter().chain(conflicts)).await;
    assert!(error.is_transient());
    let told = "Azure DNS refused to change the TXT records of _acme-challenge.www.a.test, for others changed them each \
                time";
    assert_eq!(error.to_string(), told);
}

#[tokio::test]
async fn the_last_value_takes_the_set_with_it() {
    let (server, done) = made(Action::Remove, [set("e", &["x"]), (200, &[], String::new())]).await;
    done.unwrap();
    let asked = server.asked();
    assert_eq!((asked[1].line.clone(), asked[2].line.clone()), (format!("GET {SET}"), format!("DELETE {SET}")));
    assert_eq!(asked[2].headers["if-match"], "e");

    let (server, done) = made(Action::Remove, [set("e", &["x", "foreign"]), set("e2", &["foreign"])]).await;
    done.unwrap();
    assert_eq!(server.asked()[2].line, format!("PUT {SET}"));
    assert_eq!(server.asked()[2].body, json!({ "properties": properties(&["foreign"]) }));

    for gone in [set("e", &["foreign"]), failed(404, "NotFound", "The resource record does not exist.")] {
        let (server, done) = made(Action::Remove, [gone]).await;
        done.unwrap();
        assert_eq!(server.asked().len(), 2);
    }
}

#[tokio::test]
async fn a_refusal_at_one_name_does_not_hold_up_another() {
    let denied = || failed(403, "AuthorizationFailed", "no");
    let server = Server::start([token("t"), denied(), denied()]).await;
    let provider = provider(&server, ZoneType::Public, None);
    let changes = [change(Action::Add, RECORD, "x"), change(Action::Add, "_acme-challenge.b.a.test.", "y")];
    let error = provider.apply(&changes).await.unwrap_err();
    assert!(matches!(error, ProviderError::Refused { .. }));
    assert!(server.is_done());
}

#[tokio::test]
async fn private_zones_are_another_resource() {
    let server = Server::start([token("t"), ok(&json!({}))]).await;
    let provider = provider(&server, ZoneType::Private, Some("a.test"));
    provider.apply(&[change(Action::Add, "a.test.", "x")]).await.unwrap();
    let asked = &server.asked()[1];
    let path = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/privateDnsZones/a.test/TXT/@";
    assert_eq!(asked.line, format!("PUT {path}?api-version=2018-09-01"));
    assert_eq!(asked.body["properties"], json!({ "ttl": 60, "txtRecords": [{ "value": ["x"] }] }));
}

#[tokio::test]
async fn all_pages_of_the_zones_are_read_without_leaving_the_api() {
    let page = |name: &str, link: Option<&str>| ok(&json!({ "value": [{ "name": name }], "nextLink": link }));
    let link = "https://elsewhere.test/zones?api-version=2018-05-01&$skipToken=abc";
    let server = Server::start([token("t"), page("b.test", Some(link)), page("A.test", None)]).await;
    let provider = provider(&server, ZoneType::Public, None);
    assert_eq!(provider.find_zone(RECORD).await.unwrap().unwrap(), "a.test.");
    assert_eq!(server.lines()[1..], [format!("GET {ZONES}"), format!("GET {ZONES}&$skipToken=abc")]);
}

#[tokio::test]
async fn rights_to_one_zone_are_enough() {
    let denied = || failed(403, "AuthorizationFailed", "The client 'c' does not have authorization");
    let zone = || ok(&json!({ "name": "a.test" }));
    let missing = failed(404, "ResourceNotFound", "not found");
    let server = Server::start([token("t"), denied(), denied(), missing, zone(), zone()]).await;
    let provider = provider(&server, ZoneType::Public, None);
    for _ in 0..2 {
        assert_eq!(provider.find_zone(RECORD).await.unwrap().unwrap(), "a.test.");
    }
    assert_eq!(server.asked().len(), 5);
    // The list is not asked for again.
    assert_eq!(provider.find_zone("a.test.").await.unwrap().unwrap(), "a.test.");
    assert!(server.is_done());
}

#[tokio::test]
async fn a_named_zone_takes_no_request() {
    let server = Server::start([]).await;
    let provider = provider(&server, ZoneType::Public, Some("A.test"));
    assert_eq!(provider.find_zone(RECORD).await.unwrap().unwrap(), "a.test.");
    let error = provider.find_zone("_acme-challenge.b.test.").await.unwrap_err();
    assert_eq!(error.to_string(), "_acme-challenge.b.test does not lie in the zone a.test that hostedZoneName names");
    assert_eq!(server.asked().len(), 0);
}

#[tokio::test]
async fn failures_are_told_by_what_helps() {
    let doing = "when asked to change the TXT records of _acme-challenge.www.a.test";
    let error = sentence([failed(403, "AuthorizationFailed", "The client 'c' may not")]).await;
    assert!(matches!(error, ProviderError::Refused { .. }));
    let told = format!("Azure DNS answered 403 Forbidden {doing}: AuthorizationFailed, The client 'c' may not");
    assert_eq!(error.to_string(), told);

    let error = sentence([failed(404, "ParentResourceNotFound", "Can not perform requested operation")]).await;
    assert!(matches!(error, ProviderError::NoZone { .. }));
    let told = "Azure DNS has no zone a.test in the resource group g of the subscription s; check zoneType, \
                resourceGroupName and subscriptionID";
    assert_eq!(error.to_string(), told);

    let error = sentence([too_many()]).await;
    let ProviderError::Throttled { message, retry_after, .. } = error else { panic!("{error:?}") };
    assert_eq!(retry_after, Some(std::time::Duration::from_secs(7)));
    assert_eq!(message, format!("Azure DNS answered 429 Too Many Requests {doing}"));

    let error = sentence([failed(500, "InternalServerError", "request 123")]).await;
    assert!(matches!(error, ProviderError::Transient { .. }));
    assert_eq!(error.to_string(), format!("Azure DNS answered 500 Internal Server Error {doing}"));

    let doing = "when asked to read the TXT records of _acme-challenge.www.a.test";
    let error = sentence([exists(), page()]).await;
    assert!(error.is_transient());
    assert_eq!(error.to_string(), format!("Azure DNS answered something unreadable {doing}"));
}

#[tokio::test]
async fn a_token_that_ended_early_is_replaced_once() {
    let ended = || failed(401, "ExpiredAuthenticationToken", "The access token expiry UTC time '3/1/2026' is earlier");
    let (server, done) = made(Action::Add, [ended(), token("new"), set("e", &["x"])]).await;
    done.unwrap();
    assert_eq!(server.asked()[3].headers["authorization"], "Bearer new");
    let error = sentence([ended(), token("new"), ended()]).await;
    // Without Azure's words, which have times in them.
    assert!(error.to_string().ends_with("_acme-challenge.www.a.test: ExpiredAuthenticationToken"), "{error}");
}
