//! The target Secret of a Certificate.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{ResourceExt, api::ObjectMeta};

use super::{children::owner_references, owned_fields::OwnedFields, revocation::Revoked};
use crate::{
    api::{
        Certificate, CertificateRequest, IssuerReference,
        names::{annotation, label},
    },
    pki::{ParsedCertificate, pem},
};

pub const TLS_CERT: &str = "tls.crt";
pub const TLS_KEY: &str = "tls.key";
pub const CA_CERT: &str = "ca.crt";
pub const KEY_DER: &str = "key.der";
pub const COMBINED_PEM: &str = "tls-combined.pem";

/// The type of a Secret that certwright creates.
pub const TYPE_TLS: &str = "kubernetes.io/tls";

/// One entry of a Secret; an empty one counts as none.
pub fn entry<'a>(secret: &'a Secret, key: &str) -> Option<&'a [u8]> {
    secret.data.as_ref()?.get(key).map(|value| value.0.as_slice()).filter(|value| !value.is_empty())
}

/// The issuer that the certificate in a Secret came from, as far as that is noted there.
pub fn noted_issuer(secret: &Secret) -> Option<IssuerReference> {
    let noted = |key: &str| secret.annotations().get(key).cloned();
    Some(IssuerReference {
        name: noted(annotation::ISSUER_NAME)?,
        kind: noted(annotation::ISSUER_KIND),
        group: noted(annotation::ISSUER_GROUP),
    })
}

/// What goes into the target Secret, wherever it comes from. There is no `Debug`: it holds the private key.
#[derive(Clone, PartialEq)]
pub struct Content {
    /// PEM, in the encoding that the Certificate asks for.
    pub key: Vec<u8>,
    /// PEM: the certificate, then those that it was issued by.
    pub chain: ByteString,
    /// PEM: the CA's certificate, if the issuer gave one.
    pub ca: Option<ByteString>,
    /// Who issued the certificate, as far as that is known.
    pub issuer: Option<IssuerReference>,
    /// The wish for a renewal at a time that this content fulfils.
    pub renewed_at: Option<String>,
    /// The last revocation that was asked for.
    pub revoked: Option<Revoked>,
}

impl Content {
    /// What the issuer answered to a request of this Certificate for this key.
    pub fn of_request(request: &CertificateRequest, certificate: &Certificate, key: String) -> Self {
        let status = request.status.clone().unwrap_or_default();
        Self {
            key: key.into_bytes(),
            chain: status.certificate.unwrap_or_default(),
            ca: status.ca.filter(|ca| !ca.0.is_empty()),
            issuer: Some(request.spec.issuer_ref.clone()),
            revoked: None,
            renewed_at: certificate.annotations().get(annotation::RENEW_AT).filter(|at| is_after(request, at)).cloned(),
        }
    }

    /// What the Secret holds already. A CA's certificate that somebody took out is still in `request`, the one that the
    /// Secret came from.
    pub fn of_secret(secret: &Secret, request: Option<&CertificateRequest>) -> Option<Self> {
        // Somebody else's ca.crt stays somebody else's.
        let owned = OwnedFields::of(secret).data;
        let held = entry(secret, CA_CERT).filter(|_| owned.is_empty() || owned.contains(CA_CERT));
        let chain = entry(secret, TLS_CERT)?;
        let answered = |request: &&CertificateRequest| {
            let issued = request.status.as_ref().and_then(|answer| answer.certificate.as_ref());
            issued.is_some_and(|issued| issued.0 == chain)
        };
        let request = request.filter(answered);
        let answer = request.and_then(|request| request.status.as_ref());
        let ca = match entry(secret, CA_CERT) {
            Some(_) => held.map(|ca| ByteString(ca.to_vec())),
            None => answer.and_then(|answer| answer.ca.clone()).filter(|ca| !ca.0.is_empty()),
        };
        Some(Self {
            key: entry(secret, TLS_KEY)?.to_vec(),
            chain: ByteString(chain.to_vec()),
            ca,
            issuer: noted_issuer(secret).or_else(|| request.map(|request| request.spec.issuer_ref.clone())),
            renewed_at: secret.annotations().get(annotation::RENEWED_AT).cloned(),
            revoked: Revoked::of(secret),
        })
    }
}

/// Whether the request was made at this time (RFC 3339) or later.
fn is_after(request: &CertificateRequest, at: &str) -> bool {
    let at: Option<Timestamp> = at.parse().ok();
    at.zip(request.creation_timestamp()).is_some_and(|(at, made)| made.0 >= at)
}

