//! The Challenge kind: the proof of control over one name (RFC 8555 section 8).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lenient;
use super::names::{annotation, challenge_type, http01_solver};
use super::rules;
use super::schema::{ACME_STATES, is_false};
use super::solver::AcmeSolver;
use super::{IssuerReference, Sensitive};

/// What is to be proved, and with which solver. It never changes once created.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "acme.cert-manager.io",
    version = "v1",
    kind = "Challenge",
    plural = "challenges",
    namespaced,
    doc = "One challenge of an ACME server, to be answered over HTTP or DNS. It is created for an Order; the spec cannot be changed.",
    status = "ChallengeStatus",
    derive = "Default",
    derive = "PartialEq",
    category = "cert-manager",
    category = "cert-manager-acme",
    selectable = ".spec.issuerRef.group",
    selectable = ".spec.issuerRef.kind",
    selectable = ".spec.issuerRef.name",
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Domain", type_ = "string", json_path = ".spec.dnsName"),
    printcolumn(name = "Reason", type_ = "string", priority = 1, json_path = ".status.reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default, extend("x-kubernetes-validations" = rules::frozen_challenge_spec()))]
pub struct ChallengeSpec {
    /// URL of the challenge at the ACME server.
    pub url: String,
    /// URL of the authorization that the challenge belongs to.
    #[serde(rename = "authorizationURL")]
    pub authorization_url: String,
    /// The DNS name or IP address to prove control of, without a leading `*.`.
    pub dns_name: String,
    /// Whether the proof is for the wildcard of the name.
    #[serde(default, skip_serializing_if = "is_false")]
    pub wildcard: bool,
    /// How control is proved.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["HTTP-01", "DNS-01"]))]
    pub type_: String,
    /// The server's token, the last part of the path for HTTP-01.
    pub token: String,
    /// What has to be presented: for HTTP-01 the key authorization, for DNS-01 the value of the TXT record.
    pub key: Sensitive,
    /// The issuer's solver for this name, as it was when the Challenge was created.
    pub solver: AcmeSolver,
    /// The ACME issuer whose account answers the challenge.
    pub issuer_ref: IssuerReference,
}

impl Challenge {
    /// The domain that is proved by a TXT record, if it is: a name and its wildcard are proved by values of the same one (RFC 8555
    /// section 8.4).
    pub fn dns01_domain(&self) -> Option<String> {
        let name = self.spec.dns_name.trim_start_matches("*.");
        (self.spec.type_ == challenge_type::DNS01).then(|| name.to_ascii_lowercase())
    }

    /// Whether it is to be answered by TLS-ALPN-01 (RFC 8737) although its type, which has no word for that, is HTTP-01.
    pub fn is_tls_alpn01(&self) -> bool {
        let mark = self.metadata.annotations.as_ref().and_then(|all| all.get(annotation::CHALLENGE_TYPE));
        self.spec.type_ == challenge_type::HTTP01 && mark.is_some_and(|mark| mark == challenge_type::ACME_TLS_ALPN01)
    }

    /// Whether it is an HTTP-01 challenge that the controller answers itself, without a pod.
    pub fn is_podless(&self) -> bool {
        let mark = self.metadata.annotations.as_ref().and_then(|all| all.get(annotation::HTTP01_SOLVER));
        self.spec.type_ == challenge_type::HTTP01
            && !self.is_tls_alpn01()
            && mark.is_some_and(|mark| mark == http01_solver::CONTROLLER)
    }

    /// The Order and its route that leads the CA's question to the controller, for this Challenge and others; none if the Challenge
    /// has a route of its own.
    pub fn shared_route(&self) -> Option<(&OwnerReference, &str)> {
        let route = self.metadata.annotations.as_ref()?.get(annotation::HTTP01_ROUTE)?;
        let mut owners = self.metadata.owner_references.iter().flatten();
        let order = owners.find(|owner| owner.controller == Some(true) && owner.kind == "Order")?;
        self.is_podless().then_some((order, route.as_str()))
    }
}

/// How far the proof has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct ChallengeStatus {
    /// Whether the Challenge is being worked on. A Challenge may have to wait for others, for example for one that
    /// needs the same DNS record.
    #[serde(default, skip_serializing_if = "is_false")]
    pub processing: bool,
    /// Whether the answer is in place: the DNS record written or the HTTP path served. It says nothing about whether
    /// the server can see it yet.
    #[serde(default, skip_serializing_if = "is_false")]
    pub presented: bool,
    /// When the answer was put in place.
    #[serde(deserialize_with = "lenient::or_none", skip_serializing_if = "Option::is_none")]
    pub presented_at: Option<Time>,
    /// State of the challenge; `errored` means that it failed without the server's doing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ACME_STATES))]
    pub state: Option<String>,
    /// Why the Challenge is in its state and what happens next, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
