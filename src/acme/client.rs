//! The client of one CA.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use reqwest::Method;
use serde::de::DeserializeOwned;

use super::{
    Account, AccountHandle, Directory, Error, Registration, RenewalInfo,
    account::AccountBody,
    gate::{self, Gate, Party},
    jws::{self, Payload, Signer},
    known_directory::KnownDirectory,
    limit,
    nonce::{NoncePool, nonce_in},
    place::Place,
    transport::{self, HttpTransport, Request, Response, Transport},
    wanted::{Wanted, action},
};
use crate::{
    measure::{self, AcmeExchange, NO_ANSWER, span::Span},
    pki::PrivateKey,
};

/// How often a request is repeated at once because the server refused its nonce. A CA with several data centres may do
/// so more than once in a row; each repetition uses the nonce that came with the refusal.
const NONCE_RETRIES: usize = 10;

/// Whom a request is for that nobody signs.
const NOBODY: Party<'_> = Party { account: None, names: None };

/// Which CA, and whom to trust for reaching it.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub directory_url: String,
    /// PEM certificates to trust in place of the system's.
    pub ca_bundle: Option<Vec<u8>>,
    /// Do not check the server's certificate at all.
    pub skip_tls_verify: bool,
}

/// What the server sent, with what it said around it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<T> {
    pub body: T,
    /// How long the server asks to wait before asking again; never more than a week.
    pub retry_after: Option<Duration>,
    /// The URL of what was made.
    pub location: Option<String>,
}

impl<T> Answer<T> {
    pub(super) fn new(body: T, request: &Request, response: &Response) -> Self {
        Self { body, retry_after: response.retry_after(), location: response.location(request) }
    }
}

/// Talks to one CA. Cheap to clone; clones share connections, the directory, nonces and the gate: what the CA has asked to
/// be spared is answered with [`Error::Limited`] without being sent.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    directory_url: String,
    directory: KnownDirectory,
    nonces: NoncePool,
    gate: Gate,
    transport: Box<dyn Transport>,
}

impl Client {
    /// A client that has not connected yet.
    ///
    /// # Errors
    /// [`Error::InvalidUrl`], [`Error::BadCaBundle`], [`Error::Setup`].
    pub fn new(config: &Config) -> Result<Self, Error> {
        let transport = HttpTransport::new(config.ca_bundle.as_deref(), config.skip_tls_verify)?;
        Self::with_transport(&config.directory_url, Box::new(transport))
    }

    /// A client that exchanges requests over `transport`.
    ///
    /// # Errors
    /// [`Error::InvalidUrl`].
    pub fn with_transport(directory_url: &str, transport: Box<dyn Transport>) -> Result<Self, Error> {
        transport::checked(directory_url)?;
        Ok(Self(Arc::new(Inner {
            directory_url: directory_url.to_owned(),
            directory: KnownDirectory::default(),
            nonces: NoncePool::default(),
            gate: Gate::default(),
            transport,
        })))
    }

    /// The directory, fetched the first time it is needed and kept until it is old or something speaks against it.
    ///
    /// # Errors
    /// [`Error::NotAcme`] if there is something else at the URL and never was a directory.
    pub async fn directory(&self) -> Result<Arc<Directory>, Error> {
        self.0.directory.get(self.fetch_directory()).await
    }

    /// The directory as it is now. For the rare question whether something was added since it was last fetched.
    ///
    /// # Errors
    /// [`Error::NotAcme`] if there is something else at the URL.
    pub async fn current_directory(&self) -> Result<Arc<Directory>, Error> {
        Ok(self.0.directory.keep(self.fetch_directory().await?))
    }

    /// Something speaks against the directory as it is known.
    pub(super) fn doubt_directory(&self) {
        self.0.directory.doubt();
    }

    pub(super) async fn fetch_directory(&self) -> Result<Directory, Error> {
        let request = get(&self.0.directory_url, action::DISCOVER);
        let response = self.exchange(&request).await?;
        if !response.is_success() {
            return Err(response.into_error(&request));
        }
        let directory: Directory = parse(&request, &response, "an ACME directory was expected")?;
        for url in [&directory.new_nonce, &directory.new_account, &directory.new_order] {
            transport::checked(url)?;
        }
        Ok(directory)
    }

