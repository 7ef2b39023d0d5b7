//! For which host a request is, and whether that is the name of a challenge.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use axum::http::header::{FORWARDED, HOST, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Request};

/// Where a request says for which host it is. Behind proxies that put another name into `Host`, a header of theirs has the
/// one that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostHeader {
    /// The target or the header `Host` (RFC 9112 section 3.2).
    #[default]
    Host,
    /// The parameter `host` of the first element of `Forwarded` (RFC 7239).
    Forwarded,
    /// The first element of another header, such as `X-Forwarded-Host`.
    Other(HeaderName),
}

impl FromStr for HostHeader {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match HeaderName::from_str(text) {
            Ok(name) if name == HOST => Ok(Self::Host),
            Ok(name) if name == FORWARDED => Ok(Self::Forwarded),
            Ok(name) => Ok(Self::Other(name)),
            Err(_) => Err(format!("{text:?} is no name of a header; try Host, X-Forwarded-Host or Forwarded")),
        }
    }
}

impl fmt::Display for HostHeader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Host => HOST.as_str(),
            Self::Forwarded => FORWARDED.as_str(),
            Self::Other(name) => name.as_str(),
        })
    }
}

impl HostHeader {
    /// The host that the request is for; `None` if it says none, or more than one where only one is allowed.
    pub(super) fn asked_host<'a, B>(&self, request: &'a Request<B>) -> Option<Cow<'a, str>> {
        match self {
            Self::Host => host(request).map(Cow::Borrowed),
            Self::Forwarded => forwarded_host(request.headers().get(FORWARDED)?.to_str().ok()?).map(Cow::Owned),
            Self::Other(name) => {
                let first = request.headers().get(name)?.to_str().ok()?.split(',').next()?;
                Some(Cow::Borrowed(first.trim_matches([' ', '\t'])))
            }
        }
    }

    /// The headers of a request for this host, which comes without any proxy.
    pub(super) fn headers_for(&self, host: &str) -> HeaderMap {
        let value = |text: &str| HeaderValue::from_str(text).ok();
        let more = match self {
            Self::Host => None,
            Self::Forwarded => value(&format!("host=\"{host}\"")).map(|value| (FORWARDED, value)),
            Self::Other(name) => value(host).map(|value| (name.clone(), value)),
        };
        value(host).map(|value| (HOST, value)).into_iter().chain(more).collect()
    }
}

/// Whether a host names the domain. Case, a closing dot, a port and the brackets of an IPv6 address do not matter.
pub(super) fn names_same_host(host: &str, domain: &str) -> bool {
    let Some(host) = without_port(host) else { return false };
    match (address(host), address(domain)) {
        (Some(asked), Some(ours)) => asked == ours,
        (None, None) => without_dot(host).eq_ignore_ascii_case(without_dot(domain)) && !without_dot(host).is_empty(),
        _ => false,
    }
}

/// That of an absolute target before the header (RFC 9112 section 3.2.2). `None` if there is not exactly one.
fn host<B>(request: &Request<B>) -> Option<&str> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.as_str());
    }
    let mut values = request.headers().get_all(HOST).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// The parameter `host` of the first element (RFC 7239 section 4). `None` if there is none, or if that element is malformed.
fn forwarded_host(header: &str) -> Option<String> {
    let mut host = None;
    let mut rest = without_space(header);
    loop {
        let (name, after) = rest.split_at(rest.bytes().take_while(|byte| is_token_byte(*byte)).count());
        rest = after;
        if !name.is_empty() {
            let (value, after) = parameter_value(rest.strip_prefix('=')?)?;
            if name.eq_ignore_ascii_case("host") && host.replace(value).is_some() {
                return None;
            }
            rest = without_space(after);
        }
        match rest.bytes().next() {
            None | Some(b',') => return host,
            Some(b';') => rest = without_space(&rest[1..]),
            Some(_) => return None,
        }
    }
}

