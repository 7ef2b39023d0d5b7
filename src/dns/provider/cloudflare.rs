//! Cloudflare: API version 4.
//!
//! Values are records of their own there, so that adding and removing one never touches another. Several go into one batch.

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName};
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::address::address;
use super::endpoints::Endpoints;
use super::http::{Answer, ApiClient};
use super::pace::Pace;
use super::quoting::{quoted, unquoted};
use super::refusals::Refusals;
use super::secret_header::secret_header;
use super::zone_list::{Listing, ZoneList, no_zone, suffixes};
use super::{Action, Change, Provider, ProviderError, TxtRecord};
use crate::api::Sensitive;
use crate::dns::name::shown;

const VENDORS_ADDRESS: &str = "https://api.cloudflare.com/client/v4";

/// 1,200 requests in five minutes are allowed; some room is left for others with the same credentials.
const REQUESTS_PER_SECOND: f64 = 3.5;
const REQUESTS_AT_ONCE: u32 = 100;

/// The most that a page of zones may have.
const ZONES_A_PAGE: usize = 50;
const RECORDS_A_PAGE: usize = 100;

/// Longer lists are not read to their end: 5,000 zones, 10,000 values at one name.
const MOST_PAGES: usize = 100;

/// A batch may have 200 changes in the smallest of the vendor's plans.
const CHANGES_A_BATCH: usize = 100;

/// In seconds. The vendor takes no less, but for its largest customers.
const LEAST_TTL: u32 = 60;

/// The vendor's codes for a record that is there already, and for one that is not there.
const EXISTS: [i64; 2] = [81057, 81058];
const DOES_NOT_EXIST: i64 = 81044;

/// How to sign in.
#[derive(Clone, Debug)]
pub enum Login {
    /// An API token with the permissions Zone:Read and DNS:Edit.
    Token(Sensitive),
    /// The global API key of an account, which may do everything.
    Key { email: String, key: Sensitive },
}

/// See the module's description.
#[derive(Debug)]
pub struct Cloudflare {
    api: ApiClient,
    base: Url,
    headers: HeaderMap,
    /// The zones' ids.
    zones: ZoneList<String>,
}

/// What every answer is wrapped in.
#[derive(Deserialize)]
struct Envelope<T> {
    success: bool,
    #[serde(default)]
    errors: Vec<VendorError>,
    result: Option<T>,
}

#[derive(Deserialize)]
struct VendorError {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
    /// What is behind it, where the message says little.
    #[serde(default)]
    error_chain: Vec<VendorError>,
}

#[derive(Deserialize)]
struct Zone {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Record {
    id: String,
    content: String,
}

impl Cloudflare {
    /// # Errors
    ///
    /// Credentials that a request cannot carry.
    pub fn new(http: Client, endpoints: &Endpoints, login: &Login) -> Result<Self, ProviderError> {
        let pace = Pace::new(REQUESTS_PER_SECOND, REQUESTS_AT_ONCE);
        Ok(Self {
            api: ApiClient::new("Cloudflare", http, pace),
            base: endpoints.url("cloudflare", VENDORS_ADDRESS)?,
            headers: login.headers()?,
            zones: ZoneList::default(),
        })
    }

    async fn zone(&self, name: &str) -> Result<(String, String), ProviderError> {
        self.zones.find(name, self.zones_for(name)).await
    }

    /// All zones. Tokens for some zones only may not be allowed to list them; they are asked about one by one.
    async fn zones_for(&self, name: &str) -> Result<Listing<String>, ProviderError> {
        let listed = self.pages("list the zones", &["zones"], &[], ZONES_A_PAGE).await;
        match listed.map(|zones| zones.into_iter().map(|zone: Zone| (zone.name, zone.id)).collect()) {
            Ok(zones) => Ok(Listing::All(zones)),
            Err(error @ ProviderError::Refused { .. }) => self.zone_by_name(name).await.unwrap_or(Err(error)),
            Err(error) => Err(error),
        }
    }

    /// The longest zone of the name that the vendor tells about; none if every question is refused. To ask about a zone that
    /// does not exist is refused to some tokens, too.
    async fn zone_by_name(&self, name: &str) -> Option<Result<Listing<String>, ProviderError>> {
        let mut was_answered = false;
        for suffix in suffixes(name).filter(|suffix| suffix.contains('.')) {
            match self.ask::<Vec<Zone>>("find the zone", self.get(&["zones"], &[("name", suffix)])).await {
                Ok(zones) => match zones.into_iter().find(|zone| zone.name == suffix) {
                    Some(zone) => return Some(Ok(Listing::One(zone.name, zone.id))),
                    None => was_answered = true,
                },
                Err(ProviderError::Refused { .. }) => {}
                Err(error) => return Some(Err(error)),
            }
        }
        was_answered.then(|| Err(no_zone(name, None)))
    }

