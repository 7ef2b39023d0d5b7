//! A right that a client of the API server does not have, as the server's authorizer tells it.

use std::fmt;

/// See the module's description. Its [`Display`](fmt::Display) says what may not be done, such as
/// `create certificaterequests.cert-manager.io in namespace "shop"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingRight {
    /// Who asked.
    pub user: String,
    pub verb: String,
    /// With the subresource, if one was meant: `certificates/status`.
    pub resource: String,
    /// Empty for the core group.
    pub group: String,
    /// None for what belongs to no namespace, or was asked for in all of them.
    pub namespace: Option<String>,
}

/// Ends the sentence about a missing right: how long it takes is not told, so that the sentence stays the same.
pub const GOES_ON: &str = "; it goes on within 5 min of being granted";

impl MissingRight {
    /// Reads the message of an answer of status 403. Those of quotas and admission have other words and give none.
    pub fn of(message: &str) -> Option<Self> {
        let (_, rest) = message.split_once("User ")?;
        let (user, rest) = quoted(rest)?;
        let (verb, rest) = rest.strip_prefix(" cannot ")?.split_once(" resource ")?;
        let (resource, rest) = quoted(rest)?;
        let (group, rest) = quoted(rest.strip_prefix(" in API group ")?)?;
        let namespace = rest.strip_prefix(" in the namespace ").and_then(quoted).map(|(name, _)| name.to_owned());
        Some(Self {
            user: user.to_owned(),
            verb: verb.to_owned(),
            resource: resource.to_owned(),
            group: group.to_owned(),
            namespace,
        })
    }

    /// Whether nothing can be known without it, as opposed to done.
    pub fn is_to_read(&self) -> bool {
        matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    /// What is missing, how to see it, and what to do.
    pub fn sentence(&self) -> String {
        format!(
            "certwright has no right to {self}; grant it to {:?}, as the ClusterRoles of its chart do (to see it: {})\
             {GOES_ON}",
            self.user,
            self.question()
        )
    }

    /// The command that tells whether the right is there.
    fn question(&self) -> String {
        let (resource, subresource) = self.resource.split_once('/').unwrap_or((&self.resource, ""));
        let of_which = if subresource.is_empty() { String::new() } else { format!(" --subresource={subresource}") };
        let place = self.namespace.as_ref().map_or("-A".to_owned(), |namespace| format!("-n {namespace}"));
        let (verb, user, resource) = (&self.verb, &self.user, of_group(resource, &self.group));
        format!("kubectl auth can-i {verb} {resource}{of_which} {place} --as {user}")
    }
}

impl fmt::Display for MissingRight {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (resource, subresource) = match self.resource.split_once('/') {
            Some((resource, subresource)) => (resource, format!("/{subresource}")),
            None => (self.resource.as_str(), String::new()),
        };
        write!(formatter, "{} {}{subresource}", self.verb, of_group(resource, &self.group))?;
        match &self.namespace {
            Some(namespace) => write!(formatter, " in namespace {namespace:?}"),
            None => write!(formatter, " in the whole cluster"),
        }
    }
}

fn of_group(resource: &str, group: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

/// What stands between the quotes that the text begins with, and what follows them.
fn quoted(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('"')?.split_once('"')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_authorizers_words_are_understood() {
        let right = MissingRight::of(
            "certificaterequests.cert-manager.io is forbidden: User \"system:serviceaccount:cert-manager:cert-manager\" \
             cannot create resource \"certificaterequests\" in API group \"cert-manager.io\" in the namespace \"shop\": \
             RBAC: clusterrole.rbac.authorization.k8s.io \"x\" not found",
        );
        let right = right.unwrap();
        assert_eq!(right.to_string(), "create certificaterequests.cert-manager.io in namespace \"shop\"");
        assert!(!right.is_to_read());
        assert_eq!(
            right.sentence(),
            "certwright has no right to create certificaterequests.cert-manager.io in namespace \"shop\"; grant it to \
             \"system:serviceaccount:cert-manager:cert-manager\", as the ClusterRoles of its chart do (to see it: kubectl \
             auth can-i create certificaterequests.cert-manager.io -n shop --as \
             system:serviceaccount:cert-manager:cert-manager); it goes on within 5 min of being granted"
        );
    }

    #[test]
    fn a_subresource_and_the_whole_cluster() {
        let message = |resource: &str, group: &str| {
            format!(
                "x is forbidden: User \"u\" cannot list resource \"{resource}\" in API group \"{group}\" at the cluster scope"
            )
        };
        let right = MissingRight::of(&message("secrets", "")).unwrap();
        assert_eq!(right.to_string(), "list secrets in the whole cluster");
        assert!(right.is_to_read() && right.sentence().contains("kubectl auth can-i list secrets -A --as u)"));
        let right = MissingRight::of(&message("orders/status", "acme.cert-manager.io")).unwrap();
        assert_eq!(right.to_string(), "list orders.acme.cert-manager.io/status in the whole cluster");
        assert!(right.sentence().contains("list orders.acme.cert-manager.io --subresource=status -A"));
    }

    #[test]
    fn other_refusals_are_none_of_rights() {
        for message in [
            "pods \"s\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=7, limited: pods=7",
            "pods \"s\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true",
            "secrets \"s\" is forbidden: unable to create new content in namespace n because it is being terminated",
            "User \"u\" cannot create resource \"pods",
            "",
        ] {
            assert_eq!(MissingRight::of(message), None, "{message}");
        }
    }
}
