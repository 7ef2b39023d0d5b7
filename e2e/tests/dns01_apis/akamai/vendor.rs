//! A stand-in for Akamai's Edge DNS API, version 2, after its published schema (github.com/akamai/akamai-apis, config-dns/v2)
//! and the vendor's description of EdgeGrid signatures (techdocs.akamai.com/developer/docs/authenticate-with-edgegrid).

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, bail, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certwright_e2e::stand_in::{Answer, Request, Vendor, Zone, unquoted};
use jiff::Timestamp;
use jiff::fmt::strtime;
use serde::Deserialize;
use serde_json::{Value, json};

/// The host for which requests are signed.
pub const DOMAIN: &str = "akab-0123456789abcdef.luna.akamaiapis.net";
pub const CLIENT_TOKEN: &str = "akab-client-0123456789abcdef-0123456789abcdef";
pub const CLIENT_SECRET: &str = "Zm9yIHRlc3RzIG9ubHksIG5vdCBhIHNlY3JldCBhdCBhbGw=";
pub const ACCESS_TOKEN: &str = "akab-access-0123456789abcdef-0123456789abcdef";

/// How far the clocks may be apart, in seconds.
const CLOCKS: i64 = 30;

pub struct Akamai {
    /// Each with its type.
    pub zones: Vec<(Arc<Zone>, &'static str)>,
    nonces: Mutex<HashSet<String>>,
    /// Somebody else writes this value right before the next write.
    overtaken: AtomicBool,
}

/// What somebody else writes.
pub const OVERTAKER: &str = "written in between";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordSet {
    name: String,
    r#type: String,
    ttl: u32,
    rdata: Vec<String>,
}

impl Vendor for Akamai {
    fn answer(&self, request: &Request) -> Result<Answer> {
        if !self.is_signed(request)? {
            let detail = "The signature does not match";
            return Ok(problem(401, "-/pep-authn/deny", "Not authorized", detail));
        }
        match (request.method.as_str(), &*request.segments()) {
            ("GET", ["config-dns", "v2", "zones"]) => self.list_zones(request),
            (method, ["config-dns", "v2", "zones", zone, "names", name, "types", "TXT"]) => {
                let known = self.zones.iter().find(|(known, kind)| known.apex() == *zone && *kind == "PRIMARY");
                let (zone, _) = known.context("there is no such primary zone")?;
                ensure!(zone.relative(name).is_some() && !name.ends_with('.'), "{name} is not in {}", zone.apex());
                self.record_set(method, zone, name, request)
            }
            _ => bail!("there is no such operation"),
        }
    }
}

impl Akamai {
    pub fn new(zones: Vec<(Arc<Zone>, &'static str)>) -> Self {
        Self { zones, nonces: Mutex::default(), overtaken: AtomicBool::new(false) }
    }

    /// Has somebody else write [`OVERTAKER`] right before the next write.
    pub fn overtake(&self) {
        self.overtaken.store(true, Ordering::SeqCst);
    }

    fn list_zones(&self, request: &Request) -> Result<Answer> {
        let known = ["page", "pageSize", "types", "showAll", "search", "sortBy", "contractIds"];
        let unknown = request.query.iter().find(|(name, _)| !known.contains(&name.as_str()));
        ensure!(unknown.is_none(), "the parameter {unknown:?} is not published");
        let page: usize = request.parameter("page").map_or(Ok(1), str::parse)?;
        let size: usize = request.parameter("pageSize").map_or(Ok(25), str::parse)?;
        // What a test needs to see pages.
        let size = size.min(2);
        let zones = self.zones.iter().skip((page - 1) * size).take(size);
        let zones: Vec<Value> = zones
            .map(|(zone, kind)| {
                json!({
                    "contractId": "C-0N7RAC71", "zone": zone.apex(), "type": kind, "activationState": "ACTIVE",
                    "versionId": "ae02357c-693d-4ac4-b33d-8352d9b7c786", "lastModifiedBy": "jsmith",
                    "lastModifiedDate": "2021-01-03T12:00:00Z",
                })
            })
            .collect();
        let metadata = json!({ "page": page, "pageSize": size, "showAll": false, "totalElements": self.zones.len() });
        Ok(Answer::json(200, &json!({ "metadata": metadata, "zones": zones })))
    }

    fn record_set(&self, method: &str, zone: &Zone, name: &str, request: &Request) -> Result<Answer> {
        if method != "GET" && self.overtaken.swap(false, Ordering::SeqCst) {
            zone.add(name, OVERTAKER, 300)?;
        }
        let there = zone.at(name);
        let missing = |status| problem(status, "authoritative-dns/notFound", "Not Found", "Record not found");
        match method {
            "GET" if there.is_empty() => Ok(missing(404)),
            "GET" => Ok(shown(200, zone, name)),
            "POST" if !there.is_empty() => {
                Ok(problem(409, "authoritative-dns/recordAlreadyExists", "Record already exists", "Record exists"))
            }
            "POST" => write(201, zone, name, &request.json()?),
            "PUT" if there.is_empty() => Ok(missing(400)),
            "PUT" => write(200, zone, name, &request.json()?),
            "DELETE" if there.is_empty() => Ok(missing(404)),
            "DELETE" => {
                zone.replace(name, &[], 0)?;
                Ok(Answer::empty(204))
            }
            _ => bail!("there is no such operation"),
        }
    }

    /// Whether the signature is that of the credentials.
    fn is_signed(&self, request: &Request) -> Result<bool> {
        let header = request.header("authorization").context("there is no Authorization")?;
        let fields = header.strip_prefix("EG1-HMAC-SHA256 ").context("it is not signed by EdgeGrid")?;
        let (_, signature) = header.rsplit_once("signature=").context("there is no signature")?;
        let unsigned = header.strip_suffix(&format!("signature={signature}")).unwrap_or_default();
        let fields: HashMap<&str, &str> = fields.split(';').filter_map(|field| field.split_once('=')).collect();
        let time = *fields.get("timestamp").context("there is no timestamp")?;
        let nonce = (*fields.get("nonce").context("there is no nonce")?).to_owned();
        is_now(time)?;
        ensure!(self.nonces.lock().unwrap().insert(nonce), "the nonce was used before");
        if fields.get("client_token") != Some(&CLIENT_TOKEN) || fields.get("access_token") != Some(&ACCESS_TOKEN) {
            return Ok(false);
        }
        Ok(signature == mac(&mac(CLIENT_SECRET, time), &data(request, unsigned)))
    }
}

fn is_now(time: &str) -> Result<()> {
    let time: Timestamp = strtime::parse("%Y%m%dT%H:%M:%S%z", time)?.to_timestamp()?;
    let apart = Timestamp::now().as_second() - time.as_second();
    ensure!(apart.abs() <= CLOCKS, "it was signed {apart} s ago");
    Ok(())
}

fn data(request: &Request, unsigned: &str) -> String {
    let body = &request.body;
    let is_hashed = request.method == "POST" && !body.is_empty();
    let hash = if is_hashed { STANDARD.encode(digest(&SHA256, body)) } else { String::new() };
    [request.method.as_str(), "https", DOMAIN, &request.target, "", &hash, unsigned].join("\t")
}

fn mac(key: &str, data: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    STANDARD.encode(hmac::sign(&key, data.as_bytes()))
}

fn write(status: u16, zone: &Zone, name: &str, set: &RecordSet) -> Result<Answer> {
    ensure!(set.name == name && set.r#type == "TXT", "it is for {} {}", set.name, set.r#type);
    ensure!(!set.rdata.is_empty() && set.ttl >= 30, "{} values for {} s", set.rdata.len(), set.ttl);
    let values: Vec<String> = set.rdata.iter().map(|text| unquoted(text)).collect::<Result<_>>()?;
    ensure!(values.iter().collect::<HashSet<_>>().len() == values.len(), "one value is there twice");
    zone.replace(name, &values, set.ttl)?;
    Ok(shown(status, zone, name))
}

fn shown(status: u16, zone: &Zone, name: &str) -> Answer {
    let records = zone.at(name);
    let quoted = |value: &str| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
    let rdata: Vec<String> = records.iter().map(|record| quoted(&record.value)).collect();
    let ttl = records.first().map(|record| record.ttl);
    Answer::json(status, &json!({ "name": name, "type": "TXT", "ttl": ttl, "rdata": rdata }))
}

pub fn problem(status: u16, kind: &str, title: &str, detail: &str) -> Answer {
    let kind = format!("https://problems.luna.akamaiapis.net/{kind}");
    let body = json!({ "type": kind, "title": title, "detail": detail, "status": status, "requestId": "73f5a9" });
    Answer::text(status, "application/problem+json", &body.to_string())
}
