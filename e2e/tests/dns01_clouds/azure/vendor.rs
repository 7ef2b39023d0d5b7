//! Microsoft Entra ID, the metadata service, and the part of Azure DNS that a DNS-01 solver needs, after `dns.json` (2018-05-01)
//! and `privatedns.json` (2018-09-01) of the azure-rest-api-specs and the description of the OAuth 2.0 client credentials flow.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, bail, ensure};
use certwright_e2e::stand_in::{Answer, Request, Vendor, Zone};
use serde::Deserialize;
use serde_json::{Value, json};

pub const SUBSCRIPTION: &str = "11111111-2222-3333-4444-555555555555";
pub const GROUP: &str = "a-group";
pub const TENANT: &str = "99999999-8888-7777-6666-555555555555";
pub const CLIENT: &str = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";
pub const CLIENT_SECRET: &str = "s3cr~t of & the = application";
pub const FEDERATED_TOKEN: &str = "eyJ.cluster.token";
pub const TOKEN: &str = "eyJ.token.of.the.tests";

/// See the module's description.
pub struct Azure {
    zones: Vec<Arc<Zone>>,
    /// So that a check and the write after it are one.
    turn: Mutex<()>,
}

/// Names that differ between public and private zones.
struct Resource {
    version: &'static str,
    ttl: &'static str,
    records: &'static str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    value: Vec<String>,
}

impl Azure {
    pub fn new(zones: Vec<Arc<Zone>>) -> Self {
        Self { zones, turn: Mutex::default() }
    }

    fn resource_manager(&self, request: &Request, resource: &Resource, path: &[&str]) -> Result<Answer> {
        if request.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
            return Ok(failure(401, "InvalidAuthenticationToken", "The access token is invalid."));
        }
        let version = request.parameter("api-version").context("no api-version")?;
        ensure!(version == resource.version, "the api-version is {version}");
        let zone = |name: &str| self.zones.iter().find(|zone| zone.apex() == name);
        match (request.method.as_str(), path) {
            ("GET", []) => self.list(request),
            ("GET", [name]) => Ok(match zone(name) {
                Some(zone) => Answer::json(200, &json!({ "name": zone.apex() })),
                None => failure(404, "ResourceNotFound", "The zone was not found."),
            }),
            (_, [name, "TXT", relative]) => match zone(name) {
                Some(zone) => self.record_set(request, resource, zone, relative),
                None => Ok(failure(404, "ParentResourceNotFound", "The zone was not found.")),
            },
            _ => bail!("no such operation"),
        }
    }

    /// One zone a page.
    fn list(&self, request: &Request) -> Result<Answer> {
        let page: usize = request.parameter("$skipToken").unwrap_or("0").parse()?;
        let zone = self.zones.get(page).context("no such page")?;
        let link = format!(
            "https://management.azure.com{}?api-version={}&$skipToken={}",
            request.path,
            request.parameter("api-version").unwrap_or_default(),
            page + 1
        );
        let mut body = json!({ "value": [{ "name": zone.apex(), "type": "Microsoft.Network/dnszones" }] });
        if page + 1 < self.zones.len() {
            body["nextLink"] = json!(link);
        }
        Ok(Answer::json(200, &body))
    }

    fn record_set(&self, request: &Request, resource: &Resource, zone: &Zone, relative: &str) -> Result<Answer> {
        let _turn = self.turn.lock().unwrap();
        let name = zone.absolute(relative);
        let held = tag(zone, &name);
        let condition = |header: &str| request.header(header).map(str::to_owned);
        match request.method.as_str() {
            "GET" => Ok(match held {
                Some(_) => Answer::json(200, &shown(zone, resource, &name)),
                None => failure(404, "NotFound", "The resource record does not exist."),
            }),
            "PUT" => {
                let fits = match (condition("if-match"), condition("if-none-match")) {
                    (Some(tag), None) => held.as_deref() == Some(&tag),
                    (None, Some(any)) if any == "*" => held.is_none(),
                    other => bail!("the conditions are {other:?}"),
                };
                if !fits {
                    return Ok(failure(412, "PreconditionFailed", "The record set has been modified."));
                }
                let (ttl, values) = resource.read(&request.json()?)?;
                zone.replace(&name, &values, ttl)?;
                Ok(Answer::json(if held.is_some() { 200 } else { 201 }, &shown(zone, resource, &name)))
            }
            "DELETE" => {
                let tag = condition("if-match").context("a set is deleted whatever is in it")?;
                match held {
                    None => Ok(Answer::empty(204)),
                    Some(held) if held != tag => Ok(failure(412, "PreconditionFailed", "It has been modified.")),
                    Some(_) => {
                        zone.replace(&name, &[], 0)?;
                        Ok(Answer::empty(200))
                    }
                }
            }
            _ => bail!("no such operation"),
        }
    }
}

