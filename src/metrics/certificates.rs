//! What Certificates say.

use super::family::{CONDITION_VALUES, Family, Samples, seconds, truth};
use crate::{
    api::{Certificate, CertificateStatus, find_condition, names::condition},
    decide::outlook,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub(super) const FAMILIES: [Family<Certificate>; 7] = [
    Family::gauge("certmanager_certificate_ready_status", "The ready status of the certificate.", ready),
    Family::gauge(
        "certmanager_certificate_expiration_timestamp_seconds",
        "The timestamp after which the certificate expires, in seconds since the epoch; 0 if there is none.",
        |samples, certificate| time(samples, certificate, |status| status.not_after.as_ref()),
    ),
    Family::gauge(
        "certmanager_certificate_not_after_timestamp_seconds",
        "The timestamp after which the certificate is invalid, in seconds since the epoch; 0 if there is none.",
        |samples, certificate| time(samples, certificate, |status| status.not_after.as_ref()),
    ),
    Family::gauge(
        "certmanager_certificate_not_before_timestamp_seconds",
        "The timestamp before which the certificate is invalid, in seconds since the epoch; 0 if there is none.",
        |samples, certificate| time(samples, certificate, |status| status.not_before.as_ref()),
    ),
    Family::gauge(
        "certmanager_certificate_renewal_timestamp_seconds",
        "The timestamp after which the certificate should be renewed, in seconds since the epoch; 0 if there is none.",
        |samples, certificate| time(samples, certificate, |status| status.renewal_time.as_ref()),
    ),
    Family::gauge(
        "certwright_certificate_failed_attempts",
        "How many attempts in a row ended without a certificate, by what helps; only for those of which one did.",
        failed_attempts,
    ),
    Family::gauge(
        "certwright_certificate_next_attempt_timestamp_seconds",
        "When a certificate is tried again that could not be had, in seconds since the epoch; only for those that wait.",
        next_attempt,
    ),
];

fn ready(samples: &mut Samples<'_>, certificate: &Certificate) {
    let conditions = certificate.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let is = find_condition(conditions, condition::READY).map_or("Unknown", |ready| ready.status.as_str());
    let [name, namespace, issuer_name, issuer_kind, issuer_group] = labels(certificate);
    for value in CONDITION_VALUES {
        let labels = [name, namespace, ("condition", value), issuer_name, issuer_kind, issuer_group];
        samples.add(&labels, truth(is == value));
    }
}

fn time(samples: &mut Samples<'_>, certificate: &Certificate, of: fn(&CertificateStatus) -> Option<&Time>) {
    let time = certificate.status.as_ref().and_then(of);
    samples.add(&labels(certificate), time.map_or(0.0, |time| seconds(time.0)));
}

fn failed_attempts(samples: &mut Samples<'_>, certificate: &Certificate) {
    let attempts = certificate.status.as_ref().and_then(|status| status.failed_issuance_attempts).unwrap_or_default();
    let Some(cause) = outlook::failure(certificate).filter(|_| attempts > 0) else { return };
    let [name, namespace, ..] = labels(certificate);
    // A number of attempts is far below what a double holds exactly.
    #[allow(clippy::cast_precision_loss)]
    samples.add(&[name, namespace, ("class", cause.as_str())], attempts as f64);
}

fn next_attempt(samples: &mut Samples<'_>, certificate: &Certificate) {
    let Some(at) = outlook::next_attempt(certificate) else { return };
    let [name, namespace, ..] = labels(certificate);
    samples.add(&[name, namespace], seconds(at));
}

/// The reference as its author wrote it: what was left out is empty.
fn labels(certificate: &Certificate) -> [(&'static str, &str); 5] {
    let issuer = &certificate.spec.issuer_ref;
    [
        ("name", certificate.metadata.name.as_deref().unwrap_or_default()),
        ("namespace", certificate.metadata.namespace.as_deref().unwrap_or_default()),
        ("issuer_name", issuer.name.as_str()),
        ("issuer_kind", issuer.kind.as_deref().unwrap_or_default()),
        ("issuer_group", issuer.group.as_deref().unwrap_or_default()),
    ]
}
