//! Nameservers over TLS and HTTPS: a real BIND with a certificate that only the tests trust.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use certwright::dns::resolver::Resolver;
use certwright::dns::secure::Secure;
use certwright::dns::zone::find_zone;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;

use super::bind::{self, Bind, PRIMARY};
use super::{World, bounded};

/// A resolver that is asked over TLS and HTTPS only.
struct Encrypted {
    tls: SocketAddr,
    https: SocketAddr,
    trust: Secure,
    _server: Bind,
    _files: TempDir,
}

impl Encrypted {
    fn start(world: &World) -> Self {
        let [tls, https] = std::array::from_fn(|_| SocketAddr::from((PRIMARY, bind::free_port())));
        let files = tempfile::tempdir().unwrap();
        let trust = write_certificate(&files);
        let path = |name: &str| files.path().join(name).display().to_string();
        let statements = format!(
            "tls own {{ cert-file \"{}\"; key-file \"{}\"; }};\nhttp paths {{ endpoints {{ \"/dns-query\"; }}; }};\n{}",
            path("certificate"),
            path("key"),
            bind::forward_statement("example.test", world.port)
        );
        let listeners = bind::listen_statement(tls, "tls own") + &bind::listen_statement(https, "tls own http paths");
        let server = bind::start_at(&world.named, &listeners, &statements, &[]);
        Self { tls, https, trust, _server: server, _files: files }
    }

    /// What comes of looking for a zone at this nameserver.
    async fn ask(&self, nameserver: &str) -> Result<String, String> {
        let resolver = Resolver::from_nameservers(&[nameserver.to_owned()]).unwrap().with_secure(self.trust.clone());
        let zone = find_zone(&resolver, "_acme-challenge.www.example.test").await;
        zone.map(|zone| zone.apex).map_err(|error| error.to_string())
    }
}

fn write_certificate(files: &TempDir) -> Secure {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = ["resolver.example.test".to_owned(), PRIMARY.to_string()];
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    fs::write(files.path().join("certificate"), leaf.pem()).unwrap();
    fs::write(files.path().join("key"), key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Secure::new(config).unwrap()
}

#[tokio::test]
async fn a_nameserver_is_asked_over_tls_and_https() {
    let Some(world) = World::start() else { return };
    let server = Encrypted::start(&world);
    bounded(async {
        let (tls, https) = (server.tls, server.https);
        for nameserver in [
            format!("tls://{tls}"),
            format!("tls://{tls}#resolver.example.test"),
            format!("https://{https}/dns-query"),
            format!("https://{https}/dns-query{{?dns}}"),
            format!("tcp://{}", world.recursive()),
        ] {
            assert_eq!(server.ask(&nameserver).await.as_deref(), Ok("example.test."), "{nameserver}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_nameserver_that_is_not_what_it_should_be_is_not_believed() {
    let Some(world) = World::start() else { return };
    let server = Encrypted::start(&world);
    bounded(async {
        let (tls, https) = (server.tls, server.https);
        let refused = async |nameserver: String| server.ask(&nameserver).await.unwrap_err();
        let other = refused(format!("tls://{tls}#other.example.test")).await;
        let name = format!("tls://{tls}#other.example.test");
        let text = format!("{name} could not be reached over TLS: its certificate is for another name");
        assert!(other.ends_with(&text), "{other}");
        let nowhere = refused(format!("https://{https}/elsewhere")).await;
        assert!(nowhere.ends_with("answered HTTP 404 Not Found and no DNS message"), "{nowhere}");
        let plain = refused(format!("tls://{}", world.recursive())).await;
        assert!(plain.contains("over TLS"), "{plain}");
        let plain = refused(format!("https://{}/dns-query", world.recursive())).await;
        assert!(plain.contains("over HTTPS"), "{plain}");
        for nameserver in [format!("tls://{tls}"), format!("https://{https}/dns-query")] {
            let stranger = Resolver::from_nameservers(std::slice::from_ref(&nameserver)).unwrap();
            let error = find_zone(&stranger, "example.test").await.unwrap_err().to_string();
            assert!(error.ends_with("its certificate is from an issuer that is not trusted"), "{error}");
        }
    })
    .await;
}
