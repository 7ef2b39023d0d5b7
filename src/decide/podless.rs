//! Whether HTTP-01 challenges are answered by pods or by the controller itself: a flag says so, and an annotation of the issuer
//! goes before it.

use std::collections::BTreeMap;

use crate::api::names::{annotation, http01_solver};

/// Who answers HTTP-01 challenges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answerer {
    /// A pod for each, as with cert-manager.
    #[default]
    Pod,
    /// The controller, all of them.
    Controller,
}

/// What the operator chose and what the controller is able to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Podless {
    pub default: Answerer,
    /// Whether the controller knows the address at which it can be reached.
    pub is_able: bool,
}

impl Podless {
    /// Who answers for an issuer with this annotation. What cannot be followed is as if it were not there.
    pub fn answerer(self, value: Option<&str>) -> Answerer {
        let wish = value.and_then(read).unwrap_or(self.default);
        if self.is_able { wish } else { Answerer::Pod }
    }

    /// What is wrong with the annotation, in one sentence for the issuer's owner.
    pub fn problem(self, value: Option<&str>) -> Option<String> {
        let problem = match (value, value.and_then(read)) {
            (None, _) | (_, Some(Answerer::Pod)) => return None,
            (Some(_), Some(Answerer::Controller)) if self.is_able => return None,
            (Some(_), Some(Answerer::Controller)) => {
                "the controller does not know its own address ($POD_IP), so pods answer".to_owned()
            }
            (Some(other), None) => {
                let shortened: String = other.chars().take(20).collect();
                format!("{shortened:?} is neither {:?} nor {:?}", http01_solver::POD, http01_solver::CONTROLLER)
            }
        };
        Some(format!("the annotation {} is passed over: {problem}", annotation::HTTP01_SOLVER))
    }
}

/// The annotations of a Challenge that is answered so; none if a pod does.
pub fn mark(answerer: Answerer) -> Option<BTreeMap<String, String>> {
    (answerer == Answerer::Controller)
        .then(|| BTreeMap::from([(annotation::HTTP01_SOLVER.to_owned(), http01_solver::CONTROLLER.to_owned())]))
}

fn read(value: &str) -> Option<Answerer> {
    match value.trim() {
        http01_solver::POD => Some(Answerer::Pod),
        http01_solver::CONTROLLER => Some(Answerer::Controller),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_annotation_goes_before_the_flag() {
        for (default, value, expected) in [
            (Answerer::Pod, None, Answerer::Pod),
            (Answerer::Pod, Some("controller"), Answerer::Controller),
            (Answerer::Controller, None, Answerer::Controller),
            (Answerer::Controller, Some(" pod "), Answerer::Pod),
            (Answerer::Controller, Some("me"), Answerer::Controller),
        ] {
            assert_eq!(Podless { default, is_able: true }.answerer(value), expected, "{default:?} {value:?}");
            assert_eq!(Podless { default, is_able: false }.answerer(value), Answerer::Pod, "{default:?} {value:?}");
        }
    }

    #[test]
    fn what_cannot_be_followed_is_told() {
        let told =
            |is_able, value| Podless { default: Answerer::Pod, is_able }.problem(Some(value)).unwrap_or_default();
        assert_eq!(told(true, "controller"), "");
        assert_eq!(told(false, "pod"), "");
        assert!(told(false, "controller").contains("$POD_IP"));
        assert!(told(true, "nobody").ends_with("\"nobody\" is neither \"pod\" nor \"controller\""));
    }
}
