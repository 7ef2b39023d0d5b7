//! Issuers and ClusterIssuers.

use super::{Findings, Problem, solver};
use crate::{
    api::{
        IssuerSpec, SecretKeySelector,
        issuer::{AcmeIssuer, CaIssuer},
    },
    pki::pem,
};

pub fn findings(spec: &IssuerSpec) -> Findings {
    let kinds = [
        ("acme", spec.acme.is_some()),
        ("ca", spec.ca.is_some()),
        ("selfSigned", spec.self_signed.is_some()),
        ("vault", spec.vault.is_some()),
        ("venafi", spec.venafi.is_some()),
    ];
    let set: Vec<&str> = kinds.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect();
    let mut problems = Vec::new();
    if set.is_empty() {
        problems.push(Problem::required("spec", "at least one issuer must be configured"));
    }
    for name in set.iter().skip(1) {
        problems.push(Problem::forbidden(format!("spec.{name}"), "may not specify more than one issuer type"));
    }
    problems.extend(spec.acme.as_ref().map(acme).unwrap_or_default());
    problems.extend(spec.ca.as_ref().map(ca).unwrap_or_default());
    let binding = spec.acme.as_ref().and_then(|acme| acme.external_account_binding.as_ref());
    let warnings = binding.filter(|binding| binding.key_algorithm.is_some()).map(|_| {
        "spec.acme.externalAccountBinding.keyAlgorithm is deprecated in cert-manager's API and can be left out"
            .to_owned()
    });
    Findings { problems, warnings: warnings.into_iter().collect(), approval: None }
}

fn acme(acme: &AcmeIssuer) -> Vec<Problem> {
    let mut problems = Vec::new();
    let bundle = acme.ca_bundle.as_ref().map(|bundle| bundle.0.as_slice()).filter(|bundle| !bundle.is_empty());
    if let Some(bundle) = bundle {
        if acme.skip_tls_verify {
            let detail = "caBundle and skipTLSVerify are mutually exclusive and cannot both be set";
            problems.push(Problem::invalid("spec.acme.caBundle", "", detail));
            problems.push(Problem::invalid("spec.acme.skipTLSVerify", true, detail));
        }
        if let Err(error) = pem::decode_bundle(bundle) {
            problems.push(Problem::invalid("spec.acme.caBundle", "", &error.to_string()));
        }
    }
    if acme.private_key_secret_ref.name.is_empty() {
        problems.push(Problem::required(
            "spec.acme.privateKeySecretRef.name",
            "private key secret name is a required field",
        ));
    }
    if acme.server.is_empty() {
        problems.push(Problem::required("spec.acme.server", "acme server URL is a required field"));
    }
    if let Some(binding) = &acme.external_account_binding {
        let path = "spec.acme.externalAccountBinding";
        if binding.key_id.is_empty() {
            problems.push(Problem::required(
                format!("{path}.keyID"),
                "the keyID field is required when using externalAccountBinding",
            ));
        }
        problems.extend(selector(&format!("{path}.keySecretRef"), &binding.key_secret_ref));
    }
    for (index, held) in acme.solvers.iter().enumerate() {
        problems.extend(solver::problems(&format!("spec.acme.solvers[{index}]"), held));
    }
    problems
}

fn ca(ca: &CaIssuer) -> Vec<Problem> {
    let mut problems = Vec::new();
    if ca.secret_name.is_empty() {
        problems.push(Problem::required("spec.ca.secretName", ""));
    }
    for (field, urls) in [("ocspServers", &ca.ocsp_servers), ("issuingCertificateURLs", &ca.issuing_certificate_urls)] {
        for (index, _) in urls.iter().enumerate().filter(|(_, url)| url.is_empty()) {
            let detail = "must be a valid URL, e.g., http://ocsp.int-x3.letsencrypt.org";
            problems.push(Problem::invalid(format!("spec.ca.{field}[{index}]"), "", detail));
        }
    }
    problems
}

/// A reference to an entry of a Secret: both parts must be there.
pub(super) fn selector(path: &str, selector: &SecretKeySelector) -> Vec<Problem> {
    let mut problems = Vec::new();
    if selector.name.is_empty() {
        problems.push(Problem::required(format!("{path}.name"), "secret name is required"));
    }
    if selector.key.as_deref().unwrap_or_default().is_empty() {
        problems.push(Problem::required(format!("{path}.key"), "secret key is required"));
    }
    problems
}
