#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;
use crate::dns::provider::Action;
use crate::dns::provider::testing::{Server, Told, change, ok, page, status, token, too_many};

const RECORD: &str = "_acme-challenge.www.a.test.";

fn zones() -> Told {
    ok(&json!({ "managedZones": [
        { "name": "inner", "dnsName": "www.a.test.", "visibility": "private" },
        { "name": "parent", "dnsName": "test.", "visibility": "public" },
        { "name": "public", "dnsName": "A.test.", "visibility": "public" },
        { "name": "private", "dnsName": "a.test.", "visibility": "private" },
        { "name": "office", "dnsName": "office.internal.", "visibility": "private" },
    ]}))
}

fn rrsets(sets: &[Value]) -> Told {
    ok(&json!({ "kind": "dns#resourceRecordSetsListResponse", "rrsets": sets }))
}

fn set(values: &[&str]) -> Value {
    let rrdatas: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
    json!({ "kind": "dns#resourceRecordSet", "name": RECORD, "type": "TXT", "ttl": 300, "rrdatas": rrdatas,
            "signatureRrdatas": [] })
}

fn done() -> Told {
    ok(&json!({ "kind": "dns#change", "id": "1", "status": "pending" }))
}

fn failed(code: u16, reason: &str, message: &str) -> Told {
    status(code, &json!({ "error": { "code": code, "message": message, "errors": [{ "reason": reason }] } }))
}

fn provider(server: &Server, managed_zone: Option<&str>) -> CloudDns {
    CloudDns::new(server.client(NAME), server.url.clone(), "p", managed_zone)
}

/// What becomes of adding `x`, with these answers.
async fn added(answers: impl IntoIterator<Item = Told>) -> (Server, Result<(), ProviderError>) {
    let server = Server::start(answers).await;
    let done = provider(&server, Some("z")).apply(&[change(Action::Add, RECORD, "x")]).await;
    (server, done)
}

async fn sentence(answers: impl IntoIterator<Item = Told>) -> ProviderError {
    added(answers).await.1.unwrap_err()
}

#[tokio::test]
async fn a_value_joins_those_of_others_in_one_change() {
    let (server, done) = added([token("t"), rrsets(&[set(&["foreign"])]), done()]).await;
    done.unwrap();
    let asked = server.asked();
    let name = RECORD;
    assert_eq!(asked[1].line, format!("GET /dns/v1/projects/p/managedZones/z/rrsets?name={name}&type=TXT"));
    assert_eq!(asked[2].line, "POST /dns/v1/projects/p/managedZones/z/changes");
    assert_eq!(asked[2].headers["authorization"], "Bearer t");
    let set = |values: &[&str]| json!({ "name": RECORD, "type": "TXT", "ttl": 300, "rrdatas": values });
    let wanted = json!({ "deletions": [set(&["\"foreign\""])], "additions": [set(&["\"foreign\"", "\"x\""])] });
    assert_eq!(asked[2].body, wanted);
}

