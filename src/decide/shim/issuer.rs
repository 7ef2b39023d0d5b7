//! Who signs: what annotations say of it, and the operator's choice where they are silent.

use std::collections::BTreeMap;

use crate::api::{
    IssuerReference, SourceKind,
    names::{KIND_CLUSTER_ISSUER, KIND_ISSUER, annotation},
};

/// The issuer that the annotations name, or those of the parent if they name none, or else the default. The parent's kind and group
/// go before the object's own, as in cert-manager; but an object that names a ClusterIssuer leaves nothing open.
///
/// # Errors
/// What is wrong with the annotations.
pub(super) fn of(
    own: &BTreeMap<String, String>,
    parent: Option<&BTreeMap<String, String>>,
    default: &IssuerReference,
) -> Result<IssuerReference, String> {
    let names_one = [annotation::ISSUER, annotation::CLUSTER_ISSUER].iter().any(|key| own.contains_key(*key));
    let named = parent.filter(|_| !names_one).unwrap_or(own);
    let (issuer, cluster_issuer) = (named.get(annotation::ISSUER), named.get(annotation::CLUSTER_ISSUER));
    let parent = parent.filter(|_| !own.contains_key(annotation::CLUSTER_ISSUER));
    let given = |key: &str| parent.and_then(|parent| parent.get(key)).or_else(|| own.get(key));
    let (kind, group) = (given(annotation::ISSUER_KIND), given(annotation::ISSUER_GROUP));
    let mut problems = Vec::new();
    let mut exclude = |first: &str, is_there: bool, second: &str| {
        if is_there && cluster_issuer.is_some() {
            problems.push(format!("both {first:?} and {second:?} may not be set"));
        }
    };
    exclude(annotation::ISSUER, issuer.is_some(), annotation::CLUSTER_ISSUER);
    exclude(annotation::ISSUER_GROUP, group.is_some(), annotation::CLUSTER_ISSUER);
    exclude(annotation::ISSUER_KIND, kind.is_some(), annotation::CLUSTER_ISSUER);
    let (name, own_kind) = match (issuer, cluster_issuer) {
        (_, Some(name)) => (name, Some(KIND_CLUSTER_ISSUER.to_owned())),
        (Some(name), None) => (name, Some(KIND_ISSUER.to_owned())),
        (None, None) => (&default.name, default.kind.clone()),
    };
    if name.is_empty() {
        problems.push(format!(
            "no issuer is named; set {} or {}, or start the controller with --default-issuer-name",
            annotation::CLUSTER_ISSUER,
            annotation::ISSUER
        ));
    }
    if !problems.is_empty() {
        return Err(problems.join(", "));
    }
    Ok(IssuerReference {
        name: name.clone(),
        kind: kind.cloned().or(own_kind),
        group: group.cloned().or_else(|| default.group.clone()),
    })
}

/// What the owner of the object reads of it.
pub(super) fn complaint(kind: SourceKind, problem: &str) -> String {
    format!("Could not determine issuer for {} due to bad annotations: {problem}", kind.kind().to_ascii_lowercase())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::decide::shim::Settings;

    fn issuer(given: &[(&str, &str)], default_name: &str) -> Result<(String, String, String), String> {
        let given = given.iter().map(|(key, value)| (format!("cert-manager.io/{key}"), (*value).to_owned())).collect();
        let default = IssuerReference { name: default_name.to_owned(), ..Settings::default().default_issuer };
        let issuer = of(&given, None, &default)?;
        Ok((issuer.name, issuer.kind.unwrap(), issuer.group.unwrap()))
    }

    #[test]
    fn annotations_and_defaults_name_the_issuer() {
        let own = "cert-manager.io";
        for (given, expected) in [
            (&[("issuer", "ca")][..], ("ca", "Issuer", own)),
            (&[("cluster-issuer", "le")], ("le", "ClusterIssuer", own)),
            (&[("issuer", "x"), ("issuer-kind", "Vault"), ("issuer-group", "e.com")], ("x", "Vault", "e.com")),
            (&[], ("default", "Issuer", own)),
            (&[("issuer-kind", "ClusterIssuer")], ("default", "ClusterIssuer", own)),
        ] {
            let (name, kind, group) = issuer(given, "default").unwrap();
            assert_eq!((&*name, &*kind, &*group), expected, "{given:?}");
        }
    }

    #[test]
    fn contradictions_and_silence_are_told() {
        for (given, text) in [
            (&[("issuer", "a"), ("cluster-issuer", "b")][..], "both \"cert-manager.io/issuer\" and"),
            (&[("cluster-issuer", "b"), ("issuer-kind", "x")], "both \"cert-manager.io/issuer-kind\" and"),
            (&[("cluster-issuer", "b"), ("issuer-group", "x")], "both \"cert-manager.io/issuer-group\" and"),
            (&[], "no issuer is named"),
            (&[("issuer", "")], "no issuer is named"),
        ] {
            let problem = issuer(given, "").unwrap_err();
            assert!(problem.starts_with(text), "{problem}");
        }
    }

    #[test]
    fn a_gateway_speaks_for_its_listener_sets() {
        let annotations = |given: &[(&str, &str)]| -> BTreeMap<String, String> {
            given.iter().map(|(key, value)| (format!("cert-manager.io/{key}"), (*value).to_owned())).collect()
        };
        let default = Settings::default().default_issuer;
        for (of_set, of_gateway, expected) in [
            (&[][..], &[("cluster-issuer", "le")][..], ("le", "ClusterIssuer")),
            (&[("issuer", "ca")], &[("cluster-issuer", "le")], ("ca", "Issuer")),
            (&[("issuer-kind", "Vault")], &[("issuer", "le")], ("le", "Vault")),
            (
                &[("issuer", "ca"), ("issuer-kind", "Own")],
                &[("issuer", "x"), ("issuer-kind", "Vault")],
                ("ca", "Vault"),
            ),
            (&[("cluster-issuer", "le")], &[("issuer", "x"), ("issuer-kind", "Vault")], ("le", "ClusterIssuer")),
        ] {
            let issuer = of(&annotations(of_set), Some(&annotations(of_gateway)), &default).unwrap();
            assert_eq!((&*issuer.name, issuer.kind.as_deref().unwrap()), expected, "{of_set:?}, {of_gateway:?}");
        }
    }
}
