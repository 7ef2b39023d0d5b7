//! Orders that replace a certificate (RFC 9773 section 5).

use crate::acme::{AccountHandle, Answer, Error, NewOrder, OrderBody, renewal::may_be_about_replacement};

/// Creates the order. That it replaces a certificate is only told to a CA that has renewal information, and left out if
/// the CA will not have it: the order is worth more than what the CA grants to replacements.
///
/// # Errors
/// As the server says; see [`Error`].
pub(super) async fn new_order(
    account: &AccountHandle,
    mut wanted: NewOrder,
) -> Result<(String, Answer<OrderBody>), Error> {
    if wanted.replaces.is_some() && account.client().directory().await?.renewal_info.is_none() {
        wanted.replaces = None;
    }
    match account.new_order(&wanted).await {
        Err(refusal) if wanted.replaces.is_some() && may_be_about_replacement(&refusal) => {
            tracing::info!(%refusal, "ordered once more without naming the certificate that is replaced");
            wanted.replaces = None;
            account.new_order(&wanted).await
        }
        answer => answer,
    }
}
