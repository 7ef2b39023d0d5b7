//! The self-check: asks what the CA will ask, before the CA does.
//!
//! As with HTTP-01, one call is one bounded round, and what it reports has no changing parts and nothing of what a server
//! sent.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs::default_provider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{PORT, PROTOCOL, server_name};
use crate::api::{Challenge, Sensitive};
use crate::http01::client::Clients;
use crate::http01::lookup::LookupError;
use crate::measure::{self, span::Span};
use crate::pki::acme_identifier::{self, Mismatch};

/// Time for each layer, the look-up of the name included.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// One address that swallows packets does not keep the next from being asked.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// So many addresses of a name are tried.
const MAX_ADDRESSES: usize = 4;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct CheckTarget {
    /// DNS name or IP address, as in the Challenge.
    pub domain: String,
    /// The key authorization whose hash must come back.
    pub key: Sensitive,
    /// Where the solver Pod listens.
    pub pod_address: SocketAddr,
    /// Port of the name; CAs ask on 443.
    pub port: u16,
    /// Time for each layer.
    pub timeout: Duration,
}

impl CheckTarget {
    /// What the CA of the Challenge will ask for.
    pub fn of(challenge: &Challenge, pod_address: SocketAddr) -> Self {
        let spec = &challenge.spec;
        Self { domain: spec.dns_name.clone(), key: spec.key.clone(), pod_address, port: PORT, timeout: TIMEOUT }
    }
}

/// What a round found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// The name and port that were asked.
    pub place: String,
    /// The solver Pod itself, asked by its address.
    pub pod: Result<(), Problem>,
    /// The name, asked as the CA does it.
    pub public: Result<(), Problem>,
}

impl CheckReport {
    /// What is wrong, in one sentence that also says how far the way is clear. `None` if the CA will find the
    /// certificate, as far as can be told from here.
    pub fn failure(&self) -> Option<String> {
        let public = self.public.as_ref().err()?;
        let pod = self.pod.as_ref().err().map_or_else(|| "itself answers rightly".to_owned(), ToString::to_string);
        Some(format!("{} {public}; the solver pod {pod}", self.place))
    }

    /// Whether the name leads to the solver of another challenge, which the CA would find as well.
    pub fn leads_to_another(&self) -> bool {
        self.public == Err(Problem::OtherCertificate(Mismatch::OtherKey))
    }
}

/// What came back instead of the certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("cannot be asked: the name has characters that do not belong there")]
    Malformed,
    #[error("cannot be asked: the name does not resolve")]
    NameNotFound,
    #[error("cannot be asked: the name servers gave no answer for the name")]
    LookupFailed,
    #[error("refused the connection")]
    Refused,
    #[error("cannot be reached: there is no route to its address")]
    NoRoute,
    #[error("did not answer within {0:?}")]
    TimedOut(Duration),
    #[error("closed the connection before it had answered")]
    Closed,
    #[error("did not complete the TLS handshake")]
    Tls,
    #[error("does not speak acme-tls/1: something else answers TLS for this name")]
    OtherProtocol,
    #[error("presented a certificate that does not answer the challenge: {0}")]
    OtherCertificate(Mismatch),
}

/// Asks the solver Pod and the public name, both at once.
pub async fn check(clients: &Clients, target: &CheckTarget) -> CheckReport {
    let pod_place = [target.pod_address];
    let pod = measured("solver", bounded(target, ask(target, &pod_place)));
    let (pod, public) = tokio::join!(pod, measured("public", bounded(target, ask_public(clients, target))));
    CheckReport { place: place(target), pod, public }
}

async fn measured(layer: &'static str, checking: impl Future<Output = Result<(), Problem>>) -> Result<(), Problem> {
    let began = Instant::now();
    let span = Span::part("self-check TLS-ALPN-01").with("certwright.layer", || layer.to_owned());
    let result = span.around(checking).await;
    if let Err(problem) = &result {
        span.failed(|| problem.to_string());
    }
    measure::self_check("TLS-ALPN-01", layer, result.is_ok(), began.elapsed());
    result
}

fn place(target: &CheckTarget) -> String {
    match target.domain.parse() {
        Ok(address) => SocketAddr::new(address, target.port).to_string(),
        Err(_) => format!("{}:{}", target.domain, target.port),
    }
}

async fn bounded(target: &CheckTarget, asking: impl Future<Output = Result<(), Problem>>) -> Result<(), Problem> {
    timeout(target.timeout, asking).await.unwrap_or(Err(Problem::TimedOut(target.timeout)))
}

async fn ask_public(clients: &Clients, target: &CheckTarget) -> Result<(), Problem> {
    let addresses = match target.domain.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => look_up(clients, &target.domain).await?,
    };
    ask(target, &in_order(addresses, target.port)).await
}

