//! Signing without ACME: the keys that issuers sign with, and the signing itself.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::ResourceExt;

use super::{Context, step_error::StepError};
use crate::{
    api::{CertificateRequest, names::annotation},
    cluster::ObjectName,
    decide::{
        authority::{Authority, SeenAuthority, SeenKey},
        issuer_of::SeenIssuerOf,
        secret::{TLS_KEY, entry},
    },
    pki::{Issuance, ParsedCertificate, ParsedRequest, PrivateKey, bundle, usage::Usages},
};

/// More than these are never kept; the next use reads them anew.
const MOST_KEPT: usize = 4096;

/// The CAs' key pairs as last read, so that a thousand requests do not read one Secret a thousand times. A pass over the
/// issuer, which every change of its Secret causes, reads it anew.
#[derive(Default)]
pub struct Authorities {
    held: Mutex<HashMap<ObjectName, Held>>,
}

struct Held {
    version: Option<String>,
    authority: Arc<Authority>,
}

impl Authorities {
    fn get(&self, name: &ObjectName) -> Option<Arc<Authority>> {
        self.lock().get(name).map(|held| held.authority.clone())
    }

    fn of_version(&self, name: &ObjectName, version: Option<&String>) -> Option<Arc<Authority>> {
        let held = self.lock();
        let held = held.get(name).filter(|held| version.is_some() && held.version.as_ref() == version)?;
        Some(held.authority.clone())
    }

    fn keep(&self, name: &ObjectName, version: Option<String>, authority: &Arc<Authority>) {
        let mut held = self.lock();
        if held.len() >= MOST_KEPT {
            held.clear();
        }
        held.insert(name.clone(), Held { version, authority: authority.clone() });
    }

    fn forget(&self, name: &ObjectName) {
        self.lock().remove(name);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectName, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The CA's key pair in this Secret as it is now.
pub(super) async fn read_authority(context: &Context, name: &ObjectName) -> Result<SeenAuthority, StepError> {
    let secret = context.cluster.secrets.get(name).await?;
    Ok(take_in(context, name, secret.as_deref()))
}

/// The CA's key pair in this Secret as last read; read now if it was not yet.
pub(super) async fn known_authority(context: &Context, name: &ObjectName) -> Result<SeenAuthority, StepError> {
    if let Some(secret) = context.cluster.hub.secrets.get(name) {
        return Ok(take_in(context, name, Some(&*secret)));
    }
    match context.authorities.get(name) {
        Some(authority) => Ok(SeenAuthority::Usable(authority)),
        None => read_authority(context, name).await,
    }
}

fn take_in(context: &Context, name: &ObjectName, secret: Option<&Secret>) -> SeenAuthority {
    let Some(secret) = secret else {
        context.authorities.forget(name);
        return SeenAuthority::Missing(format!("The Secret {name}"));
    };
    let version = secret.resource_version();
    if let Some(authority) = context.authorities.of_version(name, version.as_ref()) {
        return SeenAuthority::Usable(authority);
    }
    match Authority::from_secret(secret) {
        Ok(authority) => {
            let authority = Arc::new(authority);
            context.authorities.keep(name, version, &authority);
            SeenAuthority::Usable(authority)
        }
        Err(why) => {
            context.authorities.forget(name);
            SeenAuthority::Unusable(why)
        }
    }
}

/// The key that a self-signed certificate is signed with.
pub(super) async fn own_key(context: &Context, request: &CertificateRequest) -> Result<SeenKey, StepError> {
    let named = request.annotations().get(annotation::PRIVATE_KEY_SECRET_NAME).filter(|name| !name.is_empty());
    let Some(named) = named else { return Ok(SeenKey::Unnamed) };
    let name = ObjectName::new(request.namespace().unwrap_or_default(), named);
    let Some(secret) = context.cluster.secrets.get(&name).await? else {
        return Ok(SeenKey::Missing(format!("The Secret {name}")));
    };
    let Some(pem) = entry(&secret, TLS_KEY) else {
        return Ok(SeenKey::Unusable(format!("The Secret {name} has no private key under {TLS_KEY}")));
    };
    Ok(match PrivateKey::from_pem(pem) {
        Ok(key) => SeenKey::Usable(key),
        Err(error) => {
            SeenKey::Unusable(format!("The Secret {name} has no usable private key under {TLS_KEY}: {error}"))
        }
    })
}

/// What a signed request gets.
#[derive(Debug)]
pub struct Signed {
    /// PEM: the certificate, then the chain up to what is not self-signed.
    pub certificate: ByteString,
    /// PEM: the CA's certificate.
    pub ca: Option<ByteString>,
}

/// Signs a certificate for this request with the key of its issuer.
///
/// # Errors
/// In words for people, when the request asks for something that cannot be signed.
pub fn sign(
    request: &CertificateRequest,
    issuer: SeenIssuerOf<'_>,
    (not_before, not_after): (Timestamp, Timestamp),
) -> Result<Signed, String> {
    let parsed = ParsedRequest::from_pem(&request.spec.request.0).map_err(|error| format!("spec.request: {error}"))?;
    let is_ca = request.spec.is_ca;
    let usages = Usages::from_spec(&request.spec.usages, is_ca).map_err(|error| format!("spec.usages: {error}"))?;
    let mut issuance = Issuance {
        request: &parsed,
        usages: &usages,
        is_ca,
        not_before,
        not_after,
        crl_distribution_points: &[],
        ocsp_servers: &[],
        issuing_certificate_urls: &[],
    };
    match issuer {
        SeenIssuerOf::Ca { ca, authority: SeenAuthority::Usable(authority), .. } => {
            issuance.crl_distribution_points = &ca.crl_distribution_points;
            issuance.ocsp_servers = &ca.ocsp_servers;
            issuance.issuing_certificate_urls = &ca.issuing_certificate_urls;
            sign_with_ca(&issuance, authority)
        }
        SeenIssuerOf::SelfSigned { self_signed, key: SeenKey::Usable(key), .. } => {
            issuance.crl_distribution_points = &self_signed.crl_distribution_points;
            let der = issuance.self_sign(key).map_err(|error| error.to_string())?;
            let pem = parse(&der)?.to_pem();
            Ok(Signed { certificate: bytes(&pem), ca: Some(bytes(&pem)) })
        }
        _ => Err("the issuer cannot sign at the moment".to_owned()),
    }
}

fn sign_with_ca(issuance: &Issuance<'_>, authority: &Authority) -> Result<Signed, String> {
    let own = authority.certificate().ok_or("the CA has no certificate")?;
    own.may_issue(issuance.is_ca).map_err(|error| error.to_string())?;
    let der = issuance.sign_with_ca(own, &authority.key).map_err(|error| error.to_string())?;
    let all = std::iter::once(parse(&der)?).chain(authority.chain.iter().cloned()).collect();
    let bundle =
        bundle(all).map_err(|error| format!("the certificates in the CA's Secret do not belong together: {error}"))?;
    let chain: String = bundle.chain.iter().map(ParsedCertificate::to_pem).collect();
    Ok(Signed { certificate: bytes(&chain), ca: bundle.ca.map(|ca| bytes(&ca.to_pem())) })
}

fn parse(der: &[u8]) -> Result<ParsedCertificate, String> {
    ParsedCertificate::from_der(der).map_err(|error| error.to_string())
}

fn bytes(text: &str) -> ByteString {
    ByteString(text.as_bytes().to_vec())
}