#[tokio::test]
async fn what_is_there_already_is_not_written() {
    let (server, done) = added([token("t"), rrsets(&[set(&["x"])])]).await;
    done.unwrap();
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn values_of_several_names_go_into_one_change() {
    let other = "_acme-challenge.a.test.";
    let server = Server::start([token("t"), rrsets(&[]), rrsets(&[set(&["gone"])]), done()]).await;
    let changes = [
        change(Action::Remove, RECORD, "gone"),
        change(Action::Add, other, "apex"),
        change(Action::Add, other, "wildcard"),
    ];
    let provider = provider(&server, Some("z"));
    // One after the other, so that it is known which answer is for which name.
    let step = provider.step("z", &changes[1..]).await.unwrap().and(provider.step("z", &changes[..1]).await.unwrap());
    assert!(provider.make("z", &step).await.unwrap());
    let body = server.asked()[3].body.clone();
    assert_eq!(body["additions"][0]["rrdatas"], json!(["\"apex\"", "\"wildcard\""]));
    assert_eq!(body["additions"].as_array().unwrap().len(), 1);
    assert_eq!(body["deletions"][0]["rrdatas"], json!(["\"gone\""]));
}

#[tokio::test]
async fn whoever_comes_second_looks_again() {
    let exists = failed(409, "alreadyExists", "The resource 'entity.change.additions[0]' already exists");
    let changed = failed(412, "conditionNotMet", "Precondition not met for 'entity.change.deletions[0]'");
    let gone = failed(404, "notFound", "The 'entity.change.deletions[0]' resource does not exist.");
    let (server, ended) = added([
        token("t"),
        rrsets(&[]),
        exists,
        rrsets(&[set(&["a"])]),
        changed.clone(),
        rrsets(&[set(&["a", "b"])]),
        gone,
        rrsets(&[]),
        done(),
    ])
    .await;
    ended.unwrap();
    assert!(server.is_done());

    let conflicts = (0..ATTEMPTS).flat_map(|_| [rrsets(&[]), changed.clone()]);
    let error = sentence([token("t")].into_iter().chain(conflicts)).await;
    assert!(error.is_transient());
    assert_eq!(
        error.to_string(),
        "Google Cloud DNS refused to change TXT records of z, for others changed them each time"
    );
}

#[tokio::test]
async fn a_token_that_ended_early_is_replaced_once() {
    let refused = || failed(401, "authError", "Invalid Credentials");
    let (server, ended) = added([token("old"), refused(), token("new"), rrsets(&[set(&["x"])])]).await;
    ended.unwrap();
    assert_eq!(server.asked()[3].headers["authorization"], "Bearer new");
    let error = sentence([token("old"), refused(), token("new"), refused()]).await;
    let doing = "when asked to read the TXT records of _acme-challenge.www.a.test";
    assert_eq!(error.to_string(), format!("Google Cloud DNS answered 401 Unauthorized {doing}: Invalid Credentials"));
}

#[tokio::test]
async fn failures_are_told_by_what_helps() {
    let doing = "when asked to read the TXT records of _acme-challenge.www.a.test";
    let error = sentence([token("t"), failed(403, "forbidden", "Permission denied on resource")]).await;
    assert!(matches!(error, ProviderError::Refused { .. }));
    let told = format!("Google Cloud DNS answered 403 Forbidden {doing}: Permission denied on resource");
    assert_eq!(error.to_string(), told);

    let error = sentence([token("t"), failed(403, "rateLimitExceeded", "Rate Limit of request 1 exceeded")]).await;
    assert!(matches!(error, ProviderError::Throttled { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("Google Cloud DNS answered 403 Forbidden {doing}: rateLimitExceeded"));

    let error = sentence([token("t"), failed(404, "notFound", "The 'parameters.managedZone' does not exist.")]).await;
    assert!(matches!(error, ProviderError::NoZone { .. }));
    let told = "Google Cloud DNS has no managed zone z in the project p; check hostedZoneName and the project";
    assert_eq!(error.to_string(), told);

    let error = sentence([token("t"), too_many()]).await;
    let ProviderError::Throttled { message, retry_after, .. } = error else { panic!("{error:?}") };
    assert_eq!(retry_after, Some(std::time::Duration::from_secs(7)));
    assert_eq!(message, format!("Google Cloud DNS answered 429 Too Many Requests {doing}"));

    let error = sentence([token("t"), failed(500, "backendError", "Backend Error")]).await;
    assert!(matches!(error, ProviderError::Transient { .. }));
    assert_eq!(error.to_string(), format!("Google Cloud DNS answered 500 Internal Server Error {doing}"));

    let error = sentence([token("t"), page()]).await;
    assert!(error.is_transient());
    assert_eq!(error.to_string(), format!("Google Cloud DNS answered something unreadable {doing}"));
}

#[tokio::test]
async fn refused_credentials_are_not_shown_again_at_once() {
    let refusal = json!({ "error": "invalid_grant", "error_description": "Invalid JWT Signature." });
    let server = Server::start([status(400, &refusal)]).await;
    let provider = provider(&server, Some("z"));
    for _ in 0..2 {
        let error = provider.apply(&[change(Action::Add, RECORD, "x")]).await.unwrap_err();
        assert!(matches!(error, ProviderError::Refused { .. }));
        let told = "The token service answered 400 Bad Request when asked to give an access token: invalid_grant, Invalid \
                    JWT Signature.";
        assert_eq!(error.to_string(), told);
    }
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn the_longest_public_zone_is_found_and_kept() {
    let server = Server::start([token("t"), zones()]).await;
    let provider = provider(&server, None);
    let found = async |name: &str| provider.find_zone(name).await.map_err(|error| error.to_string());
    assert_eq!(found(RECORD).await, Ok(Some("a.test.".to_owned())));
    assert_eq!(provider.zone_of(RECORD).await.unwrap().1, "public");
    assert_eq!(found("b.test.").await, Ok(Some("test.".to_owned())));
    assert_eq!(found("_acme-challenge.office.internal.").await, Ok(Some("office.internal.".to_owned())));
    let error = found("_acme-challenge.example.org.").await.unwrap_err();
    assert!(error.starts_with("no zone for _acme-challenge.example.org among the 3 zones"), "{error}");
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn all_pages_of_a_list_are_read() {
    let page = |name: &str, next: Option<&str>| {
        let dns_name = format!("{name}.test.");
        ok(&json!({ "managedZones": [{ "name": name, "dnsName": dns_name }], "nextPageToken": next }))
    };
    let server = Server::start([token("t"), page("b", Some("2")), page("c", Some("3")), page("a", None)]).await;
    assert_eq!(provider(&server, None).find_zone(RECORD).await.unwrap().unwrap(), "a.test.");
    let lines = server.lines();
    assert!(
        !lines[1].contains("pageToken") && lines[2].ends_with("&pageToken=2") && lines[3].ends_with("&pageToken=3")
    );
}

#[tokio::test]
async fn a_zone_that_may_not_be_looked_at_is_left_to_the_dns() {
    let zone = ok(&json!({ "name": "z", "dnsName": "a.test." }));
    let server = Server::start([token("t"), zone]).await;
    let named = provider(&server, Some("z"));
    assert_eq!(named.find_zone(RECORD).await.unwrap().unwrap(), "a.test.");
    assert!(named.find_zone("b.test.").await.unwrap_err().to_string().starts_with("no zone for b.test among"));

    let server = Server::start([token("t"), failed(403, "forbidden", "no"), failed(403, "forbidden", "no")]).await;
    assert_eq!(provider(&server, Some("z")).find_zone(RECORD).await.unwrap(), None);
    let error = provider(&server, None).find_zone(RECORD).await.unwrap_err();
    assert!(matches!(error, ProviderError::Refused { .. } | ProviderError::Transient { .. }), "{error:?}");
}
