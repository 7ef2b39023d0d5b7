//! What a refusal for being too many is about: the whole CA, the account, or the names that were ordered.
//!
//! ACME has one error type for all limits (RFC 8555 6.6), so the rest has to be read from the words. What is not
//! recognised counts for the account: that holds more back than need be, never less than the CA asks for in general.
//!
//! | seen | example | about |
//! |---|---|---|
//! | 503, or any 5xx with Retry-After | Let's Encrypt's maintenance, load balancers | the CA |
//! | 429 without a problem document | ZeroSSL's nginx: `<title>429 Too Many Requests</title>` | the CA |
//! | 429 to the directory, a nonce, renewal information | | the CA |
//! | "Service busy; retry later." | Let's Encrypt | the CA |
//! | "this exact set of identifiers", "… of domains" | Let's Encrypt | the names |
//! | a sub-problem with an identifier (RFC 8555 6.7.1) | | the names |
//! | one of the names, or a domain above one of them | Let's Encrypt: `too many failed authorizations (5) for "www.example.org"`, `too many certificates (50) already issued for "example.org"` | the names |
//! | anything else | Let's Encrypt: "too many new orders (300) from this account", Google: "is over quota (30 requests in 60 seconds) for the given ACME resource: challenge" | the account |

use std::{net::IpAddr, time::Duration};

use super::{Error, Problem};

/// See the module's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    Names,
    Account,
    Ca,
}

/// A refusal that is about how much is asked, not about what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub scope: Scope,
    /// How long the CA wishes to be left alone.
    pub wish: Option<Duration>,
}

/// What an error is about if it is a limit. `names` are those of the order that was asked for; none if the request
/// does not name any.
pub fn judge(error: &Error, is_signed: bool, names: &[String]) -> Option<Limit> {
    let status = error.status()?;
    let wish = error.retry_after();
    let scope = match (status, error.problem()) {
        (503, _) | (429, None) => Scope::Ca,
        (500..=599, _) if wish.is_some() => Scope::Ca,
        (429, Some(problem)) => scope_of(problem, is_signed, names),
        (_, Some(problem)) if problem.is_rate_limited() => scope_of(problem, is_signed, names),
        _ => return None,
    };
    Some(Limit { scope, wish })
}

fn scope_of(problem: &Problem, is_signed: bool, names: &[String]) -> Scope {
    let detail = problem.detail.as_deref().unwrap_or_default().to_lowercase();
    if !is_signed || detail.contains("service busy") {
        return Scope::Ca;
    }
    let has_identifiers = problem.subproblems.iter().any(|subproblem| subproblem.identifier.is_some());
    if has_identifiers || detail.contains("exact set of") || tells_of(&detail, names) {
        return Scope::Names;
    }
    Scope::Account
}

/// Whether these words tell of one of the names, or of a domain above one; of any name if none are known.
fn tells_of(detail: &str, names: &[String]) -> bool {
    words(detail).any(|word| {
        let is_about = |name: &String| {
            let name = name.strip_prefix("*.").unwrap_or(name);
            name == word || (word.contains('.') && name.strip_suffix(word).is_some_and(|rest| rest.ends_with('.')))
        };
        if names.is_empty() { looks_like_a_name(word) } else { names.iter().any(is_about) }
    })
}

/// The words of a text without quotes and punctuation, and without links: those lead to pages about the limits.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_link = |word: &&str| word.starts_with("http://") || word.starts_with("https://");
    let bare = |word| str::trim_matches(word, |c: char| !c.is_alphanumeric() && c != '*');
    text.split_whitespace()
        .map(bare)
        .filter(move |word| !is_link(word))
        .map(|word| word.strip_prefix("*.").unwrap_or(word))
}