/// As Let's Encrypt does it: IPv6 is tried first, and once if there is IPv4. In a fixed order, so that an equal outcome gives an equal
/// report.
fn in_order(mut addresses: Vec<IpAddr>, port: u16) -> Vec<SocketAddr> {
    addresses.sort();
    if let Some(first) = addresses.iter().position(IpAddr::is_ipv6) {
        addresses[..=first].rotate_right(1);
    }
    addresses.into_iter().take(MAX_ADDRESSES).map(|address| SocketAddr::new(address, port)).collect()
}

async fn look_up(clients: &Clients, name: &str) -> Result<Vec<IpAddr>, Problem> {
    // What is no server name is not asked for either.
    ServerName::try_from(name).map_err(|_| Problem::Malformed)?;
    clients.look_up(name).await.map_err(|error| match error.downcast_ref() {
        Some(LookupError::NotFound) => Problem::NameNotFound,
        _ => Problem::LookupFailed,
    })
}

async fn ask(target: &CheckTarget, places: &[SocketAddr]) -> Result<(), Problem> {
    let name = ServerName::try_from(server_name(&target.domain)).map_err(|_| Problem::Malformed)?;
    let stream = connect(places).await?;
    let connector = TlsConnector::from(client_config()?);
    let stream = connector.connect(name, stream).await.map_err(|error| problem(&error))?;
    let (_, connection) = stream.get_ref();
    if connection.alpn_protocol() != Some(PROTOCOL) {
        return Err(Problem::OtherProtocol);
    }
    let presented = connection.peer_certificates().and_then(|chain| chain.first()).ok_or(Problem::Tls)?;
    acme_identifier::check(presented, &target.domain, target.key.expose()).map_err(Problem::OtherCertificate)
}

/// The first address that takes the connection.
async fn connect(places: &[SocketAddr]) -> Result<TcpStream, Problem> {
    let mut last = Problem::NameNotFound;
    for place in places {
        last = match timeout(CONNECT_TIMEOUT, TcpStream::connect(place)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => problem(&error),
            Err(_) => Problem::TimedOut(CONNECT_TIMEOUT),
        };
    }
    Err(last)
}

fn client_config() -> Result<Arc<ClientConfig>, Problem> {
    let provider = Arc::new(default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|_| Problem::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(Arc::new(config))
}

fn problem(error: &io::Error) -> Problem {
    use io::ErrorKind as Kind;
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return match error {
            rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => Problem::OtherProtocol,
            _ => Problem::Tls,
        };
    }
    match error.kind() {
        Kind::ConnectionRefused => Problem::Refused,
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::AddrNotAvailable => Problem::NoRoute,
        Kind::TimedOut => Problem::TimedOut(CONNECT_TIMEOUT),
        _ => Problem::Closed,
    }
}

