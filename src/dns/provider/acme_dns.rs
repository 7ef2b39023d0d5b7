//! acme-dns: a server for challenge records alone, to which names are delegated by CNAME.
//!
//! An account has one name and keeps the two values that were set last. A value is never removed: the next one takes the place
//! of the older.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::address::address;
use super::http::ApiClient;
use super::pace::Pace;
use super::secret_header::secret_header;
use super::zone_list::suffixes;
use super::{Action, Change, Provider, ProviderError};
use crate::api::Sensitive;
use crate::dns::cname::follow_cnames;
use crate::dns::name::{CHALLENGE_LABEL, shown};
use crate::dns::resolver::Resolver;

/// Mostly a server of one's own.
const REQUESTS_PER_SECOND: f64 = 20.0;
const REQUESTS_AT_ONCE: u32 = 50;

/// What an account keeps.
const VALUES_OF_AN_ACCOUNT: usize = 2;

/// A value that nobody said to remove is given up after this.
const LONGEST_USE: Duration = Duration::from_mins(10);

/// When it is looked again whether an account has room.
const ROOM_WAIT: Duration = Duration::from_secs(5);

/// An account as the server gave it out, and as its other clients store it.
#[derive(Clone, Debug, Deserialize)]
pub struct Account {
    username: String,
    password: Sensitive,
    subdomain: String,
    /// The account's name, to which the CNAME leads.
    #[serde(default)]
    fulldomain: String,
}

/// Accounts by domain.
#[derive(Clone, Debug)]
pub struct Accounts(BTreeMap<String, Account>);

/// See the module's description.
#[derive(Debug)]
pub struct AcmeDns {
    api: ApiClient,
    base: Url,
    accounts: Accounts,
    resolver: Arc<Resolver>,
    /// What was set last, by subdomain.
    places: Mutex<HashMap<String, Places>>,
}

/// The values of an account that were set last, the older first.
type Places = VecDeque<Place>;

#[derive(Debug)]
struct Place {
    value: String,
    /// Since when a Challenge needs it; none if none does any more.
    needed_since: Option<Instant>,
}

#[derive(Deserialize)]
struct Failure {
    error: String,
}

impl Accounts {
    /// From a JSON object of accounts by domain.
    ///
    /// # Errors
    ///
    /// Anything else. What is wrong is not told, for it could be a password.
    pub fn parse(json: &str) -> Result<Self, ProviderError> {
        let accounts: BTreeMap<String, Account> = serde_json::from_str(json).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            let message = format!(
                "the accounts are not a JSON object from domains to accounts, each with username, password, fulldomain and \
                 subdomain (seen at {place})"
            );
            ProviderError::Refused { message, source: None }
        })?;
        let by_domain = |(domain, account): (String, Account)| {
            let domain = domain.trim().trim_start_matches("*.").trim_end_matches('.').to_ascii_lowercase();
            (domain, account)
        };
        Ok(Self(accounts.into_iter().map(by_domain).collect()))
    }

    /// The account for a record: the one that the name itself belongs to, else that of the longest domain.
    fn of(&self, name: &str) -> Result<&Account, ProviderError> {
        let name = shown(name);
        let own = self.0.values().find(|account| shown(&account.fulldomain).eq_ignore_ascii_case(name));
        let domain = name.strip_prefix(CHALLENGE_LABEL).and_then(|rest| rest.strip_prefix('.')).unwrap_or(name);
        own.or_else(|| suffixes(domain).find_map(|suffix| self.0.get(suffix))).ok_or_else(|| {
            let message = format!("there is no acme-dns account for {domain} or a domain above it in the Secret");
            ProviderError::Refused { message, source: None }
        })
    }
}

impl AcmeDns {
    /// `host` is the URL of the server's API.
    ///
    /// # Errors
    ///
    /// A host that is none.
    pub fn new(http: Client, host: &str, accounts: Accounts, resolver: Arc<Resolver>) -> Result<Self, ProviderError> {
        Ok(Self {
            api: ApiClient::new("acme-dns", http, Pace::new(REQUESTS_PER_SECOND, REQUESTS_AT_ONCE)),
            base: base(host)?,
            accounts,
            resolver,
            places: Mutex::default(),
        })
    }

