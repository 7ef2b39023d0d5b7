//! The endpoints that the kubelet asks: `/livez` and `/readyz`.

use std::sync::Arc;

use axum::{Router, http::StatusCode, routing::get};
use jiff::Timestamp;
use tokio::{net::TcpListener, sync::watch};

use crate::{cluster::Hub, serve};

/// Serves until the process ends. `/livez` answers as long as the process runs and `is_alive` says so; `/readyz` and
/// `/healthz` once every store has been filled. They tell as well which rights were missed lately, and what cannot be read.
pub async fn serve(
    listener: TcpListener,
    (filled, hub): (watch::Receiver<usize>, Arc<Hub>),
    is_alive: impl Fn() -> bool + Clone + Send + Sync + 'static,
) {
    let live = move || {
        let is_alive = is_alive();
        async move {
            if is_alive {
                (StatusCode::OK, "ok")
            } else {
                (StatusCode::INTERNAL_SERVER_ERROR, "the lease ran out long ago, and nobody noticed")
            }
        }
    };
    let ready = move || {
        let filled = *filled.borrow();
        let missing = hub.rights.missing(Timestamp::now());
        let missing = missing.iter().fold(String::new(), |text, right| text + "\nno right to " + right);
        let missing = hub.unreadable.named().iter().fold(missing, |text, object| text + "\nunreadable: " + object);
        async move {
            if filled >= Hub::STORES {
                (StatusCode::OK, format!("ok{missing}"))
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, format!("{filled} of {} stores filled{missing}", Hub::STORES))
            }
        }
    };
    let router =
        Router::new().route("/livez", get(live)).route("/healthz", get(ready.clone())).route("/readyz", get(ready));
    serve::serve(listener, router).await;
}
