//! Nonces that the server gave out and nobody has used yet (RFC 8555 6.5).

use std::sync::{Mutex, PoisonError};

use reqwest::header::HeaderMap;

/// More than the requests that are ever under way at once with one CA; older nonces are likely forgotten by the server.
const CAPACITY: usize = 32;

/// The pool. The newest nonce is used first: it is the least likely to have expired.
#[derive(Default)]
pub(super) struct NoncePool(Mutex<Vec<String>>);

impl NoncePool {
    pub(super) fn take(&self) -> Option<String> {
        self.lock().pop()
    }

    /// Keeps the nonce that came with an answer, if any.
    pub(super) fn put(&self, headers: &HeaderMap) {
        let Some(nonce) = nonce_in(headers) else { return };
        let mut pool = self.lock();
        if pool.len() == CAPACITY {
            pool.remove(0);
        }
        pool.push(nonce);
    }

    /// Forgets all: when one is refused the others are likely to be too.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The nonce in an answer: base64url characters only (RFC 8555 6.5.1), and not endless.
pub(super) fn nonce_in(headers: &HeaderMap) -> Option<String> {
    let nonce = headers.get("replay-nonce")?.to_str().ok()?;
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (!nonce.is_empty() && nonce.len() <= 1024 && nonce.bytes().all(valid)).then(|| nonce.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn put(pool: &NoncePool, nonce: &str) {
        let mut headers = HeaderMap::new();
        headers.insert("replay-nonce", nonce.parse().unwrap());
        pool.put(&headers);
    }

    #[test]
    fn the_newest_comes_first_and_the_oldest_goes_first() {
        let pool = NoncePool::default();
        for number in 0..40 {
            put(&pool, &format!("nonce{number}"));
        }
        assert_eq!(pool.take().unwrap(), "nonce39");
        let rest: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!((rest.len(), rest.last().unwrap().as_str()), (31, "nonce8"));
        put(&pool, "another");
        pool.clear();
        assert_eq!(pool.take(), None);
    }

    #[test]
    fn what_is_no_nonce_is_not_kept() {
        let pool = NoncePool::default();
        for nonsense in ["", "a b", "a=", &"a".repeat(2000)] {
            put(&pool, nonsense);
        }
        pool.put(&HeaderMap::new());
        assert_eq!(pool.take(), None);
    }
}
