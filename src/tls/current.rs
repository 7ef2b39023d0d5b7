//! The certificate that is served at present, which may change between two connections.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::sign,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{Clients, Protocol};
use crate::pki::{Encoding, Error as PkiError, ParsedCertificate, PrivateKey};

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the certificate or its key cannot be used: {0}")]
    Pki(#[from] PkiError),
    #[error("the TLS library refuses the certificate or its key: {0}")]
    Tls(#[from] rustls::Error),
}

/// See the module's description. Before there is one, handshakes fail.
#[derive(Default)]
pub struct Certificates {
    current: RwLock<Option<Arc<CertifiedKey>>>,
    problem: RwLock<Option<String>>,
}

impl Certificates {
    /// Serves this chain, the certificate itself first, from now on.
    pub fn put(&self, chain: &[ParsedCertificate], key: &PrivateKey) -> Result<(), TlsError> {
        let (_, key) = key.to_der(Encoding::Pkcs8)?;
        let key = sign::any_supported_type(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key)))?;
        let chain = chain.iter().map(|certificate| CertificateDer::from(certificate.der.clone())).collect();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(CertifiedKey::new(chain, key)));
        Ok(())
    }

    /// Whether there is one.
    pub fn is_ready(&self) -> bool {
        self.get().is_some()
    }

    /// Why there is none, or why there may soon be none that is good, in words.
    pub fn problem(&self) -> Option<String> {
        self.problem.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Holds what is to be told of it. True if that is news.
    pub(super) fn set_problem(&self, problem: Option<String>) -> bool {
        let mut held = self.problem.write().unwrap_or_else(PoisonError::into_inner);
        let is_news = *held != problem;
        *held = problem;
        is_news
    }

    /// The settings of a server that serves whatever is current, to anybody or to certain clients.
    pub fn settings(
        self: &Arc<Self>,
        protocol: &Protocol,
        clients: Option<Arc<Clients>>,
    ) -> Result<Arc<ServerConfig>, TlsError> {
        let builder =
            ServerConfig::builder_with_provider(protocol.provider()).with_protocol_versions(protocol.versions())?;
        let is_verified = clients.is_some();
        let builder = match clients {
            Some(clients) => builder.with_client_cert_verifier(clients),
            None => builder.with_no_client_auth(),
        };
        let mut settings = builder.with_cert_resolver(Arc::new(Resolver(self.clone())));
        if is_verified {
            // Whoever takes up a former session shows no certificate, and its CA may no longer be trusted.
            settings.session_storage = Arc::new(NoServerSessionStorage {});
            settings.send_tls13_tickets = 0;
        }
        Ok(Arc::new(settings))
    }

    fn get(&self) -> Option<Arc<CertifiedKey>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Resolver(Arc<Certificates>);

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.get()
    }
}
