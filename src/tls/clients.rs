//! Who may ask: clients with a certificate of a CA that is read from a file, and with certain names if such are given.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, aws_lc_rs::default_provider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use crate::pki::{ParsedCertificate, pem};

/// See the module's description. Before there is a CA, every client is refused.
pub struct Clients {
    provider: Arc<CryptoProvider>,
    verifier: RwLock<Option<Arc<dyn ClientCertVerifier>>>,
    /// One of these has to be the common name or a DNS name; if there are none, any name will do.
    names: Vec<String>,
}

impl Clients {
    /// With these names, and no CA yet.
    pub fn new(names: Vec<String>) -> Self {
        Self { provider: Arc::new(default_provider()), verifier: RwLock::default(), names }
    }

    /// Takes clients with certificates of these CAs from now on.
    ///
    /// # Errors
    /// In words: why the bundle cannot be used.
    pub fn trust(&self, bundle: &[u8]) -> Result<(), String> {
        let mut roots = RootCertStore::empty();
        for der in pem::decode_bundle(bundle).map_err(|error| error.to_string())? {
            roots.add(CertificateDer::from(der)).map_err(|error| error.to_string())?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), self.provider.clone()).build();
        let verifier = verifier.map_err(|error| error.to_string())?;
        *self.verifier.write().unwrap_or_else(PoisonError::into_inner) = Some(verifier);
        Ok(())
    }

    /// Whether there is a CA.
    pub fn is_ready(&self) -> bool {
        self.current().is_some()
    }

    fn current(&self) -> Option<Arc<dyn ClientCertVerifier>> {
        self.verifier.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verifier = self.current().ok_or_else(|| Error::General("there is no CA for clients yet".to_owned()))?;
        let admitted = verifier.verify_client_cert(certificate, intermediates, now).inspect_err(
            |error| tracing::info!(%error, "a client is refused: its certificate is not one of the CA for clients"),
        )?;
        let parsed = ParsedCertificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
        if has_name(&parsed, &self.names) {
            return Ok(admitted);
        }
        let wanted = self.names.join(", ");
        tracing::info!(
            common_name = parsed.common_name,
            wanted,
            "a client is refused: its certificate has another name"
        );
        Err(CertificateError::ApplicationVerificationFailure.into())
    }
}

fn has_name(certificate: &ParsedCertificate, names: &[String]) -> bool {
    let is_wanted = |name: &String| names.contains(name);
    names.is_empty()
        || certificate.common_name.as_ref().is_some_and(is_wanted)
        || certificate.names.dns_names.iter().any(is_wanted)
}

impl ClientCertVerifier for Clients {
    /// No hints: a client sends what it has.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(certificate, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("names", &self.names).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
    use rustls::{
        ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection, SupportedProtocolVersion,
    };

    use super::*;
    use crate::{
        pki::PrivateKey,
        tls::{Certificates, Protocol},
    };

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn client(authority: &CertifiedIssuer<'_, KeyPair>, common_name: &str, names: &[&str]) -> CertificateDer<'static> {
        signed(authority, common_name, names, ExtendedKeyUsagePurpose::ClientAuth).0
    }

    fn signed(
        authority: &CertifiedIssuer<'_, KeyPair>,
        common_name: &str,
        names: &[&str],
        usage: ExtendedKeyUsagePurpose,
    ) -> (CertificateDer<'static>, KeyPair) {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages.push(usage);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, authority).unwrap().der().clone(), key)
    }

    #[test]
    fn only_who_has_a_certificate_of_the_ca_and_a_name_is_taken() {
        let (own, other) = (authority(), authority());
        let now =
            UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(jiff::Timestamp::now().as_second()).unwrap()));
        let is_taken = |clients: &Clients, certificate: &CertificateDer<'_>| {
            clients.verify_client_cert(certificate, &[], now).is_ok()
        };
        let anybody = Clients::new(Vec::new());
        assert!(!is_taken(&anybody, &client(&own, "a", &[])), "there is no CA yet");
        anybody.trust(own.pem().as_bytes()).unwrap();
        assert!(is_taken(&anybody, &client(&own, "a", &[])));
        assert!(!is_taken(&anybody, &client(&other, "a", &[])));
        let named = Clients::new(vec!["kube-apiserver".to_owned()]);
        named.trust(own.pem().as_bytes()).unwrap();
        assert!(is_taken(&named, &client(&own, "kube-apiserver", &[])));
        assert!(is_taken(&named, &client(&own, "a", &["kube-apiserver"])));
        assert!(!is_taken(&named, &client(&own, "a", &["b"])));
        assert!(!is_taken(&named, &client(&other, "kube-apiserver", &[])));
        // What cannot be used changes nothing; another CA takes the place of the former.
        assert!(named.trust(b"nonsense").is_err());
        assert!(is_taken(&named, &client(&own, "kube-apiserver", &[])));
        named.trust(other.pem().as_bytes()).unwrap();
        assert!(!is_taken(&named, &client(&own, "kube-apiserver", &[])));
    }

    /// A server with a certificate of this CA, and clients that have one too and speak this version.
    fn parties(
        own: &CertifiedIssuer<'_, KeyPair>,
        clients: &Arc<Clients>,
        version: &'static SupportedProtocolVersion,
    ) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
        let (certificate, key) = signed(own, "server", &["a.test"], ExtendedKeyUsagePurpose::ServerAuth);
        let certificates = Arc::new(Certificates::default());
        let key = PrivateKey::from_pem(key.serialize_pem().as_bytes()).unwrap();
        certificates.put(&[ParsedCertificate::from_der(&certificate).unwrap()], &key).unwrap();
        let server = certificates.settings(&Protocol::default(), Some(clients.clone())).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(own.der().clone()).unwrap();
        let (certificate, key) = signed(own, "client", &[], ExtendedKeyUsagePurpose::ClientAuth);
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(&[version]).unwrap().with_root_certificates(roots);
        (server, Arc::new(builder.with_client_auth_cert(vec![certificate], key.into()).unwrap()))
    }

    fn carry(from: &mut Connection, to: &mut Connection) -> Result<(), Error> {
        let mut sent = Vec::new();
        while from.wants_write() {
            from.write_tls(&mut sent).unwrap();
        }
        let mut left = &sent[..];
        while !left.is_empty() {
            to.read_tls(&mut left).unwrap();
            to.process_new_packets()?;
        }
        Ok(())
    }

    fn is_admitted(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> bool {
        let mut server: Connection = ServerConnection::new(server.clone()).unwrap().into();
        let mut client: Connection =
            ClientConnection::new(client.clone(), "a.test".try_into().unwrap()).unwrap().into();
        let mut exchange = || carry(&mut client, &mut server).and_then(|()| carry(&mut server, &mut client));
        // What follows the handshake, such as tickets for the next one, comes with the last.
        (0..4).all(|_| exchange().is_ok()) && !server.is_handshaking()
    }

    #[test]
    fn a_former_session_does_not_outlive_the_trust_in_its_ca() {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let own = authority();
            let clients = Arc::new(Clients::new(Vec::new()));
            clients.trust(own.pem().as_bytes()).unwrap();
            let (server, client) = parties(&own, &clients, version);
            assert!(is_admitted(&server, &client) && is_admitted(&server, &client), "{version:?}");
            clients.trust(authority().pem().as_bytes()).unwrap();
            assert!(!is_admitted(&server, &client), "{version:?}");
        }
    }
}
