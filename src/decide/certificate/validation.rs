//! What makes no sense in a Certificate's spec, whether or not the API server was asked: rules of the
//! CustomResourceDefinition are not applied to objects that were stored before them.

use jiff::SignedDuration;

use super::Features;
use crate::{
    api::{
        CertificateSpec, GoDuration,
        certificate::X509Subject,
        label::{is_name, is_qualified_name, is_subdomain},
    },
    decide::template::{self, SpecError},
    pki::{self, Curve, KeyAlgorithm, validate_dns_name},
};

/// The limit of X.509 for a common name (RFC 5280 appendix A.1, ub-common-name), in bytes as with cert-manager.
const LONGEST_COMMON_NAME: usize = 64;

const LEAST_DURATION: SignedDuration = SignedDuration::from_hours(1);
const LEAST_RENEW_BEFORE: SignedDuration = SignedDuration::from_mins(5);
const DEFAULT_DURATION: SignedDuration = SignedDuration::from_hours(90 * 24);

/// The first thing because of which nothing is requested, with its place.
pub(in crate::decide) fn problem(spec: &CertificateSpec, features: Features) -> Result<(), SpecError> {
    turned_off(spec, features)?;
    if spec.secret_name.is_empty() {
        return Err(SpecError::new("spec.secretName", "is empty; name the Secret that shall hold the certificate"));
    }
    if !is_subdomain(&spec.secret_name) {
        return Err(SpecError::new(
            "spec.secretName",
            "is no name for a Secret: lower case letters, digits, '-' and '.' (RFC 1123 subdomain)",
        ));
    }
    if spec.issuer_ref.name.is_empty() {
        return Err(SpecError::new("spec.issuerRef.name", "is empty; name the issuer that shall sign"));
    }
    subject(spec)?;
    key(spec)?;
    times(spec)?;
    secret_template(spec)?;
    name_constraints(spec)?;
    keystores(spec)?;
    let template = template::request_template(spec)?;
    template.check().map_err(|error| match error {
        pki::Error::TooLarge { .. } => {
            SpecError::new("spec", format!("{error}; name less in one Certificate, or raise --max-certificate-size"))
        }
        error => SpecError::new("spec", error),
    })
}

/// What a feature gate forbids.
fn turned_off(spec: &CertificateSpec, features: Features) -> Result<(), SpecError> {
    let has_literal_subject = spec.literal_subject.as_deref().is_some_and(|subject| !subject.is_empty());
    for (is_on, is_asked_for, path, gate) in [
        (features.literal_subject, has_literal_subject, "spec.literalSubject", "LiteralCertificateSubject"),
        (features.name_constraints, spec.name_constraints.is_some(), "spec.nameConstraints", "NameConstraints"),
        (features.other_names, !spec.other_names.is_empty(), "spec.otherNames", "OtherNames"),
    ] {
        if is_asked_for && !is_on {
            return Err(SpecError::new(path, format!("is turned off here by the feature gate {gate}; leave it out")));
        }
    }
    Ok(())
}

/// What a CA that speaks ACME would refuse, so that it costs no order.
pub(super) fn problem_for_acme(spec: &CertificateSpec) -> Result<(), SpecError> {
    spec.dns_names.iter().enumerate().try_for_each(|(index, name)| {
        validate_dns_name(name).map(drop).map_err(|error| SpecError::new(format!("spec.dnsNames[{index}]"), error))
    })
}

fn subject(spec: &CertificateSpec) -> Result<(), SpecError> {
    let common_name = spec.common_name.as_deref().unwrap_or_default();
    if common_name.len() > LONGEST_COMMON_NAME {
        return Err(SpecError::new("spec.commonName", "must be 64 bytes of UTF-8 or less; put the name into dnsNames"));
    }
    if spec.literal_subject.as_deref().is_none_or(str::is_empty) {
        return Ok(());
    }
    let together = "must not be set together with literalSubject";
    if !common_name.is_empty() {
        return Err(SpecError::new("spec.commonName", together));
    }
    match &spec.subject {
        // Writers in Go store empty ones too.
        Some(subject) if *subject != X509Subject::default() => Err(SpecError::new("spec.subject", together)),
        _ => Ok(()),
    }
}

