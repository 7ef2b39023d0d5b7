//! Keeping the target Secret as it should be without a new certificate.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::{CertificateStep, Plan};
use crate::{
    api::names::{annotation, event},
    decide::{
        Note, Wake,
        certificate::{WantedSecret, is_issuing},
        keystore, later, policy,
        secret::{self, Content},
    },
    pki::ParsedCertificate,
};

/// So often within [`QUARREL`] the Secret is put right before we wait: somebody else has other wishes for it.
const MOST_PUT_RIGHT: usize = 5;
const QUARREL: SignedDuration = SignedDuration::from_mins(10);

impl Plan<'_> {
    /// The Secret with this content, and the keystores that have to be written anew for it.
    ///
    /// # Errors
    /// In words for people, when a keystore's password cannot be had.
    pub(super) fn wanted_secret(&self, content: &Content, leaf: &ParsedCertificate) -> Result<WantedSecret, String> {
        let (certificate, held) = (self.seen.certificate, self.seen.secret);
        let wishes = keystore::wishes(&certificate.spec, self.seen.passwords)?;
        let type_ = held.and_then(|held| held.type_.as_deref());
        let mut secret = secret::wanted(certificate, content, leaf, type_, self.seen.settings.owner_reference);
        let are_current = keystore::adopt(&mut secret, held, content, &wishes);
        Ok(WantedSecret { secret, keystores: if are_current { Vec::new() } else { wishes } })
    }

    /// Has the Secret put right if its content is sound but something beside it is not as the spec wants it.
    pub(super) fn keep_in_order(&mut self) {
        let certificate = self.seen.certificate;
        let Some(held) = self.seen.secret.filter(|held| {
            let noted = held.annotations().get(annotation::CERTIFICATE_NAME);
            noted.is_none_or(|noted| *noted == certificate.name_any())
        }) else {
            return;
        };
        let Some(pair) = policy::sound_pair(held).filter(|pair| !policy::is_temporary(&pair.leaf)) else { return };
        let Some(content) = Content::of_secret(held, certificate) else { return };
        let wanted = match self.wanted_secret(&content, &pair.leaf) {
            Ok(wanted) => wanted,
            Err(why) => {
                self.warn_once(event::KEYSTORE_PASSWORD_SECRET_NOT_FOUND, &why);
                self.remark = Some(why);
                return;
            }
        };
        if wanted.keystores.is_empty() && secret::difference(held, &wanted.secret).is_none() {
            return;
        }
        match self.next_put_right() {
            Some(at) => self.wake = self.wake.min(Wake::At(at)),
            None => self.steps.push(CertificateStep::PutSecretRight(Box::new(wanted))),
        }
    }

    /// Until when the Secret is left as it is; none if it may be put right now.
    fn next_put_right(&self) -> Option<Timestamp> {
        let after_trouble = self.seen.trouble.map(crate::decide::Trouble::next_try);
        let recent = self.seen.put_right;
        let after_quarrel = recent.len().checked_sub(MOST_PUT_RIGHT).map(|oldest| later(recent[oldest], QUARREL));
        after_trouble.max(after_quarrel).filter(|at| *at > self.now)
    }

    /// Something to read for people who wait until the issuance is over.
    pub(super) fn apply_temporary(&mut self) {
        let certificate = self.seen.certificate;
        let is_wanted = certificate.annotations().get(annotation::ISSUE_TEMPORARY_CERTIFICATE);
        if is_wanted.is_none_or(|value| value != "true")
            || !is_issuing(&self.status)
            || self.seen.secret.is_some_and(|held| policy::sound_pair(held).is_some())
            || self.seen.trouble.is_some_and(|trouble| trouble.next_try() > self.now)
        {
            return;
        }
        let key_secret = self.status.next_private_key_secret_name.clone().unwrap_or_default();
        self.steps.push(CertificateStep::ApplyTemporary { key_secret });
        self.notes.push(Note::normal(event::ISSUING, "Issued temporary certificate"));
    }
}
