//! What Issuers and ClusterIssuers say.

use super::family::{CONDITION_VALUES, Family, Samples, truth};
use crate::api::{ClusterIssuer, Issuer, IssuerStatus, find_condition, names::condition};

pub(super) const OF_ISSUERS: [Family<Issuer>; 1] =
    [Family::gauge("certmanager_issuer_ready_status", "The ready status of the issuer.", |samples, issuer| {
        let namespace = issuer.metadata.namespace.as_deref().unwrap_or_default();
        let name = issuer.metadata.name.as_deref().unwrap_or_default();
        ready(samples, issuer.status.as_ref(), |condition| vec![("name", name), ("namespace", namespace), condition]);
    })];

pub(super) const OF_CLUSTER_ISSUERS: [Family<ClusterIssuer>; 1] = [Family::gauge(
    "certmanager_clusterissuer_ready_status",
    "The ready status of the cluster issuer.",
    |samples, issuer| {
        let name = issuer.metadata.name.as_deref().unwrap_or_default();
        ready(samples, issuer.status.as_ref(), |condition| vec![("name", name), condition]);
    },
)];

fn ready<'a>(
    samples: &mut Samples<'_>,
    status: Option<&IssuerStatus>,
    labels: impl Fn((&'static str, &'a str)) -> Vec<(&'static str, &'a str)>,
) {
    let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let is = find_condition(conditions, condition::READY).map_or("Unknown", |ready| ready.status.as_str());
    for value in CONDITION_VALUES {
        samples.add(&labels(("condition", value)), truth(is == value));
    }
}