fn key(spec: &CertificateSpec) -> Result<(), SpecError> {
    let key = template::key_algorithm(spec)?;
    let Some(signature) = spec.signature_algorithm.as_deref().filter(|name| !name.is_empty()) else { return Ok(()) };
    let allowed: &[&str] = match key {
        KeyAlgorithm::Rsa(_) => &["SHA256WithRSA", "SHA384WithRSA", "SHA512WithRSA"],
        // The cryptographic library signs with a hash as long as the key, or a shorter one where the key is very long.
        KeyAlgorithm::Ecdsa(Curve::P256) => &["ECDSAWithSHA256"],
        KeyAlgorithm::Ecdsa(Curve::P384) => &["ECDSAWithSHA384"],
        KeyAlgorithm::Ecdsa(Curve::P521) => &["ECDSAWithSHA256", "ECDSAWithSHA384", "ECDSAWithSHA512"],
        KeyAlgorithm::Ed25519 => &["PureEd25519"],
    };
    if allowed.contains(&signature) {
        return Ok(());
    }
    let problem = format!("{signature:?} cannot be used with a key of type {key}; use {}", allowed.join(" or "));
    Err(SpecError::new("spec.signatureAlgorithm", problem))
}

fn times(spec: &CertificateSpec) -> Result<(), SpecError> {
    let parsed = |path: &str, text: &Option<GoDuration>| match text {
        None => Ok(None),
        Some(text) => text.to_duration().map(Some).map_err(|error| SpecError::new(path, error)),
    };
    let duration = parsed("spec.duration", &spec.duration)?.unwrap_or(DEFAULT_DURATION);
    if duration < LEAST_DURATION {
        return Err(SpecError::new("spec.duration", "must be 1h or more"));
    }
    let Some(renew_before) = parsed("spec.renewBefore", &spec.renew_before)? else { return Ok(()) };
    if spec.renew_before_percentage.is_some() {
        return Err(SpecError::new("spec.renewBefore", "must not be set together with renewBeforePercentage"));
    }
    if renew_before < LEAST_RENEW_BEFORE {
        return Err(SpecError::new("spec.renewBefore", "must be 5m or more"));
    }
    if renew_before >= duration {
        return Err(SpecError::new("spec.renewBefore", "must be less than duration, which is 2160h unless set"));
    }
    Ok(())
}

/// What a Secret would be refused with.
fn secret_template(spec: &CertificateSpec) -> Result<(), SpecError> {
    let Some(template) = &spec.secret_template else { return Ok(()) };
    let wrong = |field: &str, key: &str, problem: &str| {
        Err(SpecError::new(format!("spec.secretTemplate.{field}"), format!("{key:?} {problem}")))
    };
    for (key, value) in &template.labels {
        if !is_qualified_name(key) {
            return wrong("labels", key, "is no key for a label");
        }
        if !value.is_empty() && !is_name(value) {
            return wrong("labels", value, "is no value for a label");
        }
    }
    for key in template.annotations.keys() {
        if !is_qualified_name(&key.to_ascii_lowercase()) {
            return wrong("annotations", key, "is no key for an annotation");
        }
    }
    Ok(())
}

fn name_constraints(spec: &CertificateSpec) -> Result<(), SpecError> {
    match &spec.name_constraints {
        Some(_) if !spec.is_ca => Err(SpecError::new("spec.nameConstraints", "is allowed only where isCA is true")),
        Some(constraints) if constraints.permitted.is_none() && constraints.excluded.is_none() => {
            Err(SpecError::new("spec.nameConstraints", "permitted or excluded must be set"))
        }
        _ => Ok(()),
    }
}

