//! The objects that Certificates are made from: Ingresses, Gateways and ListenerSets that name an issuer in an annotation. It
//! is the contract of cert-manager's ingress-shim and gateway-shim.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, api::ObjectMeta, core::DynamicResourceScope};
use serde::Deserialize;

use super::names::{GATEWAY_GROUP, GROUP, annotation};

/// A kind that Certificates are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceKind {
    Ingress,
    Gateway,
    ListenerSet,
}

impl SourceKind {
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Ingress => "Ingress",
            Self::Gateway => "Gateway",
            Self::ListenerSet => "ListenerSet",
        }
    }

    pub const fn group(self) -> &'static str {
        match self {
            Self::Ingress => "networking.k8s.io",
            Self::Gateway | Self::ListenerSet => GATEWAY_GROUP,
        }
    }

    pub const fn plural(self) -> &'static str {
        match self {
            Self::Ingress => "ingresses",
            Self::Gateway => "gateways",
            Self::ListenerSet => "listenersets",
        }
    }

    /// All of them are served as v1.
    pub const fn version(self) -> &'static str {
        "v1"
    }

    pub fn api_version(self) -> String {
        format!("{}/{}", self.group(), self.version())
    }
}

/// Of such an object what Certificates are made from. Whatever else it says is not even read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Source {
    pub metadata: ObjectMeta,
    pub spec: SourceSpec,
}

/// See [`Source`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SourceSpec {
    /// Of an Ingress.
    pub tls: Vec<TlsBlock>,
    /// Of a Gateway and a ListenerSet.
    pub listeners: Vec<Listener>,
    /// Of a ListenerSet: the Gateway that it adds to.
    pub parent_ref: Option<ParentGateway>,
}

/// One entry of an Ingress's `spec.tls`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TlsBlock {
    pub hosts: Vec<String>,
    pub secret_name: String,
}

/// One entry of a Gateway's or ListenerSet's `spec.listeners`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Listener {
    pub name: String,
    pub hostname: String,
    pub protocol: String,
    pub tls: Option<ListenerTls>,
}

/// What a listener does with TLS.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ListenerTls {
    /// `Terminate` or `Passthrough`.
    pub mode: Option<String>,
    pub certificate_refs: Vec<CertificateRef>,
}

/// Where a listener's certificate lies.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CertificateRef {
    pub group: Option<String>,
    pub kind: Option<String>,
    pub name: String,
    pub namespace: Option<String>,
}

/// The Gateway that a ListenerSet adds to.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ParentGateway {
    pub name: String,
    pub namespace: Option<String>,
}

impl Resource for Source {
    type DynamicType = SourceKind;
    type Scope = DynamicResourceScope;

    fn kind(kind: &SourceKind) -> Cow<'_, str> {
        kind.kind().into()
    }

    fn group(kind: &SourceKind) -> Cow<'_, str> {
        kind.group().into()
    }

    fn version(kind: &SourceKind) -> Cow<'_, str> {
        kind.version().into()
    }

    fn plural(kind: &SourceKind) -> Cow<'_, str> {
        kind.plural().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl Source {
    /// The names of all Secrets that it refers to in its own namespace, once for each time.
    pub fn secret_names(&self) -> impl Iterator<Item = &str> {
        let own = self.metadata.namespace.as_deref();
        let refs = self.spec.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        let refs = refs.flat_map(|tls| &tls.certificate_refs);
        let refs = refs.filter(move |found| found.namespace.is_none() || found.namespace.as_deref() == own);
        let blocks = self.spec.tls.iter().map(|block| &*block.secret_name);
        blocks.chain(refs.map(|found| &*found.name)).filter(|name| !name.is_empty())
    }

    /// Of a ListenerSet: namespace and name of the Gateway that it adds to.
    pub fn parent_gateway(&self) -> Option<(String, String)> {
        let parent = self.spec.parent_ref.as_ref()?;
        let namespace = parent.namespace.clone().or_else(|| self.metadata.namespace.clone()).unwrap_or_default();
        Some((namespace, parent.name.clone()))
    }

    /// How its Certificates name it: with foreground deletion it stays until they are gone.
    pub fn owner_reference(&self, kind: SourceKind) -> Option<OwnerReference> {
        let reference = self.controller_owner_ref(&kind)?;
        Some(OwnerReference { block_owner_deletion: Some(true), ..reference })
    }
}

