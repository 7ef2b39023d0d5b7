//! TLS on one connection.

use std::{io, sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// No client needs longer.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The connection after the handshake, if that succeeds. Whoever connects can make it fail, so that the log hears of most
/// failures at level debug only.
pub async fn handshake(settings: &Arc<ServerConfig>, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
    let acceptor = TlsAcceptor::from(settings.clone());
    match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) if is_without_certificate(&error) => {
            tracing::info!("a client is refused: it shows no certificate");
        }
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
    None
}

fn is_without_certificate(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::NoCertificatesPresented))
}