/// A token or a quoted string (RFC 9110 section 5.6), and what follows it.
fn parameter_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (token, rest) = text.split_at(text.bytes().take_while(|byte| is_token_byte(*byte)).count());
        return (!token.is_empty()).then(|| (token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[index + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn without_space(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

/// The host without `:port`; an IPv6 address keeps its brackets. `None` if what follows the colon is no port.
fn without_port(host: &str) -> Option<&str> {
    // Some clients forget the brackets.
    if host.parse::<Ipv6Addr>().is_ok() {
        return Some(host);
    }
    let name_end = if host.starts_with('[') { host.find(']')? + 1 } else { host.find(':').unwrap_or(host.len()) };
    let (name, port) = host.split_at(name_end);
    let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    (port.is_empty() || port.strip_prefix(':').is_some_and(digits)).then_some(name)
}

fn address(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.map_or_else(|| host.parse().ok(), |inner| inner.parse().ok().map(IpAddr::V6))
}

fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn asked(rule: &str, header: &str, values: &[&str]) -> Option<String> {
        let mut request = Request::builder().header("Host", "proxy.internal");
        for value in values {
            request = request.header(header, *value);
        }
        let rule: HostHeader = rule.parse().unwrap();
        rule.asked_host(&request.body(()).unwrap()).map(Cow::into_owned)
    }

    #[test]
    fn settings_are_read_and_written() {
        for (text, expected) in [("Host", "host"), ("FORWARDED", "forwarded"), ("X-Forwarded-Host", "x-forwarded-host")]
        {
            assert_eq!(text.parse::<HostHeader>().unwrap().to_string(), expected);
        }
        assert_eq!("host".parse(), Ok(HostHeader::default()));
        for odd in ["", "X Forwarded", "Host:"] {
            assert!(odd.parse::<HostHeader>().unwrap_err().contains("X-Forwarded-Host"), "{odd:?}");
        }
    }

    #[test]
    fn the_first_element_of_forwarded_has_the_host() {
        for (value, host) in [
            ("host=example.com", Some("example.com")),
            ("Host=example.com", Some("example.com")),
            ("for=192.0.2.43;host=example.com;proto=http", Some("example.com")),
            ("for=192.0.2.43; host=\"example.com:80\" ; proto=http", Some("example.com:80")),
            ("for=\"[2001:db8::1]:4711\";host=\"[2001:db8::7]\"", Some("[2001:db8::7]")),
            ("for=\"a;host=other.test,b\";host=example.com", Some("example.com")),
            ("host=\"exam\\ple.com\"", Some("example.com")),
            ("host=\"a\\\"b\"", Some("a\"b")),
            (";;host=example.com;", Some("example.com")),
            ("host=example.com, host=other.test", Some("example.com")),
            ("host=example.com, [broken", Some("example.com")),
            ("for=a, host=example.com", None),
            (", host=example.com", None),
            ("host=a;host=b", None),
            ("host=", None),
            ("host =example.com", None),
            ("host= example.com", None),
            ("host=[2001:db8::7]", None),
            ("host=example.com:80", None),
            ("host=\"example.com", None),
            ("host=\"example.com\\", None),
            ("host=\"example.com\"x", None),
            ("\"example.com\"", None),
            ("=example.com", None),
            ("example.com", None),
            ("", None),
        ] {
            assert_eq!(asked("Forwarded", "Forwarded", &[value]).as_deref(), host, "{value:?}");
        }
        assert_eq!(asked("Forwarded", "Forwarded", &["host=a", "host=b"]).as_deref(), Some("a"));
        assert_eq!(asked("Forwarded", "X-Forwarded-Host", &["example.com"]), None);
    }

    #[test]
    fn another_header_counts_alone() {
        for (values, host) in [
            (&["example.com"] as &[_], Some("example.com")),
            (&["example.com , other.test"], Some("example.com")),
            (&["example.com", "other.test"], Some("example.com")),
            (&[""], Some("")),
            (&[], None),
        ] {
            assert_eq!(asked("X-Forwarded-Host", "X-Forwarded-Host", values).as_deref(), host, "{values:?}");
        }
        assert_eq!(asked("Host", "X-Forwarded-Host", &["example.com"]).as_deref(), Some("proxy.internal"));
    }

    #[test]
    fn what_is_asked_for_is_understood_as_it_was_meant() {
        for rule in ["Host", "Forwarded", "X-Forwarded-Host"] {
            let rule: HostHeader = rule.parse().unwrap();
            for host in ["example.com", "192.0.2.7", "[2001:db8::7]"] {
                let mut request = Request::new(());
                *request.headers_mut() = rule.headers_for(host);
                assert_eq!(rule.asked_host(&request).as_deref(), Some(host), "{rule}");
                assert_eq!(request.headers()[HOST], host);
            }
        }
    }

    #[test]
    fn spellings_of_a_host() {
        for (host, domain) in [
            ("EXAMPLE.com", "example.com"),
            ("example.com.", "example.com"),
            ("example.com:80", "example.com."),
            ("example.com:", "example.com"),
            ("[2001:DB8:0:0::7]:80", "2001:db8::7"),
            ("2001:db8::7", "2001:db8::7"),
            ("192.0.2.7:80", "192.0.2.7"),
        ] {
            assert!(names_same_host(host, domain), "{host}");
        }
        for (host, domain) in [
            ("example.com.evil.test", "example.com"),
            ("example.com..", "example.com"),
            ("www.example.com", "example.com"),
            ("example.com:80x", "example.com"),
            ("user@example.com", "example.com"),
            ("[2001:db8::7", "2001:db8::7"),
            ("[192.0.2.7]", "192.0.2.7"),
            ("192.0.2.70", "192.0.2.7"),
            ("", ""),
            (".", "."),
        ] {
            assert!(!names_same_host(host, domain), "{host}");
        }
    }
}
