//! Whom an issuer serves: by the terms in its annotations, and by where an object comes from. A ClusterIssuer's credentials are
//! of use to nobody who writes an Order or a Challenge himself.

mod origin;
mod pattern;
mod solver;
#[cfg(test)]
mod tests;

use kube::ResourceExt;

pub(super) use solver::plain;

pub use origin::{challenge_is_ours_to_end, has_lost_its_solver, of_challenge, of_order};

use self::pattern::{is_allowed_namespace, unmatched_name};
use crate::{
    api::{
        CertificateRequest, IssuerReference, Order,
        names::{KIND_CLUSTER_ISSUER, annotation},
    },
    pki::ParsedRequest,
};

/// What an issuer's annotations say.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    issuer: &'a IssuerReference,
    namespaces: Option<&'a str>,
    names: Option<&'a str>,
}

impl<'a> Terms<'a> {
    /// `annotation_of` is the value of the issuer's annotation of this name.
    pub fn of(issuer: &'a IssuerReference, annotation_of: impl Fn(&str) -> Option<&'a str>) -> Self {
        let namespaces = annotation_of(annotation::ALLOWED_NAMESPACES);
        let names = annotation_of(annotation::ALLOWED_NAMES);
        let terms = Self { issuer, namespaces, names };
        // An Issuer serves its own namespace, whatever it says.
        if terms.is_cluster_wide() { terms } else { Self { namespaces: None, ..terms } }
    }

    fn is_cluster_wide(&self) -> bool {
        self.issuer.is_ours() && self.issuer.kind_or_default() == KIND_CLUSTER_ISSUER
    }

    fn issuer(&self) -> String {
        format!("{} {:?}", self.issuer.kind_or_default(), self.issuer.name)
    }

    fn refusal_of_namespace(&self, namespace: &str) -> Option<String> {
        let is_refused = self.namespaces.is_some_and(|allowed| !is_allowed_namespace(allowed, namespace));
        is_refused.then(|| {
            let (issuer, annotation) = (self.issuer(), annotation::ALLOWED_NAMESPACES);
            format!(
                "{issuer} does not serve the namespace {namespace:?}: its annotation {annotation} does not allow it"
            )
        })
    }

    fn refusal_of_names<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Option<String> {
        let name = unmatched_name(self.names?, names)?;
        Some(self.refusal_of(&format!("the name {name:?}")))
    }

    fn refusal_of(&self, what: &str) -> String {
        format!(
            "{} does not certify {what}: its annotation {} does not allow it",
            self.issuer(),
            annotation::ALLOWED_NAMES
        )
    }
}

/// Why the issuer does not sign this request, in one sentence; `None` if its terms allow it.
pub fn of_request(terms: &Terms<'_>, request: &CertificateRequest) -> Option<String> {
    let namespace = request.namespace().unwrap_or_default();
    terms.refusal_of_namespace(&namespace).or_else(|| refusal_of_csr(terms, request))
}

fn refusal_of_csr(terms: &Terms<'_>, request: &CertificateRequest) -> Option<String> {
    terms.names?;
    // What cannot be read is refused for that, with a better reason than this could give.
    let parsed = ParsedRequest::from_pem(&request.spec.request.0).ok()?;
    if request.spec.is_ca || parsed.is_ca == Some(true) {
        return Some(terms.refusal_of("other CAs, which could certify any name"));
    }
    let names = &parsed.names;
    let others = [
        (!names.email_addresses.is_empty(), "e-mail addresses"),
        (!names.uris.is_empty(), "URIs"),
        (
            !names.other_names.is_empty() || parsed.has_unknown_names(),
            "names of other kinds than DNS names and IP addresses",
        ),
    ];
    if let Some((_, what)) = others.into_iter().find(|(is_there, _)| *is_there) {
        return Some(terms.refusal_of(what));
    }
    let addresses: Vec<String> = names.ip_addresses.iter().map(ToString::to_string).collect();
    let common_names = parsed.common_names();
    terms.refusal_of_names(names.dns_names.iter().chain(&addresses).chain(&common_names).map(String::as_str))
}

/// Every name that an Order asks for.
fn names_of(order: &Order) -> impl Iterator<Item = &str> {
    let spec = &order.spec;
    spec.dns_names.iter().chain(&spec.ip_addresses).chain(&spec.common_name).map(String::as_str)
}
