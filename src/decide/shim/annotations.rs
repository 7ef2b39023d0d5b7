//! What annotations say of the certificates that are to be made: each of them is a field of a Certificate.

use std::{collections::BTreeMap, fmt::Display};

use jiff::SignedDuration;
use serde::Deserialize;

use super::csv;
use crate::{
    api::{
        CertificateSpec, GoDuration,
        certificate::{CertificatePrivateKey, SecretTemplate, X509Subject},
        names::annotation,
    },
    pki::{
        names::{parse_ip_address, validate_email_address},
        usage::{self, Usages},
    },
};

/// X.509 has no room for more, in bytes.
const LONGEST_COMMON_NAME: usize = 64;

/// What the annotations of one object say.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wishes {
    /// The fields; its names come in addition to the hosts.
    pub(super) spec: CertificateSpec,
}

impl Wishes {
    /// # Errors
    /// A sentence that names every annotation that cannot be read, what is wrong with it and what is allowed.
    pub(super) fn of(annotations: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut reader = Reader { annotations, problems: Vec::new() };
        let spec = CertificateSpec {
            common_name: reader.read(annotation::COMMON_NAME, common_name).filter(|name| !name.is_empty()),
            dns_names: reader.read(annotation::ALT_NAMES, |text| Ok::<_, String>(list(text))).unwrap_or_default(),
            ip_addresses: reader.read(annotation::IP_SANS, ip_addresses).unwrap_or_default(),
            email_addresses: reader.read(annotation::EMAIL_SANS, email_addresses).unwrap_or_default(),
            subject: subject(&mut reader),
            duration: reader.read(annotation::DURATION, |text| at_least(text, SignedDuration::from_hours(1), "1h")),
            renew_before: reader
                .read(annotation::RENEW_BEFORE, |text| at_least(text, SignedDuration::from_mins(5), "5m")),
            renew_before_percentage: reader
                .read(annotation::RENEW_BEFORE_PERCENTAGE, |text| whole_number(text, 1, 99, "from 1 to 99")),
            usages: reader
                .read(annotation::USAGES, usages)
                .unwrap_or_else(|| usage::DEFAULT.map(str::to_owned).to_vec()),
            revision_history_limit: reader
                .read(annotation::REVISION_HISTORY_LIMIT, |text| whole_number(text, 1, i32::MAX, "of 1 or more")),
            private_key: private_key(&mut reader),
            secret_template: reader.read(annotation::SECRET_TEMPLATE, secret_template),
            ..CertificateSpec::default()
        };
        match &reader.problems[..] {
            [] => Ok(Self { spec }),
            problems => Err(format!("Could not read annotations: {}", problems.join("; "))),
        }
    }
}

/// Reads annotations one by one, and notes what is wrong with them.
struct Reader<'a> {
    annotations: &'a BTreeMap<String, String>,
    problems: Vec<String>,
}

impl Reader<'_> {
    fn read<T, E: Display>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        match parse(self.annotations.get(key)?) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.problems.push(format!("{key}: {problem}"));
                None
            }
        }
    }

    fn values(&mut self, key: &str) -> Vec<String> {
        self.read(key, csv::values).unwrap_or_default()
    }

    fn one_of(&mut self, key: &str, allowed: &[&str]) -> Option<String> {
        self.read(key, |text| {
            if allowed.contains(&text) {
                return Ok(text.to_owned());
            }
            Err(format!("{text:?} is not known; use {}", allowed.join(" or ")))
        })
    }
}

fn common_name(text: &str) -> Result<String, String> {
    if text.len() > LONGEST_COMMON_NAME {
        return Err(format!("{text:?} is longer than {LONGEST_COMMON_NAME} bytes; a longer name can be a host"));
    }
    Ok(text.to_owned())
}

/// Values between commas, without what surrounds them.
fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned).collect()
}

fn ip_addresses(text: &str) -> Result<Vec<String>, String> {
    let values = list(text);
    values.iter().try_for_each(|value| parse_ip_address(value).map(drop)).map_err(|error| error.to_string())?;
    Ok(values)
}

