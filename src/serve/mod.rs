//! Servers that hold little, and not for long, whoever asks and however slowly: taking connections ([`accept()`]), HTTP on
//! one of them ([`serve_http`]), and the server for those who watch over the controller ([`serve`]).

mod accept;
mod http;
mod tls;

use std::{future::pending, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::TcpListener;

pub use accept::{Bounds, Stop, accept};
pub use http::{Bounds as HttpBounds, serve_http};
pub use tls::handshake;

const BOUNDS: Bounds = Bounds { connections: 32, drain: Duration::from_secs(5) };

/// One request on each connection.
const HTTP: HttpBounds =
    HttpBounds { head: Duration::from_secs(5), longest_head: Some(8 * 1024), whole: Some(Duration::from_mins(1)) };

/// Listens where a flag says, as ADDRESS:PORT.
///
/// # Errors
/// What is wrong with it, in words that follow its name.
pub async fn listen(address: &str) -> Result<TcpListener, String> {
    let parsed: SocketAddr = address.parse().map_err(|_| "is not ADDRESS:PORT".to_owned())?;
    TcpListener::bind(parsed).await.map_err(|error| error.to_string())
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, router: Router) {
    let handle = |stream, stop| serve_http(stream, HTTP, TowerToHyperService::new(router.clone()), stop);
    accept(listener, BOUNDS, handle, pending()).await;
}

/// The same over TLS.
pub async fn serve_tls(listener: TcpListener, settings: Arc<ServerConfig>, router: Router) {
    let handle = |stream, stop| {
        let (settings, router) = (settings.clone(), router.clone());
        async move {
            if let Some(stream) = handshake(&settings, stream).await {
                serve_http(stream, HTTP, TowerToHyperService::new(router), stop).await;
            }
        }
    };
    accept(listener, BOUNDS, handle, pending()).await;
}
