//! Which Order a CertificateRequest goes by.

use std::sync::Arc;

use kube::ResourceExt;

use super::progress::Progress;
use crate::api::Order;

/// The Order to follow: of those that the request owns the one that has come farthest, else the one that has the name
/// which ours would have, whoever owns that.
///
/// Orders that cert-manager has made have names of its own scheme. They cost the CA something, so they are gone on with.
pub fn order_of(of_fixed_name: Option<Arc<Order>>, owned: Vec<Arc<Order>>) -> Option<Arc<Order>> {
    let progress = |order: &Order| match Progress::of(order) {
        Progress::Failed => 0,
        Progress::Open => 1,
        Progress::Valid => 2,
    };
    let is_of_fixed_name = |order: &Order| of_fixed_name.as_ref().is_some_and(|fixed| fixed.uid() == order.uid());
    let made = |order: &Order| order.creation_timestamp().map(|time| time.0);
    owned
        .into_iter()
        .max_by_key(|order| (progress(order), is_of_fixed_name(order), made(order), order.name_any()))
        .or(of_fixed_name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decide::testing::object;

    fn order(name: &str, state: &str) -> Arc<Order> {
        let metadata = json!({ "name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z" });
        Arc::new(object(json!({ "metadata": metadata, "spec": {}, "status": { "state": state } })))
    }

    fn chosen(fixed: Option<&Arc<Order>>, owned: &[&Arc<Order>]) -> Option<String> {
        let owned = owned.iter().copied().cloned().collect();
        order_of(fixed.cloned(), owned).map(|order| order.name_any())
    }

    #[test]
    fn an_order_of_another_name_is_gone_on_with() {
        let (theirs, stranger) = (order("web-1-4042", "pending"), order("web-1-7", "pending"));
        assert_eq!(chosen(None, &[&theirs]).unwrap(), "web-1-4042");
        assert_eq!(chosen(Some(&stranger), &[&theirs]).unwrap(), "web-1-4042");
        assert_eq!(chosen(Some(&stranger), &[]).unwrap(), "web-1-7", "it is told of");
        assert_eq!(chosen(None, &[]), None);
    }

    #[test]
    fn the_one_that_has_come_farthest_counts() {
        let (ours, failed) = (order("ours", "pending"), order("failed", "errored"));
        let (valid, other) = (order("valid", "valid"), order("z-open", "ready"));
        assert_eq!(chosen(Some(&ours), &[&failed, &valid, &ours]).unwrap(), "valid");
        assert_eq!(chosen(Some(&ours), &[&failed, &ours, &other]).unwrap(), "ours");
        assert_eq!(chosen(None, &[&failed]).unwrap(), "failed");
    }
}
