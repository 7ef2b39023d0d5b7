//! Providers that the API has no type for: webhook solvers of our own group, answered in this process.
//!
//! Each is described by data: its name, its settings, and what makes a provider of them. Whoever reads a solver's `config`
//! needs to know no more, so a further provider is a further line in [`ALL`].

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, Url};
use serde_json::Value;

use super::{Provider, http, httpreq, pdns};
use crate::api::names::OWN_GROUP;
use crate::api::{SecretKeySelector, Sensitive};

/// The end of a setting that names an entry of a Secret instead of giving the value.
const SECRET_REF: &str = "SecretRef";

/// What every provider takes that speaks HTTP: PEM certificates in base64.
pub const CA_BUNDLE: Field = Field { name: "caBundle", kind: Kind::Text, is_required: false };

/// All of them, by name.
pub const ALL: [BuiltIn; 2] = [httpreq::BUILT_IN, pdns::BUILT_IN];

/// One provider.
pub struct BuiltIn {
    /// The solverName.
    pub name: &'static str,
    pub fields: &'static [Field],
    pub make: Make,
}

/// Makes a provider of its settings.
type Make = fn(&Tools<'_>, &Settings) -> Result<Box<dyn Provider>, ConfigError>;

/// What making a provider takes besides its settings.
pub struct Tools<'a> {
    /// Trusts what the machine trusts.
    pub http: &'a Client,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: &'static str,
    pub kind: Kind,
    pub is_required: bool,
}

/// How a setting may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As text, or as the name of an entry of a Secret under `…SecretRef`.
    Text,
    /// As the name of an entry of a Secret only.
    Secret,
}

/// How a setting is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    Text(String),
    Secret(SecretKeySelector),
}

/// A provider's settings, those from Secrets included. None is empty.
#[derive(Clone, Debug, Default)]
pub struct Settings(BTreeMap<&'static str, Sensitive>);

/// What is wrong with a solver's settings. No message holds a value.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the group {OWN_GROUP} has no solver {name:?}; it has {}", names())]
    Solver { name: String },
    #[error("config is not a list of settings; {provider} takes {takes}")]
    Form { provider: &'static str, takes: String },
    #[error("config has the setting {name:?}, which {provider} does not take{}; it takes {takes}", meant(.near.as_deref()))]
    Unknown { provider: &'static str, name: String, near: Option<String>, takes: String },
    #[error("config lacks {0}")]
    Missing(String),
    #[error("config has {0} in the clear; put it into a Secret and name that by {0}SecretRef, with name and key")]
    InTheClear(&'static str),
    #[error("config has both {0} and {0}SecretRef; give one of them")]
    Twice(&'static str),
    #[error("config.{name} is not {wanted}")]
    Value { name: String, wanted: &'static str },
}

impl ConfigError {
    /// The one setting whose value is wrong, as opposed to how `config` is written.
    pub fn setting(&self) -> Option<&str> {
        match self {
            Self::Missing(name) | Self::Value { name, .. } => Some(name),
            _ => None,
        }
    }
}

impl BuiltIn {
    /// The provider of this solverName.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn named(name: &str) -> Result<&'static Self, ConfigError> {
        ALL.iter().find(|built_in| built_in.name == name).ok_or_else(|| ConfigError::Solver { name: name.to_owned() })
    }

    /// Reads a solver's `config`.
    ///
    /// # Errors
    ///
    /// Anything but the provider's settings.
    pub fn read(&self, config: Option<&Value>) -> Result<Vec<(&'static str, Given)>, ConfigError> {
        let mut given = Vec::new();
        match config {
            None | Some(Value::Null) => {}
            Some(Value::Object(entries)) => {
                for (name, value) in entries {
                    given.push(self.read_one(name, value)?);
                }
            }
            Some(_) => return Err(ConfigError::Form { provider: self.name, takes: self.takes() }),
        }
        for field in self.fields {
            match given.iter().filter(|(name, _)| *name == field.name).count() {
                0 if field.is_required => return Err(ConfigError::Missing(field.key())),
                0 | 1 => {}
                _ => return Err(ConfigError::Twice(field.name)),
            }
        }
        Ok(given)
    }

    fn read_one(&self, key: &str, value: &Value) -> Result<(&'static str, Given), ConfigError> {
        for field in self.fields {
            if key == field.name {
                return match field.kind {
                    Kind::Secret => Err(ConfigError::InTheClear(field.name)),
                    Kind::Text => Ok((field.name, Given::Text(text(key, value)?))),
                };
            }
            if key.strip_suffix(SECRET_REF) == Some(field.name) {
                return Ok((field.name, Given::Secret(selector(key, value)?)));
            }
        }
        let (name, near) = (key.to_owned(), nearest(key, self.fields.iter().map(Field::key)));
        Err(ConfigError::Unknown { provider: self.name, name, near, takes: self.takes() })
    }

    fn takes(&self) -> String {
        listed(self.fields.iter().map(Field::key))
    }
}

impl Field {
    /// A setting that has to be given.
    pub const fn required(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, is_required: true }
    }

    /// A setting that may be left out.
    pub const fn optional(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, is_required: false }
    }

    /// As it is written in `config`.
    fn key(&self) -> String {
        match self.kind {
            Kind::Text => self.name.to_owned(),
            Kind::Secret => format!("{}{SECRET_REF}", self.name),
        }
    }
}

impl Settings {
    /// Sets what has a value; empty ones are as good as not given.
    pub fn set(&mut self, name: &'static str, value: Sensitive) {
        if !value.is_empty() {
            self.0.insert(name, value);
        }
    }

    /// The setting, if it is given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.expose().as_str())
    }

    /// A setting that has to be there.
    ///
    /// # Errors
    ///
    /// Its value is empty.
    pub fn required(&self, name: &str) -> Result<&str, ConfigError> {
        self.get(name).ok_or_else(|| ConfigError::Missing(name.to_owned()))
    }

    /// The address of an API, without a closing slash.
    ///
    /// # Errors
    ///
    /// Not an address, or one that holds credentials.
    pub fn url(&self, name: &str) -> Result<Url, ConfigError> {
        let wrong = |wanted| ConfigError::Value { name: name.to_owned(), wanted };
        let url: Option<Url> = self.required(name)?.trim_end_matches('/').parse().ok();
        let url = url.filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host() && url.query().is_none());
        let url = url.ok_or_else(|| wrong("a URL that begins with https:// or http://"))?;
        if url.password().is_some() || !url.username().is_empty() {
            return Err(wrong("a URL without a user name and a password"));
        }
        Ok(url)
    }

    /// A positive number.
    ///
    /// # Errors
    ///
    /// Anything else.
    pub fn number(&self, name: &str) -> Result<Option<u32>, ConfigError> {
        let wrong = || ConfigError::Value { name: name.to_owned(), wanted: "a positive number" };
        let number = self.get(name).map(|text| text.parse().ok().filter(|&number| number > 0).ok_or_else(wrong));
        number.transpose()
    }

    /// The client for the provider's API, which trusts those authorities alone that [`CA_BUNDLE`] names, if it is given.
    ///
    /// # Errors
    ///
    /// A bundle that cannot be read.
    pub fn client(&self, tools: &Tools<'_>) -> Result<Client, ConfigError> {
        let Some(bundle) = self.get(CA_BUNDLE.name) else { return Ok(tools.http.clone()) };
        let wrong = || ConfigError::Value { name: CA_BUNDLE.name.to_owned(), wanted: "PEM certificates in base64" };
        let pem = STANDARD.decode(bundle.split_whitespace().collect::<String>()).map_err(|_| wrong())?;
        http::client_that_trusts(&pem).ok().flatten().ok_or_else(wrong)
    }
}

