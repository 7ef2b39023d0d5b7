//! Reading the authorizations of an order.

use std::time::Duration;

use futures::future::try_join_all;
use tokio::time::{Instant, timeout_at};

use crate::{
    acme::{AccountHandle, AuthorizationBody, Error, TransportKind},
    api::order::{OrderAuthorization, OrderChallenge},
};

/// Enough for speed, few enough to be kind to the CA.
const AT_ONCE: usize = 5;

/// How long they are read in one go. What is known by then is to be written down before the pass is over, or an order that was
/// created in it would be lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// The authorizations at these URLs, as far as they are known.
pub(super) fn unread(urls: &[String], known: &[OrderAuthorization]) -> Vec<OrderAuthorization> {
    let read = |url: &String| known.iter().find(|known| known.url == *url && known.identifier.is_some());
    let unread = |url: &String| OrderAuthorization { url: url.clone(), ..OrderAuthorization::default() };
    urls.iter().map(|url| read(url).cloned().unwrap_or_else(|| unread(url))).collect()
}

/// Reads those that are not known yet.
///
/// # Errors
/// Why one could not be read; those that could are filled in all the same.
pub(super) async fn read(account: &AccountHandle, all: &mut [OrderAuthorization]) -> Result<(), Error> {
    let until = Instant::now() + PATIENCE;
    let mut unread: Vec<_> = all.iter_mut().filter(|known| known.identifier.is_none()).collect();
    for chunk in unread.chunks_mut(AT_ONCE) {
        let answers = try_join_all(chunk.iter().map(|known| account.authorization(&known.url)));
        let answers = timeout_at(until, answers).await.unwrap_or_else(|_| Err(too_slow(&chunk[0].url)))?;
        for (known, answer) in chunk.iter_mut().zip(answers) {
            **known = authorization(&known.url, answer.body);
        }
    }
    Ok(())
}

fn too_slow(url: &str) -> Error {
    let detail = format!("not all that was asked for came within {} seconds", PATIENCE.as_secs());
    Error::Transport { url: url.to_owned(), kind: TransportKind::Timeout, detail }
}

fn authorization(url: &str, body: AuthorizationBody) -> OrderAuthorization {
    OrderAuthorization {
        url: url.to_owned(),
        identifier: Some(body.identifier.value),
        wildcard: Some(body.wildcard),
        initial_state: Some(body.status.as_str().to_owned()),
        challenges: body
            .challenges
            .into_iter()
            .map(|challenge| OrderChallenge {
                url: challenge.url,
                token: challenge.token.unwrap_or_default(),
                type_: challenge.kind,
            })
            .collect(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        acme::testing::{response, slow_ca},
        decide::testing::key,
    };

    const BODY: &str =
        r#"{"status": "pending", "identifier": {"type": "dns", "value": "example.com"}, "challenges": []}"#;

    #[tokio::test(start_paused = true)]
    async fn a_slow_ca_is_gone_on_with_where_it_was_left() {
        let client = slow_ca(Duration::from_secs(8), |_| response(200, &[], BODY));
        let account = client.account(key(0).clone(), "https://ca.example/account");
        let urls: Vec<String> = (0..40).map(|number| format!("https://ca.example/{number}")).collect();
        let mut known = Vec::new();
        let mut rounds = 0;
        loop {
            rounds += 1;
            known = unread(&urls, &known);
            let began = Instant::now();
            let read = read(&account, &mut known).await;
            assert!(began.elapsed() <= PATIENCE);
            match read {
                Ok(()) => break,
                Err(error) => assert!(error.is_transient() && rounds < 9, "{error}"),
            }
        }
        assert!(rounds > 1 && known.iter().all(|known| known.identifier.as_deref() == Some("example.com")));
        assert_eq!(known.iter().map(|known| known.url.clone()).collect::<Vec<_>>(), urls);
    }
}