    async fn add(&self, name: &str, value: &str) -> Result<(), ProviderError> {
        let account = self.accounts.of(name)?;
        self.is_led_to(name, &account.fulldomain).await?;
        self.has_room(account, value)?;
        self.update(name, account, value).await?;
        self.note(account, value);
        Ok(())
    }

    /// Whether the CA will come from the name to the account. That nobody tells is no reason to wait.
    async fn is_led_to(&self, name: &str, account: &str) -> Result<(), ProviderError> {
        let (name, account) = (shown(name), shown(account));
        if account.is_empty() || account.eq_ignore_ascii_case(name) {
            return Ok(());
        }
        match follow_cnames(&self.resolver, name).await {
            Ok(chain) => match missing_alias(&chain, account) {
                Some(message) => Err(ProviderError::Transient { message, source: None }),
                None => Ok(()),
            },
            Err(_) => Ok(()),
        }
    }

    async fn update(&self, name: &str, account: &Account, value: &str) -> Result<(), ProviderError> {
        let doing = format!("set the value for {}", shown(name));
        let mut headers = HeaderMap::new();
        let user = secret_header("the account's username", &account.username)?;
        headers.insert(HeaderName::from_static("x-api-user"), user);
        let key = secret_header("the account's password", account.password.expose())?;
        headers.insert(HeaderName::from_static("x-api-key"), key);
        let body = json!({ "subdomain": account.subdomain, "txt": value });
        let request = self.api.http().post(address(&self.base, &["update"], &[])).headers(headers).json(&body);
        let answer = self.api.send(&doing, request).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        let told = serde_json::from_slice::<Failure>(&answer.body).ok();
        Err(self.api.failure(&doing, &answer, told.as_ref().map(|told| told.error.as_str())))
    }

    /// Whether the value may be set: it takes the place of the older one, which somebody may wait for.
    fn has_room(&self, account: &Account, value: &str) -> Result<(), ProviderError> {
        let places = self.lock();
        let held = places.get(&account.subdomain).filter(|held| held.len() >= VALUES_OF_AN_ACCOUNT);
        match held.and_then(|held| held.front()) {
            Some(older) if older.value != value && older.is_needed() => {
                let message = format!(
                    "acme-dns keeps the two values of an account that were set last, and the older one of {} is in use by \
                     another Challenge",
                    shown(&account.fulldomain)
                );
                Err(ProviderError::Throttled { message, retry_after: Some(ROOM_WAIT), source: None })
            }
            _ => Ok(()),
        }
    }

    fn note(&self, account: &Account, value: &str) {
        let mut places = self.lock();
        let held = places.entry(account.subdomain.clone()).or_default();
        if held.len() >= VALUES_OF_AN_ACCOUNT {
            held.pop_front();
        }
        // If it stands at both places, one is enough.
        give_back(held, value);
        held.push_back(Place { value: value.to_owned(), needed_since: Some(Instant::now()) });
    }

