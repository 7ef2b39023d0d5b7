//! Certificates: the same for new and for changed ones.

use jiff::{SignedDuration, tz::TimeZone};

use super::{Findings, Problem, issuer_reference};
use crate::{
    api::{
        CertificateSpec, GoDuration,
        certificate::{CertificateKeystores, X509Subject},
        label::{is_name, is_qualified_name, is_subdomain},
        names::annotation,
    },
    decide::{
        certificate::{Features, problem},
        renewal::cron::Schedule,
    },
    pki::{Usages, subject},
};

const LONGEST_COMMON_NAME: usize = 64;
const LEAST_DURATION: SignedDuration = SignedDuration::from_hours(1);
const LEAST_RENEW_BEFORE: SignedDuration = SignedDuration::from_mins(5);
const DEFAULT_DURATION: SignedDuration = SignedDuration::from_hours(90 * 24);

/// What is wrong. If nothing is, and the object is new, a warning tells why it would not be issued nevertheless.
pub fn findings(spec: &CertificateSpec, is_new: bool) -> Findings {
    let problems: Vec<Problem> = [
        secret_name(spec),
        issuer_reference(&spec.issuer_ref),
        subject_and_names(spec),
        key(spec),
        times(spec),
        usages(&spec.usages),
        secret_template(spec),
        name_constraints(spec),
        output_formats(spec),
        spec.keystores.as_ref().map(keystores).unwrap_or_default(),
        renewal(spec),
    ]
    .concat();
    let warning = if problems.is_empty() && is_new { problem(spec, Features::default()).err() } else { None };
    Findings { problems, warnings: warning.map(|error| error.to_string()).into_iter().collect(), approval: None }
}

fn secret_name(spec: &CertificateSpec) -> Vec<Problem> {
    let path = "spec.secretName";
    if spec.secret_name.is_empty() {
        return vec![Problem::required(path, "must be specified")];
    }
    let detail = "must be a name for a Secret (RFC 1123 subdomain)";
    unless(is_subdomain(&spec.secret_name), || Problem::invalid(path, &spec.secret_name, detail))
}

fn subject_and_names(spec: &CertificateSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let common_name = spec.common_name.as_deref().unwrap_or_default();
    let literal = spec.literal_subject.as_deref().unwrap_or_default();
    let mut has_common_name = !common_name.is_empty();
    if !literal.is_empty() {
        let path = "spec.literalSubject";
        let together = "When providing a `LiteralSubject` no other subject fields may be provided.";
        if has_common_name {
            problems.push(Problem::invalid("spec.commonName", common_name, together));
        }
        if spec.subject.as_ref().is_some_and(|subject| *subject != X509Subject::default()) {
            problems.push(Problem::forbidden("spec.subject", together));
        }
        match subject::parse_literal(literal) {
            Ok(name) => has_common_name |= subject::common_name(&name).is_some(),
            Err(error) => problems.push(Problem::invalid(path, literal, &error.to_string())),
        }
    }
    if common_name.len() > LONGEST_COMMON_NAME {
        problems.push(Problem::too_long("spec.commonName", LONGEST_COMMON_NAME));
    }
    let has_name = has_common_name
        || !spec.dns_names.is_empty()
        || !spec.uris.is_empty()
        || !spec.email_addresses.is_empty()
        || !spec.ip_addresses.is_empty()
        || !spec.other_names.is_empty();
    if !has_name {
        let detail = "at least one of commonName (from the commonName field or from a literalSubject), dnsNames, \
                      uriSANs, ipAddresses, emailSANs or otherNames must be set";
        problems.push(Problem::invalid("spec", "", detail));
    }
    for (index, address) in spec.ip_addresses.iter().enumerate() {
        if address.parse::<std::net::IpAddr>().is_err() {
            problems.push(Problem::invalid(format!("spec.ipAddresses[{index}]"), address, "invalid IP address"));
        }
    }
    for (index, address) in spec.email_addresses.iter().enumerate() {
        let is_bare = address.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
            && !address.contains(|c: char| c.is_whitespace() || "<>()\",;".contains(c));
        if !is_bare {
            let detail = "invalid email address: must be a bare address without a display name";
            problems.push(Problem::invalid(format!("spec.emailAddresses[{index}]"), address, detail));
        }
    }
    for (index, other) in spec.other_names.iter().enumerate() {
        let path = |field: &str| format!("spec.otherNames[{index}].{field}");
        let oid = other.oid.as_deref().unwrap_or_default();
        if oid.is_empty() {
            problems.push(Problem::required(path("oid"), "must be specified"));
        } else if !is_dotted(oid) {
            problems.push(Problem::invalid(path("oid"), oid, "must be an object identifier in dotted numbers"));
        }
        if other.utf8_value.as_deref().unwrap_or_default().is_empty() {
            problems.push(Problem::required(path("utf8Value"), "must be set to a valid non-empty UTF8 string"));
        }
    }
    problems
}

