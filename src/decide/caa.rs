//! Whether an order is made although the domains' CAA records (RFC 8659) forbid the CA to issue for them.

use jiff::{SignedDuration, Timestamp};

use super::{Note, later};
use crate::api::names::{annotation as names, event};

/// When records that forbid it are looked up again.
const NEXT_LOOK: SignedDuration = SignedDuration::from_mins(5);

/// What an issuer's annotation [`names::CAA`] asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum CaaPolicy {
    /// The records are not looked up: the CA does it anyway.
    #[default]
    Off,
    /// Nothing is ordered as long as they forbid it.
    Refuse,
    /// An event tells of it.
    Warn,
}

impl CaaPolicy {
    /// # Errors
    /// In words for people, when the annotation says something else; it is passed over then.
    fn of(annotation: Option<&str>) -> Result<Self, String> {
        match annotation {
            None | Some("off") => Ok(Self::Off),
            Some("refuse") => Ok(Self::Refuse),
            Some("warn") => Ok(Self::Warn),
            Some(other) => {
                Err(format!("the annotation {} is ignored, because {other:?} is not off, warn or refuse", names::CAA))
            }
        }
    }
}

/// What is wrong with an issuer's annotation, in one sentence.
pub fn problem(annotation: Option<&str>) -> Option<String> {
    CaaPolicy::of(annotation).err()
}

/// What the look-ups found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaaFindings {
    pub at: Timestamp,
    /// Why some of the domains forbid it, each in one sentence.
    pub objections: Vec<String>,
    /// What could not be looked up. The CA asks from elsewhere, so this hinders nothing.
    pub failures: Vec<String>,
}

/// What is to be done before an order is made.
#[derive(Clone, Debug, PartialEq)]
pub enum BeforeOrder {
    LookUp,
    /// Make it, and tell this.
    Order(Option<Note>),
    Wait {
        until: Timestamp,
        reason: String,
    },
}

/// See the module's description; `annotation` is the issuer's.
pub fn before_order(annotation: Option<&str>, findings: Option<&CaaFindings>, now: Timestamp) -> BeforeOrder {
    let policy = match CaaPolicy::of(annotation) {
        Ok(policy) => policy,
        Err(text) => return BeforeOrder::Order(Some(Note::warning(event::CAA, text))),
    };
    let findings = match (policy, findings) {
        (CaaPolicy::Off, _) => return BeforeOrder::Order(None),
        (_, None) => return BeforeOrder::LookUp,
        (_, Some(findings)) => findings,
    };
    let until = later(findings.at, NEXT_LOOK);
    match (policy, findings.objections.is_empty()) {
        (CaaPolicy::Refuse, false) if now >= until => BeforeOrder::LookUp,
        (CaaPolicy::Refuse, false) => {
            let reason =
                format!("Nothing was ordered: {}; looked up again after 5 min", findings.objections.join("; "));
            BeforeOrder::Wait { until, reason }
        }
        _ => {
            let told: Vec<_> = findings.objections.iter().chain(&findings.failures).cloned().collect();
            BeforeOrder::Order((!told.is_empty()).then(|| Note::warning(event::CAA, told.join("; "))))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::decide::testing::{at, now};

    fn findings(objections: &[&str], failures: &[&str]) -> CaaFindings {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        CaaFindings { at: now(), objections: owned(objections), failures: owned(failures) }
    }

    #[test]
    fn the_annotation() {
        let of = |value| CaaPolicy::of(Some(value));
        assert_eq!(CaaPolicy::of(None), Ok(CaaPolicy::Off));
        assert_eq!(
            ["off", "warn", "refuse"].map(|value| of(value).unwrap()),
            [CaaPolicy::Off, CaaPolicy::Warn, CaaPolicy::Refuse]
        );
        let told = before_order(Some("no"), None, now());
        assert!(matches!(told, BeforeOrder::Order(Some(note)) if note.text.contains("\"no\" is not off")));
        assert!(of("Refuse!").unwrap_err().contains("is not off, warn or refuse"));
    }

    #[test]
    fn what_is_forbidden_is_waited_for_or_told_of() {
        let forbidden = findings(&["the CAA records of a.org allow nobody"], &[]);
        assert_eq!(before_order(None, None, now()), BeforeOrder::Order(None));
        for policy in [Some("warn"), Some("refuse")] {
            assert_eq!(before_order(policy, None, now()), BeforeOrder::LookUp);
            assert_eq!(before_order(policy, Some(&findings(&[], &[])), now()), BeforeOrder::Order(None));
            let unknown = before_order(policy, Some(&findings(&[], &["no answer"])), now());
            assert!(matches!(unknown, BeforeOrder::Order(Some(note)) if note.text == "no answer"));
        }
        let told = before_order(Some("warn"), Some(&forbidden), now());
        assert!(matches!(told, BeforeOrder::Order(Some(note)) if note.warning && note.text.contains("allow nobody")));
        assert_eq!(
            before_order(Some("refuse"), Some(&forbidden), at(299)),
            BeforeOrder::Wait {
                until: at(300),
                reason: "Nothing was ordered: the CAA records of a.org allow nobody; looked up again after 5 min"
                    .to_owned()
            }
        );
        assert_eq!(before_order(Some("refuse"), Some(&forbidden), at(300)), BeforeOrder::LookUp);
    }
}
