//! Keeping the target Secret as it should be without a new certificate.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::{CertificateStep, Plan};
use crate::{
    api::names::{annotation, event, reason},
    decide::{
        Note, Trouble, Wake,
        certificate::{WantedSecret, is_issuing},
        keystore, later, policy,
        secret::{self, Content},
    },
    pki::ParsedCertificate,
};

/// So often within [`QUARREL`] the Secret is put right before we wait: somebody else has other wishes for it.
const MOST_PUT_RIGHT: usize = 5;
const QUARREL: SignedDuration = SignedDuration::from_mins(10);

/// Two who do not agree about the Secret, one of them us.
struct Quarrel {
    /// When we put it right once more.
    next: Timestamp,
    /// When it is over, unless we have had to put it right again.
    over: Timestamp,
}

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
        let current = self.request_of(self.status.revision);
        let Some(mut content) = Content::of_secret(held, current) else { return };
        let revoked = self.seen.revoked.filter(|revoked| revoked.is_about(&pair.leaf));
        content.revoked = revoked.cloned().or(content.revoked);
        let wanted = match self.wanted_secret(&content, &pair.leaf) {
            Ok(wanted) => wanted,
            Err(why) => {
                self.remark = Some((event::KEYSTORE_PASSWORD_SECRET_NOT_FOUND, why));
                return;
            }
        };
        let quarrel = self.quarrel();
        if let Some(quarrel) = &quarrel {
            self.tell_of_quarrel();
            self.wake = self.wake.min(Wake::At(quarrel.over));
        }
        if wanted.keystores.is_empty() && !secret::differs(held, &wanted.secret) {
            return;
        }
        let after_trouble = self.seen.trouble.map(Trouble::next_try);
        let next = after_trouble.max(quarrel.map(|quarrel| quarrel.next)).filter(|at| *at > self.now);
        // It is told until it is over, also while it is tried once more.
        let why = self.seen.trouble.map(|trouble| (event::NOT_PUT_RIGHT, trouble.message.clone()));
        self.remark = self.remark.take().or(why);
        match next {
            None => self.steps.push(CertificateStep::PutSecretRight(Box::new(wanted))),
            Some(at) => self.wake = self.wake.min(Wake::At(at)),
        }
    }

    /// Whether somebody else has other wishes for the Secret.
    fn quarrel(&self) -> Option<Quarrel> {
        let recent = self.seen.put_right;
        let oldest = recent.len().checked_sub(MOST_PUT_RIGHT)?;
        let quarrel = Quarrel { next: later(recent[oldest], QUARREL), over: later(*recent.last()?, QUARREL) };
        (quarrel.over > self.now).then_some(quarrel)
    }

    fn tell_of_quarrel(&mut self) {
        let text = format!(
            "something else changes the Secret {:?} again and again; it is put right every few minutes only",
            self.seen.certificate.spec.secret_name
        );
        self.remark = Some((reason::SECRET_TEMPLATE_MISMATCH, text));
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
        if let (None, Some(trouble)) = (&self.held_up, self.seen.trouble) {
            self.hold_up(None, trouble.sentence());
        }
        self.notes.push(Note::normal(event::ISSUING, "Issued temporary certificate"));
    }
}
