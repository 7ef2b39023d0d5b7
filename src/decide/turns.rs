//! Whose turn it is to answer for a name by TLS-ALPN-01.
//!
//! Over HTTP and DNS any number of answers for one name stand side by side. TLS connections to a name lead to one place
//! only, so Challenges for the same name take turns, in whichever namespaces they are.
//!
//! Whoever works on the Challenge gives out the turns. Where the work is divided, a Challenge of another share is seen when it has
//! begun; so that two do not begin at the same moment, the younger one leaves the elder a while to begin.

use std::{collections::HashMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use kube::{Resource, ResourceExt};

use super::{challenge::has_finalizer, later, progress::Progress};
use crate::api::Challenge;

/// Nobody keeps others waiting for longer, whatever became of it. A turn usually takes seconds.
pub(super) const LONGEST: SignedDuration = SignedDuration::from_mins(10);

/// So long after it was created a Challenge of another share goes first if it is the elder one. It begins sooner than that unless
/// something holds it up, and once it has begun it is seen.
const FOR_THE_ELDER: SignedDuration = SignedDuration::from_secs(30);

/// The name is somebody else's for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Namespace and name of the Challenge that answers.
    pub by: String,
    /// When its turn ends at the latest.
    pub until: Timestamp,
}

/// Another Challenge for the same name.
#[derive(Clone, Debug)]
pub struct Rival {
    pub challenge: Arc<Challenge>,
    /// When its solver pod was made, if there is one that is not going.
    pub pod_since: Option<Timestamp>,
    /// Whether it belongs to another share of the work, so that nothing is known of it but what can be seen.
    pub is_elsewhere: bool,
}

/// Who was given which name by this process. What a former one began is seen by the Challenges themselves and their pods.
#[derive(Debug, Default)]
pub struct Turns {
    given: HashMap<String, Given>,
}

#[derive(Debug)]
struct Given {
    uid: String,
    until: Timestamp,
}

impl Turns {
    /// Gives the Challenge its name, unless a rival has it for now.
    pub fn take(&mut self, challenge: &Challenge, rivals: &[Rival], now: Timestamp) -> Option<Taken> {
        self.given.retain(|_, given| given.until > now);
        let uid = challenge.meta().uid.as_deref().unwrap_or_default();
        let name = challenge.spec.dns_name.to_ascii_lowercase();
        let given = self.given.get(&name);
        let taken = rivals.iter().find_map(|Rival { challenge: rival, pod_since, is_elsewhere }| {
            let rival_uid = rival.meta().uid.as_deref().filter(|rival_uid| *rival_uid != uid)?;
            let given = given.filter(|given| given.uid == rival_uid && is_to_begin(rival));
            let began = presented_at(rival).or(*pod_since).map(|at| later(at, LONGEST));
            let is_elder = *is_elsewhere && is_to_begin(rival) && age(rival) < age(challenge);
            let elder = age(rival).0.filter(|_| is_elder).map(|created| later(created, FOR_THE_ELDER));
            let until = given.map(|given| given.until).or(began).or(elder)?;
            (until > now).then(|| Taken { by: full_name(rival), until })
        });
        if taken.is_none() && given.is_none_or(|given| given.uid != uid) {
            self.given.insert(name, Given { uid: uid.to_owned(), until: later(now, LONGEST) });
        }
        taken
    }
}

/// Smaller is older; no two are equal.
fn age(challenge: &Challenge) -> (Option<Timestamp>, &str) {
    let metadata = challenge.meta();
    (metadata.creation_timestamp.as_ref().map(|time| time.0), metadata.uid.as_deref().unwrap_or_default())
}

/// Whether it has its turn before it.
fn is_to_begin(challenge: &Challenge) -> bool {
    let status = challenge.status.as_ref();
    Progress::of_word(status.and_then(|status| status.state.as_deref())) == Progress::Open
        && challenge.meta().deletion_timestamp.is_none()
        && !status.is_some_and(|status| status.presented)
}

/// Since when it answers, if it does: from presenting until it has cleaned up.
fn presented_at(challenge: &Challenge) -> Option<Timestamp> {
    let status = challenge.status.as_ref().filter(|status| status.presented && has_finalizer(challenge))?;
    status.presented_at.as_ref().map(|at| at.0)
}

