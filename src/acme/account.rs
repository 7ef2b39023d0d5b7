//! Accounts, and what is done in the name of one.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    AccountStatus, Answer, AuthorizationBody, Chain, ChallengeBody, Client, Error, MacAlgorithm, NewOrder, OrderBody,
    jws::{self, Payload, Signer},
    link,
    order::OrderList,
    wanted::{Wanted, action},
    wire::lenient,
};
use crate::pki::PrivateKey;

/// How much of an account's list of orders is read.
const MAX_ORDER_PAGES: usize = 50;
const MAX_ORDERS: usize = 2000;

/// What an account is made with (RFC 8555 7.3).
#[derive(Clone, Debug, Default)]
pub struct Registration {
    /// URLs such as `mailto:admin@example.org`.
    pub contacts: Vec<String>,
    pub external_account_binding: Option<ExternalAccountBinding>,
    pub terms_of_service_agreed: bool,
}

/// An account that the CA knows from elsewhere (RFC 8555 7.3.4).
#[derive(Clone)]
pub struct ExternalAccountBinding {
    pub key_id: String,
    /// The raw key; CAs hand it out in base64url.
    pub mac_key: Vec<u8>,
    pub algorithm: MacAlgorithm,
}

impl fmt::Debug for ExternalAccountBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalAccountBinding").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl Registration {
    pub(super) fn payload(&self, key: &PrivateKey, new_account_url: &str) -> Result<Payload, Error> {
        let mut payload = json!({ "termsOfServiceAgreed": self.terms_of_service_agreed });
        if !self.contacts.is_empty() {
            payload["contact"] = json!(self.contacts);
        }
        if let Some(ExternalAccountBinding { key_id, mac_key, algorithm }) = &self.external_account_binding {
            let binding = jws::bind_external_account(key, key_id, mac_key, *algorithm, new_account_url)?;
            payload["externalAccountBinding"] = json!(binding);
        }
        Ok(Payload::Json(payload))
    }
}

/// An account at a CA.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// Names the account in every request.
    pub url: String,
    /// Whether it was made just now.
    pub created: bool,
    pub body: AccountBody,
}

/// The server's view of an account (RFC 8555 7.1.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountBody {
    pub status: AccountStatus,
    #[serde(rename = "contact", default, deserialize_with = "lenient")]
    pub contacts: Vec<String>,
    /// Where the list of orders is; not every CA has one.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub orders: Option<String>,
}

/// Acts in the name of an account. Cheap to clone.
#[derive(Clone)]
pub struct AccountHandle(Arc<Inner>);

struct Inner {
    client: Client,
    key: PrivateKey,
    url: String,
}

impl AccountHandle {
    pub(super) fn new(client: Client, key: PrivateKey, url: String) -> Self {
        Self(Arc::new(Inner { client, key, url }))
    }

