//! The solver's server: answers TLS handshakes of CAs for one name, and nothing else.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{default_provider, sign};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::{PROTOCOL, server_name};
use crate::api::Sensitive;
use crate::pki::{Curve, Encoding, Error as PkiError, KeyAlgorithm, PrivateKey, acme_identifier};
use crate::serve::{Bounds, accept};

/// No CA needs longer for a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The Pod has little memory. What is under way takes moments.
const BOUNDS: Bounds = Bounds { connections: 64, drain: HANDSHAKE_TIMEOUT };
/// How long the certificate can be used, and how far the CA's clock may be behind.
const LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);
const CLOCK_SKEW: SignedDuration = SignedDuration::from_hours(24);

/// What is answered, and for which name.
#[derive(Clone, Debug)]
pub struct Answer {
    /// DNS name or IP address, as in the Challenge.
    pub domain: String,
    /// The key authorization.
    pub key: Sensitive,
}

/// Why there is nothing to answer with.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    #[error("cannot make the certificate for the challenge")]
    Certificate(#[from] PkiError),
    #[error("the TLS library refuses the certificate for the challenge")]
    Tls(#[from] rustls::Error),
}

/// The settings with which the answer is served: a key of its own, a fresh certificate, the protocol `acme-tls/1` alone.
pub fn settings(answer: &Answer, now: Timestamp) -> Result<Arc<ServerConfig>, AnswerError> {
    let key = PrivateKey::generate(KeyAlgorithm::Ecdsa(Curve::P256))?;
    let (begin, end) = (now - CLOCK_SKEW, now + LIFETIME);
    let certificate = acme_identifier::certificate(&answer.domain, answer.key.expose(), &key, begin, end)?;
    let (_, key) = key.to_der(Encoding::Pkcs8)?;
    let key = sign::any_supported_type(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key)))?;
    let certified = CertifiedKey::new(vec![CertificateDer::from(certificate)], key);
    let resolver = OneName { server_name: server_name(&answer.domain), certified: Arc::new(certified) };
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    // Nobody comes back to go on with a session.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Answers until `shutdown` is done. Each connection ends with its handshake, as RFC 8737 section 3 demands; one that does
/// not offer the protocol or asks for another name is refused within it.
pub async fn serve(listener: TcpListener, settings: Arc<ServerConfig>, shutdown: impl Future<Output = ()>) {
    let acceptor = TlsAcceptor::from(settings);
    accept(listener, BOUNDS, |stream, _| handshake(acceptor.clone(), stream), shutdown).await;
}

async fn handshake(acceptor: TlsAcceptor, stream: TcpStream) {
    let whole = async {
        let mut stream = acceptor.accept(stream).await?;
        stream.shutdown().await
    };
    match timeout(HANDSHAKE_TIMEOUT, whole).await {
        Ok(Ok(())) => tracing::info!("answered with the certificate for the challenge"),
        // What the client sent is not logged: it is whatever the client likes.
        Ok(Err(_)) => tracing::info!("refused: no handshake for acme-tls/1 and the name of the challenge"),
        Err(_) => tracing::info!("given up: the handshake took too long"),
    }
}

/// Has a certificate for one name and the one protocol.
struct OneName {
    server_name: String,
    certified: Arc<CertifiedKey>,
}

impl fmt::Debug for OneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneName").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for OneName {
    /// A client that offers other protocols only is refused by the library; one that offers none is refused here.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asks_for_it = hello.alpn().is_some_and(|mut offered| offered.any(|protocol| protocol == PROTOCOL));
        let is_for_it = hello.server_name().is_some_and(|name| name.eq_ignore_ascii_case(&self.server_name));
        (asks_for_it && is_for_it).then(|| Arc::clone(&self.certified))
    }
}