/// Takes whatever is presented; what it says is looked at afterwards. That the server holds the key is not verified here:
/// the library cannot read a certificate with the critical extension, and the CA looks for itself.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jiff::Timestamp;
    use tokio::net::{TcpListener, UdpSocket};

    use super::super::server::{Answer, serve, settings};
    use super::*;
    use crate::http01::client::clients;

    const KEY: &str = "tok-en_1.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI";

    async fn solver(domain: &str, key: &str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = settings(&Answer { domain: domain.into(), key: key.into() }, Timestamp::now()).unwrap();
        tokio::spawn(serve(listener, settings, std::future::pending()));
        address
    }

    /// An ordinary HTTPS server that speaks these protocols.
    async fn https(protocols: &[&[u8]]) -> SocketAddr {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(vec!["example.com".into()]).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key.into())
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, Arc::new(config), std::future::pending()));
        address
    }

    /// The pod is at the one place, the name leads to the other.
    fn target(domain: &str, pod_address: SocketAddr, port: u16) -> CheckTarget {
        CheckTarget { domain: domain.into(), key: KEY.into(), pod_address, port, timeout: TIMEOUT }
    }

    async fn check(target: &CheckTarget) -> CheckReport {
        super::check(&clients(&[]).unwrap(), target).await
    }

    async fn pod_says(domain: &str, address: SocketAddr) -> Result<(), Problem> {
        // Nobody listens on port 1.
        check(&target(domain, address, 1)).await.pod
    }

    #[tokio::test]
    async fn the_solver_passes_in_both_layers() {
        for domain in ["localhost", "127.0.0.1"] {
            let address = solver(domain, KEY).await;
            let report = check(&target(domain, address, address.port())).await;
            assert_eq!((&report.pod, &report.public), (&Ok(()), &Ok(())), "{domain}");
            assert_eq!(report.failure(), None);
        }
    }

    #[tokio::test]
    async fn the_pod_is_asked_for_the_name_of_the_challenge() {
        for domain in ["www.example.com", "WWW.example.com", "192.0.2.7", "2001:db8::7"] {
            let address = solver(domain, KEY).await;
            assert_eq!(pod_says(domain, address).await, Ok(()), "{domain}");
        }
    }

    #[tokio::test]
    async fn a_solver_refuses_other_names_and_protocols() {
        let address = solver("www.example.com", KEY).await;
        assert_eq!(pod_says("example.com", address).await, Err(Problem::Tls));
        for protocols in [vec![b"h2".to_vec(), b"http/1.1".to_vec()], vec![]] {
            let mut config = Arc::unwrap_or_clone(client_config().unwrap());
            config.alpn_protocols = protocols;
            let stream = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("www.example.com").unwrap();
            assert!(TlsConnector::from(Arc::new(config)).connect(name, stream).await.is_err());
        }
    }

    #[tokio::test]
    async fn each_wrong_answer_has_its_name() {
        let other = solver("www.example.com", "another.key").await;
        let wrong = Problem::OtherCertificate(Mismatch::OtherKey);
        assert_eq!(pod_says("www.example.com", other).await, Err(wrong));
        for protocols in [&[][..], &[&b"h2"[..]]] {
            assert_eq!(pod_says("www.example.com", https(protocols).await).await, Err(Problem::OtherProtocol));
        }
        let ordinary = https(&[PROTOCOL]).await;
        let wrong = Problem::OtherCertificate(Mismatch::NoIdentifier);
        assert_eq!(pod_says("www.example.com", ordinary).await, Err(wrong));
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(pod_says("www.example.com", nobody).await, Err(Problem::Refused));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(stream);
            }
        });
        assert_eq!(pod_says("www.example.com", silent).await, Err(Problem::Closed));
    }

    #[tokio::test]
    async fn a_server_that_hangs_costs_no_more_than_the_time_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let timeout = Duration::from_millis(300);
        let target = CheckTarget { timeout, ..target("127.0.0.1", address, address.port()) };
        let expected = format!("{address} did not answer within 300ms; the solver pod did not answer within 300ms");
        assert_eq!(check(&target).await.failure(), Some(expected));
    }

    #[tokio::test]
    async fn failures_say_how_far_the_way_is_clear() {
        let address = solver("localhost", KEY).await;
        let ordinary = https(&[b"h2"]).await;
        let expected = format!(
            "localhost:{} does not speak acme-tls/1: something else answers TLS for this name; the solver pod itself \
             answers rightly",
            ordinary.port()
        );
        assert_eq!(check(&target("localhost", address, ordinary.port())).await.failure(), Some(expected));
    }

    #[tokio::test]
    async fn the_solver_of_another_challenge_is_recognized() {
        let (own, other) = (solver("localhost", KEY).await, solver("localhost", "another.key").await);
        for (public, leads_to_another) in [(own, false), (other, true), (https(&[b"h2"]).await, false)] {
            let report = check(&target("localhost", own, public.port())).await;
            assert_eq!(report.leads_to_another(), leads_to_another, "{:?}", report.public);
        }
    }

    #[tokio::test]
    async fn names_are_looked_up_where_the_operator_says() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let clients = clients(&[server.local_addr().unwrap()]).unwrap();
        let target = target("www.example.com", solver("www.example.com", KEY).await, 1);
        let asking = tokio::spawn(async move { super::check(&clients, &target).await });
        let mut query = [0; 512];
        let (length, _) = timeout(TIMEOUT, server.recv_from(&mut query)).await.unwrap().unwrap();
        assert!(query[..length].windows(7).any(|part| part == b"example"));
        asking.abort();
    }

    #[test]
    fn addresses_are_asked_in_a_fixed_order() {
        let addresses = ["203.0.113.9", "2001:db8::9", "203.0.113.7", "2001:db8::7"].map(|text| text.parse().unwrap());
        let forward = in_order(addresses.to_vec(), 443);
        assert_eq!(forward, in_order(addresses.into_iter().rev().collect(), 443));
        let expected = ["[2001:db8::7]:443", "203.0.113.7:443", "203.0.113.9:443", "[2001:db8::9]:443"];
        assert_eq!(forward.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
        assert_eq!(in_order(addresses[..1].to_vec(), 443).len(), 1);
    }

    #[tokio::test]
    async fn what_is_no_name_is_not_asked_for() {
        let address = solver("example.com", KEY).await;
        for domain in ["", "a b", "example.com/x", "user@example.com", "example.com:80", "exämple.com"] {
            let report = check(&target(domain, address, address.port())).await;
            assert_eq!(report.public, Err(Problem::Malformed), "{domain}");
        }
    }
}