fn email_addresses(text: &str) -> Result<Vec<String>, String> {
    let values = list(text);
    values.iter().try_for_each(|value| validate_email_address(value)).map_err(|error| error.to_string())?;
    Ok(values)
}

fn usages(text: &str) -> Result<Vec<String>, String> {
    let values = list(text);
    Usages::from_spec(&values, false).map_err(|error| error.to_string())?;
    Ok(values)
}

fn at_least(text: &str, least: SignedDuration, shown: &str) -> Result<GoDuration, String> {
    let duration = GoDuration::from(text).to_duration().map_err(|error| error.to_string())?;
    if duration < least {
        return Err(format!("{text:?} is too short; use {shown} or more"));
    }
    // As cert-manager writes it.
    Ok(GoDuration::from(duration))
}

fn whole_number(text: &str, least: i32, most: i32, allowed: &str) -> Result<i32, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("{text:?} is no whole number {allowed}"))
}

fn subject(reader: &mut Reader<'_>) -> Option<X509Subject> {
    let subject = X509Subject {
        organizations: reader.values(annotation::SUBJECT_ORGANIZATIONS),
        organizational_units: reader.values(annotation::SUBJECT_ORGANIZATIONAL_UNITS),
        countries: reader.values(annotation::SUBJECT_COUNTRIES),
        provinces: reader.values(annotation::SUBJECT_PROVINCES),
        localities: reader.values(annotation::SUBJECT_LOCALITIES),
        street_addresses: reader.values(annotation::SUBJECT_STREET_ADDRESSES),
        postal_codes: reader.values(annotation::SUBJECT_POSTAL_CODES),
        serial_number: reader.annotations.get(annotation::SUBJECT_SERIAL_NUMBER).cloned(),
    };
    (subject != X509Subject::default()).then_some(subject)
}

/// Which size goes with which algorithm is known where keys are made.
fn private_key(reader: &mut Reader<'_>) -> Option<CertificatePrivateKey> {
    let key = CertificatePrivateKey {
        algorithm: reader.one_of(annotation::PRIVATE_KEY_ALGORITHM, &["RSA", "ECDSA", "Ed25519"]),
        encoding: reader.one_of(annotation::PRIVATE_KEY_ENCODING, &["PKCS1", "PKCS8"]),
        size: reader
            .read(annotation::PRIVATE_KEY_SIZE, |text| {
                whole_number(text, 1, i32::MAX, "of bits, such as 2048 for RSA and 256 for ECDSA")
            })
            .map(i64::from),
        rotation_policy: reader.one_of(annotation::PRIVATE_KEY_ROTATION_POLICY, &["Never", "Always"]),
    };
    (key != CertificatePrivateKey::default()).then_some(key)
}

/// Labels and annotations for Secrets, as JSON.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Template {
    annotations: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

