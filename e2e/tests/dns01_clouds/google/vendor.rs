//! Google's token endpoints and the part of Cloud DNS that a DNS-01 solver needs, after the discovery document `dns.v1.json`
//! (parameters, schemas `Change` and `ResourceRecordSet`) and Google's description of OAuth 2.0 for service accounts.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use certwright_e2e::stand_in::{Answer, Request, Vendor, Zone, unquoted};
use serde::Deserialize;
use serde_json::{Value, json};

pub const PROJECT: &str = "a-project";
pub const TOKEN: &str = "ya29.token-of-the-tests";

const EMAIL: &str = "dns@a-project.iam.gserviceaccount.com";
const KEY_ID: &str = "0123456789abcdef";
const AUDIENCE: &str = "https://oauth2.googleapis.com/token";
const SCOPE: &str = "https://www.googleapis.com/auth/ndev.clouddns.readwrite";

/// See the module's description.
pub struct Google {
    key: KeyPair,
    /// By the names that the API knows them by.
    zones: Vec<(String, Arc<Zone>)>,
}

/// The schema `Change`, as far as a client may fill it in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    #[serde(default)]
    additions: Vec<RecordSet>,
    #[serde(default)]
    deletions: Vec<RecordSet>,
}

/// The schema `ResourceRecordSet`, as far as a client may fill it in.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordSet {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    ttl: u32,
    rrdatas: Vec<String>,
}

impl Google {
    pub fn new(zones: &[(&str, Arc<Zone>)]) -> Self {
        let zones = zones.iter().map(|(name, zone)| ((*name).to_owned(), zone.clone())).collect();
        Self { key: KeyPair::generate(KeySize::Rsa2048).unwrap(), zones }
    }

    /// The key of the one service account, as Google makes key files.
    pub fn key_file(&self) -> String {
        let der: Pkcs8V1Der<'_> = self.key.as_der().unwrap();
        let pem =
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()));
        let file = json!({
            "type": "service_account", "project_id": PROJECT, "private_key_id": KEY_ID, "private_key": pem,
            "client_email": EMAIL, "client_id": "1", "token_uri": AUDIENCE,
        });
        file.to_string()
    }

    fn token(&self, request: &Request) -> Result<Answer> {
        let form: HashMap<String, String> = request.form()?.into_iter().collect();
        ensure!(form.len() == 2, "the form has {:?}", form.keys());
        let grant = form.get("grant_type").context("no grant_type")?;
        ensure!(grant == "urn:ietf:params:oauth:grant-type:jwt-bearer", "the grant_type is {grant}");
        let assertion = form.get("assertion").context("no assertion")?;
        let parts: Vec<&str> = assertion.split('.').collect();
        ensure!(parts.len() == 3, "the assertion has {} parts", parts.len());
        let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[0])?)?;
        ensure!(header == json!({ "alg": "RS256", "typ": "JWT", "kid": KEY_ID }), "the header is {header}");
        check_claims(&serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1])?)?)?;
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.key.public_key());
        let signed = format!("{}.{}", parts[0], parts[1]);
        if public.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(parts[2])?).is_err() {
            let refusal = json!({ "error": "invalid_grant", "error_description": "Invalid JWT Signature." });
            return Ok(Answer::json(400, &refusal));
        }
        Ok(new_token())
    }

    fn zone(&self, name: &str) -> Option<&Zone> {
        self.zones.iter().find(|(held, _)| held == name).map(|(_, zone)| &**zone)
    }

    fn dns(&self, request: &Request, path: &[&str]) -> Result<Answer> {
        if request.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
            return Ok(failure(401, "authError", "Invalid Credentials"));
        }
        match (request.method.as_str(), path) {
            ("GET", []) => {
                only(request, &["dnsName", "maxResults", "pageToken", "fields"])?;
                let zones: Vec<Value> = self.zones.iter().map(|(name, zone)| shown(name, zone)).collect();
                Ok(Answer::json(200, &json!({ "managedZones": zones })))
            }
            (method, [name, rest @ ..]) => match self.zone(name) {
                None => Ok(failure(404, "notFound", "The 'parameters.managedZone' resource does not exist.")),
                Some(zone) => match (method, rest) {
                    ("GET", []) => Ok(Answer::json(200, &shown(name, zone))),
                    ("GET", ["rrsets"]) => {
                        only(request, &["name", "type"])?;
                        ensure!(request.parameter("type") == Some("TXT"), "only TXT is expected");
                        let sets = set_at(zone, request.parameter("name").context("all names are not expected")?);
                        let sets: Vec<Value> = sets.iter().map(RecordSet::shown).collect();
                        Ok(Answer::json(200, &json!({ "rrsets": sets })))
                    }
                    ("POST", ["changes"]) => {
                        only(request, &[])?;
                        change(zone, &request.json()?)
                    }
                    _ => bail!("no such method"),
                },
            },
            _ => bail!("no such method"),
        }
    }
}

