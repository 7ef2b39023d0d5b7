//! CA injection: what is to be written into the `caBundle` of an object that asks for it by annotation.
//!
//! What is there already stays beside the new certificate until it expires, so that a server may go on with a certificate
//! of the former CA while its successor spreads.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{
    Decision, Note, Wake,
    secret::{CA_CERT, entry},
};
use crate::{
    api::{
        CaSource, InjectionTarget,
        names::{annotation, event, label},
    },
    pki::{ParsedCertificate, pem},
};

/// What an object asks for and what is there.
#[derive(Clone, Copy, Debug)]
pub struct SeenTarget<'a> {
    pub target: InjectionTarget,
    /// The whole object.
    pub object: &'a Value,
    pub source: &'a CaSource,
    pub ca: &'a SeenCa<'a>,
}

/// What there is to inject.
#[derive(Clone, Copy, Debug)]
pub enum SeenCa<'a> {
    /// The Certificate that was named does not exist.
    NoCertificate,
    /// The Secret of this name, if it exists.
    Secret { name: &'a str, secret: Option<&'a Secret> },
    /// The CA of the API server in PEM form, if this process knows it.
    ApiServer(Option<&'a [u8]>),
    /// Nothing that could be looked for.
    Nothing,
}

/// What is done.
#[derive(Clone, Debug, PartialEq)]
pub enum InjectionStep {
    /// Apply this part of the object (server-side apply).
    Apply(Value),
    /// Say why nothing is injected, unless it was said before.
    Tell(Note),
}

/// Puts the certificate in where it is missing.
pub fn decide(seen: &SeenTarget<'_>, now: Timestamp) -> Decision<InjectionStep> {
    let clients = clients(seen.target, seen.object);
    if clients.is_empty() {
        return Decision::rest();
    }
    let ca = match authority(seen) {
        Ok(ca) => ca,
        Err(problem) => return tell(problem),
    };
    let merged: Vec<Merged> = clients.iter().map(|client| merged(client, &ca, now)).collect();
    let next_end = merged.iter().filter_map(|merged| merged.next_end).min();
    let wake = next_end.map_or(Wake::OnChange, Wake::At);
    if merged.iter().all(|merged| !merged.is_changed) {
        return Decision { steps: Vec::new(), wake };
    }
    let bundles: Vec<String> = merged.iter().map(|merged| STANDARD.encode(&merged.pem)).collect();
    Decision { steps: vec![InjectionStep::Apply(part(seen, &clients, &bundles))], wake }
}

fn tell(problem: String) -> Decision<InjectionStep> {
    let note = Note::warning(event::CA_NOT_INJECTED, problem);
    Decision { steps: vec![InjectionStep::Tell(note)], wake: Wake::OnChange }
}

/// A server that the API server calls, by what it is called in the object, and the bundle that is there.
struct ClientConfig {
    name: String,
    bundle: Vec<u8>,
}

fn clients(target: InjectionTarget, object: &Value) -> Vec<ClientConfig> {
    let bundle = |value: &Value| STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default();
    let single = |value: &Value| vec![ClientConfig { name: String::new(), bundle: bundle(&value["caBundle"]) }];
    match target {
        // Without a service the API server answers itself.
        InjectionTarget::ApiService if object["spec"]["service"].is_object() => single(&object["spec"]),
        InjectionTarget::CustomResourceDefinition if object["spec"]["conversion"]["strategy"] == "Webhook" => {
            single(&object["spec"]["conversion"]["webhook"]["clientConfig"])
        }
        InjectionTarget::MutatingWebhookConfiguration | InjectionTarget::ValidatingWebhookConfiguration => {
            let named = |webhook: &Value| ClientConfig {
                name: webhook["name"].as_str().unwrap_or_default().to_owned(),
                bundle: bundle(&webhook["clientConfig"]["caBundle"]),
            };
            object["webhooks"].as_array().into_iter().flatten().map(named).collect()
        }
        InjectionTarget::ApiService | InjectionTarget::CustomResourceDefinition => Vec::new(),
    }
}

