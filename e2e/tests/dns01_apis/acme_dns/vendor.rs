//! A stand-in for an acme-dns server, after its description of the API (github.com/joohoi/acme-dns, README).

use std::sync::Mutex;

use anyhow::{Result, ensure};
use certwright_e2e::stand_in::{Answer, Request, Vendor, Zone};
use serde::Deserialize;
use serde_json::json;

pub const USERNAME: &str = "c36f50e8-4632-44f0-83fe-e070fef28a10";
pub const PASSWORD: &str = "htB9mR9DYgcu9bX_afHF62erXaH2TS7bg9KW3F7Z";
pub const SUBDOMAIN: &str = "8e5700ea-a4bf-41c7-8a77-e990661dcc6a";

/// Of a value, in letters.
const VALUE_LENGTH: usize = 43;

/// A server with one account.
pub struct AcmeDns {
    zone: Zone,
    /// The older first.
    values: Mutex<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    subdomain: String,
    txt: String,
}

impl AcmeDns {
    pub fn new(zone: Zone) -> Self {
        Self { zone, values: Mutex::default() }
    }

    /// The name of the account.
    pub fn full_domain(&self) -> String {
        format!("{SUBDOMAIN}.{}", self.zone.apex())
    }
}

impl Vendor for AcmeDns {
    fn answer(&self, request: &Request) -> Result<Answer> {
        ensure!(request.method == "POST" && request.path == "/update", "there is no such operation");
        let update: Update = request.json()?;
        let (user, key) = (request.header("x-api-user"), request.header("x-api-key"));
        if user != Some(USERNAME) || key != Some(PASSWORD) || update.subdomain != SUBDOMAIN {
            return Ok(Answer::json(401, &json!({ "error": "forbidden" })));
        }
        ensure!(update.txt.len() == VALUE_LENGTH, "the value has {} letters", update.txt.len());
        let mut values = self.values.lock().unwrap();
        values.push(update.txt.clone());
        let older = values.len().saturating_sub(2);
        values.drain(..older);
        self.zone.replace(&self.full_domain(), &values, 1)?;
        Ok(Answer::json(200, &json!({ "txt": update.txt })))
    }
}
