//! Fetching a certificate, with the chain that is wanted.

use jiff::Timestamp;

use crate::{
    acme::{AccountHandle, Error},
    decide::chain::{ChosenChain, OfferedChain, choose},
    pki::ParsedRequest,
};

/// Why there is no certificate.
pub(super) enum NoChain {
    Acme(Error),
    /// The CA sent something that is not stored; says why.
    Refused(String),
}

/// The certificate at this URL for this request. The CA's other chains are fetched only if its default one does not lead
/// to `preferred`, and only until one does.
pub(super) async fn certificate(
    account: &AccountHandle,
    url: &str,
    request: &ParsedRequest,
    preferred: Option<&str>,
) -> Result<ChosenChain, NoChain> {
    let now = Timestamp::now();
    let answer = account.certificate(url).await.map_err(NoChain::Acme)?.body;
    let default = OfferedChain::verify(answer.pem.as_bytes(), request, now).map_err(NoChain::Refused)?;
    let leads = |chain: &OfferedChain| preferred.is_none_or(|name| name.is_empty() || chain.leads_to(name));
    let mut others = Vec::new();
    if !leads(&default) {
        for url in &answer.alternates {
            let other = match account.certificate(url).await {
                Ok(other) => OfferedChain::verify(other.body.pem.as_bytes(), request, now),
                // Which chain is stored shall not depend on a moment's weakness.
                Err(error) if error.is_transient() => return Err(NoChain::Acme(error)),
                Err(error) => Err(error.to_string()),
            };
            match other {
                Ok(other) => others.push(other),
                Err(why) => tracing::warn!(url, why, "a further chain of the CA is left out"),
            }
            if others.last().is_some_and(leads) {
                break;
            }
        }
    }
    Ok(choose(default, &others, preferred))
}
