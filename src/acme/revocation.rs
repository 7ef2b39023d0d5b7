//! Revoking certificates (RFC 8555 section 7.6).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use serde_json::json;

use super::{
    AccountHandle, Client, Error,
    jws::{Payload, Signer},
    wanted::{Wanted, action},
};
use crate::pki::{PrivateKey, RevocationReason};

impl AccountHandle {
    /// Revokes a certificate (DER) in the name of the account that it was issued to. That it was revoked before is well.
    ///
    /// # Errors
    /// As the server says; see [`Error`].
    pub async fn revoke(&self, certificate: &[u8], reason: RevocationReason) -> Result<(), Error> {
        self.client().revoke(self.key(), Signer::Account(self.url()), certificate, reason).await
    }
}

impl Client {
    /// Revokes a certificate (DER) in the name of whoever has its key. That it was revoked before is well.
    ///
    /// # Errors
    /// As the server says; see [`Error`].
    pub async fn revoke_by_key(
        &self,
        key: &PrivateKey,
        certificate: &[u8],
        reason: RevocationReason,
    ) -> Result<(), Error> {
        self.revoke(key, Signer::Key, certificate, reason).await
    }

    async fn revoke(
        &self,
        key: &PrivateKey,
        signer: Signer<'_>,
        certificate: &[u8],
        reason: RevocationReason,
    ) -> Result<(), Error> {
        let mut place = self.place(|directory| directory.revoke_cert.as_deref(), "revocation", "revokeCert").await?;
        let payload = json!({ "certificate": BASE64URL.encode(certificate), "reason": reason.code() });
        let payload = Payload::Json(payload);
        loop {
            match self.post(key, signer, &place.url, &payload, Wanted::json(action::OTHER)).await {
                Err(error) if error.problem().is_some_and(|problem| problem.is("alreadyRevoked")) => return Ok(()),
                Err(error) if place.has_moved(self, &error).await => {}
                answer => return answer.map(drop),
            }
        }
    }
}
