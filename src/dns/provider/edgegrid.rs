//! EdgeGrid, the signatures of Akamai's APIs (EG1-HMAC-SHA256).

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::{Method, Url};

use crate::api::Sensitive;

/// More of a body than this is not signed, in bytes.
const MOST_SIGNED: usize = 131_072;

/// The credentials of an API client.
#[derive(Clone, Debug)]
pub struct EdgeGrid {
    pub client_token: Sensitive,
    pub client_secret: Sensitive,
    pub access_token: Sensitive,
}

/// What makes each signature another one.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Such as `20130817T02:49:13+0000`.
    time: String,
    /// Never the same twice.
    nonce: String,
}

impl Moment {
    /// Now. None if there is no randomness.
    pub fn now() -> Option<Self> {
        let mut random = [0; 16];
        rand::fill(&mut random).ok()?;
        let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let nonce = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
        Some(Self { time: Timestamp::now().strftime("%Y%m%dT%H:%M:%S+0000").to_string(), nonce })
    }
}

impl EdgeGrid {
    /// The value of the header `Authorization`. `url` is as the vendor sees it. No other header is signed.
    pub fn sign(&self, method: &Method, url: &Url, body: &[u8], moment: &Moment) -> String {
        let Self { client_token, client_secret, access_token } = self;
        let Moment { time, nonce } = moment;
        let unsigned = format!(
            "EG1-HMAC-SHA256 client_token={};access_token={};timestamp={time};nonce={nonce};",
            client_token.expose(),
            access_token.expose()
        );
        let data =
            [method.as_str(), url.scheme(), &host(url), &path(url), "", &hash(method, body), &unsigned].join("\t");
        let key = mac(client_secret.expose(), time);
        format!("{unsigned}signature={}", mac(&key, &data))
    }
}

fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn path(url: &Url) -> String {
    url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
}

/// Only what is posted is signed.
fn hash(method: &Method, body: &[u8]) -> String {
    if *method != Method::POST || body.is_empty() {
        return String::new();
    }
    STANDARD.encode(digest(&SHA256, &body[..body.len().min(MOST_SIGNED)]))
}

fn mac(key: &str, data: &str) -> String {
    STANDARD.encode(hmac::sign(&hmac::Key::new(HMAC_SHA256, key.as_bytes()), data.as_bytes()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"name":"_acme-challenge.example.com","type":"TXT","ttl":300,"rdata":["\"value\""]}"#;

    fn signature(method: &Method, path: &str, body: &str) -> String {
        let edge_grid = EdgeGrid {
            client_token: "akab-client-token-xxx".into(),
            client_secret: "SOMESECRETxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx=".into(),
            access_token: "akab-access-token-xxx".into(),
        };
        let moment = Moment {
            time: "20261125T21:00:00+0000".to_owned(),
            nonce: "dd9957e2-4fe5-48ca-8d32-16a772ac6d8f".to_owned(),
        };
        let url = format!("https://akab-host-xxx.luna.akamaiapis.net/config-dns/v2{path}").parse().unwrap();
        let header = edge_grid.sign(method, &url, body.as_bytes(), &moment);
        let start = "EG1-HMAC-SHA256 client_token=akab-client-token-xxx;access_token=akab-access-token-xxx;\
                     timestamp=20261125T21:00:00+0000;nonce=dd9957e2-4fe5-48ca-8d32-16a772ac6d8f;signature=";
        header.strip_prefix(start).unwrap().to_owned()
    }

    /// The signatures that the vendor's own library (edgegrid-python 2.0.9) makes of the same requests.
    #[test]
    fn signatures_are_the_vendors() {
        let set = "/zones/example.com/names/_acme-challenge.example.com/types/TXT";
        let big = "x".repeat(140_000);
        for (method, path, body, expected) in [
            (Method::GET, "/zones?page=1&pageSize=500", "", "jDxyP0mEN6S13RIVPQ9xY/2L3MdJVBnQ6Mlj9E5iv3Q="),
            (Method::POST, set, BODY, "g73CzPL7t3IwZsgVR8QbLMSYjEvN74yhO8kyvP7Q6rg="),
            (Method::PUT, set, BODY, "5rl0IAj4HfkBE1XO263TDZQVfrK07IJfQWT9aU8WWGo="),
            (Method::DELETE, set, "", "DUXbOlTQCWMOtoDsbCvwcJv5m88bCg/W4YfCrgWrXqo="),
            (Method::POST, "/big", &big, "XcUCHwBZakAQWWsgcCOoBZBv2SztYco5nJsgpmUvHoU="),
        ] {
            assert_eq!(signature(&method, path, body), expected, "{method} {path}");
        }
    }

    #[test]
    fn moments_differ_and_have_the_published_form() {
        let (one, other) = (Moment::now().unwrap(), Moment::now().unwrap());
        assert_ne!(one.nonce, other.nonce);
        assert_eq!(one.nonce.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        let form: String = one.time.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
        assert_eq!(form, "00000000T00:00:00+0000");
    }
}