impl Vendor for Google {
    fn answer(&self, request: &Request) -> Result<Answer> {
        match (request.method.as_str(), request.segments().as_slice()) {
            ("POST", ["token"]) => self.token(request),
            ("GET", ["computeMetadata", "v1", "instance", "service-accounts", "default", "token"]) => {
                only(request, &["scopes"])?;
                ensure!(request.header("metadata-flavor") == Some("Google"), "no Metadata-Flavor");
                ensure!(request.parameter("scopes") == Some(SCOPE), "the scope is another");
                Ok(new_token())
            }
            (_, ["dns", "v1", "projects", PROJECT, "managedZones", rest @ ..]) => self.dns(request, rest),
            _ => bail!("no such method"),
        }
    }
}

impl RecordSet {
    fn check(&self, zone: &Zone) -> Result<()> {
        ensure!(self.name.ends_with('.') && zone.relative(&self.name).is_some(), "{} is no name here", self.name);
        ensure!(self.kind == "TXT", "the type is {}", self.kind);
        ensure!(!self.rrdatas.is_empty(), "there are no rrdatas");
        self.values().map(drop)
    }

    fn values(&self) -> Result<Vec<String>> {
        self.rrdatas.iter().map(|data| unquoted(data)).collect()
    }

    fn shown(&self) -> Value {
        json!({ "kind": "dns#resourceRecordSet", "name": self.name, "type": self.kind, "ttl": self.ttl,
                "rrdatas": self.rrdatas, "signatureRrdatas": [] })
    }
}

/// An error as Google's APIs tell it.
pub fn failure(code: u16, reason: &str, message: &str) -> Answer {
    let errors = json!([{ "message": message, "domain": "global", "reason": reason }]);
    Answer::json(code, &json!({ "error": { "code": code, "message": message, "errors": errors } }))
}

fn check_claims(claims: &Value) -> Result<()> {
    let names: Vec<&String> = claims.as_object().context("the claims are no object")?.keys().collect();
    ensure!(names.len() == 5, "the claims are {names:?}");
    for (name, wanted) in [("iss", EMAIL), ("scope", SCOPE), ("aud", AUDIENCE)] {
        ensure!(claims[name] == wanted, "{name} is {}", claims[name]);
    }
    let time = |name: &str| claims[name].as_i64().with_context(|| format!("{name} is no number"));
    let (issued, ends, now) = (time("iat")?, time("exp")?, jiff::Timestamp::now().as_second());
    ensure!(issued <= now && now < ends && ends - issued <= 3600, "it holds from {issued} to {ends}");
    Ok(())
}

fn new_token() -> Answer {
    Answer::json(200, &json!({ "access_token": TOKEN, "expires_in": 3599, "token_type": "Bearer" }))
}

fn only(request: &Request, known: &[&str]) -> Result<()> {
    for (name, _) in &request.query {
        ensure!(known.contains(&name.as_str()), "the parameter {name} is not known");
    }
    Ok(())
}

fn shown(name: &str, zone: &Zone) -> Value {
    json!({ "kind": "dns#managedZone", "name": name, "dnsName": format!("{}.", zone.apex()), "visibility": "public" })
}

fn set_at(zone: &Zone, name: &str) -> Option<RecordSet> {
    let records = zone.at(name);
    let ttl = records.first()?.ttl;
    let quoted = |value: &str| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
    let rrdatas = records.iter().map(|record| quoted(&record.value)).collect();
    Some(RecordSet { name: name.to_owned(), kind: "TXT".to_owned(), ttl, rrdatas })
}

/// All or nothing.
fn change(zone: &Zone, change: &Change) -> Result<Answer> {
    for set in change.additions.iter().chain(&change.deletions) {
        set.check(zone)?;
    }
    ensure!(!change.additions.is_empty() || !change.deletions.is_empty(), "the change is empty");
    let same = |a: &RecordSet, b: &RecordSet| {
        let sorted = |set: &RecordSet| {
            let mut rrdatas = set.rrdatas.clone();
            rrdatas.sort();
            rrdatas
        };
        a.ttl == b.ttl && sorted(a) == sorted(b)
    };
    for (number, deletion) in change.deletions.iter().enumerate() {
        if !set_at(zone, &deletion.name).is_some_and(|held| same(&held, deletion)) {
            let message = format!("Precondition not met for 'entity.change.deletions[{number}]'");
            return Ok(failure(412, "conditionNotMet", &message));
        }
    }
    let is_deleted = |name: &str| change.deletions.iter().any(|deletion| deletion.name == name);
    for (number, addition) in change.additions.iter().enumerate() {
        if set_at(zone, &addition.name).is_some() && !is_deleted(&addition.name) {
            let message = format!("The resource 'entity.change.additions[{number}]' already exists");
            return Ok(failure(409, "alreadyExists", &message));
        }
    }
    let replaced = |deletion: &RecordSet| change.additions.iter().any(|addition| addition.name == deletion.name);
    for deletion in change.deletions.iter().filter(|deletion| !replaced(deletion)) {
        zone.replace(&deletion.name, &[], deletion.ttl)?;
    }
    for addition in &change.additions {
        zone.replace(&addition.name, &addition.values()?, addition.ttl)?;
    }
    Ok(Answer::json(200, &json!({ "kind": "dns#change", "id": "1", "status": "pending" })))
}