impl Vendor for Azure {
    fn answer(&self, request: &Request) -> Result<Answer> {
        match (request.method.as_str(), request.segments().as_slice()) {
            ("POST", [TENANT, "oauth2", "v2.0", "token"]) => sign_in(request),
            ("GET", ["metadata", "identity", "oauth2", "token"]) => identity(request),
            (
                _,
                [
                    "subscriptions",
                    SUBSCRIPTION,
                    "resourceGroups",
                    GROUP,
                    "providers",
                    "Microsoft.Network",
                    kind,
                    rest @ ..,
                ],
            ) => self.resource_manager(request, &Resource::named(kind)?, rest),
            _ => bail!("no such operation"),
        }
    }
}

impl Resource {
    fn named(kind: &str) -> Result<Self> {
        match kind {
            "dnsZones" => Ok(Self { version: "2018-05-01", ttl: "TTL", records: "TXTRecords" }),
            "privateDnsZones" => Ok(Self { version: "2018-09-01", ttl: "ttl", records: "txtRecords" }),
            other => bail!("no resource {other}"),
        }
    }

    /// Time to live and values of a record set as a client sends it.
    fn read(&self, body: &Value) -> Result<(u32, Vec<String>)> {
        let fields = body.as_object().context("the body is no object")?;
        ensure!(fields.keys().eq(["properties"]), "the body has {:?}", fields.keys());
        let properties = body["properties"].as_object().context("the properties are no object")?;
        let known = [self.ttl, self.records, "metadata"];
        ensure!(properties.keys().all(|key| known.contains(&key.as_str())), "there are {:?}", properties.keys());
        let ttl = properties.get(self.ttl).and_then(Value::as_u64).context("no time to live")?;
        let records: Vec<Record> = serde_json::from_value(properties.get(self.records).context("no records")?.clone())?;
        ensure!(!records.is_empty(), "a record set without records");
        Ok((u32::try_from(ttl)?, records.into_iter().map(|record| record.value.concat()).collect()))
    }
}

/// An error as Azure Resource Manager tells it.
pub fn failure(status: u16, code: &str, message: &str) -> Answer {
    Answer::json(status, &json!({ "error": { "code": code, "message": message } }))
}

fn sign_in(request: &Request) -> Result<Answer> {
    let mut form: BTreeMap<String, String> = request.form()?.into_iter().collect();
    let mut take = |name: &str| form.remove(name);
    ensure!(take("grant_type").as_deref() == Some("client_credentials"), "the grant_type is another");
    ensure!(take("client_id").as_deref() == Some(CLIENT), "the client_id is another");
    let scope = take("scope");
    ensure!(scope.as_deref() == Some("https://management.azure.com/.default"), "the scope is {scope:?}");
    let is_good = match (take("client_secret"), take("client_assertion_type"), take("client_assertion")) {
        (Some(secret), None, None) => secret == CLIENT_SECRET,
        (None, Some(kind), Some(assertion)) => {
            ensure!(kind == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "the type is {kind}");
            assertion == FEDERATED_TOKEN
        }
        _ => bail!("there is not one proof"),
    };
    ensure!(form.is_empty(), "there are {:?} besides", form.keys());
    if is_good {
        return Ok(Answer::json(200, &json!({ "token_type": "Bearer", "expires_in": 3599, "access_token": TOKEN })));
    }
    let words = "AADSTS7000215: Invalid client secret provided. Trace ID: 1 Correlation ID: 2 Timestamp: 3";
    Ok(Answer::json(401, &json!({ "error": "invalid_client", "error_description": words })))
}

fn identity(request: &Request) -> Result<Answer> {
    ensure!(request.header("metadata") == Some("true"), "no header Metadata");
    let mut query = request.query.clone();
    query.sort();
    let wanted = [("api-version", "2018-02-01"), ("client_id", CLIENT), ("resource", "https://management.azure.com/")];
    let wanted: Vec<(String, String)> = wanted.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    ensure!(query == wanted, "the query is {query:?}");
    Ok(Answer::json(200, &json!({ "access_token": TOKEN, "expires_in": "86399", "token_type": "Bearer" })))
}

/// Of the record set at a name, if there is one.
fn tag(zone: &Zone, name: &str) -> Option<String> {
    let newest = zone.at(name).iter().map(|record| record.id).max()?;
    Some(format!("tag-{newest}-{}", zone.at(name).len()))
}

fn shown(zone: &Zone, resource: &Resource, name: &str) -> Value {
    let held = zone.at(name);
    let records: Vec<Value> = held.iter().map(|record| json!({ "value": [record.value] })).collect();
    let properties = json!({ resource.ttl: held.first().map(|record| record.ttl), resource.records: records });
    json!({ "etag": tag(zone, name), "name": zone.relative(name), "properties": properties })
}
