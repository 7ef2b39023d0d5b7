//! The provider against a stand-in that refuses what Route 53 refuses: batches that do not fit, plain sets beside others.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Mutex;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde::Deserialize;
use tokio::net::TcpListener;

use super::super::{Action, DEFAULT_TTL, TxtRecord};
use super::*;
use crate::cloud::aws::Credentials;

/// Ids and names of the zones; the second is private.
const ZONES: [(&str, &str, bool); 4] = [
    ("ZCOM", "example.com.", false),
    ("ZPRIVATE", "sub.example.com.", true),
    ("ZSUB", "deep.sub.example.com.", false),
    ("ZSECOND", "example.com.", false),
];

#[derive(Default)]
struct Model {
    /// By name and identifier.
    sets: BTreeMap<(String, Option<String>), RecordSet>,
    /// `METHOD PATH` of each request.
    log: Vec<String>,
    /// What is answered in place of the next requests.
    script: VecDeque<(u16, String)>,
    /// Added to the sets before the next change, as if somebody else had been quicker.
    intruder: Option<RecordSet>,
    zones_per_page: usize,
    denies_zone: bool,
}

type Shared = Arc<Mutex<Model>>;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    change_batch: Batch,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Batch {
    changes: Changes,
}

#[derive(Deserialize)]
struct Changes {
    #[serde(rename = "Change")]
    changes: Vec<Wanted>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wanted {
    action: String,
    resource_record_set: RecordSet,
}

fn error(code: &str, message: &str) -> String {
    let message = message.replace('<', "&lt;");
    format!(
        "<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    )
}

async fn answer(
    State(model): State<Shared>,
    method: axum::http::Method,
    uri: Uri,
    body: String,
) -> (StatusCode, String) {
    let url: reqwest::Url = format!("http://route53{uri}").parse().unwrap();
    let query = url.query_pairs().into_owned().collect();
    let mut model = model.lock().unwrap();
    model.log.push(format!("{method} {}", uri.path().trim_start_matches("/2013-04-01/")));
    if let Some((status, body)) = model.script.pop_front() {
        return (StatusCode::from_u16(status).unwrap(), body);
    }
    let path: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    match path.as_slice() {
        ["2013-04-01", "hostedzonesbyname"] => (StatusCode::OK, zone_page(&model, &query)),
        ["2013-04-01", "hostedzone", _] if model.denies_zone => (StatusCode::FORBIDDEN, error("AccessDenied", "no")),
        ["2013-04-01", "hostedzone", id] => match ZONES.iter().find(|zone| zone.0 == *id) {
            Some(zone) => {
                (StatusCode::OK, format!("<GetHostedZoneResponse>{}</GetHostedZoneResponse>", zone_text(zone)))
            }
            None => (StatusCode::NOT_FOUND, error("NoSuchHostedZone", "No hosted zone found with ID: ZNONE")),
        },
        ["2013-04-01", "hostedzone", _, "rrset"] if method == "GET" => (StatusCode::OK, record_page(&model, &query)),
        ["2013-04-01", "hostedzone", _, "rrset"] => {
            if let Some(set) = model.intruder.take() {
                model.sets.insert((set.name.clone(), set.set_identifier.clone()), set);
            }
            match change(&mut model, &body) {
                Ok(()) => (StatusCode::OK, "<ChangeResourceRecordSetsResponse/>".to_owned()),
                Err(message) => (StatusCode::BAD_REQUEST, error("InvalidChangeBatch", &message)),
            }
        }
        _ => (StatusCode::NOT_FOUND, String::new()),
    }
}

fn zone_text((id, name, private): &(&str, &str, bool)) -> String {
    format!(
        "<HostedZone><Id>/hostedzone/{id}</Id><Name>{name}</Name><CallerReference>r</CallerReference><Config>\
         <PrivateZone>{private}</PrivateZone></Config></HostedZone>"
    )
}

/// Without regard to the order of names, which the provider does not rely on.
fn zone_page(model: &Model, query: &BTreeMap<String, String>) -> String {
    let start = match (query.get("hostedzoneid"), query.get("dnsname")) {
        (Some(id), _) => ZONES.iter().position(|zone| zone.0 == id).unwrap(),
        (None, Some(name)) => ZONES.iter().position(|zone| zone.1 == name).unwrap_or(ZONES.len()),
        _ => 0,
    };
    let end = (start + model.zones_per_page).min(ZONES.len());
    let zones: String = ZONES[start..end].iter().map(zone_text).collect();
    let next = ZONES.get(end).map(|zone| {
        let (id, name) = (zone.0, zone.1);
        format!("<NextDNSName>{name}</NextDNSName><NextHostedZoneId>{id}</NextHostedZoneId>")
    });
    let next = next.unwrap_or_default();
    format!("<ListHostedZonesByNameResponse><HostedZones>{zones}</HostedZones>{next}</ListHostedZonesByNameResponse>")
}

/// Two sets in a page.
fn record_page(model: &Model, query: &BTreeMap<String, String>) -> String {
    let from = (format!("{}.", query["name"]), query.get("identifier").cloned());
    let mut rest = model.sets.range(from..);
    let mut text = "<ListResourceRecordSetsResponse><ResourceRecordSets>".to_owned();
    for (_, set) in rest.by_ref().take(2) {
        let _ = write!(text, "{}", quick_xml::se::to_string_with_root("ResourceRecordSet", set).unwrap());
    }
    text.push_str("</ResourceRecordSets>");
    if let Some((_, set)) = rest.next() {
        let _ =
            write!(text, "<NextRecordName>{}</NextRecordName><NextRecordType>{}</NextRecordType>", set.name, set.kind);
        if let Some(identifier) = &set.set_identifier {
            let _ = write!(text, "<NextRecordIdentifier>{identifier}</NextRecordIdentifier>");
        }
    }
    text.push_str("</ListResourceRecordSetsResponse>");
    text
}

/// All or nothing, with the words of Route 53.
fn change(model: &mut Model, body: &str) -> Result<(), String> {
    let request: Request = quick_xml::de::from_str(body).unwrap();
    let mut sets = model.sets.clone();
    for Wanted { action, resource_record_set: mut set } in request.change_batch.changes.changes {
        set.name = format!("{}.", set.name.trim_end_matches('.'));
        let (name, key) = (set.name.clone(), (set.name.clone(), set.set_identifier.clone()));
        match action.as_str() {
            "DELETE" if sets.get(&key) != Some(&set) => {
                return Err(format!(
                    "[Tried to delete resource record set [name='{name}', type='TXT'] but it was not found]"
                ));
            }
            "DELETE" => drop(sets.remove(&key)),
            "CREATE" if sets.contains_key(&key) => {
                return Err(format!(
                    "[Tried to create resource record set [name='{name}', type='TXT'] but it already exists]"
                ));
            }
            _ => drop(sets.insert(key, set)),
        }
        let here: Vec<_> = sets.keys().filter(|key| key.0 == name).collect();
        if here.len() > 1 && here.iter().any(|key| key.1.is_none()) {
            return Err(format!(
                "[RRSet with DNS name {name}, type TXT cannot be created as other RRSets exist with the same name and type.]"
            ));
        }
    }
    model.sets = sets;
    Ok(())
}

async fn stand_in(hosted_zone: Option<&str>) -> (Route53, Shared) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let model: Shared = Arc::new(Mutex::new(Model { zones_per_page: 2, ..Model::default() }));
    let router = Router::new().fallback(answer).with_state(Arc::clone(&model));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let endpoint = Endpoint { url, region: "us-east-1".to_owned() };
    let credentials = Held::new(Box::new(Credentials::lasting("AKIDEXAMPLE", "secret")));
    (Route53::new(Client::new(), endpoint, credentials, hosted_zone).unwrap(), model)
}

fn at(action: Action, name: &str, value: &str) -> Change {
    let (zone, name) = ("example.com.".to_owned(), format!("_acme-challenge.{name}example.com."));
    Change {
        action,
        record: TxtRecord { zone, name, domain: String::new(), value: value.to_owned(), ttl: DEFAULT_TTL },
    }
}

fn add(value: &str) -> Change {
    at(Action::Add, "", value)
}

fn remove(value: &str) -> Change {
    at(Action::Remove, "", value)
}

fn plain(values: &[&str]) -> RecordSet {
    let records = values.iter().map(|value| wire::ResourceRecord { value: format!("\"{value}\"") }).collect();
    RecordSet {
        name: "_acme-challenge.example.com.".to_owned(),
        kind: "TXT".to_owned(),
        ttl: Some(300),
        resource_records: wire::ResourceRecords { records },
        ..RecordSet::default()
    }
}

fn put(model: &Shared, set: RecordSet) {
    model.lock().unwrap().sets.insert((set.name.clone(), set.set_identifier.clone()), set);
}

/// The values of all sets, those of one set joined.
fn values(model: &Shared) -> Vec<String> {
    let joined = |set: &RecordSet| {
        let values: Vec<&str> =
            set.resource_records.records.iter().map(|record| record.value.trim_matches('"')).collect();
        values.join("+")
    };
    model.lock().unwrap().sets.values().map(joined).collect()
}

/// The requests since the last call, without those for zones.
fn requests(model: &Shared) -> Vec<String> {
    let log = std::mem::take(&mut model.lock().unwrap().log);
    log.into_iter()
        .filter(|line| line.contains("rrset"))
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn the_longest_public_zone_of_all_pages() {
    let (provider, model) = stand_in(None).await;
    for (name, zone) in [
        ("_acme-challenge.example.com.", "example.com."),
        ("_acme-challenge.a.sub.example.com.", "example.com."),
        ("_acme-challenge.a.Deep.sub.example.com.", "deep.sub.example.com."),
    ] {
        assert_eq!(provider.find_zone(name).await.unwrap().as_deref(), Some(zone));
    }
    assert_eq!(model.lock().unwrap().log.len(), 2, "two pages, read once");
    let error = provider.find_zone("_acme-challenge.example.net.").await.unwrap_err();
    assert!(matches!(error, ProviderError::NoZone { .. }));
    assert!(error.to_string().contains("for _acme-challenge.example.net. among the 2 that"), "{error}");
    provider.apply(&[add("a")]).await.unwrap();
    assert_eq!(model.lock().unwrap().log.last().unwrap(), "POST hostedzone/ZCOM/rrset/", "the first of its name");
}

#[tokio::test]
async fn names_are_asked_for_where_there_are_too_many_zones() {
    let (provider, model) = stand_in(None).await;
    // The list never ends.
    let endless = "<ListHostedZonesByNameResponse><HostedZones/><NextDNSName>a</NextDNSName><NextHostedZoneId>ZCOM\
                   </NextHostedZoneId></ListHostedZonesByNameResponse>";
    model.lock().unwrap().script = vec![(200, endless.to_owned()); 10].into();
    let found = provider.find_zone("_acme-challenge.a.sub.example.com.").await.unwrap();
    assert_eq!(found.as_deref(), Some("example.com."));
    assert_eq!(model.lock().unwrap().log.len(), 10 + 4);
    let found = provider.find_zone("_acme-challenge.b.sub.example.com.").await.unwrap();
    assert_eq!(found.as_deref(), Some("example.com."));
    assert_eq!(model.lock().unwrap().log.len(), 10 + 4 + 2, "only the names that are new");
    assert_eq!(provider.zones.id(&provider, "example.com.").await.unwrap(), "ZCOM");
}

#[tokio::test]
async fn a_named_zone_may_be_private() {
    let (provider, model) = stand_in(Some("ZPRIVATE")).await;
    let found = provider.find_zone("_acme-challenge.a.sub.example.com.").await.unwrap();
    assert_eq!(found.as_deref(), Some("sub.example.com."));
    let outside = provider.find_zone("_acme-challenge.example.com.").await.unwrap_err();
    assert!(outside.to_string().contains("does not lie in sub.example.com."), "{outside}");
    assert_eq!(model.lock().unwrap().log.len(), 1);
    let (provider, model) = stand_in(Some("/hostedzone/ZCOM")).await;
    model.lock().unwrap().denies_zone = true;
    assert_eq!(provider.find_zone("_acme-challenge.example.com.").await.unwrap(), None, "the DNS tells");
    provider.apply(&[add("a")]).await.unwrap();
    assert_eq!(model.lock().unwrap().log.last().unwrap(), "POST hostedzone/ZCOM/rrset/");
    let (provider, _) = stand_in(Some("ZNONE")).await;
    let error = provider.find_zone("_acme-challenge.example.com.").await.unwrap_err();
    assert!(matches!(error, ProviderError::NoZone { .. }), "{error}");
}

#[tokio::test]
async fn many_changes_are_one_request() {
    let (provider, model) = stand_in(None).await;
    let names: Vec<String> = (0..50).map(|number| format!("{number}.")).collect();
    let added: Vec<Change> = names.iter().map(|name| at(Action::Add, name, "a")).collect();
    provider.apply(&added).await.unwrap();
    assert_eq!((requests(&model), values(&model).len()), (vec!["POST".to_owned()], 50));
    let removed: Vec<Change> = names.iter().map(|name| at(Action::Remove, name, "a")).collect();
    provider.apply(&removed).await.unwrap();
    assert_eq!((requests(&model), values(&model).len()), (vec!["POST".to_owned()], 0));
}

#[tokio::test]
async fn done_already_is_done() {
    let (provider, model) = stand_in(None).await;
    provider.apply(&[add("a"), add("b")]).await.unwrap();
    provider.apply(&[add("a")]).await.unwrap();
    assert_eq!(values(&model), ["a", "b"]);
    provider.apply(&[remove("a")]).await.unwrap();
    requests(&model);
    provider.apply(&[remove("a")]).await.unwrap();
    assert_eq!((requests(&model), values(&model)), (vec!["POST".to_owned(), "GET".to_owned()], vec!["b".to_owned()]));
}

#[tokio::test]
async fn a_plain_set_of_others_keeps_its_values() {
    let (provider, model) = stand_in(None).await;
    put(&model, plain(&["theirs"]));
    provider.apply(&[add("a"), add("b"), at(Action::Add, "x.", "c")]).await.unwrap();
    assert_eq!(values(&model), ["theirs+a+b", "c"]);
    assert_eq!(requests(&model), ["POST", "GET", "POST"], "only the name that was complained of is read");
    provider.apply(&[remove("a"), at(Action::Remove, "x.", "c")]).await.unwrap();
    assert_eq!(values(&model), ["theirs+b"]);
}

#[tokio::test]
async fn who_writes_in_between_loses_nothing() {
    let (provider, model) = stand_in(None).await;
    put(&model, plain(&["theirs"]));
    let blind = provider.change("ZCOM", &plan::blind(&[add("a")])).await;
    assert!(matches!(blind, Err(Failure::Batch { .. })));
    // Changed after the records were read: the batch does not fit, and they are read again.
    model.lock().unwrap().intruder = Some(plain(&["theirs", "quick"]));
    provider.make_reading("ZCOM", &[add("a")]).await.unwrap();
    assert_eq!(values(&model), ["theirs+quick+a"]);
}

#[tokio::test]
async fn all_pages_of_a_name_are_read() {
    let (provider, model) = stand_in(None).await;
    for value in ["a", "b", "c", "d", "e"] {
        provider.apply(&[add(value)]).await.unwrap();
    }
    requests(&model);
    // With another time to live than ours, it has to be read.
    model.lock().unwrap().sets.values_mut().for_each(|set| set.ttl = Some(60));
    provider.apply(&[remove("e")]).await.unwrap();
    assert_eq!(values(&model), ["a", "b", "c", "d"]);
    assert_eq!(requests(&model), ["POST", "GET", "GET", "GET", "POST"]);
}

#[tokio::test]
async fn no_more_than_an_answer_holds() {
    let (provider, model) = stand_in(None).await;
    let changes: Vec<Change> = (0..9).map(|number| add(&number.to_string())).collect();
    provider.apply(&changes[..5]).await.unwrap();
    provider.apply(&changes[5..8]).await.unwrap();
    let full = provider.apply(&changes[8..]).await.unwrap_err();
    assert!(matches!(full, ProviderError::Throttled { retry_after: Some(_), .. }), "{full}");
    provider.apply(&[remove("0")]).await.unwrap();
    provider.apply(&changes[8..]).await.unwrap();
    assert_eq!(values(&model), ["1", "2", "3", "4", "5", "6", "7", "8"]);
    let (provider, model) = stand_in(None).await;
    provider.apply(&changes).await.unwrap();
    assert_eq!(values(&model), ["0+1+2+3+4+5+6+7+8"], "one plain set, which has no such bound");
    provider.apply(&changes.iter().map(|change| remove(&change.record.value)).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(values(&model), [""; 0]);
}

#[tokio::test]
async fn failures_by_what_helps() {
    let (provider, model) = stand_in(None).await;
    let fail = async |status: u16, body: &str| {
        model.lock().unwrap().script.push_back((status, body.to_owned()));
        provider.find_zone("_acme-challenge.example.com.").await.unwrap_err()
    };
    let denied = fail(403, &error("AccessDenied", "User: arn:aws:iam::1:user/a may not")).await;
    assert!(matches!(denied, ProviderError::Refused { .. }));
    let message = "Route 53 answered 403 Forbidden when asked to list the hosted zones: AccessDenied: User: arn:aws:iam::1:user/a \
                   may not";
    assert_eq!(denied.to_string(), message);
    for code in ["Throttling", "PriorRequestNotComplete"] {
        assert!(matches!(fail(400, &error(code, "Rate exceeded")).await, ProviderError::Throttled { .. }));
    }
    assert!(matches!(fail(503, "").await, ProviderError::Transient { .. }));
    assert!(matches!(fail(200, "<html>").await, ProviderError::Transient { .. }));
    model.lock().unwrap().script = vec![(400, error("InvalidChangeBatch", "[not permitted in zone]")); 9].into();
    let refused = provider.make_reading("ZCOM", &[add("a")]).await.unwrap_err();
    assert!(matches!(refused, ProviderError::Refused { .. }), "{refused}");
}

#[tokio::test]
async fn a_zone_that_is_gone_is_looked_for_again() {
    let (provider, model) = stand_in(None).await;
    provider.apply(&[add("a")]).await.unwrap();
    model.lock().unwrap().script.push_back((404, error("NoSuchHostedZone", "No hosted zone found with ID: ZCOM")));
    assert!(matches!(provider.apply(&[add("b")]).await, Err(ProviderError::NoZone { .. })));
    model.lock().unwrap().log.clear();
    provider.apply(&[add("b")]).await.unwrap();
    assert_eq!(model.lock().unwrap().log.len(), 3, "two pages of zones and the change");
}
