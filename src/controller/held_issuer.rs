//! The issuer that an object refers to.

use std::sync::Arc;

use crate::{
    api::{
        ClusterIssuer, Issuer, IssuerReference, IssuerSpec, IssuerStatus, find_condition,
        names::{KIND_CLUSTER_ISSUER, KIND_ISSUER, condition},
    },
    cluster::{Hub, ObjectName},
    decide::issuer_of::SeenIssuerOf,
};

/// The issuer that an object refers to, as it lies in the stores.
pub(super) enum HeldIssuer {
    ClusterIssuer(Arc<ClusterIssuer>),
    Foreign,
    Issuer(Arc<Issuer>),
    Missing,
    UnknownKind,
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

    /// As the decisions see it.
    pub(super) fn seen(&self) -> SeenIssuerOf<'_> {
        let Some((spec, status)) = self.parts() else {
            return match self {
                Self::Foreign => SeenIssuerOf::Foreign,
                Self::UnknownKind => {
                    SeenIssuerOf::Unserved("spec.issuerRef.kind is neither Issuer nor ClusterIssuer; correct it")
                }
                _ => SeenIssuerOf::Missing,
            };
        };
        match &spec.acme {
            Some(acme) => {
                let ready = status.and_then(|status| find_condition(&status.conditions, condition::READY));
                SeenIssuerOf::Acme { ready, acme }
            }
            None => SeenIssuerOf::Unserved(
                "The issuer is not an ACME issuer; this version of certwright signs with ACME issuers only",
            ),
        }
    }

    pub(super) fn parts(&self) -> Option<(&IssuerSpec, Option<&IssuerStatus>)> {
        match self {
            Self::ClusterIssuer(issuer) => Some((&issuer.spec, issuer.status.as_ref())),
            Self::Issuer(issuer) => Some((&issuer.spec, issuer.status.as_ref())),
            _ => None,
        }
    }
}
