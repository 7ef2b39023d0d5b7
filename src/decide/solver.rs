//! Which solver answers an authorization.

use std::{collections::BTreeMap, fmt};

use super::tls_alpn01::TlsAlpn;
use crate::api::{Challenge, names::challenge_type, order::OrderAuthorization, solver::AcmeSolver};

/// The solver chosen for an authorization and the CA's challenge that it answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice<'a> {
    pub solver: &'a AcmeSolver,
    pub challenge_url: &'a str,
    pub token: &'a str,
    pub method: Method,
}

/// The challenge types that certwright answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Dns01,
    Http01,
    TlsAlpn01,
}

impl Method {
    /// As written in `Challenge.spec.type`. That has no word for TLS-ALPN-01; an annotation tells it apart.
    pub fn as_spec(self) -> &'static str {
        match self {
            Self::Dns01 => challenge_type::DNS01,
            Self::Http01 | Self::TlsAlpn01 => challenge_type::HTTP01,
        }
    }

    /// As written by ACME servers (RFC 8555 section 8).
    pub fn as_acme(self) -> &'static str {
        match self {
            Self::Dns01 => challenge_type::ACME_DNS01,
            Self::Http01 => challenge_type::ACME_HTTP01,
            Self::TlsAlpn01 => challenge_type::ACME_TLS_ALPN01,
        }
    }

    /// How a Challenge is to be answered; none if its type is not known.
    pub fn of(challenge: &Challenge) -> Option<Self> {
        match challenge.spec.type_.as_str() {
            challenge_type::DNS01 => Some(Self::Dns01),
            challenge_type::HTTP01 if challenge.is_tls_alpn01() => Some(Self::TlsAlpn01),
            challenge_type::HTTP01 => Some(Self::Http01),
            _ => None,
        }
    }
}

/// Why no solver fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSolver {
    domain: String,
    solvers: usize,
    offered: Vec<String>,
    /// The places of those that select the name and have neither `http01` nor `dns01`.
    unset: Vec<usize>,
}

impl NoSolver {
    fn of(solvers: &[AcmeSolver], domain: &str, labels: &BTreeMap<String, String>, offered: Vec<String>) -> Self {
        let selecting = solvers.iter().enumerate().filter(|(_, solver)| rank(solver, domain, labels).is_some());
        let unset = selecting.filter(|(_, solver)| method_of(solver).is_none()).map(|(place, _)| place).collect();
        Self { domain: domain.to_owned(), solvers: solvers.len(), offered, unset }
    }
}

impl fmt::Display for NoSolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, solvers, offered, unset } = self;
        if let Some(place) = unset.first() {
            return write!(
                f,
                "no solver for {domain:?}: spec.acme.solvers[{place}] selects this name and has neither http01 nor \
                 dns01; give it one of them"
            );
        }
        match (solvers, offered.is_empty()) {
            (0, _) => write!(f, "no solver for {domain:?}: the issuer has no solvers; add one under spec.acme.solvers"),
            (_, true) if domain.starts_with("*.") => write!(
                f,
                "no solver for {domain:?}: a wildcard is proven over DNS only, and none of the issuer's {solvers} \
                 solvers that select this name has dns01; add one"
            ),
            (_, true) => write!(
                f,
                "no solver for {domain:?}: none of the issuer's {solvers} solvers selects this name; add one or widen \
                 a selector"
            ),
            _ => write!(
                f,
                "no solver for {domain:?}: the CA offers {} for it, and none of the issuer's {solvers} solvers that \
                 select this name can answer that",
                offered.join(", ")
            ),
        }
    }
}