fn keystores(spec: &CertificateSpec) -> Result<(), SpecError> {
    let Some(keystores) = &spec.keystores else { return Ok(()) };
    let check = |field: &str, literal: bool, selected: bool| match (literal, selected) {
        (true, true) => Err(SpecError::new(
            format!("spec.keystores.{field}"),
            "password and passwordSecretRef must not be set together",
        )),
        (false, false) => {
            Err(SpecError::new(format!("spec.keystores.{field}"), "has no password; set password or passwordSecretRef"))
        }
        _ => Ok(()),
    };
    if let Some(jks) = keystores.jks.as_ref().filter(|jks| jks.create) {
        let selected = jks.password_secret_ref.as_ref().is_some_and(|selector| !selector.is_unset());
        check("jks", jks.password.as_ref().is_some_and(|password| !password.is_empty()), selected)?;
    }
    if let Some(pkcs12) = keystores.pkcs12.as_ref().filter(|pkcs12| pkcs12.create) {
        let selected = pkcs12.password_secret_ref.as_ref().is_some_and(|selector| !selector.is_unset());
        check("pkcs12", pkcs12.password.as_ref().is_some_and(|password| !password.is_empty()), selected)?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decide::testing::object;

    fn checked(more: &serde_json::Value) -> Result<(), String> {
        let mut spec = json!({"secretName": "web-tls", "dnsNames": ["www.example.com"], "issuerRef": {"name": "le"}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        problem(&object(spec), Features::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let long = "x".repeat(65);
        for (more, text) in [
            (json!({"secretName": "Web"}), "spec.secretName: is no name for a Secret"),
            (json!({"commonName": long}), "spec.commonName: must be 64 bytes"),
            (json!({"literalSubject": "CN=a", "commonName": "a"}), "spec.commonName: must not be set together"),
            (json!({"literalSubject": "CN=a", "subject": {"countries": ["DE"]}}), "spec.subject: must not be set"),
            (
                json!({"signatureAlgorithm": "ECDSAWithSHA256"}),
                "spec.signatureAlgorithm: \"ECDSAWithSHA256\" cannot be used",
            ),
            (
                json!({"privateKey": {"algorithm": "ECDSA"}, "signatureAlgorithm": "ECDSAWithSHA512"}),
                "spec.signatureAlgorithm: \"ECDSAWithSHA512\" cannot be used with a key of type ECDSA 256; use ECDSAWithSHA256",
            ),
            (
                json!({"privateKey": {"algorithm": "Ed25519"}, "signatureAlgorithm": "SHA256WithRSA"}),
                "spec.signatureAlgorithm: \"SHA256WithRSA\" cannot be used with a key of type Ed25519; use PureEd25519",
            ),
            (json!({"duration": "59m"}), "spec.duration: must be 1h or more"),
            (json!({"duration": "soon"}), "spec.duration: "),
            (json!({"renewBefore": "4m"}), "spec.renewBefore: must be 5m or more"),
            (json!({"renewBefore": "2160h"}), "spec.renewBefore: must be less than duration"),
            (json!({"duration": "2h", "renewBefore": "2h"}), "spec.renewBefore: must be less than duration"),
            (json!({"renewBefore": "1h", "renewBeforePercentage": 10}), "spec.renewBefore: must not be set together"),
            (json!({"secretTemplate": {"labels": {"a b": "c"}}}), "spec.secretTemplate.labels: \"a b\" is no key"),
            (json!({"secretTemplate": {"labels": {"a": "-"}}}), "spec.secretTemplate.labels: \"-\" is no value"),
            (
                json!({"secretTemplate": {"annotations": {"/x": ""}}}),
                "spec.secretTemplate.annotations: \"/x\" is no key",
            ),
            (json!({"nameConstraints": {"permitted": {}}}), "spec.nameConstraints: is allowed only where isCA"),
            (json!({"nameConstraints": {}, "isCA": true}), "spec.nameConstraints: permitted or excluded"),
            (json!({"keystores": {"jks": {"create": true}}}), "spec.keystores.jks: has no password"),
            (
                json!({"keystores": {"pkcs12": {"create": true, "password": "x", "passwordSecretRef": {"name": "y"}}}}),
                "spec.keystores.pkcs12: password and passwordSecretRef must not be set together",
            ),
        ] {
            let problem = checked(&more).unwrap_err();
            assert!(problem.starts_with(text), "{more}: {problem}");
        }
    }

    #[test]
    fn what_is_unusual_but_right_is_taken() {
        for more in [
            json!({"duration": "1h", "renewBefore": "5m"}),
            json!({"renewBeforePercentage": 100}),
            json!({"literalSubject": "CN=a", "subject": {}, "commonName": ""}),
            json!({"keystores": {"jks": {"create": false}, "pkcs12": {"create": true, "password": "x",
                "passwordSecretRef": {"name": ""}}}}),
            json!({"secretTemplate": {"labels": {"a.b/C_d": "", "e": "F.g"}, "annotations": {"A/b": "anything at all"}}}),
            json!({"isCA": true, "nameConstraints": {"permitted": {"dnsDomains": ["example.com"]}}}),
        ] {
            assert_eq!(checked(&more), Ok(()), "{more}");
        }
    }

    #[test]
    fn what_a_feature_gate_turns_off_is_refused() {
        let off =
            Features { literal_subject: false, name_constraints: false, other_names: false, ..Features::default() };
        let spec = |more: serde_json::Value| {
            let mut spec = json!({"secretName": "a", "dnsNames": ["a.example.com"], "issuerRef": {"name": "le"}});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            object(spec)
        };
        for (more, text) in [
            (json!({"literalSubject": "CN=a"}), "spec.literalSubject: is turned off here by the feature gate Literal"),
            (
                json!({"nameConstraints": {"permitted": {"dnsDomains": ["a"]}}, "isCA": true}),
                "spec.nameConstraints: is turned off",
            ),
            (json!({"otherNames": [{"oid": "1.2.3", "utf8Value": "a"}]}), "spec.otherNames: is turned off"),
        ] {
            let refusal = problem(&spec(more.clone()), off).unwrap_err().to_string();
            assert!(refusal.starts_with(text), "{refusal}");
            assert!(problem(&spec(more), Features::default()).is_ok());
        }
        assert!(problem(&spec(json!({"literalSubject": ""})), off).is_ok());
    }
}
