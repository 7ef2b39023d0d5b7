//! A service account's key, which signs assertions (RFC 7523).

use aws_lc_rs::{rand::SystemRandom, rsa::KeyPair, signature::RSA_PKCS1_SHA256};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{DNS_SCOPE, NAME, TOKEN_ENDPOINT, text, url};
use crate::cloud::token::{Body, CredentialError, TokenRequest, TokenSource};

/// How long an assertion holds, in seconds: the most that Google accepts.
const LIFETIME: i64 = 3600;

/// How far the clock may be ahead of Google's, in seconds.
const SKEW: i64 = 10;

/// See the module's description.
pub struct ServiceAccount {
    email: String,
    /// Which of the account's keys it is.
    key_id: Option<String>,
    key: KeyPair,
    /// Whom the assertion is for.
    audience: String,
    /// Where it is sent.
    endpoint: String,
}

impl ServiceAccount {
    /// Reads a key file as Google makes them.
    ///
    /// # Errors
    ///
    /// Anything else. The file of a workload identity is refused: it names files, and whoever may write a Secret must not
    /// have the controller's files read.
    pub fn from_key(json: &str) -> Result<Self, CredentialError> {
        let value: Value =
            serde_json::from_str(json).map_err(|_| CredentialError::Form("a service account's key file"))?;
        let found = value["type"].as_str().unwrap_or_default();
        if found != "service_account" {
            return Err(CredentialError::Type { found: found.to_owned(), wanted: "service_account" });
        }
        let audience = if value["token_uri"].is_null() { TOKEN_ENDPOINT.to_owned() } else { url(&value, "token_uri")? };
        Ok(Self {
            email: text(&value, "client_email")?,
            key_id: value["private_key_id"].as_str().map(str::to_owned),
            key: key(&text(&value, "private_key")?)?,
            endpoint: audience.clone(),
            audience,
        })
    }

    /// The same, but its assertions are sent to where `change` maps the address in the file. What they say stays.
    #[must_use]
    pub fn sent_to(self, change: impl FnOnce(&str) -> String) -> Self {
        Self { endpoint: change(&self.audience), ..self }
    }

    fn assertion(&self, now: Timestamp) -> Result<String, CredentialError> {
        let mut header = json!({ "alg": "RS256", "typ": "JWT" });
        if let Some(id) = &self.key_id {
            header["kid"] = json!(id);
        }
        let issued = now.as_second() - SKEW;
        let claims = json!({
            "iss": self.email, "scope": DNS_SCOPE, "aud": self.audience, "iat": issued, "exp": issued + LIFETIME,
        });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| CredentialError::Key)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl TokenSource for ServiceAccount {
    fn service(&self) -> &'static str {
        NAME
    }

    fn request(&self, now: Timestamp, _: &str) -> Result<TokenRequest, CredentialError> {
        let body = Body::Form(vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned()),
            ("assertion", self.assertion(now)?),
        ]);
        Ok(TokenRequest { url: self.endpoint.clone(), headers: Vec::new(), body })
    }
}

/// PKCS#8, which Google writes, or PKCS#1.
fn key(text: &str) -> Result<KeyPair, CredentialError> {
    let block = pem::parse(text).map_err(|_| CredentialError::Key)?;
    let key = match block.tag() {
        "PRIVATE KEY" => KeyPair::from_pkcs8(block.contents()),
        _ => KeyPair::from_der(block.contents()),
    };
    key.map_err(|_| CredentialError::Key)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use aws_lc_rs::{
        encoding::AsDer as _,
        rsa::KeySize,
        signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey},
    };

    use super::*;

    const NOW: &str = "2026-01-02T03:04:05Z";

    fn new_key() -> KeyPair {
        KeyPair::generate(KeySize::Rsa2048).unwrap()
    }

    fn file(key: &KeyPair) -> Value {
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = key.as_der().unwrap();
        json!({
            "type": "service_account", "project_id": "p", "private_key_id": "k1",
            "private_key": pem::encode(&pem::Pem::new("PRIVATE KEY", der.as_ref())),
            "client_email": "dns@p.iam.gserviceaccount.com", "token_uri": "https://oauth2.googleapis.com/token",
        })
    }

    fn decoded(part: &str) -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn an_assertion_is_signed_and_says_what_google_wants() {
        let key = new_key();
        let account = ServiceAccount::from_key(&file(&key).to_string()).unwrap();
        let request = account.request(NOW.parse().unwrap(), "").unwrap();
        assert_eq!(request.url, "https://oauth2.googleapis.com/token");
        let Body::Form(form) = request.body else { panic!("no form") };
        assert_eq!(form[0], ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned()));
        assert_eq!(form[1].0, "assertion");
        let parts: Vec<&str> = form[1].1.split('.').collect();
        assert_eq!(decoded(parts[0]), json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }));
        let issued = 1_767_323_045 - SKEW;
        let claims = json!({
            "iss": "dns@p.iam.gserviceaccount.com", "scope": DNS_SCOPE, "aud": "https://oauth2.googleapis.com/token",
            "iat": issued, "exp": issued + 3600,
        });
        assert_eq!(decoded(parts[1]), claims);
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key());
        let signed = format!("{}.{}", parts[0], parts[1]);
        public.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(parts[2]).unwrap()).unwrap();
    }

    #[test]
    fn where_it_is_sent_changes_nothing_in_it() {
        let key = new_key();
        let account = ServiceAccount::from_key(&file(&key).to_string()).unwrap();
        let request = |account: &ServiceAccount| account.request(NOW.parse().unwrap(), "").unwrap();
        let straight = request(&account);
        let detour = request(&account.sent_to(|url| url.replace("oauth2.googleapis.com", "gateway.test")));
        assert_eq!(detour.url, "https://gateway.test/token");
        assert!(straight.body == detour.body);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let whole = file(&new_key());
        let told = |change: fn(&mut Value)| {
            let mut value = whole.clone();
            change(&mut value);
            ServiceAccount::from_key(&value.to_string()).err().unwrap().to_string()
        };
        let wrong = told(|file| file["type"] = json!("external_account"));
        assert_eq!(wrong, "it is of type \"external_account\", where service_account is needed");
        assert_eq!(told(|file| file["private_key"] = json!("x")), "its private_key is no RSA key in PEM form");
        assert_eq!(told(|file| file["client_email"] = json!("")), "its client_email is missing or empty");
        assert_eq!(told(|file| file["token_uri"] = json!("http://a.test")), "its token_uri is not an https:// URL");
        let none = ServiceAccount::from_key("key").err().unwrap();
        assert_eq!(none.to_string(), "it is not the JSON of a service account's key file");
    }
}
