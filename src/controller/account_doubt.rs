//! The CA refused something in the name of an issuer's account: whoever works on the issuer is to look at it.

use jiff::Timestamp;

use super::{Context, held_issuer::HeldIssuer, issuer::write_status};
use crate::{cluster::Key, decide::issuer::doubt};

/// Has the issuer looked at, which may be the business of another replica. Should that not be told now, it is after the next
/// refusal.
pub(super) async fn raise(context: &Context, issuer: &HeldIssuer, key: &Key, url: &str) {
    let now = Timestamp::now();
    if !context.accounts.notes.doubt(key, url, now) {
        return;
    }
    if context.options.share.has(&key.object.namespace) {
        context.cluster.hub.queue.wake(key);
        return;
    }
    let Some(status) = issuer.parts().and_then(|(_, status)| status) else { return };
    match write_status(context, issuer, &doubt::told(status, now)).await {
        Ok(()) => drop(context.accounts.notes.take_doubt(key, url, now)),
        Err(error) => tracing::warn!(%key, ?error, "another replica is not told yet that the account was refused"),
    }
}
