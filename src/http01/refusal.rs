//! Why a namespace does not admit a solver's Pod, and what helps.

use std::borrow::Cow;

/// What goes for all rules about Pods.
const WITHOUT_PODS: &str =
    "or let the controller answer without a pod (annotation certwright.dev/http01-solver: controller on the issuer)";

/// The API server's words without what changes from try to try, and what to do.
pub fn told(message: &str) -> String {
    let words = without_usage(message);
    match advice(message) {
        Some(advice) => format!("{words}; {advice}, {WITHOUT_PODS}"),
        None => words.into_owned(),
    }
}

/// The same for objects that are no Pods.
pub fn of_any(message: &str) -> String {
    let words = without_usage(message);
    let has = |part: &str| message.contains(part);
    let advice = if has("exceeded quota") {
        "free or raise the namespace's ResourceQuota"
    } else if has("because it is being terminated") {
        "the namespace is being deleted"
    } else if has("admission webhook") || has("ValidatingAdmissionPolicy") {
        "have that rule let certwright's objects pass"
    } else {
        return words.into_owned();
    };
    format!("{words}; {advice}")
}

/// The words are those of the admission plugins of Kubernetes, which have been the same for many years.
fn advice(message: &str) -> Option<&'static str> {
    let has = |part: &str| message.contains(part);
    if has("exceeded quota") {
        Some("free or raise the namespace's ResourceQuota")
    } else if has("failed quota") {
        Some("set what the ResourceQuota asks for in podTemplate.spec.resources of the solver")
    } else if has("violates PodSecurity") {
        Some("have podTemplate of the solver ask for less")
    } else if has("usage per Container") || has("usage per Pod") || has("limit to request ratio per") {
        Some(
            "set podTemplate.spec.resources of the solver or --acme-http01-solver-resource-* to what the namespace's \
             LimitRange allows",
        )
    } else {
        None
    }
}

/// How much of a quota is used at the moment changes all the time.
fn without_usage(message: &str) -> Cow<'_, str> {
    let Some((before, rest)) = message.split_once(", used: ") else { return message.into() };
    match rest.split_once(", limited: ") {
        Some((_, limit)) => format!("{before}, limited: {limit}").into(),
        None => before.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_is_told_with_what_helps() {
        for (message, words, advice) in [
            (
                "pods \"s\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=7, limited: pods=7",
                "pods \"s\" is forbidden: exceeded quota: small, requested: pods=1, limited: pods=7; ",
                "raise the namespace's ResourceQuota",
            ),
            (
                "pods \"s\" is forbidden: failed quota: small: must specify limits.ephemeral-storage for: acmesolver",
                "failed quota: small: must specify limits.ephemeral-storage",
                "podTemplate.spec.resources",
            ),
            (
                "pods \"s\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true",
                "runAsNonRoot != true; ",
                "ask for less",
            ),
            (
                "pods \"s\" is forbidden: maximum memory usage per Container is 32Mi, but limit is 64Mi",
                "but limit is 64Mi; ",
                "LimitRange",
            ),
        ] {
            let told = told(message);
            assert!(told.contains(words) && told.contains(advice), "{told}");
            assert!(told.ends_with(WITHOUT_PODS), "{told}");
        }
    }

    #[test]
    fn other_words_are_passed_on() {
        assert_eq!(told("admission webhook \"x\" denied the request"), "admission webhook \"x\" denied the request");
        assert_eq!(without_usage("a, used: b"), "a");
    }
}
