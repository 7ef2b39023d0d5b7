//! Problem documents (RFC 7807) with ACME's error types and sub-problems (RFC 8555 6.7).

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Identifier, wire::lenient};

const ACME_ERROR: &str = "urn:ietf:params:acme:error:";

/// How many characters of one `detail` are shown.
const SHOWN_CHARACTERS: usize = 1000;
/// How many sub-problems are shown.
const SHOWN_SUBPROBLEMS: usize = 10;

/// Why the server refused something, as it sent it: fields we do not know are kept too.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// A URN such as `urn:ietf:params:acme:error:rateLimited`.
    #[serde(rename = "type", default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Vec::is_empty")]
    pub subproblems: Vec<Subproblem>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The part of a problem that one identifier causes (RFC 8555 6.7.1).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Subproblem {
    #[serde(rename = "type", default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub identifier: Option<Identifier>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Problem {
    /// Reads a problem document from an answer's body; `None` if the body is something else.
    pub(super) fn from_body(body: &[u8]) -> Option<Self> {
        let problem: Self = serde_json::from_slice(body).ok()?;
        (problem.kind.is_some() || problem.detail.is_some()).then_some(problem)
    }

    /// Which of ACME's errors this is, such as `rateLimited`.
    pub fn name(&self) -> Option<&str> {
        self.kind.as_deref()?.strip_prefix(ACME_ERROR)
    }

    /// Whether this is ACME's error `name`.
    pub fn is(&self, name: &str) -> bool {
        self.name() == Some(name)
    }

    /// The nonce was not accepted (RFC 8555 6.5).
    pub fn is_bad_nonce(&self) -> bool {
        self.is("badNonce")
    }

    /// Too much was asked in a time (RFC 8555 6.6).
    pub fn is_rate_limited(&self) -> bool {
        self.is("rateLimited")
    }

    /// The key has no account (RFC 8555 7.3.1).
    pub fn account_does_not_exist(&self) -> bool {
        self.is("accountDoesNotExist")
    }

    /// The account may not be used any more, by its owner's wish or the CA's (RFC 8555 7.3.6). CAs say so in the detail
    /// only; the error type `unauthorized` is for much else too.
    pub fn account_is_refused(&self) -> bool {
        let detail = self.detail.as_deref().unwrap_or_default().to_ascii_lowercase();
        self.is("unauthorized")
            && detail.contains("account")
            && ["deactivated", "revoked", "not valid"].iter().any(|word| detail.contains(word))
    }

    /// The predecessor already has a successor (RFC 9773 5).
    pub fn is_already_replaced(&self) -> bool {
        self.is("alreadyReplaced")
    }

    /// The same request may succeed later.
    pub(super) fn is_transient(&self) -> bool {
        self.is_bad_nonce() || self.is_rate_limited() || self.is("serverInternal")
    }
}

impl Subproblem {
    /// Which of ACME's errors this is.
    pub fn name(&self) -> Option<&str> {
        self.kind.as_deref()?.strip_prefix(ACME_ERROR)
    }
}

impl fmt::Display for Problem {
    /// One sentence: the type, the detail, and what each identifier did wrong.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_parts(f, self.kind.as_deref(), self.detail.as_deref().or(self.title.as_deref()))?;
        for subproblem in self.subproblems.iter().take(SHOWN_SUBPROBLEMS) {
            write!(f, "; {subproblem}")?;
        }
        match self.subproblems.len().saturating_sub(SHOWN_SUBPROBLEMS) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl fmt::Display for Subproblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(identifier) = &self.identifier {
            write!(f, "{}: ", shown(&identifier.value))?;
        }
        write_parts(f, self.kind.as_deref(), self.detail.as_deref().or(self.title.as_deref()))
    }
}

fn write_parts(f: &mut fmt::Formatter<'_>, kind: Option<&str>, text: Option<&str>) -> fmt::Result {
    match (kind, text) {
        (Some(kind), Some(text)) => write!(f, "{}: {}", shown(kind), shown(text)),
        (Some(part), None) | (None, Some(part)) => f.write_str(&shown(part)),
        (None, None) => f.write_str("no reason given"),
    }
}

