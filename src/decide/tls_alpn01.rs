//! Which solvers answer by TLS-ALPN-01 (RFC 8737), which cert-manager's API does not know: an annotation of the issuer
//! says so, and an annotation of the Challenge keeps it.

use std::collections::BTreeMap;

use crate::api::{
    Challenge,
    names::{annotation, challenge_type},
    solver::AcmeSolver,
};

/// The value of [`annotation::TLS_ALPN_01`], read against the solvers of the same issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsAlpn {
    /// Places of the solvers in `spec.acme.solvers`, counted from 0.
    solvers: Vec<usize>,
    /// What could not be followed, in one sentence for the issuer's owner.
    problem: Option<String>,
}

impl TlsAlpn {
    /// `true` means every solver that can, `false` none, and anything else is a list of places such as `0,2`. What cannot
    /// be followed is left out, as if it were not there.
    pub fn read(value: Option<&str>, solvers: &[AcmeSolver]) -> Self {
        match value.map(str::trim) {
            None | Some("" | "false") => Self::default(),
            Some("true") => Self::every(solvers),
            Some(list) => Self::listed(list, solvers),
        }
    }

    /// Whether the solver at this place answers so.
    pub fn is_for(&self, place: usize) -> bool {
        self.solvers.contains(&place)
    }

    /// What is wrong with the annotation, in one sentence.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    fn every(solvers: &[AcmeSolver]) -> Self {
        let solvers: Vec<_> = (0..solvers.len()).filter(|place| is_able(&solvers[*place])).collect();
        let problem = solvers.is_empty().then(|| told("no solver has http01.gatewayHTTPRoute with parentRefs"));
        Self { solvers, problem }
    }

    fn listed(list: &str, solvers: &[AcmeSolver]) -> Self {
        let mut read = Self::default();
        for item in list.split(',').map(str::trim) {
            let place = item.parse().ok().filter(|place| *place < solvers.len());
            let problem = match place {
                Some(place) if is_able(&solvers[place]) => {
                    read.solvers.push(place);
                    continue;
                }
                Some(place) => format!("solver {place} has no http01.gatewayHTTPRoute with parentRefs"),
                None => format!("{:?} is no place in spec.acme.solvers, counted from 0", shortened(item)),
            };
            // The first is told; when it is corrected the next comes up.
            read.problem.get_or_insert_with(|| told(&problem));
        }
        read
    }
}

/// How the Challenge is answered, in words for its owner.
pub fn type_told(challenge: &Challenge) -> &str {
    if challenge.is_tls_alpn01() { "TLS-ALPN-01" } else { &challenge.spec.type_ }
}

/// The annotations of a Challenge that is to be answered so.
pub fn mark() -> BTreeMap<String, String> {
    BTreeMap::from([(annotation::CHALLENGE_TYPE.to_owned(), challenge_type::ACME_TLS_ALPN01.to_owned())])
}

/// The route that leads to a solver needs a Gateway.
fn is_able(solver: &AcmeSolver) -> bool {
    let gateway = solver.http01.as_ref().and_then(|http01| http01.gateway_http_route.as_ref());
    gateway.is_some_and(|gateway| !gateway.parent_refs.is_empty())
}

fn told(what: &str) -> String {
    format!("the annotation {} is passed over in part: {what}", annotation::TLS_ALPN_01)
}

fn shortened(item: &str) -> String {
    item.chars().take(20).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::ChallengeSpec;

    fn solvers() -> Vec<AcmeSolver> {
        let gateway = json!({"http01": {"gatewayHTTPRoute": {"parentRefs": [{"name": "edge"}]}}});
        let orphan = json!({"http01": {"gatewayHTTPRoute": {}}});
        let list = json!([{"http01": {"ingress": {}}}, gateway, orphan, {"dns01": {"digitalocean": {}}}, gateway]);
        serde_json::from_value(list).unwrap()
    }

    fn read(value: &str) -> (Vec<usize>, Option<String>) {
        let read = TlsAlpn::read(Some(value), &solvers());
        let places = (0..=solvers().len()).filter(|place| read.is_for(*place)).collect();
        (places, read.problem().map(str::to_owned))
    }

    #[test]
    fn every_solver_that_can_or_those_listed() {
        assert_eq!(TlsAlpn::read(None, &solvers()), TlsAlpn::default());
        for (value, places) in
            [("true", &[1, 4][..]), (" true ", &[1, 4]), ("false", &[]), ("", &[]), ("1", &[1]), ("4, 1", &[1, 4])]
        {
            assert_eq!(read(value), (places.to_vec(), None), "{value:?}");
        }
    }

    #[test]
    fn what_cannot_be_followed_is_told_and_left_out() {
        for (value, places, part) in [
            ("0,1", &[1][..], "solver 0 has no http01.gatewayHTTPRoute with parentRefs"),
            ("2", &[], "solver 2 has no"),
            ("1,3", &[1], "solver 3 has no"),
            ("5", &[], "\"5\" is no place in spec.acme.solvers"),
            ("yes", &[], "\"yes\" is no place"),
            ("-1,4", &[4], "\"-1\" is no place"),
            ("1,,4", &[1, 4], "\"\" is no place"),
        ] {
            let (found, problem) = read(value);
            assert_eq!(found, places, "{value:?}");
            let problem = problem.unwrap();
            assert!(
                problem.starts_with("the annotation certwright.dev/tls-alpn-01 is passed over in part: "),
                "{problem}"
            );
            assert!(problem.contains(part), "{problem}");
        }
        let (_, long) = read(&"x".repeat(100_000));
        assert!(long.unwrap().len() < 200);
        assert!(TlsAlpn::read(Some("true"), &solvers()[..1]).problem().unwrap().contains("no solver has"));
    }

    #[test]
    fn the_mark_is_found_again() {
        let spec = ChallengeSpec { type_: challenge_type::HTTP01.into(), ..ChallengeSpec::default() };
        let mut challenge = Challenge::new("c", spec);
        assert!(!challenge.is_tls_alpn01());
        assert_eq!(type_told(&challenge), "HTTP-01");
        challenge.metadata.annotations = Some(mark());
        assert!(challenge.is_tls_alpn01());
        assert_eq!(type_told(&challenge), "TLS-ALPN-01");
        challenge.metadata.annotations.as_mut().unwrap().insert(annotation::CHALLENGE_TYPE.into(), "http-01".into());
        assert!(!challenge.is_tls_alpn01());
    }
}
