//! Having the certificate in the Secret revoked.

use super::{CertificateStep, Plan};
use crate::{
    api::names::event,
    decide::{
        Note, TroubleClass, Wake, policy,
        revocation::{self, Revoked},
    },
};

impl Plan<'_> {
    /// Has the certificate in the Secret revoked if the annotation asks for it and that was not done yet.
    pub(super) fn revoke_on_demand(&mut self) {
        let Some(wish) = revocation::on_demand(self.seen.certificate) else { return };
        let Some(held) = self.seen.secret else { return };
        let is_done = |noted: &Option<Revoked>| noted.as_ref().is_some_and(|noted| noted.value == wish.value);
        let Some(pair) = policy::sound_pair(held).filter(|pair| !policy::is_temporary(&pair.leaf)) else { return };
        if is_done(&Revoked::of(held)) || is_done(&self.seen.revoked.cloned()) {
            return;
        }
        if !self.seen.issuer_revokes {
            let text = "the certificate is not revoked: only issuers that speak ACME can be asked to";
            self.remark = Some((event::REVOCATION_FAILED, text.to_owned()));
            return;
        }
        if let Some(trouble) =
            self.seen.trouble.filter(|trouble| trouble.class == TroubleClass::Final || trouble.next_try() > self.now)
        {
            self.remark = Some((event::REVOCATION_FAILED, trouble.message.clone()));
            if trouble.class != TroubleClass::Final {
                self.wake = self.wake.min(Wake::At(trouble.next_try()));
            }
            return;
        }
        let text = format!("The certificate {} is revoked at its CA: {}", pair.leaf.serial_hex(), wish.reason.name());
        self.steps.push(CertificateStep::Revoke(wish));
        self.notes.push(Note::warning(event::REVOKED, text));
    }
}
