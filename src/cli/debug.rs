//! What is served on the machine's own address alone, for who may reach into the pod (`kubectl port-forward`).

use std::{net::ToSocketAddrs, sync::Arc};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    routing::{get, put},
};

use super::log::Level;
use crate::serve;

/// For a new level, in bytes.
const LONGEST_LEVEL: usize = 1024;

/// Serves it at an address of the machine itself until the process ends.
///
/// # Errors
/// What is wrong with the address, in words that follow its name.
pub async fn start(address: &str, level: Level) -> Result<(), String> {
    let listener = serve::listen(&own_address(address)?).await?;
    tokio::spawn(serve::serve(listener, router(Arc::new(level))));
    Ok(())
}

/// `GET /debug/log-level` tells what is logged, `PUT` with a level or directives changes it until the process ends.
fn router(level: Arc<Level>) -> Router {
    let held = level.clone();
    let tell = get(move || async move { level.now() + "\n" });
    let change = put(move |filter: String| async move {
        match held.set(filter.trim()) {
            Ok(()) => {
                tracing::info!(filter = filter.trim(), "what is logged was changed");
                (StatusCode::OK, String::new())
            }
            Err(problem) => (StatusCode::BAD_REQUEST, problem + "\n"),
        }
    });
    Router::new().route("/debug/log-level", tell.merge(change)).layer(DefaultBodyLimit::max(LONGEST_LEVEL))
}

/// The address as numbers, if it is one of the machine's own.
///
/// # Errors
/// What is wrong with it, in words that follow its name.
fn own_address(address: &str) -> Result<String, String> {
    let found = address.to_socket_addrs().map_err(|_| "is not ADDRESS:PORT".to_owned())?.next();
    let found = found.ok_or("is not ADDRESS:PORT")?;
    if !found.ip().is_loopback() {
        return Err("others could reach it; take localhost:6060 and `kubectl port-forward`".to_owned());
    }
    Ok(found.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_addresses_are_served() {
        assert_eq!(own_address("127.0.0.1:6060").as_deref(), Ok("127.0.0.1:6060"));
        assert_eq!(own_address("[::1]:6060").as_deref(), Ok("[::1]:6060"));
        assert!(own_address("localhost:6060").is_ok_and(|address| address.ends_with(":6060")));
        assert!(own_address("0.0.0.0:6060").is_err_and(|problem| problem.contains("others")));
        assert!(own_address("6060").is_err());
    }
}
