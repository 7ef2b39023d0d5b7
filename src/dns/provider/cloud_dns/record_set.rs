//! TXT record sets as Google Cloud DNS has them, and what makes one into another.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dns::name::shown;
use crate::dns::provider::quoting::{quoted, unquoted};
use crate::dns::provider::{Action, Change, ProviderError};

/// All records of one name and type.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecordSet {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// Time to live, in seconds.
    #[serde(default)]
    pub(super) ttl: u32,
    /// As in a zone file (RFC 1035 section 5): each value in quotes.
    #[serde(default)]
    pub(super) rrdatas: Vec<String>,
    /// The set has other values depending on who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) routing_policy: Option<Value>,
}

/// What goes into one change: sets that are taken away, exactly as they are, and those that come in their place.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Step {
    pub(super) deletions: Vec<RecordSet>,
    pub(super) additions: Vec<RecordSet>,
}

impl Step {
    pub(super) fn is_empty(&self) -> bool {
        self.deletions.is_empty() && self.additions.is_empty()
    }

    pub(super) fn and(mut self, other: Self) -> Self {
        self.deletions.extend(other.deletions);
        self.additions.extend(other.additions);
        self
    }
}

/// The step that makes the changes, all at one name, to the set that is there now. Values of others stay, and so does the time
/// to live that somebody chose before.
///
/// # Errors
///
/// A set that depends on who asks.
pub(super) fn step(held: Option<RecordSet>, changes: &[Change]) -> Result<Step, ProviderError> {
    let Some(first) = changes.first() else { return Ok(Step::default()) };
    if held.as_ref().is_some_and(|held| held.routing_policy.is_some()) {
        let name = shown(&first.record.name);
        let message = format!("the TXT records of {name} have a routing policy, so no value can be added or removed");
        return Err(ProviderError::Refused { message, source: None });
    }
    let before = held.as_ref().map(|held| held.rrdatas.clone()).unwrap_or_default();
    let mut after = before.clone();
    for change in changes {
        let is_it = |data: &String| unquoted(data) == change.record.value;
        match change.action {
            Action::Add if after.iter().any(is_it) => {}
            Action::Add => after.push(quoted(&change.record.value)),
            Action::Remove => after.retain(|data| !is_it(data)),
        }
    }
    if after == before {
        return Ok(Step::default());
    }
    let addition = (!after.is_empty()).then(|| RecordSet {
        name: first.record.name.clone(),
        kind: "TXT".to_owned(),
        ttl: held.as_ref().map_or(first.record.ttl, |held| held.ttl),
        rrdatas: after,
        routing_policy: None,
    });
    Ok(Step { deletions: held.into_iter().collect(), additions: addition.into_iter().collect() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dns::provider::testing::change;

    const NAME: &str = "_acme-challenge.a.test.";

    fn set(ttl: u32, values: &[&str]) -> RecordSet {
        let rrdatas = values.iter().map(|value| format!("\"{value}\"")).collect();
        RecordSet { name: NAME.to_owned(), kind: "TXT".to_owned(), ttl, rrdatas, routing_policy: None }
    }

    fn after(held: Option<RecordSet>, changes: &[(Action, &str)]) -> Step {
        let changes: Vec<Change> = changes.iter().map(|(action, value)| change(*action, NAME, value)).collect();
        step(held, &changes).unwrap()
    }

    #[test]
    fn values_come_and_go_one_by_one() {
        let nothing = Step::default();
        let step = |deletions: &[RecordSet], additions: &[RecordSet]| Step {
            deletions: deletions.to_vec(),
            additions: additions.to_vec(),
        };
        let (alone, both) = (set(60, &["x"]), set(300, &["foreign", "x"]));
        assert_eq!(after(None, &[(Action::Add, "x")]), step(&[], std::slice::from_ref(&alone)));
        assert_eq!(after(Some(alone.clone()), &[(Action::Add, "x")]), nothing);
        assert_eq!(after(Some(alone.clone()), &[(Action::Remove, "x")]), step(&[alone], &[]));
        assert_eq!(after(None, &[(Action::Remove, "x")]), nothing);
        let foreign = set(300, &["foreign"]);
        assert_eq!(after(Some(foreign.clone()), &[(Action::Remove, "x")]), nothing);
        assert_eq!(
            after(Some(foreign.clone()), &[(Action::Add, "x")]),
            step(std::slice::from_ref(&foreign), std::slice::from_ref(&both))
        );
        assert_eq!(after(Some(both.clone()), &[(Action::Remove, "x")]), step(&[both], &[foreign]));
        assert_eq!(after(None, &[(Action::Add, "x"), (Action::Add, "y")]), step(&[], &[set(60, &["x", "y"])]));
    }

    #[test]
    fn a_routing_policy_is_left_alone() {
        let policy = Some(serde_json::json!({ "wrr": {} }));
        let held = RecordSet { routing_policy: policy, ..set(60, &[]) };
        let error = step(Some(held), &[change(Action::Add, NAME, "x")]).unwrap_err();
        assert!(matches!(error, ProviderError::Refused { .. }), "{error}");
    }
}
