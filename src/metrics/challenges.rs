//! What Challenges say.

use super::family::{Family, Samples, truth};
use crate::{
    api::{Challenge, names::state},
    decide::challenge::reason,
};

/// All states that there are, and the empty one before any.
const STATES: [&str; 8] =
    ["", state::READY, state::VALID, state::PENDING, state::PROCESSING, state::INVALID, state::EXPIRED, state::ERRORED];

pub(super) const FAMILIES: [Family<Challenge>; 1] =
    [Family::gauge("certmanager_certificate_challenge_status", "The status of certificate challenges.", status)];

fn status(samples: &mut Samples<'_>, challenge: &Challenge) {
    let status = challenge.status.as_ref();
    let is = status.and_then(|status| status.state.as_deref()).unwrap_or_default();
    let is_processing = status.is_some_and(|status| status.processing);
    for value in STATES {
        let labels = [
            ("status", value),
            ("domain", challenge.spec.dns_name.as_str()),
            ("reason", reason::class(challenge)),
            ("processing", if is_processing { "true" } else { "false" }),
            ("name", challenge.metadata.name.as_deref().unwrap_or_default()),
            ("namespace", challenge.metadata.namespace.as_deref().unwrap_or_default()),
            ("type", challenge.spec.type_.as_str()),
        ];
        samples.add(&labels, truth(is == value));
    }
}
