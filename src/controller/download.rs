//! Fetching a certificate, with the chain that is wanted.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::timeout;

use super::step_error::signed;
use crate::{
    acme::{AccountHandle, Error, TransportKind},
    decide::{
        chain::{ChosenChain, OfferedChain, choose},
        delivery::is_chain_tried_again,
    },
    pki::ParsedRequest,
};

/// How long is spent on further chains in one go.
const PATIENCE: Duration = Duration::from_mins(1);

/// A CA that has so many chains out of order has the others out of order too.
const MOST_UNREAD: usize = 2;

/// Why there is no certificate.
pub(super) enum NoChain {
    Acme(Error),
    /// The default chain was there, but one that may be the preferred one was not. It is tried again a few times.
    Unread(Error),
    /// The CA sent something that is not stored; says why.
    Refused(String),
}

/// The certificate at this URL for this request. The CA's other chains are fetched only if its default one does not lead
/// to `preferred`, and only until one does. `tries` tells how often one of them could not be had before.
pub(super) async fn certificate(
    account: &AccountHandle,
    url: &str,
    request: &ParsedRequest,
    preferred: Option<&str>,
    tries: u32,
) -> Result<ChosenChain, NoChain> {
    let now = Timestamp::now();
    let answer = account.certificate(url).await.map_err(NoChain::Acme)?.body;
    let default = OfferedChain::verify(answer.pem.as_bytes(), request, now).map_err(NoChain::Refused)?;
    let Some(name) = preferred.filter(|name| !name.is_empty() && !default.leads_to(name)) else {
        return Ok(choose(default, &[], preferred, None));
    };
    let mut further = Further { name, request, now, chains: Vec::new(), unread: Vec::new() };
    if timeout(PATIENCE, further.read(account, &answer.alternates)).await.is_err() {
        let detail = format!("no answer within {} seconds", PATIENCE.as_secs());
        further.unread.push(Error::Transport { url: url.to_owned(), kind: TransportKind::Timeout, detail });
    }
    let is_found = further.is_found();
    let Further { chains, mut unread, .. } = further;
    // Which chain is stored shall not depend on a moment's weakness.
    let is_waiting = |error: &Error| is_chain_tried_again(tries, error.retry_after().map(signed));
    if !is_found && !unread.is_empty() && unread.iter().all(is_waiting) {
        return Err(NoChain::Unread(unread.remove(0)));
    }
    let why = unread.first().map(ToString::to_string);
    Ok(choose(default, &chains, preferred, why.as_deref()))
}

/// The CA's further chains, as far as they were read.
struct Further<'a> {
    /// The CA that one of them shall lead to.
    name: &'a str,
    request: &'a ParsedRequest,
    now: Timestamp,
    chains: Vec<OfferedChain>,
    /// Why some could not be had for now.
    unread: Vec<Error>,
}

impl Further<'_> {
    async fn read(&mut self, account: &AccountHandle, urls: &[String]) {
        for url in urls {
            match account.certificate(url).await {
                Ok(other) => self.take(url, &other.body.pem),
                Err(error) if error.is_transient() => self.unread.push(error),
                Err(error) => tracing::warn!(url, why = %error, "a further chain of the CA is left out"),
            }
            if self.is_found() || self.unread.len() >= MOST_UNREAD {
                return;
            }
        }
    }

    fn take(&mut self, url: &str, pem: &str) {
        match OfferedChain::verify(pem.as_bytes(), self.request, self.now) {
            Ok(chain) => self.chains.push(chain),
            Err(why) => tracing::warn!(url, why, "a further chain of the CA is left out"),
        }
    }

    fn is_found(&self) -> bool {
        self.chains.last().is_some_and(|chain| chain.leads_to(self.name))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        acme::testing::{ca, response},
        decide::testing::{DAY, chain, key},
        pki::{CertificateRequestTemplate, SubjectAltNames},
    };

    const NAME: &str = "example.com";

    /// What comes of a download from a CA that answers so at the URLs of its further chains, which are `/0`, `/1`, …
    async fn downloaded(further: &'static [u16], tries: u32) -> Result<ChosenChain, NoChain> {
        let names = SubjectAltNames { dns_names: vec![NAME.to_owned()], ..SubjectAltNames::default() };
        let template = CertificateRequestTemplate { names, ..CertificateRequestTemplate::default() };
        let request = ParsedRequest::from_der(&template.build(key(0)).unwrap()).unwrap();
        let since = Timestamp::now().duration_since(crate::decide::testing::now()).as_secs();
        let pem = chain(key(0), &[NAME], since - DAY, since + DAY);
        let client = ca(move |path| {
            let number = path.strip_prefix("/").and_then(|number| number.parse::<usize>().ok());
            let links: Vec<String> =
                (0..further.len()).map(|number| format!("</{number}>;rel=\"alternate\"")).collect();
            match number.map_or(200, |number| further[number]) {
                200 => response(200, &[("link", &links.join(", "))], &pem),
                status => response(status, &[], "out of order"),
            }
        });
        let account = client.account(key(1).clone(), "https://ca.example/account/1");
        certificate(&account, "https://ca.example/chain", &request, Some("Another Root"), tries).await
    }

    fn outcome(outcome: Result<ChosenChain, NoChain>) -> String {
        match outcome {
            Ok(chosen) => chosen.warning.unwrap_or_default(),
            Err(NoChain::Unread(error)) => format!("unread: {error}"),
            Err(NoChain::Acme(error)) => format!("none: {error}"),
            Err(NoChain::Refused(why)) => why,
        }
    }

    #[tokio::test]
    async fn a_further_chain_that_is_never_there_does_not_hold_back_the_certificate() {
        let first = outcome(downloaded(&[500], 0).await);
        assert!(first.starts_with("unread: https://ca.example/0 did not answer"), "{first}");
        let last = outcome(downloaded(&[500], 4).await);
        assert!(last.contains("so the best of the others is used: https://ca.example/0 did not answer"), "{last}");
        let gone = outcome(downloaded(&[404], 0).await);
        assert!(gone.starts_with("The CA offers no chain to \"Another Root\""), "nothing is waited for: {gone}");
    }

    #[tokio::test]
    async fn one_that_is_out_of_order_does_not_hide_the_others() {
        let told = outcome(downloaded(&[500, 200, 200], 0).await);
        assert!(told.starts_with("unread: "), "none of them leads there: {told}");
        let told = outcome(downloaded(&[500, 500, 200], 4).await);
        assert!(told.contains("so the best of the others is used"), "{told}");
    }
}
