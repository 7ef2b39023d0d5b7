//! What a Certificate's spec asks for, in terms of the request that goes to the issuer.

use std::collections::BTreeMap;

use crate::{
    api::{
        CertificateSpec,
        certificate::{NameConstraintItem, NameConstraints},
        names::{GATEWAY_EXPERIMENTAL_GROUP, annotation},
        solver::{AcmeSolver, ParentReference},
    },
    pki::{
        self, CertificateRequestTemplate, Encoding, KeyAlgorithm, NameSubtrees, SignatureAlgorithm, Subject,
        SubjectAltNames, encode_dns_name,
        names::{parse_ip_address, validate_email_address, validate_uri},
        san::OtherName,
    },
};

/// What is wrong in a spec: where, what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct SpecError {
    pub path: String,
    pub problem: String,
}

impl SpecError {
    pub(super) fn new(path: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        Self { path: path.into(), problem: problem.to_string() }
    }
}

/// The certificate request for this spec.
pub fn request_template(spec: &CertificateSpec) -> Result<CertificateRequestTemplate, SpecError> {
    let signature_algorithm = match spec.signature_algorithm.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => Some(
            SignatureAlgorithm::from_spec(name).map_err(|error| SpecError::new("spec.signatureAlgorithm", error))?,
        ),
        None => None,
    };
    let names = names(spec)?;
    let common_name = spec.common_name.clone().filter(|name| !name.is_empty());
    let literal_subject = spec.literal_subject.clone().filter(|subject| !subject.is_empty());
    if names.is_empty() && common_name.is_none() && literal_subject.is_none() {
        return Err(SpecError::new(
            "spec",
            "names nothing to certify; set at least dnsNames, ipAddresses or commonName",
        ));
    }
    Ok(CertificateRequestTemplate {
        common_name,
        encode_basic_constraints: false,
        encode_usages: spec.encode_usages_in_request.unwrap_or(true),
        is_ca: spec.is_ca,
        literal_subject,
        name_constraints: spec.name_constraints.as_ref().map(name_constraints),
        names,
        signature_algorithm,
        subject: subject(spec),
        usages: spec.usages.clone(),
    })
}

/// The key that this spec asks for.
pub fn key_algorithm(spec: &CertificateSpec) -> Result<KeyAlgorithm, SpecError> {
    let private_key = spec.private_key.as_ref();
    let size = private_key.and_then(|key| key.size).unwrap_or_default();
    let size = i32::try_from(size).map_err(|_| SpecError::new("spec.privateKey.size", "is out of range"))?;
    KeyAlgorithm::from_spec(private_key.and_then(|key| key.algorithm.as_deref()), Some(size))
        .map_err(|error| SpecError::new("spec.privateKey", error))
}

/// The form in which `tls.key` is stored.
pub fn key_encoding(spec: &CertificateSpec) -> Encoding {
    match spec.private_key.as_ref().and_then(|key| key.encoding.as_deref()) {
        Some("PKCS8") => Encoding::Pkcs8,
        _ => Encoding::Pkcs1,
    }
}

fn names(spec: &CertificateSpec) -> Result<SubjectAltNames, SpecError> {
    let at = |field: &str, index: usize| format!("spec.{field}[{index}]");
    let mut names = SubjectAltNames::default();
    for (index, name) in spec.dns_names.iter().enumerate() {
        let name = encode_dns_name(name).map_err(|error| SpecError::new(at("dnsNames", index), error))?;
        push_new(&mut names.dns_names, name);
    }
    for (index, text) in spec.ip_addresses.iter().enumerate() {
        let address = parse_ip_address(text).map_err(|error| SpecError::new(at("ipAddresses", index), error))?;
        push_new(&mut names.ip_addresses, address);
    }
    for (index, text) in spec.email_addresses.iter().enumerate() {
        validate_email_address(text).map_err(|error| SpecError::new(at("emailAddresses", index), error))?;
        names.email_addresses.push(text.clone());
    }
    for (index, text) in spec.uris.iter().enumerate() {
        validate_uri(text).map_err(|error| SpecError::new(at("uris", index), error))?;
        names.uris.push(text.clone());
    }
    for other in &spec.other_names {
        names.other_names.push(OtherName {
            oid: other.oid.clone().unwrap_or_default(),
            utf8_value: other.utf8_value.clone().unwrap_or_default(),
        });
    }
    Ok(names)
}

/// Two spellings of one name are one name; CAs refuse a name that is there twice.
fn push_new<T: PartialEq>(names: &mut Vec<T>, name: T) {
    if !names.contains(&name) {
        names.push(name);
    }
}

fn subject(spec: &CertificateSpec) -> Subject {
    let Some(subject) = spec.subject.clone() else { return Subject::default() };
    Subject {
        countries: subject.countries,
        localities: subject.localities,
        organizational_units: subject.organizational_units,
        organizations: subject.organizations,
        postal_codes: subject.postal_codes,
        provinces: subject.provinces,
        serial_number: subject.serial_number,
        street_addresses: subject.street_addresses,
    }
}

