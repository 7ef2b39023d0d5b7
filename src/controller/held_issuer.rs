//! The issuer that an object refers to.

use std::sync::Arc;

use kube::Resource;

use crate::{
    api::{
        ClusterIssuer, Condition, Issuer, IssuerReference, IssuerSpec, IssuerStatus, find_condition,
        names::{KIND_CLUSTER_ISSUER, KIND_ISSUER, condition},
    },
    cluster::{Hub, ObjectName},
    decide::{
        authority::{SeenAuthority, SeenKey},
        issuer_of::SeenIssuerOf,
    },
};

/// The issuer that an object refers to, as it lies in the stores.
pub(super) enum HeldIssuer {
    ClusterIssuer(Arc<ClusterIssuer>),
    Foreign,
    Issuer(Arc<Issuer>),
    Missing,
    UnknownKind,
}

/// What an issuer signs with if it needs no ACME.
pub(super) enum Signer {
    Ca(SeenAuthority),
    None,
    SelfSigned(SeenKey),
}

impl HeldIssuer {
    pub(super) fn look_up(hub: &Hub, reference: &IssuerReference, namespace: &str) -> Self {
        if !reference.is_ours() {
            return Self::Foreign;
        }
        match reference.kind_or_default() {
            KIND_CLUSTER_ISSUER => hub
                .cluster_issuers
                .get(&ObjectName::new("", &reference.name))
                .map_or(Self::Missing, Self::ClusterIssuer),
            KIND_ISSUER => {
                hub.issuers.get(&ObjectName::new(namespace, &reference.name)).map_or(Self::Missing, Self::Issuer)
            }
            _ => Self::UnknownKind,
        }
    }

    /// As the decisions about Orders and Challenges see it.
    pub(super) fn seen(&self) -> SeenIssuerOf<'_> {
        self.seen_with(&Signer::None)
    }

    /// As the decisions about CertificateRequests see it, with what it signs with if it needs no ACME.
    pub(super) fn seen_with<'a>(&'a self, signer: &'a Signer) -> SeenIssuerOf<'a> {
        let Some((spec, status)) = self.parts() else {
            return match self {
                Self::Foreign => SeenIssuerOf::Foreign,
                Self::UnknownKind => {
                    SeenIssuerOf::Unserved("spec.issuerRef.kind is neither Issuer nor ClusterIssuer; correct it")
                }
                _ => SeenIssuerOf::Missing,
            };
        };
        let ready = status.and_then(|status| find_condition(&status.conditions, condition::READY));
        match (spec, signer) {
            (IssuerSpec { acme: Some(acme), .. }, _) => SeenIssuerOf::Acme { ready, acme },
            (IssuerSpec { ca: Some(ca), .. }, Signer::Ca(authority)) => SeenIssuerOf::Ca { ready, ca, authority },
            (IssuerSpec { self_signed: Some(self_signed), .. }, Signer::SelfSigned(key)) => {
                SeenIssuerOf::SelfSigned { ready, self_signed, key }
            }
            (IssuerSpec { ca: Some(_), .. } | IssuerSpec { self_signed: Some(_), .. }, _) => {
                SeenIssuerOf::Unserved("The issuer is no ACME issuer")
            }
            _ => SeenIssuerOf::Unserved(
                "The issuer is of a type that certwright does not serve; it signs with acme, ca and selfSigned issuers",
            ),
        }
    }

    /// Whether it signs without asking anybody, and so at once.
    pub(super) fn is_prompt(&self) -> bool {
        let Some((spec, status)) = self.parts() else { return false };
        let ready = status.and_then(|status| find_condition(&status.conditions, condition::READY));
        spec.acme.is_none()
            && (spec.ca.is_some() || spec.self_signed.is_some())
            && ready.is_some_and(Condition::is_true)
    }

    /// The value of one of its annotations.
    pub(super) fn annotation(&self, key: &str) -> Option<&str> {
        let metadata = match self {
            Self::ClusterIssuer(issuer) => issuer.meta(),
            Self::Issuer(issuer) => issuer.meta(),
            _ => return None,
        };
        metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }

    pub(super) fn parts(&self) -> Option<(&IssuerSpec, Option<&IssuerStatus>)> {
        match self {
            Self::ClusterIssuer(issuer) => Some((&issuer.spec, issuer.status.as_ref())),
            Self::Issuer(issuer) => Some((&issuer.spec, issuer.status.as_ref())),
            _ => None,
        }
    }
}
