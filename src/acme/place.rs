//! Where something of the directory is, for as long as one request takes.

use super::{Client, Directory, Error};

/// An entry of the directory; none if the CA does not offer that.
type Entry = fn(&Directory) -> Option<&str>;

/// See the module's description.
pub(super) struct Place {
    pub(super) url: String,
    entry: Entry,
    has_moved: bool,
}

impl Place {
    /// Where this is by the directory.
    ///
    /// # Errors
    /// Those of [`Client::directory`].
    pub(super) async fn find(client: &Client, entry: Entry) -> Result<Option<Self>, Error> {
        let directory = client.directory().await?;
        Ok(entry(&directory).map(|url| Self { url: url.to_owned(), entry, has_moved: false }))
    }

    /// Whether a request failed because the CA has moved this since the directory was read: then it is worth another one,
    /// which has the new URL. Tells so once.
    pub(super) async fn has_moved(&mut self, client: &Client, error: &Error) -> bool {
        // Redirects are not followed, as nobody signed for their target (RFC 8555 section 6.4).
        if self.has_moved || !matches!(error.status(), Some(300..=399 | 404 | 405 | 410 | 501)) {
            return false;
        }
        client.doubt_directory();
        let Ok(directory) = client.directory().await else { return false };
        let Some(url) = (self.entry)(&directory).filter(|url| *url != self.url) else { return false };
        tracing::info!(former = self.url, now = url, "the CA has moved what its directory tells of");
        url.clone_into(&mut self.url);
        self.has_moved = true;
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use reqwest::Method;
    use tokio::time::advance;

    use super::*;
    use crate::acme::{
        NewOrder, Registration,
        testing::{ca, directory, key, response, server},
    };

    const ORDER: &str = r#"{"status": "pending", "finalize": "https://ca.example/finalize"}"#;

    /// A CA whose URLs lie below another path each time that its directory is read.
    fn restless() -> Client {
        let reads = AtomicUsize::new(0);
        server(move |request, path| {
            let below = format!("/{}", reads.load(Ordering::SeqCst));
            match path.strip_prefix(&below) {
                _ if path == "/directory" => {
                    let below = format!("/{}", 1 + reads.fetch_add(1, Ordering::SeqCst));
                    response(200, &[], &directory(&below))
                }
                Some(_) if request.method == Method::HEAD => response(200, &[("replay-nonce", "n")], ""),
                Some("/newAccount") => {
                    response(201, &[("location", "https://ca.example/account")], r#"{"status": "valid"}"#)
                }
                Some("/newOrder") => response(201, &[("location", "https://ca.example/order")], ORDER),
                Some(path) if path.starts_with("/renewalInfo/") => {
                    let window = r#"{"start": "2026-03-01T00:00:00Z", "end": "2026-03-02T00:00:00Z"}"#;
                    response(200, &[], &format!(r#"{{"suggestedWindow": {window}}}"#))
                }
                _ => response(404, &[], "nothing here"),
            }
        })
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_ca_has_moved_is_found_again() {
        let client = restless();
        let account = client.account(key(), "https://ca.example/account");
        let order = NewOrder::default();
        account.new_order(&order).await.unwrap();
        for _ in 0..3 {
            // Somebody else reads the directory, and all URLs are others from then on.
            client.fetch_directory().await.unwrap();
            account.new_order(&order).await.unwrap_err();
            advance(Duration::from_mins(5)).await;
            account.new_order(&order).await.unwrap();
            client.fetch_directory().await.unwrap();
            advance(Duration::from_mins(5)).await;
            client.register(&key(), &Registration::default()).await.unwrap();
            client.fetch_directory().await.unwrap();
            advance(Duration::from_mins(5)).await;
            client.renewal_info("a.b").await.unwrap().unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_there_is_asked_for_once() {
        let posts = std::sync::Arc::new(AtomicUsize::new(0));
        let counter = posts.clone();
        let client = ca(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            response(404, &[], "nothing here")
        });
        let account = client.account(key(), "https://ca.example/account");
        account.new_order(&NewOrder::default()).await.unwrap_err();
        advance(Duration::from_mins(5)).await;
        account.new_order(&NewOrder::default()).await.unwrap_err();
        assert_eq!(posts.load(Ordering::SeqCst), 2, "its directory says the same as before");
    }
}
