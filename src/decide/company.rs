//! Challenges of one Order whose values stand at the same TXT record: those of a name and of its wildcard.
//!
//! A resolver of the CA that was asked when only one of the values was there remembers that for as long as the record may be
//! kept, and the other challenge fails. So the CA is told to look when both are there.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{challenge::wants_value, later, order::wanted_child::open_authorizations, schedule::is_wait};
use crate::api::{Challenge, Order};

/// A value that is not presented so long after the Challenge's own holds it up no more: its provider may refuse it, or have room for
/// it only when this one is gone.
const WAITED_FOR: SignedDuration = SignedDuration::from_secs(10);

/// So long the servers are to have the others that are presented as well. Some webhook solvers keep only the last one.
const TOGETHER: SignedDuration = SignedDuration::from_secs(30);

/// Until when a Challenge that was presented waits for a value that is about to come to its record.
///
/// `others` are all other Challenges of the Order, some of which it may still have to create. A clock that was set back since does
/// not make the wait longer.
pub fn awaited_until(
    challenge: &Challenge,
    order: Option<&Order>,
    others: &[Arc<Challenge>],
    now: Timestamp,
) -> Option<Timestamp> {
    let domain = challenge.dns01_domain()?;
    let presented_at = Some(challenge.status.as_ref()?.presented_at.as_ref()?.0).filter(|at| *at <= now)?;
    let is_to_come = others.iter().any(|other| shares_record(challenge, other) && is_about_to_be_presented(other));
    let held = others.iter().filter(|other| is_for(&domain, &other.spec.dns_name)).count() + 1;
    let wanted = order.map_or(0, |order| authorizations_of(order, &domain));
    (is_to_come || held < wanted).then(|| later(presented_at, WAITED_FOR))
}

/// What has to be at the record before the CA looks, the Challenge's own value first.
pub fn values(challenge: &Challenge, others: &[Arc<Challenge>], since_presented: SignedDuration) -> Vec<String> {
    let counts = |other: &&Arc<Challenge>| shares_record(challenge, other) && is_presented(other) && wants_value(other);
    let beside = others.iter().filter(|_| since_presented < TOGETHER).filter(counts);
    let own = challenge.spec.key.expose();
    std::iter::once(own).chain(beside.map(|other| other.spec.key.expose())).map(ToString::to_string).collect()
}

fn shares_record(one: &Challenge, other: &Challenge) -> bool {
    one.dns01_domain().is_some_and(|domain| other.dns01_domain() == Some(domain))
}

/// Whether it is still to be presented. One that waits for a place may get just that of the Challenge that would wait for it.
fn is_about_to_be_presented(challenge: &Challenge) -> bool {
    let reason = challenge.status.as_ref().and_then(|status| status.reason.as_deref());
    wants_value(challenge) && !is_presented(challenge) && !reason.is_some_and(is_wait)
}

fn is_presented(challenge: &Challenge) -> bool {
    challenge.status.as_ref().is_some_and(|status| status.presented)
}

fn authorizations_of(order: &Order, domain: &str) -> usize {
    let open = order.status.iter().flat_map(open_authorizations);
    open.filter(|known| known.identifier.as_deref().is_some_and(|name| is_for(domain, name))).count()
}

/// Whether the name is this domain, or its wildcard.
fn is_for(domain: &str, name: &str) -> bool {
    name.trim_start_matches("*.").eq_ignore_ascii_case(domain)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::decide::testing::{at, now, object};

    fn challenge(dns_name: &str, type_: &str, status: &Value) -> Challenge {
        object(json!({
            "metadata": { "name": format!("{dns_name}-{type_}"), "namespace": "shop" },
            "spec": {
                "url": "u", "authorizationURL": "a", "dnsName": dns_name, "type": type_, "token": "t",
                "key": format!("value of {dns_name}"), "solver": {}, "issuerRef": { "name": "le" },
            },
            "status": status,
        }))
    }

    fn presented() -> Value {
        json!({ "state": "pending", "presented": true, "processing": true, "presentedAt": now().to_string() })
    }

    fn order(names: &[&str]) -> Order {
        let known: Vec<_> =
            names.iter().map(|name| json!({ "url": "a", "identifier": name, "initialState": "pending" })).collect();
        object(json!({
            "metadata": { "name": "web", "namespace": "shop" },
            "spec": { "request": "", "issuerRef": { "name": "le" } },
            "status": { "authorizations": known },
        }))
    }

    fn awaited(others: &[Challenge], order: Option<&Order>) -> bool {
        let others: Vec<_> = others.iter().cloned().map(Arc::new).collect();
        let until = awaited_until(&challenge("example.com", "DNS-01", &presented()), order, &others, now());
        assert!(until.is_none_or(|until| until == at(10)));
        until.is_some()
    }

    #[test]
    fn the_value_for_the_wildcard_is_waited_for() {
        let wildcard = |status: &Value| challenge("*.Example.com", "DNS-01", status);
        assert!(awaited(&[wildcard(&json!({}))], None));
        assert!(awaited(&[wildcard(&json!({ "reason": "the provider refuses it" }))], None));
        assert!(!awaited(&[wildcard(&presented())], None), "it is there");
        assert!(!awaited(&[wildcard(&json!({ "state": "valid" }))], None), "it was there");
        assert!(!awaited(&[challenge("*.example.com", "HTTP-01", &json!({}))], None), "it does not come to the record");
        assert!(!awaited(&[challenge("www.example.com", "DNS-01", &json!({}))], None), "it comes to another record");
        let queued = json!({ "reason": crate::decide::schedule::Queued { since: now(), most: 1 }.sentence() });
        assert!(!awaited(&[wildcard(&queued)], None), "it waits for a place");
    }

    #[test]
    fn a_challenge_that_the_order_is_about_to_create_is_waited_for() {
        let both = order(&["example.com", "example.com", "example.org"]);
        assert!(awaited(&[], Some(&both)));
        assert!(!awaited(&[challenge("*.example.com", "DNS-01", &presented())], Some(&both)));
        assert!(!awaited(&[challenge("*.example.com", "HTTP-01", &json!({}))], Some(&both)));
        assert!(!awaited(&[], Some(&order(&["example.com", "example.org"]))));
        let set_back = awaited_until(&challenge("example.com", "DNS-01", &presented()), Some(&both), &[], at(-3600));
        assert_eq!(set_back, None, "the clock was set back");
    }

    #[test]
    fn all_values_are_to_be_there_for_a_while() {
        let own = challenge("example.com", "DNS-01", &presented());
        let others = [
            challenge("*.example.com", "DNS-01", &presented()),
            challenge("www.example.com", "DNS-01", &presented()),
            challenge("*.example.com", "DNS-01", &json!({})),
        ]
        .map(Arc::new);
        let after = |seconds| values(&own, &others, SignedDuration::from_secs(seconds));
        assert_eq!(after(29), ["value of example.com", "value of *.example.com"]);
        assert_eq!(after(30), ["value of example.com"]);
    }
}
