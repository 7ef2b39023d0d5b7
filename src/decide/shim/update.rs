//! Whether a Certificate has to change, and how.
//!
//! What cert-manager compares is put right whenever it differs. Of the rest of what annotations can say, a Certificate keeps what
//! somebody gave it by hand, as long as no annotation says otherwise and nothing else has to change. Fields that no annotation
//! can say are never touched.

use kube::ResourceExt;

use super::route;
use crate::{
    api::{Certificate, CertificateSpec, GoDuration, certificate::CertificatePrivateKey},
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

/// A field of the Certificate's spec by its name; an option may have its own notion of what is the same.
macro_rules! field {
    ($name:ident, $is_due:expr) => {
        Field {
            is_same: |held, wanted| held.$name == wanted.$name,
            is_due: $is_due,
            put: |held, wanted| held.$name.clone_from(&wanted.$name),
        }
    };
    ($name:ident, $is_due:expr, $is_same:expr) => {
        Field { is_same: |held, wanted| $is_same(held.$name.as_ref(), wanted.$name.as_ref()), ..field!($name, $is_due) }
    };
}

const FIELDS: [Field; 14] = [
    field!(secret_name, ALWAYS),
    Field { is_same: |held, wanted| held.issuer_ref.same_as(&wanted.issuer_ref), ..field!(issuer_ref, ALWAYS) },
    field!(common_name, ALWAYS, is_same_or_empty),
    field!(dns_names, ALWAYS),
    field!(ip_addresses, ALWAYS),
    field!(duration, ALWAYS, is_same_duration),
    field!(renew_before, ALWAYS, is_same_duration),
    field!(revision_history_limit, ALWAYS),
    field!(private_key, ALWAYS, is_same_key),
    field!(renew_before_percentage, |wanted| wanted.renew_before_percentage.is_some()),
    field!(email_addresses, |wanted| !wanted.email_addresses.is_empty()),
    field!(subject, |wanted| wanted.subject.is_some(), is_same_or_empty),
    field!(secret_template, |wanted| wanted.secret_template.is_some(), is_same_or_empty),
    field!(usages, |wanted| wanted.usages != usage::DEFAULT),
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
fn is_same_or_empty<T: Default + PartialEq>(held: Option<&T>, wanted: Option<&T>) -> bool {
    let empty = T::default();
    held.unwrap_or(&empty) == wanted.unwrap_or(&empty)
}

fn is_same_duration(held: Option<&GoDuration>, wanted: Option<&GoDuration>) -> bool {
    let value = |text: Option<&GoDuration>| text.and_then(|text| text.to_duration().ok());
    held == wanted || (value(held).is_some() && value(held) == value(wanted))
}

fn is_same_key(held: Option<&CertificatePrivateKey>, wanted: Option<&CertificatePrivateKey>) -> bool {
    let normal = |key: Option<&CertificatePrivateKey>| {
        let key = key.cloned().unwrap_or_default();
        let text = |text: Option<String>| text.filter(|text| !text.is_empty());
        (text(key.algorithm), text(key.encoding), text(key.rotation_policy), key.size.filter(|size| *size != 0))
    };
    normal(held) == normal(wanted)
}
