//! A stand-in for Cloudflare's API, version 4, after its published schema (github.com/cloudflare/api-schemas, tags "Zone" and
//! "DNS Records for a Zone").

use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, bail, ensure};
use certwright_e2e::stand_in::{Answer, Record, Request, Vendor, Zone, unquoted};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::stage::FOREIGN;

pub const TOKEN: &str = "v1token-oftheaccount-0123456789abcdefghi";
/// May only see zones that it is asked about by name.
pub const SCOPED_TOKEN: &str = "v1token-forafewzones-0123456789abcdefghi";
pub const EMAIL: &str = "admin@example.com";
pub const KEY: &str = "c2547eb745079dac9320b638f5e225cf483cc5cf";

/// Zones a page, which is fewer than the real one gives, so that there are pages.
const MOST_A_PAGE: usize = 50;

pub struct Cloudflare {
    zones: Mutex<Vec<Arc<Zone>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Post {
    r#type: String,
    name: String,
    content: String,
    ttl: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    #[serde(default)]
    deletes: Vec<Id>,
    #[serde(default)]
    posts: Vec<Post>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Id {
    id: String,
}

impl Vendor for Cloudflare {
    fn answer(&self, request: &Request) -> Result<Answer> {
        let segments = request.segments();
        let ["client", "v4", rest @ ..] = &*segments else { bail!("there is no such path") };
        let Some(is_scoped) = is_scoped(request) else { return Ok(refusal(request)) };
        match (request.method.as_str(), rest) {
            ("GET", ["zones"]) => self.list_zones(request, is_scoped),
            ("GET", ["zones", zone, "dns_records"]) => {
                let zone = self.zone(zone)?;
                list_records(&zone, request)
            }
            ("POST", ["zones", zone, "dns_records"]) => {
                let zone = self.zone(zone)?;
                let post: Post = request.json()?;
                check(&zone, &post)?;
                if exists(&zone, &post)? { Ok(identical()) } else { Ok(success(&add(&zone, &post)?)) }
            }
            ("POST", ["zones", zone, "dns_records", "batch"]) => {
                let zone = self.zone(zone)?;
                batch(&zone, &request.json()?)
            }
            ("DELETE", ["zones", zone, "dns_records", id]) => match self.zone(zone)?.remove(number(id)?)? {
                Some(_) => Ok(success(&json!({ "id": id }))),
                None => Ok(failure(404, 81044, "Record does not exist.")),
            },
            _ => bail!("there is no such operation"),
        }
    }
}

impl Cloudflare {
    pub fn new(zones: Vec<Arc<Zone>>) -> Self {
        Self { zones: Mutex::new(zones) }
    }

    /// Adds a zone to the account.
    pub fn add_zone(&self, zone: Arc<Zone>) {
        self.zones.lock().unwrap().push(zone);
    }

    fn zone(&self, id: &str) -> Result<Arc<Zone>> {
        let place = usize::try_from(number(id)?)?;
        self.zones.lock().unwrap().get(place).cloned().with_context(|| format!("there is no zone {id}"))
    }

    fn list_zones(&self, request: &Request, is_scoped: bool) -> Result<Answer> {
        known_parameters(request, &["name", "page", "per_page"])?;
        let name = request.parameter("name");
        let (page, size) = paging(request, 20, 5, MOST_A_PAGE)?;
        let is_meant = |zone: &Zone| name.is_none_or(|name| zone.apex() == name);
        let held = self.zones.lock().unwrap().clone();
        let zones = held.iter().enumerate().filter(|(_, zone)| is_meant(zone));
        let all: Vec<Value> = zones
            .map(|(place, zone)| {
                json!({ "id": format!("{place:032x}"), "name": zone.apex(), "status": "active", "type": "full" })
            })
            .collect();
        if is_scoped && (name.is_none() || all.is_empty()) {
            let message = "Actor 'com.cloudflare.api.token.x' requires permission 'com.cloudflare.api.account.zone.list' \
                           to list zones";
            return Ok(failure(403, 0, message));
        }
        Ok(paged(&all, page, size))
    }
}

/// Whether the credentials are those for a few zones; none if they are nobody's.
fn is_scoped(request: &Request) -> Option<bool> {
    let by_key = request.header("x-auth-email") == Some(EMAIL) && request.header("x-auth-key") == Some(KEY);
    match request.header("authorization") {
        None => by_key.then_some(false),
        Some(bearer) => match bearer.strip_prefix("Bearer ")? {
            TOKEN => Some(false),
            SCOPED_TOKEN => Some(true),
            _ => None,
        },
    }
}

fn refusal(request: &Request) -> Answer {
    match request.header("authorization") {
        Some(_) => failure(403, 9109, "Invalid access token"),
        None => failure(403, 9103, "Unknown X-Auth-Key or X-Auth-Email"),
    }
}

fn list_records(zone: &Zone, request: &Request) -> Result<Answer> {
    known_parameters(request, &["name", "type", "page", "per_page"])?;
    ensure!(request.parameter("type") == Some("TXT"), "only TXT records are here");
    let (page, size) = paging(request, 100, 1, 5_000_000)?;
    let records = match request.parameter("name") {
        Some(name) => zone.at(name),
        None => zone.records(),
    };
    Ok(paged(&records.iter().map(shown).collect::<Vec<_>>(), page, size))
}

/// All or nothing; deletes come first.
fn batch(zone: &Zone, batch: &Batch) -> Result<Answer> {
    ensure!(batch.deletes.len() + batch.posts.len() <= 200, "a batch has at most 200 changes");
    for Id { id } in &batch.deletes {
        if !zone.records().iter().any(|record| format!("{:032x}", record.id) == *id) {
            return Ok(failure(400, 81044, "Record does not exist."));
        }
    }
    for post in &batch.posts {
        check(zone, post)?;
        if exists(zone, post)? {
            return Ok(identical());
        }
    }
    for Id { id } in &batch.deletes {
        zone.remove(number(id)?)?;
    }
    let added: Vec<Value> = batch.posts.iter().map(|post| add(zone, post)).collect::<Result<_>>()?;
    let deleted: Vec<Value> = batch.deletes.iter().map(|Id { id }| json!({ "id": id })).collect();
    Ok(success(&json!({ "deletes": deleted, "patches": [], "puts": [], "posts": added })))
}

fn check(zone: &Zone, post: &Post) -> Result<()> {
    ensure!(post.r#type == "TXT", "the type is {}", post.r#type);
    ensure!(post.ttl == 1 || (60..=86400).contains(&post.ttl), "the ttl is {}", post.ttl);
    ensure!(post.name.len() <= 255 && zone.relative(&post.name).is_some(), "{} is not in {}", post.name, zone.apex());
    ensure!(!post.name.ends_with('.'), "{} has a closing dot", post.name);
    unquoted(&post.content).map(drop)
}

fn exists(zone: &Zone, post: &Post) -> Result<bool> {
    Ok(zone.values(&post.name).contains(&unquoted(&post.content)?))
}

fn add(zone: &Zone, post: &Post) -> Result<Value> {
    Ok(shown(&zone.add(&post.name, &unquoted(&post.content)?, post.ttl)?))
}

/// Content is shown as it was entered, which was without quotes for a long time.
fn shown(record: &Record) -> Value {
    let value = &record.value;
    let content = if value == FOREIGN { value.clone() } else { format!("\"{value}\"") };
    let id = format!("{:032x}", record.id);
    json!({ "id": id, "type": "TXT", "name": record.name, "content": content, "ttl": record.ttl, "proxied": false })
}

fn number(id: &str) -> Result<u64> {
    ensure!(id.len() == 32, "{id} is not an identifier of 32 digits");
    Ok(u64::from_str_radix(id, 16)?)
}

fn known_parameters(request: &Request, known: &[&str]) -> Result<()> {
    let unknown = request.query.iter().find(|(name, _)| !known.contains(&name.as_str()));
    ensure!(unknown.is_none(), "the parameter {unknown:?} is not published");
    Ok(())
}

fn paging(request: &Request, usual: usize, least: usize, most: usize) -> Result<(usize, usize)> {
    let page = request.parameter("page").map_or(Ok(1), str::parse)?;
    let size = request.parameter("per_page").map_or(Ok(usual), str::parse)?;
    ensure!(page >= 1 && (least..=most).contains(&size), "page {page} of {size}");
    Ok((page, size))
}

fn paged(all: &[Value], page: usize, size: usize) -> Answer {
    let some: Vec<&Value> = all.iter().skip((page - 1) * size).take(size).collect();
    let total = all.len();
    let information = json!({ "page": page, "per_page": size, "count": some.len(), "total_count": total,
        "total_pages": total.div_ceil(size) });
    let body = json!({ "success": true, "errors": [], "messages": [], "result": some, "result_info": information });
    Answer::json(200, &body)
}

fn success(result: &Value) -> Answer {
    Answer::json(200, &json!({ "success": true, "errors": [], "messages": [], "result": result }))
}

fn identical() -> Answer {
    failure(400, 81058, "An identical record already exists.")
}

pub fn failure(status: u16, code: i64, message: &str) -> Answer {
    let errors = json!([{ "code": code, "message": message }]);
    Answer::json(status, &json!({ "success": false, "errors": errors, "messages": [], "result": null }))
}
