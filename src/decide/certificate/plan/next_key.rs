//! The key of the issuance under way.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use super::{Plan, is_dying};
use crate::{
    api::names::event,
    decide::{
        Note,
        certificate::{CertificateStep, NextKey},
        fixed_name, policy,
        revocation::Revoked,
        secret, template,
    },
    pki::{Encoding, KeyAlgorithm, PrivateKey},
};

impl Plan<'_> {
    pub(super) fn fixed_key_name(&self) -> String {
        let certificate = self.seen.certificate;
        let uid = certificate.uid().unwrap_or_default();
        fixed_name::next_private_key(&certificate.name_any(), &uid, self.next_revision())
    }

    /// The key of this issuance; if there is none yet, the steps that lead to one.
    pub(super) fn usable_next_key(&mut self) -> Option<PrivateKey> {
        let wanted = template::key_algorithm(&self.seen.certificate.spec).ok()?;
        let named = |name: &String| self.seen.next_keys.iter().find(|held| held.name_any() == *name);
        let fixed = self.fixed_key_name();
        let held = self.status.next_private_key_secret_name.as_ref().and_then(named).or_else(|| named(&fixed));
        let name = held.map_or(fixed, |held| held.name_any());
        let others = self.seen.next_keys.iter().filter(|other| other.name_any() != name && !is_dying(&***other));
        self.steps.extend(others.cloned().map(CertificateStep::DeleteNextKey));
        self.status.next_private_key_secret_name = Some(name.clone());
        let Some(held) = held else { return self.key_without_secret(name, wanted) };
        self.drop_held_key();
        let key = secret::entry(held, secret::TLS_KEY).and_then(|pem| PrivateKey::from_pem(pem).ok());
        match key {
            _ if is_dying(&**held) => None,
            Some(key) if key.algorithm() == wanted => Some(key),
            _ => {
                let text = "Regenerating private key due to change in fields: [spec.privateKey]";
                self.notes.push(Note::normal(event::DELETED, text));
                self.steps.push(CertificateStep::DeleteNextKey(held.clone()));
                None
            }
        }
    }

    /// The key in memory, if it may stay there; if not, the steps that lead to a key.
    fn key_without_secret(&mut self, name: String, wanted: KeyAlgorithm) -> Option<PrivateKey> {
        match self.seen.held_key {
            Some(held) if held.key.algorithm() == wanted && self.may_hold_key() => return Some(held.key.clone()),
            Some(_) => self.store_held_key(),
            None => self.make_next_key(name, wanted),
        }
        None
    }

    /// Whether the key of the issuance may stay in memory: as long as a crash costs nobody anything.
    fn may_hold_key(&self) -> bool {
        self.is_prompt && self.seen.issuer_needs_no_key
    }

    fn make_next_key(&mut self, name: String, wanted: KeyAlgorithm) {
        let secret = &self.seen.certificate.spec.secret_name;
        let note = match self.next_key(wanted) {
            Ok(key) => {
                let note = match &key {
                    // Where the key lies for a moment concerns nobody.
                    NextKey::Generate(_) if self.is_prompt => None,
                    NextKey::Generate(_) => Some(Note::normal(
                        event::GENERATED,
                        format!("Stored new private key in temporary Secret resource {name:?}"),
                    )),
                    NextKey::Reuse(_) => Some(Note::normal(
                        event::REUSED,
                        format!("Reusing private key stored in existing Secret resource {secret:?}"),
                    )),
                };
                self.steps.push(if self.may_hold_key() {
                    CertificateStep::HoldKey(key)
                } else {
                    CertificateStep::CreateNextKey { name, key }
                });
                note
            }
            Err(held) => {
                let text = format!(
                    "spec.privateKey.rotationPolicy is Never, but the key in the Secret {secret:?} is {} and spec.privateKey \
                     asks for {}; correct the spec, delete the Secret, or set the policy to Always",
                    policy::describe(held),
                    policy::describe(wanted)
                );
                return self.hold_up(Some(event::CANNOT_REGENERATE_KEY), text);
            }
        };
        self.notes.extend(note);
    }

    /// Where the key comes from; the error is the kind of key that may not be replaced.
    fn next_key(&mut self, wanted: KeyAlgorithm) -> Result<NextKey, KeyAlgorithm> {
        let spec = &self.seen.certificate.spec;
        let policy = spec.private_key.as_ref().and_then(|key| key.rotation_policy.as_deref());
        let held = self.seen.secret.filter(|held| !is_compromised(held));
        let held = held.and_then(|held| secret::entry(held, secret::TLS_KEY));
        let Some(pem) = held.filter(|_| policy == Some("Never")) else { return Ok(NextKey::Generate(wanted)) };
        match PrivateKey::from_pem(pem) {
            Ok(key) if key.algorithm() != wanted => Err(key.algorithm()),
            Ok(key) => Ok(key.to_pem(Encoding::Pkcs8).map_or(NextKey::Generate(wanted), NextKey::Reuse)),
            Err(error) => {
                let text = format!("The key in the Secret {:?} is replaced by a new one: {error}", spec.secret_name);
                self.notes.push(Note::warning(event::DECODE_FAILED, text));
                Ok(NextKey::Generate(wanted))
            }
        }
    }

    /// Without an issuance there is no next key.
    pub(super) fn drop_next_keys(&mut self) {
        self.status.next_private_key_secret_name = None;
        let held = self.seen.next_keys.iter().filter(|held| !is_dying(&***held));
        self.steps.extend(held.cloned().map(CertificateStep::DeleteNextKey));
        self.drop_held_key();
    }

    /// The issuance takes longer, so that its key, if it is in memory, is not to be lost from now on; unless it does not
    /// suit any more.
    pub(super) fn store_held_key(&mut self) {
        let Some(held) = self.seen.held_key else { return };
        let name = self.fixed_key_name();
        if self.seen.next_keys.iter().any(|stored| stored.name_any() == name) {
            return;
        }
        let wanted = template::key_algorithm(&self.seen.certificate.spec);
        if wanted.is_ok_and(|wanted| wanted == held.key.algorithm()) {
            self.status.next_private_key_secret_name = Some(name.clone());
            self.steps.push(CertificateStep::StoreHeldKey { name });
        } else {
            self.drop_held_key();
        }
    }

    fn drop_held_key(&mut self) {
        if self.seen.held_key.is_some() && !self.steps.contains(&CertificateStep::DropHeldKey) {
            self.steps.push(CertificateStep::DropHeldKey);
        }
    }
}

/// Whether the key in this Secret was revoked as compromised: it is not kept, whatever the policy.
fn is_compromised(held: &Secret) -> bool {
    let leaf = policy::leaf_of(held);
    Revoked::of(held).is_some_and(|revoked| revoked.is_of_key() && leaf.is_some_and(|leaf| revoked.is_about(&leaf)))
}
