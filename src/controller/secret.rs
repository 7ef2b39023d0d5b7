//! The target Secret: adding keystores to it, and temporary certificates.

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};

use crate::{
    api::Certificate,
    decide::{
        certificate::WantedSecret,
        keystore::{Form, Wish},
        policy::{TEMPORARY_CA, TEMPORARY_SERIAL_NUMBER},
        secret::{self, CA_CERT, TLS_CERT, TLS_KEY, entry},
        signing, template,
    },
    pki::{
        CertificateRequestTemplate, Curve, Issuance, KeyAlgorithm, ParsedCertificate, ParsedRequest, PrivateKey,
        Usages,
        keystore::{jks_keystore, jks_truststore, pkcs12_keystore, pkcs12_truststore},
    },
};

/// The Secret with its keystores.
///
/// # Errors
/// In words for people.
pub fn with_keystores(wanted: WantedSecret, now: Timestamp) -> Result<Secret, String> {
    let WantedSecret { mut secret, keystores } = wanted;
    if keystores.is_empty() {
        return Ok(secret);
    }
    let pem = |name: &str| entry(&secret, name).unwrap_or_default();
    let key = PrivateKey::from_pem(pem(TLS_KEY)).map_err(|error| error.to_string())?;
    let chain = ParsedCertificate::from_pem_chain(pem(TLS_CERT)).map_err(|error| error.to_string())?;
    let authorities = match entry(&secret, CA_CERT) {
        Some(ca) => ParsedCertificate::from_pem_chain(ca).map_err(|error| error.to_string())?,
        None => Vec::new(),
    };
    let mut files = Vec::new();
    for wish in &keystores {
        let (store, trust) = wish.entries();
        let written = write(wish, &key, &chain, &authorities, now)
            .map_err(|error| format!("Failed to write the keystore {store}: {error}"))?;
        files.push((store.to_owned(), ByteString(written.0)));
        files.extend(written.1.map(|bytes| (trust.to_owned(), ByteString(bytes))));
    }
    secret.data.get_or_insert_default().extend(files);
    Ok(secret)
}

/// Keystore, and truststore if there is anything to trust.
fn write(
    wish: &Wish,
    key: &PrivateKey,
    chain: &[ParsedCertificate],
    authorities: &[ParsedCertificate],
    now: Timestamp,
) -> Result<(Vec<u8>, Option<Vec<u8>>), crate::pki::Error> {
    let password = wish.password.expose();
    let (store, trust) = match &wish.form {
        Form::Jks { alias } => {
            (jks_keystore(password, alias, key, chain, authorities, now)?, jks_truststore(password, authorities, now)?)
        }
        Form::Pkcs12(profile) => (
            pkcs12_keystore(*profile, password, key, chain, authorities)?,
            pkcs12_truststore(*profile, password, authorities)?,
        ),
    };
    Ok((store, (!authorities.is_empty()).then_some(trust)))
}

/// The target Secret with a certificate for this key that nobody trusts, until the real one is there.
///
/// # Errors
/// In words for people.
pub fn temporary(
    certificate: &Certificate,
    held: Option<&Secret>,
    key: &[u8],
    now: Timestamp,
) -> Result<Secret, String> {
    let spec = &certificate.spec;
    let key = PrivateKey::from_pem(key).map_err(|error| error.to_string())?;
    let mut wanted = template::request_template(spec).map_err(|error| error.to_string())?;
    if wanted.literal_subject.take().is_some() {
        wanted.subject = crate::pki::Subject::default();
    }
    wanted.subject.serial_number = Some(TEMPORARY_SERIAL_NUMBER.to_owned());
    let chain = sign_temporarily(&wanted, &key, spec.duration.clone(), now).map_err(|error| error.to_string())?;
    let pem = key.to_pem(template::key_encoding(spec)).map_err(|error| error.to_string())?;
    let type_ = held.and_then(|held| held.type_.as_deref());
    Ok(secret::temporary(certificate, pem.into_bytes(), chain.into_bytes(), type_))
}

fn sign_temporarily(
    wanted: &CertificateRequestTemplate,
    key: &PrivateKey,
    duration: Option<crate::api::GoDuration>,
    now: Timestamp,
) -> Result<String, Box<dyn std::error::Error>> {
    let request = crate::api::CertificateRequestSpec { duration, ..Default::default() };
    let (not_before, not_after) = signing::validity(&request, now, Timestamp::MAX)?;
    let issue =
        |template: &CertificateRequestTemplate, key: &PrivateKey, ca: Option<(&ParsedCertificate, &PrivateKey)>| {
            let request = ParsedRequest::from_der(&template.build(key)?)?;
            let usages = Usages::from_spec(&template.usages, template.is_ca)?;
            let issuance = Issuance {
                request: &request,
                usages: &usages,
                is_ca: template.is_ca,
                not_before,
                not_after,
                crl_distribution_points: &[],
                ocsp_servers: &[],
                issuing_certificate_urls: &[],
            };
            let der = match ca {
                Some((ca, key)) => issuance.sign_with_ca(ca, key)?,
                None => issuance.self_sign(key)?,
            };
            ParsedCertificate::from_der(&der)
        };
    let ca_key = PrivateKey::generate(KeyAlgorithm::Ecdsa(Curve::P521))?;
    let ca_template = CertificateRequestTemplate {
        common_name: Some(TEMPORARY_CA.to_owned()),
        is_ca: true,
        ..CertificateRequestTemplate::default()
    };
    let ca = issue(&ca_template, &ca_key, None)?;
    Ok(issue(wanted, key, Some((&ca, &ca_key)))?.to_pem())
}
