//! Akamai Edge DNS: API version 2.
//!
//! All values at a name are one record set there, which is read, changed and written back. The API has no way to write only if
//! nothing changed meanwhile, so whoever else writes to the same name in that moment may lose, or we do.

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, Method, StatusCode, Url};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::address::address;
use super::edgegrid::{EdgeGrid, Moment};
use super::endpoints::Endpoints;
use super::http::{Answer, ApiClient};
use super::pace::Pace;
use super::quoting::{quoted, unquoted};
use super::refusals::Refusals;
use super::secret_header::secret_header;
use super::zone_list::{Listing, ZoneList};
use super::{Action, Change, Provider, ProviderError, by_name};
use crate::dns::name::shown;

/// The vendor publishes no limit.
const REQUESTS_PER_SECOND: f64 = 5.0;
const REQUESTS_AT_ONCE: u32 = 30;

const ZONES_A_PAGE: usize = 500;

/// Longer lists are not read to their end: 10,000 zones.
const MOST_PAGES: usize = 20;

/// In seconds; what is usual there. A record set that is there keeps its own.
const LEAST_TTL: u32 = 300;

/// How often a record set is read and written when others write, too.
const TRIES: usize = 3;

/// Changes of one zone, which are likely at one name and then one write.
const CHANGES_AT_ONCE: usize = 20;

/// The only kind of zone whose records are written by the API.
const PRIMARY: &str = "PRIMARY";

/// See the module's description.
#[derive(Debug)]
pub struct Akamai {
    api: ApiClient,
    /// Where requests are sent.
    base: Url,
    /// As the vendor sees it, for which requests are signed.
    vendors: Url,
    login: EdgeGrid,
    /// The zones' kinds.
    zones: ZoneList<String>,
    /// One write at a time, so that none of ours overtakes another.
    writing: Mutex<()>,
}

#[derive(Deserialize)]
struct ZonesPage {
    metadata: PageMetadata,
    zones: Vec<Zone>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    total_elements: usize,
}

#[derive(Deserialize)]
struct Zone {
    zone: String,
    r#type: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RecordSet {
    name: String,
    r#type: String,
    ttl: u32,
    rdata: Vec<String>,
}

#[derive(Deserialize)]
struct Problem {
    title: String,
    detail: Option<String>,
}

impl Akamai {
    /// `domain` is the host of the API as the credentials give it.
    ///
    /// # Errors
    ///
    /// A domain that is none, or credentials that a request cannot carry.
    pub fn new(http: Client, endpoints: &Endpoints, domain: &str, login: EdgeGrid) -> Result<Self, ProviderError> {
        let vendors = vendors_address(domain)?;
        for (what, text) in [("the client token", &login.client_token), ("the access token", &login.access_token)] {
            secret_header(what, text.expose())?;
        }
        Ok(Self {
            api: ApiClient::new("Akamai", http, Pace::new(REQUESTS_PER_SECOND, REQUESTS_AT_ONCE)),
            base: endpoints.url("akamai", vendors.as_str())?,
            vendors,
            login,
            zones: ZoneList::default(),
            writing: Mutex::new(()),
        })
    }