/// The target Secret as it is to be, but for keystores, whose bytes differ each time they are written: see
/// [`super::keystore::adopt`].
///
/// `type_` is that of the Secret which is there already, because a Secret's type cannot be changed.
pub fn wanted(
    certificate: &Certificate,
    content: &Content,
    leaf: &ParsedCertificate,
    type_: Option<&str>,
    owner_reference: bool,
) -> Secret {
    let template = certificate.spec.secret_template.clone().unwrap_or_default();
    let mut labels = template.labels;
    labels.insert(label::FAO.to_owned(), "true".to_owned());
    let mut annotations = template.annotations;
    annotations.extend(details(leaf));
    annotations.insert(annotation::CERTIFICATE_NAME.to_owned(), certificate.name_any());
    annotations.extend(content.issuer.iter().flat_map(origin));
    annotations.extend(content.renewed_at.clone().map(|at| (annotation::RENEWED_AT.to_owned(), at)));
    annotations.extend(content.revoked.as_ref().map(|revoked| (annotation::REVOKED.to_owned(), revoked.noted())));
    let owners = wants_owner(certificate, owner_reference).then(|| owner_references(certificate)).flatten();
    Secret {
        metadata: ObjectMeta {
            namespace: certificate.namespace(),
            name: Some(certificate.spec.secret_name.clone()),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: owners,
            ..ObjectMeta::default()
        },
        data: Some(data(certificate, content)),
        type_: Some(type_.unwrap_or(TYPE_TLS).to_owned()),
        ..Secret::default()
    }
}

/// The target Secret while it holds a temporary certificate: it does not say who issued that.
pub fn temporary(certificate: &Certificate, key: Vec<u8>, chain: Vec<u8>, type_: Option<&str>) -> Secret {
    Secret {
        metadata: ObjectMeta {
            namespace: certificate.namespace(),
            name: Some(certificate.spec.secret_name.clone()),
            labels: Some([(label::FAO.to_owned(), label::TRUE.to_owned())].into()),
            annotations: Some([(annotation::CERTIFICATE_NAME.to_owned(), certificate.name_any())].into()),
            ..ObjectMeta::default()
        },
        data: Some([(TLS_CERT.to_owned(), ByteString(chain)), (TLS_KEY.to_owned(), ByteString(key))].into()),
        type_: Some(type_.unwrap_or(TYPE_TLS).to_owned()),
        ..Secret::default()
    }
}

/// A Certificate's own wish goes before what the operator chose for all.
fn wants_owner(certificate: &Certificate, default: bool) -> bool {
    match certificate.annotations().get(annotation::SECRET_POLICY).map(String::as_str) {
        Some("Delete") => true,
        Some("Orphan") => false,
        _ => default,
    }
}

fn data(certificate: &Certificate, content: &Content) -> BTreeMap<String, ByteString> {
    let mut data = BTreeMap::from([
        (TLS_CERT.to_owned(), content.chain.clone()),
        (TLS_KEY.to_owned(), ByteString(content.key.clone())),
    ]);
    data.extend(content.ca.clone().map(|ca| (CA_CERT.to_owned(), ca)));
    for format in &certificate.spec.additional_output_formats {
        match format.type_.as_str() {
            "DER" => {
                let blocks = pem::decode("private key", &content.key, pem::limits().private_key).unwrap_or_default();
                let key = blocks.into_iter().next().map(|block| (KEY_DER.to_owned(), ByteString(block.der)));
                data.extend(key);
            }
            "CombinedPEM" => {
                let combined = [&content.key[..], b"\n", &content.chain.0].concat();
                data.insert(COMBINED_PEM.to_owned(), ByteString(combined));
            }
            // A format of a newer version.
            _ => {}
        }
    }
    data
}

/// Whether the Secret differs from what is wanted, as far as it is ours.
pub fn differs(secret: &Secret, wanted: &Secret) -> bool {
    let owned = OwnedFields::of(secret);
    let is_other = |held: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>, owned: &BTreeSet<String>| {
        wanted.iter().any(|(key, value)| held.get(key) != Some(value) || !owned.contains(key))
            || owned.iter().any(|key| !wanted.contains_key(key))
    };
    let (empty, none) = (BTreeMap::new(), BTreeMap::new());
    let (held, data) = (secret.data.as_ref().unwrap_or(&empty), wanted.data.as_ref().unwrap_or(&none));
    let is_stale = |key: &String| !data.contains_key(key) && held.contains_key(key);
    let wanted_owners = wanted.owner_references();
    let is_there = |owner: &OwnerReference| secret.owner_references().iter().any(|held| held.uid == owner.uid);
    is_other(secret.labels(), wanted.labels(), &owned.labels)
        || is_other(secret.annotations(), wanted.annotations(), &owned.annotations)
        || data.iter().any(|(key, value)| held.get(key) != Some(value))
        || owned.data.iter().any(is_stale)
        || !wanted_owners.iter().all(is_there)
        || (wanted_owners.is_empty() && owned.owner_references)
}

/// Where the certificate came from.
fn origin(issuer: &IssuerReference) -> [(String, String); 3] {
    [
        (annotation::ISSUER_NAME.to_owned(), issuer.name.clone()),
        (annotation::ISSUER_KIND.to_owned(), issuer.kind.clone().unwrap_or_default()),
        (annotation::ISSUER_GROUP.to_owned(), issuer.group.clone().unwrap_or_default()),
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
pub(super) fn comma_separated(values: &[String]) -> String {
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