fn looks_like_a_name(word: &str) -> bool {
    let is_of_letters = |label: &str| label.len() > 1 && label.bytes().any(|byte| byte.is_ascii_alphabetic());
    let is_domain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        && word.rsplit_once('.').is_some_and(|(rest, last)| is_of_letters(rest) && is_of_letters(last))
        // A duration such as 12.476542291s is no name.
        && !word.bytes().next().is_some_and(|byte| byte.is_ascii_digit() && word.parse::<f64>().is_ok());
    is_domain || word.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const RATE_LIMITED: &str = "urn:ietf:params:acme:error:rateLimited";

    fn refusal(status: u16, body: &Value, retry_after: Option<u64>) -> Error {
        let problem: Problem = serde_json::from_value(body.clone()).unwrap();
        Error::Problem { problem: Box::new(problem), status, retry_after: retry_after.map(Duration::from_secs) }
    }

    fn scope_for(detail: &str, names: &[&str]) -> Scope {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        judge(&refusal(429, &json!({"type": RATE_LIMITED, "detail": detail}), None), true, &names).unwrap().scope
    }

    /// As the CAs word them.
    #[test]
    fn the_words_of_the_cas() {
        let see = ": see https://letsencrypt.org/docs/rate-limits/#a";
        let last = "in the last 168h0m0s, retry after 2026-09-18 09:13:16 UTC";
        let names = &["www.example.org", "*.example.org"][..];
        for (detail, names, expected) in [
            (format!("too many new orders (300) from this account {last}{see}"), names, Scope::Account),
            (
                format!("too many new orders (300) from this account {last}{see}"),
                &["a.letsencrypt.org"],
                Scope::Account,
            ),
            (format!("too many new registrations (10) from this IP address {last}{see}"), &[], Scope::Account),
            (
                format!("too many certificates (5) already issued for this exact set of identifiers {last}{see}"),
                names,
                Scope::Names,
            ),
            (
                format!("too many certificates (5) already issued for this exact set of domains {last}"),
                &[],
                Scope::Names,
            ),
            (format!("too many certificates (50) already issued for \"example.org\" {last}{see}"), names, Scope::Names),
            (format!("too many certificates (50) already issued for \"example.org\" {last}{see}"), &[], Scope::Names),
            (
                format!("too many certificates (50) already issued for \"example.org\" {last}"),
                &["www.myexample.org"],
                Scope::Account,
            ),
            (format!("too many failed authorizations (5) for \"www.example.org\" {last}{see}"), names, Scope::Names),
            (
                "Error creating new cert :: Too many certificates already issued for: Example.ORG".into(),
                names,
                Scope::Names,
            ),
            ("too many certificates (5) already issued for \"192.0.2.7\"".into(), &["192.0.2.7"], Scope::Names),
            ("Error creating new order :: too many currently pending authorizations".into(), names, Scope::Account),
            ("Error creating new order :: too many failed authorizations recently".into(), names, Scope::Account),
            ("Service busy; retry later.".into(), names, Scope::Ca),
            (
                "'default@gcp.api.pki.goog' is over quota (30 requests in 60 seconds) for the given ACME resource: \
                 challenge. Try again in 12.476542291s."
                    .into(),
                &[],
                Scope::Account,
            ),
            (String::new(), &[], Scope::Account),
        ] {
            assert_eq!(scope_for(&detail, names), expected, "{detail} {names:?}");
        }
    }

    #[test]
    fn sub_problems_with_identifiers_are_about_the_names() {
        let body = json!({
            "type": RATE_LIMITED, "detail": "Some of the names are over a limit",
            "subproblems": [{"type": RATE_LIMITED, "detail": "", "identifier": {"type": "dns", "value": "a.example"}}],
        });
        assert_eq!(judge(&refusal(429, &body, None), true, &[]).unwrap().scope, Scope::Names);
    }

    #[test]
    fn statuses() {
        let body = json!({"type": "urn:ietf:params:acme:error:serverInternal"});
        let limited = json!({"type": RATE_LIMITED});
        let wish = Some(Duration::from_secs(7));
        for (status, body, retry_after, is_signed, expected) in [
            (503, &body, None, true, Some((Scope::Ca, None))),
            (503, &limited, Some(7), true, Some((Scope::Ca, wish))),
            (500, &body, Some(7), true, Some((Scope::Ca, wish))),
            (500, &body, None, true, None),
            (429, &body, Some(7), true, Some((Scope::Account, wish))),
            (429, &limited, None, false, Some((Scope::Ca, None))),
            (403, &limited, None, true, Some((Scope::Account, None))),
            (403, &body, Some(7), true, None),
        ] {
            let limit = judge(&refusal(status, body, retry_after), is_signed, &[]);
            assert_eq!(limit.map(|limit| (limit.scope, limit.wish)), expected, "{status}");
        }
    }
}
