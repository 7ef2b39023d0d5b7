//! A small HTTP server for those who watch over the controller. Whoever asks, and however slowly, holds little and not for
//! long.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Semaphore,
    time::timeout,
};

/// Connections at once; more wait.
const MOST_CONNECTIONS: usize = 32;

const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// For one connection, which has one request.
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(1);

/// A failed `accept` is most often a lack of file descriptors, which passes.
const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(100);

/// For request heads; hyper takes no less.
const MAX_HEAD: usize = 8 * 1024;

/// Listens where a flag says, as ADDRESS:PORT.
///
/// # Errors
/// What is wrong with it, in words that follow its name.
pub async fn listen(address: &str) -> Result<TcpListener, String> {
    let parsed: SocketAddr = address.parse().map_err(|_| "is not ADDRESS:PORT".to_owned())?;
    TcpListener::bind(parsed).await.map_err(|error| error.to_string())
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, router: Router) -> Infallible {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let accepted = listener.accept().await;
        let (Ok((stream, _)), Ok(place)) = (accepted, places.clone().acquire_owned().await) else {
            tokio::time::sleep(AFTER_FAILED_ACCEPT).await;
            continue;
        };
        let router = router.clone();
        tokio::spawn(async move {
            connection(stream, router).await;
            drop(place);
        });
    }
}

/// One request. Its answer says that there is no further one, so that nobody meets the end of the connection by surprise.
async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send, router: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match timeout(CONNECTION_TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection ended early"),
        Err(_) => tracing::debug!("a connection took too long"),
    }
}
