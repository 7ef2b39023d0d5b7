//! How objects name other objects: issuers, Secrets, service accounts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names;

/// Names the issuer that signs.
///
/// An absent or empty kind means `Issuer`, an absent or empty group means `cert-manager.io`. The defaults are never
/// written back, so compare with [`IssuerReference::same_as`], not with `==`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct IssuerReference {
    /// Name of the issuer. An Issuer is looked up in the namespace of the object that refers to it.
    pub name: String,
    /// Kind of the issuer, `Issuer` unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// API group of the issuer, `cert-manager.io` unless set. Other groups belong to external issuers, which sign the
    /// CertificateRequests that name them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl IssuerReference {
    pub fn kind_or_default(&self) -> &str {
        non_empty(self.kind.as_deref()).unwrap_or(names::KIND_ISSUER)
    }

    pub fn group_or_default(&self) -> &str {
        non_empty(self.group.as_deref()).unwrap_or(names::GROUP)
    }

    /// Whether the issuer is of the group that this controller serves; all others are left to external issuers.
    pub fn is_ours(&self) -> bool {
        self.group_or_default() == names::GROUP
    }

    /// Whether both name the same issuer, defaults filled in.
    pub fn same_as(&self, other: &Self) -> bool {
        self.name == other.name
            && self.kind_or_default() == other.kind_or_default()
            && self.group_or_default() == other.group_or_default()
    }
}

fn non_empty(text: Option<&str>) -> Option<&str> {
    text.filter(|t| !t.is_empty())
}

/// One entry of a Secret.
///
/// Stored objects may carry an empty name where the reference was never set, see [`SecretKeySelector::is_unset`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct SecretKeySelector {
    /// Name of the Secret.
    pub name: String,
    /// Key of the entry within the Secret's data. Some uses have a default key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl SecretKeySelector {
    /// Whether the reference says nothing: other writers store `{name: ""}` for a reference that was never set.
    pub fn is_unset(&self) -> bool {
        self.name.is_empty()
    }
}

/// A service account whose token is presented to a cloud provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct ServiceAccountReference {
    /// Name of the ServiceAccount for which a token is requested.
    pub name: String,
    /// Audiences that the token is made out to, in addition to the default one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(kind: Option<&str>, group: Option<&str>) -> IssuerReference {
        IssuerReference { name: "ca".into(), kind: kind.map(Into::into), group: group.map(Into::into) }
    }

    #[test]
    fn empty_and_default_mean_the_same() {
        let spelled_out = reference(Some("Issuer"), Some("cert-manager.io"));
        for other in [reference(None, None), reference(Some(""), Some("")), reference(None, Some("cert-manager.io"))] {
            assert!(spelled_out.same_as(&other), "{other:?}");
            assert!(other.is_ours(), "{other:?}");
        }
        assert!(!spelled_out.same_as(&reference(Some("ClusterIssuer"), None)));
        assert!(!reference(None, Some("example.com")).is_ours());
    }

    #[test]
    fn defaults_are_not_written() {
        assert_eq!(serde_json::json!(reference(None, None)), serde_json::json!({"name": "ca"}));
    }
}