    /// Makes an account for `key`, or finds the one it has (RFC 8555 7.3). The contacts of an existing account stay as
    /// they are; compare them and call [`Client::update_contacts`].
    ///
    /// # Errors
    /// As the server says; see [`Error`].
    pub async fn register(&self, key: &PrivateKey, registration: &Registration) -> Result<Account, Error> {
        self.new_account(key, |url| registration.payload(key, url), action::REGISTER).await
    }

    /// The account that `key` has, `None` if it has none (RFC 8555 7.3.1).
    ///
    /// # Errors
    /// As the server says; see [`Error`].
    pub async fn find_account(&self, key: &PrivateKey) -> Result<Option<Account>, Error> {
        let payload = |_: &str| Ok(Payload::Json(serde_json::json!({ "onlyReturnExisting": true })));
        match self.new_account(key, payload, action::GET_ACCOUNT).await {
            Ok(account) => Ok(Some(account)),
            Err(error) if error.problem().is_some_and(super::Problem::account_does_not_exist) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `payload` is made for the URL that it goes to.
    async fn new_account(
        &self,
        key: &PrivateKey,
        payload: impl Fn(&str) -> Result<Payload, Error>,
        action: &'static str,
    ) -> Result<Account, Error> {
        let mut place = self.place(|directory| Some(&directory.new_account), "accounts", "newAccount").await?;
        let (request, response) = loop {
            match self.post(key, Signer::Key, &place.url, &payload(&place.url)?, Wanted::json(action)).await {
                Err(error) if place.has_moved(self, &error).await => {}
                answer => break answer?,
            }
        };
        let body: AccountBody = parse(&request, &response, "an account was expected")?;
        let url = response.location(&request);
        let url = url.ok_or_else(|| Error::NoLocation { url: request.shown_url(), what: "account" })?;
        Ok(Account { url, created: response.status == 201, body })
    }

    /// Sets the contacts of an account (RFC 8555 7.3.2), such as `mailto:admin@example.org`.
    ///
    /// # Errors
    /// As the server says; see [`Error`].
    pub async fn update_contacts(
        &self,
        key: &PrivateKey,
        account_url: &str,
        contacts: &[String],
    ) -> Result<Answer<AccountBody>, Error> {
        let payload = Payload::Json(serde_json::json!({ "contact": contacts }));
        self.post_json(key, account_url, account_url, &payload, ("an account was expected", action::UPDATE_ACCOUNT))
            .await
    }

    /// Which CA this is.
    pub fn directory_url(&self) -> &str {
        &self.0.directory_url
    }

    /// What this CA wants to be spared now.
    pub fn gate(&self) -> &Gate {
        &self.0.gate
    }

    /// The handle for acting in the name of an account.
    pub fn account(&self, key: PrivateKey, url: impl Into<String>) -> AccountHandle {
        AccountHandle::new(self.clone(), key, url.into())
    }

    /// When the CA suggests to renew a certificate (RFC 9773 4.1), `None` if the CA gives no such advice. See
    /// [`super::renewal::certificate_id`].
    ///
    /// # Errors
    /// As the server says; see [`Error`].
    pub async fn renewal_info(&self, certificate_id: &str) -> Result<Option<Answer<RenewalInfo>>, Error> {
        let place = Place::find(self, |directory| directory.renewal_info.as_deref()).await?;
        let Some(mut place) = place else { return Ok(None) };
        loop {
            match self.renewal_info_at(&place.url, certificate_id).await {
                Err(error) if place.has_moved(self, &error).await => {}
                answer => return answer.map(Some),
            }
        }
    }

    async fn renewal_info_at(&self, base: &str, certificate_id: &str) -> Result<Answer<RenewalInfo>, Error> {
        let url = format!("{}/{certificate_id}", base.trim_end_matches('/'));
        let request = get(&url, action::GET_RENEWAL_INFORMATION);
        let response = self.exchange(&request).await?;
        if !response.is_success() {
            return Err(response.into_error(&request));
        }
        let body = parse(&request, &response, "renewal information was expected")?;
        Ok(Answer::new(body, &request, &response))
    }

    /// Where the CA has what it must or may offer.
    ///
    /// # Errors
    /// [`Error::NotOffered`], or those of [`Client::directory`].
    pub(super) async fn place(
        &self,
        of: fn(&Directory) -> Option<&str>,
        what: &'static str,
        entry: &'static str,
    ) -> Result<Place, Error> {
        Place::find(self, of).await?.ok_or(Error::NotOffered { what, entry })
    }

    /// Posts and reads a JSON answer. Of it is said what was expected, and by which action.
    pub(super) async fn post_json<T: DeserializeOwned>(
        &self,
        key: &PrivateKey,
        account_url: &str,
        url: &str,
        payload: &Payload,
        (expected, action): (&str, &'static str),
    ) -> Result<Answer<T>, Error> {
        let signer = Signer::Account(account_url);
        let (request, response) = self.post(key, signer, url, payload, Wanted::json(action)).await?;
        let body = parse(&request, &response, expected)?;
        Ok(Answer::new(body, &request, &response))
    }

    /// POST-as-GET for a certificate chain.
    pub(super) async fn post_chain(
        &self,
        key: &PrivateKey,
        account_url: &str,
        url: &str,
    ) -> Result<(Request, Response), Error> {
        self.post(key, Signer::Account(account_url), url, &Payload::Empty, Wanted::chain()).await
    }

    /// Signs and sends a request, again and at once as long as only its nonce is refused (RFC 8555 6.5).
    pub(super) async fn post(
        &self,
        key: &PrivateKey,
        signer: Signer<'_>,
        url: &str,
        payload: &Payload,
        wanted: Wanted,
    ) -> Result<(Request, Response), Error> {
        transport::checked(url)?;
        let names = ordered_names(payload);
        let key_of_names = if names.is_empty() { url.to_owned() } else { gate::names_key(&names) };
        let account = match signer {
            Signer::Account(account) => account,
            // Who has no account yet shares a bucket with all others that want one.
            Signer::Key => url,
        };
        let party = Party { account: Some(account), names: Some(&key_of_names) };
        if let gate::Standing::Closed(closed) = self.0.gate.standing(&party, Timestamp::now()) {
            return Err(Error::Limited(Box::new(closed)));
        }
        let mut retries = 0..NONCE_RETRIES;
        loop {
            let nonce = self.nonce(wanted.action).await?;
            let jws = jws::sign(key, signer, &nonce, url, payload)?;
            let body = serde_json::to_vec(&jws).unwrap_or_default();
            let request = request(Method::POST, url, Some(body), wanted);
            let response = self.send(&request, &party, &names).await?;
            if response.is_success() {
                self.0.nonces.put(&response.headers);
                return Ok((request, response));
            }
            let headers = response.headers.clone();
            let error = response.into_error(&request);
            let bad_nonce = error.problem().is_some_and(super::Problem::is_bad_nonce);
            if bad_nonce {
                self.0.nonces.clear();
            }
            self.0.nonces.put(&headers);
            if !bad_nonce || retries.next().is_none() {
                return Err(error);
            }
        }
    }

    async fn nonce(&self, action: &'static str) -> Result<String, Error> {
        if let Some(nonce) = self.0.nonces.take() {
            return Ok(nonce);
        }
        let mut place = self.place(|directory| Some(&directory.new_nonce), "nonces", "newNonce").await?;
        loop {
            let request = request(Method::HEAD, &place.url, None, Wanted::nonce(action));
            let response = self.send(&request, &NOBODY, &[]).await?;
            if response.is_success() {
                // It does not go through the pool, where another request could take it.
                return nonce_in(&response.headers)
                    .ok_or_else(|| response.not_acme(&request, "a nonce was expected in its Replay-Nonce header"));
            }
            let error = response.into_error(&request);
            if !place.has_moved(self, &error).await {
                return Err(error);
            }
        }
    }

    async fn exchange(&self, request: &Request) -> Result<Response, Error> {
        let response = self.send(request, &NOBODY, &[]).await?;
        self.0.nonces.put(&response.headers);
        Ok(response)
    }

    async fn measured(&self, request: &Request) -> Result<Response, Error> {
        let began = Instant::now();
        let span = Span::call(|| format!("acme {}", request.action))
            .with("http.request.method", || request.method.to_string())
            .with("server.address", || transport::host(&request.url));
        let answer = span.around(self.0.transport.exchange(request)).await;
        match &answer {
            Ok(response) => span.number("http.response.status_code", || response.status.into()),
            Err(error) => span.failed(|| error.to_string()),
        }
        measure::acme_exchange(&AcmeExchange {
            url: &request.url,
            method: request.method.as_str(),
            action: request.action,
            status: answer.as_ref().map_or(NO_ANSWER, |response| response.status),
            took: began.elapsed(),
        });
        answer
    }

    /// Sends a request unless the CA wants to be spared it, and notes what becomes of it.
    async fn send(&self, request: &Request, party: &Party<'_>, names: &[String]) -> Result<Response, Error> {
        let (gate, began) = (&self.0.gate, Timestamp::now());
        gate.enter(party, began).map_err(|closed| Error::Limited(Box::new(closed)))?;
        // Whoever waits for the answer may lose patience, and ends this with it.
        let _leaving = Leaving { gate, party, began };
        let response = match self.measured(request).await {
            Ok(response) => response,
            Err(error) => {
                if matches!(error, Error::Transport { .. }) {
                    // It may have moved to another host.
                    self.doubt_directory();
                    let closed = gate.unanswered(party, began, &error.to_string(), Timestamp::now());
                    return Err(closed.map_or(error, |closed| Error::Limited(Box::new(closed))));
                }
                gate.answered(party, Timestamp::now());
                return Err(error);
            }
        };
        if response.is_success() {
            gate.answered(party, Timestamp::now());
            return Ok(response);
        }
        let error = response.clone().into_error(request);
        if let Some(limit) = limit::judge(&error, party.account.is_some(), names) {
            self.0.nonces.put(&response.headers);
            let closed = gate.refused(party, began, (limit.scope, limit.wish), &error.to_string(), Timestamp::now());
            return Err(Error::Limited(Box::new(closed)));
        }
        // A gateway that finds nobody behind it is no answer of the CA.
        if matches!(response.status, 502 | 504) {
            let closed = gate.unanswered(party, began, &error.to_string(), Timestamp::now());
            return Err(closed.map_or(error, |closed| Error::Limited(Box::new(closed))));
        }
        gate.answered(party, Timestamp::now());
        Ok(response)
    }
}

/// A request that has entered the gate. However it ends, it leaves.
struct Leaving<'a> {
    gate: &'a Gate,
    party: &'a Party<'a>,
    began: Timestamp,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.gate.leave(self.party, self.began, Timestamp::now());
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Client").field(&self.0.directory_url).finish()
    }
}

/// The names in a request for an order.
fn ordered_names(payload: &Payload) -> Vec<String> {
    let Payload::Json(body) = payload else { return Vec::new() };
    let identifiers = body["identifiers"].as_array().into_iter().flatten();
    identifiers.filter_map(|identifier| identifier["value"].as_str()).map(str::to_owned).collect()
}

fn get(url: &str, action: &'static str) -> Request {
    request(Method::GET, url, None, Wanted::json(action))
}

fn request(method: Method, url: &str, body: Option<Vec<u8>>, wanted: Wanted) -> Request {
    let Wanted { action, accept, limit } = wanted;
    Request { method, url: url.to_owned(), body, accept, limit, action }
}

pub(super) fn parse<T: DeserializeOwned>(request: &Request, response: &Response, expected: &str) -> Result<T, Error> {
    serde_json::from_slice(&response.body)
        .map_err(|error| response.not_acme(request, &format!("{expected}, but {error}")))
}
