//! What is to be done.

use std::collections::BTreeMap;

use super::family::{Family, Samples, number};
use crate::cluster::{Kind, Load};

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

fn each(samples: &mut Samples<'_>, loads: &BTreeMap<Kind, Load>, value: fn(&Load) -> f64) {
    for kind in Kind::ALL {
        let load = loads.get(&kind).copied().unwrap_or_default();
        samples.add(&[("controller", kind.plural())], value(&load));
    }
}
