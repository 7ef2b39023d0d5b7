//! The annotations of a Certificate: by which way the CA is to look, and what the operator wants copied.

use std::collections::BTreeMap;

use kube::ResourceExt;

use super::SeenSource;
use crate::api::{
    SourceKind,
    names::{annotation, label::TRUE},
};

/// All annotations that the Certificate is to have; it may have others.
pub(super) fn annotations(seen: &SeenSource<'_>, copied: &[String]) -> BTreeMap<String, String> {
    let own = seen.source.annotations();
    let mut annotations: BTreeMap<_, _> =
        copied.iter().filter_map(|key| Some((key.clone(), own.get(key)?.clone()))).collect();
    let mut set = |key: &str, value: &str| drop(annotations.insert(key.to_owned(), value.to_owned()));
    match seen.kind {
        SourceKind::Ingress => {
            if own.get(annotation::HTTP01_EDIT_IN_PLACE).is_some_and(|value| value == TRUE) {
                set(annotation::HTTP01_OVERRIDE_INGRESS_NAME, &seen.source.name_any());
                // Some load balancers route nothing until there is a certificate.
                set(annotation::ISSUE_TEMPORARY_CERTIFICATE, TRUE);
            }
            for (from, to) in [
                (annotation::HTTP01_INGRESS_CLASS, annotation::HTTP01_OVERRIDE_INGRESS_CLASS),
                (annotation::HTTP01_INGRESS_CLASS_NAME, annotation::HTTP01_OVERRIDE_INGRESS_CLASS_NAME),
            ] {
                if let Some(value) = own.get(from) {
                    set(to, value);
                }
            }
        }
        SourceKind::Gateway => {
            set(annotation::HTTP01_PARENT_REF_KIND, SourceKind::Gateway.kind());
            set(annotation::HTTP01_PARENT_REF_NAME, &seen.source.name_any());
        }
        SourceKind::ListenerSet => match &seen.source.spec.parent_ref {
            Some(parent) if own.get(annotation::HTTP01_PARENT_REF_FALLBACK).is_some_and(|value| value == TRUE) => {
                set(annotation::HTTP01_PARENT_REF_KIND, SourceKind::Gateway.kind());
                set(annotation::HTTP01_PARENT_REF_NAME, &parent.name);
                let namespace = parent.namespace.clone().or_else(|| seen.source.namespace()).unwrap_or_default();
                set(annotation::HTTP01_PARENT_REF_NAMESPACE, &namespace);
            }
            _ => {
                set(annotation::HTTP01_PARENT_REF_KIND, SourceKind::ListenerSet.kind());
                set(annotation::HTTP01_PARENT_REF_NAME, &seen.source.name_any());
            }
        },
    }
    annotations
}

/// What a Certificate has from an earlier choice of its Ingress, and that does not go with what it is to have now.
pub(super) fn outdated<'a>(
    held: &'a BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
    owner: &str,
) -> impl Iterator<Item = &'a str> + use<'a> {
    const OVERRIDES: [&str; 3] = [
        annotation::HTTP01_OVERRIDE_INGRESS_NAME,
        annotation::HTTP01_OVERRIDE_INGRESS_CLASS,
        annotation::HTTP01_OVERRIDE_INGRESS_CLASS_NAME,
    ];
    let has_one = OVERRIDES.iter().any(|key| wanted.contains_key(*key));
    let was_in_place = held.get(annotation::HTTP01_OVERRIDE_INGRESS_NAME).is_some_and(|name| name == owner);
    let is_outdated = |key: &str| match key {
        annotation::HTTP01_OVERRIDE_INGRESS_NAME => has_one || was_in_place,
        annotation::ISSUE_TEMPORARY_CERTIFICATE => was_in_place,
        key => has_one && OVERRIDES.contains(&key),
    };
    let keys: Vec<_> =
        held.keys().map(|key| &**key).filter(|key| !wanted.contains_key(*key) && is_outdated(key)).collect();
    keys.into_iter()
}
