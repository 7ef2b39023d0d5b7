//! Looking for an order at the CA that a former process created and could not write down.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use tokio::time::timeout;

use super::{
    Context,
    order::{failed, order_url},
    step_error::StepError,
};
use crate::acme::{AccountHandle, Error, Identifier, OrderBody};

/// Looking longer, or through more orders than this, would cost more than a second order. A pass has to end in time, and the
/// order is still to be created.
const PATIENCE: Duration = Duration::from_secs(45);
const MOST_LOOKED_AT: usize = 20;

/// Enough for speed, few enough to be kind to the CA.
const AT_ONCE: usize = 5;

/// An open order of this account for exactly these names that no other Order has. CAs that do not list orders give none,
/// and neither do those that take too long.
pub(super) async fn find(
    context: &Context,
    account: &AccountHandle,
    wanted: &[Identifier],
) -> Result<Option<(String, OrderBody)>, StepError> {
    let held = context.cluster.hub.orders.all();
    let is_held = |url: &str| held.iter().any(|order| order_url(order) == url);
    let found = search(account, wanted, is_held).await;
    found.map_err(failed("Failed to look for a former order"))
}

async fn search(
    account: &AccountHandle,
    wanted: &[Identifier],
    is_held: impl Fn(&str) -> bool,
) -> Result<Option<(String, OrderBody)>, Error> {
    let Ok(found) = timeout(PATIENCE, look_through(account, wanted, is_held)).await else {
        tracing::info!("the CA is too slow to look for a former order; another one is created");
        return Ok(None);
    };
    found
}

async fn look_through(
    account: &AccountHandle,
    wanted: &[Identifier],
    is_held: impl Fn(&str) -> bool,
) -> Result<Option<(String, OrderBody)>, Error> {
    let urls = unless_transient(account.orders().await)?.flatten().unwrap_or_default();
    let latest: Vec<String> = urls.into_iter().rev().filter(|url| !is_held(url)).take(MOST_LOOKED_AT).collect();
    let mut answers = stream::iter(latest)
        .map(|url| async move {
            let answer = account.order(&url).await;
            (url, answer)
        })
        .buffered(AT_ONCE);
    while let Some((url, answer)) = answers.next().await {
        let Some(answer) = unless_transient(answer)? else { continue };
        let mut names = answer.body.identifiers.clone();
        names.sort_by(|a, b| (&a.kind, &a.value).cmp(&(&b.kind, &b.value)));
        let is_open = matches!(answer.body.status.as_str(), "pending" | "ready");
        if is_open && names == wanted {
            return Ok(Some((url, answer.body)));
        }
    }
    Ok(None)
}

/// What was found, if anything; what time may cure is tried again rather than taken for nothing.
fn unless_transient<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Err(error) if error.is_transient() => Err(error),
        answer => Ok(answer.ok()),
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

    /// The number of the order that is found at a CA with thirty of them, of which these are open.
    async fn found(open: &'static [usize], wait: Duration) -> Option<String> {
        let client = slow_ca(wait, move |path| {
            let order = path.strip_prefix("/order/").and_then(|number| number.parse::<usize>().ok());
            let urls: Vec<String> = (0..30).map(|number| format!("\"https://ca.example/order/{number}\"")).collect();
            let body = match (path, order) {
                ("/account", _) => r#"{"status": "valid", "orders": "https://ca.example/orders"}"#.to_owned(),
                ("/orders", _) => format!("{{\"orders\": [{}]}}", urls.join(",")),
                (_, Some(number)) => {
                    let status = if open.contains(&number) { "pending" } else { "valid" };
                    let names = r#"[{"type": "dns", "value": "example.com"}]"#;
                    format!(r#"{{"status": "{status}", "identifiers": {names}, "finalize": "https://ca.example/f"}}"#)
                }
                _ => return response(404, &[], ""),
            };
            response(200, &[], &body)
        });
        let account = client.account(key(0).clone(), "https://ca.example/account");
        let is_held = |url: &str| url.ends_with("/29");
        search(&account, &[Identifier::dns("example.com")], is_held).await.unwrap().map(|(url, _)| url)
    }

    #[tokio::test(start_paused = true)]
    async fn the_latest_that_nobody_has_is_gone_on_with() {
        let url = |number| Some(format!("https://ca.example/order/{number}"));
        assert_eq!(found(&[3, 17, 29], Duration::from_secs(2)).await, url(17));
        assert_eq!(found(&[3], Duration::from_secs(1)).await, None, "too long ago");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_ca_is_not_looked_through_for_ever() {
        let began = tokio::time::Instant::now();
        assert_eq!(found(&[17], Duration::from_secs(20)).await, None);
        assert_eq!(began.elapsed(), PATIENCE);
    }
}