fn secret_template(text: &str) -> Result<SecretTemplate, String> {
    let Template { annotations, labels } = serde_json::from_str(text)
        .map_err(|error| format!("{error}; write an object such as {{\"labels\": {{\"key\": \"value\"}}}}"))?;
    if let Some(key) = annotations.keys().find(|key| key.starts_with("cert-manager.io/")) {
        return Err(format!("the annotation {key:?} cannot be set; those of cert-manager.io belong to the controller"));
    }
    Ok(SecretTemplate { annotations, labels })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wishes(given: &[(&str, &str)]) -> Result<CertificateSpec, String> {
        let given = given.iter().map(|(key, value)| (format!("cert-manager.io/{key}"), (*value).to_owned())).collect();
        Wishes::of(&given).map(|wishes| wishes.spec)
    }

    #[test]
    fn every_annotation_is_a_field() {
        let spec = wishes(&[
            ("common-name", "a.example.com"),
            ("alt-names", "b.example.com, c.example.com,"),
            ("ip-sans", "192.0.2.1,2001:db8::1"),
            ("email-sans", "me@example.com"),
            ("subject-organizations", "\"Example, Inc.\",Other"),
            ("subject-organizationalunits", "Web"),
            ("subject-countries", "DE"),
            ("subject-provinces", "Berlin"),
            ("subject-localities", "Mitte"),
            ("subject-streetaddresses", "Street 1"),
            ("subject-postalcodes", "10115"),
            ("subject-serialnumber", "7,8"),
            ("duration", "720h"),
            ("renew-before", "90m"),
            ("usages", "server auth, client auth"),
            ("revision-history-limit", "3"),
            ("private-key-algorithm", "ECDSA"),
            ("private-key-encoding", "PKCS8"),
            ("private-key-size", "384"),
            ("private-key-rotation-policy", "Never"),
            ("secret-template", "{\"labels\": {\"a\": \"b\"}, \"annotations\": {\"c\": \"d\"}}"),
        ])
        .unwrap();
        assert_eq!(
            serde_json::to_value(spec).unwrap(),
            json!({
                "secretName": "",
                "issuerRef": { "name": "" },
                "commonName": "a.example.com",
                "dnsNames": ["b.example.com", "c.example.com"],
                "ipAddresses": ["192.0.2.1", "2001:db8::1"],
                "emailAddresses": ["me@example.com"],
                "subject": {
                    "organizations": ["Example, Inc.", "Other"], "organizationalUnits": ["Web"], "countries": ["DE"],
                    "provinces": ["Berlin"], "localities": ["Mitte"], "streetAddresses": ["Street 1"],
                    "postalCodes": ["10115"], "serialNumber": "7,8",
                },
                "duration": "720h0m0s",
                "renewBefore": "1h30m0s",
                "usages": ["server auth", "client auth"],
                "revisionHistoryLimit": 3,
                "privateKey": { "algorithm": "ECDSA", "encoding": "PKCS8", "size": 384, "rotationPolicy": "Never" },
                "secretTemplate": { "labels": { "a": "b" }, "annotations": { "c": "d" } },
            })
        );
        assert_eq!(wishes(&[("renew-before-percentage", "25")]).unwrap().renew_before_percentage, Some(25));
        assert_eq!(wishes(&[]).unwrap().usages, ["digital signature", "key encipherment"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_the_name_of_the_annotation_and_what_is_allowed() {
        let long = "x".repeat(65);
        for (key, value, text) in [
            ("common-name", &*long, "longer than 64 bytes"),
            ("ip-sans", "192.0.2.1,x", "\"x\" is not an IP address"),
            ("email-sans", "me", "has no @"),
            ("subject-organizationalunits", "a\"b", "a quote"),
            ("duration", "90d", "such as \"2160h\""),
            ("duration", "59m", "\"59m\" is too short; use 1h or more"),
            ("renew-before", "4m", "use 5m or more"),
            ("renew-before-percentage", "0", "\"0\" is no whole number from 1 to 99"),
            ("usages", "server auth,flying", "flying"),
            ("revision-history-limit", "0", "of 1 or more"),
            ("private-key-algorithm", "rsa", "use RSA or ECDSA or Ed25519"),
            ("private-key-encoding", "PEM", "use PKCS1 or PKCS8"),
            ("private-key-size", "big", "such as 2048"),
            ("private-key-rotation-policy", "", "use Never or Always"),
            ("secret-template", "{\"label\": {}}", "unknown field `label`"),
            ("secret-template", "{\"annotations\": {\"cert-manager.io/x\": \"\"}}", "cannot be set"),
        ] {
            let problem = wishes(&[(key, value)]).unwrap_err();
            let start = format!("Could not read annotations: cert-manager.io/{key}: ");
            assert!(problem.starts_with(&start) && problem.contains(text), "{problem}");
        }
        let both = wishes(&[("duration", "x"), ("renew-before", "y")]).unwrap_err();
        assert!(both.contains("cert-manager.io/duration") && both.contains("; cert-manager.io/renew-before"), "{both}");
    }
}
