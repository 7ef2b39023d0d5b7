//! Orders and identifiers (RFC 8555 7.1.3, RFC 8738 3).

use std::{fmt, net::IpAddr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{OrderStatus, Problem, wire::lenient};

/// What a certificate can be for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identifier {
    /// `dns`, `ip`, or one we do not know.
    #[serde(rename = "type")]
    pub kind: String,
    pub value: String,
}

impl Identifier {
    /// A DNS name in ASCII, which may be a wildcard.
    pub fn dns(name: impl Into<String>) -> Self {
        Self { kind: "dns".to_owned(), value: name.into() }
    }

    /// An IP address, written as RFC 8738 wants it (RFC 5952 for IPv6).
    pub fn ip(address: IpAddr) -> Self {
        Self { kind: "ip".to_owned(), value: address.to_string() }
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.value)
    }
}

/// What to ask for (RFC 8555 7.4).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewOrder {
    pub identifiers: Vec<Identifier>,
    /// When the certificate should end; most public CAs refuse an order with a wish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// The certificate profile, one of those in the directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The identifier of the certificate that this order will replace (RFC 9773 5); see [`super::renewal`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
}

/// The server's view of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderBody {
    pub status: OrderStatus,
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    #[serde(default)]
    pub identifiers: Vec<Identifier>,
    /// URLs.
    #[serde(default)]
    pub authorizations: Vec<String>,
    /// Where the certificate request goes.
    pub finalize: String,
    /// Where the certificate is, once the order is valid.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// Why the order failed.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

/// One page of an account's orders (RFC 8555 7.1.2.1).
#[derive(Deserialize)]
pub(super) struct OrderList {
    #[serde(default)]
    pub(super) orders: Vec<String>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The example of RFC 8555 section 7.1.3.
    #[test]
    fn the_rfc_example_is_read() {
        let body: OrderBody = serde_json::from_str(
            r#"{
              "status": "valid", "expires": "2016-01-20T14:09:07.99Z",
              "identifiers": [ { "type": "dns", "value": "www.example.org" }, { "type": "dns", "value": "example.org" } ],
              "notBefore": "2016-01-01T00:00:00Z", "notAfter": "2016-01-08T00:00:00Z",
              "authorizations": [ "https://example.com/acme/authz/PAniVnsZcis", "https://example.com/acme/authz/r4HqLzrSrpI" ],
              "finalize": "https://example.com/acme/order/TOlocE8rfgo/finalize",
              "certificate": "https://example.com/acme/cert/mAt3xBGaobw"
            }"#,
        )
        .unwrap();
        assert_eq!(body.status, OrderStatus::Valid);
        assert_eq!(body.identifiers[1], Identifier::dns("example.org"));
        assert_eq!(body.authorizations.len(), 2);
        assert_eq!(body.certificate.unwrap(), "https://example.com/acme/cert/mAt3xBGaobw");
        assert_eq!(body.not_after.unwrap().to_string(), "2016-01-08T00:00:00Z");
    }

    #[test]
    fn a_new_order_names_only_what_is_wished() {
        let order = NewOrder {
            identifiers: vec![Identifier::dns("*.example.org"), Identifier::ip("2001:DB8::0:1".parse().unwrap())],
            ..NewOrder::default()
        };
        assert_eq!(
            serde_json::to_string(&order).unwrap(),
            r#"{"identifiers":[{"type":"dns","value":"*.example.org"},{"type":"ip","value":"2001:db8::1"}]}"#
        );
        let order =
            NewOrder { not_after: Some(Timestamp::UNIX_EPOCH), profile: Some("short".into()), ..NewOrder::default() };
        let json = serde_json::to_string(&order).unwrap();
        assert_eq!(json, r#"{"identifiers":[],"notAfter":"1970-01-01T00:00:00Z","profile":"short"}"#);
    }
}
