//! Having the certificate in the Secret revoked.

use super::{CertificateStep, Plan};
use crate::{
    api::names::event,
    decide::{
        Note, Trouble, TroubleClass, Wake, policy,
        revocation::{self, Revoked, Wish},
    },
    pki::ParsedCertificate,
};

/// Noted in place of a serial number when there was nothing to revoke.
const NO_SERIAL: &str = "none";

impl Plan<'_> {
    /// Has the certificate in the Secret revoked if the annotation asks for it and that was not done yet.
    pub(super) fn revoke_on_demand(&mut self) {
        let Some(wish) = self.open_wish() else { return };
        let Some(leaf) = self.revocable() else { return };
        if !self.seen.issuer_revokes {
            let text = "the certificate is not revoked: only issuers that speak ACME can be asked to";
            self.remark = Some((event::REVOCATION_FAILED, text.to_owned()));
            return;
        }
        let is_held = |trouble: &&Trouble| trouble.class == TroubleClass::Final || trouble.next_try() > self.now;
        if let Some(trouble) = self.seen.trouble.filter(is_held) {
            self.remark = Some((event::REVOCATION_FAILED, trouble.message.clone()));
            if trouble.class != TroubleClass::Final {
                self.wake = self.wake.min(Wake::At(trouble.next_try()));
            }
            return;
        }
        let text = format!("The certificate {} is revoked at its CA: {}", leaf.serial_hex(), wish.reason.name());
        self.steps.push(CertificateStep::Revoke(wish));
        self.notes.push(Note::warning(event::REVOKED, text));
    }

    /// What is noted of revocations together with a new certificate. A wish is never about one that was issued after it.
    pub(super) fn settled_revocation(&mut self) -> Option<Revoked> {
        let noted = self.seen.secret.and_then(Revoked::of);
        let Some(wish) = revocation::on_demand(self.seen.certificate) else { return noted };
        let known = [noted, self.seen.revoked.cloned()].into_iter().flatten().find(|known| known.value == wish.value);
        if known.is_none()
            && let Some(leaf) = self.revocable()
        {
            let text = format!("The certificate {} was replaced before it was revoked", leaf.serial_hex());
            self.notes.push(Note::warning(event::REVOCATION_FAILED, text));
        }
        known.or(Some(Revoked { value: wish.value, serial: NO_SERIAL.to_owned() }))
    }

    /// The wish that is not fulfilled yet.
    fn open_wish(&self) -> Option<Wish> {
        let wish = revocation::on_demand(self.seen.certificate)?;
        let noted = self.seen.secret.and_then(Revoked::of);
        let is_done = noted.iter().chain(self.seen.revoked).any(|known| known.value == wish.value);
        (!is_done).then_some(wish)
    }

    /// The certificate in the Secret, if it is one that a CA has signed.
    fn revocable(&self) -> Option<ParsedCertificate> {
        let pair = self.seen.secret.and_then(policy::sound_pair)?;
        Some(pair.leaf).filter(|leaf| !policy::is_temporary(leaf))
    }
}
