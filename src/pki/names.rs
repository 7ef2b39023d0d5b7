//! Checking names before a CA sees them, so that a typing error costs no order.

use std::net::IpAddr;

/// Why a name cannot be used. The name is part of the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("the {what} \"{name}\" is not written in ASCII; write it in its encoded form")]
    NotAscii { what: &'static str, name: String },

    #[error("the DNS name \"{name}\" {problem}")]
    Dns { name: String, problem: String },

    #[error("\"{0}\" is not an IP address")]
    Ip(String),

    #[error("\"{0}\" is not an IP range such as 10.0.0.0/8")]
    IpRange(String),

    #[error("the e-mail address \"{name}\" {problem}")]
    Email { name: String, problem: &'static str },

    #[error("the URI \"{name}\" {problem}")]
    Uri { name: String, problem: &'static str },
}

/// The longest DNS name in text form without its final dot (RFC 1035 2.3.4).
const MAX_DNS_NAME: usize = 253;
const MAX_DNS_LABEL: usize = 63;

/// Checks a DNS name as public CAs do (RFC 1034 3.5 with the CA/Browser Forum's rules) and returns it in lower-case
/// ASCII; an internationalized name is converted to its `xn--` form (UTS #46). A wildcard may only be the whole first
/// label.
///
/// # Errors
/// [`NameError::Dns`] with what is wrong.
pub fn validate_dns_name(name: &str) -> Result<String, NameError> {
    let ascii = encode_dns_name(name)?;
    let fail = |problem: String| Err(NameError::Dns { name: name.to_owned(), problem });
    let base = ascii.strip_prefix("*.").unwrap_or(&ascii);
    if base.is_empty() {
        return fail("is empty".to_owned());
    }
    if base.ends_with('.') {
        return fail("ends with a dot; leave the dot away".to_owned());
    }
    if base.parse::<IpAddr>().is_ok() {
        return fail("is an IP address; list it under ipAddresses".to_owned());
    }
    match base.split('.').find_map(label_problem) {
        Some(problem) => fail(problem),
        None => Ok(ascii),
    }
}

/// A DNS name as it stands in certificates, in lower-case ASCII. Private CAs certify names that are none for a public one, such
/// as `my_service`, so that only what no certificate can hold is refused; a name for a public CA is for [`validate_dns_name`].
///
/// # Errors
/// [`NameError::Dns`] with what is wrong.
pub fn encode_dns_name(name: &str) -> Result<String, NameError> {
    let fail = |problem: String| Err(NameError::Dns { name: name.to_owned(), problem });
    if name.is_empty() {
        return fail("is empty".to_owned());
    }
    let (wildcard, base) = name.split_at(if name.starts_with("*.") { 2 } else { 0 });
    let ascii = (name.len() <= 4 * MAX_DNS_NAME).then(|| to_ascii(base).map(|base| format!("{wildcard}{base}")));
    match ascii {
        Some(None) => fail("cannot be converted to ASCII by the rules of internationalized names".to_owned()),
        Some(Some(ascii)) if ascii.len() <= MAX_DNS_NAME => match ascii.chars().find(|c| !c.is_ascii_graphic()) {
            Some(bad) => fail(format!("has the character {bad:?}; white space and control characters are not allowed")),
            None => Ok(ascii),
        },
        _ => fail(format!("is longer than {MAX_DNS_NAME} characters")),
    }
}

/// Reads an IP address; an IPv4 address in IPv6 clothes becomes IPv4.
///
/// # Errors
/// [`NameError::Ip`].
pub fn parse_ip_address(text: &str) -> Result<IpAddr, NameError> {
    text.parse::<IpAddr>().map(|address| address.to_canonical()).map_err(|_| NameError::Ip(text.to_owned()))
}

/// Checks that `text` is a bare e-mail address (RFC 5321 4.1.2 without quoted local parts).
///
/// # Errors
/// [`NameError::Email`] or [`NameError::NotAscii`].
pub fn validate_email_address(text: &str) -> Result<(), NameError> {
    let fail = |problem| Err(NameError::Email { name: text.to_owned(), problem });
    if !text.is_ascii() {
        return Err(NameError::NotAscii { what: "e-mail address", name: text.to_owned() });
    }
    let Some((local, domain)) = text.rsplit_once('@') else {
        return fail("has no @");
    };
    if local.is_empty() || local.len() > 64 {
        return fail("needs 1 to 64 characters before the @");
    }
    if !local.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte)) {
        return fail("has characters before the @ that are not allowed there");
    }
    if local.starts_with('.') || local.ends_with('.') || local.contains("..") {
        return fail("has a misplaced dot before the @");
    }
    if domain.starts_with('*') || validate_dns_name(domain).is_err() {
        return fail("has no valid domain after the @");
    }
    Ok(())
}

/// Checks that `text` is an absolute URI in ASCII (RFC 3986 3), as far as a certificate is concerned.
///
/// # Errors
/// [`NameError::Uri`] or [`NameError::NotAscii`].
pub fn validate_uri(text: &str) -> Result<(), NameError> {
    let fail = |problem| Err(NameError::Uri { name: text.to_owned(), problem });
    if !text.is_ascii() {
        return Err(NameError::NotAscii { what: "URI", name: text.to_owned() });
    }
    let Some((scheme, rest)) = text.split_once(':') else {
        return fail("has no scheme, such as spiffe:");
    };
    let scheme_characters = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    if !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) || !scheme.bytes().all(scheme_characters) {
        return fail("has no valid scheme, such as spiffe:");
    }
    if rest.is_empty() {
        return fail("has nothing after its scheme");
    }
    if rest.bytes().any(|byte| byte.is_ascii_control() || b" \"<>\\^`{|}".contains(&byte)) {
        return fail("has characters that must be percent-encoded");
    }
    Ok(())
}