/// The best solver for one authorization: an exact name before the longest zone, before the most labels, before the
/// order in the issuer. A solver without a selector fits everything and comes last. One that answers by TLS-ALPN-01 does so
/// where the CA offers that, else by HTTP-01.
pub fn choose<'a>(
    solvers: &'a [AcmeSolver],
    tls_alpn: &TlsAlpn,
    authorization: &'a OrderAuthorization,
    labels: &BTreeMap<String, String>,
) -> Result<Choice<'a>, NoSolver> {
    let domain = domain_of(authorization);
    let ranked = |(place, solver)| Some((rank(solver, &domain, labels)?, tls_alpn.is_for(place), solver));
    let fitting = || solvers.iter().enumerate().filter_map(ranked);
    let mut best: Option<(Rank, Choice<'a>)> = None;
    for (rank, over_tls, solver) in fitting() {
        let over_tls = over_tls.then_some(Method::TlsAlpn01);
        let mut methods = over_tls.into_iter().chain(method_of(solver));
        let Some(choice) = methods.find_map(|method| answerable(solver, method, authorization)) else { continue };
        if best.as_ref().is_none_or(|(held, _)| rank > *held) {
            best = Some((rank, choice));
        }
    }
    best.map(|(_, choice)| choice).ok_or_else(|| {
        let offered = authorization.challenges.iter().map(|challenge| challenge.type_.clone());
        let offered = if fitting().next().is_some() { offered.collect() } else { Vec::new() };
        NoSolver::of(solvers, &domain, labels, offered)
    })
}

/// The first name that no solver's selector covers, before an order is spent on it.
pub fn first_uncovered(
    solvers: &[AcmeSolver],
    names: &[String],
    labels: &BTreeMap<String, String>,
) -> Option<NoSolver> {
    let uncovered = names.iter().find(|name| {
        !solvers.iter().any(|solver| {
            method_of(solver).is_some_and(|method| {
                // A wildcard can only be proven over DNS (RFC 8555 section 7.1.3, CA/Browser Forum).
                (method == Method::Dns01 || !name.starts_with("*.")) && rank(solver, name, labels).is_some()
            })
        })
    })?;
    Some(NoSolver::of(solvers, uncovered, labels, Vec::new()))
}

/// The name that an authorization is for, with `*.` for a wildcard.
pub fn domain_of(authorization: &OrderAuthorization) -> String {
    let identifier = authorization.identifier.as_deref().unwrap_or_default();
    if authorization.wildcard == Some(true) { format!("*.{identifier}") } else { identifier.to_owned() }
}

/// The challenge type that a solver answers; none if it is configured for neither.
pub fn method_of(solver: &AcmeSolver) -> Option<Method> {
    match (&solver.http01, &solver.dns01) {
        (Some(_), _) => Some(Method::Http01),
        (None, Some(_)) => Some(Method::Dns01),
        (None, None) => None,
    }
}

/// Exact name, labels in the zone, labels matched: compared in this order; the first of equals is kept.
type Rank = (bool, usize, usize);

fn rank(solver: &AcmeSolver, domain: &str, labels: &BTreeMap<String, String>) -> Option<Rank> {
    let Some(selector) = &solver.selector else { return Some((false, 0, 0)) };
    if !selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value)) {
        return None;
    }
    let exact = selector.dns_names.iter().any(|name| name == domain);
    let zone = selector.dns_zones.iter().filter(|zone| in_zone(domain, zone)).map(|zone| label_count(zone)).max();
    // As with cert-manager each list that is not empty has to have it.
    if !exact && !selector.dns_names.is_empty() || zone.is_none() && !selector.dns_zones.is_empty() {
        return None;
    }
    Some((exact, zone.unwrap_or_default(), selector.match_labels.len()))
}

/// Labels are compared, and the star of a wildcard is one: `*.example.com` as a zone has the wildcard alone.
fn in_zone(domain: &str, zone: &str) -> bool {
    let mut of_domain = domain.trim_end_matches('.').rsplit('.');
    let mut of_zone = zone.trim_end_matches('.').rsplit('.');
    of_zone.all(|label| of_domain.next().is_some_and(|own| own.eq_ignore_ascii_case(label)))
}

fn label_count(zone: &str) -> usize {
    zone.trim_end_matches('.').split('.').count()
}

