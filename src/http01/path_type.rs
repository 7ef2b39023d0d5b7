//! How an Ingress compares the path of a challenge.
//!
//! No type suits all ingress controllers: some know `Exact` only, some only their own way, and some refuse the path under one of
//! them. So a solver may choose, and when the API server refuses an Ingress the other type is tried.

use super::objects::{SolverOptions, ingress_solver};
use crate::api::Challenge;
use crate::api::names::{annotation, path_type};

/// See the module's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathType {
    Exact,
    Prefix,
    ImplementationSpecific,
}

impl PathType {
    /// What the solver's ingressTemplate says by annotation, else what the flags say.
    pub fn wanted(challenge: &Challenge, options: &SolverOptions) -> Self {
        let template =
            ingress_solver(challenge).and_then(|ingress| ingress.ingress_template.as_ref()?.metadata.as_ref());
        let wish = template.and_then(|metadata| metadata.annotations.get(annotation::HTTP01_PATH_TYPE));
        let default = if options.exact_path { Self::Exact } else { Self::ImplementationSpecific };
        wish.and_then(|wish| Self::read(wish)).unwrap_or(default)
    }

    /// What to try when an Ingress with this type is refused in these words; none if they are about something else.
    pub fn instead(self, refusal: &str) -> Option<Self> {
        let refusal = refusal.to_ascii_lowercase();
        let may_be_about_it = ["path", "admission webhook", "validatingadmissionpolicy"];
        let other = if self == Self::ImplementationSpecific { Self::Exact } else { Self::ImplementationSpecific };
        may_be_about_it.iter().any(|word| refusal.contains(word)).then_some(other)
    }

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => path_type::EXACT,
            Self::Prefix => path_type::PREFIX,
            Self::ImplementationSpecific => path_type::IMPLEMENTATION_SPECIFIC,
        }
    }

    fn read(text: &str) -> Option<Self> {
        let all = [Self::Exact, Self::Prefix, Self::ImplementationSpecific];
        all.into_iter().find(|known| known.as_str() == text.trim())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::objects::tests::challenge;
    use super::*;

    #[test]
    fn the_solver_goes_before_the_flag() {
        let exact = SolverOptions::default();
        let specific = SolverOptions { exact_path: false, ..SolverOptions::default() };
        for (wish, options, expected) in [
            (json!({}), &exact, PathType::Exact),
            (json!({}), &specific, PathType::ImplementationSpecific),
            (
                json!({"certwright.dev/http01-path-type": "ImplementationSpecific"}),
                &exact,
                PathType::ImplementationSpecific,
            ),
            (json!({"certwright.dev/http01-path-type": " Prefix "}), &exact, PathType::Prefix),
            (json!({"certwright.dev/http01-path-type": "exactly"}), &specific, PathType::ImplementationSpecific),
        ] {
            let template = json!({"metadata": {"annotations": wish}});
            let challenge = challenge("example.com", json!({"ingress": {"ingressTemplate": template}}));
            assert_eq!(PathType::wanted(&challenge, options), expected, "{wish}");
        }
        let gateway = challenge("example.com", json!({"gatewayHTTPRoute": {}}));
        assert_eq!(PathType::wanted(&gateway, &exact), PathType::Exact);
    }

    #[test]
    fn a_refusal_that_may_be_about_it_has_the_other_tried() {
        let nginx = "admission webhook \"validate.nginx.ingress.kubernetes.io\" denied the request: ingress contains invalid \
                     paths: path /.well-known/acme-challenge/t cannot be used with pathType Exact";
        let policy = "ingresses.networking.k8s.io \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no";
        assert_eq!(PathType::Exact.instead(nginx), Some(PathType::ImplementationSpecific));
        assert_eq!(PathType::ImplementationSpecific.instead(policy), Some(PathType::Exact));
        assert_eq!(PathType::Prefix.instead(policy), Some(PathType::ImplementationSpecific));
        assert_eq!(PathType::Exact.instead("ingresses \"a\" is forbidden: exceeded quota: small"), None);
        assert_eq!(PathType::Exact.instead("User \"certwright\" cannot create resource \"ingresses\""), None);
    }
}
