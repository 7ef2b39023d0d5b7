//! Why a namespace does not admit a solver's Pod, and what helps.

use std::borrow::Cow;

/// What goes for all rules about Pods.
const WITHOUT_PODS: &str =
    "or let the controller answer without a pod (annotation certwright.dev/http01-solver: controller on the issuer)";

/// The API server's words without what changes from try to try, and what to do.
pub fn told(message: &str) -> String {
    let words = without_usage(message);
    match (advice_for_pods(message), advice(message)) {
        (None, None) => words.into_owned(),
        // Nothing else can be created there either.
        (None, Some(GOING)) => format!("{words}; {GOING}"),
        (Some(advice), _) | (None, Some(advice)) => format!("{words}; {advice}, {WITHOUT_PODS}"),
    }
}

/// The same for objects that are no Pods.
pub fn of_any(message: &str) -> String {
    let words = without_usage(message);
    advice(message).map_or_else(|| words.clone().into_owned(), |advice| format!("{words}; {advice}"))
}

/// Said of a namespace in which nothing can be created any more.
const GOING: &str = "the namespace is being deleted";

/// What helps, whichever kind of object is refused. The words are those of the admission plugins of Kubernetes, which have been the
/// same for many years.
fn advice(message: &str) -> Option<&'static str> {
    let has = |part: &str| message.contains(part);
    if has("exceeded quota") && has("services.nodeports") {
        Some("set serviceType: ClusterIP in the solver, or free or raise the namespace's ResourceQuota")
    } else if has("exceeded quota") {
        Some("free or raise the namespace's ResourceQuota")
    } else if has("because it is being terminated") {
        Some(GOING)
    } else if has("admission webhook") || has("ValidatingAdmissionPolicy") {
        Some("have that rule let certwright's objects pass")
    } else {
        None
    }
}

/// What helps against rules that are about Pods only.
fn advice_for_pods(message: &str) -> Option<&'static str> {
    let has = |part: &str| message.contains(part);
    if has("failed quota") {
        Some("set what the ResourceQuota asks for in podTemplate.spec.resources of the solver")
    } else if has("violates PodSecurity") {
        Some("have podTemplate of the solver ask for less")
    } else if has("usage per Container") || has("usage per Pod") || has("limit to request ratio per") {
        Some(
            "set podTemplate.spec.resources of the solver or --acme-http01-solver-resource-* to what the namespace's \
             LimitRange allows",
        )
    } else if has("must be less than or equal to") && has("limit") {
        Some(
            "set both requests and limits in podTemplate.spec.resources of the solver, so that no request is above its limit",
        )
    } else if has(".image: Required value") {
        Some(
            "set --acme-http01-solver-image or $CERTWRIGHT_IMAGE of the controller, for which the chart and deploy/ care",
        )
    } else if has("error looking up service account") {
        Some("create that ServiceAccount or correct podTemplate.spec.serviceAccountName of the solver")
    } else if has("no PriorityClass with name") {
        Some("create that PriorityClass or correct podTemplate.spec.priorityClassName of the solver")
    } else if has("RuntimeClass") {
        Some("create that RuntimeClass or correct --acme-http01-solver-runtime-class-name")
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
            (
                "pods \"s\" is forbidden: [minimum cpu usage per Container is 50m, but request is 10m, minimum memory usage per \
                 Container is 128Mi, but request is 64Mi]",
                "but request is 64Mi]; ",
                "LimitRange",
            ),
            (
                "pods \"s\" is forbidden: cpu max limit to request ratio per Container is 2, but provided ratio is 10.000000",
                "is 10.000000; ",
                "LimitRange",
            ),
            (
                "Pod \"s\" is invalid: spec.containers[0].resources.requests: Invalid value: \"64Mi\": must be less than or equal \
                 to memory limit of 32Mi",
                "limit of 32Mi; ",
                "set both requests and limits",
            ),
            (
                "pods \"s\" is forbidden: error looking up service account shop/solver: serviceaccount \"solver\" not found",
                "not found; ",
                "podTemplate.spec.serviceAccountName",
            ),
            (
                "pods \"s\" is forbidden: no PriorityClass with name high was found",
                "high was found; ",
                "podTemplate.spec.priorityClassName",
            ),
            (
                "pods \"s\" is forbidden: pod rejected: RuntimeClass \"gvisor\" not found",
                "not found; ",
                "--acme-http01-solver-runtime-class-name",
            ),
            (
                "Pod \"s\" is invalid: spec.containers[0].image: Required value",
                "Required value; ",
                "--acme-http01-solver-image or $CERTWRIGHT_IMAGE",
            ),
            ("admission webhook \"x\" denied the request: no", "the request: no; ", "have that rule let"),
        ] {
            let told = told(message);
            assert!(told.contains(words) && told.contains(advice), "{told}");
            assert!(told.ends_with(WITHOUT_PODS), "{told}");
        }
    }

    #[test]
    fn what_is_no_rule_about_pods_is_told_for_all_kinds() {
        let ports = "services \"s\" is forbidden: exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=0, \
                     limited: services.nodeports=0";
        assert_eq!(
            of_any(ports),
            "services \"s\" is forbidden: exceeded quota: q, requested: services.nodeports=1, limited: services.nodeports=0; set \
             serviceType: ClusterIP in the solver, or free or raise the namespace's ResourceQuota"
        );
        let going =
            "pods \"s\" is forbidden: unable to create new content in namespace shop because it is being terminated";
        assert_eq!(told(going), format!("{going}; the namespace is being deleted"));
        assert_eq!(of_any(going), told(going));
    }

    #[test]
    fn other_words_are_passed_on() {
        for words in [told("something else"), of_any("something else")] {
            assert_eq!(words, "something else");
        }
        assert_eq!(without_usage("a, used: b"), "a");
    }
}
