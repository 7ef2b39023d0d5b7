//! The objects into which a CA's certificate is put, so that the API server trusts a server in the cluster: which kinds
//! there are, and how their annotations say where the certificate comes from. It is the contract of cert-manager's cainjector.

use std::collections::BTreeMap;

use super::names::{annotation, label};

/// A kind that names servers which the API server calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum InjectionTarget {
    ApiService,
    CustomResourceDefinition,
    MutatingWebhookConfiguration,
    ValidatingWebhookConfiguration,
}

impl InjectionTarget {
    pub const fn kind(self) -> &'static str {
        match self {
            Self::ApiService => "APIService",
            Self::CustomResourceDefinition => "CustomResourceDefinition",
            Self::MutatingWebhookConfiguration => "MutatingWebhookConfiguration",
            Self::ValidatingWebhookConfiguration => "ValidatingWebhookConfiguration",
        }
    }

    pub const fn group(self) -> &'static str {
        match self {
            Self::ApiService => "apiregistration.k8s.io",
            Self::CustomResourceDefinition => "apiextensions.k8s.io",
            Self::MutatingWebhookConfiguration | Self::ValidatingWebhookConfiguration => "admissionregistration.k8s.io",
        }
    }

    /// All of them are cluster-scoped and served as v1.
    pub const fn version(self) -> &'static str {
        "v1"
    }

    pub const fn plural(self) -> &'static str {
        match self {
            Self::ApiService => "apiservices",
            Self::CustomResourceDefinition => "customresourcedefinitions",
            Self::MutatingWebhookConfiguration => "mutatingwebhookconfigurations",
            Self::ValidatingWebhookConfiguration => "validatingwebhookconfigurations",
        }
    }
}

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaSource {
    /// The Secret of a Certificate.
    Certificate { namespace: String, name: String },
    /// A Secret that allows it.
    Secret { namespace: String, name: String },
    /// The CA of the API server itself.
    ApiServer,
    /// An annotation that says none; which one.
    Unreadable(&'static str),
}

impl CaSource {
    /// What the annotations say; the first of the three counts. `None` if nothing is to be injected.
    pub fn of(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let given = |key: &str| annotations.get(key).filter(|value| !value.is_empty());
        if let Some(value) = given(annotation::INJECT_CA_FROM_SECRET) {
            let Some((namespace, name)) = split(value) else {
                return Some(Self::Unreadable(annotation::INJECT_CA_FROM_SECRET));
            };
            return Some(Self::Secret { namespace, name });
        }
        if let Some(value) = given(annotation::INJECT_CA_FROM) {
            let Some((namespace, name)) = split(value) else {
                return Some(Self::Unreadable(annotation::INJECT_CA_FROM));
            };
            return Some(Self::Certificate { namespace, name });
        }
        given(annotation::INJECT_APISERVER_CA).filter(|value| *value == label::TRUE).map(|_| Self::ApiServer)
    }
}

fn split(value: &str) -> Option<(String, String)> {
    let (namespace, name) = value.split_once('/')?;
    let is_name = |text: &str| !text.is_empty() && !text.contains('/');
    (is_name(namespace) && is_name(name)).then(|| (namespace.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(annotations: &[(&str, &str)]) -> Option<CaSource> {
        CaSource::of(&annotations.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    #[test]
    fn the_first_annotation_counts() {
        let (secret, from, server) =
            (annotation::INJECT_CA_FROM_SECRET, annotation::INJECT_CA_FROM, annotation::INJECT_APISERVER_CA);
        let pair = || ("a".to_owned(), "b".to_owned());
        let (namespace, name) = pair();
        assert_eq!(source(&[(secret, "a/b"), (from, "c/d")]), Some(CaSource::Secret { namespace, name }));
        let (namespace, name) = pair();
        assert_eq!(source(&[(from, "a/b"), (server, "true")]), Some(CaSource::Certificate { namespace, name }));
        assert_eq!(source(&[(server, "true")]), Some(CaSource::ApiServer));
        assert_eq!(source(&[(server, "false")]), None);
        assert_eq!(source(&[("other", "a/b")]), None);
        assert_eq!(source(&[(from, "")]), None);
    }

    #[test]
    fn what_names_nothing_is_told_apart_from_nothing() {
        for odd in ["a", "a/", "/b", "a/b/c", "/"] {
            let said = source(&[(annotation::INJECT_CA_FROM, odd), (annotation::INJECT_APISERVER_CA, "true")]);
            assert_eq!(said, Some(CaSource::Unreadable(annotation::INJECT_CA_FROM)), "{odd}");
        }
    }
}
