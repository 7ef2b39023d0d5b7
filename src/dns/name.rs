//! Record names: always absolute, lower-case and in ASCII, written with the closing dot.

use hickory_proto::ProtoError;
use hickory_proto::rr::Name;

/// A name that DNS cannot carry.
#[derive(Debug, thiserror::Error)]
#[error("{name:?} is not a DNS name: {source}")]
pub struct NameError {
    name: String,
    source: ProtoError,
}

/// The label at which challenges are answered (RFC 8555 section 8.4).
pub const CHALLENGE_LABEL: &str = "_acme-challenge";

/// The name of the TXT record that answers a DNS-01 challenge (RFC 8555 section 8.4).
///
/// A wildcard identifier is validated at the name below which it stands, so `example.com` and `*.example.com` share
/// `_acme-challenge.example.com.`.
pub fn challenge_record_name(identifier: &str) -> String {
    let domain = identifier.strip_prefix("*.").unwrap_or(identifier);
    format!("{CHALLENGE_LABEL}.{}.", domain.trim_end_matches('.').to_ascii_lowercase())
}

/// Reads a name as absolute, with or without the closing dot.
pub(crate) fn parse(text: &str) -> Result<Name, NameError> {
    let mut name =
        Name::from_ascii(text.trim()).map_err(|source| NameError { name: text.to_owned(), source })?.to_lowercase();
    name.set_fqdn(true);
    Ok(name)
}

/// The form in which names are handed around: lower-case, with the closing dot.
pub(crate) fn to_fqdn(name: &Name) -> String {
    let mut name = name.to_lowercase();
    name.set_fqdn(true);
    name.to_ascii()
}

/// The form in which people read names: without the closing dot.
pub(crate) fn shown(fqdn: &str) -> &str {
    match fqdn.strip_suffix('.') {
        Some("") | None => fqdn,
        Some(name) => name,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn apex_and_wildcard_share_one_record_name() {
        for identifier in ["example.com", "*.example.com", "Example.COM", "example.com."] {
            assert_eq!(challenge_record_name(identifier), "_acme-challenge.example.com.");
        }
        assert_eq!(challenge_record_name("*.a.b.example.com"), "_acme-challenge.a.b.example.com.");
    }

    #[test]
    fn names_become_absolute_and_lower_case() {
        assert_eq!(to_fqdn(&parse("_ACME-challenge.Example.com").unwrap()), "_acme-challenge.example.com.");
        assert_eq!(to_fqdn(&parse("example.com.").unwrap()), "example.com.");
        assert_eq!(shown("example.com."), "example.com");
        assert_eq!(shown("."), ".");
    }

    #[test]
    fn an_impossible_name_is_named_in_the_error() {
        let label = "a".repeat(64);
        let message = parse(&format!("{label}.example.com")).unwrap_err().to_string();
        assert!(message.contains(&label), "{message}");
        assert!(parse("a..example.com").is_err());
    }
}