fn full_name(challenge: &Challenge) -> String {
    format!("{}/{}", challenge.namespace().unwrap_or_default(), challenge.name_any())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::decide::testing::{at, object};

    fn challenge(uid: &str, status: &Value) -> Challenge {
        object(json!({
            "metadata": {
                "name": format!("c-{uid}"), "namespace": "shop", "uid": uid,
                "finalizers": ["acme.cert-manager.io/finalizer"],
            },
            "spec": {"dnsName": "www.example.com", "type": "HTTP-01", "issuerRef": {"name": "le"}},
            "status": status,
        }))
    }

    fn open(uid: &str) -> Challenge {
        challenge(uid, &json!({}))
    }

    fn presented(uid: &str, state: &str) -> Challenge {
        challenge(uid, &json!({"presented": true, "presentedAt": at(0).to_string(), "state": state}))
    }

    fn taken_by(turns: &mut Turns, challenge: &Challenge, other: &Challenge, now: i64) -> Option<(String, Timestamp)> {
        let rivals = [challenge, other].map(|rival| Rival {
            challenge: Arc::new(rival.clone()),
            pod_since: None,
            is_elsewhere: false,
        });
        turns.take(challenge, &rivals, at(now)).map(|taken| (taken.by, taken.until))
    }

    #[test]
    fn who_comes_first_goes_first_and_keeps_its_turn() {
        let mut turns = Turns::default();
        assert_eq!(taken_by(&mut turns, &open("a"), &open("b"), 0), None);
        let by_a = Some(("shop/c-a".to_owned(), at(600)));
        assert_eq!(taken_by(&mut turns, &open("b"), &open("a"), 1), by_a);
        assert_eq!(taken_by(&mut turns, &open("a"), &open("b"), 2), None);
        // Presented, proven, not cleaned up.
        for state in ["pending", "valid"] {
            assert_eq!(taken_by(&mut turns, &open("b"), &presented("a", state), 3), by_a);
        }
        let mut clean = presented("a", "valid");
        clean.metadata.finalizers = None;
        assert_eq!(taken_by(&mut turns, &open("b"), &clean, 4), None);
        assert_eq!(taken_by(&mut turns, &open("a"), &open("b"), 5), Some(("shop/c-b".to_owned(), at(604))));
    }

    #[test]
    fn a_turn_ends_with_failure_deletion_or_time() {
        let over = [challenge("a", &json!({"state": "errored"})), {
            let mut going = open("a");
            going.metadata.deletion_timestamp = serde_json::from_value(json!(at(0).to_string())).ok();
            going
        }];
        for other in over {
            let mut turns = Turns::default();
            assert_eq!(taken_by(&mut turns, &open("a"), &open("b"), 0), None);
            assert_eq!(taken_by(&mut turns, &open("b"), &other, 1), None);
        }
        let mut turns = Turns::default();
        assert_eq!(taken_by(&mut turns, &open("a"), &open("b"), 0), None);
        assert!(taken_by(&mut turns, &open("b"), &open("a"), 599).is_some());
        assert_eq!(taken_by(&mut turns, &open("b"), &open("a"), 600), None);
    }

    #[test]
    fn after_a_restart_who_has_begun_keeps_its_turn() {
        let with_pod = Rival { challenge: Arc::new(open("a")), pod_since: Some(at(0)), is_elsewhere: false };
        let wait = Turns::default().take(&open("b"), &[with_pod], at(5));
        assert_eq!(wait, Some(Taken { by: "shop/c-a".into(), until: at(600) }));
        let by_a = Some(("shop/c-a".to_owned(), at(600)));
        assert_eq!(taken_by(&mut Turns::default(), &open("b"), &presented("a", "pending"), 5), by_a);
        assert_eq!(taken_by(&mut Turns::default(), &open("b"), &presented("a", "pending"), 600), None);
    }

    #[test]
    fn of_two_in_different_shares_the_elder_goes_first() {
        let created = |uid: &str, second| {
            let mut challenge = open(uid);
            challenge.metadata.creation_timestamp = serde_json::from_value(json!(at(second).to_string())).ok();
            challenge
        };
        let take = |challenge: &Challenge, other: &Challenge, now| {
            let rivals = [Rival { challenge: Arc::new(other.clone()), pod_since: None, is_elsewhere: true }];
            Turns::default().take(challenge, &rivals, at(now)).map(|taken| (taken.by, taken.until))
        };
        let by_b = Some(("shop/c-b".to_owned(), at(30)));
        assert_eq!(take(&created("b", 0), &created("a", 1), 2), None);
        assert_eq!(take(&created("a", 1), &created("b", 0), 2), by_b);
        assert_eq!(take(&created("a", 1), &created("b", 0), 30), None, "something holds it up");
        // Made in the same second.
        assert_eq!(take(&created("a", 0), &created("b", 0), 2), None);
        assert_eq!(take(&created("c", 0), &created("b", 0), 2), by_b);
        // It has begun, or its turn is over.
        let mut begun = presented("b", "pending");
        begun.metadata.creation_timestamp = created("b", 0).metadata.creation_timestamp;
        assert_eq!(take(&created("a", 1), &begun, 40), Some(("shop/c-b".to_owned(), at(600))));
        let mut over = challenge("b", &json!({"state": "errored"}));
        over.metadata.creation_timestamp = created("b", 0).metadata.creation_timestamp;
        assert_eq!(take(&created("a", 1), &over, 2), None);
    }

    #[test]
    fn memory_does_not_grow() {
        let mut turns = Turns::default();
        for number in 0..100 {
            let mut challenge = open(&number.to_string());
            challenge.spec.dns_name = format!("{number}.example.com");
            assert_eq!(turns.take(&challenge, &[], at(number * 60)), None);
        }
        assert!(turns.given.len() <= 10, "{}", turns.given.len());
    }
}