    async fn all_zones(&self) -> Result<Listing<String>, ProviderError> {
        const DOING: &str = "list the zones";
        let mut all: Vec<Zone> = Vec::new();
        for page in 1..=MOST_PAGES {
            let query = [("page", page.to_string()), ("pageSize", ZONES_A_PAGE.to_string())];
            let query = query.each_ref().map(|(name, value)| (*name, value.as_str()));
            let answer = self.send(DOING, Method::GET, &["zones"], &query, None).await?;
            if !answer.status.is_success() {
                return Err(self.failure(DOING, &answer));
            }
            let page: ZonesPage = self.api.json(DOING, &answer)?;
            let is_last = page.zones.is_empty();
            all.extend(page.zones);
            if is_last || all.len() >= page.metadata.total_elements {
                break;
            }
        }
        Ok(Listing::All(all.into_iter().map(|zone| (zone.zone, zone.r#type)).collect()))
    }

    /// Makes the changes at one name: one write, and another one if somebody else wrote meanwhile.
    async fn apply_at(&self, name: &str, changes: &[&Change]) -> Result<(), ProviderError> {
        let zone = shown(&changes[0].record.zone);
        let path = ["zones", zone, "names", name, "types", "TXT"];
        let doing = format!("change the TXT records at {name}");
        let mut tries = 1..=TRIES;
        loop {
            let held = self.held(name, &path).await?;
            let Some((method, wanted)) = write(name, held.as_ref(), changes) else { return Ok(()) };
            let answer = self.send(&doing, method, &path, &[], wanted.as_ref()).await?;
            let was_overtaken = matches!(answer.status.as_u16(), 400 | 404 | 409);
            if answer.status.is_success() {
                return Ok(());
            }
            tries.next();
            if !was_overtaken || tries.is_empty() {
                return Err(self.failure(&doing, &answer));
            }
        }
    }

    async fn held(&self, name: &str, path: &[&str]) -> Result<Option<RecordSet>, ProviderError> {
        let doing = format!("read the TXT records at {name}");
        let answer = self.send(&doing, Method::GET, path, &[], None).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => self.api.json(&doing, &answer).map(Some),
            _ => Err(self.failure(&doing, &answer)),
        }
    }

    /// Others who write to the zone at the same time are overcome by trying again later.
    fn failure(&self, doing: &str, answer: &Answer) -> ProviderError {
        let told = serde_json::from_slice::<Problem>(&answer.body).ok();
        let words = told.map(|problem| match problem.detail {
            Some(detail) => format!("{}: {detail}", problem.title),
            None => problem.title,
        });
        match self.api.failure(doing, answer, words.as_deref()) {
            ProviderError::Refused { message, source } if answer.status == StatusCode::CONFLICT => {
                ProviderError::Transient { message, source }
            }
            other => other,
        }
    }

    async fn send(
        &self,
        doing: &str,
        method: Method,
        segments: &[&str],
        query: &[(&str, &str)],
        body: Option<&RecordSet>,
    ) -> Result<Answer, ProviderError> {
        let segments = [&["config-dns", "v2"], segments].concat();
        let body = body.map(|body| serde_json::to_vec(body).unwrap_or_default()).unwrap_or_default();
        let Some(moment) = Moment::now() else {
            return Err(ProviderError::Transient { message: "there is no randomness".to_owned(), source: None });
        };
        let signature = self.login.sign(&method, &address(&self.vendors, &segments, query), &body, &moment);
        let mut request = self.api.http().request(method, address(&self.base, &segments, query));
        request = request.header(AUTHORIZATION, secret_header("the client token", &signature)?);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        self.api.send(doing, request).await
    }
}

#[async_trait]
impl Provider for Akamai {
    async fn find_zone(&self, name: &str) -> Result<Option<String>, ProviderError> {
        let (apex, kind) = self.zones.find(name, self.all_zones()).await?;
        if kind == PRIMARY {
            return Ok(Some(apex));
        }
        let message =
            format!("the zone {} is of type {kind} at Akamai, so its records are not kept there", shown(&apex));
        Err(ProviderError::NoZone { message })
    }

    async fn apply(&self, changes: &[Change]) -> Result<(), ProviderError> {
        let _writing = self.writing.lock().await;
        let mut refusals = Refusals::default();
        for (name, here) in by_name(changes) {
            let here: Vec<&Change> = here.iter().collect();
            refusals.note(self.apply_at(shown(&name), &here).await)?;
        }
        refusals.told()
    }

    fn most_at_once(&self) -> usize {
        CHANGES_AT_ONCE
    }
}

/// The address of the API by its host. People store it with `https://` and with a closing slash, too.
fn vendors_address(domain: &str) -> Result<Url, ProviderError> {
    let host = domain.trim().trim_start_matches("https://").trim_end_matches('/');
    let url = format!("https://{host}").parse().ok();
    let is_host = |url: &Url| url.host_str().is_some_and(|found| found.eq_ignore_ascii_case(host));
    url.filter(is_host).ok_or_else(|| ProviderError::Refused {
        message: format!("serviceConsumerDomain {domain:?} is not the name of a host"),
        source: None,
    })
}

/// What has to be written so that the changes are made; nothing if they are.
fn write(name: &str, held: Option<&RecordSet>, changes: &[&Change]) -> Option<(Method, Option<RecordSet>)> {
    let before = held.map(|held| held.rdata.clone()).unwrap_or_default();
    let (mut rdata, mut ttl) = (before.clone(), LEAST_TTL);
    for Change { action, record } in changes {
        let is_same = |text: &String| unquoted(text) == record.value;
        match action {
            Action::Remove => rdata.retain(|text| !is_same(text)),
            Action::Add if rdata.iter().any(is_same) => {}
            Action::Add => rdata.push(quoted(&record.value)),
        }
        ttl = ttl.max(record.ttl);
    }
    if rdata == before {
        return None;
    }
    if rdata.is_empty() {
        return Some((Method::DELETE, None));
    }
    let ttl = held.map_or(ttl, |held| held.ttl);
    let method = if held.is_some() { Method::PUT } else { Method::POST };
    Some((method, Some(RecordSet { name: name.to_owned(), r#type: "TXT".to_owned(), ttl, rdata })))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dns::provider::TxtRecord;

    const NAME: &str = "_acme-challenge.example.com";

    fn change(action: Action, value: &str) -> Change {
        let (zone, name) = ("example.com.".to_owned(), format!("{NAME}."));
        Change { action, record: TxtRecord { zone, name, domain: String::new(), value: value.to_owned(), ttl: 60 } }
    }

    fn set(rdata: &[&str], ttl: u32) -> RecordSet {
        let rdata = rdata.iter().map(|&text| text.to_owned()).collect();
        RecordSet { name: NAME.to_owned(), r#type: "TXT".to_owned(), ttl, rdata }
    }

    #[test]
    fn a_set_is_made_changed_and_removed_and_foreign_values_stay() {
        let (add, remove) = (change(Action::Add, "ours"), change(Action::Remove, "ours"));
        let foreign = r#""foreign \"one\"""#;
        assert_eq!(write(NAME, None, &[&add]), Some((Method::POST, Some(set(&[r#""ours""#], 300)))));
        let held = set(&[foreign], 1800);
        let both = set(&[foreign, r#""ours""#], 1800);
        assert_eq!(write(NAME, Some(&held), &[&add]), Some((Method::PUT, Some(both.clone()))));
        assert_eq!(write(NAME, Some(&both), &[&add]), None);
        assert_eq!(write(NAME, Some(&both), &[&remove]), Some((Method::PUT, Some(held.clone()))));
        assert_eq!(write(NAME, Some(&held), &[&remove]), None);
        assert_eq!(write(NAME, None, &[&remove]), None);
        assert_eq!(write(NAME, Some(&set(&["ours"], 300)), &[&remove]), Some((Method::DELETE, None)));
        let other = change(Action::Add, "other");
        let next = set(&[foreign, r#""other""#], 1800);
        assert_eq!(write(NAME, Some(&both), &[&remove, &other]), Some((Method::PUT, Some(next))));
    }

    #[test]
    fn the_domain_is_a_host_and_nothing_else() {
        for domain in ["akab-x.luna.akamaiapis.net", "https://Akab-X.luna.akamaiapis.net/ "] {
            let url = vendors_address(domain).unwrap();
            assert_eq!(url.as_str(), "https://akab-x.luna.akamaiapis.net/");
        }
        for domain in ["", "a.example/path", "user@a.example", "a.example:8443", "http://a.example"] {
            assert!(vendors_address(domain).is_err(), "{domain}");
        }
    }

    #[test]
    fn a_problem_is_told_and_a_conflict_passes() {
        let login = EdgeGrid { client_token: "a".into(), client_secret: "b".into(), access_token: "c".into() };
        let akamai = Akamai::new(Client::new(), &Endpoints::default(), "a.luna.akamaiapis.net", login).unwrap();
        let error = |status, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            akamai.failure("x", &Answer { status, headers: reqwest::header::HeaderMap::new(), body: body.into() })
        };
        let refused = r#"{"type":"https://problems.luna.akamaiapis.net/-/pep-authn/deny","title":"Not authorized",
            "status":401,"detail":"The signature does not match","instance":"https://a/1","requestId":"42"}"#;
        let message = "Akamai answered 401 Unauthorized when asked to x: Not authorized: The signature does not match";
        assert_eq!(error(401, refused).to_string(), message);
        assert!(!error(401, refused).is_transient());
        assert!(error(409, r#"{"title":"Concurrent Zone Modification Error"}"#).is_transient());
    }
}
