//! Which keystore files a Certificate wants, and with which passwords.

use std::{collections::BTreeMap, sync::Arc};

use aws_lc_rs::hmac;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::ResourceExt;

use super::secret::{Content, entry};
use crate::{
    api::{CertificateSpec, SecretKeySelector, Sensitive, names::annotation},
    pki::keystore::Pkcs12Profile,
};

pub const JKS: &str = "keystore.jks";
pub const JKS_TRUST: &str = "truststore.jks";
pub const PKCS12: &str = "keystore.p12";
pub const PKCS12_TRUST: &str = "truststore.p12";

/// The alias of the key in a Java keystore if the Certificate names none.
const DEFAULT_ALIAS: &str = "certificate";

/// One kind of keystore file to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    pub form: Form,
    pub password: Sensitive,
}

/// The kind of keystore file, with what the Certificate says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    Jks { alias: String },
    Pkcs12(Pkcs12Profile),
}

/// The Secrets with passwords that a Certificate refers to, as far as they exist, by name.
pub type PasswordSecrets = BTreeMap<String, Arc<Secret>>;

impl Wish {
    /// The names in the Secret of the keystore and of the truststore.
    pub fn entries(&self) -> (&'static str, &'static str) {
        match self.form {
            Form::Jks { .. } => (JKS, JKS_TRUST),
            Form::Pkcs12(_) => (PKCS12, PKCS12_TRUST),
        }
    }
}

/// The keystore files that the spec asks for.
///
/// # Errors
/// In words for people: which password cannot be had, and where it was looked for.
pub fn wishes(spec: &CertificateSpec, secrets: &PasswordSecrets) -> Result<Vec<Wish>, String> {
    let Some(keystores) = &spec.keystores else { return Ok(Vec::new()) };
    let mut wishes = Vec::new();
    if let Some(jks) = keystores.jks.as_ref().filter(|jks| jks.create) {
        let alias = jks.alias.clone().filter(|alias| !alias.is_empty()).unwrap_or_else(|| DEFAULT_ALIAS.to_owned());
        let password = password("JKS", jks.password.as_ref(), jks.password_secret_ref.as_ref(), secrets)?;
        wishes.push(Wish { form: Form::Jks { alias }, password });
    }
    if let Some(pkcs12) = keystores.pkcs12.as_ref().filter(|pkcs12| pkcs12.create) {
        let profile = Pkcs12Profile::from_spec(pkcs12.profile.as_deref())
            .map_err(|error| format!("spec.keystores.pkcs12.profile: {error}"))?;
        let password = password("PKCS12", pkcs12.password.as_ref(), pkcs12.password_secret_ref.as_ref(), secrets)?;
        wishes.push(Wish { form: Form::Pkcs12(profile), password });
    }
    Ok(wishes)
}

fn password(
    kind: &str,
    literal: Option<&Sensitive>,
    selector: Option<&SecretKeySelector>,
    secrets: &PasswordSecrets,
) -> Result<Sensitive, String> {
    if let Some(literal) = literal.filter(|literal| !literal.is_empty()) {
        return Ok(literal.clone());
    }
    let Some(selector) = selector.filter(|selector| !selector.is_unset()) else {
        return Err(format!(
            "The {kind} keystore has no password; set password or passwordSecretRef in spec.keystores"
        ));
    };
    let (name, key) = (&selector.name, selector.key.as_deref().unwrap_or_default());
    let Some(secret) = secrets.get(name) else {
        return Err(format!("{kind} keystore password Secret {name:?} not found; create it"));
    };
    let Some(value) = entry(secret, key) else {
        return Err(format!("{kind} keystore password Secret {name:?} has nothing under the key {key:?}"));
    };
    String::from_utf8(value.to_vec())
        .map(Sensitive::from)
        .map_err(|_| format!("{kind} keystore password in Secret {name:?} under {key:?} is not UTF-8 text"))
}

/// Puts the keystores that the Secret holds into `wanted`, if they still are what is wished for; says whether they are.
pub fn adopt(wanted: &mut Secret, secret: Option<&Secret>, content: &Content, wishes: &[Wish]) -> bool {
    if wishes.is_empty() {
        return true;
    }
    let fingerprint = fingerprint(wishes, content);
    let held = secret.map(|secret| (secret, secret.annotations().get(annotation::KEYSTORES)));
    let noted = held.and_then(|(_, noted)| noted).cloned();
    let entries = wishes.iter().flat_map(|wish| {
        let (store, trust) = wish.entries();
        std::iter::once(store).chain(content.ca.is_some().then_some(trust))
    });
    let held: Option<Vec<_>> =
        entries.map(|name| Some((name.to_owned(), ByteString(entry(held?.0, name)?.to_vec())))).collect();
    // Keystores without a note were written by cert-manager, which looks no further than that they are there.
    let fits = noted.as_ref().is_none_or(|noted| *noted == fingerprint);
    let (Some(held), true) = (held, fits) else {
        wanted.annotations_mut().insert(annotation::KEYSTORES.to_owned(), fingerprint);
        return false;
    };
    if let Some(noted) = noted {
        wanted.annotations_mut().insert(annotation::KEYSTORES.to_owned(), noted);
    }
    wanted.data.get_or_insert_default().extend(held);
    true
}

/// Changes whenever the files would have to be written anew: with key, certificates, passwords and forms. It says
/// nothing to whoever does not have the private key.
fn fingerprint(wishes: &[Wish], content: &Content) -> String {
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &content.key));
    let mut add = |part: &[u8]| {
        mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        mac.update(part);
    };
    add(&content.chain.0);
    add(content.ca.as_ref().map_or(&[], |ca| &ca.0));
    for wish in wishes {
        add(format!("{:?}", wish.form).as_bytes());
        add(wish.password.expose().as_bytes());
    }
    mac.sign().as_ref()[..16].iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}