fn text(key: &str, value: &Value) -> Result<String, ConfigError> {
    match value {
        Value::String(text) => Ok(text.trim().to_owned()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(is) => Ok(is.to_string()),
        Value::Null => Ok(String::new()),
        _ => Err(ConfigError::Value { name: key.to_owned(), wanted: "text" }),
    }
}

fn selector(key: &str, value: &Value) -> Result<SecretKeySelector, ConfigError> {
    let wrong = || ConfigError::Value { name: key.to_owned(), wanted: "name and key of an entry of a Secret" };
    let entries = value.as_object().filter(|entries| entries.len() == 2).ok_or_else(wrong)?;
    let word = |name: &str| entries.get(name)?.as_str().filter(|word| !word.is_empty()).map(str::to_owned);
    Ok(SecretKeySelector { name: word("name").ok_or_else(wrong)?, key: Some(word("key").ok_or_else(wrong)?) })
}

/// What was probably meant: at most half of its letters differ.
fn nearest(key: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let distance_to = |name: &String| distance(&key.to_ascii_lowercase(), &name.to_ascii_lowercase());
    known.map(|name| (distance_to(&name), name)).min().filter(|(far, name)| far * 2 <= name.len()).map(|(_, name)| name)
}

/// How many letters have to be added, removed or changed (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, letter) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (column, other) in to.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

fn meant(near: Option<&str>) -> String {
    near.map(|name| format!(" (did you mean {name:?}?)")).unwrap_or_default()
}

fn names() -> String {
    listed(ALL.iter().map(|built_in| built_in.name.to_owned()))
}

fn listed(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(solver: &str, config: &Value) -> Result<Vec<(&'static str, Given)>, String> {
        BuiltIn::named(solver).unwrap().read(Some(config)).map_err(|error| error.to_string())
    }

    fn made(solver: &str, given: &[(&'static str, &str)]) -> Result<(), String> {
        let mut settings = Settings::default();
        for (name, value) in given {
            settings.set(name, (*value).into());
        }
        let http = http::client().unwrap();
        let made = (BuiltIn::named(solver).unwrap().make)(&Tools { http: &http }, &settings);
        made.map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_are_texts_or_entries_of_secrets() {
        let key = json!({"name": "pdns", "key": "api-key"});
        let given = read("pdns", &json!({"host": " https://a.test ", "apiKeySecretRef": key, "ttl": 30})).unwrap();
        let selector = SecretKeySelector { name: "pdns".into(), key: Some("api-key".into()) };
        assert!(given.contains(&("apiKey", Given::Secret(selector.clone()))), "{given:?}");
        assert!(given.contains(&("host", Given::Text("https://a.test".into()))), "{given:?}");
        assert!(given.contains(&("ttl", Given::Text("30".into()))), "{given:?}");
        let config = json!({"endpoint": "https://a.test", "usernameSecretRef": {"name": "pdns", "key": "api-key"}});
        assert!(read("httpreq", &config).unwrap().contains(&("username", Given::Secret(selector))));
    }

    #[test]
    fn what_is_wrong_is_said_and_no_value_is() {
        let key = json!({"name": "n", "key": "k"});
        for (solver, config, part) in [
            ("pdns", json!({"host": "hunter2"}), "lacks apiKeySecretRef"),
            (
                "pdns",
                json!({"hots": "hunter2"}),
                "\"hots\", which pdns does not take (did you mean \"host\"?); it takes host, ",
            ),
            ("pdns", json!({"serverId": "hunter2"}), "did you mean \"serverID\"?"),
            (
                "pdns",
                json!({"color": "hunter2"}),
                "\"color\", which pdns does not take; it takes host, apiKeySecretRef, ",
            ),
            ("pdns", json!({"apiKey": "hunter2"}), "put it into a Secret and name that by apiKeySecretRef"),
            ("pdns", json!({"apiKeySecretRef": "hunter2"}), "config.apiKeySecretRef is not name and key"),
            ("pdns", json!({"apiKeySecretRef": {"name": "hunter2"}}), "config.apiKeySecretRef is not name and key"),
            ("pdns", json!({"host": ["hunter2"]}), "config.host is not text"),
            (
                "httpreq",
                json!({"endpoint": "hunter2", "endpointSecretRef": key}),
                "both endpoint and endpointSecretRef",
            ),
            ("httpreq", json!("hunter2"), "config is not a list of settings; httpreq takes endpoint, "),
            ("httpreq", json!(null), "lacks endpoint"),
        ] {
            let message = read(solver, &config).unwrap_err();
            assert!(message.contains(part) && !message.contains("hunter2"), "{message}");
        }
        let message = BuiltIn::named("hetzner").err().unwrap().to_string();
        assert_eq!(message, "the group certwright.dev has no solver \"hetzner\"; it has httpreq, pdns");
    }

    #[test]
    fn values_are_checked_and_not_shown() {
        let url = ("host", "https://pdns.test/");
        let key = ("apiKey", "hunter2");
        assert_eq!(made("pdns", &[url, key, ("ttl", "5")]), Ok(()));
        assert_eq!(made("httpreq", &[("endpoint", "http://a.test/b"), ("username", "u"), ("password", "p")]), Ok(()));
        for (solver, given, part) in [
            ("pdns", vec![("host", "hunter2"), key], "config.host is not a URL"),
            ("pdns", vec![("host", "https://u:hunter2@a.test"), key], "without a user name and a password"),
            ("pdns", vec![url, key, ("ttl", "hunter2")], "config.ttl is not a positive number"),
            ("pdns", vec![url, key, ("apiVersion", "0")], "config.apiVersion is not a positive number"),
            ("pdns", vec![url, key, ("caBundle", "hunter2")], "config.caBundle is not PEM certificates in base64"),
            ("pdns", vec![url, key, ("caBundle", "aGk=")], "config.caBundle is not PEM certificates in base64"),
            ("pdns", vec![url], "config lacks apiKey"),
            ("httpreq", vec![("endpoint", "http://a.test"), ("password", "hunter2")], "config lacks username"),
            ("httpreq", vec![("endpoint", "http://a.test"), ("username", "hunter2")], "config lacks passwordSecretRef"),
        ] {
            let message = made(solver, &given).unwrap_err();
            assert!(message.contains(part) && !message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn distances() {
        for (from, to, wanted) in
            [("host", "host", 0), ("hots", "host", 2), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(from, to), wanted, "{from} {to}");
        }
    }
}