/// The part of the object that is applied: all bundles, because those that are left out would go.
fn part(seen: &SeenTarget<'_>, clients: &[ClientConfig], bundles: &[String]) -> Value {
    let metadata = &seen.object["metadata"];
    let mut part = json!({
        "apiVersion": format!("{}/{}", seen.target.group(), seen.target.version()),
        "kind": seen.target.kind(),
        "metadata": {
            "name": metadata["name"], "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"],
        },
    });
    let first = bundles.first();
    match seen.target {
        InjectionTarget::ApiService => part["spec"] = json!({ "caBundle": first }),
        InjectionTarget::CustomResourceDefinition => {
            part["spec"] = json!({ "conversion": { "webhook": { "clientConfig": { "caBundle": first } } } });
        }
        InjectionTarget::MutatingWebhookConfiguration | InjectionTarget::ValidatingWebhookConfiguration => {
            let webhook = |(client, bundle): (&ClientConfig, &String)| json!({ "name": client.name, "clientConfig": { "caBundle": bundle } });
            part["webhooks"] = clients.iter().zip(bundles).map(webhook).collect();
        }
    }
    part
}

/// The certificates to inject.
///
/// # Errors
/// In words for people: why there are none.
fn authority(seen: &SeenTarget<'_>) -> Result<Vec<ParsedCertificate>, String> {
    if seen.target == InjectionTarget::ApiService && seen.object["spec"]["insecureSkipTLSVerify"] == true {
        return Err("spec.insecureSkipTLSVerify is set, so that no CA can be injected; remove it".to_owned());
    }
    let pem = match (seen.source, seen.ca) {
        (CaSource::Unreadable(annotation), _) => {
            return Err(format!("the annotation {annotation} must be NAMESPACE/NAME"));
        }
        (CaSource::Certificate { namespace, name }, SeenCa::NoCertificate) => {
            return Err(format!("the Certificate {namespace}/{name} does not exist"));
        }
        (source, SeenCa::Secret { name, secret }) => from_secret(source, name, *secret)?,
        (_, SeenCa::ApiServer(Some(pem))) => pem,
        (_, SeenCa::ApiServer(None)) => return Err("the kubeconfig names no CA of the API server".to_owned()),
        _ => return Err("nothing says which CA is meant".to_owned()),
    };
    read(pem).map_err(|error| match seen.ca {
        SeenCa::Secret { name, .. } => format!("the Secret {name} has an unusable {CA_CERT}: {error}"),
        _ => format!("the CA of the API server is unusable: {error}"),
    })
}

/// A Secret is somebody's: that its CA is spread must have been allowed, or it must be that of the Certificate named.
fn from_secret<'a>(source: &CaSource, name: &str, secret: Option<&'a Secret>) -> Result<&'a [u8], String> {
    let Some(secret) = secret else { return Err(format!("the Secret {name} does not exist")) };
    let noted = |key: &str| secret.annotations().get(key).map(String::as_str);
    match source {
        CaSource::Certificate { name: certificate, .. }
            if noted(annotation::CERTIFICATE_NAME) != Some(certificate.as_str()) =>
        {
            Err(format!(
                "the Secret {name} is not that of the Certificate {certificate} ({})",
                annotation::CERTIFICATE_NAME
            ))
        }
        CaSource::Secret { .. } if noted(annotation::ALLOW_DIRECT_INJECTION) != Some(label::TRUE) => Err(format!(
            "the Secret {name} does not allow it; give it the annotation {}: \"true\"",
            annotation::ALLOW_DIRECT_INJECTION
        )),
        _ => entry(secret, CA_CERT).ok_or_else(|| format!("the Secret {name} has no {CA_CERT}")),
    }
}

struct Merged {
    pem: String,
    is_changed: bool,
    /// When the first of those that are only there from former times ends.
    next_end: Option<Timestamp>,
}

/// What is there and not expired, then what is new. A bundle that cannot be read is replaced.
fn merged(client: &ClientConfig, ca: &[ParsedCertificate], now: Timestamp) -> Merged {
    let present = read(&client.bundle).unwrap_or_default();
    let is_current = |held: &ParsedCertificate| ca.iter().any(|new| new.der == held.der);
    let mut bundle: Vec<&ParsedCertificate> = Vec::new();
    // What the source holds is taken as it is: an empty bundle would mean that any public CA is trusted.
    for certificate in present.iter().filter(|held| held.not_after > now || is_current(held)).chain(ca) {
        if bundle.iter().all(|held| held.der != certificate.der) {
            bundle.push(certificate);
        }
    }
    let former = bundle.iter().filter(|held| !is_current(held));
    Merged {
        next_end: former.map(|held| held.not_after).min(),
        is_changed: !present.iter().map(|held| &held.der).eq(bundle.iter().map(|held| &held.der)),
        pem: bundle.iter().map(|certificate| certificate.to_pem()).collect(),
    }
}

fn read(pem: &[u8]) -> Result<Vec<ParsedCertificate>, crate::pki::Error> {
    pem::decode_bundle(pem)?.iter().map(|der| ParsedCertificate::from_der(der)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
