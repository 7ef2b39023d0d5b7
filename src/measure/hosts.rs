//! The hosts that are told apart.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

/// Whoever may make an Issuer may name a server, so not all of them have series of their own.
const MOST: usize = 64;

/// In the place of those beyond, and of schemes that nobody is asked by.
const OTHER: &str = "other";

static KNOWN: Mutex<Option<HashSet<String>>> = Mutex::new(None);

/// Scheme, and host with the port as it stands in the URL.
pub(super) fn scheme_and_host(url: &str) -> (String, String) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let scheme = ["http", "https"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known)).unwrap_or(OTHER);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    (scheme.to_owned(), told_apart(known.get_or_insert_default(), host))
}

fn told_apart(known: &mut HashSet<String>, host: String) -> String {
    if known.contains(&host) {
        return host;
    }
    if known.len() >= MOST {
        return OTHER.to_owned();
    }
    known.insert(host.clone());
    host
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let parts = |url| scheme_and_host(url);
        let owned = |scheme: &str, host: &str| (scheme.to_owned(), host.to_owned());
        assert_eq!(parts("https://acme.example.org/directory?x=1"), owned("https", "acme.example.org"));
        assert_eq!(parts("http://user:secret@CA.example:14000/a@b"), owned("http", "ca.example:14000"));
        assert_eq!(parts("https://[2001:db8::1]:443?x"), owned("https", "[2001:db8::1]:443"));
        assert_eq!(parts("HTTPS://acme.example.org"), owned("https", "acme.example.org"));
        assert_eq!(parts("made-up-17://acme.example.org"), owned("other", "acme.example.org"));
    }

    #[test]
    fn so_many_hosts_and_no_more() {
        let mut known = HashSet::new();
        let told: HashSet<String> = (0..1000).map(|number| told_apart(&mut known, format!("h{number}"))).collect();
        assert_eq!(told.len(), MOST + 1);
        assert_eq!(told_apart(&mut known, "h0".to_owned()), "h0");
        assert_eq!(told_apart(&mut known, "h999".to_owned()), OTHER);
    }
}
