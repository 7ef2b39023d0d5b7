//! What is to be done.

use std::collections::BTreeMap;

use super::family::{Family, Samples, number};
use crate::cluster::{Kind, Load, Unreadable};

pub(super) const FAMILIES: [Family<BTreeMap<Kind, Load>>; 4] = [
    Family::gauge(
        "certwright_queue_waiting",
        "Objects that wait to be worked on now, by controller.",
        |samples, loads| {
            each(samples, loads, |load| number(load.waiting));
        },
    ),
    Family::gauge("certwright_queue_running", "Objects that are being worked on, by controller.", |samples, loads| {
        each(samples, loads, |load| number(load.running));
    }),
    Family::gauge(
        "certwright_queue_timed",
        "Objects that are looked at again at a time that is known, by controller.",
        |samples, loads| each(samples, loads, |load| number(load.timed)),
    ),
    Family::gauge(
        "certwright_queue_longest_wait_seconds",
        "How long the object has waited to be worked on that has waited longest, by controller.",
        |samples, loads| each(samples, loads, |load| load.longest.as_secs_f64()),
    ),
];

pub(super) const OF_UNREADABLE: [Family<Unreadable>; 1] = [Family::gauge(
    "certwright_unreadable_objects",
    "Objects that cannot be read as they are now, by kind; what was read of them before is still in force.",
    |samples, unreadable| {
        let mut counts = unreadable.counts();
        // Those that are there in every cluster, so that the first one shows.
        for kind in [
            Kind::Certificate,
            Kind::CertificateRequest,
            Kind::Issuer,
            Kind::ClusterIssuer,
            Kind::Order,
            Kind::Challenge,
        ] {
            counts.entry(kind.as_str().to_owned()).or_default();
        }
        for (kind, count) in counts {
            samples.add(&[("kind", &kind)], number(count));
        }
    },
)];

fn each(samples: &mut Samples<'_>, loads: &BTreeMap<Kind, Load>, value: fn(&Load) -> f64) {
    for kind in Kind::ALL {
        let load = loads.get(&kind).copied().unwrap_or_default();
        samples.add(&[("controller", kind.plural())], value(&load));
    }
}
