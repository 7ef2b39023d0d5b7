//! Whether HTTP-01 challenges are answered by pods or by the controller itself: a flag says so, and an annotation of the issuer
//! goes before it.

use std::{collections::BTreeMap, net::IpAddr};

use super::fixed_name;
use crate::api::{
    names::{annotation, http01_solver},
    solver::AcmeSolver,
};

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

/// Most names that one Ingress leads to the controller.
const MOST_IN_INGRESS: usize = 100;
/// Most hostnames of an HTTPRoute (Gateway API).
const MOST_IN_HTTP_ROUTE: usize = 16;

/// The annotations of a Challenge that is answered so; none if a pod does. `place` is where its name stands in the Order.
///
/// Names with the same solver share a route, as far as one takes them. A route for addresses has no hostname and so takes no names
/// of its Gateway's.
pub fn mark(answerer: Answerer, solver: &AcmeSolver, dns_name: &str, place: usize) -> Option<BTreeMap<String, String>> {
    if answerer != Answerer::Controller {
        return None;
    }
    let by_gateway = solver.http01.as_ref().is_some_and(|http01| http01.gateway_http_route.is_some());
    let part = place / if by_gateway { MOST_IN_HTTP_ROUTE } else { MOST_IN_INGRESS };
    let is_address = dns_name.parse::<IpAddr>().is_ok();
    let settings = serde_json::to_string(&(&solver.http01, is_address)).unwrap_or_default();
    let marks = [
        (annotation::HTTP01_SOLVER, http01_solver::CONTROLLER.to_owned()),
        (annotation::HTTP01_ROUTE, fixed_name::http01_route(&settings, part)),
    ];
    Some(marks.map(|(name, value)| (name.to_owned(), value)).into())
}

fn read(value: &str) -> Option<Answerer> {
    match value.trim() {
        http01_solver::POD => Some(Answerer::Pod),
        http01_solver::CONTROLLER => Some(Answerer::Controller),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn names_share_a_route_as_far_as_one_takes_them() {
        let route = |http01: Value, name: &str, place| {
            let solver = serde_json::from_value(json!({"http01": http01})).unwrap();
            mark(Answerer::Controller, &solver, name, place).unwrap()[annotation::HTTP01_ROUTE].clone()
        };
        let ingress = |name, place| route(json!({"ingress": {"class": "a"}}), name, place);
        assert_eq!(ingress("a.example.com", 0), ingress("b.example.com", 99));
        assert_ne!(ingress("a.example.com", 0), ingress("b.example.com", 100));
        assert_ne!(ingress("a.example.com", 0), ingress("192.0.2.1", 0));
        assert_ne!(ingress("a.example.com", 0), route(json!({"ingress": {"class": "b"}}), "a.example.com", 0));
        let gateway =
            |place| route(json!({"gatewayHTTPRoute": {"parentRefs": [{"name": "edge"}]}}), "a.example.com", place);
        assert_eq!(gateway(0), gateway(15));
        assert_ne!(gateway(0), gateway(16));
        assert_eq!(mark(Answerer::Pod, &AcmeSolver::default(), "a.example.com", 0), None);
    }

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