    /// The account's URL.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    pub(super) fn key(&self) -> &PrivateKey {
        &self.0.key
    }

    /// The CA's client.
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// What an HTTP-01 challenge with `token` is answered with (RFC 8555 8.1).
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn key_authorization(&self, token: &str) -> Result<String, Error> {
        Ok(jws::key_authorization(&self.0.key, token)?)
    }

    /// The TXT record's value for a DNS-01 challenge with `token` (RFC 8555 8.4).
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn dns01_value(&self, token: &str) -> Result<String, Error> {
        Ok(jws::dns01_value(&self.key_authorization(token)?))
    }

    /// The account itself.
    ///
    /// # Errors
    /// As the server says; see [`Error`].
    pub async fn account(&self) -> Result<Answer<AccountBody>, Error> {
        self.post_as_get(&self.0.url, ("an account was expected", action::GET_ACCOUNT)).await
    }

    /// Gives the account another key (RFC 8555 7.3.5). When this succeeds the present key is of no use any more, and
    /// neither is this handle: keep the new key before asking. Whether it was done can be found out with
    /// [`Client::find_account`].
    ///
    /// # Errors
    /// [`Error::NotOffered`] if the CA cannot do that, or as the server says; see [`Error`].
    pub async fn change_key(&self, new_key: &PrivateKey) -> Result<(), Error> {
        let Inner { client, key, url: account } = &*self.0;
        let (signer, wanted) = (Signer::Account(account), Wanted::json(action::OTHER));
        let what = "another key for an account";
        let mut place = client.place(|directory| directory.key_change.as_deref(), what, "keyChange").await?;
        loop {
            let payload = Payload::json(&jws::change_key(new_key, key, account, &place.url)?);
            match client.post(key, signer, &place.url, &payload, wanted).await {
                Err(error) if place.has_moved(client, &error).await => {}
                answer => return answer.map(drop),
            }
        }
    }

    /// Gives the account up for good (RFC 8555 7.3.6): the CA will refuse everything in its name.
    ///
    /// # Errors
    /// As the server says; see [`Error`].
    pub async fn deactivate(&self) -> Result<Answer<AccountBody>, Error> {
        let payload = Payload::Json(json!({ "status": "deactivated" }));
        self.post(&self.0.url, &payload, ("an account was expected", action::OTHER)).await
    }

    /// Makes an order (RFC 8555 7.4) and returns its URL with it. Keep the URL before doing anything else: another order
    /// would cost the CA's rate limits again.
    ///
    /// # Errors
    /// As the server says; see [`Error`].
    pub async fn new_order(&self, order: &NewOrder) -> Result<(String, Answer<OrderBody>), Error> {
        let client = &self.0.client;
        let mut place = client.place(|directory| Some(&directory.new_order), "orders", "newOrder").await?;
        let expected = ("an order was expected", action::NEW_ORDER);
        let answer: Answer<OrderBody> = loop {
            match self.post(&place.url, &Payload::json(order), expected).await {
                Err(error) if place.has_moved(client, &error).await => {}
                answer => break answer?,
            }
        };
        match answer.location.clone() {
            Some(location) => Ok((location, answer)),
            None => Err(Error::NoLocation { url: place.url, what: "order" }),
        }
    }

    /// An order (RFC 8555 7.4).
    ///
    /// # Errors
    /// As the server says; see [`Error`].
    pub async fn order(&self, url: &str) -> Result<Answer<OrderBody>, Error> {
        self.post_as_get(url, ("an order was expected", action::GET_ORDER)).await
    }

    /// The URLs of the account's orders, newest or oldest first as the CA likes (RFC 8555 7.1.2.1); `None` if the CA
    /// keeps no such list. For finding an order whose URL was lost. Long lists are cut.
    ///
    /// # Errors
    /// As the server says; see [`Error`].
    pub async fn orders(&self) -> Result<Option<Vec<String>>, Error> {
        let Some(first) = self.account().await?.body.orders else { return Ok(None) };
        let mut orders = Vec::new();
        let mut next = Some(first);
        for _ in 0..MAX_ORDER_PAGES {
            let Some(page) = next.take() else { break };
            let (list, following) = match self.order_page(&page).await {
                Err(error) if matches!(error.status(), Some(404 | 405 | 501)) => return Ok(None),
                answer => answer?,
            };
            orders.extend(list);
            next = following.filter(|_| orders.len() < MAX_ORDERS);
        }
        orders.truncate(MAX_ORDERS);
        Ok(Some(orders))
    }

    async fn order_page(&self, url: &str) -> Result<(Vec<String>, Option<String>), Error> {
        let Inner { client, key, url: account } = &*self.0;
        let signer = Signer::Account(account);
        let (request, response) = client.post(key, signer, url, &Payload::Empty, Wanted::json(action::OTHER)).await?;
        let list: OrderList = super::client::parse(&request, &response, "a list of orders was expected")?;
        Ok((list.orders, link::targets(&response.headers, "next", &request.url, 1).pop()))
    }

    /// An authorization (RFC 8555 7.5).
    ///
    /// # Errors
    /// As the server says; see [`Error`].
    pub async fn authorization(&self, url: &str) -> Result<Answer<AuthorizationBody>, Error> {
        self.post_as_get(url, ("an authorization was expected", action::GET_AUTHORIZATION)).await
    }

    /// Gives an authorization back (RFC 8555 7.5.2). Some CAs count this as a failed validation while it is pending.
    ///
    /// # Errors
    /// As the server says; see [`Error`].
    pub async fn deactivate_authorization(&self, url: &str) -> Result<Answer<AuthorizationBody>, Error> {
        let payload = Payload::Json(json!({ "status": "deactivated" }));
        self.post(url, &payload, ("an authorization was expected", action::OTHER)).await
    }

    /// A challenge (RFC 8555 7.5.1).
    ///
    /// # Errors
    /// As the server says; see [`Error`].
    pub async fn challenge(&self, url: &str) -> Result<Answer<ChallengeBody>, Error> {
        self.post_as_get(url, ("a challenge was expected", action::GET_CHALLENGE)).await
    }

    /// Tells the server that a challenge is ready to be validated (RFC 8555 7.5.1).
    ///
    /// # Errors
    /// As the server says; see [`Error`].
    pub async fn accept(&self, challenge_url: &str) -> Result<Answer<ChallengeBody>, Error> {
        let payload = Payload::Json(Value::Object(serde_json::Map::new()));
        self.post(challenge_url, &payload, ("a challenge was expected", action::ACCEPT_CHALLENGE)).await
    }

    /// Sends the certificate request of an order that is ready (RFC 8555 7.4).
    ///
    /// # Errors
    /// As the server says; see [`Error`].
    pub async fn finalize(&self, finalize_url: &str, request_der: &[u8]) -> Result<Answer<OrderBody>, Error> {
        let payload = Payload::Json(json!({ "csr": BASE64URL.encode(request_der) }));
        self.post(finalize_url, &payload, ("an order was expected", action::FINALIZE)).await
    }

    /// An issued certificate with its chain (RFC 8555 7.4.2).
    ///
    /// # Errors
    /// As the server says; see [`Error`].
    pub async fn certificate(&self, url: &str) -> Result<Answer<Chain>, Error> {
        let Inner { client, key, url: account } = &*self.0;
        let (request, response) = client.post_chain(key, account, url).await?;
        Chain::from_response(&request, &response)
    }

    async fn post_as_get<T: DeserializeOwned>(
        &self,
        url: &str,
        expected: (&str, &'static str),
    ) -> Result<Answer<T>, Error> {
        self.post(url, &Payload::Empty, expected).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        url: &str,
        payload: &Payload,
        expected: (&str, &'static str),
    ) -> Result<Answer<T>, Error> {
        let Inner { client, key, url: account } = &*self.0;
        client.post_json(key, account, url, payload, expected).await
    }
}

impl fmt::Debug for AccountHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AccountHandle").field(&self.0.url).finish()
    }
}
