//! The clock, and which program this is.

use jiff::Timestamp;

use super::family::{Family, seconds};

pub(super) const FAMILIES: [Family<Timestamp>; 3] = [
    Family::counter(
        "certmanager_clock_time_seconds",
        "DEPRECATED: use clock_time_seconds_gauge instead. The clock time given in seconds (from 1970/01/01 UTC).",
        |samples, now| samples.add(&[], seconds(*now)),
    ),
    Family::gauge(
        "certmanager_clock_time_seconds_gauge",
        "The clock time given in seconds (from 1970/01/01 UTC).",
        |samples, now| samples.add(&[], seconds(*now)),
    ),
    Family::gauge("certwright_build_info", "Which program this is; always 1.", |samples, _| {
        samples.add(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    }),
];