    async fn add(&self, zone: &str, records: &[&TxtRecord]) -> Result<(), ProviderError> {
        if let [_, _, ..] = records {
            let posts: Vec<Value> = records.iter().map(|record| body(record)).collect();
            let doing = format!("add {} TXT records", records.len());
            match self.batch(&doing, zone, &json!({ "posts": posts })).await {
                // One that is there already spoils the whole batch.
                Err(ProviderError::Refused { .. }) => {}
                other => return other,
            }
        }
        let mut refusals = Refusals::default();
        for record in records {
            let doing = format!("add a TXT record at {}", shown(&record.name));
            let request = self.request(Method::POST, &["zones", zone, "dns_records"], &[]).json(&body(record));
            refusals.note(self.tolerant(&doing, request, &EXISTS).await)?;
        }
        refusals.told()
    }

    async fn remove(&self, zone: &str, records: &[&TxtRecord]) -> Result<(), ProviderError> {
        let ids = self.ids(zone, records).await?;
        if let [_, _, ..] = &*ids {
            let deletes: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
            let doing = format!("remove {} TXT records", ids.len());
            match self.batch(&doing, zone, &json!({ "deletes": deletes })).await {
                // One that somebody else removed meanwhile spoils the whole batch.
                Err(ProviderError::Refused { .. }) => {}
                other => return other,
            }
        }
        let mut refusals = Refusals::default();
        for id in ids {
            let request = self.request(Method::DELETE, &["zones", zone, "dns_records", &id], &[]);
            refusals.note(self.tolerant("remove a TXT record", request, &[DOES_NOT_EXIST]).await)?;
        }
        refusals.told()
    }

    /// The ids of the records with these names and values. One name is asked about once.
    async fn ids(&self, zone: &str, records: &[&TxtRecord]) -> Result<Vec<String>, ProviderError> {
        let mut names: Vec<&str> = records.iter().map(|record| shown(&record.name)).collect();
        names.sort_unstable();
        names.dedup();
        let mut ids = Vec::new();
        for name in names {
            let doing = format!("list the TXT records at {name}");
            let query = [("type", "TXT"), ("name", name)];
            let found: Vec<Record> =
                self.pages(&doing, &["zones", zone, "dns_records"], &query, RECORDS_A_PAGE).await?;
            let is_meant = |record: &Record| {
                let value = unquoted(&record.content);
                records.iter().any(|meant| shown(&meant.name) == name && meant.value == value)
            };
            ids.extend(found.into_iter().filter(is_meant).map(|record| record.id));
        }
        Ok(ids)
    }

    async fn batch(&self, doing: &str, zone: &str, changes: &Value) -> Result<(), ProviderError> {
        let request = self.request(Method::POST, &["zones", zone, "dns_records", "batch"], &[]).json(changes);
        self.ask::<Value>(doing, request).await.map(drop)
    }

    /// A list in pages, whole.
    async fn pages<T: DeserializeOwned>(
        &self,
        doing: &str,
        segments: &[&str],
        query: &[(&str, &str)],
        page_size: usize,
    ) -> Result<Vec<T>, ProviderError> {
        let (mut all, size) = (Vec::new(), page_size.to_string());
        for page in 1..=MOST_PAGES {
            let number = page.to_string();
            let paging = [("page", number.as_str()), ("per_page", size.as_str())];
            let found: Vec<T> = self.ask(doing, self.get(segments, &[query, &paging].concat())).await?;
            let is_last = found.len() < page_size;
            all.extend(found);
            if is_last {
                break;
            }
        }
        Ok(all)
    }

    /// A request whose failure with one of these codes is success.
    async fn tolerant(&self, doing: &str, request: RequestBuilder, codes: &[i64]) -> Result<(), ProviderError> {
        let answer = self.api.send(doing, request).await?;
        let told = serde_json::from_slice::<Envelope<Value>>(&answer.body).map(|told| told.errors).unwrap_or_default();
        if !answer.status.is_success() && told.iter().any(|error| codes.contains(&error.code)) {
            return Ok(());
        }
        self.result::<Value>(doing, &answer).map(drop)
    }

    async fn ask<T: DeserializeOwned>(&self, doing: &str, request: RequestBuilder) -> Result<T, ProviderError> {
        let answer = self.api.send(doing, request).await?;
        self.result(doing, &answer)
    }

    fn result<T: DeserializeOwned>(&self, doing: &str, answer: &Answer) -> Result<T, ProviderError> {
        let envelope = serde_json::from_slice::<Envelope<T>>(&answer.body);
        match envelope {
            Ok(Envelope { success: true, result: Some(result), .. }) if answer.status.is_success() => Ok(result),
            Ok(Envelope { errors, .. }) => Err(self.api.failure(doing, answer, words(&errors).as_deref())),
            Err(_) if answer.status == StatusCode::OK => Err(self.api.unreadable(doing)),
            Err(_) => Err(self.api.failure(doing, answer, None)),
        }
    }

