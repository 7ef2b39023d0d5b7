//! Servers that hold little, and not for long, whoever asks and however slowly: taking connections ([`accept()`]), HTTP on
//! one of them ([`serve_http`]), and the server for those who watch over the controller ([`serve`]).

mod accept;
mod http;
mod listen;
mod tls;

use std::{future::pending, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::TcpListener;

pub use accept::{Bounds, Stop, accept};
pub use http::{Bounds as HttpBounds, serve_http};
pub use listen::{listen, listen_everywhere};
pub use tls::handshake;

const BOUNDS: Bounds = Bounds { connections: 32, drain: Duration::from_secs(5) };

/// One request on each connection.
const HTTP: HttpBounds =
    HttpBounds { head: Duration::from_secs(5), longest_head: Some(8 * 1024), whole: Some(Duration::from_mins(1)) };

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
