//! Whether a Certificate has to change, and how.
//!
//! What cert-manager compares is put right whenever it differs. Of the rest of what annotations can say, a Certificate keeps what
//! somebody gave it by hand, as long as no annotation says otherwise and nothing else has to change. Fields that no annotation
//! can say are never touched.

use kube::ResourceExt;

use super::route;
use crate::{
    api::{
        Certificate, CertificateSpec, GoDuration,
        certificate::{CertificatePrivateKey, SecretTemplate, X509Subject},
    },
    pki::usage,
};

/// A field that an annotation can say.
struct Field {
    is_same: fn(&CertificateSpec, &CertificateSpec) -> bool,
    /// Whether a difference is put right: always, or if what is wanted is said.
    is_due: fn(&CertificateSpec) -> bool,
    put: fn(&mut CertificateSpec, &CertificateSpec),
}

const ALWAYS: fn(&CertificateSpec) -> bool = |_| true;

/// A field of the Certificate's spec by its name.
macro_rules! field {
    ($name:ident, $is_due:expr, $is_same:expr) => {
        Field {
            is_same: |held, wanted| $is_same(&held.$name, &wanted.$name),
            is_due: $is_due,
            put: |held, wanted| held.$name.clone_from(&wanted.$name),
        }
    };
}

const FIELDS: [Field; 14] = [
    field!(secret_name, ALWAYS, PartialEq::eq),
    Field {
        is_same: |held, wanted| held.issuer_ref.same_as(&wanted.issuer_ref),
        is_due: ALWAYS,
        put: |held, wanted| held.issuer_ref.clone_from(&wanted.issuer_ref),
    },
    field!(common_name, ALWAYS, is_same_or_empty),
    field!(dns_names, ALWAYS, PartialEq::eq),
    field!(ip_addresses, ALWAYS, PartialEq::eq),
    field!(duration, ALWAYS, is_same_duration),
    field!(renew_before, ALWAYS, is_same_duration),
    field!(revision_history_limit, ALWAYS, PartialEq::eq),
    field!(private_key, ALWAYS, is_same_key),
    field!(renew_before_percentage, |wanted| wanted.renew_before_percentage.is_some(), PartialEq::eq),
    field!(email_addresses, |wanted| !wanted.email_addresses.is_empty(), PartialEq::eq),
    field!(subject, |wanted| wanted.subject.is_some(), is_same_or_empty::<X509Subject>),
    field!(secret_template, |wanted| wanted.secret_template.is_some(), is_same_or_empty::<SecretTemplate>),
    field!(usages, |wanted| wanted.usages != usage::DEFAULT, PartialEq::eq),
];

/// The Certificate as it is to be, if it is not.
pub(super) fn due(held: &Certificate, wanted: &Certificate) -> Option<Certificate> {
    let differs = |field: &&Field| !(field.is_same)(&held.spec, &wanted.spec);
    let is_due = FIELDS.iter().filter(differs).any(|field| (field.is_due)(&wanted.spec));
    let has_same_labels = held.labels() == wanted.labels();
    let mut updated = held.clone();
    put_annotations(&mut updated, wanted);
    if !is_due && has_same_labels && updated.annotations() == held.annotations() {
        return None;
    }
    updated.metadata.labels.clone_from(&wanted.metadata.labels);
    FIELDS.iter().filter(differs).for_each(|field| (field.put)(&mut updated.spec, &wanted.spec));
    Some(updated)
}

fn put_annotations(updated: &mut Certificate, wanted: &Certificate) {
    let owner = wanted.owner_references().first().map_or("", |owner| &*owner.name);
    let outdated: Vec<_> =
        route::outdated(updated.annotations(), wanted.annotations(), owner).map(str::to_owned).collect();
    if outdated.is_empty() && wanted.annotations().is_empty() {
        return;
    }
    let annotations = updated.annotations_mut();
    annotations.retain(|key, _| !outdated.contains(key));
    annotations.extend(wanted.annotations().clone());
}

/// Writers in Go store empty ones too.
fn is_same_or_empty<T: Default + PartialEq + Clone>(held: &Option<T>, wanted: &Option<T>) -> bool {
    held == wanted || held.clone().unwrap_or_default() == wanted.clone().unwrap_or_default()
}

fn is_same_duration(held: &Option<GoDuration>, wanted: &Option<GoDuration>) -> bool {
    let value = |text: &Option<GoDuration>| text.as_ref().and_then(|text| text.to_duration().ok());
    held == wanted || (value(held).is_some() && value(held) == value(wanted))
}

fn is_same_key(held: &Option<CertificatePrivateKey>, wanted: &Option<CertificatePrivateKey>) -> bool {
    let normal = |key: &Option<CertificatePrivateKey>| {
        let key = key.clone().unwrap_or_default();
        let text = |text: Option<String>| text.filter(|text| !text.is_empty());
        (text(key.algorithm), text(key.encoding), text(key.rotation_policy), key.size.filter(|size| *size != 0))
    };
    normal(held) == normal(wanted)
}
