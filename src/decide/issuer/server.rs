//! What an ACME issuer's server cannot be, whatever it would answer.

use crate::{
    api::names::reason,
    decide::well_known::{self, WELL_KNOWN},
};

/// Let's Encrypt's first API, which many old manifests still name.
const RETIRED: [&str; 2] = ["https://acme-v01.api.letsencrypt.org", "https://acme-staging.api.letsencrypt.org"];

/// The reason and the text of the condition that tells why nothing can be asked at this URL.
pub(super) fn problem(server: &str) -> Option<(&'static str, String)> {
    let example = WELL_KNOWN[0].url;
    if let Some(url) = RETIRED.into_iter().find(|retired| server.starts_with(retired)) {
        let text = format!("{url} spoke a protocol older than RFC 8555 and is gone; use {example}");
        return Some((reason::INVALID_CONFIG, text));
    }
    if let Some(known) = well_known::by_name(server) {
        let text = format!("spec.acme.server is {server:?}, which is a name and no URL; write {}", known.url);
        return Some((reason::INVALID_URL, text));
    }
    if has_host(server) {
        return None;
    }
    let text = format!(
        "spec.acme.server is {server:?}, which is no https URL; give the URL of the CA's ACME directory, such as {example}"
    );
    Some((reason::INVALID_URL, text))
}

fn has_host(server: &str) -> bool {
    let Some((scheme, rest)) = server.split_once("://") else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
        && !host.is_empty()
        && !host.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_url_is_told_with_what_to_write() {
        for (server, reason, text) in [
            ("https://acme-v01.api.letsencrypt.org/directory", "InvalidConfig", "use https://acme-v02.api"),
            ("letsencrypt-staging", "InvalidURL", "write https://acme-staging-v02.api.letsencrypt.org/directory"),
            ("", "InvalidURL", "no https URL"),
            ("acme.example.com/directory", "InvalidURL", "no https URL"),
            ("ftp://ca.example/directory", "InvalidURL", "no https URL"),
            ("https:///directory", "InvalidURL", "no https URL"),
        ] {
            let found = problem(server);
            let (found, words) = found.unwrap_or_default();
            assert_eq!(found, reason, "{server}");
            assert!(words.contains(text), "{words}");
        }
        for server in ["https://ca.example/directory", "http://127.0.0.1:14000/dir", "HTTPS://[::1]:1"] {
            assert_eq!(problem(server), None, "{server}");
        }
    }
}