    fn release(&self, account: &Account, value: &str) {
        if let Some(held) = self.lock().get_mut(&account.subdomain) {
            give_back(held, value);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Places>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn is_needed(&self) -> bool {
        self.needed_since.is_some_and(|since| since.elapsed() < LONGEST_USE)
    }
}

fn give_back(held: &mut Places, value: &str) {
    held.iter_mut().filter(|place| place.value == value).for_each(|place| place.needed_since = None);
}

#[async_trait]
impl Provider for AcmeDns {
    async fn apply(&self, changes: &[Change]) -> Result<(), ProviderError> {
        for Change { action, record } in changes {
            match action {
                Action::Add => self.add(&record.name, &record.value).await?,
                Action::Remove => {
                    if let Ok(account) = self.accounts.of(&record.name) {
                        self.release(account, &record.value);
                    }
                }
            }
        }
        Ok(())
    }
}

/// What is wrong with the CNAME records that begin at the first name, unless they lead to the account.
fn missing_alias(chain: &[String], account: &str) -> Option<String> {
    if chain.iter().any(|name| shown(name).eq_ignore_ascii_case(account)) {
        return None;
    }
    match chain {
        [] => None,
        [name] => Some(format!(
            "{} has no CNAME record: create one to {account}, for that is where acme-dns keeps this account's values",
            shown(name)
        )),
        [name, .., last] => Some(format!(
            "the CNAME record of {} leads to {}, but acme-dns keeps this account's values at {account}",
            shown(name),
            shown(last)
        )),
    }
}

fn base(host: &str) -> Result<Url, ProviderError> {
    let host = host.trim();
    let text = if host.contains("://") { host.to_owned() } else { format!("https://{host}") };
    let url = text.parse().ok().filter(|url: &Url| matches!(url.scheme(), "https" | "http") && url.has_host());
    url.ok_or_else(|| ProviderError::Refused { message: "host is not the URL of a server".to_owned(), source: None })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ACCOUNTS: &str = r#"{
        "example.com": {"username": "u1", "password": "hunter2", "subdomain": "s1", "fulldomain": "s1.auth.example.org",
                        "allowfrom": [], "server_url": "https://auth.example.org"},
        "dev.Example.com.": {"username": "u2", "password": "p2", "subdomain": "s2", "fulldomain": "s2.auth.example.org"}
    }"#;

    fn provider() -> AcmeDns {
        let accounts = Accounts::parse(ACCOUNTS).unwrap();
        let resolver = Resolver::from_nameservers(&["192.0.2.1".to_owned()]).unwrap();
        AcmeDns::new(Client::new(), "auth.example.org", accounts, Arc::new(resolver)).unwrap()
    }

    #[test]
    fn the_account_of_the_longest_domain_is_taken() {
        let accounts = Accounts::parse(ACCOUNTS).unwrap();
        let user = |name| accounts.of(name).map(|account| account.username.clone());
        assert_eq!(user("_acme-challenge.example.com.").unwrap(), "u1");
        assert_eq!(user("_acme-challenge.www.example.com.").unwrap(), "u1");
        assert_eq!(user("_acme-challenge.www.dev.example.com.").unwrap(), "u2");
        assert_eq!(user("S2.auth.example.org.").unwrap(), "u2");
        let message = user("_acme-challenge.example.org.").unwrap_err().to_string();
        assert!(message.contains("no acme-dns account for example.org"), "{message}");
    }

    #[test]
    fn passwords_are_not_shown() {
        assert!(!format!("{:?}", provider()).contains("hunter2"));
        let message = Accounts::parse(r#"{"example.com": "hunter2"}"#).unwrap_err().to_string();
        assert!(message.contains("line 1") && !message.contains("hunter2"), "{message}");
    }

    #[test]
    fn a_cname_that_leads_elsewhere_is_told() {
        let chain = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let missing = |names: &[&str]| missing_alias(&chain(names), "s1.auth.example.org");
        assert_eq!(missing(&["a.example.com.", "b.example.com.", "S1.auth.example.org."]), None);
        assert!(missing(&["a.example.com."]).unwrap().contains("create one to s1.auth.example.org"));
        assert!(missing(&["a.example.com.", "b.example.com."]).unwrap().contains("leads to b.example.com"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_takes_the_place_of_one_that_nobody_needs() {
        let provider = provider();
        let account = provider.accounts.of("example.com.").unwrap();
        let set = |value| provider.has_room(account, value).map(|()| provider.note(account, value)).is_ok();
        assert!(set("one") && set("two") && !set("three"));
        provider.release(account, "two");
        assert!(!set("three"), "it would take the place of the older one");
        assert!(set("one"), "it takes its own place");
        assert!(set("three") && !set("four"));
        assert!(!set("three"), "once more it would take the place of the other");
        provider.release(account, "one");
        assert!(set("three") && set("four"), "it stands at one of two places");
        assert!(!set("five"));
        tokio::time::advance(LONGEST_USE).await;
        assert!(set("five") && set("six"));
    }

    #[test]
    fn the_host_is_a_url() {
        assert_eq!(base("auth.example.org").unwrap().as_str(), "https://auth.example.org/");
        assert_eq!(base("http://10.0.0.1:8080/").unwrap().as_str(), "http://10.0.0.1:8080/");
        assert!(base("ftp://auth.example.org").is_err() && base("").is_err());
    }
}