fn answerable<'a>(solver: &'a AcmeSolver, method: Method, authorization: &'a OrderAuthorization) -> Option<Choice<'a>> {
    let challenge = authorization.challenges.iter().find(|challenge| challenge.type_ == method.as_acme())?;
    Some(Choice { solver, challenge_url: &challenge.url, token: &challenge.token, method })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn solvers(value: serde_json::Value) -> Vec<AcmeSolver> {
        serde_json::from_value(value).unwrap()
    }

    fn authorization(identifier: &str, wildcard: bool) -> OrderAuthorization {
        let challenges = if wildcard {
            json!([{"type": "dns-01", "url": "d", "token": "t"}])
        } else {
            json!([{"type": "http-01", "url": "h", "token": "t"}, {"type": "dns-01", "url": "d", "token": "t"}])
        };
        serde_json::from_value(
            json!({"url": "a", "identifier": identifier, "wildcard": wildcard, "challenges": challenges}),
        )
        .unwrap()
    }

    fn chosen(solvers: &[AcmeSolver], authorization: &OrderAuthorization, labels: &[(&str, &str)]) -> Option<usize> {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let choice = choose(solvers, &TlsAlpn::default(), authorization, &labels).ok()?;
        solvers.iter().position(|solver| std::ptr::eq(solver, choice.solver))
    }

    #[test]
    fn exact_name_then_longest_zone_then_labels_then_order() {
        let solvers = solvers(json!([
            {"http01": {"ingress": {}}},
            {"dns01": {"digitalocean": {}}, "selector": {"dnsZones": ["example.com"]}},
            {"dns01": {"digitalocean": {}}, "selector": {"dnsZones": ["sys.example.com"]}},
            {"http01": {"ingress": {}}, "selector": {"dnsNames": ["www.sys.example.com"]}},
            {"http01": {"ingress": {}}, "selector": {"matchLabels": {"use": "me"}}},
        ]));
        assert_eq!(chosen(&solvers, &authorization("other.org", false), &[]), Some(0));
        assert_eq!(chosen(&solvers, &authorization("a.example.com", false), &[]), Some(1));
        assert_eq!(chosen(&solvers, &authorization("example.com", false), &[]), Some(1));
        assert_eq!(chosen(&solvers, &authorization("notexample.com", false), &[]), Some(0));
        assert_eq!(chosen(&solvers, &authorization("a.sys.example.com", false), &[]), Some(2));
        assert_eq!(chosen(&solvers, &authorization("www.sys.example.com", false), &[]), Some(3));
        assert_eq!(chosen(&solvers, &authorization("other.org", false), &[("use", "me")]), Some(4));
        assert_eq!(chosen(&solvers, &authorization("sys.example.com", true), &[]), Some(2));
        assert_eq!(chosen(&solvers, &authorization("other.org", true), &[]), None);
    }

    #[test]
    fn a_selector_with_names_and_zones_wants_both() {
        let solvers = solvers(json!([
            {"http01": {"ingress": {}}},
            {"dns01": {"digitalocean": {}}, "selector": {"dnsNames": ["a.example.com"], "dnsZones": ["example.com"]}},
            {"dns01": {"digitalocean": {}}, "selector": {"dnsNames": ["b.example.org"], "dnsZones": ["example.com"]}},
        ]));
        assert_eq!(chosen(&solvers, &authorization("a.example.com", false), &[]), Some(1));
        assert_eq!(chosen(&solvers, &authorization("b.example.com", false), &[]), Some(0));
        assert_eq!(chosen(&solvers, &authorization("b.example.org", false), &[]), Some(0));
    }

    #[test]
    fn a_zone_is_compared_by_labels() {
        let first = |zone: &str, identifier: &str, wildcard: bool| {
            let solvers = solvers(json!([{"dns01": {"digitalocean": {}}, "selector": {"dnsZones": [zone]}}]));
            chosen(&solvers, &authorization(identifier, wildcard), &[]).is_some()
        };
        for (zone, identifier, wildcard) in [
            ("Example.com.", "www.example.com", false),
            ("example.com", "example.com", true),
            ("*.example.com", "example.com", true),
        ] {
            assert!(first(zone, identifier, wildcard), "{zone}");
        }
        for (zone, identifier, wildcard) in [
            ("*.example.com", "example.com", false),
            ("*.example.com", "www.example.com", false),
            ("www.example.com", "example.com", true),
            ("", "example.com", false),
            (".", "example.com", false),
        ] {
            assert!(!first(zone, identifier, wildcard), "{zone:?}");
        }
    }

    #[test]
    fn the_message_says_what_is_missing() {
        let refusal = |solvers: &[AcmeSolver], authorization: &OrderAuthorization| {
            choose(solvers, &TlsAlpn::default(), authorization, &BTreeMap::new()).unwrap_err().to_string()
        };
        let none = refusal(&[], &authorization("a.org", false));
        assert!(none.contains("the issuer has no solvers"), "{none}");
        let http = solvers(json!([{"http01": {"ingress": {}}}]));
        let wildcard = refusal(&http, &authorization("a.org", true));
        assert!(wildcard.contains("the CA offers dns-01"), "{wildcard}");
    }

    #[test]
    fn tls_alpn01_is_chosen_where_wished_and_offered() {
        let gateway = json!({"http01": {"gatewayHTTPRoute": {"parentRefs": [{"name": "edge"}]}}});
        let solvers = solvers(json!([gateway, {"dns01": {"digitalocean": {}}}]));
        let authorization = |offered: &[&str], wildcard: bool| -> OrderAuthorization {
            let challenge = |kind: &&str| json!({"type": kind, "url": kind, "token": "t"});
            let challenges: Vec<_> = offered.iter().map(challenge).collect();
            let value = json!({"url": "a", "identifier": "a.org", "wildcard": wildcard, "challenges": challenges});
            serde_json::from_value(value).unwrap()
        };
        let chosen = |wish: Option<&str>, offered: &[&str]| {
            let authorization = authorization(offered, offered == ["dns-01"]);
            let tls_alpn = TlsAlpn::read(wish, &solvers);
            let choice = choose(&solvers, &tls_alpn, &authorization, &BTreeMap::new()).unwrap();
            assert_eq!(choice.challenge_url, choice.method.as_acme());
            choice.method
        };
        let all = ["dns-01", "http-01", "tls-alpn-01"];
        assert_eq!(chosen(Some("true"), &all), Method::TlsAlpn01);
        assert_eq!(chosen(Some("0"), &all), Method::TlsAlpn01);
        assert_eq!(chosen(Some("true"), &all[..2]), Method::Http01);
        assert_eq!(chosen(Some("true"), &["dns-01"]), Method::Dns01);
        for without in [None, Some("false"), Some("1"), Some("7")] {
            assert_eq!(chosen(without, &all), Method::Http01, "{without:?}");
        }
    }

    #[test]
    fn uncovered_names_are_found_before_an_order_is_made() {
        let http = solvers(json!([{"http01": {"ingress": {}}, "selector": {"dnsZones": ["a.org"]}}]));
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let first =
            |list: &[&str]| first_uncovered(&http, &names(list), &BTreeMap::new()).map(|missing| missing.domain);
        assert_eq!(first(&["a.org", "www.a.org"]), None);
        assert_eq!(first(&["a.org", "b.org"]), Some("b.org".to_owned()));
        assert_eq!(first(&["*.a.org"]), Some("*.a.org".to_owned()));
        let told = |solvers: &[AcmeSolver], name: &str| {
            first_uncovered(solvers, &names(&[name]), &BTreeMap::new()).unwrap().to_string()
        };
        assert!(told(&http, "b.org").contains("none of the issuer's 1 solvers selects this name"));
        assert!(told(&http, "*.a.org").contains("a wildcard is proven over DNS only"));
        let unset = solvers(json!([{"http01": {"ingress": {}}, "selector": {"dnsZones": ["a.org"]}}, {}]));
        assert!(told(&unset, "b.org").contains("spec.acme.solvers[1] selects this name and has neither http01 nor"));
    }
}