    fn get(&self, segments: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        self.request(Method::GET, segments, query)
    }

    fn request(&self, method: Method, segments: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        let url = address(&self.base, segments, query);
        self.api.http().request(method, url).headers(self.headers.clone())
    }
}

#[async_trait]
impl Provider for Cloudflare {
    async fn find_zone(&self, name: &str) -> Result<Option<String>, ProviderError> {
        self.zone(name).await.map(|(apex, _)| Some(apex))
    }

    async fn apply(&self, changes: &[Change]) -> Result<(), ProviderError> {
        let Some(first) = changes.first() else { return Ok(()) };
        let (_, zone) = self.zone(&first.record.zone).await?;
        let of = |action| changes.iter().filter(move |change| change.action == action).map(|change| &change.record);
        let (removed, added): (Vec<_>, Vec<_>) = (of(Action::Remove).collect(), of(Action::Add).collect());
        let mut refusals = Refusals::default();
        refusals.note(self.remove(&zone, &removed).await)?;
        refusals.note(self.add(&zone, &added).await)?;
        refusals.told()
    }

    fn most_at_once(&self) -> usize {
        CHANGES_A_BATCH
    }
}

impl Login {
    fn headers(&self) -> Result<HeaderMap, ProviderError> {
        let mut headers = HeaderMap::new();
        match self {
            Self::Token(token) => {
                headers.insert(AUTHORIZATION, secret_header("the API token", &format!("Bearer {}", token.expose()))?);
            }
            Self::Key { email, key } => {
                headers.insert(HeaderName::from_static("x-auth-email"), secret_header("the mail address", email)?);
                headers.insert(HeaderName::from_static("x-auth-key"), secret_header("the API key", key.expose())?);
            }
        }
        Ok(headers)
    }
}

fn body(record: &TxtRecord) -> Value {
    let (name, content) = (shown(&record.name), quoted(&record.value));
    json!({ "type": "TXT", "name": name, "content": content, "ttl": record.ttl.max(LEAST_TTL) })
}

/// The vendor's words, each with its code, which is what is written about.
fn words(errors: &[VendorError]) -> Option<String> {
    let all = errors.iter().flat_map(|error| std::iter::once(error).chain(&error.error_chain));
    let told: Vec<String> = all.map(|error| format!("{} (code {})", error.message, error.code)).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn cloudflare() -> Cloudflare {
        Cloudflare::new(Client::new(), &Endpoints::default(), &Login::Token("secret".into())).unwrap()
    }

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec() }
    }

    #[test]
    fn a_result_is_read_and_a_failure_is_told_with_its_code() {
        let api = cloudflare();
        let zones = r#"{"success":true,"errors":[],"messages":[],"result":[{"id":"023e105f4ecef8ad9ca31a8372d0c353","name":"example.com","status":"active"}]}"#;
        let read: Vec<Zone> = api.result("list the zones", &answer(200, zones)).unwrap();
        assert_eq!((&*read[0].id, &*read[0].name), ("023e105f4ecef8ad9ca31a8372d0c353", "example.com"));

        let refused = r#"{"success":false,"errors":[{"code":6003,"message":"Invalid request headers","error_chain":[{"code":6111,"message":"Invalid format for Authorization header"}]}],"messages":[],"result":null}"#;
        let error = api.result::<Value>("list the zones", &answer(400, refused)).unwrap_err();
        assert!(matches!(error, ProviderError::Refused { .. }));
        assert_eq!(
            error.to_string(),
            "Cloudflare answered 400 Bad Request when asked to list the zones: Invalid request headers (code 6003); \
             Invalid format for Authorization header (code 6111)"
        );
    }

    #[test]
    fn what_is_no_envelope_is_told_by_its_status() {
        let api = cloudflare();
        let error = |status| api.result::<Value>("list the zones", &answer(status, "<html>")).unwrap_err();
        assert!(error(200).is_transient() && error(200).to_string().contains("unreadable"));
        assert!(matches!(error(403), ProviderError::Refused { .. }));
        let unsuccessful = r#"{"success":false,"errors":[{"code":1,"message":"no"}],"result":null}"#;
        assert!(api.result::<Value>("list the zones", &answer(200, unsuccessful)).is_err());
    }

    #[test]
    fn credentials_are_sent_as_published_and_hidden() {
        let key = Login::Key { email: "admin@example.com".into(), key: "c2547eb745079dac9320".into() };
        let headers = key.headers().unwrap();
        assert!(headers["x-auth-email"] == "admin@example.com" && headers["x-auth-key"] == "c2547eb745079dac9320");
        assert!(!format!("{:?} {:?}", cloudflare(), headers).contains("c2547"));
        let error = Login::Token("two\nlines".into()).headers().unwrap_err().to_string();
        assert!(error.contains("the API token") && !error.contains("lines"), "{error}");
    }
}
