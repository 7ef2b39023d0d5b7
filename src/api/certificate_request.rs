//! The CertificateRequest kind: one certificate signing request, to be signed once by one issuer.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lenient;
use super::names::{condition, reason};
use super::rules;
use super::schema::{self, is_false};
use super::{Condition, GoDuration, IssuerReference, find_condition};

/// What is to be signed, for whom. It never changes once created.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "cert-manager.io",
    version = "v1",
    kind = "CertificateRequest",
    plural = "certificaterequests",
    namespaced,
    doc = "A certificate signing request for one issuer. It is signed once, after an approver has agreed; the spec cannot be changed.",
    status = "CertificateRequestStatus",
    derive = "Default",
    derive = "PartialEq",
    shortname = "cr",
    shortname = "crs",
    category = "cert-manager",
    selectable = ".spec.issuerRef.group",
    selectable = ".spec.issuerRef.kind",
    selectable = ".spec.issuerRef.name",
    printcolumn(
        name = "Approved",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type == "Approved")].status"#
    ),
    printcolumn(name = "Denied", type_ = "string", json_path = r#".status.conditions[?(@.type == "Denied")].status"#),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type == "Ready")].status"#),
    printcolumn(name = "Issuer", type_ = "string", json_path = ".spec.issuerRef.name"),
    printcolumn(name = "Requester", type_ = "string", json_path = ".spec.username"),
    printcolumn(
        name = "Status",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type == "Ready")].message"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default, extend("x-kubernetes-validations" = rules::frozen_request_spec()))]
pub struct CertificateRequestSpec {
    /// The issuer that signs.
    #[schemars(schema_with = "schema::checked_issuer")]
    pub issuer_ref: IssuerReference,
    /// The PKCS#10 certificate signing request in PEM form.
    #[schemars(schema_with = "schema::bytes")]
    #[serde(deserialize_with = "lenient::bytes")]
    pub request: ByteString,
    /// Lifetime to ask for; issuers may shorten or ignore it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), extend("x-kubernetes-validations" = rules::go_duration()))]
    pub duration: Option<GoDuration>,
    /// Whether the certificate may sign other certificates.
    #[serde(default, rename = "isCA", skip_serializing_if = "is_false")]
    pub is_ca: bool,
    /// What the key may be used for; `digital signature` and `key encipherment` unless set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::key_usages")]
    pub usages: Vec<String>,
    /// Name of the user that created the request. Filled in by the API server; cannot be chosen or changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Unique id of the user that created the request. Filled in by the API server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Groups of the user that created the request. Filled in by the API server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Extra attributes of the user that created the request. Filled in by the API server.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

/// What has become of the request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct CertificateRequestStatus {
    /// `Approved` or `Denied` is set once by an approver, `InvalidRequest` by an issuer that cannot sign such a request,
    /// `Ready` by the issuer when it has signed or failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::request_conditions")]
    pub conditions: Vec<Condition>,
    /// The signed certificate with its chain in PEM form.
    #[serde(default, deserialize_with = "lenient::optional_bytes", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bytes")]
    pub certificate: Option<ByteString>,
    /// Certificate of the signing CA in PEM form, if the issuer knows it. It becomes `ca.crt` of the Secret.
    #[serde(
        default,
        rename = "ca",
        deserialize_with = "lenient::optional_bytes",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "schema::bytes")]
    pub ca: Option<ByteString>,
    /// When the request failed or was denied.
    #[serde(deserialize_with = "lenient::or_none", skip_serializing_if = "Option::is_none")]
    pub failure_time: Option<Time>,
}

impl CertificateRequestStatus {
    /// Whether the request has come to its end, one way or the other.
    pub fn is_final(&self) -> bool {
        let ready = find_condition(&self.conditions, condition::READY);
        let reason = ready.and_then(|ready| ready.reason.as_deref());
        matches!(reason, Some(reason::ISSUED | reason::FAILED | reason::DENIED))
    }
}
