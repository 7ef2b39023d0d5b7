//! What the state of a solver's Pod means for the Challenge.

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::SOLVER_PORT;
use super::pod::CONTAINER;

/// The parts of the sentences that hold for every Pod that does not start.
const LOOK: &str = "kubectl describe pod tells more";

/// Where the Pod can be asked, once it has an address.
pub fn pod_address(pod: &Pod) -> Option<SocketAddr> {
    let address: IpAddr = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    Some(SocketAddr::new(address, SOLVER_PORT))
}

/// Whether the Pod will never answer again: it is to be replaced. It was evicted or preempted, its container stopped for good, or
/// somebody deletes it, who may wait for a node that is not there any more.
pub fn pod_is_spent(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_some() || matches!(phase, Some("Failed" | "Succeeded"))
}

/// Why the Pod does not start, and what helps; `None` if it only takes its time. What the kubelet and the scheduler say besides
/// changes from try to try.
pub fn pod_hindrance(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let mut conditions = status.conditions.iter().flatten();
    if conditions.any(|one| one.type_ == "PodScheduled" && one.reason.as_deref() == Some("Unschedulable")) {
        return Some(format!(
            "no node takes the solver pod (Unschedulable): free room, or correct nodeSelector, affinity and tolerations in \
             podTemplate of the solver; {LOOK}"
        ));
    }
    // What others have put into the Pod may wait without keeping the solver from answering.
    status
        .container_statuses
        .iter()
        .flatten()
        .filter(|container| container.name == CONTAINER)
        .find_map(container_hindrance)
}

fn container_hindrance(container: &ContainerStatus) -> Option<String> {
    let reason = container.state.as_ref()?.waiting.as_ref()?.reason.as_deref()?;
    match reason {
        // Each try to pull it goes through both.
        "ErrImagePull" | "ImagePullBackOff" => Some(format!(
            "the image {:?} of the solver pod cannot be pulled: look at --acme-http01-solver-image and podTemplate.spec.\
             imagePullSecrets of the solver; {LOOK}",
            container.image
        )),
        "ErrImageNeverPull" => Some(format!(
            "the image {:?} of the solver pod is not on its node, and --acme-http01-solver-image-pull-policy keeps it from being \
             pulled",
            container.image
        )),
        "InvalidImageName" => {
            Some(format!("{:?} is no name of an image: correct --acme-http01-solver-image", container.image))
        }
        "CrashLoopBackOff" => {
            Some("the container of the solver pod ends again and again; its log tells why".to_owned())
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => Some(format!(
            "the container of the solver pod cannot be started ({reason}): look at securityContext in podTemplate of the solver \
             and --acme-http01-solver-run-as-non-root; {LOOK}"
        )),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: &Value) -> Pod {
        serde_json::from_value(json!({"metadata": {}, "status": status})).unwrap()
    }

    #[test]
    fn the_state_of_the_pod_is_read() {
        let running = pod(&json!({"phase": "Running", "podIP": "2001:db8::9"}));
        assert_eq!(pod_address(&running), "[2001:db8::9]:8089".parse().ok());
        assert!(!pod_is_spent(&running));
        for (phase, spent) in [("Pending", false), ("Failed", true), ("Succeeded", true), ("Unknown", false)] {
            let pod = pod(&json!({"phase": phase}));
            assert_eq!((pod_is_spent(&pod), pod_address(&pod)), (spent, None), "{phase}");
        }
    }

    #[test]
    fn a_pod_that_somebody_deletes_is_spent() {
        let mut leaving = pod(&json!({"phase": "Running", "podIP": "10.0.0.7"}));
        leaving.metadata = serde_json::from_value(json!({"deletionTimestamp": "2026-03-01T12:00:00Z"})).unwrap();
        assert!(pod_is_spent(&leaving));
    }

    #[test]
    fn a_pod_that_does_not_start_says_what_helps() {
        let waiting_as = |name: &str, reason: &str| {
            let state = json!({"waiting": {"reason": reason, "message": "Back-off 40s"}});
            let container = json!({
                "name": name, "image": "registry.example/solver:1", "imageID": "", "ready": false, "restartCount": 3,
                "state": state,
            });
            pod_hindrance(&pod(&json!({"phase": "Pending", "containerStatuses": [container]})))
        };
        let waiting = |reason: &str| waiting_as("acmesolver", reason);
        for (reason, advice) in [
            ("ErrImageNeverPull", "--acme-http01-solver-image-pull-policy"),
            ("InvalidImageName", "correct --acme-http01-solver-image"),
            ("CrashLoopBackOff", "its log"),
            ("CreateContainerConfigError", "--acme-http01-solver-run-as-non-root"),
        ] {
            assert!(waiting(reason).unwrap().contains(advice), "{reason}");
        }
        let pulled = waiting("ErrImagePull").unwrap();
        assert!(pulled.contains("\"registry.example/solver:1\"") && pulled.contains("imagePullSecrets"), "{pulled}");
        assert_eq!(waiting("ImagePullBackOff"), Some(pulled), "it changes between the two");
        assert_eq!(waiting("ContainerCreating"), None, "that is the usual way");
        assert_eq!(waiting_as("istio-proxy", "CrashLoopBackOff"), None, "that is not ours");
        let unschedulable = json!({"conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"},
        ]});
        let told = pod_hindrance(&pod(&unschedulable)).unwrap();
        assert!(told.contains("nodeSelector") && !told.contains("0/3"), "{told}");
        let scheduled = json!({"conditions": [{"type": "PodScheduled", "status": "True"}]});
        assert_eq!((pod_hindrance(&pod(&scheduled)), pod_hindrance(&Pod::default())), (None, None));
    }
}
