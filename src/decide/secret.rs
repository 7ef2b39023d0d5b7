//! The target Secret of a Certificate.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Resource, ResourceExt, api::ObjectMeta};

use crate::{
    api::{
        Certificate, CertificateRequest,
        names::{annotation, label},
    },
    pki::ParsedCertificate,
};

pub const TLS_CERT: &str = "tls.crt";
pub const TLS_KEY: &str = "tls.key";
pub const CA_CERT: &str = "ca.crt";

/// The type of a Secret that certwright creates.
pub const TYPE_TLS: &str = "kubernetes.io/tls";

/// One entry of a Secret; an empty one counts as none.
pub fn entry<'a>(secret: &'a Secret, key: &str) -> Option<&'a [u8]> {
    secret.data.as_ref()?.get(key).map(|value| value.0.as_slice()).filter(|value| !value.is_empty())
}

/// The Secret as it is applied once a certificate has been issued and verified.
///
/// `key` is PEM in the encoding that the Certificate asks for; `type_` is that of the Secret which is there already,
/// because a Secret's type cannot be changed.
pub fn wanted(
    certificate: &Certificate,
    request: &CertificateRequest,
    leaf: &ParsedCertificate,
    key: String,
    type_: Option<&str>,
    owner_reference: bool,
) -> Secret {
    let status = request.status.clone().unwrap_or_default();
    let chain = status.certificate.unwrap_or_default();
    let mut data = BTreeMap::from([(TLS_CERT.to_owned(), chain), (TLS_KEY.to_owned(), ByteString(key.into_bytes()))]);
    if let Some(ca) = status.ca.filter(|ca| !ca.0.is_empty()) {
        data.insert(CA_CERT.to_owned(), ca);
    }
    let template = certificate.spec.secret_template.clone().unwrap_or_default();
    let mut labels = template.labels;
    labels.insert(label::FAO.to_owned(), "true".to_owned());
    let mut annotations = template.annotations;
    annotations.extend(details(leaf));
    annotations.extend(origin(certificate, request));
    let owner = owner_reference.then(|| certificate.controller_owner_ref(&())).flatten();
    Secret {
        metadata: ObjectMeta {
            namespace: certificate.namespace(),
            name: Some(certificate.spec.secret_name.clone()),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: owner.map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(data),
        type_: Some(type_.unwrap_or(TYPE_TLS).to_owned()),
        ..Secret::default()
    }
}

/// Where the certificate came from.
fn origin(certificate: &Certificate, request: &CertificateRequest) -> [(String, String); 4] {
    let issuer = request.spec.issuer_ref.clone();
    [
        (annotation::CERTIFICATE_NAME.to_owned(), certificate.name_any()),
        (annotation::ISSUER_NAME.to_owned(), issuer.name),
        (annotation::ISSUER_KIND.to_owned(), issuer.kind.unwrap_or_default()),
        (annotation::ISSUER_GROUP.to_owned(), issuer.group.unwrap_or_default()),
    ]
}

/// What the certificate says, for people who look at the Secret.
fn details(leaf: &ParsedCertificate) -> BTreeMap<String, String> {
    let names = &leaf.names;
    let addresses: Vec<String> = names.ip_addresses.iter().map(ToString::to_string).collect();
    let subject = &leaf.subject;
    let mut details = BTreeMap::from([
        (annotation::COMMON_NAME.to_owned(), leaf.common_name.clone().unwrap_or_default()),
        (annotation::ALT_NAMES.to_owned(), comma_separated(&names.dns_names)),
        (annotation::IP_SANS.to_owned(), comma_separated(&addresses)),
        (annotation::URI_SANS.to_owned(), comma_separated(&names.uris)),
    ]);
    let if_any = [
        (annotation::EMAIL_SANS, comma_separated(&names.email_addresses)),
        (annotation::SUBJECT_ORGANIZATIONS, comma_separated(&subject.organizations)),
        (annotation::SUBJECT_ORGANIZATIONAL_UNITS, comma_separated(&subject.organizational_units)),
        (annotation::SUBJECT_COUNTRIES, comma_separated(&subject.countries)),
        (annotation::SUBJECT_PROVINCES, comma_separated(&subject.provinces)),
        (annotation::SUBJECT_LOCALITIES, comma_separated(&subject.localities)),
        (annotation::SUBJECT_STREET_ADDRESSES, comma_separated(&subject.street_addresses)),
        (annotation::SUBJECT_POSTAL_CODES, comma_separated(&subject.postal_codes)),
        (annotation::SUBJECT_SERIAL_NUMBER, subject.serial_number.clone().unwrap_or_default()),
    ];
    details
        .extend(if_any.into_iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| (key.to_owned(), value)));
    details
}

/// One line of CSV (RFC 4180): a value with a comma, a quote or a line break is quoted.
fn comma_separated(values: &[String]) -> String {
    let quoted = |value: &String| {
        if value.contains([',', '"', '\n', '\r']) || value.starts_with(' ') {
            format!("\"{}\"", value.replace('"', "\"\""))
        } else {
            value.clone()
        }
    };
    values.iter().map(quoted).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_one_line_of_csv() {
        let line =
            |values: &[&str]| comma_separated(&values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>());
        assert_eq!(line(&["a", "b"]), "a,b");
        assert_eq!(line(&["Smith, John", "say \"hi\""]), "\"Smith, John\",\"say \"\"hi\"\"\"");
        assert_eq!(line(&[]), "");
    }
}