fn name_constraints(constraints: &NameConstraints) -> pki::NameConstraints {
    let subtrees = |item: &Option<NameConstraintItem>| {
        let item = item.clone().unwrap_or_default();
        NameSubtrees {
            dns_domains: item.dns_domains,
            email_addresses: item.email_addresses,
            ip_ranges: item.ip_ranges,
            uri_domains: item.uri_domains,
        }
    };
    pki::NameConstraints {
        critical: constraints.critical,
        excluded: subtrees(&constraints.excluded),
        permitted: subtrees(&constraints.permitted),
    }
}

/// Which annotations go from a Certificate to its CertificateRequest and on to the Order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedAnnotations {
    prefixes: Vec<String>,
}

impl Default for CopiedAnnotations {
    fn default() -> Self {
        Self::new("*,-kubectl.kubernetes.io/,-fluxcd.io/,-argocd.argoproj.io/")
    }
}

impl CopiedAnnotations {
    /// Prefixes separated by commas; `*` is every annotation, a leading `-` excludes.
    pub fn new(prefixes: &str) -> Self {
        Self {
            prefixes: prefixes.split(',').map(|prefix| prefix.trim().to_owned()).filter(|p| !p.is_empty()).collect(),
        }
    }

    pub fn filter(&self, annotations: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        annotations
            .iter()
            .filter(|(key, _)| self.includes(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    fn includes(&self, key: &str) -> bool {
        let matches = |prefix: &str| prefix == "*" || key.starts_with(prefix);
        let excluded = self.prefixes.iter().filter_map(|prefix| prefix.strip_prefix('-')).any(matches);
        !excluded && self.prefixes.iter().any(|prefix| !prefix.starts_with('-') && matches(prefix))
    }
}

/// Applies a Certificate's wish for another Ingress, class or Gateway to the solver that was chosen for it. The wished Gateway
/// is one more; without a namespace it is meant to lie in that of the Order.
pub fn override_http01(solver: &mut AcmeSolver, annotations: &BTreeMap<String, String>, namespace: Option<&str>) {
    if let Some(gateway) = solver.http01.as_mut().and_then(|http01| http01.gateway_http_route.as_mut()) {
        add_parent(&mut gateway.parent_refs, annotations, namespace);
        return;
    }
    let Some(ingress) = solver.http01.as_mut().and_then(|http01| http01.ingress.as_mut()) else { return };
    let wish = |key: &str| annotations.get(key).filter(|value| !value.is_empty()).cloned();
    let name = wish(annotation::HTTP01_OVERRIDE_INGRESS_NAME);
    let class = wish(annotation::HTTP01_OVERRIDE_INGRESS_CLASS);
    let class_name = wish(annotation::HTTP01_OVERRIDE_INGRESS_CLASS_NAME);
    if name.is_some() || class.is_some() || class_name.is_some() {
        (ingress.name, ingress.class, ingress.ingress_class_name) = (name, class, class_name);
    }
}

fn add_parent(parents: &mut Vec<ParentReference>, annotations: &BTreeMap<String, String>, namespace: Option<&str>) {
    let wish = |key: &str| annotations.get(key).filter(|value| !value.is_empty()).cloned();
    let name = wish(annotation::HTTP01_PARENT_REF_NAME);
    let kind = wish(annotation::HTTP01_PARENT_REF_KIND);
    // Only both together name one.
    let (Some(name), Some(kind)) = (name, kind) else { return };
    let namespace = wish(annotation::HTTP01_PARENT_REF_NAMESPACE).or_else(|| namespace.map(str::to_owned));
    let is_same = |parent: &ParentReference| {
        parent.name == name
            && parent.kind.as_deref().unwrap_or("Gateway") == kind
            && (parent.namespace.is_none() || parent.namespace == namespace)
    };
    parents.retain(|parent| !is_same(parent));
    // Kinds of the Gateway API that are still tried out are in a group of their own, and their names begin so.
    let group = kind.starts_with('X').then(|| GATEWAY_EXPERIMENTAL_GROUP.to_owned());
    parents.push(ParentReference { group, kind: Some(kind), name, namespace, ..ParentReference::default() });
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_wished_gateway_is_one_more() {
        let overridden = |annotations: &[(&str, &str)]| {
            let text = r#"{"http01": {"gatewayHTTPRoute": {"parentRefs": [{"name": "edge", "namespace": "shop"}]}}}"#;
            let mut solver: AcmeSolver = serde_json::from_str(text).unwrap();
            let annotations = annotations.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
            override_http01(&mut solver, &annotations, Some("shop"));
            let parents = solver.http01.unwrap().gateway_http_route.unwrap().parent_refs.into_iter();
            parents.map(|parent| (parent.name, parent.namespace.unwrap_or_default())).collect::<Vec<_>>()
        };
        let (name, kind) = (annotation::HTTP01_PARENT_REF_NAME, annotation::HTTP01_PARENT_REF_KIND);
        let parent = |name: &str, namespace: &str| (name.to_owned(), namespace.to_owned());
        let edge = parent("edge", "shop");
        assert_eq!(overridden(&[]), std::slice::from_ref(&edge));
        assert_eq!(overridden(&[(name, "other")]), std::slice::from_ref(&edge), "name and kind belong together");
        assert_eq!(
            overridden(&[(name, "edge"), (kind, "Gateway")]),
            std::slice::from_ref(&edge),
            "it is there already"
        );
        assert_eq!(overridden(&[(name, "other"), (kind, "Gateway")]), [edge.clone(), parent("other", "shop")]);
        let elsewhere = (annotation::HTTP01_PARENT_REF_NAMESPACE, "gateways");
        assert_eq!(overridden(&[(name, "edge"), (kind, "Gateway"), elsewhere]), [edge, parent("edge", "gateways")]);
        let mut parents = Vec::new();
        for set in ["ListenerSet", "XListenerSet"] {
            let wishes = [(name, "web"), (kind, set)].map(|(key, value)| (key.to_owned(), value.to_owned()));
            add_parent(&mut parents, &BTreeMap::from(wishes), None);
        }
        let groups: Vec<_> = parents.iter().map(|parent| parent.group.as_deref()).collect();
        assert_eq!(groups, [None, Some("gateway.networking.x-k8s.io")]);
    }

    #[test]
    fn a_wished_ingress_or_class_takes_the_place_of_the_solvers() {
        let overridden = |annotations: &[(&str, &str)]| {
            let text = r#"{"http01": {"ingress": {"ingressClassName": "edge", "serviceType": "ClusterIP"}}}"#;
            let mut solver: AcmeSolver = serde_json::from_str(text).unwrap();
            let annotations = annotations.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
            override_http01(&mut solver, &annotations, Some("shop"));
            let ingress = solver.http01.unwrap().ingress.unwrap();
            assert_eq!(ingress.service_type.as_deref(), Some("ClusterIP"), "the rest stays");
            [ingress.name, ingress.class, ingress.ingress_class_name].map(Option::unwrap_or_default)
        };
        let (name, class) = (annotation::HTTP01_OVERRIDE_INGRESS_NAME, annotation::HTTP01_OVERRIDE_INGRESS_CLASS);
        let class_name = annotation::HTTP01_OVERRIDE_INGRESS_CLASS_NAME;
        assert_eq!(overridden(&[]), ["", "", "edge"]);
        assert_eq!(overridden(&[(name, "")]), ["", "", "edge"], "an empty one is none");
        assert_eq!(overridden(&[(name, "own")]), ["own", "", ""]);
        assert_eq!(overridden(&[(class, "own")]), ["", "own", ""]);
        assert_eq!(overridden(&[(class_name, "own")]), ["", "", "own"]);
        assert_eq!(overridden(&[(class, "a"), (class_name, "b")]), ["", "a", "b"], "which is refused as such");
    }

    #[test]
    fn an_invalid_name_is_named_with_its_place() {
        let spec = CertificateSpec {
            dns_names: vec!["good.example".into(), "exa mple.com".into()],
            ..CertificateSpec::default()
        };
        let error = request_template(&spec).unwrap_err();
        assert_eq!(error.path, "spec.dnsNames[1]");
        assert!(error.to_string().contains("exa mple.com"), "{error}");
    }

    #[test]
    fn two_spellings_of_one_name_are_one_name() {
        let spec = CertificateSpec {
            dns_names: ["www.example", "WWW.Example", "b\u{fc}cher.example", "xn--bcher-kva.example"]
                .map(String::from)
                .into(),
            ip_addresses: ["2001:db8::1", "2001:DB8:0::1"].map(String::from).into(),
            ..CertificateSpec::default()
        };
        let names = request_template(&spec).unwrap().names;
        assert_eq!(names.dns_names, ["www.example", "xn--bcher-kva.example"]);
        assert_eq!(names.ip_addresses.len(), 1);
    }

    #[test]
    fn a_spec_without_names_is_refused() {
        assert_eq!(request_template(&CertificateSpec::default()).unwrap_err().path, "spec");
    }

    #[test]
    fn annotations_are_copied_but_for_those_of_other_tools() {
        let annotations: BTreeMap<String, String> =
            ["a/b", "kubectl.kubernetes.io/last-applied-configuration", "argocd.argoproj.io/sync"]
                .map(|key| (key.to_owned(), String::new()))
                .into();
        let kept = CopiedAnnotations::default().filter(&annotations);
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["a/b"]);
        assert!(CopiedAnnotations::new("x/").filter(&annotations).is_empty());
    }
}
