//! The Order kind: one order at an ACME server (RFC 8555 section 7.1.3), from creation to the certificate.

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lenient;
use super::rules;
use super::schema::{self, ACME_STATES};
use super::{GoDuration, IssuerReference};

/// What is ordered.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "acme.cert-manager.io",
    version = "v1",
    kind = "Order",
    plural = "orders",
    namespaced,
    doc = "One order at an ACME server. It is created for a CertificateRequest and leads, by way of Challenges, to a certificate.",
    status = "OrderStatus",
    derive = "Default",
    derive = "PartialEq",
    category = "cert-manager",
    category = "cert-manager-acme",
    selectable = ".spec.issuerRef.group",
    selectable = ".spec.issuerRef.kind",
    selectable = ".spec.issuerRef.name",
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Issuer", type_ = "string", priority = 1, json_path = ".spec.issuerRef.name"),
    printcolumn(name = "Reason", type_ = "string", priority = 1, json_path = ".status.reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default, extend("x-kubernetes-validations" = rules::frozen_order_spec()))]
pub struct OrderSpec {
    /// The certificate signing request that finalizes the order, in PEM form. Readers should accept DER too.
    #[schemars(schema_with = "schema::bytes")]
    #[serde(deserialize_with = "lenient::bytes")]
    pub request: ByteString,
    /// The ACME issuer whose account places the order.
    pub issuer_ref: IssuerReference,
    /// Common name of the request. It is ordered too if it is a DNS name or an IP address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub common_name: Option<String>,
    /// DNS names to order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_names: Vec<String>,
    /// IP addresses to order (RFC 8738).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip_addresses: Vec<String>,
    /// Lifetime to ask for; sent to the server as the end of the validity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<GoDuration>,
    /// Certificate profile to ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Identifier of the certificate that the ordered one replaces (RFC 9773 section 5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
}

/// How far the order has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default, extend("x-kubernetes-validations" = rules::kept_order_status()))]
pub struct OrderStatus {
    /// URL of the order at the ACME server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::frozen_text()))]
    pub url: Option<String>,
    /// URL to which the certificate signing request is sent once all authorizations are valid.
    #[serde(rename = "finalizeURL", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::frozen_text()))]
    pub finalize_url: Option<String>,
    /// One authorization for each name, as the server gave them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-validations" = rules::frozen_authorizations()))]
    pub authorizations: Vec<OrderAuthorization>,
    /// The certificate with its chain in PEM form.
    #[serde(default, deserialize_with = "lenient::optional_bytes", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bytes")]
    #[schemars(extend("x-kubernetes-validations" = rules::frozen_text()))]
    pub certificate: Option<ByteString>,
    /// State of the order at the server; `errored` means that it failed without the server's doing. `valid`, `invalid`,
    /// `expired` and `errored` are final.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ACME_STATES))]
    pub state: Option<String>,
    /// Why the order is in its state, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the order failed.
    #[serde(deserialize_with = "lenient::or_none", skip_serializing_if = "Option::is_none")]
    pub failure_time: Option<Time>,
}

/// The authorization for one name of an order (RFC 8555 section 7.1.4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct OrderAuthorization {
    /// URL of the authorization.
    pub url: String,
    /// The name to prove control of, without a leading `*.`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identifier: Option<String>,
    /// Whether the authorization is for the wildcard of the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wildcard: Option<bool>,
    /// State of the authorization when it was first read. One that was valid from the start needs no Challenge.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ACME_STATES))]
    pub initial_state: Option<String>,
    /// The challenges that the server offers, of which one is to be solved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub challenges: Vec<OrderChallenge>,
}

/// A challenge that the server offers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct OrderChallenge {
    /// URL of the challenge.
    pub url: String,
    /// Token from which the key authorization is made.
    pub token: String,
    /// Type of the challenge as the server calls it, for example `http-01` or `dns-01`.
    #[serde(rename = "type")]
    pub type_: String,
}
