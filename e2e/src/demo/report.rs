//! What was issued, read back from the Secrets.

use anyhow::{Context, Result};
use certwright::api::Certificate;
use certwright::pki::{KeyAlgorithm, ParsedCertificate, PrivateKey};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

/// Prints the leaf certificate in the Secret of every Certificate in `namespace`.
pub async fn print(client: &Client, namespace: &str) -> Result<()> {
    let certificates = Api::<Certificate>::namespaced(client.clone(), namespace).list(&ListParams::default()).await?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    for certificate in certificates {
        let name = &certificate.spec.secret_name;
        let secret = secrets.get(name).await.with_context(|| format!("reading the Secret {name}"))?;
        let text = describe(&secret).with_context(|| format!("what the Secret {name} holds"))?;
        println!("Certificate {}, Secret {namespace}/{name}:\n{text}", certificate.name_any());
    }
    Ok(())
}

fn describe(secret: &Secret) -> Result<String> {
    let entry = |name: &str| {
        let entry = secret.data.as_ref().and_then(|data| data.get(name));
        entry.map(|bytes| bytes.0.as_slice()).with_context(|| format!("nothing under {name}"))
    };
    let chain = ParsedCertificate::from_pem_chain(entry("tls.crt")?)?;
    let key = PrivateKey::from_pem(entry("tls.key")?)?;
    let leaf = chain.first().context("no certificate under tls.crt")?;
    let subject = if leaf.subject_text.is_empty() { "(empty)" } else { &leaf.subject_text };
    let matches =
        if leaf.matches_key(&key) { "belongs to the certificate" } else { "DOES NOT BELONG to the certificate" };
    Ok(format!(
        "    subject     {subject}\n    names       {}\n    issuer      {}\n    not before  {}\n    not after   {}\n    \
         serial      {}\n    key         {}, {matches}\n    chain       {} certificates",
        leaf.names.dns_names.join(", "),
        leaf.issuer_text,
        leaf.not_before,
        leaf.not_after,
        leaf.serial_hex(),
        match leaf.key_algorithm {
            Some(KeyAlgorithm::Rsa(bits)) => format!("RSA, {bits} bits"),
            Some(KeyAlgorithm::Ecdsa(curve)) => format!("ECDSA, {curve:?}"),
            Some(KeyAlgorithm::Ed25519) => "Ed25519".to_owned(),
            None => "of another kind".to_owned(),
        },
        chain.len(),
    ))
}
