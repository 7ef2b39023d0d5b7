//! Revoking the certificate in a target Secret.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use super::{
    Context,
    account::{account_of, settled},
    held_issuer::HeldIssuer,
    step_error::StepError,
};
use crate::{
    acme::Error,
    api::Certificate,
    decide::{
        policy::sound_pair,
        revocation::{Revoked, Wish},
        secret::noted_issuer,
    },
};

const DOING: &str = "Failed to revoke the certificate";

/// The issuer that the certificate in this Secret came from: the one that is noted there, else that of the spec.
pub(super) fn issuer_of(context: &Context, certificate: &Certificate, secret: Option<&Secret>) -> HeldIssuer {
    let reference = secret.and_then(noted_issuer).unwrap_or_else(|| certificate.spec.issuer_ref.clone());
    HeldIssuer::look_up(&context.cluster.hub, &reference, &certificate.namespace().unwrap_or_default())
}

/// Has it revoked in the name of the account, or, where that is not the one that it was issued to, of its own key.
pub(super) async fn revoke(
    context: &Context,
    certificate: &Certificate,
    secret: Option<&Secret>,
    wish: &Wish,
) -> Result<Option<Revoked>, StepError> {
    let Some(pair) = secret.and_then(sound_pair) else { return Ok(None) };
    let issuer = issuer_of(context, certificate, secret);
    let namespace = certificate.namespace().unwrap_or_default();
    let account = account_of(context, &issuer, &namespace).await?;
    let der = &pair.leaf.der;
    let answer = match account.revoke(der, wish.reason).await {
        Err(error) if is_refusal(&error) => account.client().revoke_by_key(&pair.key, der, wish.reason).await,
        answer => answer,
    };
    if let Err(error) = answer {
        return Err(settled(context, &issuer, &namespace, StepError::from_acme(DOING, &error)).await);
    }
    Ok(Some(Revoked::new(wish, &pair.leaf)))
}

fn is_refusal(error: &Error) -> bool {
    matches!(error.status(), Some(401 | 403 | 404)) && !error.is_transient()
}
