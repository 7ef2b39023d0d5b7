//! Status conditions, shared by all kinds that have them.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lenient;

/// What the controllers found out about one aspect of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct Condition {
    /// The aspect that this condition is about. There is at most one condition of each type.
    #[serde(rename = "type")]
    pub type_: String,
    /// Whether the aspect holds: True, False or Unknown.
    #[schemars(extend("enum" = ["True", "False", "Unknown"]))]
    pub status: String,
    /// One word for programs that tells why the condition has its status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same for people: what was found, and what happens next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the status last changed. A new reason or message alone does not move this time.
    #[serde(deserialize_with = "lenient::or_none", skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// The metadata.generation that the condition was computed from. A lower number than the current one means that
    /// the condition does not yet speak of the newest spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

impl Condition {
    pub fn is_true(&self) -> bool {
        self.status == "True"
    }

    pub fn is_false(&self) -> bool {
        self.status == "False"
    }
}

/// The condition of that type, if there is one.
pub fn find_condition<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == type_)
}

/// Adds `new` or puts it in the place of the condition of the same type.
///
/// The transition time that `new` brings is ignored: it becomes `now` for a new condition or a changed status and stays
/// what it was otherwise, so setting an equal condition again changes nothing.
pub fn set_condition(conditions: &mut Vec<Condition>, new: Condition, now: Timestamp) {
    match conditions.iter_mut().find(|c| c.type_ == new.type_) {
        Some(old) if old.status == new.status => {
            let last_transition_time = old.last_transition_time.take().or(Some(Time(now)));
            *old = Condition { last_transition_time, ..new };
        }
        Some(old) => *old = Condition { last_transition_time: Some(Time(now)), ..new },
        None => conditions.push(Condition { last_transition_time: Some(Time(now)), ..new }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ready(status: &str, message: &str) -> Condition {
        Condition {
            type_: "Ready".into(),
            status: status.into(),
            message: Some(message.into()),
            ..Condition::default()
        }
    }

    #[test]
    fn transition_time_moves_only_with_the_status() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let time = |conditions: &[Condition]| find_condition(conditions, "Ready").unwrap().last_transition_time.clone();
        let mut conditions = vec![Condition { type_: "Issuing".into(), ..Condition::default() }];

        set_condition(&mut conditions, ready("False", "a"), at(1));
        assert_eq!(time(&conditions), Some(Time(at(1))));
        set_condition(&mut conditions, Condition { observed_generation: Some(7), ..ready("False", "b") }, at(2));
        assert_eq!(time(&conditions), Some(Time(at(1))));
        set_condition(&mut conditions, ready("True", "b"), at(3));
        assert_eq!(time(&conditions), Some(Time(at(3))));

        let found = find_condition(&conditions, "Ready").unwrap();
        assert!(found.is_true() && !found.is_false());
        assert_eq!((found.message.as_deref(), found.observed_generation), (Some("b"), None));
        assert_eq!(conditions.len(), 2);
        assert_eq!(find_condition(&conditions, "Approved"), None);
    }
}