fn is_dotted(oid: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    oid.contains('.') && oid.split('.').all(is_number)
}

fn key(spec: &CertificateSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let key = spec.private_key.clone().unwrap_or_default();
    let size = key.size.unwrap_or_default();
    let algorithm = key.algorithm.as_deref().filter(|text| !text.is_empty()).unwrap_or("RSA");
    let signatures: &[&str] = match algorithm {
        "RSA" => &["SHA256WithRSA", "SHA384WithRSA", "SHA512WithRSA"],
        "ECDSA" => &["ECDSAWithSHA256", "ECDSAWithSHA384", "ECDSAWithSHA512"],
        "Ed25519" => &["PureEd25519"],
        other => {
            let known = ["RSA", "ECDSA", "Ed25519"];
            return vec![Problem::unsupported("spec.privateKey.algorithm", other, &known)];
        }
    };
    match algorithm {
        "RSA" if size != 0 && !(2048..=8192).contains(&size) => {
            let detail = "must be between 2048 and 8192 for rsa keyAlgorithm";
            problems.push(Problem::invalid("spec.privateKey.size", size, detail));
        }
        "ECDSA" if ![0, 256, 384, 521].contains(&size) => {
            let known = ["256", "384", "521"];
            problems.push(Problem::unsupported("spec.privateKey.size", &size.to_string(), &known));
        }
        _ => {}
    }
    if let Some(signature) = spec.signature_algorithm.as_deref().filter(|text| !text.is_empty())
        && !signatures.contains(&signature)
    {
        let detail = format!("for key algorithm {algorithm} the allowed signature algorithms are {signatures:?}");
        problems.push(Problem::invalid("spec.signatureAlgorithm", signature, &detail));
    }
    problems
}

fn times(spec: &CertificateSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut read = |path: &str, given: &Option<GoDuration>| match given.as_ref().map(GoDuration::to_duration) {
        None => None,
        Some(Ok(duration)) => Some(duration),
        Some(Err(error)) => {
            problems.push(Problem::invalid(path, given, &error.to_string()));
            None
        }
    };
    let duration = read("spec.duration", &spec.duration).unwrap_or(DEFAULT_DURATION);
    let renew_before = read("spec.renewBefore", &spec.renew_before);
    if duration < LEAST_DURATION {
        problems.push(Problem::invalid(
            "spec.duration",
            &spec.duration,
            "certificate duration must be greater than 1h0m0s",
        ));
    }
    if spec.renew_before.is_some() && spec.renew_before_percentage.is_some() {
        let detail = "renewBefore and renewBeforePercentage are mutually exclusive and cannot both be set";
        problems.push(Problem::invalid("spec.renewBefore", &spec.renew_before, detail));
    }
    if let Some(renew_before) = renew_before {
        if renew_before < LEAST_RENEW_BEFORE {
            let detail = "certificate renewBefore must be greater than 5m0s";
            problems.push(Problem::invalid("spec.renewBefore", &spec.renew_before, detail));
        }
        if renew_before >= duration {
            let detail = "certificate duration must be greater than renewBefore";
            problems.push(Problem::invalid("spec.renewBefore", &spec.renew_before, detail));
        }
    }
    if let Some(percentage) = spec.renew_before_percentage
        && !(1..=99).contains(&percentage)
    {
        let detail = "must be between 1 and 99";
        problems.push(Problem::invalid("spec.renewBeforePercentage", percentage, detail));
    }
    if spec.revision_history_limit.is_some_and(|limit| limit < 1) {
        let detail = "must be greater than or equal to 1";
        problems.push(Problem::invalid("spec.revisionHistoryLimit", spec.revision_history_limit, detail));
    }
    problems
}

/// `spec.usages` of Certificates and CertificateRequests.
pub(super) fn usages(usages: &[String]) -> Vec<Problem> {
    let is_unknown = |usage: &&String| Usages::from_spec(&[usage], false).is_err();
    let problem =
        |(index, usage): (usize, &String)| Problem::invalid(format!("spec.usages[{index}]"), usage, "unknown keyusage");
    usages.iter().enumerate().filter(|(_, usage)| is_unknown(usage)).map(problem).collect()
}

