//! What a new process can tell of the orders that a former one had created.

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::{Order, names::state},
    pki::ParsedCertificate,
};

/// Public CAs let certificates begin so much before they are issued, for clocks that are slow.
const BACKDATED: SignedDuration = SignedDuration::from_hours(1);

/// When an Order's order was created at the CA, rather too late than too early; none if it was not, as far as is known.
/// `challenge` is when its first Challenge was created, if it has any.
pub fn placed_at(order: &Order, challenge: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    let status = order.status.as_ref()?;
    status.url.as_ref()?;
    let at = if let Some(certificate) = &status.certificate {
        let chain = ParsedCertificate::from_pem_chain(&certificate.0).unwrap_or_default();
        chain.first().map(|leaf| super::later(leaf.not_before, BACKDATED))
    } else if status.state.as_deref().is_some_and(state::is_failure) {
        status.failure_time.as_ref().map(|time| time.0)
    } else {
        challenge
    };
    let created = order.metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0);
    Some(at.unwrap_or(now).max(created).min(now))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decide::testing::{at, now, object};

    #[test]
    fn rather_too_late_than_too_early() {
        let placed = |status: serde_json::Value, challenge| {
            let order: Order = object(json!({
                "metadata": {"name": "o", "creationTimestamp": at(-9000).to_string()},
                "spec": {"request": "", "issuerRef": {"name": "le"}}, "status": status,
            }));
            placed_at(&order, challenge, now())
        };
        let failed_at = at(-60).to_string();
        assert_eq!(placed(json!({}), None), None);
        assert_eq!(placed(json!({"reason": "Waiting"}), Some(at(-5))), None);
        assert_eq!(placed(json!({"url": "u", "state": "pending"}), None), Some(now()));
        assert_eq!(placed(json!({"url": "u", "state": "pending"}), Some(at(-5))), Some(at(-5)));
        assert_eq!(placed(json!({"url": "u", "state": "pending"}), Some(at(-99_999))), Some(at(-9000)));
        assert_eq!(placed(json!({"url": "u", "state": "invalid", "failureTime": failed_at}), None), Some(at(-60)));
        assert_eq!(placed(json!({"url": "u", "state": "valid", "certificate": "bm9uZQ=="}), None), Some(now()));
    }
}
