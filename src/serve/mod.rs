//! Servers that hold little, and not for long, whoever asks and however slowly: taking connections ([`accept()`]), HTTP on
//! one of them ([`serve_http`]), and the server for those who watch over the controller ([`serve`]).

mod accept;
mod http;
mod listen;
mod slot;
mod tls;

use std::{future::pending, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::TcpListener;

pub use accept::{Bounds, accept};
pub use http::{Bounds as HttpBounds, serve_http};
pub use listen::{listen, listen_everywhere};
pub use slot::Slot;
pub use tls::handshake;

const BOUNDS: Bounds = Bounds { connections: 32, drain: Duration::from_secs(5) };

/// One request on each connection.
const HTTP: HttpBounds =
    HttpBounds { head: Duration::from_secs(5), longest_head: Some(8 * 1024), whole: Some(Duration::from_mins(1)) };

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, router: Router) {
    let handle = |stream, slot| serve_http(stream, HTTP, TowerToHyperService::new(router.clone()), slot);
    accept(listener, BOUNDS, handle, pending()).await;
}

/// The same over TLS.
pub async fn serve_tls(listener: TcpListener, settings: Arc<ServerConfig>, router: Router) {
    let handle = |stream, slot| {
        let (settings, router) = (settings.clone(), router.clone());
        async move {
            if let Some(stream) = handshake(&settings, stream).await {
                serve_http(stream, HTTP, TowerToHyperService::new(router), slot).await;
            }
        }
    };
    accept(listener, BOUNDS, handle, pending()).await;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        sync::Notify,
        time::Instant,
    };

    use super::*;

    async fn send(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn rest(mut stream: TcpStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    /// More clients than there are places send a part of a request each and hold their connections open.
    #[tokio::test(start_paused = true)]
    async fn clients_that_do_not_end_their_requests_hold_up_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (told, waited) = (begun.clone(), go_on.clone());
        let long = get(async move || {
            told.notify_one();
            waited.notified().await;
            "at last"
        });
        let router = Router::new().route("/", get(async || "at once")).route("/long", long);
        tokio::spawn(serve(listener, router));
        let at_work = send(address, "GET /long HTTP/1.1\r\nHost: a\r\n\r\n").await;
        begun.notified().await;
        let mut slow = Vec::new();
        for _ in 0..2 * BOUNDS.connections {
            slow.push(send(address, "GET / HTTP/1.1\r\nHo").await);
        }
        let since = Instant::now();
        let answer = rest(send(address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await).await;
        assert!(answer.ends_with("at once"), "{answer}");
        assert!(since.elapsed() < HTTP.head, "they had to go before their time was over");
        go_on.notify_one();
        let answer = rest(at_work).await;
        assert!(answer.ends_with("at last"), "who is at work stays: {answer}");
    }
}
