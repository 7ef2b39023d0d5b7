//! What names an object, and what names a piece of work.

use std::fmt;

use kube::{Resource, ResourceExt};

use crate::api::{InjectionTarget, SourceKind};

/// Namespace and name of an object; the namespace is empty for cluster-scoped kinds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    pub namespace: String,
    pub name: String,
}

impl ObjectName {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    pub fn of<K: Resource>(object: &K) -> Self {
        Self::new(object.meta().namespace.clone().unwrap_or_default(), object.name_any())
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// The kinds that have a reconciler of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Certificate,
    CertificateRequest,
    Challenge,
    ClusterIssuer,
    Issuer,
    Order,
    /// What Certificates are made from.
    Source(SourceKind),
    /// What a CA's certificate is injected into.
    Target(InjectionTarget),
}

impl Kind {
    /// All there are.
    pub const ALL: [Self; 13] = [
        Self::Certificate,
        Self::CertificateRequest,
        Self::Challenge,
        Self::ClusterIssuer,
        Self::Issuer,
        Self::Order,
        Self::Source(SourceKind::Ingress),
        Self::Source(SourceKind::Gateway),
        Self::Source(SourceKind::ListenerSet),
        Self::Target(InjectionTarget::ApiService),
        Self::Target(InjectionTarget::CustomResourceDefinition),
        Self::Target(InjectionTarget::MutatingWebhookConfiguration),
        Self::Target(InjectionTarget::ValidatingWebhookConfiguration),
    ];

    /// The plural in lower case, as metrics have it.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Certificate => "certificates",
            Self::CertificateRequest => "certificaterequests",
            Self::Challenge => "challenges",
            Self::ClusterIssuer => "clusterissuers",
            Self::Issuer => "issuers",
            Self::Order => "orders",
            Self::Source(source) => source.plural(),
            Self::Target(target) => target.plural(),
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "Certificate",
            Self::CertificateRequest => "CertificateRequest",
            Self::Challenge => "Challenge",
            Self::ClusterIssuer => "ClusterIssuer",
            Self::Issuer => "Issuer",
            Self::Order => "Order",
            Self::Source(source) => source.kind(),
            Self::Target(target) => target.kind(),
        }
    }
}

/// One piece of work: an object to look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub kind: Kind,
    pub object: ObjectName,
}

impl Key {
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, object: ObjectName::new(namespace, name) }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.object)
    }
}