fn secret_template(spec: &CertificateSpec) -> Vec<Problem> {
    let Some(template) = &spec.secret_template else { return Vec::new() };
    let mut problems = Vec::new();
    for (key, value) in &template.labels {
        if !is_qualified_name(key) {
            problems.push(Problem::invalid("spec.secretTemplate.labels", key, "is no key for a label"));
        }
        if !value.is_empty() && !is_name(value) {
            problems.push(Problem::invalid("spec.secretTemplate.labels", value, "is no value for a label"));
        }
    }
    for key in template.annotations.keys() {
        let path = "spec.secretTemplate.annotations";
        if !is_qualified_name(&key.to_ascii_lowercase()) {
            problems.push(Problem::invalid(path, key, "is no key for an annotation"));
        }
        if key.starts_with("cert-manager.io/") && key != annotation::ALLOW_DIRECT_INJECTION {
            problems.push(Problem::invalid(path, key, "cert-manager.io/* annotations are not allowed"));
        }
    }
    problems
}

fn name_constraints(spec: &CertificateSpec) -> Vec<Problem> {
    let Some(constraints) = &spec.name_constraints else { return Vec::new() };
    let path = "spec.nameConstraints";
    let mut problems = Vec::new();
    if !spec.is_ca {
        problems.push(Problem::invalid(path, constraints, "isCa should be true when nameConstraints is set"));
    }
    if constraints.permitted.is_none() && constraints.excluded.is_none() {
        let detail = "either permitted or excluded must be set in order to set nameConstraints";
        problems.push(Problem::invalid(path, constraints, detail));
    }
    problems
}

fn output_formats(spec: &CertificateSpec) -> Vec<Problem> {
    let types: Vec<&str> = spec.additional_output_formats.iter().map(|format| format.type_.as_str()).collect();
    let repeated = |index: &usize| types[..*index].contains(&types[*index]);
    let problem =
        |index: usize| Problem::duplicate(format!("spec.additionalOutputFormats[{index}].type"), types[index]);
    (0..types.len()).filter(repeated).map(problem).collect()
}

/// Nothing is said of values, which may be passwords.
fn keystores(keystores: &CertificateKeystores) -> Vec<Problem> {
    let jks = keystores.jks.as_ref().map(|store| ("jks", &store.password, &store.password_secret_ref));
    let pkcs12 = keystores.pkcs12.as_ref().map(|store| ("pkcs12", &store.password, &store.password_secret_ref));
    let problem = |(field, password, reference): (
        &str,
        &Option<crate::api::Sensitive>,
        &Option<crate::api::SecretKeySelector>,
    )| {
        let path = format!("spec.keystores.{field}");
        let is_selected = reference.as_ref().is_some_and(|reference| !reference.is_unset());
        match password {
            Some(_) if is_selected => Some(Problem::forbidden(
                path,
                "exactly one of passwordSecretRef and password must be provided, not both",
            )),
            Some(password) if password.is_empty() => {
                Some(Problem::forbidden(format!("{path}.password"), "password must not be empty"))
            }
            None if !is_selected => {
                Some(Problem::forbidden(path, "must set exactly one of passwordSecretRef and password"))
            }
            _ => None,
        }
    };
    [jks, pkcs12].into_iter().flatten().filter_map(problem).collect()
}

fn renewal(spec: &CertificateSpec) -> Vec<Problem> {
    let Some(renewal) = &spec.renewal else { return Vec::new() };
    let mut problems = Vec::new();
    let policy = renewal.policy.as_deref().unwrap_or_default();
    if !["RenewBefore", "Disabled"].contains(&policy) {
        problems.push(Problem::unsupported("spec.renewal.policy", policy, &["RenewBefore", "Disabled"]));
    }
    if policy == "Disabled" && !renewal.windows.is_empty() {
        problems.push(Problem::forbidden("spec.renewal.windows", "windows must not be set when policy is Disabled"));
    }
    for (index, window) in renewal.windows.iter().enumerate() {
        let path = |field: &str| format!("spec.renewal.windows[{index}].{field}");
        if let Err(error) = Schedule::parse(&window.cron) {
            problems.push(Problem::invalid(path("cron"), &window.cron, &error.to_string()));
        }
        if let Some(zone) = window.timezone.as_deref()
            && TimeZone::get(zone).is_err()
        {
            problems.push(Problem::invalid(path("timezone"), zone, "is no time zone of the tz database"));
        }
        if window.window_duration.to_duration().is_err() {
            problems.push(Problem::required(path("windowDuration"), "must be a duration, such as 2h"));
        }
    }
    problems
}

fn unless(is_well: bool, problem: impl FnOnce() -> Problem) -> Vec<Problem> {
    if is_well { Vec::new() } else { vec![problem()] }
}
