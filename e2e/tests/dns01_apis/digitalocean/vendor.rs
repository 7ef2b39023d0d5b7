//! A stand-in for DigitalOcean's API, version 2, after its published schema (github.com/digitalocean/openapi, resources/domains
//! and shared).

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use certwright_e2e::stand_in::{Answer, Record, Request, Vendor, Zone};
use serde::Deserialize;
use serde_json::{Value, json};

pub const TOKEN: &str = "dop_v1_0123456789abcdef0123456789abcdef";

pub struct DigitalOcean {
    pub zones: Vec<Arc<Zone>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRecord {
    r#type: String,
    name: String,
    data: String,
    ttl: u32,
}

impl Vendor for DigitalOcean {
    fn answer(&self, request: &Request) -> Result<Answer> {
        if request.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
            return Ok(failure(401, "Unauthorized", "Unable to authenticate you"));
        }
        let segments = request.segments();
        let ["v2", "domains", rest @ ..] = &*segments else { bail!("there is no such path") };
        let [domain, rest @ ..] = rest else { return self.list_domains(request) };
        let Some(zone) = self.zones.iter().find(|zone| zone.apex() == *domain) else { return Ok(not_found()) };
        match (request.method.as_str(), rest) {
            ("GET", ["records"]) => list_records(zone, request),
            ("POST", ["records"]) => create(zone, &request.json()?),
            ("DELETE", ["records", id]) => Ok(zone.remove(id.parse()?)?.map_or_else(not_found, |_| Answer::empty(204))),
            _ => bail!("there is no such operation"),
        }
    }
}

impl DigitalOcean {
    fn list_domains(&self, request: &Request) -> Result<Answer> {
        ensure!(request.method == "GET", "domains are not created here");
        let all: Vec<Value> = self
            .zones
            .iter()
            .map(|zone| json!({ "name": zone.apex(), "ttl": 1800, "zone_file": "$ORIGIN …" }))
            .collect();
        paged("domains", &all, request, &["page", "per_page"])
    }
}

fn list_records(zone: &Zone, request: &Request) -> Result<Answer> {
    ensure!(request.parameter("type") == Some("TXT"), "only TXT records are here");
    let name = request.parameter("name");
    ensure!(name.is_none_or(|name| zone.relative(name).is_some()), "the name to look for is fully qualified");
    let records = name.map_or_else(|| zone.records(), |name| zone.at(name));
    let all: Vec<Value> = records.iter().map(|record| shown(zone, record)).collect();
    paged("domain_records", &all, request, &["type", "name", "page", "per_page"])
}

fn create(zone: &Zone, record: &NewRecord) -> Result<Answer> {
    ensure!(record.r#type == "TXT", "the type is {}", record.r#type);
    ensure!(record.ttl >= 30, "the ttl is {}", record.ttl);
    ensure!(!record.data.starts_with('"'), "the data is in quotes");
    ensure!(!record.name.ends_with('.') && zone.relative(&record.name).is_none(), "{} is not relative", record.name);
    let added = zone.add(&zone.absolute(&record.name), &record.data, record.ttl)?;
    Ok(Answer::json(201, &json!({ "domain_record": shown(zone, &added) })))
}

/// What does not belong to the type is null.
fn shown(zone: &Zone, record: &Record) -> Value {
    json!({
        "id": record.id, "type": "TXT", "name": zone.relative(&record.name), "data": record.value, "ttl": record.ttl,
        "priority": null, "port": null, "weight": null, "flags": null, "tag": null,
    })
}

fn paged(key: &str, all: &[Value], request: &Request, known: &[&str]) -> Result<Answer> {
    let unknown = request.query.iter().find(|(name, _)| !known.contains(&name.as_str()));
    ensure!(unknown.is_none(), "the parameter {unknown:?} is not published");
    let page: usize = request.parameter("page").map_or(Ok(1), str::parse)?;
    let size: usize = request.parameter("per_page").map_or(Ok(20), str::parse)?;
    ensure!(page >= 1 && (1..=200).contains(&size), "page {page} of {size}");
    let some: Vec<&Value> = all.iter().skip((page - 1) * size).take(size).collect();
    let next = format!("https://api.digitalocean.com{}?page={}&per_page={size}", request.path, page + 1);
    let links = if page * size < all.len() { json!({ "pages": { "next": next, "last": next } }) } else { json!({}) };
    Ok(Answer::json(200, &json!({ key: some, "links": links, "meta": { "total": all.len() } })))
}

fn not_found() -> Answer {
    failure(404, "not_found", "The resource you were accessing could not be found.")
}

pub fn failure(status: u16, id: &str, message: &str) -> Answer {
    Answer::json(status, &json!({ "id": id, "message": message }))
}
