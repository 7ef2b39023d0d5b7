//! What the lists in the annotations match.

use std::net::IpAddr;

use crate::pki::validate_dns_name;

/// Whether a list of names of namespaces has this one in it; `*` stands for any characters.
pub(super) fn is_allowed_namespace(list: &str, namespace: &str) -> bool {
    entries(list).any(|entry| matches_glob(entry, namespace))
}

/// The first name that no entry of the list allows.
pub(super) fn unmatched_name<'n>(list: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    names.into_iter().find(|name| !is_allowed_name(list, name))
}

fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split(|separator: char| separator == ',' || separator.is_whitespace()).filter(|entry| !entry.is_empty())
}

fn matches_glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(place) = rest.find(part) else { return false };
        rest = &rest[place + part.len()..];
    }
    rest.ends_with(last)
}

fn is_allowed_name(list: &str, name: &str) -> bool {
    match name.parse::<IpAddr>() {
        Ok(address) => entries(list).any(|entry| contains(entry, address.to_canonical())),
        // What is no DNS name is allowed by nothing.
        Err(_) => validate_dns_name(name).is_ok_and(|name| entries(list).any(|entry| covers(entry, &name))),
    }
}

/// `example.com` is this name alone, `*.example.com` those with one label before it, the wildcard among them, and
/// `.example.com` all below it.
fn covers(entry: &str, name: &str) -> bool {
    if let Some(base) = entry.strip_prefix("*.") {
        return ascii(base).is_some_and(|base| name.split_once('.').is_some_and(|(_, above)| above == base));
    }
    if let Some(base) = entry.strip_prefix('.') {
        return ascii(base).is_some_and(|base| name.strip_suffix(&*base).is_some_and(|below| below.ends_with('.')));
    }
    ascii(entry).is_some_and(|entry| entry == name)
}

/// A name without a wildcard as it is compared.
fn ascii(name: &str) -> Option<String> {
    validate_dns_name(name).ok().filter(|name| !name.starts_with('*'))
}

/// Whether an address, or a network such as `10.0.0.0/8`, has the address in it.
fn contains(entry: &str, address: IpAddr) -> bool {
    let (network, length) = match entry.split_once('/') {
        Some((network, length)) => (network, Some(length)),
        None => (entry, None),
    };
    let Ok(network) = network.parse::<IpAddr>() else { return false };
    let Some(length) = length else { return network.to_canonical() == address };
    let Ok(length) = length.parse::<u32>() else { return false };
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) if length <= 32 => {
            let differing = u32::from(network) ^ u32::from(address);
            differing.checked_shr(32 - length).unwrap_or_default() == 0
        }
        (IpAddr::V6(network), IpAddr::V6(address)) if length <= 128 => {
            let differing = u128::from(network) ^ u128::from(address);
            differing.checked_shr(128 - length).unwrap_or_default() == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_named_or_described() {
        for (list, namespace, expected) in [
            ("shop", "shop", true),
            ("shop", "shop-2", false),
            ("a, shop", "shop", true),
            ("a\nshop", "shop", true),
            ("shop-*", "shop-2", true),
            ("shop-*", "shop-", true),
            ("shop-*", "shop", false),
            ("*-dev", "shop-dev", true),
            ("*-dev", "dev", false),
            ("t*-d*v", "team-dev", true),
            ("t*-d*v", "team-prod", false),
            ("a*a", "a", false),
            ("a*ab*b", "ab", false),
            ("*", "anything", true),
            ("", "shop", false),
            (",", "", false),
        ] {
            assert_eq!(is_allowed_namespace(list, namespace), expected, "{list:?} {namespace:?}");
        }
    }

    #[test]
    fn names_are_matched_by_labels() {
        for (list, name, expected) in [
            ("example.com", "example.com", true),
            ("example.com", "EXAMPLE.com", true),
            ("Example.Com", "example.com", true),
            ("example.com", "www.example.com", false),
            ("example.com", "badexample.com", false),
            ("*.example.com", "www.example.com", true),
            ("*.example.com", "*.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "a.b.example.com", false),
            ("*.example.com", "*.b.example.com", false),
            (".example.com", "a.b.example.com", true),
            (".example.com", "*.b.example.com", true),
            (".example.com", "*.example.com", true),
            (".example.com", "example.com", false),
            (".example.com", "badexample.com", false),
            ("bücher.example", "xn--bcher-kva.example", true),
            (".bücher.example", "www.xn--bcher-kva.example", true),
            ("*", "example.com", false),
            (".", "example.com", false),
            ("*.*.com", "www.example.com", false),
            ("*.*.com", "www.*.com", false),
            ("a.example, *.b.example", "www.b.example", true),
            ("", "example.com", false),
            ("example.com", "not a name", false),
            ("example.com", "", false),
        ] {
            assert_eq!(unmatched_name(list, [name]).is_none(), expected, "{list:?} {name:?}");
        }
        assert_eq!(unmatched_name("a.example", ["a.example", "b.example"]), Some("b.example"));
    }

    #[test]
    fn addresses_are_matched_by_networks() {
        for (list, name, expected) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3/8", "10.9.9.9", true),
            ("192.0.2.1/32", "192.0.2.1", true),
            ("192.0.2.1/32", "192.0.2.0", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("2001:db8::1", "2001:DB8:0::1", true),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("10.0.0.0/x", "10.0.0.0", false),
            ("*.0.2.1", "192.0.2.1", false),
            (".2.1", "192.0.2.1", false),
        ] {
            assert_eq!(unmatched_name(list, [name]).is_none(), expected, "{list:?} {name:?}");
        }
    }
}