fn to_ascii(name: &str) -> Option<String> {
    if name.is_ascii() { Some(name.to_ascii_lowercase()) } else { idna::domain_to_ascii(name).ok() }
}

fn label_problem(label: &str) -> Option<String> {
    if label.is_empty() {
        return Some("has an empty label".to_owned());
    }
    if label.len() > MAX_DNS_LABEL {
        return Some(format!("has a label of more than {MAX_DNS_LABEL} characters"));
    }
    if label.contains('*') {
        return Some("has a wildcard that is not the whole first label".to_owned());
    }
    if let Some(bad) = label.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-') {
        return Some(format!("has the character {bad:?}; only letters, digits and hyphens are allowed"));
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Some("has a label that starts or ends with a hyphen".to_owned());
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problem(name: &str) -> String {
        validate_dns_name(name).unwrap_err().to_string()
    }

    #[test]
    fn good_names_come_back_in_lower_case_ascii() {
        for (name, expected) in [
            ("example.com", "example.com"),
            ("*.Example.COM", "*.example.com"),
            ("localhost", "localhost"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("*.BÜCHER.example", "*.xn--bcher-kva.example"),
            ("1.2.3.example", "1.2.3.example"),
        ] {
            assert_eq!(validate_dns_name(name).unwrap(), expected);
        }
    }

    #[test]
    fn bad_names_say_why() {
        assert!(problem("").contains("is empty"));
        assert!(problem("*.").contains("is empty"));
        assert!(problem("*").contains("wildcard"));
        assert!(problem("a.*.example.com").contains("wildcard"));
        assert!(problem("a*.example.com").contains("wildcard"));
        assert!(problem("*.*.example.com").contains("wildcard"));
        assert!(problem("example.com.").contains("ends with a dot"));
        assert!(problem("a..example.com").contains("empty label"));
        assert!(problem("_acme.example.com").contains("'_'"));
        assert!(problem("-a.example.com").contains("hyphen"));
        assert!(problem("192.0.2.1").contains("ipAddresses"));
        assert!(problem("2001:db8::1").contains("ipAddresses"));
        assert!(problem("exa mple.com").contains("' '"));
    }

    #[test]
    fn a_private_ca_may_certify_what_a_public_one_does_not() {
        for (name, encoded) in [
            ("My_Service.example", "my_service.example"),
            ("*", "*"),
            ("a.*.b", "a.*.b"),
            ("example.com.", "example.com."),
            ("192.0.2.1", "192.0.2.1"),
            ("*.b_ü.example", "*.xn--b_-yka.example"),
        ] {
            assert_eq!(encode_dns_name(name).unwrap(), encoded);
            assert!(validate_dns_name(name).is_err(), "{name}");
        }
        for (name, text) in
            [("", "is empty"), ("a b", "' '"), ("a\u{7}", "control"), (&"a.".repeat(127), "longer than 253")]
        {
            let problem = encode_dns_name(name).unwrap_err().to_string();
            assert!(problem.contains(text), "{name:?}: {problem}");
        }
    }

    #[test]
    fn lengths_are_counted_to_the_last_character() {
        let label = "a".repeat(63);
        let name = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(name.len(), 253);
        assert_eq!(validate_dns_name(&name).unwrap(), name);
        assert!(problem(&format!("{name}a")).contains("longer than 253"));
        assert!(problem(&format!("{label}a.example")).contains("63"));
        assert!(problem(&"a.".repeat(100_000)).contains("longer than 253"));
    }

    #[test]
    fn addresses_uris_and_mail() {
        assert_eq!(parse_ip_address("::ffff:192.0.2.1").unwrap().to_string(), "192.0.2.1");
        assert!(parse_ip_address("192.0.2.256").is_err());
        assert!(validate_email_address("first.last+tag@example.com").is_ok());
        for bad in
            ["a", "@example.com", "a b@example.com", "a..b@example.com", "a@", "Name <a@example.com>", "ä@example.com"]
        {
            assert!(validate_email_address(bad).is_err(), "{bad}");
        }
        assert!(validate_uri("spiffe://example.org/ns/a/sa/b").is_ok());
        assert!(validate_uri("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6").is_ok());
        for bad in ["example.org/a", "1a:b", "spiffe:", "http://a b", "http://ü.example/"] {
            assert!(validate_uri(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_panic_and_judging_twice_changes_nothing(text in "\\PC{0,80}") {
            if let Ok(name) = validate_dns_name(&text) {
                prop_assert!(name.is_ascii());
                prop_assert!(name.len() <= MAX_DNS_NAME);
                prop_assert_eq!(validate_dns_name(&name).unwrap(), name);
            }
        }

        #[test]
        fn every_letter_digit_hyphen_name_is_accepted(name in "(\\*\\.)?([a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?\\.){1,4}[a-z]{2,10}") {
            prop_assert_eq!(validate_dns_name(&name).unwrap(), name);
        }
    }
}
