//! TLS-ALPN-01: the solver's objects, its server and the self-check.
//!
//! The CA connects to port 443 of the name, offers the protocol `acme-tls/1` and no other, and expects a self-signed
//! certificate with the hash of the key authorization in it (RFC 8737 section 3; for IP addresses RFC 8738 section 6).
//! For each Challenge a Pod that runs [`server`] is created, with a Service and a TLSRoute that lead to it ([`objects`]);
//! [`check`] asks what the CA will ask, before the CA does. Pods are those of [`crate::http01`] in another mode.

pub mod check;
pub mod objects;
pub mod server;

use std::fmt::Write as _;
use std::net::IpAddr;

/// The only protocol that is offered and answered (RFC 8737 section 6.2).
pub const PROTOCOL: &[u8] = b"acme-tls/1";

/// The port of Services, and the one that CAs ask.
pub const PORT: u16 = 443;

/// The server name that CAs send: the name itself; for an IP address the name of its reverse look-up (RFC 8738 section 6).
pub fn server_name(identifier: &str) -> String {
    match identifier.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Ok(IpAddr::V6(address)) => {
            let nibbles = address.octets().into_iter().rev().fold(String::new(), |mut text, octet| {
                let _ = write!(text, "{:x}.{:x}.", octet & 0xf, octet >> 4);
                text
            });
            format!("{nibbles}ip6.arpa")
        }
        Err(_) => identifier.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_addresses_are_those_of_their_reverse_look_up() {
        assert_eq!(server_name("WWW.example.com"), "www.example.com");
        // The examples of RFC 8738 section 6.
        assert_eq!(server_name("192.0.2.1"), "1.2.0.192.in-addr.arpa");
        let reverse = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        assert_eq!(server_name("2001:db8::1"), reverse);
        assert_eq!(server_name("::ffff:192.0.2.1"), "1.2.0.192.in-addr.arpa");
    }
}
