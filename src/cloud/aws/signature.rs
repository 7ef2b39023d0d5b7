//! Signature Version 4: requests signed in the header `Authorization`.
//!
//! See "Create a signed AWS API request" in the IAM User Guide.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, InvalidHeaderValue};
use reqwest::{Request, Url};

use super::Credentials;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// What a signature is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope<'a> {
    pub region: &'a str,
    /// As the service calls itself in signatures, such as `route53`.
    pub service: &'a str,
}

/// Adds the headers that sign a request, its body included, which must be in memory. The path must need no escapes.
///
/// # Errors
///
/// Credentials with characters that no header may have.
pub fn sign(
    request: &mut Request,
    credentials: &Credentials,
    scope: Scope<'_>,
    now: Timestamp,
) -> Result<(), InvalidHeaderValue> {
    let time = now.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
    request.headers_mut().insert(DATE, HeaderValue::from_str(&time)?);
    if let Some(token) = &credentials.session_token {
        let mut token = HeaderValue::from_str(token)?;
        token.set_sensitive(true);
        request.headers_mut().insert(TOKEN, token);
    }
    let date = &time[..8];
    let (signed, canonical) = canonical(request);
    let scope_text = format!("{date}/{}/{}/aws4_request", scope.region, scope.service);
    let text = format!("{ALGORITHM}\n{time}\n{scope_text}\n{}", hex(digest(&SHA256, canonical.as_bytes()).as_ref()));
    let signature = hex(hmac(&signing_key(credentials, date, scope), &text).as_ref());
    let id = &credentials.access_key_id;
    let value = format!("{ALGORITHM} Credential={id}/{scope_text}, SignedHeaders={signed}, Signature={signature}");
    request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_str(&value)?);
    Ok(())
}

/// The names of the signed headers, and the canonical form of the request.
fn canonical(request: &Request) -> (String, String) {
    let url = request.url();
    let mut headers = vec![("host".to_owned(), authority(url))];
    for name in [CONTENT_TYPE, DATE, TOKEN] {
        if let Some(value) = request.headers().get(&name) {
            headers.push((name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).trim().to_owned()));
        }
    }
    headers.sort();
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(";");
    let lines = headers.iter().fold(String::new(), |mut lines, (name, value)| {
        let _ = writeln!(lines, "{name}:{value}");
        lines
    });
    let body = request.body().and_then(|body| body.as_bytes()).unwrap_or_default();
    let (method, path, query, body) = (request.method(), url.path(), query(url), hex(digest(&SHA256, body).as_ref()));
    let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{body}");
    (names, canonical)
}

/// As in the header `Host`: with the port unless it is the scheme's own.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn query(url: &Url) -> String {
    let mut pairs: Vec<(String, String)> =
        url.query_pairs().map(|(name, value)| (escaped(&name), escaped(&value))).collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// With percent-encoding of all but the unreserved characters (RFC 3986 section 2.3), as AWS wants it in queries.
pub fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

fn signing_key(credentials: &Credentials, date: &str, scope: Scope<'_>) -> hmac::Tag {
    let secret = format!("AWS4{}", credentials.secret_access_key);
    let first = hmac::sign(&hmac::Key::new(HMAC_SHA256, secret.as_bytes()), date.as_bytes());
    [scope.region, scope.service, "aws4_request"].iter().fold(first, |key, part| hmac(&key, part))
}

fn hmac(key: &hmac::Tag, text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(HMAC_SHA256, key.as_ref()), text.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use reqwest::{Client, Method};

    use super::*;

    const EXAMPLE: &str = "https://example.amazonaws.com/";
    const TOKEN_EXAMPLE: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeo\
         IYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6f\
         E8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA\
         ==";

    fn signature(request: &mut Request, service: &str, token: Option<&str>) -> (String, String) {
        let credentials = Credentials {
            session_token: token.map(str::to_owned),
            ..Credentials::lasting("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
        };
        let scope = Scope { region: "us-east-1", service };
        sign(request, &credentials, scope, "2015-08-30T12:36:00Z".parse().unwrap()).unwrap();
        let value = request.headers()[AUTHORIZATION].to_str().unwrap();
        let rest = value
            .strip_prefix(&format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/{service}/aws4_request, SignedHeaders="
            ))
            .unwrap();
        let (signed, signature) = rest.split_once(", Signature=").unwrap();
        (signed.to_owned(), signature.to_owned())
    }

    fn request(method: Method, url: &str, content_type: Option<&str>, body: &'static str) -> Request {
        let mut builder = Client::new().request(method, url);
        if let Some(kind) = content_type {
            builder = builder.header(CONTENT_TYPE, kind).body(body);
        }
        builder.build().unwrap()
    }

    /// From the Signature Version 4 test suite: get-vanilla, get-vanilla-query-order-key-case, post-vanilla,
    /// post-x-www-form-urlencoded, post-sts-header-before.
    #[test]
    fn the_test_suite_of_aws() {
        let sorted = format!("{EXAMPLE}?Param2=value2&Param1=value1");
        let form = Some("application/x-www-form-urlencoded");
        for (mut request, token, expected) in [
            (
                request(Method::GET, EXAMPLE, None, ""),
                None,
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                request(Method::GET, &sorted, None, ""),
                None,
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                request(Method::POST, EXAMPLE, None, ""),
                None,
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                request(Method::POST, EXAMPLE, form, "Param1=value1"),
                None,
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            (
                request(Method::POST, EXAMPLE, None, ""),
                Some(TOKEN_EXAMPLE),
                "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
            ),
        ] {
            assert_eq!(signature(&mut request, "service", token).1, expected, "{request:?}");
        }
    }

    /// As botocore 1.44.8 signs the same requests.
    #[test]
    fn requests_to_route_53() {
        let list = "https://route53.amazonaws.com/2013-04-01/hostedzone/Z0123456789/rrset?name=%2A.example.com&type=TXT&maxitems=100";
        let mut request = request(Method::GET, list, None, "");
        let (signed, signature_of_list) = signature(&mut request, "route53", Some("a+token/="));
        assert_eq!(signed, "host;x-amz-date;x-amz-security-token");
        assert_eq!(signature_of_list, "7900d4e5548a7f73304884ca5c8272b3a4147a25ae0b52bbf8b376b00b02aa92");
        let change = "http://127.0.0.1:5000/2013-04-01/hostedzone/Z0123456789/rrset/";
        let mut request = self::request(Method::POST, change, Some("application/xml"), "<x/>");
        let (signed, signature_of_change) = signature(&mut request, "route53", None);
        assert_eq!(signed, "content-type;host;x-amz-date");
        assert_eq!(signature_of_change, "23e74a9d4636d43ee217116484a79b4e85f7e9b78056ee84b2dc2ce90045e53c");
    }

    #[test]
    fn the_session_token_is_sent_but_not_printed() {
        let mut request = request(Method::GET, EXAMPLE, None, "");
        signature(&mut request, "service", Some("hunter2"));
        assert_eq!(request.headers()[TOKEN], "hunter2");
        assert!(!format!("{request:?}").contains("hunter2"));
    }
}
