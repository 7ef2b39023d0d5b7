//! The issuer that an object refers to.

use std::sync::Arc;

use kube::ResourceExt;

use crate::{
    api::{
        ClusterIssuer, Condition, Issuer, IssuerReference, IssuerSpec, IssuerStatus, find_condition,
        names::{KIND_CLUSTER_ISSUER, KIND_ISSUER, condition},
    },
    cluster::{Hub, Key, Kind, ObjectName},
    decide::{
        admittance::Terms,
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
    /// No ClusterIssuer is looked at.
    OutOfReach,
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
            KIND_CLUSTER_ISSUER if hub.namespaces.is_limited() => Self::OutOfReach,
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
                Self::OutOfReach => SeenIssuerOf::Unserved(
                    "ClusterIssuers are not served here, because the controller is limited to namespaces by --namespace; use an \
                     Issuer",
                ),
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

    pub(super) fn is_acme(&self) -> bool {
        self.parts().is_some_and(|(spec, _)| spec.acme.is_some())
    }

    /// Whether it signs without asking anybody, and so at once.
    pub(super) fn is_prompt(&self) -> bool {
        let Some((spec, status)) = self.parts() else { return false };
        let ready = status.and_then(|status| find_condition(&status.conditions, condition::READY));
        spec.acme.is_none()
            && (spec.ca.is_some() || spec.self_signed.is_some())
            && ready.is_some_and(Condition::is_true)
    }

    /// Whether it can be asked to sign; what issuers of other groups are, nobody knows before they are asked.
    pub(super) fn is_usable(&self) -> bool {
        match self.parts() {
            Some((_, status)) => status
                .and_then(|status| find_condition(&status.conditions, condition::READY))
                .is_some_and(Condition::is_true),
            None => matches!(self, Self::Foreign),
        }
    }

    /// Whether it signs with nothing but the request: it is a CA, with the key pair in its own Secret.
    pub(super) fn needs_no_key(&self) -> bool {
        self.parts().is_some_and(|(spec, _)| spec.acme.is_none() && spec.ca.is_some())
    }

    pub(super) fn annotation(&self, name: &str) -> Option<&str> {
        let annotations = match self {
            Self::ClusterIssuer(issuer) => issuer.annotations(),
            Self::Issuer(issuer) => issuer.annotations(),
            _ => return None,
        };
        annotations.get(name).map(String::as_str)
    }

    /// Whom it serves.
    pub(super) fn terms<'a>(&'a self, reference: &'a IssuerReference) -> Terms<'a> {
        Terms::of(reference, |name| self.annotation(name))
    }

    /// Changes whenever the issuer does.
    pub(super) fn version(&self) -> Option<String> {
        match self {
            Self::ClusterIssuer(issuer) => issuer.resource_version(),
            Self::Issuer(issuer) => issuer.resource_version(),
            _ => None,
        }
    }

    /// What it is called in the queue, if it is one of ours.
    pub(super) fn key(&self) -> Option<Key> {
        match self {
            Self::ClusterIssuer(issuer) => Some(Key { kind: Kind::ClusterIssuer, object: ObjectName::of(&**issuer) }),
            Self::Issuer(issuer) => Some(Key { kind: Kind::Issuer, object: ObjectName::of(&**issuer) }),
            _ => None,
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