/// Which annotations count besides cert-manager's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Those of Ingresses that, when true, ask for a certificate from the default issuer.
    pub automatic: Vec<String>,
    /// Those that are copied to Certificates.
    pub copied: Vec<String>,
}

impl Default for Marks {
    fn default() -> Self {
        Self { automatic: vec![annotation::TLS_ACME.to_owned()], copied: Vec::new() }
    }
}

impl Marks {
    /// Whether the object asks for certificates.
    pub fn are_on(&self, kind: SourceKind, annotations: &BTreeMap<String, String>) -> bool {
        let is_true = |key: &String| annotations.get(key).is_some_and(|value| is_true(value));
        [annotation::ISSUER, annotation::CLUSTER_ISSUER].iter().any(|key| annotations.contains_key(*key))
            || (kind == SourceKind::Ingress && self.automatic.iter().any(is_true))
    }

    /// Whether something here reads an annotation of this name.
    pub fn is_read(&self, key: &str) -> bool {
        let is_of_group =
            key.split_once('/').is_some_and(|(prefix, _)| prefix == GROUP || prefix.ends_with(".cert-manager.io"));
        is_of_group || self.automatic.iter().chain(&self.copied).any(|known| known == key)
    }
}

/// As Go reads a boolean.
pub fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn annotations(key: &str, value: &str) -> BTreeMap<String, String> {
        [(key.to_owned(), value.to_owned())].into()
    }

    #[test]
    fn what_asks_for_certificates() {
        let marks = Marks { automatic: vec!["kubernetes.io/tls-acme".into(), "auto".into()], copied: vec!["x".into()] };
        for (key, value, of_ingress, of_gateway) in [
            (annotation::ISSUER, "ca", true, true),
            (annotation::CLUSTER_ISSUER, "", true, true),
            (annotation::TLS_ACME, "true", true, false),
            ("auto", "1", true, false),
            (annotation::TLS_ACME, "yes", false, false),
            (annotation::ISSUER_KIND, "Issuer", false, false),
        ] {
            let given = annotations(key, value);
            assert_eq!(marks.are_on(SourceKind::Ingress, &given), of_ingress, "{key}");
            assert_eq!(marks.are_on(SourceKind::Gateway, &given), of_gateway, "{key}");
        }
        let read = [annotation::DURATION, annotation::HTTP01_EDIT_IN_PLACE, annotation::TLS_ACME, "auto", "x"];
        assert!(read.iter().all(|key| marks.is_read(key)));
        for key in ["kubectl.kubernetes.io/last-applied-configuration", "y", "notcert-manager.io/issuer"] {
            assert!(!marks.is_read(key), "{key}");
        }
    }

    #[test]
    fn secrets_of_other_namespaces_are_not_its_own() {
        let source: Source = serde_json::from_value(json!({
            "metadata": { "namespace": "shop" },
            "spec": {
                "rules": [{ "host": "a.example.com" }],
                "tls": [{ "hosts": ["a"], "secretName": "a" }, { "hosts": ["b"] }],
                "listeners": [{ "name": "x", "port": 443, "protocol": "HTTPS", "tls": { "certificateRefs": [
                    { "name": "c" }, { "name": "d", "namespace": "shop" }, { "name": "e", "namespace": "other" },
                ] } }],
            },
        }))
        .unwrap();
        assert_eq!(source.secret_names().collect::<Vec<_>>(), ["a", "c", "d"]);
    }
}