/// On one line, and not endless: the text comes from outside and goes into statuses and events.
fn shown(text: &str) -> String {
    super::wire::one_line(text, SHOWN_CHARACTERS)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The example of RFC 8555 section 6.7.1, with a field nobody knows.
    fn example() -> Value {
        json!({
            "type": "urn:ietf:params:acme:error:malformed",
            "detail": "Some of the identifiers requested were rejected",
            "instance": "/problems/1",
            "subproblems": [
                {
                    "type": "urn:ietf:params:acme:error:malformed",
                    "detail": "Invalid underscore in DNS name \"_example.org\"",
                    "identifier": { "type": "dns", "value": "_example.org" }
                },
                {
                    "type": "urn:ietf:params:acme:error:rejectedIdentifier",
                    "detail": "This CA will not issue for \"example.net\"",
                    "identifier": { "type": "dns", "value": "example.net" },
                    "policy": 7
                }
            ]
        })
    }

    #[test]
    fn documents_are_kept_verbatim() {
        let problem = Problem::from_body(example().to_string().as_bytes()).unwrap();
        assert_eq!(serde_json::to_value(&problem).unwrap(), example());
    }

    #[test]
    fn one_sentence_says_it_all() {
        let problem: Problem = serde_json::from_value(example()).unwrap();
        assert_eq!(
            problem.to_string(),
            "urn:ietf:params:acme:error:malformed: Some of the identifiers requested were rejected; \
             _example.org: urn:ietf:params:acme:error:malformed: Invalid underscore in DNS name \"_example.org\"; \
             example.net: urn:ietf:params:acme:error:rejectedIdentifier: This CA will not issue for \"example.net\""
        );
    }

    #[test]
    fn odd_documents_still_tell_something() {
        let odd = br#"{"type": 7, "detail": "no\nluck", "status": "400", "subproblems": "none"}"#;
        let problem = Problem::from_body(odd).unwrap();
        assert_eq!(problem.to_string(), "no luck");
        assert!(Problem::from_body(b"<html>").is_none());
        assert!(Problem::from_body(b"[]").is_none());
        assert!(Problem::from_body(br#"{"status": 404}"#).is_none());
    }

    #[test]
    fn many_long_subproblems_are_cut() {
        let subproblem = Subproblem { detail: Some("x".repeat(5000)), ..Subproblem::default() };
        let problem = Problem { subproblems: vec![subproblem; 12], ..Problem::default() };
        let text = problem.to_string();
        assert!(text.ends_with("; and 2 more"), "{text}");
        assert!(text.len() < 11_000, "{}", text.len());
    }

    #[test]
    fn accounts_that_may_not_be_used_any_more() {
        let of = |kind: &str, detail: &str| Problem {
            kind: Some(format!("{ACME_ERROR}{kind}")),
            detail: Some(detail.into()),
            ..Problem::default()
        };
        for detail in [
            "Account is not valid, has status \"deactivated\"",
            "An account with the provided public key exists but is deactivated",
            "The account was revoked",
        ] {
            assert!(of("unauthorized", detail).account_is_refused(), "{detail}");
            assert!(!of("malformed", detail).account_is_refused(), "{detail}");
        }
        for detail in ["Account 1 is not authorized to use this order", "the authorization was deactivated"] {
            assert!(!of("unauthorized", detail).account_is_refused(), "{detail}");
        }
    }

    #[test]
    fn kinds_are_recognised_by_their_full_name_only() {
        let of = |kind: &str| Problem { kind: Some(kind.into()), ..Problem::default() };
        assert!(of("urn:ietf:params:acme:error:rateLimited").is_rate_limited());
        assert!(of("urn:ietf:params:acme:error:badNonce").is_bad_nonce());
        assert!(of("urn:ietf:params:acme:error:accountDoesNotExist").account_does_not_exist());
        assert!(!of("rateLimited").is_rate_limited());
        assert!(!Problem::default().is_transient());
    }
}
